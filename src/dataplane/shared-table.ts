/**
 * The hash table of the switch: FDB, connections, neighbours and fragments are kept in it. Its capacity is fixed, its
 * memory is given (shared between threads, perhaps backed by a file), and zeroed memory is an empty table. @hot
 *
 *   header   shape, seed | lock, free list, counts          (two cache lines and the rest of 256 octets)
 *   buckets  three references, head of a chain              (4 words; at least as many buckets as entries)
 *   hot      stamp, next, lastSeen, key.., value..          (8, 16, 24.. words: a small entry lies in one cache line)
 *   cold     group, previous and next in the group, listed  (4 words: touched by writers only)
 *   groups   count, first, last of each group's list        (4 words)
 *
 * A reference is an entry's number and 10 bits of its hash, so that nearly every search touches two cache lines: the
 * bucket's and the right entry's. (Tried first: one plain chain a bucket. In a table of a million, a quarter of the
 * searches then waits for a second entry: 330 ns for two searches, against 62 in a small table.) What finds the three
 * places taken is chained by `next`, whose words are references too: 4 of 1000 entries when the table is full (with half as many buckets 35 of 1000, which cost 20 ns a
 * frame).
 *
 * Entries are numbered from 1; -1 means none to callers. Every entry belongs to one group (FDB: member; connections:
 * port), so that quotas, "the oldest of a group" and "drop a group" cost nothing that grows with the table.
 *
 * Who may do what, from any thread:
 * - Readers (`find`, `candidate` and `stillHolds`, `refresh`) take no lock and never wait. An entry's stamp is odd while the entry lives
 *   and moves on with each change; a reader takes stamp, key, value and stamp again, so it never returns the value of
 *   another key. A reader that stands on an entry that is removed under it may be led astray and miss its key: one frame
 *   is treated as unknown. That is the only effect, and walks are bounded (CHAIN_MAX).
 * - Writers hold the lock: one word with the owner's number. `tryLock` never waits; failing means "not now", and what
 *   was to be learned is learned from a later frame.
 * - A writer that dies holds the lock until `breakLock`, which derives every link, list and count again from the entries
 *   whose stamp is odd. At every point of every change such a rebuild finds a sound table: the stamp is made even before
 *   anything of an entry changes, and odd after all of it is written.
 * - `lastSeen` is stored plainly by any reader; the last one wins, and losing costs at most a second of age.
 *
 * What an attacker can do: fill its own group's quota, nothing to others (quotas are the owner's business). Keys can't
 * be chosen to collide (seeded-hash.ts). A chain that is CHAIN_MAX long all the same refuses the insertion.
 */
import { OperatingError } from '../errors.js';
import {
  BUCKET_WORDS,
  CHAIN_HEAD,
  CHAIN_MAX,
  COLD_WORDS,
  COUNT,
  ENTRY_MASK,
  FIRST,
  FOLLOWING,
  GROUP,
  GROUP_WORDS,
  H_FREE,
  H_FRESH,
  H_LOCK,
  H_REBUILDS,
  H_SWEEP,
  H_USED,
  KEY,
  LAST,
  LAST_SEEN,
  LISTED,
  NEXT,
  PREVIOUS,
  STAMP,
  TableReader,
} from './shared-table-reader.js';

export { NEVER_AGES, sharedTableSize, type TableShape } from './shared-table-reader.js';

/** Entries of a group's list looked at to find its oldest. */
export const OLDEST_STEPS_MAX = 64;
/** Places an entry that was seen again is moved forward from the list's end to keep the list in order. */
const RELIST_STEPS_MAX = 8;

/** Tries to get the lock: some 50 ms, a thousand times what a worker holds it for. */
const LOCK_TRIES = 1_000_000;

export class SharedTable extends TableReader {
  // ---- the lock ------------------------------------------------------------------------------------------------

