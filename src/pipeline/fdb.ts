/**
 * The forwarding database: behind which member of a network a station was seen last (IEEE 802.1Q 8.8), independently
 * for every network. A shared table (dataplane/shared-table.ts) keyed by network and MAC, and what its limits need:
 * how many addresses each port and network has learned, and which member holds most. @hot
 *
 *   key    network << 16 | macHigh, macLow
 *   value  member | STATIC, remote (index of the tunnel's far end; 0: none)
 *   group  member for what was learned, MEMBERS_MAX + member for static entries
 *
 * Beside each entry that has moved: the place it came from and when the station was last seen there. A station that goes
 * back there within its macAge was taken away and has been claimed again: the place it goes back from came later
 * (`movedBack`, for loop-guard.ts). Written when stations move, never read when frames are forwarded.
 *
 * Every worker has an Fdb over the same memory and learns under the table's lock; the main thread adds, removes, flushes
 * and lists with one of its own (fdb-control.ts). Finding takes no lock. An entry's number is only good until another thread changes the
 * table: take `foundMember` right after finding, and keep that, not the entry. `refresh` of an entry that has become
 * another's in between only makes that one look younger.
 *
 * What an attacker on one port can do: learn addresses up to its port's limit; a network or a table that is full makes
 * room at the cost of the member that holds most, so a flood of addresses ends up replacing its own. It can claim
 * another's address by sending from it, unless that is static or the port is guarded.
 *
 * Expired entries are as absent before they are swept: where a limit is reached, they are taken first, whosever they are.
 * A learning looks at EXPIRY_STEPS_MAX places for one, in turn: in a domain of more members than that, or where so many
 * stations of one member were seen again since they were listed, it may find none, and the next one looks further on.
 */
import { attachSharedMemory, type MemoryDescriptor } from '../dataplane/shared-memory.js';
import { SharedTable, sharedTableSize, type TableShape } from '../dataplane/shared-table.js';
import { FDB_CAPACITY, MEMBERS_MAX } from '../limits.js';
import { CENSUS_WORDS, FdbCensus } from './fdb-census.js';
import type { FdbRanking } from './fdb-ranking.js';
import type { FdbRoster } from './fdb-roster.js';
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
/** Members and entries that one learning looks at to find an expired entry of a port, a network or the table that is full. */
const EXPIRY_STEPS_MAX = 64;

export const S_EVICTED = 0;
export const S_EXPIRED = 1;
export const S_MOVED = 2;
export const S_LEARNED = 3;
/** Entries that have an origin now. */
export const S_AWAY = 4;
const STATISTICS = 16;

export function fdbShape(capacity: number): TableShape {
  return { capacity, keyWords: 2, valueWords: 2, groupCount: MEMBERS_MAX * 2 };
}

/** Words beside the table: statistics, the census, and two for each entry. */
function sideWords(capacity: number): number {
  return STATISTICS + CENSUS_WORDS + (capacity + 1) * 2;
}

