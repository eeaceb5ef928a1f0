/**
 * The memory of a shared table and everything that may be done to it without the lock. shared-table.ts says how the table
 * works and what readers may rely on; it adds the writers. @hot
 */
import { randomBytes } from 'node:crypto';
import { SeededHash } from './seeded-hash.js';

/** lastSeen of an entry that never ages. */
export const NEVER_AGES = 0x7fffffff;
/** Longest chain behind a bucket. At one entry a bucket one of 16 has a probability of 1e-18. */
export const CHAIN_MAX = 64;

const MAGIC = 0x54425731;
export const HEADER_WORDS = 64;
const H_MAGIC = 0;
const H_CAPACITY = 1;
const H_KEY_WORDS = 2;
const H_VALUE_WORDS = 3;
const H_GROUP_COUNT = 4;
const H_SEED0 = 5;
const H_SEED1 = 6;
export const H_LOCK = 16;
export const H_FREE = 17;
/** Entries from this number on were never used. 0 in zeroed memory stands for 1. */
export const H_FRESH = 18;
export const H_USED = 19;
export const H_SWEEP = 20;
export const H_REBUILDS = 21;

export const STAMP = 0;
export const NEXT = 1;
export const LAST_SEEN = 2;
export const KEY = 3;
/** A word of the second cache line of an entry that has two. */
const TAIL = 16;

/** A bucket: three references, and the head of a chain of further ones. A reference is 10 bits of hash and an entry. */
export const BUCKET_WORDS = 4;
export const CHAIN_HEAD = 3;
export const ENTRY_BITS = 22;
export const ENTRY_MASK = (1 << ENTRY_BITS) - 1;
/** Most entries a table can have. */
export const TABLE_CAPACITY_MAX = ENTRY_MASK;

export const COLD_WORDS = 4;
export const GROUP = 0;
export const PREVIOUS = 1;
export const FOLLOWING = 2;
export const LISTED = 3;

export const GROUP_WORDS = 4;
export const COUNT = 0;
export const FIRST = 1;
export const LAST = 2;

/** x86 keeps the order of loads among themselves and of stores among themselves; elsewhere a reader confirms by Atomics. */
export const LOADS_KEEP_ORDER = process.arch === 'x64' || process.arch === 'ia32';

export interface TableShape {
  /** Entries, at most TABLE_CAPACITY_MAX. */
  readonly capacity: number;
  /** 32-bit words of a key, 2 to 16. */
  readonly keyWords: number;
  readonly valueWords: number;
  readonly groupCount: number;
}

interface Layout {
  readonly bucketCount: number;
  readonly entryWords: number;
  /** Positions in words from the table's start. */
  readonly buckets: number;
  readonly hot: number;
  readonly cold: number;
  readonly groups: number;
  readonly end: number;
}

function layoutOf(shape: TableShape): Layout {
  const whole = (words: number) => Math.ceil(words / 16) * 16;
  let bucketCount = 1;
  while (bucketCount < shape.capacity) bucketCount *= 2;
  const needed = KEY + shape.keyWords + shape.valueWords;
  // Multiples of 8 words: one of 8 or 16 lies in one cache line or two, one of 24 always in two, never in three.
  const entryWords = needed <= 16 && needed > 8 ? 16 : Math.ceil(needed / 8) * 8;
  const buckets = HEADER_WORDS;
  const hot = buckets + whole(bucketCount * BUCKET_WORDS);
  const cold = hot + whole((shape.capacity + 1) * entryWords);
  const groups = cold + whole((shape.capacity + 1) * COLD_WORDS);
  const end = groups + whole(shape.groupCount * GROUP_WORDS);
  return { bucketCount, entryWords, buckets, hot, cold, groups, end };
}

/** Octets of memory a table of this shape takes; a multiple of 64. */
export function sharedTableSize(shape: TableShape): number {
  return layoutOf(shape).end * 4;
}

export class TableReader {
  readonly shape: TableShape;
  /** Value words of the entry that `find` or `findPair` returned last. */
  readonly found: Int32Array;
  readonly hash: SeededHash;
  protected readonly header: Int32Array;
  protected readonly buckets: Int32Array;
  protected readonly bucketMask: number;
  protected readonly hot: Int32Array;
  /** The same words as `hot` by another array, so that no compiler merges a reader's second load with its first. */
  protected readonly hotAgain: Int32Array;
  protected readonly entryWords: number;
  protected readonly valueAt: number;
  protected readonly cold: Int32Array;
  protected readonly groups: Int32Array;

