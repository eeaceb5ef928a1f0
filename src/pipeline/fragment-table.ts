/**
 * What is known of datagrams that come in fragments: the first one's ports, by which all later ones are judged, and which
 * octets were seen, so that none comes twice. Nothing is put together. A shared table with a row beside each entry. @hot
 *
 *   key     network and ingress port | source | destination, four words each, IPv4 mapped | id | protocol (of IPv6: none)
 *   group   index of the ingress port, for its quota
 *   row     serial, flags, the first one's ports, protocol and TCP flags, the datagram's length, ranges of octets
 *
 * Every worker has one over the same memory; rows are read and written with the table's lock only. A later fragment whose
 * first was not seen waits in the worker that has it (waiting-fragments.ts); `changes` moves on when that may be over. An
 * entry goes when all octets of its datagram were seen and none waits, when it is older than the timeout (counted from
 * the fragment that came first), or when it gives way. The memory dies with the process, and so do fragments in flight.
 *
 * A datagram is **broken** by a fragment that overlaps another (RFC 5722, for IPv4 too) or contradicts its end or protocol.
 * That one and all that follow are dropped until the entry expires. What can't be a fragment at all does not come here: it
 * is a fault of that packet alone (wire/packet.ts). The very same place a second time is no overlap: networks
 * duplicate packets (RFC 8200 section 4.5), and its octets are under the same verdict; but a second first fragment must
 * have the same ports and TCP flags. What the ports can't be overwritten by is not looked at: a TCP fragment at offset 1 is a fault of
 * its own (wire/packet.ts).
 *
 * What an attacker on one port can do to others: nothing. Its datagrams are its own by key; it fills its own quota, where
 * its oldest gives way, and in a table that is full the oldest of the port with the most does. Behind one port (an uplink)
 * who guesses addresses and id can break a datagram, as he can at the receiver. A fragment costs at most one search and
 * FRAGMENTS_PER_DATAGRAM_MAX comparisons.
 */
import { attachSharedMemory, type MemoryDescriptor } from '../dataplane/shared-memory.js';
import { SharedTable, sharedTableSize, type TableShape } from '../dataplane/shared-table.js';
import {
  FRAGMENT_DATAGRAMS_MAX,
  FRAGMENT_FAIRNESS_STEPS,
  FRAGMENT_LOCK_TRIES,
  FRAGMENTS_PER_DATAGRAM_MAX,
  PORTS_MAX,
} from '../limits.js';
import type { FragmentReader } from '../wire/fragment.js';
import { MAPPED_WORD } from '../wire/ipv6.js';
import { read32 } from '../wire/octets.js';

/** What becomes of a fragment. It passes, with `foundPorts`, `foundProtocol` and `foundTcpFlags` of its datagram. */
export const FRAGMENT_PASSES = 0;
/** Its first was not seen: it is to wait for `entry`, `serial`, `created`. */
export const FRAGMENT_WAITS = 1;
/** Its datagram is broken. */
export const FRAGMENT_BROKEN = 2;
/** There is no room: for the datagram, or in it. */
export const FRAGMENT_LIMITED = 3;
/** Its datagram is older than the timeout. */
export const FRAGMENT_EXPIRED = 4;
/** Another thread has the table: not now. */
export const FRAGMENT_BUSY = 5;

/** The bounds in force (a Snapshot has them). */
export interface FragmentLimits {
  /** Datagrams in all, and from one port. */
  readonly fragmentDatagrams: number;
  readonly fragmentsPerPort: number;
  /** Seconds. */
  readonly fragmentTimeout: number;
}

export interface FragmentTableOptions {
  readonly byteOffset?: number;
  readonly capacity?: number;
  /** The hash's seed, in simulations only. */
  readonly seed?: readonly [number, number];
}

const KEY_WORDS = 11;
/** In place of the protocol, which is no part of an IPv6 datagram's identity (RFC 8200 section 4.5). */
const NO_PROTOCOL = 256;
const PORT_BITS = 12;

