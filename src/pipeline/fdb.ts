/**
 * The forwarding database: behind which member of a network a station was seen last (IEEE 802.1Q 8.8), independently
 * for every network. A shared table (dataplane/shared-table.ts) keyed by network and MAC, and what its limits need:
 * how many addresses each port and network has learned, and which member holds most. @hot
 *
 *   key    network << 16 | macHigh, macLow
 *   value  member | STATIC, remote (index of the tunnel's far end; 0: none)
 *   group  member for what was learned, MEMBERS_MAX + member for static entries
 *
 * Every worker has an Fdb over the same memory and learns under the table's lock; the main thread adds, removes, flushes
 * and lists with one of its own (fdb-control.ts). Finding takes no lock. An entry's number is only good until another thread changes the
 * table: take `foundMember` right after finding, and keep that, not the entry. `refresh` of an entry that has become
 * another's in between only makes that one look younger.
 *
 * What an attacker on one port can do: learn addresses up to its port's limit; a network or a table that is full makes
 * room at the cost of the member that holds most, so a flood of addresses ends up replacing its own. It can claim
 * another's address by sending from it, unless that is static or the port is guarded. Expired entries are as absent
 * before they are swept.
 */
import { attachSharedMemory, type MemoryDescriptor } from '../dataplane/shared-memory.js';
import { SharedTable, sharedTableSize, type TableShape } from '../dataplane/shared-table.js';
import { FDB_CAPACITY, MEMBERS_MAX, NETWORKS_MAX, PORTS_MAX } from '../limits.js';
import { FdbRanking, rankingWords } from './fdb-ranking.js';
import type { Snapshot } from './snapshot.js';

/** What `learn` did. The entry is this member's now (or was already). */
export const LEARNED = 0;
/** The station was behind another member, `movedFrom`. */
export const MOVED = 1;
/** A static entry says it is elsewhere. */
export const REFUSED_STATIC = 2;
/** The port has learned as many addresses as it may. */
export const REFUSED_PORT_LIMIT = 3;
/** Network or table are full, and nothing learned can give way. */
export const REFUSED_FULL = 4;
/** Another thread is writing: not now. No fault of the frame; the next one will do. */
export const BUSY = 5;

/** What `learn` needs of a Snapshot. */
export type FdbPolicy = Pick<Snapshot, 'memberPort' | 'portMacLimit' | 'networkMacLimit' | 'networkMacAge'>;

export const STATIC = 1 << 30;
export const MEMBER_MASK = STATIC - 1;
/** Entries that one learning may make room by; more than one only after a limit was lowered. */
const EVICTIONS_MAX = 4;

export const S_EVICTED = 0;
export const S_EXPIRED = 1;
export const S_MOVED = 2;
export const S_LEARNED = 3;
const STATISTICS = 16;

export function fdbShape(capacity: number): TableShape {
  return { capacity, keyWords: 2, valueWords: 2, groupCount: MEMBERS_MAX * 2 };
}

const RANK_BY_NETWORK = rankingWords(MEMBERS_MAX, NETWORKS_MAX);
const RANK_OF_ALL = rankingWords(MEMBERS_MAX, 1);
export const SIDE_WORDS = STATISTICS + MEMBERS_MAX * 2 + PORTS_MAX + NETWORKS_MAX + RANK_BY_NETWORK + RANK_OF_ALL;

/** What a file with an FDB in it is marked as; the version changes with the layout. */
export const FDB_LAYOUT = { kind: 'fdb1', version: 1 } as const;

/** An FDB's memory as it is posted to a worker. */
export interface FdbMemory {
  readonly memory: MemoryDescriptor;
  readonly capacity: number;
}

/** A worker's Fdb over memory that the main thread made (fdb-control.ts). */
export function openFdb(shared: FdbMemory, workerIndex: number): Fdb {
  const { buffer, byteOffset } = attachSharedMemory(shared.memory);
  return new Fdb(buffer, workerIndex + 1, { byteOffset, capacity: shared.capacity });
}

