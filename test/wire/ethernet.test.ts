import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseMac } from '../../src/wire/address.js';
import { isBroadcastAt, isGroup, isGroupAt, macHighAt, macLowAt, writeMac } from '../../src/wire/ethernet.js';
import { read16, read32, write16, write32 } from '../../src/wire/octets.js';

const macs = fc.uint8Array({ minLength: 6, maxLength: 6 });

test('a MAC address is read as two words and written back the same', () => {
  fc.assert(
    fc.property(macs, (mac) => {
      const target = new Uint8Array(10).fill(0xa5);
      writeMac(target, 2, macHighAt(mac, 0), macLowAt(mac, 0));
      expect([...target]).toEqual([0xa5, 0xa5, ...mac, 0xa5, 0xa5]);
    }),
  );
});

test('the words of a MAC address are 16 bits and signed 32 bits, first octet first', () => {
  const mac = parseMac('52:54:ff:00:00:01')!;
  expect([macHighAt(mac, 0), macLowAt(mac, 0)]).toEqual([0x5254, 0xff000001 | 0]);
});

test('a group address is told by the lowest bit of its first octet, in both forms', () => {
  fc.assert(
    fc.property(macs, (mac) => {
      expect(isGroupAt(mac, 0)).toBe(mac[0] % 2 === 1);
      expect(isGroup(macHighAt(mac, 0))).toBe(mac[0] % 2 === 1);
    }),
  );
});

test('broadcast is all ones and nothing else', () => {
  const mac = new Uint8Array(6).fill(0xff);
  expect(isBroadcastAt(mac, 0)).toBe(true);
  for (let bit = 0; bit < 48; bit++) {
    const other = mac.map((octet, index) => (index === bit >> 3 ? octet ^ (1 << (bit & 7)) : octet));
    expect(isBroadcastAt(other, 0)).toBe(false);
  }
});

test('words are read and written in network byte order, 32-bit ones signed', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), (octets) => {
      const view = new DataView(octets.buffer, octets.byteOffset);
      expect([read16(octets, 1), read32(octets, 0)]).toEqual([view.getUint16(1), view.getInt32(0)]);
      const target = new Uint8Array(6).fill(0xa5);
      write32(target, 1, read32(octets, 0));
      expect([...target]).toEqual([0xa5, ...octets, 0xa5]);
      write16(target, 1, 0x1234);
      expect([...target]).toEqual([0xa5, 0x12, 0x34, octets[2], octets[3], 0xa5]);
    }),
  );
});
