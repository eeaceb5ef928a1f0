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
