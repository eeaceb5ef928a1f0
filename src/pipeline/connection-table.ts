/**
 * The connections: which flows were allowed, by which ports they run, and how far each has got. One shared table for all
 * networks (zones). @hot
 *
 *   entry   24 words hot, 4 cold and 4 of a bucket: 128 octets (connection-entry.ts says what the words are)
 *   group   the port that is charged x the class of timeout
 *   beside  entries by network, and counts of what happened
 *
 * **Groups take the place of a timing wheel.** All entries of a group have one timeout and lie in order of when they were
 * listed, so what is due is at the head of each list: finding out that nothing is costs one look a group, and one that is due
 * costs one removal, as with a wheel. But the same lists give what a wheel does not: a port's share is the sum of nine counts,
 * its oldest half-open connection is the head of a list, and dropping a port takes its lists. A wheel would come on top.
 *
 * Threads. Looking up takes no lock. What TCP's windows and states move on by is stored plainly into the entry: the words
 * mean something each by itself, the highest wins next time, and a store that is lost leaves a window a little tighter until
 * the next segment. The class in the state word is what counts; the list an entry is on follows it under the lock, and where
 * a worker did not get that, whoever next looks at the list's head puts it right. New connections need the lock, once a
 * batch, and once each where a router makes them: workers wait for it some milliseconds a breath at most (a frame that waits
 * longer is lost anyway). If its holder died or was stopped, they drop what would be new as conntrack_full until the main
 * thread has broken it, and forward the rest: who waited for each would be taken for stuck as well.
 *
 * A slot knows its entry by number and stamp: an entry that was removed and given to another connection meanwhile has another
 * stamp, and `judge` and `remove` then do nothing.
 *
 * NAT (nat-commit.ts) adds a second entry with IS_TRANSLATED_REPLY, keyed by the reply as it arrives, whose V_LINK is the
 * number of the connection's own entry, whose V_LINK is the second's. The translation is the difference between the two keys.
 * Mappings (KIND_MAPPED_...) are two entries more, shared by the connections of an inside endpoint, and a contact
 * (nat-contacts.ts) is one, shared by those of them to one address. All lie in groups of the
 * charged port, count against its share, and are removed with the last connection under one hold of the lock.
 *
 * What an attacker on one port can do to others: nothing. He can use up his port's share, from which his own half-open and
 * finished ones give way first; who fills a table with many ports loses the half-open ones of the port that has most.
 * Established connections of others are never evicted. Keys can't be chosen to collide (seeded-hash.ts).
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import { attachSharedMemory, type MemoryDescriptor } from '../dataplane/shared-memory.js';
import { sharedTableSize, type TableShape } from '../dataplane/shared-table.js';
import {
  CONNECTION_LOCK_MS,
  CONNECTION_LOCK_PAUSES,
  CONNECTION_LOCK_SPINS,
  EGRESS_BATCH_SIZE,
  PORTS_MAX,
  ZONES_MAX,
} from '../limits.js';
import { ConnectionEntries, FrozenEntries } from './connection-entries.js';
import {
  CLASS_ICMP,
  CLASS_TCP_RESET,
  CLASS_TCP_SYN,
  CLASS_TCP_TIME_WAIT,
  CLASS_UDP,
  CONNECTION_KEY_WORDS,
  CONNECTION_VALUE_WORDS,
  GROUPS_PER_PORT,
  IS_TRANSLATED_REPLY,
  KEY_PORTS,
  KEY_ZONE,
  KIND_BESIDE,
  M_OUTSIDE,
  M_REFERENCES,
  portsWord,
  T_CONTACT,
  T_MAPPING,
  V_EPOCH,
  V_LINK,
  V_PORTS,
  V_STATE,
} from './connection-entry.js';
import { keyOfPacket } from './connection-key.js';
import { begin, classOf, isReplyOf, stateBits, TRACK_INVALID, TRACK_REUSE, track } from './connection-tracking.js';
import { PORT_MAPS_WORDS, PortMaps } from './nat-ports.js';
import { NAT_REFUSALS_WORDS, NatRefusals } from './nat-refusals.js';
import type { Snapshot } from './snapshot.js';

export * from './connection-entry.js';

/** Counts beside the table, since its memory was made, modulo 2^32. */
export const C_CREATED = 0;
export const C_EXPIRED = 1;
export const C_EVICTED = 2;
export const C_REFUSED_FULL = 3;
export const C_REFUSED_PORT = 4;
export const C_REFUSED_NETWORK = 5;
/** Refused because the lock was not to be had. */
export const C_REFUSED_BUSY = 6;
export const C_REMOVED = 7;
const COUNT_WORDS = 16;

