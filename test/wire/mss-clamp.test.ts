import { describe, expect, test } from 'vitest';
import { parseIp } from '../../src/wire/address.js';
import { buildEthernet, buildIp } from '../../src/wire/frame-build.js';
import { clampMss } from '../../src/wire/mss-clamp.js';
import { referenceSum } from '../kernels/reference.js';

const macs = { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2], tags: [] };
const MTU = 1450;
const NOP = 1;
const mss = (value: number) => [2, 4, value >> 8, value & 0xff];
const families = [
  { family: 'IPv4', from: '192.0.2.1', to: '192.0.2.2', ethertype: 0x0800, most: MTU - 40 },
  { family: 'IPv6', from: '2001:db8::1', to: '2001:db8::2', ethertype: 0x86dd, most: MTU - 60 },
] as const;

interface Syn {
  readonly options: readonly number[];
  readonly flags?: number;
  readonly protocol?: number;
}

describe.each(families)('a segment over $family', ({ from, to, ethertype, most }) => {
  const transport = 14 + (ethertype === 0x0800 ? 20 : 40);

  function segment({ options, flags = 2, protocol = 6 }: Syn): Uint8Array {
    const padded = [...options, ...Array((4 - (options.length % 4)) % 4).fill(0)];
    const offset = (5 + padded.length / 4) << 4;
    const tcp = Uint8Array.of(
      4,
      0,
      0,
      80,
      1,
      2,
      3,
      4,
      0,
      0,
      0,
      0,
      offset,
      flags,
      0xff,
      0xff,
      0,
      0,
      0,
      0,
      ...padded,
      7,
      8,
      9,
    );
    const ip = buildIp({ source: parseIp(from)!, destination: parseIp(to)!, protocol, ttl: 9 }, tcp);
    return buildEthernet(macs, ethertype, ip);
  }

  const clamped = (octets: Uint8Array, isPartial = false, end = octets.length) => {
    const copy = octets.slice();
    clampMss(copy, ethertype, 14, end, MTU, isPartial);
    return copy;
  };

  /** Folded sum of pseudo-header and segment: all ones where the checksum is right. */
  function sum(octets: Uint8Array): number {
    const size = octets.length - transport;
    const addresses = ethertype === 0x0800 ? octets.slice(26, 34) : octets.slice(22, 54);
    const covered = Uint8Array.of(...addresses, 0, 6, size >> 8, size & 0xff, ...octets.slice(transport));
    return referenceSum(covered, 0, covered.length);
  }

  test.each([
    ['alone', []],
    ['behind an odd number of octets', [NOP]],
    ['behind a timestamp', [8, 10, 1, 2, 3, 4, 5, 6, 7, 8, NOP, NOP]],
  ])('that offers too much, %s, offers what fits then, and its checksum is right', (_, before) => {
    for (const flags of [2, 0x12, 0xc2])
      for (const value of [most + 1, 1460, 8960, 0xffff]) {
        const octets = segment({ options: [...before, ...mss(value)], flags });
        expect(sum(octets)).toBe(0xffff);
        const got = clamped(octets);
        const at = transport + 20 + before.length + 2;
        expect((got[at]! << 8) | got[at + 1]!).toBe(most);
        expect(sum(got)).toBe(0xffff);
      }
  });

  test('keeps a partial checksum, in which options have no part', () => {
    const octets = segment({ options: mss(9000) });
    const got = clamped(octets, true);
    expect([...got.slice(transport + 16, transport + 18)]).toEqual([...octets.slice(transport + 16, transport + 18)]);
    expect((got[transport + 22]! << 8) | got[transport + 23]!).toBe(most);
  });

  test.each<[string, Syn]>([
    ['offers what fits', { options: mss(most) }],
    ['offers little', { options: mss(536) }],
    ['is no SYN', { options: mss(9000), flags: 0x10 }],
    ['offers nothing', { options: [NOP, NOP, 4, 2] }],
    ['ends its options before', { options: [0, NOP, NOP, NOP, ...mss(9000)] }],
    ['has an option whose length lies', { options: [3, 0, ...mss(9000), NOP, NOP] }],
    ['has an option that is longer than the header', { options: [3, 60, ...mss(9000)] }],
    ['has an MSS of another size', { options: [2, 3, 0xff, NOP] }],
    ['is no TCP', { options: mss(9000), protocol: 132 }],
  ])('that %s is left alone', (_, syn) => {
    const octets = segment(syn);
    expect(clamped(octets)).toEqual(octets);
  });

  test('that is cut off at any octet is left alone', () => {
    const octets = segment({ options: mss(9000) });
    for (let end = 14; end < octets.length; end++) expect(clamped(octets, false, end), `${end}`).toEqual(octets);
  });

  test('that is a later fragment is left alone', () => {
    if (ethertype !== 0x0800) return expect(ethertype).toBe(0x86dd);
    const octets = segment({ options: mss(9000) });
    octets[21] = 1;
    expect(clamped(octets)).toEqual(octets);
  });
});