/** Words of a row. */
const SERIAL = 0;
const FLAGS = 1;
const PORTS = 2;
const PROTOCOL = 3;
/** Protocol that the fragments' own headers name. */
const NAMED_PROTOCOL = 4;
/** Octets of the datagram's payload; 0: its last fragment was not seen. */
const LENGTH = 5;
/** Where the furthest fragment that is not the last ends. */
const REACH = 6;
/** Octets seen. */
const SEEN = 7;
/** Fragments that wait, in all workers. */
const WAITING_COUNT = 8;
const RANGE_COUNT = 9;
/** Of the first one, if it is TCP. */
const FIRST_FLAGS = 10;
/** Ranges of octets: start >>> 3 << 16 | end. */
const RANGES = 16;
const ROW_WORDS = RANGES + FRAGMENTS_PER_DATAGRAM_MAX;

/** Bits of FLAGS. */
const KNOWN = 1;
const BROKEN = 2;

/** Words between table and rows. */
const CHANGES = 0;
const LAST_SERIAL = 1;
const STATE_WORDS = 16;

function shapeOf(capacity: number): TableShape {
  return { capacity, keyWords: KEY_WORDS, valueWords: 0, groupCount: PORTS_MAX };
}

/** Octets of memory the table takes. */
export function fragmentTableSize(capacity: number = FRAGMENT_DATAGRAMS_MAX): number {
  return sharedTableSize(shapeOf(capacity)) + (STATE_WORDS + (capacity + 1) * ROW_WORDS) * 4;
}

/** A worker's table over memory that the main thread made. */
export function openFragmentTable(memory: MemoryDescriptor, workerIndex: number): FragmentTable {
  const { buffer, byteOffset } = attachSharedMemory(memory);
  return new FragmentTable(buffer, workerIndex + 1, { byteOffset });
}

export class FragmentTable {
  foundPorts = 0;
  foundProtocol = 0;
  foundTcpFlags = 0;
  /** The entry of the fragment asked about last, which of the datagrams it ever was for, and the second it began. */
  entry = 0;
  serial = 0;
  created = 0;
  private readonly table: SharedTable;
  private readonly owner: number;
  private readonly memory: ArrayBufferLike;
  private readonly options: FragmentTableOptions;
  private readonly state: Int32Array;
  private readonly rows: Int32Array;
  private readonly key = new Int32Array(KEY_WORDS);
  private readonly noValue = new Int32Array(0);
  private readonly ages = new Int32Array(1);
  private hash = 0;
  private port = 0;
  /** Where the last search for one to give way ended. */
  private cursor = 0;

  /** Over zeroed memory of `fragmentTableSize` octets, or a table already. `owner`: a positive number, one per thread. */
  constructor(memory: ArrayBufferLike, owner: number, options: FragmentTableOptions = {}) {
    const { byteOffset = 0, capacity = FRAGMENT_DATAGRAMS_MAX, seed } = options;
    const shape = shapeOf(capacity);
    this.table = new SharedTable(memory, byteOffset, shape, seed);
    this.owner = owner;
    this.memory = memory;
    this.options = options;
    const at = byteOffset + sharedTableSize(shape);
    this.state = new Int32Array(memory, at, STATE_WORDS);
    this.rows = new Int32Array(memory, at + STATE_WORDS * 4, (capacity + 1) * ROW_WORDS);
  }

  /** Datagrams that are followed; perhaps some expired ones that were not swept yet. */
  get used(): number {
    return this.table.used;
  }

  usedByPort(port: number): number {
    return this.table.groupCount(port);
  }

  /** Entries in the bucket of the datagram selected last; for tests. */
  get bucketLength(): number {
    return this.table.bucketLength(this.hash);
  }

  /** Moves on when fragments that wait may wait no more, in whichever worker. */
  get changes(): number {
    return this.state[CHANGES];
  }

