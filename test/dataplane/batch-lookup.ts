/** Looks up many keys of two words in the three rounds that the table offers for a batch, as the pipeline does. */
import type { SharedTable } from '../../src/dataplane/shared-table.js';

export interface Found {
  /** -1: not found. */
  readonly entry: number;
  readonly value: number;
}

export function findBatch(table: SharedTable, keys: readonly (readonly [number, number])[]): Found[] {
  const places = Math.ceil(keys.length / 8) * 8;
  const hashes = new Int32Array(places);
  const candidates = new Int32Array(places);
  keys.forEach(([word0, word1], index) => {
    hashes[index] = table.hash.pair(word0, word1);
  });
  table.touchBuckets(hashes, keys.length);
  keys.forEach((_, index) => {
    candidates[index] = table.candidate(hashes[index]);
  });
  table.touchEntries(candidates, keys.length);
  return keys.map(([word0, word1], index) => {
    const isThere = table.stillHolds(candidates[index], word0, word1);
    const entry = isThere ? candidates[index] : table.findPair(hashes[index], word0, word1);
    return { entry, value: table.found[0] };
  });
}