  /** Takes the lock for `owner` (a positive number, one per thread). False: not now. Never waits. */
  tryLock(owner: number): boolean {
    return Atomics.compareExchange(this.header, H_LOCK, 0, owner) === 0;
  }

  /**
   * Takes the lock as `tryLock` does, but tries for a while: for the main thread, never a worker. Throws an OperatingError
   * when its holder does not finish; `what` begins the message: `the FDB is`.
   */
  lock(owner: number, what: string): void {
    for (let attempt = 0; attempt < LOCK_TRIES; attempt++) if (this.tryLock(owner)) return;
    throw new OperatingError(`${what} being written by thread ${this.lockOwner}, which does not finish`, {
      code: 'busy',
      fix: 'try again in a second; a worker that hangs is replaced by then',
    });
  }

  /**
   * Takes the lock as `tryLock` does, but waits for it: `spins` tries, then calls of `pause`, which should let other threads
   * run: at most `pauses`, and none after `most` milliseconds. For workers whose work can't wait for a later frame. How long a
   * pause takes is the others' business (a turn of whoever is busy on the core), so the clock is read after each.
   */
  lockPatiently(owner: number, spins: number, pauses: number, pause: () => void, most: number): boolean {
    for (let attempt = 0; attempt < spins; attempt++) if (this.tryLock(owner)) return true;
    if (pauses === 0) return false;
    const end = performance.now() + most;
    for (let attempt = 0; attempt < pauses; attempt++) {
      pause();
      if (this.tryLock(owner)) return true;
      if (performance.now() >= end) return false;
    }
    return false;
  }

  unlock(owner: number): void {
    Atomics.compareExchange(this.header, H_LOCK, owner, 0);
  }

  /** Number of the thread that holds the lock; 0: none. */
  get lockOwner(): number {
    return Atomics.load(this.header, H_LOCK);
  }

  /**
   * If the dead thread held the lock: repairs the table, and leaves `owner` holding the lock, so that it can repair what
   * it keeps beside the table before it unlocks. False when the dead thread did not hold it.
   */
  breakLock(deadOwner: number, owner: number): boolean {
    if (Atomics.compareExchange(this.header, H_LOCK, deadOwner, owner) !== deadOwner) return false;
    this.rebuild();
    return true;
  }

  /** For the one thread that opens memory which an earlier process left: drops its lock, repairs, keeps `owner`'s lock. */
  recover(owner: number): void {
    Atomics.store(this.header, H_LOCK, owner);
    this.rebuild();
  }

  // ---- writers: the lock is held -------------------------------------------------------------------------------

  /**
   * Every store of a writer. Sequentially consistent, so a reader on another core sees them in program order; and one
   * place, so that a test can let a writer die before any of them.
   */
  write(words: Int32Array, at: number, value: number): void {
    Atomics.store(words, at, value);
  }

  /** Adds a key that is not in the table. Returns the entry; -1 when the table is full or the chain too long. */
  insert(hash: number, key: Int32Array, value: Int32Array, group: number, lastSeen: number): number {
    if (this.chainLength(hash) >= CHAIN_MAX) return -1;
    const entry = this.takeFree();
    if (entry === -1) return -1;
    const at = entry * this.entryWords;
    for (let word = 0; word < this.shape.keyWords; word++) this.write(this.hot, at + KEY + word, key[word]!);
    for (let word = 0; word < this.shape.valueWords; word++)
      this.write(this.hot, at + this.valueAt + word, value[word]!);
    this.write(this.hot, at + LAST_SEEN, lastSeen);
    this.write(this.cold, entry * COLD_WORDS + GROUP, group);
    this.write(this.hot, at + STAMP, (this.hot[at]! + 1) | 0);
    this.link(entry, hash);
    this.list(entry, group, lastSeen);
    this.write(this.header, H_USED, this.header[H_USED]! + 1);
    return entry;
  }

