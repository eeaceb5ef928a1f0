/** The bounds checks of ipv4, tcp, udp and arp: what they accept lies whole inside the frame, whatever the octets say. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isArp } from '../../src/wire/arp.js';
import { parseFrame } from '../../src/wire/frame-text.js';
import { ipv4FragmentOffset, ipv4IsFragment, ipv4PayloadStart, ipv4TotalLength } from '../../src/wire/ipv4.js';
import { tcpPayloadStart } from '../../src/wire/tcp.js';
import { isUdpHeader } from '../../src/wire/udp.js';

const anything = fc.uint8Array({ minLength: 64, maxLength: 64 });
const ends = fc.integer({ min: 0, max: 64 });

describe('an IPv4 header', () => {
  test('is accepted exactly when version, sizes and lengths agree with the frame', () => {
    fc.assert(
      fc.property(
        anything,
        ends,
        fc.integer({ min: 3, max: 8 }),
        fc.integer({ min: 0, max: 80 }),
        (octets, end, size, total) => {
          octets[0] = (octets[0] % 4 === 0 ? octets[0] & 0xf0 : 0x40) | size;
          octets[2] = 0;
          octets[3] = total;
          const isWhole = end >= 20 && octets[0] >> 4 === 4 && size >= 5 && total >= 4 * size && total <= end;
          expect(ipv4PayloadStart(octets, 0, end)).toBe(isWhole ? 4 * size : -1);
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('tells first, later and last fragments from whole packets', () => {
    const octets = new Uint8Array(20);
    const view = new DataView(octets.buffer);
    const seen = [0x0000, 0x4000, 0x2000, 0x2001, 0x0001, 0x1fff].map((field) => {
      view.setUint16(6, field);
      return [ipv4IsFragment(octets, 0), ipv4FragmentOffset(octets, 0)];
    });
    expect(seen).toEqual([
      [false, 0],
      [false, 0],
      [true, 0],
      [true, 8],
      [true, 8],
      [true, 65_528],
    ]);
  });

  test('says how long the packet is', () => {
    expect(ipv4TotalLength(parseFrame('udp 192.0.2.1:1 > 192.0.2.2:2 length 1000'), 14)).toBe(1028);
  });
});

describe('a TCP header', () => {
  test('is accepted exactly when it lies whole before the end', () => {
    fc.assert(
      fc.property(anything, ends, (octets, end) => {
        const size = 4 * (octets[12] >> 4);
        expect(tcpPayloadStart(octets, 0, end)).toBe(end >= 20 && size >= 20 && size <= end ? size : -1);
      }),
    );
  });
});

describe('a UDP header', () => {
  test('is accepted exactly when it and its length lie before the end', () => {
    fc.assert(
      fc.property(anything, ends, fc.integer({ min: 0, max: 70 }), (octets, end, length) => {
        octets[4] = 0;
        octets[5] = length;
        expect(isUdpHeader(octets, 0, end)).toBe(end >= 8 && length >= 8 && length <= end);
      }),
    );
  });
});

describe('an ARP message', () => {
  const frame = parseFrame('arp who-has 192.0.2.9 tell 192.0.2.5');

  test('is accepted when it is whole, and at no shorter length', () => {
    for (let end = 0; end <= frame.length; end++) expect(isArp(frame, 14, end)).toBe(end === frame.length);
  });

  test('of other hardware, protocol or address sizes is not', () => {
    for (let index = 0; index < 6; index++) {
      const other = frame.slice();
      other[14 + index] ^= 1;
      expect(isArp(other, 14, other.length)).toBe(false);
    }
  });
});