/** Octets of memory an FDB takes. */
export function fdbSize(capacity: number = FDB_CAPACITY): number {
  return sharedTableSize(fdbShape(capacity)) + SIDE_WORDS * 4;
}

export interface FdbOptions {
  readonly byteOffset?: number;
  readonly capacity?: number;
  /** The hash's seed, in simulations only. */
  readonly seed?: readonly [number, number];
}

export class Fdb {
  /** Member, remote and kind of the entry that was found last. */
  foundMember = -1;
  foundRemote = 0;
  foundStatic = false;
  /** Member the station was behind before `learn` returned MOVED. */
  movedFrom = -1;
  /** Member that lost its oldest entry for the last one that was added when there was no room. */
  evictedFrom = -1;

  protected readonly owner: number;
  protected readonly table: SharedTable;
  protected readonly statistics: Int32Array;
  /** Port and network of a member; valid while the member holds an entry. */
  protected readonly memberPort: Int32Array;
  protected readonly memberNetwork: Int32Array;
  protected readonly portLearned: Int32Array;
  protected readonly networkLearned: Int32Array;
  protected readonly byNetwork: FdbRanking;
  protected readonly ofAll: FdbRanking;
  protected readonly key = new Int32Array(2);
  protected readonly value = new Int32Array(2);

  /** Over zeroed memory of `fdbSize` octets, or one that is an FDB already. `owner`: a positive number, one per thread. */
  constructor(memory: ArrayBufferLike, owner: number, options: FdbOptions = {}) {
    const byteOffset = options.byteOffset ?? 0;
    const shape = fdbShape(options.capacity ?? FDB_CAPACITY);
    this.owner = owner;
    this.table = new SharedTable(memory, byteOffset, shape, options.seed);
    const side = new Int32Array(memory, byteOffset + sharedTableSize(shape), SIDE_WORDS);
    let start = 0;
    const take = (count: number) => {
      start += count;
      return side.subarray(start - count, start);
    };
    this.statistics = take(STATISTICS);
    this.memberPort = take(MEMBERS_MAX);
    this.memberNetwork = take(MEMBERS_MAX);
    this.portLearned = take(PORTS_MAX);
    this.networkLearned = take(NETWORKS_MAX);
    this.byNetwork = new FdbRanking(this.table, take(RANK_BY_NETWORK), MEMBERS_MAX, NETWORKS_MAX);
    this.ofAll = new FdbRanking(this.table, take(RANK_OF_ALL), MEMBERS_MAX, 1);
  }

  // ---- finding: any thread, no lock ----------------------------------------------------------------------------

  /** The first word of an address's key in a network; the second is macLow. */
  keyWord0(network: number, macHigh: number): number {
    return (network << 16) | macHigh;
  }

  /** Hash of a key. For this and the next three see SharedTable.touchBuckets: the arrays are multiples of eight long. */
  hashKey(word0: number, macLow: number): number {
    return this.table.hash.pair(word0, macLow);
  }

  touchBuckets(hashes: Int32Array, count: number): void {
    this.table.touchBuckets(hashes, count);
  }

  candidate(hash: number): number {
    return this.table.candidate(hash);
  }

  touchEntries(entries: Int32Array, count: number): void {
    this.table.touchEntries(entries, count);
  }

  /**
   * The member that `entry` says if it is this key's; -1 when it is another's or was not seen in the last `age` seconds.
   * `entry` is a candidate or what an earlier look-up of the key found.
   */
  memberAt(entry: number, word0: number, macLow: number, nowSeconds: number, age: number): number {
    const { table } = this;
    if (!table.stillHolds(entry, word0, macLow)) return -1;
    return nowSeconds - table.lastSeen(entry) > age ? -1 : table.found[0] & MEMBER_MASK;
  }