/** What gives way to a new connection, in this order: what is over first, then what nobody has answered. */
const evictable = [CLASS_TCP_RESET, CLASS_TCP_TIME_WAIT, CLASS_TCP_SYN, CLASS_UDP, CLASS_ICMP] as const;
/** Entries that are found on a list that is no longer theirs, before the search for one to evict is given up. */
const MISPLACED_MAX = 8;
/** Evictions from the port that has most before it is asked again which one that is. */
const VICTIM_ROUND = 64;

/** What became of a connection that was to be made. */
export const COMMITTED = 0;
/** The table, or the network's share of it, is full: conntrack_full. Also when the lock was not to be had. */
export const COMMIT_FULL = 1;
/** The port's share is used up: conntrack_port_limit. */
export const COMMIT_PORT_LIMIT = 2;
/** Another frame has made the connection meanwhile, and this one contradicts it: conntrack_invalid. */
export const COMMIT_INVALID = 3;

export interface ConnectionOptions {
  readonly byteOffset?: number;
  readonly capacity: number;
  /** The hash's seed, in simulations only. */
  readonly seed?: readonly [number, number];
  /** Nothing is written: what a stage does has no effect on the connections. */
  readonly isFrozen?: boolean;
  /** Lets other threads run while this one waits for the lock. */
  readonly pause?: () => void;
}

/** What a worker attaches to. */
export interface ConnectionMemory {
  readonly memory: MemoryDescriptor;
  readonly capacity: number;
}

/** Changed whenever the words of an entry, its key or its groups mean something else. */
export const CONNECTION_LAYOUT = { kind: 'conn', version: 3 } as const;

function shapeOf(capacity: number): TableShape {
  return {
    capacity,
    keyWords: CONNECTION_KEY_WORDS,
    valueWords: CONNECTION_VALUE_WORDS,
    groupCount: PORTS_MAX * GROUPS_PER_PORT,
  };
}

/** Octets of memory the table takes, with what is kept beside it. */
export function connectionTableSize(capacity: number): number {
  return sharedTableSize(shapeOf(capacity)) + (ZONES_MAX + COUNT_WORDS + PORT_MAPS_WORDS + NAT_REFUSALS_WORDS) * 4;
}

/** A worker's table over memory that the main thread made. */
export function openConnectionTable(
  { memory, capacity }: ConnectionMemory,
  workerIndex: number,
  pause: () => void,
): ConnectionTable {
  const { buffer, byteOffset } = attachSharedMemory(memory);
  return new ConnectionTable(buffer, workerIndex + 1, { byteOffset, capacity, pause });
}

/** Connections that a batch's frames begin: filled by whoever judged them, then committed at once. */
export class NewConnections {
  readonly slots = new Int32Array(EGRESS_BATCH_SIZE);
  /** Port whose share the connection counts against, and port its first frame leaves by; -1: none. */
  readonly chargedPorts = new Int32Array(EGRESS_BATCH_SIZE);
  readonly destinationPorts = new Int32Array(EGRESS_BATCH_SIZE);
  /** After `commit`: COMMITTED or another of the above. */
  readonly results = new Int32Array(EGRESS_BATCH_SIZE);
  count = 0;

