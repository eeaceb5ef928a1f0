/**
 * What the main thread does with the FDB: static entries, flushing, listing, counts, a copy for `weft trace`, and repair
 * after a crash. It takes the same lock as the workers do when they learn, for 256 entries at a time, so that they get
 * their turn; unlike them it tries again for a while when it does not get it.
 */
import { NEVER_AGES } from '../dataplane/shared-table.js';
import { FDB_CAPACITY, MEMBERS_MAX, NETWORKS_MAX, WORKERS_MAX } from '../limits.js';
import {
  Fdb,
  type FdbOptions,
  type FdbPolicy,
  fdbSize,
  MEMBER_MASK,
  S_AWAY,
  S_EVICTED,
  S_EXPIRED,
  S_LEARNED,
  S_MOVED,
  STATIC,
} from './fdb.js';

/** The main thread's number as an owner of locks; workers have theirs from 1. */
export const MAIN_OWNER = WORKERS_MAX + 1;

export interface FdbEntry {
  readonly network: number;
  readonly macHigh: number;
  readonly macLow: number;
  readonly member: number;
  readonly remote: number;
  readonly isStatic: boolean;
  /** Seconds since it was seen; 0 for a static entry. */
  readonly ageSeconds: number;
}

/** The time, and after how many seconds a network's entries expire. */
export interface FdbExpiry {
  readonly nowSeconds: number;
  readonly networkMacAge: Int32Array;
}

const NOTHING_EXPIRES: FdbExpiry = { nowSeconds: 0, networkMacAge: new Int32Array(NETWORKS_MAX).fill(NEVER_AGES) };

export interface FdbSelector {
  readonly network?: number;
  readonly port?: number;
  readonly member?: number;
}

export interface FdbCounts {
  /** Entries, static ones included; perhaps some expired ones that were not swept yet. */
  readonly entries: number;
  readonly capacity: number;
  /** Since the memory was made, modulo 2^32. */
  readonly learned: number;
  readonly moved: number;
  readonly expired: number;
  /** Learned entries that gave way to others because a limit was reached. */
  readonly evicted: number;
  /** Repairs after a worker died while it was learning. */
  readonly rebuilds: number;
}

const FLUSH_ROUND = 256;
/** Members of a port that are asked for their oldest entry when one has to go. */
const TRIM_MEMBERS_MAX = 64;

export class FdbControl extends Fdb {
  private readonly memory: ArrayBufferLike;
  private readonly options: FdbOptions;

  constructor(memory: ArrayBufferLike, options: FdbOptions = {}) {
    super(memory, MAIN_OWNER, options);
    this.memory = memory;
    this.options = options;
  }

  private lock(): void {
    this.table.lock(this.owner, 'the FDB is');
  }

  /**
   * Adds a static entry, or makes a learned one static. A full table makes room by an entry that has expired, if `expiry`
   * says which have, else as when a station is learned. False when it is full of static entries. `remote`: number of the
   * tunnel the station is behind; 0: none.
   */
  addStatic(
    network: number,
    macHigh: number,
    macLow: number,
    member: number,
    port: number,
    expiry: FdbExpiry = NOTHING_EXPIRES,
    remote = 0,
  ): boolean {
    this.lock();
    const word0 = (network << 16) | macHigh;
    const hash = this.table.hash.pair(word0, macLow);
    const old = this.table.findPair(hash, word0, macLow);
    if (old !== -1) this.drop(old);
    let entry = -1;
    if (!this.table.full || this.makeRoomInTable(-1, expiry.nowSeconds, expiry.networkMacAge)) {
      this.key[0] = word0;
      this.key[1] = macLow;
      this.value[0] = member | STATIC;
      this.value[1] = remote;
      this.adoptMember(member, port, network);
      entry = this.table.insert(hash, this.key, this.value, MEMBERS_MAX + member, NEVER_AGES);
    }
    this.table.unlock(this.owner);
    return entry !== -1;
  }

  /** Removes an entry of either kind. False: there is none. */
  remove(network: number, macHigh: number, macLow: number): boolean {
    this.lock();
    const word0 = (network << 16) | macHigh;
    const entry = this.table.findPair(this.table.hash.pair(word0, macLow), word0, macLow);
    if (entry !== -1) this.drop(entry);
    this.table.unlock(this.owner);
    return entry !== -1;
  }

  /** Forgets the learned entries that match all of the selector (nothing given: all). Returns how many. */
  flush(selector: FdbSelector = {}): number {
    const { network, port, member: only } = selector;
    const end = only === undefined ? MEMBERS_MAX : only + 1;
    let forgotten = 0;
    for (let member = only ?? 0; member < end; member++) {
      if (this.table.groupCount(member) === 0) continue;
      if (network !== undefined && this.census.memberNetwork[member] !== network) continue;
      if (port !== undefined && this.census.memberPort[member] !== port) continue;
      forgotten += this.drain(member);
    }
    return forgotten;
  }

