import { describe, expect, test } from 'vitest';
import { Kernels } from '../../src/kernels/kernels.js';
import { fillOctets, referenceSum } from './reference.js';

const memory = new WebAssembly.Memory({ initial: 8, maximum: 8 });
const octets = new Uint8Array(memory.buffer);
const kernels = new Kernels(memory);
const FROM = 1024;
const TO = 262_144;
const LENGTHS_MAX = 2100;
const alignments = [0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 63];
const long = [4096, 9018, 65_000, 65_535, 65_600];

fillOctets(octets.subarray(0, TO), 7);

/** The first octet of [start, end) that isn't the guard value; -1 if all are. */
function disturbed(start: number, end: number): number {
  for (let index = start; index < end; index++) if (octets[index] !== 0xa5) return index;
  return -1;
}

/** Copies with `run`; says what is wrong with the outcome, or nothing. */
function copyFault(from: number, to: number, length: number, run: () => void): string | undefined {
  octets.fill(0xa5, to - 80, to + length + 80);
  run();
  if (disturbed(to - 80, to) !== -1) return `wrote before the target (length ${length}, to ${to})`;
  if (disturbed(to + length, to + length + 80) !== -1) return `wrote behind the target (length ${length}, to ${to})`;
  for (let index = 0; index < length; index++) {
    if (octets[to + index] !== octets[from + index]) return `octet ${index} of ${length} differs (to ${to})`;
  }
  return undefined;
}

describe('checksum', () => {
  test.each(alignments)('agrees with RFC 1071 at every length at alignment %i', (alignment) => {
    for (let length = 0; length <= LENGTHS_MAX; length++) {
      const expected = referenceSum(octets, FROM + alignment, length);
      if (kernels.checksum(FROM + alignment, length, 0) !== expected) expect.fail(`differs at length ${length}`);
    }
    expect(kernels.checksum(FROM + alignment, 0, 0)).toBe(0);
  });

  test.each(long)('agrees with RFC 1071 for %i octets at every alignment', (length) => {
    for (const alignment of alignments) {
      const expected = referenceSum(octets, FROM + alignment, length);
      expect(kernels.checksum(FROM + alignment, length, 0)).toBe(expected);
    }
  });

  test('adds any 32-bit partial sum', () => {
    for (const initial of [0, 1, 0xffff, 0x10000, 0x1fffe, 0x7fffffff, 0x80000000, 0xffffffff]) {
      for (const length of [0, 1, 20, 63, 64, 1460]) {
        expect(kernels.checksum(FROM, length, initial)).toBe(referenceSum(octets, FROM, length, initial));
      }
    }
  });

  test('does not overflow when every octet is 255', () => {
    octets.fill(0xff, TO, TO + 65_600);
    expect(kernels.checksum(TO, 65_600, 0xffffffff)).toBe(0xffff);
    octets.fill(0, TO, TO + 65_600);
    expect(kernels.checksum(TO, 65_600, 0)).toBe(0);
  });

  test('traps on a range that leaves the memory', () => {
    expect(() => kernels.checksum(octets.length - 8, 9, 0)).toThrow();
  });
});

describe('copy', () => {
  test.each(alignments)('copies every length to alignment %i and touches nothing else', (alignment) => {
    for (let length = 0; length <= LENGTHS_MAX; length += length < 600 ? 1 : 7) {
      const from = FROM + ((length * 5) % 64);
      const to = TO + alignment;
      const fault = copyFault(from, to, length, () => kernels.copy(from, to, length));
      if (fault !== undefined) expect.fail(fault);
    }
    expect(octets[TO + alignment - 1]).toBe(0xa5);
  });

  test.each(long)('copies %i octets', (length) => {
    expect(copyFault(FROM + 3, TO + 1, length, () => kernels.copy(FROM + 3, TO + 1, length))).toBeUndefined();
  });
});

