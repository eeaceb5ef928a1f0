/**
 * The tunnels: one network's ways to its remote ends (VTEPs). A tunnel is a member of an underlay port and an address; its
 * number is what the FDB keeps as a station's remote, what floods go to, and what counters are kept under.
 *
 *   key    member | address, four words as they lie in memory, IPv4 mapped into ::ffff:0:0/96
 *   value  MTU << 2, what the way to the remote lets pass of an inner packet where that is less than the underlay's device
 *          would (0: it is not); TUNNEL_CONFIGURED; TUNNEL_DOWN
 *   group  configured, or learned from a datagram of an address in allowFrom: for lists and counts. The value says so, too,
 *          since it is in the cache line that each datagram asks for anyway, and the group is not.
 *
 * The member of what concerns a whole underlay port, the remotes that any of its networks names, is `anyNetwork(port)`.
 *
 * Lies in shared memory that outlives the daemon, as the FDB does, because the FDB's entries refer to it. The main thread
 * adds and removes configured tunnels and takes learned ones away once nothing can refer to them any more (tunnel-control.ts);
 * workers only add learned ones, under the table's lock. A number is therefore good for as long as a frame is handled;
 * whoever took one from the FDB checks `memberOf`.
 *
 * What an attacker can do: nothing from outside allowFrom. Who may send and forges addresses within allowFrom can fill the
 * learned half of the table; stations behind further addresses are then not learned, and frames to them are flooded. @hot
 */
import { attachSharedMemory, type MemoryDescriptor } from '../dataplane/shared-memory.js';
import { SharedTable, sharedTableSize, type TableShape } from '../dataplane/shared-table.js';
import { areMany } from '../dataplane/touch.js';
import { HINT_COUNT, TUNNELS_MAX } from '../limits.js';

export const TUNNEL_DOWN = 1 << 0;
export const TUNNEL_CONFIGURED = 1 << 1;
export const TUNNEL_MTU_SHIFT = 2;

export const GROUP_LEARNED = 0;
export const GROUP_CONFIGURED = 1;
const KEY_WORDS = 5;

export const tunnelShape: TableShape = { capacity: TUNNELS_MAX, keyWords: KEY_WORDS, valueWords: 1, groupCount: 2 };
/** What a file with the table in it is marked as; the version changes with the layout. */
export const TUNNEL_LAYOUT = { kind: 'tun1', version: 4 } as const;

/** Octets of memory the table takes, and behind it the sequence numbers. */
export const TUNNEL_TABLE_SIZE = sharedTableSize(tunnelShape) + (TUNNELS_MAX + 1) * 4;

/** In place of a member: any network of the underlay port. */
export function anyNetwork(port: number): number {
  return -1 - port;
}

const HINT_SHIFT = 32 - Math.log2(HINT_COUNT);

export function openTunnelTable(memory: MemoryDescriptor, workerIndex: number): TunnelTable {
  const { buffer, byteOffset } = attachSharedMemory(memory);
  return new TunnelTable(buffer, workerIndex + 1, byteOffset);
}

export class TunnelTable {
  protected readonly table: SharedTable;
  protected readonly owner: number;
  /** By tunnel: the next sequence number, where tunnels have such. All workers', and kept: a receiver takes none twice. */
  private readonly sequences: Int32Array;
  protected readonly key = new Int32Array(KEY_WORDS);
  protected readonly value = new Int32Array(1);
  /** By some bits of a key: the tunnel found for it last, asked before the hash is made (17 ns and a cache line less). */
  private readonly hints = new Int32Array(HINT_COUNT);

  /** Over zeroed memory of TUNNEL_TABLE_SIZE octets, or one that is a table already. `owner`: one per thread, positive. */
  constructor(memory: ArrayBufferLike, owner: number, byteOffset = 0, seed?: readonly [number, number]) {
    this.table = new SharedTable(memory, byteOffset, tunnelShape, seed);
    this.sequences = new Int32Array(memory, byteOffset + sharedTableSize(tunnelShape), TUNNELS_MAX + 1);
    this.owner = owner;
  }

