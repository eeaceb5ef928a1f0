/**
 * Sets of addresses as the dataplane searches them (pipeline/address-sets.ts): a sweep along each family's addresses, with
 * a row of bits for each combination of sets that comes up. Main thread.
 */
import type { AddressSets } from '../pipeline/address-sets.js';
import { ORDER_BIT } from '../pipeline/classifier.js';
import type { Prefix } from '../wire/address.js';

/** `sets`: the prefixes of each set, by its number; a hole has none. */
export function compileAddressSets(sets: readonly (readonly Prefix[] | undefined)[]): AddressSets {
  const rows = new Rows(Math.max(1, (sets.length + 31) >> 5));
  const family4 = sweep(sets, 4, rows);
  const family6 = sweep(sets, 16, rows);
  return {
    bounds4: shared(family4.bounds.map((bound) => (Number(bound) ^ ORDER_BIT) | 0)),
    bounds6: shared(family6.bounds.flatMap(orderedWords)),
    rows4: shared(family4.rows),
    rows6: shared(family6.rows),
    rowWords: rows.size,
    bits: shared(rows.words),
  };
}

/** Rows that are kept once each. */
class Rows {
  readonly size: number;
  readonly words: number[] = [];
  private readonly known = new Map<string, number>();

  constructor(size: number) {
    this.size = size;
    this.rowOf(new Set());
  }

  rowOf(sets: ReadonlySet<number>): number {
    const bits = new Array<number>(this.size).fill(0);
    for (const set of sets) bits[set >>> 5] = (bits[set >>> 5] ?? 0) | (1 << (set & 31));
    const key = bits.join(' ');
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const row = this.words.length / this.size;
    for (const word of bits) this.words.push(word);
    this.known.set(key, row);
    return row;
  }
}

interface Change {
  readonly at: bigint;
  readonly set: number;
  readonly by: 1 | -1;
}

/** First addresses of the intervals and their rows; the first begins at 0. */
function sweep(
  sets: readonly (readonly Prefix[] | undefined)[],
  size: number,
  rows: Rows,
): { bounds: bigint[]; rows: number[] } {
  const changes: Change[] = [];
  for (const [set, prefixes] of sets.entries())
    for (const { address, length } of prefixes ?? []) {
      if (address.length !== size) continue;
      const from = numberOf(address);
      changes.push({ at: from, set, by: 1 }, { at: from + (1n << BigInt(size * 8 - length)), set, by: -1 });
    }
  changes.sort((one, other) => (one.at < other.at ? -1 : one.at > other.at ? 1 : 0));
  const swept = { bounds: [0n], rows: [0] };
  const depth = new Map<number, number>();
  const active = new Set<number>();
  const end = 1n << BigInt(size * 8);
  for (let index = 0; index < changes.length; ) {
    const { at } = changes[index];
    for (; changes[index]?.at === at; index++) turn(changes[index], depth, active);
    if (at !== end) append(swept, at, rows.rowOf(active));
  }
  return swept;
}

function append(swept: { bounds: bigint[]; rows: number[] }, at: bigint, row: number): void {
  if (at === 0n) swept.rows[0] = row;
  else if (swept.rows.at(-1) !== row) {
    swept.bounds.push(at);
    swept.rows.push(row);
  }
}

/** A set may have an address by several prefixes. */
function turn({ set, by }: Change, depth: Map<number, number>, active: Set<number>): void {
  const now = (depth.get(set) ?? 0) + by;
  depth.set(set, now);
  if (now === 0) active.delete(set);
  else active.add(set);
}

function numberOf(address: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(address).toString('hex')}`);
}

function orderedWords(address: bigint): number[] {
  return [96n, 64n, 32n, 0n].map((shift) => (Number((address >> shift) & 0xffff_ffffn) ^ ORDER_BIT) | 0);
}

function shared(values: readonly number[]): Int32Array {
  const words = new Int32Array(new SharedArrayBuffer(values.length * Int32Array.BYTES_PER_ELEMENT));
  words.set(values);
  return words;
}