  /** Numbers of the tunnels that static entries say stations are behind. */
  staticRemotes(): Set<number> {
    const words = new Int32Array(4);
    const remotes = new Set<number>();
    for (let entry = 1; entry < this.table.entryLimit; entry++)
      if (this.table.read(entry, words) && words[3] !== 0 && (words[2]! & STATIC) !== 0) remotes.add(words[3]!);
    return remotes;
  }

  /**
   * These tunnels are no more: forgets every entry, static ones too, that says a station is behind one. Looks through the
   * whole table, a million entries in some 20 ms, so give it all tunnels at once. Returns how many were forgotten.
   */
  forgetRemotes(isGone: (remote: number) => boolean): number {
    const words = new Int32Array(4);
    const holds = (entry: number) => this.table.read(entry, words) && words[3] !== 0 && isGone(words[3]!);
    let forgotten = 0;
    for (let entry = 1; entry < this.table.entryLimit; entry++) {
      if (!holds(entry)) continue;
      this.lock();
      // It may have become another's before the lock was had.
      if (holds(entry)) {
        this.drop(entry);
        forgotten++;
      }
      this.table.unlock(this.owner);
    }
    return forgotten;
  }

  /**
   * The member is no more: forgets all its entries, static ones too, and that stations came from there. Call it before its
   * number is given to another.
   */
  releaseMember(member: number): number {
    const forgotten = this.drain(member) + this.drain(MEMBERS_MAX + member);
    if (this.statistics[S_AWAY] === 0) return forgotten;
    this.lock();
    for (let entry = 1; entry < this.table.entryLimit; entry++)
      if (this.cameFrom[entry] === member + 1) this.setOrigin(entry, 0);
    this.table.unlock(this.owner);
    return forgotten;
  }

  /**
   * Forgets the oldest entries of networks and ports that hold more than their limit, which happens only after it was
   * lowered: at most `budget`, so call it again and again. Of a port's members the one with the oldest entry gives way, of
   * a network's the one that holds most. Stops where a worker is learning. Returns how many were forgotten.
   */
  trim(policy: FdbPolicy, budget: number): number {
    const { networkLearned, portLearned } = this.census;
    let left = budget;
    for (let network = 0; network < policy.networkMacLimit.length && left > 0; network++) {
      const limit = policy.networkMacLimit[network]!;
      if (limit !== 0 && networkLearned[network]! > limit)
        left -= this.trimTo(networkLearned, network, limit, left, () => this.evict(this.census.byNetwork, network, -1));
    }
    for (let port = 0; port < policy.portMacLimit.length && left > 0; port++) {
      const limit = policy.portMacLimit[port]!;
      if (limit !== 0 && portLearned[port]! > limit)
        left -= this.trimTo(portLearned, port, limit, left, () => this.evictOldestOf(port));
    }
    return budget - left;
  }

  private trimTo(learned: Int32Array, of: number, limit: number, budget: number, evict: () => boolean): number {
    let forgotten = 0;
    let goesOn = true;
    while (goesOn && forgotten < budget && learned[of]! > limit && this.table.tryLock(this.owner)) {
      for (let round = 0; goesOn && round < FLUSH_ROUND && forgotten < budget && learned[of]! > limit; round++) {
        goesOn = evict();
        if (goesOn) forgotten++;
      }
      this.table.unlock(this.owner);
    }
    return forgotten;
  }

  /** Forgets the oldest entry of the port's members, or of TRIM_MEMBERS_MAX of them. False: they have none. */
  private evictOldestOf(port: number): boolean {
    const { table } = this;
    const { membersOfPort } = this.census;
    const first = membersOfPort.current(port);
    if (first === -1) return false;
    let oldest = table.oldestOf(first);
    let member = membersOfPort.next(first);
    for (let step = 1; step < TRIM_MEMBERS_MAX && member !== first; step++) {
      const candidate = table.oldestOf(member);
      if (table.lastSeen(candidate) < table.lastSeen(oldest)) oldest = candidate;
      member = membersOfPort.next(member);
    }
    membersOfPort.turnTo(port, member);
    this.drop(oldest);
    this.note(S_EVICTED);
    return true;
  }

  /** Empties a group, letting workers in between. Ends although they may go on learning into it. */
  private drain(group: number): number {
    let forgotten = 0;
    for (let left = this.table.groupCount(group); left > 0; left -= FLUSH_ROUND) {
      this.lock();
      for (let round = 0; round < FLUSH_ROUND && round < left; round++) {
        const entry = this.table.firstOf(group);
        if (entry === -1) break;
        this.drop(entry);
        forgotten++;
      }
      this.table.unlock(this.owner);
    }
    return forgotten;
  }

  /** Number behind the last entry there may be, for `list` in parts. */
  get entryLimit(): number {
    return this.table.entryLimit;
  }