  /** The datagram that `take` is about: what `header` was read from came in by the port, for the network. */
  select(network: number, port: number, octets: Uint8Array, header: FragmentReader): void {
    const { key } = this;
    key[0] = (network << PORT_BITS) | port;
    this.putAddress(1, octets, header.source, header.isIpv6);
    this.putAddress(5, octets, header.destination, header.isIpv6);
    key[9] = header.id;
    key[10] = header.isIpv6 ? NO_PROTOCOL : header.protocol;
    this.hash = this.table.hash.words32(key, 0, KEY_WORDS);
    this.port = port;
  }

  private putAddress(word: number, octets: Uint8Array, at: number, isIpv6: boolean): void {
    const { key } = this;
    key[word] = isIpv6 ? read32(octets, at) : 0;
    key[word + 1] = isIpv6 ? read32(octets, at + 4) : 0;
    key[word + 2] = isIpv6 ? read32(octets, at + 8) : MAPPED_WORD;
    key[word + 3] = read32(octets, isIpv6 ? at + 12 : at);
  }

  /** Notes the fragment. `ports`, `protocol` and `tcpFlags` are those of a first one. Returns one of the above. */
  take(
    header: FragmentReader,
    ports: number,
    protocol: number,
    tcpFlags: number,
    limits: FragmentLimits,
    nowSeconds: number,
  ): number {
    if (!this.lockSoon()) return FRAGMENT_BUSY;
    const result = this.takeLocked(header, ports, protocol, tcpFlags, limits, nowSeconds);
    this.unlock();
    return result;
  }

  private takeLocked(
    header: FragmentReader,
    ports: number,
    protocol: number,
    tcpFlags: number,
    limits: FragmentLimits,
    now: number,
  ): number {
    const entry = this.entryFor(limits, now);
    if (entry === -1) return FRAGMENT_LIMITED;
    const { rows } = this;
    const at = entry * ROW_WORDS;
    this.entry = entry;
    this.serial = rows[at + SERIAL];
    this.created = this.table.lastSeen(entry);
    if ((rows[at + FLAGS] & BROKEN) !== 0) return FRAGMENT_BROKEN;
    if (this.contradicts(at, header) || this.isAnotherFirst(at, header, ports, protocol, tcpFlags))
      return this.break(at);
    const range = ((header.start >>> 3) << 16) | header.end;
    const place = this.placeOf(at, range, header.start, header.end);
    if (place === OVERLAPPING) return this.break(at);
    const isKnown = header.start === 0 || (rows[at + FLAGS] & KNOWN) !== 0;
    if (!isKnown && rows[at + WAITING_COUNT] >= FRAGMENTS_PER_DATAGRAM_MAX) return FRAGMENT_LIMITED;
    if (place === NEW && !this.add(at, range, header)) return FRAGMENT_LIMITED;
    if (header.start === 0) this.learn(at, ports, protocol, tcpFlags);
    if (!isKnown) {
      rows[at + WAITING_COUNT]++;
      return FRAGMENT_WAITS;
    }
    return this.pass(entry);
  }

  /** Whether what the fragment says of its datagram can't be, after what others said. */
  private contradicts(at: number, header: FragmentReader): boolean {
    const { rows } = this;
    if (rows[at + RANGE_COUNT] !== 0 && rows[at + NAMED_PROTOCOL] !== header.protocol) return true;
    const length = rows[at + LENGTH];
    if (header.isLast) {
      if (length !== 0 ? length !== header.end : header.end <= rows[at + REACH]) return true;
    } else if (length !== 0 && header.end >= length) return true;
    return false;
  }

  /** Whether it would be a first one beside the one that was seen, and not the same. */
  private isAnotherFirst(
    at: number,
    header: FragmentReader,
    ports: number,
    protocol: number,
    tcpFlags: number,
  ): boolean {
    const { rows } = this;
    if (header.start !== 0 || (rows[at + FLAGS] & KNOWN) === 0) return false;
    return rows[at + PORTS] !== ports || rows[at + PROTOCOL] !== protocol || rows[at + FIRST_FLAGS] !== tcpFlags;
  }

