/**
 * The neighbours: which MAC a network's stations said an IPv4 or IPv6 address is at, so that the switch can answer who asks
 * for it instead of flooding the question (stages/responders.ts; RFC 9161 says what that takes). A shared table. @hot
 *
 *   key    network | address, four words as they lie in memory, IPv4 mapped into ::ffff:0:0/96
 *   value  macHigh and the bits below, macLow
 *   group  index of the port that taught it, for that port's quota; STATIC_GROUP for those of the configuration
 *   beside by entry, the second in which a router last sent there
 *
 * Every worker has one over the same memory and learns under the table's lock; the main thread keeps the static ones, flushes
 * and lists (neighbor-control.ts). Looking up takes no lock. A binding lasts as long as a MAC of its network does (macAge)
 * after it was last heard; it is only ever used together with the FDB, which says whether that MAC is alive. The memory
 * dies with the process: what it costs is one flooded question for each address.
 *
 * `select` names an address; the other calls are about the one selected last.
 *
 * What an attacker on one port can do to others: nothing but make questions be flooded, as without this. What he teaches
 * counts against his port's quota, and only his own oldest gives way (or what has expired, when the table is full). Others'
 * routers may send to stations behind the same port (everybody's gateway is behind the uplink): a station that routers send
 * to and that answers does not give way to those that nobody sends to, however many he makes up. An
 * address that another MAC claims while its binding lives is **contested**: nobody is vouched for until the last claimant
 * was alone for NEIGHBOR_CONTEST_S, so the owner is still asked, and answers. Static bindings are never overridden.
 */
import { attachSharedMemory, type MemoryDescriptor } from '../dataplane/shared-memory.js';
import { SharedTable, sharedTableSize, type TableShape } from '../dataplane/shared-table.js';
import {
  NEIGHBOR_CAPACITY,
  NEIGHBOR_CONTEST_S,
  NEIGHBOR_STALE_S,
  NEIGHBOR_USED_LOOKS,
  NEIGHBOR_USED_S,
  PORTS_MAX,
} from '../limits.js';

/** Bits of the first value word above macHigh. */
const MAC_HIGH = 0xffff;
/** An advertisement said that the station is a router; that it said whether it is one. */
export const NEIGHBOR_ROUTER = 1 << 16;
export const NEIGHBOR_TOLD = 1 << 17;
export const NEIGHBOR_CONTESTED = 1 << 18;
export const NEIGHBOR_STATIC = 1 << 30;

export const STATIC_GROUP = PORTS_MAX;
export const NEIGHBOR_KEY_WORDS = 5;
export const NEIGHBOR_VALUE_WORDS = 2;
/** Entries that a learner looks at for an expired one when the table is full. */
const EXPIRY_STEPS_MAX = 64;

/** What `claim` did: the binding is as claimed now. */
export const CLAIMED = 0;
/** Another MAC has the address, or had it a moment ago: nobody is vouched for. */
export const CONTESTED = 1;
/** The configuration says where the address is. */
export const REFUSED_STATIC = 2;
/** The table is full, and nothing that may give way was found. */
export const REFUSED_FULL = 3;
/** Another thread is writing: not now. The station's next message will do. */
export const BUSY = 4;

export interface NeighborOptions {
  readonly byteOffset?: number;
  readonly capacity?: number;
  /** The hash's seed, in simulations only. */
  readonly seed?: readonly [number, number];
}

function shapeOf(capacity: number): TableShape {
  return {
    capacity,
    keyWords: NEIGHBOR_KEY_WORDS,
    valueWords: NEIGHBOR_VALUE_WORDS,
    groupCount: PORTS_MAX + 1,
  };
}

/** Octets of memory the table takes. */
export function neighborTableSize(capacity: number = NEIGHBOR_CAPACITY): number {
  return sharedTableSize(shapeOf(capacity)) + (capacity + 1) * 4;
}

/** How workers find the table. */
export interface NeighborMemory {
  readonly memory: MemoryDescriptor;
  readonly capacity: number;
}

/** A worker's table over memory that the main thread made. */
export function openNeighborTable({ memory, capacity }: NeighborMemory, workerIndex: number): NeighborTable {
  const { buffer, byteOffset } = attachSharedMemory(memory);
  return new NeighborTable(buffer, workerIndex + 1, { byteOffset, capacity });
}

