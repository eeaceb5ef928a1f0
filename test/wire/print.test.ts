import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseFrame } from '../../src/wire/frame-text.js';
import { frameLine } from '../../src/wire/print.js';
import { buildSuperFrame, superFrames } from './super-frame.js';

const GUARD = 64;
const macs = '020000000002020000000001';
const ends = '02:00:00:00:00:01 > 02:00:00:00:00:02';
const ipv6 = (next: string, length: string) =>
  `86dd60000000${length}${next}40${'20010db8000000000000000000000005'}${'20010db8000000000000000000000009'}`;

function lineOf(hex: string): string {
  return frameLine(parseFrame(macs + hex.replaceAll(' ', '')));
}

/** The line for the first `length` octets, seen to be the same whatever lies around them. */
function guardedLine(octets: Uint8Array, length: number): string {
  const lines = [0xa5, 0x08].map((guard) => {
    const arena = new Uint8Array(octets.length + 2 * GUARD).fill(guard);
    arena.set(octets.subarray(0, length), GUARD);
    const before = arena.slice();
    const line = frameLine(arena, GUARD, length);
    expect(Buffer.compare(arena, before)).toBe(0);
    return line;
  });
  expect(lines[0]).toBe(lines[1]);
  return lines[0];
}

describe('a frame in one line', () => {
  test.each([
    ['88cc 0207', 'LLDP, length 2'],
    ['88b5', 'ethertype 0x88b5, length 0'],
    ['0026 424203', 'LLC dsap 0x42 ssap 0x42, length 3'],
    ['0026 42', 'LLC cut off, length 1'],
    ['8100 0000 0806', 'vlan 0, ARP malformed'],
    ['8100 e00a 88cc', 'vlan 10 priority 7, LLDP, length 0'],
    ['8100 00', 'VLAN tag cut off'],
    ['8100 0001 8100 0002 8100 0003 0800', 'vlan 1, vlan 2, ethertype 0x8100, length 4'],
    ['0806 0001080006040003020000000001c0000205000000000000c0000209', 'ARP operation 3 from 192.0.2.5'],
    ['0800 45', 'IPv4 malformed'],
    [
      '0800 4500001c00012000401100 00 c0000205c0000209 0102030405060708',
      'ip 192.0.2.5 > 192.0.2.9 proto 17 fragment at 0 length 8',
    ],
    [
      '0800 4500001c000100b9401100 00 c0000205c0000209 0102030405060708',
      'ip 192.0.2.5 > 192.0.2.9 proto 17 fragment at 1480 length 8',
    ],
    ['0800 4500001800010000400600 00 c0000205c0000209 01020304', 'tcp 192.0.2.5 > 192.0.2.9 malformed'],
    ['0800 4500001800010000401100 00 c0000205c0000209 01020304', 'udp 192.0.2.5 > 192.0.2.9 malformed'],
    ['0800 4500001800010000400100 00 c0000205c0000209 01020304', 'icmp 192.0.2.5 > 192.0.2.9 malformed'],
    [`${ipv6('3b', '0000')}`, 'ip 2001:db8::5 > 2001:db8::9 proto 59 length 0'],
    [`${ipv6('00', '0000')}`, 'IPv6 malformed'],
    [`${ipv6('3c', '0048')}${'3c00010400000000'.repeat(9)}`, 'IPv6 with too many extension headers'],
    [
      `${ipv6('2c', '0010')}1100000900000007 0102030405060708`,
      'ip 2001:db8::5 > 2001:db8::9 proto 17 fragment at 8 length 8',
    ],
    [
      `${ipv6('3a', '0018')}8700000000000000 20010db8000000000000000000000001`,
      'icmp 2001:db8::5 > 2001:db8::9 who-has 2001:db8::1',
    ],
    [
      `${ipv6('3a', '0018')}8800000000000000 20010db8000000000000000000000001`,
      'icmp 2001:db8::5 > 2001:db8::9 neighbor 2001:db8::1',
    ],
    [`${ipv6('3a', '0008')}8600000000000000`, 'icmp 2001:db8::5 > 2001:db8::9 router-advertisement length 0'],
  ])('%s says: %s', (hex, line) => {
    expect(lineOf(hex)).toBe(`${ends}, ${line}`);
  });

  test('of which only the first octets were kept is judged by the length it had', () => {
    const frame = parseFrame('tcp 192.0.2.5:1234 > 192.0.2.9:80 flags A length 1400');
    expect(frameLine(frame.subarray(0, 128), 0, 128, frame.length)).toBe(
      `${frameLine(frame)} (128 of 1454 octets kept)`,
    );
    expect(frameLine(frame.subarray(0, 128))).toBe(`${ends}, IPv4 malformed`);
    expect(frameLine(frame.subarray(0, 5), 0, 5, 20)).toMatch(/\(5 of 20 octets kept\)$/);
  });

  test('says of a runt how long it is', () => {
    expect(frameLine(new Uint8Array(13))).toBe('runt of 13 octets');
    expect(frameLine(new Uint8Array(0))).toBe('runt of 0 octets');
  });

  test('of any frame cut off at any octet comes from the octets that are there', () => {
    const texts = [
      'tcp 192.0.2.5:1234 > 192.0.2.9:80 vlan 10 vlan 20',
      'udp [2001:db8::5]:53 > [2001:db8::9]:53 length 12',
      'icmp 2001:db8::5 > 2001:db8::9 type 135 length 20',
      'arp who-has 192.0.2.9 tell 192.0.2.5 vlan 5',
      'ip 192.0.2.5 > 192.0.2.9 proto 47 length 8',
    ];
    const extended = { isIpv4: false, isUdp: false, tags: 1, options: 4, tcpOptions: 2, flags: 16, id: 0 };
    const frames = [
      ...texts.map(parseFrame),
      buildSuperFrame({ ...extended, sequence: 0, payloadSize: 9, size: 8, seed: 1 }).octets,
    ];
    for (const frame of frames) {
      for (let length = 0; length <= frame.length; length++) {
        expect(guardedLine(frame, length).length).toBeLessThan(300);
      }
    }
  });

  test('of any octets at all is a line', () => {
    const noise = fc.uint8Array({ minLength: 14, maxLength: 120 });
    const types = fc.constantFrom([0x08, 0], [0x08, 6], [0x86, 0xdd], [0x81, 0]);
    const versions = fc.constantFrom(0x45, 0x46, 0x60);
    fc.assert(
      fc.property(noise, types, versions, (octets, type, version) => {
        octets.set(type, 12);
        if (octets.length > 14) octets[14] = version;
        expect(guardedLine(octets, octets.length)).toMatch(/^[\x20-\x7e]{10,300}$/);
      }),
      { numRuns: 2000 },
    );
  });

  test('of any super-frame names its ends', () => {
    fc.assert(
      fc.property(superFrames, ({ octets, layout }) => {
        const line = frameLine(octets);
        if (layout.network <= 22) expect(line).toMatch(layout.isUdp ? / udp \S+:\d+ > / : / tcp \S+:\d+ > /);
        else expect(line).toMatch(/ethertype 0x8100/);
      }),
      { numRuns: 50 },
    );
  });
});