  /** Whether these octets are NEW, SEEN_BEFORE as exactly these, or OVERLAPPING others. */
  private placeOf(at: number, range: number, start: number, end: number): number {
    const { rows } = this;
    const stop = at + RANGES + rows[at + RANGE_COUNT];
    for (let word = at + RANGES; word < stop; word++) {
      const other = rows[word];
      if (other === range) return SEEN_BEFORE;
      if (start < (other & 0xffff) && (other >>> 16) << 3 < end) return OVERLAPPING;
    }
    return NEW;
  }

  /** False: the datagram has as many fragments as it may have. */
  private add(at: number, range: number, header: FragmentReader): boolean {
    const { rows } = this;
    const count = rows[at + RANGE_COUNT];
    if (count === FRAGMENTS_PER_DATAGRAM_MAX) return false;
    rows[at + RANGES + count] = range;
    rows[at + RANGE_COUNT] = count + 1;
    rows[at + NAMED_PROTOCOL] = header.protocol;
    rows[at + SEEN] += header.end - header.start;
    if (header.isLast) rows[at + LENGTH] = header.end;
    else if (header.end > rows[at + REACH]) rows[at + REACH] = header.end;
    return true;
  }

  private learn(at: number, ports: number, protocol: number, tcpFlags: number): void {
    const { rows } = this;
    if ((rows[at + FLAGS] & KNOWN) === 0 && rows[at + WAITING_COUNT] !== 0) this.announce();
    rows[at + FLAGS] |= KNOWN;
    rows[at + PORTS] = ports;
    rows[at + PROTOCOL] = protocol;
    rows[at + FIRST_FLAGS] = tcpFlags;
  }

  private break(at: number): number {
    this.rows[at + FLAGS] |= BROKEN;
    if (this.rows[at + WAITING_COUNT] !== 0) this.announce();
    return FRAGMENT_BROKEN;
  }

  /** The fragment goes its way; when it was the last that was awaited, the entry does too. */
  private pass(entry: number): number {
    const { rows } = this;
    const at = entry * ROW_WORDS;
    this.foundPorts = rows[at + PORTS];
    this.foundProtocol = rows[at + PROTOCOL];
    this.foundTcpFlags = rows[at + FIRST_FLAGS];
    const isWhole = rows[at + LENGTH] !== 0 && rows[at + SEEN] === rows[at + LENGTH];
    if (isWhole && rows[at + WAITING_COUNT] === 0) this.table.remove(entry);
    return FRAGMENT_PASSES;
  }

  private announce(): void {
    Atomics.add(this.state, CHANGES, 1);
  }

  // ---- entries -------------------------------------------------------------------------------------------------

  /** The selected datagram's entry, perhaps a new one; -1: there is no room. */
  private entryFor(limits: FragmentLimits, now: number): number {
    const { table } = this;
    const found = table.find(this.hash, this.key, 0);
    if (found !== -1) {
      if (now - table.lastSeen(found) <= limits.fragmentTimeout) return found;
      this.remove(found);
    }
    if (!this.makeRoom(limits)) return -1;
    const entry = table.insert(this.hash, this.key, this.noValue, this.port, now);
    if (entry === -1) return -1;
    const at = entry * ROW_WORDS;
    for (let word = 0; word < RANGES; word++) this.rows[at + word] = 0;
    this.state[LAST_SERIAL] = (this.state[LAST_SERIAL] + 1) | 0;
    this.rows[at + SERIAL] = this.state[LAST_SERIAL];
    return entry;
  }

  /** Two may go for one that comes, so that bounds which were lowered are reached. False: none could. */
  private makeRoom(limits: FragmentLimits): boolean {
    const { table, port } = this;
    const quota = Math.max(limits.fragmentsPerPort, 1);
    for (let step = 0; step < 2 && table.groupCount(port) >= quota; step++) this.remove(table.oldestOf(port));
    const most = Math.min(limits.fragmentDatagrams, table.shape.capacity);
    for (let step = 0; step < 2 && table.used >= most; step++) {
      const largest = this.largestGroup();
      if (table.groupCount(largest) === 0) return false;
      this.remove(table.oldestOf(largest));
    }
    return table.used < table.shape.capacity;
  }

