import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SeededHash } from '../../src/dataplane/seeded-hash.js';

/** HalfSipHash-1-3 over 32-bit words without the length block, in unbounded integers, as the paper writes it. */
function reference(seed0: number, seed1: number, words: readonly number[]): number {
  const mask = 0xffffffffn;
  const unsigned = (value: number) => BigInt(value >>> 0);
  const rotate = (value: bigint, by: bigint) => ((value << by) | (value >> (32n - by))) & mask;
  let v = [unsigned(seed0), unsigned(seed1), 0x6c796765n ^ unsigned(seed0), 0x74656462n ^ unsigned(seed1)];
  const round = () => {
    let [a, b, c, d] = v as [bigint, bigint, bigint, bigint];
    a = (a + b) & mask;
    b = rotate(b, 5n) ^ a;
    a = rotate(a, 16n);
    c = (c + d) & mask;
    d = rotate(d, 8n) ^ c;
    a = (a + d) & mask;
    d = rotate(d, 7n) ^ a;
    c = (c + b) & mask;
    b = rotate(b, 13n) ^ c;
    c = rotate(c, 16n);
    v = [a, b, c, d];
  };
  for (const word of words) {
    v[3] = v[3]! ^ unsigned(word);
    round();
    v[0] = v[0]! ^ unsigned(word);
  }
  v[2] = v[2]! ^ 0xffn;
  for (let count = 0; count < 3; count++) round();
  return Number(v[1]! ^ v[3]!) | 0;
}

const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });

describe('the seeded hash', () => {
  it('of three to sixteen words is HalfSipHash-1-3', () => {
    fc.assert(
      fc.property(word, word, fc.array(word, { minLength: 3, maxLength: 16 }), (seed0, seed1, words) => {
        const padded = Int32Array.from([-1, ...words, -1]);
        expect(new SeededHash(seed0, seed1).words32(padded, 1, words.length)).toBe(reference(seed0, seed1, words));
      }),
      { numRuns: 50 },
    );
  });

  it('of two words is the same alone, in an array and in a batch', () => {
    const hash = new SeededHash(1, 2);
    fc.assert(
      fc.property(word, word, (word0, word1) => {
        const hashes = new Int32Array(2).fill(0x5a);
        hash.pairs(Int32Array.of(word0), Int32Array.of(word1), hashes, 1);
        expect([hash.pair(word0, word1), 0x5a]).toEqual([...hashes]);
        expect(hash.words32(Int32Array.of(9, word0, word1), 1, 2)).toBe(hashes[0]);
      }),
    );
  });

  it('of four words differs with each bit of the key, and from what a pair or their order would give', () => {
    const hash = new SeededHash(1, 2);
    const whole = hash.quad(1, 2, 3, 4);
    for (let bit = 0; bit < 128; bit++) {
      const words = [1, 2, 3, 4].map((value, index) => (index === bit >> 5 ? value ^ (1 << (bit & 31)) : value));
      expect(hash.quad(words[0]!, words[1]!, words[2]!, words[3]!)).not.toBe(whole);
    }
    expect(hash.quad(3, 4, 1, 2)).not.toBe(whole);
    expect(new SeededHash(1, 3).quad(1, 2, 3, 4)).not.toBe(whole);
  });

  it('differs from seed to seed, and with each bit of the key', () => {
    const one = new SeededHash(1, 2);
    const other = new SeededHash(1, 3);
    for (let bit = 0; bit < 64; bit++) {
      const word0 = bit < 32 ? 1 << bit : 0;
      const word1 = bit < 32 ? 0 : 1 << (bit - 32);
      expect(one.pair(word0, word1)).not.toBe(one.pair(0, 0));
      expect(one.pair(word0, word1)).not.toBe(other.pair(word0, word1));
    }
  });
});