  /**
   * A table over `memory` from `byteOffset` (a multiple of 4; on a cache line if it should be fast). Zeroed memory is made a table with a seed from the
   * operating system, or `seed` in a simulation; that must be done by one thread before others attach. Throws when the
   * memory holds a table of another shape. After a crash call `recover` before anything else.
   */
  constructor(memory: ArrayBufferLike, byteOffset: number, shape: TableShape, seed?: readonly [number, number]) {
    if (shape.capacity < 1 || shape.capacity > TABLE_CAPACITY_MAX) throw new Error('shared table: impossible capacity');
    const layout = layoutOf(shape);
    const words = (from: number, to: number) => new Int32Array(memory, byteOffset + from * 4, to - from);
    this.shape = shape;
    this.header = words(0, HEADER_WORDS);
    this.buckets = words(layout.buckets, layout.buckets + layout.bucketCount * BUCKET_WORDS);
    this.bucketMask = layout.bucketCount - 1;
    this.hot = words(layout.hot, layout.cold);
    this.hotAgain = words(layout.hot, layout.cold);
    this.cold = words(layout.cold, layout.groups);
    this.groups = words(layout.groups, layout.end);
    this.entryWords = layout.entryWords;
    this.valueAt = KEY + shape.keyWords;
    this.found = new Int32Array(shape.valueWords);
    if (this.header[H_MAGIC] === 0) this.initialise(seed);
    else this.verify();
    this.hash = new SeededHash(this.header[H_SEED0]!, this.header[H_SEED1]!);
  }

  private initialise(seed: readonly [number, number] | undefined): void {
    const random = randomBytes(8);
    this.header[H_CAPACITY] = this.shape.capacity;
    this.header[H_KEY_WORDS] = this.shape.keyWords;
    this.header[H_VALUE_WORDS] = this.shape.valueWords;
    this.header[H_GROUP_COUNT] = this.shape.groupCount;
    this.header[H_SEED0] = seed?.[0] ?? random.readInt32LE(0);
    this.header[H_SEED1] = seed?.[1] ?? random.readInt32LE(4);
    this.header[H_FRESH] = 1;
    Atomics.store(this.header, H_MAGIC, MAGIC);
  }

  private verify(): void {
    const { header, shape } = this;
    const fits =
      header[H_MAGIC] === MAGIC &&
      header[H_CAPACITY] === shape.capacity &&
      header[H_KEY_WORDS] === shape.keyWords &&
      header[H_VALUE_WORDS] === shape.valueWords &&
      header[H_GROUP_COUNT] === shape.groupCount;
    if (!fits) throw new Error('shared table: the memory holds a table of another shape');
  }

  // ---- readers -------------------------------------------------------------------------------------------------

  /**
   * For look-ups of a whole batch, in three rounds so that their cache misses overlap: `touchBuckets`, then `candidate` of
   * each hash and `touchEntries`, then `stillHolds`, and `find` for the few whose candidate was another key's. Eight loads
   * in a row without a branch: V8's code for a loop of one load each lets three of them overlap (21.7 ns a line; so 7.7).
   */
  touchBuckets(hashes: Int32Array, count: number): void {
    const { buckets, bucketMask } = this;
    let seen = 0;
    for (let index = 0; index < count; index += 8) {
      seen ^=
        buckets[(hashes[index] & bucketMask) * BUCKET_WORDS] ^
        buckets[(hashes[index + 1] & bucketMask) * BUCKET_WORDS] ^
        buckets[(hashes[index + 2] & bucketMask) * BUCKET_WORDS] ^
        buckets[(hashes[index + 3] & bucketMask) * BUCKET_WORDS] ^
        buckets[(hashes[index + 4] & bucketMask) * BUCKET_WORDS] ^
        buckets[(hashes[index + 5] & bucketMask) * BUCKET_WORDS] ^
        buckets[(hashes[index + 6] & bucketMask) * BUCKET_WORDS] ^
        buckets[(hashes[index + 7] & bucketMask) * BUCKET_WORDS];
    }
    this.seen = seen;
  }

  touchEntries(entries: Int32Array, count: number): void {
    this.touchWords(entries, count, STAMP);
  }

  /** After `touchEntries`: the cache lines of this word of the entries, of those of 24 words another one for some or for all. */
  touchWords(entries: Int32Array, count: number, word: number): void {
    const { hot, entryWords } = this;
    let seen = 0;
    for (let index = 0; index < count; index += 8) {
      seen ^=
        hot[entries[index] * entryWords + word] ^
        hot[entries[index + 1] * entryWords + word] ^
        hot[entries[index + 2] * entryWords + word] ^
        hot[entries[index + 3] * entryWords + word] ^
        hot[entries[index + 4] * entryWords + word] ^
        hot[entries[index + 5] * entryWords + word] ^
        hot[entries[index + 6] * entryWords + word] ^
        hot[entries[index + 7] * entryWords + word];
    }
    this.seen = seen;
  }