  /** Returns its place in `results`. The caller has seen that there is room: at most one a copy of an egress batch. */
  push(slot: number, chargedPort: number, destinationPort: number): number {
    const place = this.count++;
    this.slots[place] = slot;
    this.chargedPorts[place] = chargedPort;
    this.destinationPorts[place] = destinationPort;
    return place;
  }
}

export class ConnectionTable {
  readonly capacity: number;
  readonly table: ConnectionEntries;
  readonly counts: Int32Array;
  /** Which ports of outside addresses are mapped. */
  readonly ports: PortMaps;
  /** What NAT refused. */
  readonly refusals: NatRefusals;
  readonly networkCounts: Int32Array;
  protected readonly owner: number;
  private readonly pause: () => void;
  /** The lock was waited for in vain: until the next breath it is tried once each time. */
  private hasWaited = false;
  private readonly key = new Int32Array(CONNECTION_KEY_WORDS);
  private readonly value = new Int32Array(CONNECTION_VALUE_WORDS);
  /** The port that half-open ones are taken from while the table is full, for how many more, and when there was none. */
  private victim = -1;
  private victimRound = 0;
  private noVictimSince = -1;

  /** Over zeroed memory of `connectionTableSize` octets, or a table already. `owner`: a positive number, one per thread. */
  constructor(memory: ArrayBufferLike, owner: number, options: ConnectionOptions) {
    const { capacity, byteOffset = 0, seed, isFrozen = false, pause = () => {} } = options;
    const shape = shapeOf(capacity);
    this.capacity = capacity;
    this.table = isFrozen
      ? new FrozenEntries(memory, byteOffset, shape)
      : new ConnectionEntries(memory, byteOffset, shape, seed);
    this.owner = owner;
    this.pause = pause;
    const beside = byteOffset + sharedTableSize(shape);
    const networkCounts = new Int32Array(memory, beside, ZONES_MAX);
    const counts = new Int32Array(memory, beside + ZONES_MAX * 4, COUNT_WORDS);
    const behind = beside + (ZONES_MAX + COUNT_WORDS) * 4;
    this.ports = new PortMaps(memory, behind, isFrozen);
    this.refusals = new NatRefusals(memory, behind + PORT_MAPS_WORDS * 4, isFrozen);
    this.networkCounts = isFrozen ? networkCounts.slice() : networkCounts;
    this.counts = isFrozen ? counts.slice() : counts;
  }

  // ---- readers -------------------------------------------------------------------------------------------------

  /** Whether the entry, whose value `table.found` is, has outlived its class's timeout: it is as good as removed. */
  isOver(entry: number, state: number, timeouts: Int32Array, nowSeconds: number): boolean {
    return nowSeconds - this.table.lastSeen(entry) > timeouts[classOf(state)];
  }

  /** Connections that count against the port. */
  usedBy(port: number): number {
    let used = 0;
    for (let group = port * GROUPS_PER_PORT; group < (port + 1) * GROUPS_PER_PORT; group++)
      used += this.table.groupCount(group);
    return used;
  }

  usedIn(network: number): number {
    return this.networkCounts[network];
  }

  /** Epoch under which both ends allowed the connection. Of a slot's frame: `pool.connectionEpoch`, read at once with the rest. */
  policyEpoch(entry: number): number {
    return this.table.valueWord(entry, V_EPOCH);
  }

  /** The connection's ports as `sourcePortOf` and `destinationPortOf` read them. Of a slot's frame: `pool.connectionPorts`. */
  connectionPorts(entry: number): number {
    return this.table.valueWord(entry, V_PORTS);
  }

  /**
   * Notes that both ends allow the connection under this epoch, and by which ports it runs (-1: none). `stamp`: the slot's
   * connectionStamp. Without the lock: the ports are there before the epoch that makes them count.
   */
  judge(entry: number, stamp: number, epoch: number, source: number, destination: number): void {
    const { table } = this;
    if (table.stampOf(entry) !== stamp) return;
    table.setValueWord(entry, V_PORTS, portsWord(source, destination));
    table.setValueWord(entry, V_EPOCH, epoch);
  }

