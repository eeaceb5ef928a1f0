/**
 * Later fragments that wait in one worker until their datagram's first one was seen, by whichever worker. @hot
 *
 * Whose they are: a waiting frame's slot has one hold, which is this list's; its `reason` is WAITING, so nobody counts it.
 * Each ends here exactly once: it goes into a batch of returned frames, whose runner then has the hold and settles the
 * frame as any other, or it is dropped and let go. In the order of their arrival, always.
 *
 * What an attacker can do: nothing to other ports. What waits is charged its octets, FRAGMENT_CHARGE_MIN at least, so one
 * budget bounds slots and memory. A port has a share of it; when the whole is used up the oldest of the port with the most
 * gives way. Looking through all of the list (some microseconds) takes a datagram's end, an expiry, or a full list.
 */
import type { Batch } from '../dataplane/batch.js';
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import type { FramePool } from '../dataplane/frame-pool.js';
import {
  BATCH_SIZE,
  FRAGMENT_CHARGE_MIN,
  FRAGMENT_FRESH_S,
  FRAGMENT_SWEEP_ENTRIES,
  FRAGMENTS_WAITING_MAX,
  FRAGMENTS_WAITING_PORT_SHARE,
  FRAGMENTS_WAITING_SLOTS_DIVISOR,
  PORTS_MAX,
} from '../limits.js';
import {
  FRAGMENT_BROKEN,
  FRAGMENT_EXPIRED,
  FRAGMENT_LIMITED,
  FRAGMENT_PASSES,
  FRAGMENT_WAITS,
  type FragmentTable,
} from './fragment-table.js';
import { isStillThere } from './returning.js';
import type { Snapshot } from './snapshot.js';

/** In a slot's `reason`: the frame has not ended. It is held, and comes back when its first fragment has been seen. */
export const WAITING = -2;

/** What the list needs of the machine it is part of. */
export interface WaitingHost {
  readonly snapshot: Snapshot;
  readonly nowSeconds: number;
  letGo(slot: number): void;
}

/** In place of an entry: the table was not to be had, so the fragment is to be looked at from the beginning. */
export const UNDECIDED = 0;
const NEVER = 0x7fffffff;

/** By what FragmentTable says of a fragment. */
export const fragmentReasons: Int32Array = new Int32Array(8);
fragmentReasons[FRAGMENT_BROKEN] = dropReasonNumber.fragment_overlap;
fragmentReasons[FRAGMENT_LIMITED] = dropReasonNumber.fragment_limit;
fragmentReasons[FRAGMENT_EXPIRED] = dropReasonNumber.fragment_timeout;

export class WaitingFragments {
  /** Frames that wait. */
  count = 0;
  /** Of the frames of the batch that `release` filled, by place: what they have from their first fragments; not all are decided. */
  readonly ports = new Int32Array(BATCH_SIZE);
  readonly protocols = new Int32Array(BATCH_SIZE);
  readonly tcpFlags = new Int32Array(BATCH_SIZE);
  readonly decided = new Uint8Array(BATCH_SIZE);
  private readonly pool: FramePool;
  private readonly table: FragmentTable;
  /** In order of arrival: the slot, and what it waits for. */
  private readonly slots: Int32Array;
  private readonly entries: Int32Array;
  private readonly serials: Int32Array;
  private readonly created: Int32Array;
  private readonly budget: number;
  private readonly portBudget: number;
  private readonly portCharge = new Int32Array(PORTS_MAX);
  private charged = 0;
  private undecided = 0;
  private seenChanges = 0;
  /** When the oldest datagram that is waited for began, and when the list last grew. */
  private oldest = NEVER;
  private grown = 0;
  private sweptAt = 0;

  constructor(pool: FramePool, table: FragmentTable) {
    const capacity = Math.min(FRAGMENTS_WAITING_MAX, Math.floor(pool.slotCount / FRAGMENTS_WAITING_SLOTS_DIVISOR));
    this.pool = pool;
    this.table = table;
    this.slots = new Int32Array(capacity);
    this.entries = new Int32Array(capacity);
    this.serials = new Int32Array(capacity);
    this.created = new Int32Array(capacity);
    this.budget = capacity * FRAGMENT_CHARGE_MIN;
    this.portBudget = this.budget * FRAGMENTS_WAITING_PORT_SHARE;
  }

  /** Whether another worker may any moment have what one here waits for. */
  isFresh(nowSeconds: number): boolean {
    return this.count !== 0 && nowSeconds - this.grown <= FRAGMENT_FRESH_S;
  }

  /** Takes the frame into the list, with a hold of its own; `entry` 0: UNDECIDED. False: there is no room for it. */
  park(host: WaitingHost, slot: number, entry: number, serial: number, created: number): boolean {
    const { pool } = this;
    const port = pool.ingressPort[slot];
    const charge = Math.max(pool.length[slot], FRAGMENT_CHARGE_MIN);
    if (this.portCharge[port] + charge > this.portBudget) return false;
    while (this.charged + charge > this.budget) if (!this.makeRoom(host, port)) return false;
    const index = this.count++;
    this.slots[index] = slot;
    this.entries[index] = entry;
    this.serials[index] = serial;
    this.created[index] = created;
    this.charged += charge;
    this.portCharge[port] += charge;
    if (entry === UNDECIDED) this.undecided++;
    if (created < this.oldest) this.oldest = created;
    this.grown = host.nowSeconds;
    pool.holds[slot]++;
    pool.reason[slot] = WAITING;
    return true;
  }

