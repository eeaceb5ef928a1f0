import { describe, expect, test } from 'vitest';
import { GRE_HAS_CHECKSUM, GRE_HAS_KEY, GRE_HAS_SEQUENCE, isGreChecksumRight, writeGre } from '../../src/wire/gre.js';
import { fillOctets, referenceSum } from '../kernels/reference.js';

describe("GRE's checksum", () => {
  const arena = new Uint8Array(70_000);

  test('is the reference sum of header and payload at every length and alignment', () => {
    fillOctets(arena, 3);
    for (let start = 16; start < 24; start++)
      for (let size = 0; size < 80; size++) {
        const end = start + 16 + size;
        writeGre(arena, start, end, GRE_HAS_CHECKSUM | GRE_HAS_KEY | GRE_HAS_SEQUENCE, size, start);
        expect(referenceSum(arena, start, end - start)).toBe(0xffff);
        expect(isGreChecksumRight(arena, start, end)).toBe(true);
        arena[end - 1] ^= 1;
        expect(isGreChecksumRight(arena, start, end)).toBe(false);
      }
  });

  test.each([0, 0x5b, 0xff])('is right for the longest packet, all of it octets of value %i', (octet) => {
    arena.fill(octet);
    writeGre(arena, 0, 65_535, GRE_HAS_CHECKSUM, 0, 0);
    expect(referenceSum(arena, 0, 65_535)).toBe(0xffff);
    expect(isGreChecksumRight(arena, 0, 65_535)).toBe(true);
  });
});
