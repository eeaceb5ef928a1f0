/**
 * Keys chosen by somebody who knows the code but not the seed must not be dearer than random ones. The cost is counted:
 * entries in the buckets that searches for all the keys have to look at.
 */
import { describe, expect, it } from 'vitest';
import { SeededHash } from '../../src/dataplane/seeded-hash.js';
import { SharedTable, sharedTableSize } from '../../src/dataplane/shared-table.js';

const COUNT = 8192;
const SEEDS = Array.from({ length: 12 }, (_, index) => [index * 0x9e3779b1, ~index] as const);

type Keys = (index: number, keyWords: number) => number[];

/** Words of a small generator with a fixed seed. */
function randomWords(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  };
}

const random = randomWords(4711);
const spread = (low: number, high: number, keyWords: number) => [low, high, ...new Array(keyWords - 2).fill(0)];

/** 8192 keys that share the low 13 bits of the hash under a seed of the attacker's own. */
function collidingElsewhere(): number[][] {
  const own = new SeededHash(123, 456);
  const keys: number[][] = [];
  for (let word = 0; keys.length < 64; word++) if ((own.pair(0x0200, word) & 8191) === 0) keys.push([0x0200, word]);
  return keys;
}
const elsewhere = collidingElsewhere();

const sets: Record<string, Keys> = {
  'addresses counted up': (index, keyWords) => spread(0x0200, index, keyWords),
  'addresses that differ in the top bits only': (index, keyWords) => spread(0x0200, index << 19, keyWords),
  'addresses that differ in one octet of each word': (index, keyWords) =>
    spread(index & 127, (index >> 7) << 24, keyWords),
  'multiples of a power of two': (index, keyWords) => spread(index << 16, 0, keyWords),
  'differences that cancel in multiply and xorshift mixing': (index, keyWords) => {
    const difference = (index & 127) << 25;
    return spread(difference, difference ^ (difference >>> 15) ^ ((index >> 7) << 25), keyWords);
  },
  'keys that collide under another seed': (index, keyWords) =>
    spread(elsewhere[index & 63]![0]! + ((index >> 6) << 16), elsewhere[index & 63]![1]!, keyWords),
  'the same word repeated': (index, keyWords) => new Array(keyWords).fill(Math.imul(index, 0x01010101)),
};

function cost(keys: Keys, keyWords: number, seed: readonly [number, number]): number {
  const shape = { capacity: COUNT, keyWords, valueWords: 1, groupCount: 1 };
  const table = new SharedTable(new ArrayBuffer(sharedTableSize(shape)), 0, shape, seed);
  const value = new Int32Array(1);
  const hashes: number[] = [];
  for (let index = 0; index < COUNT; index++) {
    const key = Int32Array.from(keys(index, keyWords));
    const hash = table.hash.words32(key, 0, keyWords);
    if (table.find(hash, key, 0) !== -1) continue;
    table.insert(hash, key, value, 0, 0);
    hashes.push(hash);
  }
  return hashes.reduce((sum, hash) => sum + table.bucketLength(hash), 0) / hashes.length;
}

// Of the FDB, of small ones, of neighbours and tunnels, of connections, of fragments.
describe.each([2, 3, 5, 10, 11])('with keys of %i words', (keyWords) => {
  it.each(Object.keys(sets))('%s cost at most 1.5 times what random ones do, under every seed', (name) => {
    const fair = cost((_, words) => Array.from({ length: words }, random), keyWords, [1, 2]);
    expect(fair).toBeGreaterThan(1);
    for (const seed of SEEDS) expect(cost(sets[name]!, keyWords, seed)).toBeLessThan(1.5 * fair);
  });
});