describe('copyAndChecksum', () => {
  test.each(alignments)('copies and sums every length to alignment %i and touches nothing else', (alignment) => {
    for (let length = 0; length <= LENGTHS_MAX; length++) {
      const from = FROM + ((length * 5) % 64);
      const to = TO + alignment;
      let sum = -1;
      const fault = copyFault(from, to, length, () => {
        sum = kernels.copyAndChecksum(from, to, length, 0x12345);
      });
      if (fault !== undefined) expect.fail(fault);
      if (sum !== referenceSum(octets, from, length, 0x12345)) expect.fail(`sum differs at length ${length}`);
    }
    expect(octets[TO + alignment - 1]).toBe(0xa5);
  });

  test.each(long)('copies and sums %i octets', (length) => {
    let sum = -1;
    const fault = copyFault(FROM + 3, TO + 1, length, () => {
      sum = kernels.copyAndChecksum(FROM + 3, TO + 1, length, 0);
    });
    expect(fault).toBeUndefined();
    expect(sum).toBe(referenceSum(octets, FROM + 3, length));
  });
});

describe('a move to the left', () => {
  const source = new Uint8Array(4096);
  fillOctets(source, 11);
  const lengths = [...Array.from({ length: 200 }, (_, length) => length), 511, 512, 513, 600, 1024, 1448, 1449, 2047];

  /** Moves by `distance` with `run`; says what is wrong, or nothing. */
  function moveFault(distance: number, length: number, run: (from: number, to: number) => void): string | undefined {
    const to = TO + (length % 16);
    const from = to + distance;
    octets.fill(0xa5, to - 80, from + length + 80);
    octets.set(source.subarray(0, length), from);
    run(from, to);
    const moved = Buffer.compare(octets.subarray(to, to + length), source.subarray(0, length)) === 0;
    if (!moved) return `wrong octets (length ${length}, distance ${distance})`;
    const rest = source.subarray(Math.max(length - distance, 0), length);
    const kept = Buffer.compare(octets.subarray(from + length - rest.length, from + length), rest) === 0;
    const guarded = disturbed(to - 80, to) === -1 && disturbed(from + length, from + length + 80) === -1;
    return kept && guarded ? undefined : `touched what lies around (length ${length}, distance ${distance})`;
  }

  test('by any distance is right though source and target overlap', () => {
    for (let distance = 1; distance <= 80; distance++) {
      for (const length of lengths) {
        expect(moveFault(distance, length, (from, to) => kernels.copy(from, to, length))).toBeUndefined();
      }
    }
  });

  test('by any distance is right with a sum of what lay there before', () => {
    for (let distance = 1; distance <= 80; distance++) {
      for (const length of lengths) {
        let sum = -1;
        const fault = moveFault(distance, length, (from, to) => {
          sum = kernels.copyAndChecksum(from, to, length, 5);
        });
        expect(fault).toBeUndefined();
        expect(sum).toBe(referenceSum(source, 0, length, 5));
      }
    }
  });
});

describe.each([
  ['IPv4', 34, [16, 17, 18, 19, 24, 25]],
  ['IPv6', 54, [18, 19]],
])('the headers of two segments over %s', (version, transport, free) => {
  const same = version === 'IPv4' ? kernels.sameHeaders4 : kernels.sameHeaders6;
  const tcpFree = [4, 5, 6, 7, 16, 17].map((at) => transport + at);
  const sizes = Array.from({ length: 11 }, (_, words) => 20 + 4 * words);
  const FIRST = 4096 + 64;
  const SECOND = 8192 + 3;

  test.each(sizes)('with %i octets of TCP differ by every bit of what is shared, and by none of the rest', (size) => {
    octets.copyWithin(SECOND, FIRST, FIRST + 256);
    const wrong: number[] = [];
    for (let bit = 0; bit < 8 * (transport + size + 40); bit++) {
      const at = bit >> 3;
      const mask = 1 << (bit & 7);
      const isPush = at === transport + 13 && mask === 8;
      const isShared = !isPush && at < transport + size && !free.includes(at) && !tcpFree.includes(at);
      octets[SECOND + at] ^= mask;
      const found = [same(FIRST, SECOND, size), same(SECOND, FIRST, size)];
      octets[SECOND + at] ^= mask;
      if (found.some((verdict) => verdict !== (isShared ? 0 : 1))) wrong.push(bit);
    }
    expect(wrong).toEqual([]);
    expect(same(FIRST, SECOND, size)).toBe(1);
  });
});