  private takeFree(): number {
    const header = this.header;
    const entry = header[H_FREE]!;
    if (entry !== 0) {
      this.write(header, H_FREE, this.hot[entry * this.entryWords + NEXT]!);
      return entry;
    }
    const fresh = header[H_FRESH]!;
    if (fresh > this.shape.capacity) return -1;
    this.write(header, H_FRESH, fresh + 1);
    return fresh;
  }

  remove(entry: number): void {
    const at = entry * this.entryWords;
    this.write(this.hot, at + STAMP, (this.hot[at]! + 1) | 0);
    this.unlink(entry, this.hashKey(this.hot, at + KEY));
    this.unlist(entry);
    this.write(this.hot, at + NEXT, this.header[H_FREE]!);
    this.write(this.header, H_FREE, entry);
    this.write(this.header, H_USED, this.header[H_USED]! - 1);
  }

  /** Refers to the entry from its bucket, or puts it in front of the bucket's chain. */
  private link(entry: number, hash: number): void {
    const { buckets } = this;
    const at = (hash & this.bucketMask) * BUCKET_WORDS;
    const reference = (hash & ~ENTRY_MASK) | entry;
    let slot = 0;
    while (slot < CHAIN_HEAD && buckets[at + slot] !== 0) slot++;
    if (slot === CHAIN_HEAD) this.write(this.hot, entry * this.entryWords + NEXT, buckets[at + slot]!);
    this.write(buckets, at + slot, reference);
  }

  private unlink(entry: number, hash: number): void {
    const { hot, buckets, entryWords } = this;
    const at = (hash & this.bucketMask) * BUCKET_WORDS;
    for (let slot = 0; slot < CHAIN_HEAD; slot++)
      if ((buckets[at + slot]! & ENTRY_MASK) === entry) return void this.write(buckets, at + slot, 0);
    const next = hot[entry * entryWords + NEXT]!;
    let before = buckets[at + CHAIN_HEAD]! & ENTRY_MASK;
    if (before === entry) this.write(buckets, at + CHAIN_HEAD, next);
    for (let step = 0; before !== 0 && before !== entry && step < CHAIN_MAX; step++) {
      const nextAt = before * entryWords + NEXT;
      before = hot[nextAt]! & ENTRY_MASK;
      if (before === entry) this.write(hot, nextAt, next);
    }
  }

  /** Gives the entry another value, group and lastSeen. Readers miss it while that happens. */
  change(entry: number, value: Int32Array, group: number, lastSeen: number): void {
    const at = entry * this.entryWords;
    this.write(this.hot, at + STAMP, (this.hot[at]! + 1) | 0);
    for (let word = 0; word < this.shape.valueWords; word++)
      this.write(this.hot, at + this.valueAt + word, value[word]!);
    this.write(this.hot, at + LAST_SEEN, lastSeen);
    this.unlist(entry);
    this.write(this.cold, entry * COLD_WORDS + GROUP, group);
    this.list(entry, group, lastSeen);
    this.write(this.hot, at + STAMP, (this.hot[at]! + 1) | 0);
  }

  /**
   * Moves the entry to another group. Readers don't notice: nothing but its place in the lists changes, and a rebuild finds
   * one group or the other.
   */
  regroup(entry: number, group: number, listed: number): void {
    this.unlist(entry);
    this.write(this.cold, entry * COLD_WORDS + GROUP, group);
    this.list(entry, group, listed);
  }

  /** Puts the entry at the end of the group's list, which is in order of `listed`. */
  private list(entry: number, group: number, listed: number): void {
    const last = this.groups[group * GROUP_WORDS + LAST]!;
    this.write(this.groups, group * GROUP_WORDS + COUNT, this.groupCount(group) + 1);
    this.listAfter(entry, group, last, listed);
  }