  /**
   * Every entry that is not expired, in no order; one that changes meanwhile may be left out. Of the entries numbered
   * `from` to `end`, or all: the first is 1.
   */
  *list(
    nowSeconds: number,
    networkMacAge: Int32Array,
    network?: number,
    from = 1,
    end = this.table.entryLimit,
  ): Generator<FdbEntry> {
    const words = new Int32Array(4);
    for (let entry = from; entry < end; entry++) {
      if (!this.table.read(entry, words)) continue;
      const entryNetwork = words[0]! >>> 16;
      if (network !== undefined && entryNetwork !== network) continue;
      if (this.table.isExpired(entry, nowSeconds, networkMacAge, 16)) continue;
      const isStatic = (words[2]! & STATIC) !== 0;
      yield {
        network: entryNetwork,
        macHigh: words[0]! & 0xffff,
        macLow: words[1]!,
        member: words[2]! & MEMBER_MASK,
        remote: words[3]!,
        isStatic,
        ageSeconds: isStatic ? 0 : Math.max(0, nowSeconds - this.table.lastSeen(entry)),
      };
    }
  }

  /** The entry of one address, unless there is none or it has expired. */
  entryOf(
    network: number,
    macHigh: number,
    macLow: number,
    nowSeconds: number,
    networkMacAge: Int32Array,
  ): FdbEntry | undefined {
    const entry = this.find(network, macHigh, macLow, nowSeconds, networkMacAge[network]!);
    if (entry === -1) return undefined;
    const age = this.foundStatic ? 0 : Math.max(0, nowSeconds - this.table.lastSeen(entry));
    const where = { member: this.foundMember, remote: this.foundRemote, isStatic: this.foundStatic };
    return { network, macHigh, macLow, ...where, ageSeconds: age };
  }

  /** Learned addresses behind a port, in a network, behind a member. Static ones are not among them. */
  learnedByPort(port: number): number {
    return this.census.portLearned[port]!;
  }

  learnedInNetwork(network: number): number {
    return this.census.networkLearned[network]!;
  }

  learnedByMember(member: number): number {
    return this.table.groupCount(member);
  }

  counts(): FdbCounts {
    const total = (statistic: number) => this.statistics[statistic]! >>> 0;
    return {
      entries: this.table.used,
      capacity: this.table.shape.capacity,
      learned: total(S_LEARNED),
      moved: total(S_MOVED),
      expired: total(S_EXPIRED),
      evicted: total(S_EVICTED),
      rebuilds: this.table.rebuilds,
    };
  }

  /** An Fdb over a copy of the memory, for `weft trace` to learn into. Workers do not learn while it is made (70 MB: some 30 ms). */
  copy(): FdbControl {
    const { byteOffset = 0, capacity = FDB_CAPACITY } = this.options;
    this.lock();
    const copied = this.memory.slice(byteOffset, byteOffset + fdbSize(capacity));
    this.table.unlock(this.owner);
    const copy = new FdbControl(copied, { capacity });
    copy.table.unlock(this.owner);
    return copy;
  }

  /** A worker died. If it was learning, everything that it may have left half done is derived again from the entries. */
  breakLock(workerIndex: number): boolean {
    if (!this.table.breakLock(workerIndex + 1, this.owner)) return false;
    this.recount();
    this.table.unlock(this.owner);
    return true;
  }

  /** Before any worker starts: makes memory that an earlier process left sound again, whatever it died of. */
  recover(): void {
    this.table.recover(this.owner);
    this.cameFrom.fill(0);
    this.recount();
    this.table.unlock(this.owner);
  }

  /** Counts and ranks all entries again. Where a member is was noted before its first entry was made. */
  private recount(): void {
    this.census.clear();
    this.statistics[S_AWAY] = 0;
    for (let entry = 1; entry < this.table.entryLimit; entry++) {
      if (this.table.isLive(entry)) this.countIn(entry);
      else this.cameFrom[entry] = 0;
      if (this.cameFrom[entry] !== 0) this.statistics[S_AWAY] = this.statistics[S_AWAY]! + 1;
    }
  }

  /**
   * Takes over the entries of an FDB that an earlier process left, whose members and networks had other numbers:
   * `memberNow` gives the number of an old member, -1 when it is gone; `place` says where a member is now. Learned
   * entries only; the configuration has the static ones. Returns how many were taken.
   */
  adopt(old: FdbControl, memberNow: (oldMember: number) => number, place: FdbPlace): number {
    const words = new Int32Array(4);
    const order = [];
    for (let entry = 1; entry < old.table.entryLimit; entry++) {
      if (old.table.read(entry, words) && (words[2]! & STATIC) === 0) order.push(entry);
    }
    order.sort((a, b) => old.table.lastSeen(a) - old.table.lastSeen(b));
    let taken = 0;
    this.lock();
    for (const entry of order) {
      old.table.read(entry, words);
      const member = memberNow(words[2]! & MEMBER_MASK);
      if (member < 0 || this.table.full) continue;
      const word0 = (place.memberNetwork[member]! << 16) | (words[0]! & 0xffff);
      const hash = this.table.hash.pair(word0, words[1]!);
      if (this.table.findPair(hash, word0, words[1]!) !== -1) continue;
      this.add(hash, word0, words[1]!, member, words[3]!, old.table.lastSeen(entry), place.memberPort[member]!);
      taken++;
    }
    this.table.unlock(this.owner);
    return taken;
  }
}

/** Where members are: two rows of a Snapshot. */
export interface FdbPlace {
  readonly memberPort: Int32Array;
  readonly memberNetwork: Int32Array;
}