  /** The entry, or -1 when there is none that was seen in the last `age` seconds. Sets foundMember and its companions. */
  findKey(hash: number, word0: number, macLow: number, nowSeconds: number, age: number): number {
    const entry = this.table.findPair(hash, word0, macLow);
    if (entry === -1 || nowSeconds - this.table.lastSeen(entry) > age) return -1;
    const value = this.table.found[0];
    this.foundMember = value & MEMBER_MASK;
    this.foundRemote = this.table.found[1];
    this.foundStatic = (value & STATIC) !== 0;
    return entry;
  }

  /** `findKey` for who looks up a single address. */
  find(network: number, macHigh: number, macLow: number, nowSeconds: number, age: number): number {
    const word0 = this.keyWord0(network, macHigh);
    return this.findKey(this.hashKey(word0, macLow), word0, macLow, nowSeconds, age);
  }

  /** Member of the entry as it is now: where other threads learn, use `foundMember`. */
  memberOf(entry: number): number {
    return this.table.valueWord(entry, 0) & MEMBER_MASK;
  }

  isStatic(entry: number): boolean {
    return (this.table.valueWord(entry, 0) & STATIC) !== 0;
  }

  /** The station was seen. Static entries don't age. */
  refresh(entry: number, nowSeconds: number): void {
    this.table.refresh(entry, nowSeconds);
  }

  // ---- learning: workers -----------------------------------------------------------------------------------------

  /** The station was seen behind `member`: the slow path, for what `find` did not find there. Returns one of the above. */
  learn(
    network: number,
    macHigh: number,
    macLow: number,
    member: number,
    nowSeconds: number,
    policy: FdbPolicy,
    remote = 0,
  ): number {
    if (!this.table.tryLock(this.owner)) return BUSY;
    const result = this.learnLocked((network << 16) | macHigh, macLow, member, nowSeconds, policy, remote);
    this.table.unlock(this.owner);
    return result;
  }

  protected learnLocked(
    word0: number,
    word1: number,
    member: number,
    now: number,
    policy: FdbPolicy,
    remote: number,
  ): number {
    const { table } = this;
    const hash = table.hash.pair(word0, word1);
    const entry = table.findPair(hash, word0, word1);
    if (entry !== -1) {
      const value = table.found[0]!;
      const holder = value & MEMBER_MASK;
      const isExpired = table.isExpired(entry, now, policy.networkMacAge, 16);
      if (holder === member && (table.found[1] === remote || (value & STATIC) !== 0)) {
        table.refresh(entry, now);
        return LEARNED;
      }
      if ((value & STATIC) !== 0) return REFUSED_STATIC;
      if (!isExpired) return this.moveStation(entry, holder, member, now, policy, remote);
      this.drop(entry);
    }
    const refusal = this.makeRoom(word0 >>> 16, member, now, policy);
    if (refusal !== LEARNED) return refusal;
    return this.add(hash, word0, word1, member, remote, now, policy.memberPort[member]!);
  }

  protected moveStation(
    entry: number,
    from: number,
    member: number,
    now: number,
    policy: FdbPolicy,
    remote: number,
  ): number {
    const port = policy.memberPort[member]!;
    if (port !== this.memberPort[from] && this.portIsFull(port, member, now, policy)) return REFUSED_PORT_LIMIT;
    this.value[0] = member;
    this.value[1] = remote;
    this.count(entry, -1);
    this.adoptMember(member, port, this.table.keyWord(entry, 0) >>> 16);
    this.table.change(entry, this.value, member, now);
    this.count(entry, 1);
    this.movedFrom = from;
    this.note(S_MOVED);
    return MOVED;
  }

  /** True when the port may learn no more, even after what expired behind this member is forgotten. */
  protected portIsFull(port: number, member: number, now: number, policy: FdbPolicy): boolean {
    const limit = policy.portMacLimit[port]!;
    if (limit === 0 || this.portLearned[port]! < limit) return false;
    const oldest = this.table.oldestOf(member);
    if (oldest !== -1 && this.table.isExpired(oldest, now, policy.networkMacAge, 16)) {
      this.drop(oldest);
      this.note(S_EXPIRED);
    }
    return this.portLearned[port]! >= limit;
  }