export class NeighborTable {
  /** What `find` found: the MAC, and NEIGHBOR_… bits. */
  foundHigh = 0;
  foundLow = 0;
  foundFlags = 0;
  /** Of `findLatest`: seconds since it was heard. */
  foundAge = 0;
  foundEntry = 0;
  /** Bindings there is room for. */
  readonly capacity: number;
  protected readonly table: SharedTable;
  protected readonly owner: number;
  protected readonly key = new Int32Array(NEIGHBOR_KEY_WORDS);
  protected readonly value = new Int32Array(NEIGHBOR_VALUE_WORDS);
  private readonly uses: Int32Array;
  private hash = 0;
  private isHashed = false;

  /** Over zeroed memory of `neighborTableSize` octets, or a table already. `owner`: a positive number, one per thread. */
  constructor(memory: ArrayBufferLike, owner: number, options: NeighborOptions = {}) {
    this.capacity = options.capacity ?? NEIGHBOR_CAPACITY;
    const shape = shapeOf(this.capacity);
    const { byteOffset = 0 } = options;
    this.table = new SharedTable(memory, byteOffset, shape, options.seed);
    this.uses = new Int32Array(memory, byteOffset + sharedTableSize(shape), this.capacity + 1);
    this.owner = owner;
  }

  /** The address in the network that the next calls are about. */
  select(network: number, address0: number, address1: number, address2: number, address3: number): void {
    const { key } = this;
    key[0] = network;
    key[1] = address0;
    key[2] = address1;
    key[3] = address2;
    key[4] = address3;
    this.isHashed = false;
  }

  /** Hash of what is selected, made when it is first asked for: who has a hint does without. */
  protected selectedHash(): number {
    if (this.isHashed) return this.hash;
    this.isHashed = true;
    this.hash = this.table.hash.words32(this.key, 0, NEIGHBOR_KEY_WORDS);
    return this.hash;
  }

  /** Whether there is a binding that was heard in the last `age` seconds and is not contested. Sets `foundHigh` and so on. */
  find(nowSeconds: number, age: number): boolean {
    const { table } = this;
    const entry = table.find(this.selectedHash(), this.key, 0);
    if (entry === -1 || nowSeconds - table.lastSeen(entry) > age) return false;
    const value = table.found[0];
    this.foundHigh = value & MAC_HIGH;
    this.foundLow = table.found[1];
    this.foundFlags = value & ~MAC_HIGH;
    return (value & NEIGHBOR_CONTESTED) === 0;
  }

  /**
   * For routers, who must send somewhere: whether there is a binding that was heard in the last `age` seconds, the latest where
   * stations contest it. Sets `foundHigh` and so on, and `foundAge`: 0 for a static one. `hint`: the entry that an earlier
   * call found for the address, which spares the search where it still is the one; 0: none. Sets `foundEntry`.
   */
  findLatest(hint: number, nowSeconds: number, age: number): boolean {
    const { table, key } = this;
    let entry = hint;
    if (hint === 0 || !table.isEntryOf(hint, key, 0)) entry = table.find(this.selectedHash(), key, 0);
    if (entry === -1 || nowSeconds - table.lastSeen(entry) > age) return false;
    this.foundEntry = entry;
    this.foundHigh = table.found[0] & MAC_HIGH;
    this.foundLow = table.found[1];
    this.foundFlags = table.found[0] & ~MAC_HIGH;
    this.foundAge = Math.max(nowSeconds - table.lastSeen(entry), 0);
    return true;
  }

  /**
   * A router sends to what `findLatest` found. Who answers no more when he is asked again, as whoever is sent to is, has no
   * claim to his place: else packets to addresses that are gone would hold it.
   */
  noteUse(nowSeconds: number): void {
    const { uses, foundEntry } = this;
    if (uses[foundEntry] !== nowSeconds && this.foundAge <= 2 * NEIGHBOR_STALE_S) uses[foundEntry] = nowSeconds;
  }

  /**
   * Whether a station's claim of the address changes nothing but when it was last heard, which is noted. Without the lock:
   * what is repeated costs no more. `flags`: NEIGHBOR_TOLD, perhaps with NEIGHBOR_ROUTER, or 0 for "did not say".
   */
  isKnown(macHigh: number, macLow: number, flags: number, port: number, nowSeconds: number, age: number): boolean {
    const { table } = this;
    const entry = table.find(this.selectedHash(), this.key, 0);
    if (entry === -1) return false;
    const value = table.found[0];
    const isSame = (value & MAC_HIGH) === macHigh && table.found[1] === macLow;
    if (!isSame) return (value & NEIGHBOR_STATIC) !== 0;
    if (!saysAsMuch(value, flags)) return false;
    if ((value & NEIGHBOR_STATIC) !== 0) return true;
    const unheard = nowSeconds - table.lastSeen(entry);
    if (unheard > age || table.groupOf(entry) !== port) return false;
    if ((value & NEIGHBOR_CONTESTED) !== 0) return unheard <= NEIGHBOR_CONTEST_S;
    table.refresh(entry, nowSeconds);
    return true;
  }