  /** Puts the entry behind `before` (0: in front). */
  private listAfter(entry: number, group: number, before: number, listed: number): void {
    const { cold, groups } = this;
    const at = entry * COLD_WORDS;
    const firstAt = group * GROUP_WORDS + FIRST;
    const after = before === 0 ? groups[firstAt]! : cold[before * COLD_WORDS + FOLLOWING]!;
    this.write(cold, at + LISTED, listed);
    this.write(cold, at + PREVIOUS, before);
    this.write(cold, at + FOLLOWING, after);
    if (before === 0) this.write(groups, firstAt, entry);
    else this.write(cold, before * COLD_WORDS + FOLLOWING, entry);
    if (after === 0) this.write(groups, group * GROUP_WORDS + LAST, entry);
    else this.write(cold, after * COLD_WORDS + PREVIOUS, entry);
  }

  private unlist(entry: number): void {
    const group = this.groupOf(entry);
    this.takeFromList(entry, group);
    this.write(this.groups, group * GROUP_WORDS + COUNT, this.groupCount(group) - 1);
  }

  private takeFromList(entry: number, group: number): void {
    const { cold, groups } = this;
    const before = cold[entry * COLD_WORDS + PREVIOUS]!;
    const after = cold[entry * COLD_WORDS + FOLLOWING]!;
    if (before === 0) this.write(groups, group * GROUP_WORDS + FIRST, after);
    else this.write(cold, before * COLD_WORDS + FOLLOWING, after);
    if (after === 0) this.write(groups, group * GROUP_WORDS + LAST, before);
    else this.write(cold, after * COLD_WORDS + PREVIOUS, before);
  }

  /**
   * The entry of the group that was not seen for longest, or -1. Lists are in order of the time an entry was listed, and
   * lastSeen is never before that, so the walk may end at the first entry listed after the oldest found was seen; what
   * was seen again since it was listed is moved towards the end on the way. Exact when the group is no larger than
   * OLDEST_STEPS_MAX; in a larger one whose first members were all seen again, the oldest of those.
   */
  oldestOf(group: number): number {
    const { cold, groups } = this;
    let entry = groups[group * GROUP_WORDS + FIRST]!;
    let oldest = -1;
    let oldestSeen = 0;
    for (let step = 0; entry !== 0 && step < OLDEST_STEPS_MAX; step++) {
      const listed = cold[entry * COLD_WORDS + LISTED]!;
      if (oldest !== -1 && listed >= oldestSeen) break;
      const seen = this.lastSeen(entry);
      if (oldest === -1 || seen < oldestSeen) {
        oldest = entry;
        oldestSeen = seen;
      }
      const following = cold[entry * COLD_WORDS + FOLLOWING]!;
      if (seen > listed) this.relist(entry, group, seen);
      entry = following;
    }
    return oldest;
  }

  /**
   * An entry of the group that was not seen for more than `age` seconds, or -1; looks at no more than `budget` entries and
   * sets `swept`. Costs one look when there is none: the list is in order of `listed`, and lastSeen is never before that.
   * What was seen again since it was listed is moved towards the end on the way, so the next search gets further.
   */
  expiredOf(group: number, nowSeconds: number, age: number, budget: number): number {
    const { cold } = this;
    let entry = this.groups[group * GROUP_WORDS + FIRST]!;
    this.swept = 0;
    while (entry !== 0 && this.swept < budget) {
      this.swept++;
      if (nowSeconds - cold[entry * COLD_WORDS + LISTED]! <= age) return -1;
      const seen = this.lastSeen(entry);
      if (nowSeconds - seen > age) return entry;
      const following = cold[entry * COLD_WORDS + FOLLOWING]!;
      this.relist(entry, group, seen);
      entry = following;
    }
    return -1;
  }

