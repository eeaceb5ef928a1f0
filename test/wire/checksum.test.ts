import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  fold,
  ipv4HeaderChecksum,
  pseudoHeaderSum4,
  pseudoHeaderSum6,
  sumOctets,
  updateChecksum,
} from '../../src/wire/checksum.js';
import { referenceSum } from '../kernels/reference.js';
import { pseudoHeader } from './reference.js';

const words = fc.integer({ min: 0, max: 0xffff });

describe('a sum', () => {
  test('of octets agrees with RFC 1071 at every length', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.integer({ min: 0, max: 7 }),
        words,
        (octets, start, initial) => {
          const from = Math.min(start, octets.length);
          const length = octets.length - from;
          expect(sumOctets(octets, from, length, initial)).toBe(referenceSum(octets, from, length, initial));
        },
      ),
    );
  });

  test('folds to 16 bits, whatever the sign of the 32', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (sum) => {
        expect(fold(sum)).toBe(referenceSum(new Uint8Array(0), 0, 0, sum));
        expect(fold(sum | 0)).toBe(fold(sum));
      }),
    );
  });
});

describe('a pseudo-header', () => {
  const headers = fc.uint8Array({ minLength: 40, maxLength: 40 });

  test.each([true, false])('is summed as the RFC lays it out (IPv4: %s)', (isIpv4) => {
    fc.assert(
      fc.property(headers, fc.integer({ min: 0, max: 65_535 }), fc.boolean(), (header, length, isUdp) => {
        const layout = { isIpv4, isUdp, network: 0, transport: 40, payload: 40 };
        const pseudo = pseudoHeader(header, layout, length);
        const sum = isIpv4 ? pseudoHeaderSum4 : pseudoHeaderSum6;
        expect(sum(header, 0, isUdp ? 17 : 6, length)).toBe(referenceSum(pseudo, 0, pseudo.length));
      }),
    );
  });
});

describe('an IPv4 header', () => {
  test('with its checksum sums to all ones', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 60, maxLength: 60 }), fc.integer({ min: 5, max: 15 }), (header, size) => {
        const checksum = ipv4HeaderChecksum(header, 0, 4 * size);
        header[10] = checksum >> 8;
        header[11] = checksum & 0xff;
        expect(referenceSum(header, 0, 4 * size)).toBe(0xffff);
      }),
    );
  });
});

describe('a checksum after a change', () => {
  const packets = fc
    .uint8Array({ minLength: 20, maxLength: 20 })
    .filter((octets) => octets.some((octet) => octet !== 0));

  test('of one word verifies as the one computed anew does', () => {
    fc.assert(
      fc.property(packets, words, (octets, after) => {
        const checksum = ~sumOctets(octets, 0, 20, 0) & 0xffff;
        const updated = updateChecksum(checksum, (octets[4] << 8) | octets[5], after);
        octets[4] = after >> 8;
        octets[5] = after & 0xff;
        expect(fold(sumOctets(octets, 0, 20, 0) + updated)).toBe(0xffff);
      }),
    );
  });

  test('follows the example of RFC 1624 section 4, where the older equation gives the wrong zero', () => {
    expect(updateChecksum(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
  });
});
