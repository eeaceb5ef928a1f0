import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  associationOption,
  OPTION6_CLIENT_ID,
  OPTION6_IA_NA,
  OPTION6_REQUESTED,
  readDhcp6,
  readOptions6,
  statusOption,
  writeDhcp6,
  writeOptions6,
} from '../../src/wire/dhcp6-message.js';

const duid = Uint8Array.of(0, 3, 0, 1, 0x52, 0x54, 0, 0, 0, 1);
const address = Uint8Array.of(0x20, 1, 0xd, 0xb8, ...new Uint8Array(11), 5);
const granted = { address, preferredSeconds: 60, validSeconds: 90 };
const times = { renewSeconds: 30, rebindSeconds: 48 };
const message = writeDhcp6(3, 0x0a0b0c, [
  { code: OPTION6_CLIENT_ID, value: duid },
  associationOption(OPTION6_IA_NA, 0xffff_fff0, times, [granted], statusOption(0, 'fine')),
  { code: OPTION6_REQUESTED, value: Uint8Array.of(0, 23, 0, 24) },
]);

function read(octets: Uint8Array, end = octets.length) {
  const around = new Uint8Array(octets.length + 256).fill(0xa5);
  around.set(octets, 32);
  return readDhcp6(around, 32, 32 + end);
}

describe('a DHCPv6 message', () => {
  test('reads back as it was written', () => {
    expect(read(message)).toEqual({
      type: 3,
      xid: 0x0a0b0c,
      clientId: duid,
      associations: [{ iaid: 0xffff_fff0, addresses: [address] }],
      prefixAssociations: [],
      requested: [23, 24],
      rapidCommit: false,
    });
  });

  test('cut at any octet is none, or ends between two options', () => {
    const between = [4, 4 + 14, message.length - 8];
    for (let end = 0; end < message.length; end++)
      if (!between.includes(end)) expect(read(message, end), `${end} octets`).toBeUndefined();
  });

  test('with any option length that lies is none', () => {
    const lengths = [6, 4 + 14 + 2, 4 + 14 + 4 + 12 + 2];
    for (const at of lengths) {
      const right = (message[at] << 8) | message[at + 1];
      for (let length = right + 1; length < 512; length++) {
        const lying = message.slice();
        lying[at] = length >> 8;
        lying[at + 1] = length;
        const found = read(lying);
        // A longer one may swallow whole options behind it, but never more than there is.
        if (found !== undefined) expect(length).toBeLessThan(message.length - at);
      }
    }
  });

  test('of relays, with a DUID that is too long or an odd list of wishes is none', () => {
    expect(read(Uint8Array.of(12, 0, 0, 0))).toBeUndefined();
    expect(read(writeDhcp6(1, 1, [{ code: OPTION6_CLIENT_ID, value: new Uint8Array(131) }]))).toBeUndefined();
    expect(read(writeDhcp6(1, 1, [{ code: OPTION6_REQUESTED, value: new Uint8Array(3) }]))).toBeUndefined();
  });

  test('whatever octets come, there is a verdict', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => void read(octets)));
  });

  test('options read back as they were written', () => {
    const option = fc.record({ code: fc.nat(0xffff), value: fc.uint8Array({ maxLength: 300 }) });
    fc.assert(
      fc.property(fc.array(option, { maxLength: 6 }), (options) => {
        const octets = writeOptions6(options);
        expect(readOptions6(octets, 0, octets.length)).toEqual(options);
      }),
    );
  });
});