  /** Moves the entry to where `seen` belongs, if that is near the list's end. */
  private relist(entry: number, group: number, seen: number): void {
    const { cold, groups } = this;
    let before = groups[group * GROUP_WORDS + LAST]!;
    for (let step = 0; step < RELIST_STEPS_MAX && before !== entry; step++) {
      if (cold[before * COLD_WORDS + LISTED]! <= seen) {
        this.takeFromList(entry, group);
        this.listAfter(entry, group, before, seen);
        return;
      }
      before = cold[before * COLD_WORDS + PREVIOUS]!;
    }
    if (before === entry) this.write(cold, entry * COLD_WORDS + LISTED, seen);
  }

  /**
   * The next live entry that was not seen for more than `ages[key word 0 >>> keyShift]` seconds, or -1; goes on where
   * the last call ended and looks at no more than `budget` entries. Needs no lock for itself; to remove what it returns
   * take the lock and ask `isExpired` again.
   */
  nextExpired(nowSeconds: number, ages: Int32Array, keyShift: number, budget: number): number {
    const limit = this.header[H_FRESH]!;
    let entry = this.header[H_SWEEP]!;
    for (let step = 0; step < budget; step++) {
      entry = entry + 1 < limit ? entry + 1 : 1;
      if (this.isExpired(entry, nowSeconds, ages, keyShift)) {
        this.header[H_SWEEP] = entry;
        this.swept = step + 1;
        return entry;
      }
    }
    this.header[H_SWEEP] = entry;
    this.swept = budget;
    return -1;
  }

  /** Entries the last `nextExpired` or `expiredOf` looked at. */
  swept = 0;

  isExpired(entry: number, nowSeconds: number, ages: Int32Array, keyShift: number): boolean {
    const at = entry * this.entryWords;
    const { hot } = this;
    return (hot[at]! & 1) === 1 && nowSeconds - hot[at + LAST_SEEN]! > ages[hot[at + KEY]! >>> keyShift]!;
  }

  /** Derives free list, chains, groups and counts from the entries whose stamp is odd, in order of lastSeen. */
  private rebuild(): void {
    const { header, hot, entryWords } = this;
    const limit = Math.min(Math.max(header[H_FRESH]!, 1), this.shape.capacity + 1);
    header[H_FRESH] = limit;
    this.buckets.fill(0);
    this.groups.fill(0);
    header[H_FREE] = 0;
    header[H_USED] = 0;
    header[H_SWEEP] = 0;
    for (const entry of this.liveByAge(limit)) this.readmit(entry);
    for (let entry = limit - 1; entry >= 1; entry--) {
      if (this.isLive(entry)) continue;
      hot[entry * entryWords + NEXT] = header[H_FREE]!;
      header[H_FREE] = entry;
    }
    header[H_REBUILDS] = header[H_REBUILDS]! + 1;
  }

  /** Numbers of the live entries, longest unseen first. Sorted as doubles of (age, number): 0.1 s for a million. */
  private liveByAge(limit: number): Float64Array {
    const span = 2 ** 23;
    let count = 0;
    const order = new Float64Array(limit);
    for (let entry = 1; entry < limit; entry++) {
      if (!this.isLive(entry)) continue;
      order[count++] = Math.min(Math.max(this.lastSeen(entry), 0), 2 ** 29) * span + entry;
    }
    const live = order.subarray(0, count).sort();
    for (let index = 0; index < count; index++) live[index]! %= span;
    return live;
  }

  /** Links a live entry again; one whose group is impossible or whose key is there twice is given up. */
  private readmit(entry: number): void {
    const { hot, header } = this;
    const at = entry * this.entryWords;
    const group = this.groupOf(entry);
    const hash = this.hashKey(hot, at + KEY);
    const isSound = group >= 0 && group < this.shape.groupCount && this.chainLength(hash) < CHAIN_MAX;
    if (!isSound || this.find(hash, hot, at + KEY) !== -1) {
      Atomics.store(hot, at, (hot[at]! + 1) | 0);
      return;
    }
    this.link(entry, hash);
    this.list(entry, group, this.lastSeen(entry));
    header[H_USED] = header[H_USED]! + 1;
  }
}