/** What a file with an FDB in it is marked as; the version changes with the layout. */
export const FDB_LAYOUT = { kind: 'fdb1', version: 2 } as const;

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
  return sharedTableSize(fdbShape(capacity)) + sideWords(capacity) * 4;
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
  /** That station went back to where it was before: it is `movedFrom` that came later. Else the learner did. */
  movedBack = false;
  /** Member that lost its oldest entry for the last one that was added when there was no room. */
  evictedFrom = -1;

  protected readonly owner: number;
  protected readonly table: SharedTable;
  protected readonly statistics: Int32Array;
  protected readonly census: FdbCensus;
  /** By entry: the member the station was behind before it moved here, plus one; 0 when it has settled. */
  protected readonly cameFrom: Int32Array;
  /** By entry whose `cameFrom` is set: when the station was last seen there. */
  protected readonly leftAt: Int32Array;
  protected readonly key = new Int32Array(2);
  protected readonly value = new Int32Array(2);

  /** Over zeroed memory of `fdbSize` octets, or one that is an FDB already. `owner`: a positive number, one per thread. */
  constructor(memory: ArrayBufferLike, owner: number, options: FdbOptions = {}) {
    const byteOffset = options.byteOffset ?? 0;
    const shape = fdbShape(options.capacity ?? FDB_CAPACITY);
    this.owner = owner;
    this.table = new SharedTable(memory, byteOffset, shape, options.seed);
    const side = new Int32Array(memory, byteOffset + sharedTableSize(shape), sideWords(shape.capacity));
    let start = 0;
    const take = (count: number) => {
      start += count;
      return side.subarray(start - count, start);
    };
    this.statistics = take(STATISTICS);
    this.census = new FdbCensus(this.table, take(CENSUS_WORDS));
    this.cameFrom = take(shape.capacity + 1);
    this.leftAt = take(shape.capacity + 1);
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

  /** The remote (number of a tunnel) that an entry says; 0: none. As of now, too. */
  remoteOf(entry: number): number {
    return this.table.valueWord(entry, 1);
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
        if (isExpired) this.setOrigin(entry, 0);
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
    if (port !== this.census.memberPort[from] && this.portIsFull(port, now, policy)) return REFUSED_PORT_LIMIT;
    this.noteOrigin(entry, from, member, now, policy);
    this.value[0] = member;
    this.value[1] = remote;
    this.countOut(entry);
    this.adoptMember(member, port, this.table.keyWord(entry, 0) >>> 16);
    this.table.change(entry, this.value, member, now);
    this.countIn(entry);
    this.movedFrom = from;
    this.note(S_MOVED);
    return MOVED;
  }

  /**
   * Remembers where the station comes from, or that it went back there. Each place counts for as long as an entry of its
   * own would have lasted, so a station that has been elsewhere for longer is at home there. Only the last place is
   * remembered: what a station was behind before two others took it in turn is forgotten.
   */
  protected noteOrigin(entry: number, from: number, member: number, now: number, policy: FdbPolicy): void {
    const { table } = this;
    this.movedBack = false;
    if (from === member) return;
    const age = policy.networkMacAge[table.keyWord(entry, 0) >>> 16]!;
    this.movedBack = this.cameFrom[entry] === member + 1 && now - this.leftAt[entry]! <= age;
    if (!this.movedBack) table.write(this.leftAt, entry, table.lastSeen(entry));
    this.setOrigin(entry, this.movedBack ? 0 : from + 1);
  }

  protected setOrigin(entry: number, memberNumber: number): void {
    const before = this.cameFrom[entry]!;
    if (before === memberNumber) return;
    this.table.write(this.cameFrom, entry, memberNumber);
    this.statistics[S_AWAY] = this.statistics[S_AWAY]! + (memberNumber === 0 ? -1 : before === 0 ? 1 : 0);
  }

  /** True when the port may learn no more, even after something that expired behind it is forgotten. */
  protected portIsFull(port: number, now: number, policy: FdbPolicy): boolean {
    const limit = policy.portMacLimit[port]!;
    if (limit === 0 || this.census.portLearned[port]! < limit) return false;
    this.dropExpired(this.census.membersOfPort, port, now, policy.networkMacAge);
    return this.census.portLearned[port]! >= limit;
  }

  /** Sees to it that one more entry keeps every limit. LEARNED, or why not. */
  protected makeRoom(network: number, member: number, now: number, policy: FdbPolicy): number {
    const ages = policy.networkMacAge;
    if (this.portIsFull(policy.memberPort[member]!, now, policy)) return REFUSED_PORT_LIMIT;
    const limit = policy.networkMacLimit[network]!;
    let removed = 0;
    while (removed < EVICTIONS_MAX && this.census.networkLearned[network]! >= limit) {
      if (
        !this.dropExpired(this.census.membersOfNetwork, network, now, ages) &&
        !this.evict(this.census.byNetwork, network, member)
      )
        break;
      removed++;
    }
    // After the limit was lowered by more: the newest may come, as it still makes the network smaller.
    if (this.census.networkLearned[network]! >= limit && (limit === 0 || removed < EVICTIONS_MAX)) return REFUSED_FULL;
    if (this.table.full && !this.makeRoomInTable(member, now, ages)) return REFUSED_FULL;
    return LEARNED;
  }

  protected makeRoomInTable(learner: number, now: number, ages: Int32Array): boolean {
    return this.dropExpired(this.census.members, 0, now, ages) || this.evict(this.census.ofAll, 0, learner);
  }

  /** Forgets a learned entry of the domain that has expired. False: none was found within EXPIRY_STEPS_MAX. */
  protected dropExpired(roster: FdbRoster, domain: number, now: number, ages: Int32Array): boolean {
    const { table } = this;
    if (roster.hasNothingExpired(domain, now)) return false;
    const first = roster.current(domain);
    let member = first;
    for (let left = EXPIRY_STEPS_MAX; member !== -1 && left > 0; left -= table.swept) {
      const entry = table.expiredOf(member, now, ages[this.census.memberNetwork[member]!]!, left);
      if (entry !== -1) {
        roster.turnTo(domain, member);
        this.drop(entry);
        this.note(S_EXPIRED);
        return true;
      }
      member = roster.next(member);
      if (member === first) {
        if (left > table.swept) roster.noteNothingExpired(domain, now);
        return false;
      }
    }
    if (member !== -1) roster.turnTo(domain, member);
    return false;
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
    this.countIn(entry);
    this.note(S_LEARNED);
    return LEARNED;
  }

  /**
   * Notes where a member is, for the counts. While it holds entries that can't change: they must be counted out where
   * they were counted in. Who gives a member's number to another port calls `releaseMember` first.
   */
  protected adoptMember(member: number, port: number, network: number): void {
    if (this.table.groupCount(member) + this.table.groupCount(MEMBERS_MAX + member) !== 0) return;
    this.census.placeMember(member, port, network);
  }

  /** Removes any entry with all that counts it. */
  protected drop(entry: number): void {
    this.countOut(entry);
    this.setOrigin(entry, 0);
    this.table.remove(entry);
  }

  protected countIn(entry: number): void {
    const value = this.table.valueWord(entry, 0);
    if ((value & STATIC) === 0) this.census.countIn(value & MEMBER_MASK, this.table.keyWord(entry, 0) >>> 16);
  }

  protected countOut(entry: number): void {
    const value = this.table.valueWord(entry, 0);
    if ((value & STATIC) === 0) this.census.countOut(value & MEMBER_MASK, this.table.keyWord(entry, 0) >>> 16);
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
