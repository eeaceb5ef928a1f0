import { describe, expect, test } from 'vitest';
import { readRouterSolicitation, writeRouterAdvertisement } from '../../src/wire/router-advertisement.js';

const mac = Uint8Array.of(2, 0, 0, 0, 0, 1);
const prefix = Uint8Array.of(0x20, 1, 0xd, 0xb8, ...new Uint8Array(12));

describe('a router advertisement', () => {
  test('has each option in whole units, and zeros where nothing is said', () => {
    const message = writeRouterAdvertisement({
      mac,
      managed: true,
      other: false,
      lifetimeSeconds: 1800,
      mtu: 1400,
      prefixes: [{ address: prefix, length: 64, autonomous: true, validSeconds: 7200, preferredSeconds: 1800 }],
      resolvers: [prefix],
      search: ['example.org'],
      resolversSeconds: 600,
    });
    const hex = Buffer.from(message).toString('hex');
    const address = `20010db8${'00'.repeat(12)}`;
    expect(hex).toBe(
      [
        '86000000',
        '40800708',
        '00000000',
        '00000000',
        '0101020000000001',
        '0501000000000578',
        `030440c0`,
        '00001c20',
        '00000708',
        '00000000',
        address,
        `190300000000${'0258'}${address}`,
        `1f0300000000${'0258'}076578616d706c65036f726700000000`.slice(0, 48),
      ].join(''),
    );
    expect(message.length % 8).toBe(0);
  });
});

describe('a router solicitation', () => {
  const read = (octets: readonly number[]) =>
    readRouterSolicitation(Uint8Array.of(...octets, 0xa5, 0xa5), 0, octets.length);
  const head = [133, 0, 0, 0, 0, 0, 0, 0];

  test('tells the MAC of who asks, if it does', () => {
    expect(read(head)).toEqual({});
    expect(read([...head, 1, 1, ...mac])).toEqual({ mac });
    expect(read([...head, 14, 1, 0, 0, 0, 0, 0, 0, 1, 1, ...mac])).toEqual({ mac });
  });

  test('whose option has no length, or one that lies, is none', () => {
    for (let units = 0; units < 256; units++)
      expect(read([...head, 1, units, ...mac]) !== undefined, `${units} units`).toBe(units === 1);
  });

  test('cut at any octet is none, but for between options', () => {
    const whole = [...head, 1, 1, ...mac];
    for (let end = 0; end < whole.length; end++)
      expect(read(whole.slice(0, end)) !== undefined, `${end} octets`).toBe(end === 8);
  });
});