  /** The oldest of the port with the most gives way, unless that is the one in hand. */
  private makeRoom(host: WaitingHost, port: number): boolean {
    const { portCharge, pool, slots } = this;
    let index = -1;
    let most = portCharge[port];
    for (let other = 0; other < this.count; other++) {
      const charge = portCharge[pool.ingressPort[slots[other]]];
      if (charge <= most) continue;
      most = charge;
      index = other;
    }
    if (index < 0) return false;
    this.drop(host, index, dropReasonNumber.fragment_limit);
    this.squeeze();
    return true;
  }

  /** Ends a frame of the list before its time; `squeeze` closes the gap. */
  private drop(host: WaitingHost, index: number, reason: number): void {
    if (this.entries[index] !== UNDECIDED && this.table.tryLock()) {
      this.table.forgo(this.entries[index], this.serials[index]);
      this.table.unlock();
    }
    this.end(host, index, reason);
  }

  private end(host: WaitingHost, index: number, reason: number): void {
    const slot = this.takeOut(index);
    this.pool.reason[slot] = reason;
    host.letGo(slot);
  }

  /** Leaves a gap (-1) in the list. */
  private takeOut(index: number): number {
    const { pool } = this;
    const slot = this.slots[index];
    const charge = Math.max(pool.length[slot], FRAGMENT_CHARGE_MIN);
    this.charged -= charge;
    this.portCharge[pool.ingressPort[slot]] -= charge;
    if (this.entries[index] === UNDECIDED) this.undecided--;
    this.slots[index] = -1;
    return slot;
  }

  private squeeze(): void {
    const { slots, entries, serials, created } = this;
    let kept = 0;
    this.oldest = NEVER;
    for (let index = 0; index < this.count; index++) {
      if (slots[index] < 0) continue;
      slots[kept] = slots[index];
      entries[kept] = entries[index];
      serials[kept] = serials[index];
      created[kept] = created[index];
      if (created[kept] < this.oldest) this.oldest = created[kept];
      kept++;
    }
    this.count = kept;
  }

  /**
   * Once a breath: moves into the empty `batch` what need not wait any more, and drops what waited in vain. Costs two
   * comparisons when nothing waits.
   */
  release(host: WaitingHost, batch: Batch): void {
    const { table } = this;
    const now = host.nowSeconds;
    const timeout = host.snapshot.fragmentTimeout;
    if (now !== this.sweptAt) {
      this.sweptAt = now;
      table.sweep(now, timeout, FRAGMENT_SWEEP_ENTRIES);
    }
    if (this.count === 0) return;
    const { changes } = table;
    if (changes === this.seenChanges && this.undecided === 0 && now - this.oldest <= timeout) return;
    if (!table.tryLock()) return;
    for (let index = 0; index < this.count && !batch.full; index++) this.settle(host, batch, index, timeout);
    table.unlock();
    this.squeeze();
    // A batch that is full leaves some that were not asked about.
    this.seenChanges = batch.full ? (changes - 1) | 0 : changes;
    batch.hasGroup = 1;
  }

  private settle(host: WaitingHost, batch: Batch, index: number, timeout: number): void {
    const { table } = this;
    const entry = this.entries[index];
    let answer = FRAGMENT_PASSES;
    if (entry !== UNDECIDED) {
      answer = table.ask(entry, this.serials[index], this.created[index], host.nowSeconds, timeout);
      if (answer === FRAGMENT_WAITS) return;
    }
    if (answer === FRAGMENT_PASSES && !isStillThere(host.snapshot, this.pool, this.slots[index]))
      answer = FRAGMENT_EXPIRED;
    if (answer !== FRAGMENT_PASSES) {
      this.end(host, index, fragmentReasons[answer]);
      return;
    }
    const place = batch.count;
    const slot = this.takeOut(index);
    this.decided[place] = entry === UNDECIDED ? 0 : 1;
    this.ports[place] = table.foundPorts;
    this.protocols[place] = table.foundProtocol;
    this.tcpFlags[place] = table.foundTcpFlags;
    this.pool.reason[slot] = 0;
    this.pool.policy[slot] = 0;
    batch.push(slot);
  }

  /** The port leaves this worker (or, without one, everything ends): what came by it is dropped now, not counted later as another's. */
  abandon(host: WaitingHost, port?: number): void {
    for (let index = 0; index < this.count; index++) {
      if (port !== undefined && this.pool.ingressPort[this.slots[index]] !== port) continue;
      this.drop(host, index, dropReasonNumber.fragment_timeout);
    }
    this.squeeze();
  }
}