  /** Removes the connection: the next frame of either direction begins it anew. False: it is gone already, or the lock is not to be had. */
  remove(entry: number, stamp: number): boolean {
    if (!this.lockPatiently()) return false;
    // Stamps of what lives are odd.
    const isThere = this.table.stampOf(entry) === stamp && (stamp & 1) === 1;
    if (isThere) {
      this.drop(entry);
      this.count(C_REMOVED);
    }
    this.table.unlock(this.owner);
    return isThere;
  }

  // ---- the lock ------------------------------------------------------------------------------------------------

  /** A worker begins another breath: it may wait for the lock once more. */
  beginBreath(): void {
    this.hasWaited = false;
  }

  lockPatiently(): boolean {
    const spins = this.hasWaited ? 1 : CONNECTION_LOCK_SPINS;
    const pauses = this.hasWaited ? 0 : CONNECTION_LOCK_PAUSES;
    const isHeld = this.table.lockPatiently(this.owner, spins, pauses, this.pause, CONNECTION_LOCK_MS);
    this.hasWaited = !isHeld;
    return isHeld;
  }

  /**
   * Puts entries on the list of the class they are in now, those of them that are still the same. Not now is soon enough:
   * who next looks at the list's head does it.
   */
  regroup(entries: Int32Array, stamps: Int32Array, count: number): void {
    const spins = this.hasWaited ? 1 : CONNECTION_LOCK_SPINS;
    if (!this.table.lockPatiently(this.owner, spins, 0, this.pause, 0)) return;
    for (let index = 0; index < count; index++) {
      const entry = entries[index];
      if (this.table.stampOf(entry) === stamps[index]) this.place(entry);
    }
    this.table.unlock(this.owner);
  }

  // ---- what follows needs the lock --------------------------------------------------------------------------------

  /** Puts the entry on its list. False: it was there. */
  protected place(entry: number): boolean {
    const { table } = this;
    const group = table.groupOf(entry);
    const right = chargedPortOf(group) * GROUPS_PER_PORT + classOf(table.valueWord(entry, V_STATE));
    if (right === group) return false;
    table.regroup(entry, right, table.lastSeen(entry));
    return true;
  }

  drop(entry: number): void {
    const { table } = this;
    const zone = table.keyWord(entry, KEY_ZONE) >>> 16;
    const second = table.valueWord(entry, V_LINK);
    this.networkCounts[zone] = this.networkCounts[zone] - 1;
    table.remove(entry);
    if (second !== 0) this.dropSecond(second);
  }

  /** The second entry of a translated connection, and its mapping and its contact with the last connection that uses them. */
  private dropSecond(second: number): void {
    const { table } = this;
    const mapping = table.valueWord(second, T_MAPPING);
    const contact = table.valueWord(second, T_CONTACT);
    table.remove(second);
    if (mapping !== 0 && this.isLastUser(mapping)) this.dropMapping(mapping);
    if (contact !== 0 && this.isLastUser(contact)) table.remove(contact);
  }

  /** One connection less uses the mapping or contact. True: it was the last. */
  private isLastUser(entry: number): boolean {
    const { table } = this;
    const references = table.valueWord(entry, M_REFERENCES) - 1;
    if (references > 0) table.setValueWord(entry, M_REFERENCES, references);
    return references <= 0;
  }

  /** A mapping of an inside endpoint, the one of its outside endpoint, and that one's port. */
  dropMapping(mapping: number): void {
    const { table } = this;
    const outside = table.valueWord(mapping, V_LINK);
    this.ports.free(table.valueWord(outside, M_OUTSIDE), table.keyWord(outside, KEY_PORTS) >>> 16);
    table.remove(outside);
    table.remove(mapping);
  }