  /** The port with the most datagrams among those of a few entries, and the one in hand. */
  private largestGroup(): number {
    const { table } = this;
    const limit = table.entryLimit;
    let largest = this.port;
    for (let step = 0; step < FRAGMENT_FAIRNESS_STEPS; step++) {
      this.cursor = this.cursor + 1 < limit ? this.cursor + 1 : 1;
      if (!table.isLive(this.cursor)) continue;
      const group = table.groupOf(this.cursor);
      if (table.groupCount(group) > table.groupCount(largest)) largest = group;
    }
    return largest;
  }

  private remove(entry: number): void {
    if (this.rows[entry * ROW_WORDS + WAITING_COUNT] !== 0) this.announce();
    this.table.remove(entry);
  }

  /** Forgets datagrams older than the timeout; looks at `budget` entries. Without the lock it is done another time. */
  sweep(nowSeconds: number, timeout: number, budget: number): void {
    const { table, ages } = this;
    if (table.used === 0 || !this.tryLock()) return;
    ages[0] = timeout;
    for (let left = Math.min(budget, table.entryLimit); left > 0; ) {
      // The key's first word is never negative: the one age is for all.
      const entry = table.nextExpired(nowSeconds, ages, 31, left);
      left -= table.swept;
      if (entry !== -1) this.remove(entry);
    }
    this.unlock();
  }

  // ---- fragments that wait: the caller has the lock ------------------------------------------------------------

  tryLock(): boolean {
    return this.table.tryLock(this.owner);
  }

  unlock(): void {
    this.table.unlock(this.owner);
  }

  private lockSoon(): boolean {
    for (let attempt = 0; attempt < FRAGMENT_LOCK_TRIES; attempt++) if (this.tryLock()) return true;
    return false;
  }

  /** What has become of the datagram that a fragment waits for. With any answer but FRAGMENT_WAITS it waits no more. */
  ask(entry: number, serial: number, created: number, nowSeconds: number, timeout: number): number {
    const at = entry * ROW_WORDS;
    const { rows } = this;
    const isLate = nowSeconds - created > timeout;
    if (!this.isOf(entry, serial)) return isLate ? FRAGMENT_EXPIRED : FRAGMENT_LIMITED;
    const flags = rows[at + FLAGS];
    if (!isLate && (flags & (KNOWN | BROKEN)) === 0) return FRAGMENT_WAITS;
    rows[at + WAITING_COUNT]--;
    if (isLate) return FRAGMENT_EXPIRED;
    return (flags & BROKEN) !== 0 ? FRAGMENT_BROKEN : this.pass(entry);
  }

  /** A fragment gives up waiting. */
  forgo(entry: number, serial: number): void {
    if (this.isOf(entry, serial)) this.rows[entry * ROW_WORDS + WAITING_COUNT]--;
  }

  private isOf(entry: number, serial: number): boolean {
    return this.table.isLive(entry) && this.rows[entry * ROW_WORDS + SERIAL] === serial;
  }

  // ---- main thread ---------------------------------------------------------------------------------------------

  /** After a worker's death: if it was writing, all datagrams are forgotten. Rows may be torn, and a guess would be a verdict. */
  breakLock(workerIndex: number): void {
    const { table } = this;
    if (!table.breakLock(workerIndex + 1, this.owner)) return;
    for (let entry = 1; entry < table.entryLimit; entry++) if (table.isLive(entry)) table.remove(entry);
    this.announce();
    this.unlock();
  }

  /** For `weft trace`: a table over a copy of the memory, which nobody else writes to. */
  copy(): FragmentTable {
    const { byteOffset = 0, capacity } = this.options;
    this.table.lock(this.owner, 'the fragments are');
    const memory = this.memory.slice(byteOffset, byteOffset + fragmentTableSize(capacity));
    this.unlock();
    const copy = new FragmentTable(memory, this.owner, { ...this.options, byteOffset: 0 });
    copy.unlock();
    return copy;
  }
}

const NEW = 0;
const SEEN_BEFORE = 1;
const OVERLAPPING = 2;