  /** After `touchEntries`, the second cache line of entries of 24 words. */
  touchTails(entries: Int32Array, count: number): void {
    this.touchWords(entries, count, TAIL);
  }

  /** Gives the touching loads a reader, or they would be optimised away. */
  protected seen = 0;

  /**
   * The entry that the key with this hash most likely is in, 0 for none: the one of its bucket with the same tag, else the
   * head of the chain. Without branches: which of the four it is can't be predicted, and a wrong guess costs 6 ns.
   */
  candidate(hash: number): number {
    const { buckets } = this;
    const at = (hash & this.bucketMask) * BUCKET_WORDS;
    const reference0 = buckets[at];
    const reference1 = buckets[at + 1];
    const reference2 = buckets[at + 2];
    const is0 = (((reference0 ^ hash) >>> ENTRY_BITS) - 1) >> 31;
    const is1 = (((reference1 ^ hash) >>> ENTRY_BITS) - 1) >> 31;
    const is2 = (((reference2 ^ hash) >>> ENTRY_BITS) - 1) >> 31;
    let chosen = buckets[at + CHAIN_HEAD];
    chosen = (reference2 & is2) | (chosen & ~is2);
    chosen = (reference1 & is1) | (chosen & ~is1);
    chosen = (reference0 & is0) | (chosen & ~is0);
    return chosen & ENTRY_MASK;
  }

  /**
   * Whether `entry`, a number from an earlier find, still lives and has this key; its first value word is then in `found`.
   * Spares the hash and the bucket to who looks for the same key again and again.
   */
  stillHolds(entry: number, word0: number, word1: number): boolean {
    const { hot, hotAgain } = this;
    const at = entry * this.entryWords;
    const stamp = hot[at];
    if (hot[at + KEY] !== word0 || hot[at + KEY + 1] !== word1) return false;
    if (!LOADS_KEEP_ORDER) {
      this.pair[0] = word0;
      this.pair[1] = word1;
      return this.holdsOrdered(entry, this.pair, 0);
    }
    this.found[0] = hotAgain[at + this.valueAt];
    return (stamp & 1) === 1 && hotAgain[at] === stamp;
  }

  /** The hash of the key at `start`, by which its entry is linked. A table of keys with much in common may hash less of them. */
  hashKey(key: Int32Array, start: number): number {
    return this.hash.words32(key, start, this.shape.keyWords);
  }

  /** The entry with this key of two words, its value in `found`; or -1. */
  findPair(hash: number, word0: number, word1: number): number {
    this.pair[0] = word0;
    this.pair[1] = word1;
    return this.find(hash, this.pair, 0);
  }

  private readonly pair = new Int32Array(2);

  /** The entry with this key, its value in `found`; or -1. */
  find(hash: number, key: Int32Array, start: number): number {
    const { buckets, hot, entryWords } = this;
    const at = (hash & this.bucketMask) * BUCKET_WORDS;
    for (let slot = 0; slot < CHAIN_HEAD; slot++) {
      const reference = buckets[at + slot]!;
      if ((reference ^ hash) >>> ENTRY_BITS === 0 && this.holds(reference & ENTRY_MASK, key, start))
        return reference & ENTRY_MASK;
    }
    let reference = buckets[at + CHAIN_HEAD]!;
    for (let step = 0; (reference & ENTRY_MASK) !== 0 && step < CHAIN_MAX; step++) {
      const entry = reference & ENTRY_MASK;
      if ((reference ^ hash) >>> ENTRY_BITS === 0 && this.holds(entry, key, start)) return entry;
      reference = hot[entry * entryWords + NEXT]!;
    }
    return -1;
  }

  /** Whether the entry, one that had this key before (0: none), still lives and has it; its value goes to `found`. */
  isEntryOf(entry: number, key: Int32Array, start: number): boolean {
    return this.holds(entry, key, start);
  }

  /** Whether the entry lives and has this key; its value goes to `found`. */
  protected holds(entry: number, key: Int32Array, start: number): boolean {
    const { hot, hotAgain, found } = this;
    if (!LOADS_KEEP_ORDER) return this.holdsOrdered(entry, key, start);
    const at = entry * this.entryWords;
    const stamp = hot[at]!;
    if (!this.keyIs(hot, at + KEY, key, start)) return false;
    for (let word = 0; word < found.length; word++) found[word] = hotAgain[at + this.valueAt + word]!;
    return (stamp & 1) === 1 && hotAgain[at] === stamp;
  }

  private keyIs(hot: Int32Array, at: number, key: Int32Array, start: number): boolean {
    for (let word = 0; word < this.shape.keyWords; word++) if (hot[at + word] !== key[start + word]) return false;
    return true;
  }