  /** The tunnel's number; 0: there is none. */
  find(member: number, address0: number, address1: number, address2: number, address3: number): number {
    const place = hintPlace(member, address3);
    const hint = this.hints[place];
    if (this.isTunnel(hint, member, address0, address1, address2, address3)) return hint;
    const hash = this.hashOf(member, address0, address1, address2, address3);
    const entry = this.table.find(hash, this.key, 0);
    if (entry === -1) return 0;
    this.hints[place] = entry;
    return entry;
  }

  /** What `find` will most likely return; 0: it has no idea. */
  guess(member: number, address3: number): number {
    return this.hints[hintPlace(member, address3)];
  }

  /** While the main thread puts another tunnel in its place the answer may be of neither; users of numbers ask `memberOf`. */
  private isTunnel(
    tunnel: number,
    member: number,
    address0: number,
    address1: number,
    address2: number,
    address3: number,
  ): boolean {
    const { table } = this;
    return (
      table.stillHolds(tunnel, member, address0) &&
      table.keyWord(tunnel, 4) === address3 &&
      table.keyWord(tunnel, 3) === address2 &&
      table.keyWord(tunnel, 2) === address1
    );
  }

  /** The tunnel's number, new if need be; 0 when there is no room for learned ones, or another thread has the table just now. */
  learn(
    member: number,
    address0: number,
    address1: number,
    address2: number,
    address3: number,
    nowSeconds: number,
  ): number {
    if (this.table.groupCount(GROUP_LEARNED) >= TUNNELS_MAX >> 1 || !this.table.tryLock(this.owner)) return 0;
    const hash = this.hashOf(member, address0, address1, address2, address3);
    let entry = this.table.find(hash, this.key, 0);
    this.value[0] = 0;
    if (entry === -1) entry = this.table.insert(hash, this.key, this.value, GROUP_LEARNED, nowSeconds);
    this.table.unlock(this.owner);
    return entry === -1 ? 0 : entry;
  }

  /** Takes `count` sequence numbers in a row and returns the first. */
  takeSequences(tunnel: number, count: number): number {
    return Atomics.add(this.sequences, tunnel, count);
  }

  /**
   * Gets the entries of these numbers into the cache, eight at a time, so that what the copies of many tunnels wait for
   * overlaps. The array goes on to a multiple of eight with any numbers of entries. Nothing to do where all are of one.
   */
  touch(tunnels: Int32Array, count: number): void {
    if (areMany(tunnels, count)) this.table.touchEntries(tunnels, count);
  }

  /** A datagram came through it. */
  refresh(tunnel: number, nowSeconds: number): void {
    this.table.refresh(tunnel, nowSeconds);
  }

  memberOf(tunnel: number): number {
    return this.table.isLive(tunnel) ? this.table.keyWord(tunnel, 0) : -1;
  }

  /** Word 0 to 3 of the remote's address. */
  addressWord(tunnel: number, word: number): number {
    return this.table.keyWord(tunnel, 1 + word);
  }

  /** Whether it is a remote of the configuration; otherwise it was learned. */
  isConfigured(tunnel: number): boolean {
    return (this.table.valueWord(tunnel, 0) & TUNNEL_CONFIGURED) !== 0;
  }

  isDown(tunnel: number): boolean {
    return (this.table.valueWord(tunnel, 0) & TUNNEL_DOWN) !== 0;
  }

  /** The MTU, or what the way to the tunnel's remote lets pass, if that is less. Of tunnel 0, which is none: the MTU. */
  narrowed(tunnel: number, mtu: number): number {
    const own = this.table.valueWord(tunnel, 0) >>> TUNNEL_MTU_SHIFT;
    return own !== 0 && own < mtu ? own : mtu;
  }

  /** Puts the key together and hashes it. */
  protected hashOf(member: number, address0: number, address1: number, address2: number, address3: number): number {
    const { key } = this;
    key[0] = member;
    key[1] = address0;
    key[2] = address1;
    key[3] = address2;
    key[4] = address3;
    return this.table.hash.words32(key, 0, KEY_WORDS);
  }
}

/** Neighbouring addresses differ in the word's upper octets, neighbouring members in the lower: products' upper bits in both. */
function hintPlace(member: number, address3: number): number {
  return (Math.imul(member, 0x9e37_79b1) ^ Math.imul(address3, 0x85eb_ca6b)) >>> HINT_SHIFT;
}
