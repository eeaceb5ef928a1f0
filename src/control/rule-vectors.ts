/**
 * The vectors of a compiled rule set (pipeline/classifier.ts) while it is made: a sweep along a dimension's values turns
 * rules' bits on and off where their intervals begin and end, and keeps each chunk and each vector that comes up once.
 * 10,000 rules with an interval each make 20,000 vectors of which neighbours differ in a chunk: 3 MiB instead of 25.
 * Main thread.
 */
import { CHUNK_SHIFT, CHUNK_WORDS } from '../pipeline/classifier.js';

/** Of a dimension's values, IPv6 addresses as BigInt, everything else as numbers. `to` is behind the last one. */
export interface Interval<Value extends number | bigint = number | bigint> {
  readonly from: Value;
  readonly to: Value;
}

/** Words that grow as they are written. */
export class WordWriter {
  private words = new Int32Array(1024);
  length = 0;

  push(value: number): void {
    this.reserve(1);
    this.words[this.length++] = value;
  }

  /** Returns where they begin. */
  append(values: ArrayLike<number>): number {
    const start = this.length;
    this.reserve(values.length);
    this.words.set(values, start);
    this.length += values.length;
    return start;
  }

  at(position: number): number {
    return this.words[position];
  }

  set(position: number, value: number): void {
    this.words[position] = value;
  }

  isEqual(position: number, values: ArrayLike<number>): boolean {
    for (let index = 0; index < values.length; index++)
      if (this.words[position + index] !== values[index]) return false;
    return true;
  }

  shared(): Int32Array {
    const words = new Int32Array(new SharedArrayBuffer(this.length * Int32Array.BYTES_PER_ELEMENT));
    words.set(this.words.subarray(0, this.length));
    return words;
  }

  private reserve(count: number): void {
    if (this.length + count <= this.words.length) return;
    const larger = new Int32Array(Math.max(this.words.length * 2, this.length + count));
    larger.set(this.words.subarray(0, this.length));
    this.words = larger;
  }
}

/** Sequences of words that are kept once each. */
class Interned {
  private readonly writer: WordWriter;
  /** Positions by hash. Keyed by what an operator wrote, on the main thread. */
  private readonly positions = new Map<number, number[]>();

  constructor(writer: WordWriter) {
    this.writer = writer;
  }

  keep(values: Int32Array): number {
    let hash = values.length;
    for (let index = 0; index < values.length; index++) {
      hash = Math.imul(hash ^ values[index], 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    const known = this.positions.get(hash);
    const found = known?.find((position) => this.writer.isEqual(position, values));
    if (found !== undefined) return found;
    const position = this.writer.append(values);
    if (known === undefined) this.positions.set(hash, [position]);
    else known.push(position);
    return position;
  }
}

/** A dimension once swept: the first value of each interval, and its record. */
export interface Swept<Value extends number | bigint> {
  readonly bounds: Value[];
  readonly records: number[];
}

export class RuleVectors {
  private readonly chunkCount: number;
  /** Words of a chunk behind its summary; fewer than CHUNK_WORDS in a set that fits fewer. */
  private readonly chunkWords: number;
  private readonly chunks: Interned;
  private readonly vectors: Interned;
  /** The vector in hand. */
  private readonly bits: Int32Array;
  private readonly record: Int32Array;
  private readonly changed: Set<number> = new Set();

  constructor(writer: WordWriter, bitCount: number) {
    this.chunks = new Interned(writer);
    this.vectors = new Interned(writer);
    this.chunkCount = (bitCount + (1 << CHUNK_SHIFT) - 1) >> CHUNK_SHIFT;
    this.chunkWords = Math.min((bitCount + 31) >> 5, CHUNK_WORDS);
    this.bits = new Int32Array(this.chunkCount * this.chunkWords);
    this.record = new Int32Array(this.chunkCount);
  }

  /** Record of the vector with exactly these bits. */
  recordOf(bits: Iterable<number>): number {
    this.begin(bits);
    return this.keep();
  }

  /**
   * The dimension's values from `least` on. `free`: bits that are set everywhere; the others are set in their intervals,
   * which don't overlap.
   */
  sweep<Value extends number | bigint>(
    least: Value,
    free: Iterable<number>,
    intervals: ReadonlyMap<number, readonly Interval<Value>[]>,
  ): Swept<Value> {
    this.begin(free);
    const changes: { at: Value; bit: number }[] = [];
    for (const [bit, list] of intervals)
      for (const { from, to } of list) changes.push({ at: from, bit }, { at: to, bit });
    changes.sort((one, other) => (one.at < other.at ? -1 : one.at > other.at ? 1 : 0));
    const swept: Swept<Value> = { bounds: [], records: [] };
    let index = 0;
    for (let at = least; ; at = changes[index].at) {
      for (; index < changes.length && changes[index].at <= at; index++) this.turn(changes[index].bit);
      const record = this.keep();
      if (record !== swept.records.at(-1)) {
        swept.bounds.push(at);
        swept.records.push(record);
      }
      if (index === changes.length) return swept;
    }
  }

  private begin(bits: Iterable<number>): void {
    this.bits.fill(0);
    for (let chunk = 0; chunk < this.chunkCount; chunk++) this.changed.add(chunk);
    for (const bit of bits) this.turn(bit);
  }

  private turn(bit: number): void {
    const chunk = bit >> CHUNK_SHIFT;
    this.bits[chunk * this.chunkWords + ((bit >> 5) & (CHUNK_WORDS - 1))] ^= 1 << (bit & 31);
    this.changed.add(chunk);
  }

  private keep(): number {
    for (const chunk of this.changed) {
      const words = new Int32Array(1 + this.chunkWords);
      words.set(this.bits.subarray(chunk * this.chunkWords, (chunk + 1) * this.chunkWords), 1);
      for (let word = 0; word < this.chunkWords; word++) if (words[1 + word] !== 0) words[0] |= 1 << word;
      this.record[chunk] = this.chunks.keep(words);
    }
    this.changed.clear();
    return this.vectors.keep(this.record);
  }
}

/** Sorted and without overlaps. */
export function merged<Value extends number | bigint>(intervals: readonly Interval<Value>[]): Interval<Value>[] {
  if (intervals.length < 2) return [...intervals];
  const sorted = [...intervals].sort((one, other) => (one.from < other.from ? -1 : one.from > other.from ? 1 : 0));
  const result: Interval<Value>[] = [];
  for (const interval of sorted) {
    const last = result.at(-1);
    if (last === undefined || interval.from > last.to) result.push(interval);
    else if (interval.to > last.to) result[result.length - 1] = { from: last.from, to: interval.to };
  }
  return result;
}