  /**
   * The slow path, for what `isKnown` denied: a station behind `port`, which may hold `quota` bindings, claims the address.
   * `ages`: by network, the seconds a binding lasts. Returns one of the above.
   */
  claim(
    macHigh: number,
    macLow: number,
    flags: number,
    port: number,
    quota: number,
    nowSeconds: number,
    ages: Int32Array,
  ): number {
    if (!this.table.tryLock(this.owner)) return BUSY;
    const result = this.claimLocked(macHigh, macLow, flags, port, quota, nowSeconds, ages);
    this.table.unlock(this.owner);
    return result;
  }

  private claimLocked(
    macHigh: number,
    macLow: number,
    flags: number,
    port: number,
    quota: number,
    now: number,
    ages: Int32Array,
  ): number {
    const { table, value } = this;
    const entry = table.find(this.selectedHash(), this.key, 0);
    if (entry !== -1) {
      if (!table.isExpired(entry, now, ages, 0)) return this.update(entry, macHigh, macLow, flags, port, quota, now);
      table.remove(entry);
    }
    if (!this.makeRoom(port, quota, now, ages)) return REFUSED_FULL;
    value[0] = macHigh | flags;
    value[1] = macLow;
    const made = table.insert(this.selectedHash(), this.key, value, port, now);
    if (made === -1) return REFUSED_FULL;
    this.uses[made] = 0;
    return CLAIMED;
  }

  /** What a claim makes of a binding that lives; `table.found` is its value. */
  private update(
    entry: number,
    macHigh: number,
    macLow: number,
    flags: number,
    port: number,
    quota: number,
    now: number,
  ): number {
    const { table, value } = this;
    const old = table.found[0];
    const isSame = (old & MAC_HIGH) === macHigh && table.found[1] === macLow;
    value[0] = macHigh | flags;
    value[1] = macLow;
    if (isSame && flags === 0) value[0] |= old & (NEIGHBOR_TOLD | NEIGHBOR_ROUTER);
    if ((old & NEIGHBOR_STATIC) !== 0) {
      if (!isSame) return REFUSED_STATIC;
      value[0] |= NEIGHBOR_STATIC;
      table.change(entry, value, STATIC_GROUP, table.lastSeen(entry));
      return CLAIMED;
    }
    // A contest's time runs from the last change of claimants, so nothing is changed before it is over.
    if (isSame && (old & NEIGHBOR_CONTESTED) !== 0 && now - table.lastSeen(entry) <= NEIGHBOR_CONTEST_S)
      return CONTESTED;
    if (!isSame) value[0] |= NEIGHBOR_CONTESTED;
    const isMore = table.groupOf(entry) !== port && table.groupCount(port) >= quota;
    if (isMore && !this.dropUnused(port, now)) return REFUSED_FULL;
    table.change(entry, value, port, now);
    return isSame ? CLAIMED : CONTESTED;
  }

  /** Sees to it that one more binding of the port keeps both limits. The longest unheard of a port that is not sent to gives way. */
  private makeRoom(port: number, quota: number, now: number, ages: Int32Array): boolean {
    const { table } = this;
    if (table.groupCount(port) >= quota) return this.dropUnused(port, now);
    if (!table.full) return true;
    const expired = table.nextExpired(now, ages, 0, EXPIRY_STEPS_MAX);
    if (expired === -1) return this.dropUnused(port, now);
    table.remove(expired);
    return true;
  }

  /**
   * What routers send to is put behind the others instead of being dropped, so the next search begins with another. False:
   * so many looks found nothing else; the station's next message looks on.
   */
  private dropUnused(port: number, now: number): boolean {
    const { table, uses } = this;
    for (let look = 0; look < NEIGHBOR_USED_LOOKS; look++) {
      const entry = table.oldestOf(port);
      if (entry === -1) return false;
      if (uses[entry] === 0 || now - uses[entry] > NEIGHBOR_USED_S) {
        table.remove(entry);
        return true;
      }
      table.regroup(entry, port, now);
    }
    return false;
  }

  protected dropOldest(group: number): boolean {
    const entry = this.table.oldestOf(group);
    if (entry === -1) return false;
    this.table.remove(entry);
    return true;
  }
}

/** Whether a binding's value says what a claim says of the station being a router. */
function saysAsMuch(value: number, flags: number): boolean {
  return flags === 0 || (value & (NEIGHBOR_TOLD | NEIGHBOR_ROUTER)) === flags;
}