  /** Sees to it that one more entry keeps every limit. LEARNED, or why not. */
  protected makeRoom(network: number, member: number, now: number, policy: FdbPolicy): number {
    if (this.portIsFull(policy.memberPort[member]!, member, now, policy)) return REFUSED_PORT_LIMIT;
    const limit = policy.networkMacLimit[network]!;
    for (let round = 0; round < EVICTIONS_MAX && this.networkLearned[network]! >= limit; round++)
      if (!this.evict(this.byNetwork, network, member)) break;
    if (this.networkLearned[network]! >= limit) return REFUSED_FULL;
    if (this.table.full && !this.evict(this.ofAll, 0, member)) return REFUSED_FULL;
    return LEARNED;
  }

  /** Forgets the oldest learned entry of the member that holds most; of the learner only if it alone does. */
  protected evict(ranking: FdbRanking, domain: number, learner: number): boolean {
    const member = ranking.top(domain, learner);
    if (member === -1) return false;
    this.evictedFrom = member;
    this.drop(this.table.oldestOf(member));
    this.note(S_EVICTED);
    return true;
  }

  /** Adds an entry that there is room for. */
  protected add(
    hash: number,
    word0: number,
    word1: number,
    member: number,
    remote: number,
    now: number,
    port: number,
  ): number {
    this.key[0] = word0;
    this.key[1] = word1;
    this.value[0] = member;
    this.value[1] = remote;
    this.adoptMember(member, port, word0 >>> 16);
    const entry = this.table.insert(hash, this.key, this.value, member, now);
    if (entry === -1) return REFUSED_FULL;
    this.count(entry, 1);
    this.note(S_LEARNED);
    return LEARNED;
  }

  /**
   * Notes where a member is, for the counts. While it holds entries that can't change: they must be counted out where
   * they were counted in. Who gives a member's number to another port calls `releaseMember` first.
   */
  protected adoptMember(member: number, port: number, network: number): void {
    if (this.table.groupCount(member) + this.table.groupCount(MEMBERS_MAX + member) !== 0) return;
    this.table.write(this.memberPort, member, port);
    this.table.write(this.memberNetwork, member, network);
  }

  /** Removes any entry with all that counts it. */
  protected drop(entry: number): void {
    this.count(entry, -1);
    this.table.remove(entry);
  }

  /** Counts a learned entry in (1) or out (-1). Static ones are limited by the configuration alone. */
  protected count(entry: number, by: 1 | -1): void {
    const { table } = this;
    const value = table.valueWord(entry, 0);
    if ((value & STATIC) !== 0) return;
    const member = value & MEMBER_MASK;
    const port = this.memberPort[member]!;
    const network = table.keyWord(entry, 0) >>> 16;
    table.write(this.portLearned, port, this.portLearned[port]! + by);
    table.write(this.networkLearned, network, this.networkLearned[network]! + by);
    if (by === 1) {
      this.byNetwork.increment(network, member);
      this.ofAll.increment(0, member);
    } else {
      this.byNetwork.decrement(network, member);
      this.ofAll.decrement(0, member);
    }
  }

  protected note(statistic: number): void {
    this.statistics[statistic] = (this.statistics[statistic]! + 1) | 0;
  }

  /** Forgets what expired among the next `budget` entries; call it every breath. Returns how many were forgotten. */
  sweep(nowSeconds: number, networkMacAge: Int32Array, budget: number): number {
    const { table } = this;
    let forgotten = 0;
    for (let left = budget; left > 0; left -= table.swept) {
      const entry = table.nextExpired(nowSeconds, networkMacAge, 16, left);
      if (entry === -1) break;
      if (!table.tryLock(this.owner)) break;
      if (table.isExpired(entry, nowSeconds, networkMacAge, 16)) {
        this.drop(entry);
        this.note(S_EXPIRED);
        forgotten++;
      }
      table.unlock(this.owner);
    }
    return forgotten;
  }
}