  /** Whether the entry is a connection, not what NAT keeps beside one. */
  isConnection(entry: number): boolean {
    const { table } = this;
    if ((table.keyWord(entry, KEY_ZONE) & KIND_BESIDE) !== 0) return false;
    return (table.valueWord(entry, V_STATE) & IS_TRANSLATED_REPLY) === 0;
  }

  /** Lets go of the lock. */
  unlock(): void {
    this.table.unlock(this.owner);
  }

  count(what: number): void {
    this.counts[what] = (this.counts[what] + 1) | 0;
  }

  // ---- new connections -----------------------------------------------------------------------------------------

  /**
   * Makes the connections that the listed frames begin (pool.connection -1), under one hold of the lock, and writes each
   * one's result. A frame whose connection another thread or an
   * earlier frame has made meanwhile joins that. Sets the slots' connection fields. `snapshot.policyEpoch` is kept as the
   * epoch under which both ends allowed it. The list is empty afterwards, its results stay.
   */
  commit(pool: FramePool, list: NewConnections, snapshot: Snapshot, policyEpoch: number, nowSeconds: number): void {
    const { count } = list;
    list.count = 0;
    if (count === 0) return;
    if (!this.lockPatiently()) {
      list.results.fill(COMMIT_FULL, 0, count);
      this.counts[C_REFUSED_BUSY] = (this.counts[C_REFUSED_BUSY] + count) | 0;
      return;
    }
    for (let place = 0; place < count; place++)
      list.results[place] = this.commitOne(pool, list, place, snapshot, policyEpoch, nowSeconds);
    this.table.unlock(this.owner);
  }

  private commitOne(
    pool: FramePool,
    list: NewConnections,
    place: number,
    snapshot: Snapshot,
    policyEpoch: number,
    nowSeconds: number,
  ): number {
    const { table, key } = this;
    const slot = list.slots[place];
    if (pool.connection[slot] > 0) return COMMITTED;
    const from = keyOfPacket(key, 0, pool, slot, pool.network[slot]);
    if (from < 0) return COMMIT_INVALID;
    const hash = table.hashKey(key, 0);
    const entry = table.find(hash, key, 0);
    if (entry !== -1) {
      const state = table.found[V_STATE];
      const isOver = this.isOver(entry, state, snapshot.connectionTimeouts, nowSeconds);
      const verdict = isOver ? TRACK_REUSE : track(table.found, pool, slot, isReplyOf(state, from));
      if (verdict === TRACK_INVALID) return COMMIT_INVALID;
      if (verdict !== TRACK_REUSE) return this.join(pool, slot, entry, from, nowSeconds);
      this.drop(entry);
    }
    const { value } = this;
    if (!begin(value, pool, slot, from, snapshot.connectionMidstream)) return COMMIT_INVALID;
    const charged = list.chargedPorts[place];
    const refusal = this.makeRoom(charged, key[KEY_ZONE] >>> 16, snapshot, nowSeconds);
    if (refusal !== 0) return refusal;
    value[V_EPOCH] = policyEpoch;
    // What a router brought into the network came by none of its ports.
    const source = pool.ingressMember[slot] < 0 ? -1 : pool.ingressPort[slot];
    value[V_PORTS] = portsWord(source, list.destinationPorts[place]);
    const made = table.insert(hash, key, value, charged * GROUPS_PER_PORT + classOf(value[V_STATE]), nowSeconds);
    if (made === -1) return this.refuse(C_REFUSED_FULL, COMMIT_FULL);
    this.networkCounts[key[KEY_ZONE] >>> 16]++;
    this.count(C_CREATED);
    this.show(pool, slot, made, value, from);
    return 0;
  }