  /** As `holds`, where plain loads may pass each other: each load an acquiring one. */
  protected holdsOrdered(entry: number, key: Int32Array, start: number): boolean {
    const at = entry * this.entryWords;
    const stamp = Atomics.load(this.hot, at);
    if ((stamp & 1) === 0) return false;
    for (let word = 0; word < this.shape.keyWords; word++)
      if (Atomics.load(this.hot, at + KEY + word) !== key[start + word]) return false;
    for (let word = 0; word < this.found.length; word++)
      this.found[word] = Atomics.load(this.hot, at + this.valueAt + word);
    return Atomics.load(this.hot, at) === stamp;
  }

  lastSeen(entry: number): number {
    return this.hot[entry * this.entryWords + LAST_SEEN]!;
  }

  /** Notes that the entry was seen; stores at most once a second. Entries that never age stay so. */
  refresh(entry: number, nowSeconds: number): void {
    const at = entry * this.entryWords + LAST_SEEN;
    const last = this.hot[at]!;
    if (last !== nowSeconds && last !== NEVER_AGES) this.hot[at] = nowSeconds;
  }

  /** Copies key and value words of a live entry to `into` from 0, and says whether they belong together. */
  read(entry: number, into: Int32Array): boolean {
    if (!LOADS_KEEP_ORDER) return this.readOrdered(entry, into);
    const { hot, hotAgain } = this;
    const at = entry * this.entryWords;
    const stamp = hot[at]!;
    const count = this.shape.keyWords + this.shape.valueWords;
    for (let word = 0; word < count; word++) into[word] = hotAgain[at + KEY + word]!;
    return (stamp & 1) === 1 && hotAgain[at]! === stamp;
  }

  private readOrdered(entry: number, into: Int32Array): boolean {
    const at = entry * this.entryWords;
    const stamp = Atomics.load(this.hot, at);
    if ((stamp & 1) === 0) return false;
    const count = this.shape.keyWords + this.shape.valueWords;
    for (let word = 0; word < count; word++) into[word] = Atomics.load(this.hot, at + KEY + word);
    return Atomics.load(this.hot, at) === stamp;
  }

  keyWord(entry: number, word: number): number {
    return this.hot[entry * this.entryWords + KEY + word]!;
  }

  valueWord(entry: number, word: number): number {
    return this.hot[entry * this.entryWords + this.valueAt + word]!;
  }

  /**
   * Stores a value word without the lock, for words that mean something each by itself. Who may meet an entry that was given
   * to another key meanwhile compares `stampOf` first.
   */
  setValueWord(entry: number, word: number, value: number): void {
    this.hot[entry * this.entryWords + this.valueAt + word] = value;
  }

  /** Odd while the entry lives, and another number for whoever has the entry next. */
  stampOf(entry: number): number {
    return this.hot[entry * this.entryWords]!;
  }

  groupOf(entry: number): number {
    return this.cold[entry * COLD_WORDS + GROUP]!;
  }

  /** When the entry got its place in its group's list; `lastSeen` may be later. */
  listedAt(entry: number): number {
    return this.cold[entry * COLD_WORDS + LISTED]!;
  }

  groupCount(group: number): number {
    return this.groups[group * GROUP_WORDS + COUNT]!;
  }

  /** First entry of a group's list, or -1. */
  firstOf(group: number): number {
    return this.groups[group * GROUP_WORDS + FIRST]! || -1;
  }

  /** Live entries. */
  get used(): number {
    return this.header[H_USED]!;
  }

  get full(): boolean {
    return this.header[H_USED]! >= this.shape.capacity;
  }

  /** Times the table was rebuilt after a writer's death. */
  get rebuilds(): number {
    return this.header[H_REBUILDS]!;
  }

  /** Number behind the last entry ever used: entries 1 .. limit-1 may be live. */
  get entryLimit(): number {
    return this.header[H_FRESH]!;
  }

  isLive(entry: number): boolean {
    return (this.hot[entry * this.entryWords]! & 1) === 1;
  }

  /** Entries in the bucket of this hash: what a search for it may have to look at. For tests and metrics. */
  bucketLength(hash: number): number {
    const at = (hash & this.bucketMask) * BUCKET_WORDS;
    let length = this.chainLength(hash);
    for (let slot = 0; slot < CHAIN_HEAD; slot++) if (this.buckets[at + slot] !== 0) length++;
    return length;
  }

  /** Entries in the chain behind the bucket of this hash. */
  protected chainLength(hash: number): number {
    let length = 0;
    let reference = this.buckets[(hash & this.bucketMask) * BUCKET_WORDS + CHAIN_HEAD]!;
    while ((reference & ENTRY_MASK) !== 0 && length < CHAIN_MAX) {
      length++;
      reference = this.hot[(reference & ENTRY_MASK) * this.entryWords + NEXT]!;
    }
    return length;
  }
}