  /** The frame belongs to a connection that was not there when it was looked up; `table.found` is what it makes of it. */
  private join(pool: FramePool, slot: number, entry: number, from: number, nowSeconds: number): number {
    const { table } = this;
    table.storeFound(entry, table.stampOf(entry));
    table.refresh(entry, nowSeconds);
    this.place(entry);
    this.show(pool, slot, entry, table.found, from);
    return 0;
  }

  /** Sets the slot's fields from an entry and its value; `bits`: more of its connectionState. */
  show(pool: FramePool, slot: number, entry: number, value: Int32Array, from: number, bits = 0): void {
    pool.connection[slot] = entry;
    pool.connectionState[slot] = stateBits(value[V_STATE], from) | bits;
    pool.connectionEpoch[slot] = value[V_EPOCH];
    pool.connectionPorts[slot] = value[V_PORTS];
    pool.connectionStamp[slot] = this.table.stampOf(entry);
  }

  // ---- shares --------------------------------------------------------------------------------------------------

  /** Sees to it that one more connection, of `entries` entries, keeps all limits. Returns 0, or why not. */
  makeRoom(port: number, network: number, snapshot: Snapshot, nowSeconds: number, entries = 1): number {
    let refusal = 0;
    for (let round = 0; round < entries && refusal === 0; round++)
      refusal = this.makeSomeRoom(port, network, snapshot, nowSeconds, entries);
    return refusal;
  }

  private makeSomeRoom(port: number, network: number, snapshot: Snapshot, nowSeconds: number, entries: number): number {
    const { table } = this;
    const isOverPort = this.usedBy(port) + entries > snapshot.connectionsPerPort;
    const isOverNetwork = this.networkCounts[network] >= snapshot.connectionsPerNetwork;
    if (!isOverPort && !isOverNetwork && table.used + entries <= this.capacity) return 0;
    if (this.evictFrom(port)) return 0;
    if (isOverPort) return this.refuse(C_REFUSED_PORT, COMMIT_PORT_LIMIT);
    if (isOverNetwork) return this.refuse(C_REFUSED_NETWORK, COMMIT_FULL);
    if (this.evictFromFullest(nowSeconds)) return 0;
    return this.refuse(C_REFUSED_FULL, COMMIT_FULL);
  }

  refuse(what: number, reason: number): number {
    this.count(what);
    return reason;
  }

  /** Removes one connection of the port that is over, or that nobody has answered and is the oldest of its kind. */
  private evictFrom(port: number): boolean {
    const { table } = this;
    for (let index = 0; index < evictable.length; index++) {
      const group = port * GROUPS_PER_PORT + evictable[index];
      for (let misplaced = 0; misplaced < MISPLACED_MAX; misplaced++) {
        const entry = table.oldestOf(group);
        if (entry === -1) break;
        if (this.place(entry)) continue;
        this.drop(entry);
        this.count(C_EVICTED);
        return true;
      }
    }
    return false;
  }

  private evictFromFullest(nowSeconds: number): boolean {
    if (this.noVictimSince === nowSeconds) return false;
    if (this.victimRound > 0 && this.evictFrom(this.victim)) {
      this.victimRound--;
      return true;
    }
    this.victim = this.fullestPort();
    this.victimRound = VICTIM_ROUND;
    if (this.victim !== -1 && this.evictFrom(this.victim)) return true;
    // Looking through all ports is not to be had for every frame of a flood.
    this.noVictimSince = nowSeconds;
    this.victimRound = 0;
    return false;
  }

  /** The port with most connections that could give way; -1: no port has any. */
  private fullestPort(): number {
    const { table } = this;
    let fullest = -1;
    let most = 0;
    for (let port = 0; port < PORTS_MAX; port++) {
      let count = 0;
      for (let index = 0; index < evictable.length; index++)
        count += table.groupCount(port * GROUPS_PER_PORT + evictable[index]);
      if (count <= most) continue;
      most = count;
      fullest = port;
    }
    return fullest;
  }
}

export function chargedPortOf(group: number): number {
  return (group / GROUPS_PER_PORT) | 0;
}
