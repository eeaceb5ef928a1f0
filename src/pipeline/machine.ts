/**
 * Everything a worker's pipeline works on: slots, tables, the snapshot in force, the clock's last reading, and the ports'
 * queues. All of it is injected, so the same pipeline runs in a worker, in a test, in the simulator and for `weft trace`.
 *
 * It also settles frames: a received frame ends exactly once, when its last hold is released, as forwarded (a copy left),
 * consumed or dropped. Only the runner and the I/O engine's reports come here; stages write verdicts. @hot
 */
import {
  type Counters,
  DROP_OF_COPY,
  DROP_OF_FRAME,
  RX_BYTES,
  RX_CONSUMED,
  RX_DROPPED,
  RX_FORWARDED,
  RX_FRAMES,
  TX_BYTES,
  TX_DROPPED,
  TX_FRAMES,
  TX_GENERATED,
} from '../dataplane/counters.js';
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import type { DropSamples } from '../dataplane/drop-samples.js';
import { type FramePool, OWN } from '../dataplane/frame-pool.js';
import type { PortQueue, SendReport } from '../dataplane/io-engine.js';
import type { RelayCounts } from '../dataplane/relay-queue.js';
import type { Kernels } from '../kernels/kernels.js';
import { FRAGMENTS_MADE_MAX, PORTS_MAX, REPLIES_PER_BATCH_MAX } from '../limits.js';
import type { TunnelSettings } from '../tunnels/tunnel.js';
import { Ipv4Fragmenter } from '../wire/fragmentation.js';
import { Segmenter } from '../wire/gso.js';
import { BetweenRouters } from './between-routers.js';
import { type ConnectionTable, NewConnections } from './connection-table.js';
import { EgressBatch } from './egress-batch.js';
import type { Fdb } from './fdb.js';
import type { FragmentTable } from './fragment-table.js';
import type { LoopGuard } from './loop-guard.js';
import type { NeighborTable } from './neighbor-table.js';
import { PendingHops } from './pending-hops.js';
import type { Punt } from './punt-ring.js';
import { RuleCounters } from './rule-counters.js';
import type { RuleLog } from './rule-log.js';
import type { Snapshot } from './snapshot.js';
import type { TokenBuckets } from './token-bucket.js';
import { Translations } from './translation-rows.js';
import { TunnelQuota } from './tunnel-quota.js';
import type { TunnelTable } from './tunnel-table.js';
import { WaitingFragments } from './waiting-fragments.js';

/** What is shared with other workers, or injected. */
export interface MachineParts {
  readonly pool: FramePool;
  readonly kernels: Kernels;
  readonly counters: Counters;
  readonly samples: DropSamples;
  readonly fdb: Fdb;
  readonly tunnels: TunnelTable;
  readonly neighbors: NeighborTable;
  readonly connections: ConnectionTable;
  readonly fragments: FragmentTable;
  readonly storm: TokenBuckets;
  readonly loops: LoopGuard;
  /** To the main thread; absent where there is none: what is for it is taken and forgotten. */
  readonly punt?: Punt;
  /** Absent: nobody asks how often rules matched, or what. */
  readonly ruleCounters?: RuleCounters;
  readonly ruleLog?: RuleLog;
}

export class Machine implements SendReport, RelayCounts {
  readonly pool: FramePool;
  readonly kernels: Kernels;
  readonly counters: Counters;
  readonly samples: DropSamples;
  readonly fdb: Fdb;
  readonly tunnels: TunnelTable;
  readonly neighbors: NeighborTable;
  readonly connections: ConnectionTable;
  /** Those that the batch in hand begins, until they are committed. */
  readonly newConnections = new NewConnections();
  readonly fragments: FragmentTable;
  readonly storm: TokenBuckets;
  readonly loops: LoopGuard;
  readonly punt: Punt | undefined;
  readonly ruleCounters: RuleCounters;
  readonly ruleLog: RuleLog | undefined;
  readonly segmenter: Segmenter;
  readonly fragmenter: Ipv4Fragmenter;
  /** What fit made of packets that are too long, to leave behind the copies in hand: each slot is held once. */
  readonly madeFragments = new EgressBatch(FRAGMENTS_MADE_MAX);
  readonly waiting: WaitingFragments;
  /** What each port's frames of the batch in hand may send into tunnels. */
  readonly tunnelQuota = new TunnelQuota();
  readonly pending: PendingHops;
  readonly betweenRouters = new BetweenRouters();
  readonly translations = new Translations();
  /** By slot: the next one whose datagram is in the same message, plus one; 0: there is none (egress/datagram-trains.ts). */
  readonly riders: Int32Array;
  /** Frames the switch made itself, to leave after the batch in hand: each slot is held once for its copy. */
  readonly replies = new EgressBatch(REPLIES_PER_BATCH_MAX);
  /** What the header of the message in hand says. */
  readonly tunnelSettings: TunnelSettings = {
    id: 0,
    flags: 0,
    sequence: 0,
    options: new Uint8Array(0),
    optionsStart: 0,
    optionsSize: 0,
  };
  /** Replaced as one between two batches. */
  snapshot: Snapshot;
  /** By port index; undefined while the port has no queue in this worker. */
  readonly queues: (PortQueue | undefined)[] = new Array(PORTS_MAX).fill(undefined);
  /**
   * Monotonic milliseconds and seconds, read once a batch. Hot code passes no fraction along: where V8 does not inline,
   * each call would make a heap number of it. `nowTick` is whole milliseconds as 32 bits, which wrap.
   */
  nowMs = 0;
  nowTick = 0;
  nowSeconds = 0;
  /** Searches for a port that NAT has made (nat-port-choice.ts). */
  portSearches = 0;

  constructor(parts: MachineParts, snapshot: Snapshot) {
    this.pool = parts.pool;
    this.kernels = parts.kernels;
    this.counters = parts.counters;
    this.samples = parts.samples;
    this.fdb = parts.fdb;
    this.tunnels = parts.tunnels;
    this.neighbors = parts.neighbors;
    this.connections = parts.connections;
    this.fragments = parts.fragments;
    this.storm = parts.storm;
    this.loops = parts.loops;
    this.punt = parts.punt;
    this.ruleCounters = parts.ruleCounters ?? new RuleCounters();
    this.ruleLog = parts.ruleLog;
    this.segmenter = new Segmenter(parts.pool, parts.kernels);
    this.fragmenter = new Ipv4Fragmenter(parts.pool, parts.kernels);
    this.waiting = new WaitingFragments(parts.pool, parts.fragments);
    this.pending = new PendingHops(parts.pool, parts.neighbors.capacity);
    this.riders = new Int32Array(parts.pool.slotCount);
    this.snapshot = snapshot;
  }

  /** At the beginning of each breath: its time, and what it may wait for. */
  setTime(monotonicMs: number): void {
    this.connections.beginBreath();
    this.nowMs = monotonicMs;
    this.nowTick = Math.floor(monotonicMs) | 0;
    this.samples.nowMs = monotonicMs;
    this.loops.nowMs = monotonicMs;
    this.nowSeconds = Math.floor(monotonicMs / 1000) | 0;
  }

  /** Reported by the I/O engine, once for every slot a queue took; also the end of what rode along with it. */
  sent(slot: number, port: number, octets: number, reason: number): void {
    if (this.riders[slot] !== 0) this.endRiders(slot, port, reason);
    if (reason !== 0) {
      this.failCopy(slot, port, reason);
      this.letGo(slot);
      return;
    }
    this.counters.addPort(port, TX_FRAMES, 1);
    this.counters.addPort(port, TX_BYTES, octets);
    if (this.pool.isGenerated[this.pool.original[slot]] === OWN) this.counters.addPort(port, TX_GENERATED, 1);
    this.pool.sentCount[this.pool.original[slot]]++;
    this.letGo(slot);
  }

  /** The message's octets are counted with its first slot. */
  private endRiders(head: number, port: number, reason: number): void {
    const { riders } = this;
    let rider = riders[head] - 1;
    riders[head] = 0;
    while (rider >= 0) {
      const next = riders[rider] - 1;
      riders[rider] = 0;
      this.sent(rider, port, 0, reason);
      rider = next;
    }
  }

  /** As `sent`, but the worker that has the port counts what becomes of the copy there. */
  handedOver(slot: number, port: number): void {
    if (this.pool.isGenerated[this.pool.original[slot]] === OWN) this.counters.addPort(port, TX_GENERATED, 1);
    this.pool.sentCount[this.pool.original[slot]]++;
    this.letGo(slot);
  }

  /** A frame that another worker switched can't leave by the port. */
  refused(slot: number, port: number, reason: number): void {
    this.failCopy(slot, port, reason);
    this.letGo(slot);
  }

  /** Counts a copy that can't leave by `port`; `rule`: as in EgressBatch.rules. Holds are not touched. */
  failCopy(slot: number, port: number, reason: number, rule = 0): void {
    const original = this.pool.original[slot];
    this.pool.copyFailure[original] = reason;
    if (rule !== 0) this.pool.rule[original] = rule;
    this.counters.addDrop(port, reason, DROP_OF_COPY);
    this.counters.addPort(port, TX_DROPPED, 1);
    this.samples.take(this.pool, slot, port, reason, DROP_OF_COPY, rule);
  }

  /** A received frame that got no slot of its own: its octets, in part of `slot`, end here. */
  loseFrame(slot: number, port: number, reason: number, octets: number): void {
    this.counters.addPort(port, RX_FRAMES, 1);
    this.counters.addPort(port, RX_BYTES, octets);
    this.counters.addPort(port, RX_DROPPED, 1);
    this.counters.addDrop(port, reason, DROP_OF_FRAME);
    this.samples.take(this.pool, slot, port, reason, DROP_OF_FRAME);
  }

  /** Gives up one hold of a slot; the last one of a copy lets go of its original, the last one of an original ends it. */
  letGo(slot: number): void {
    const pool = this.pool;
    if (!pool.release(slot)) return;
    const original = pool.original[slot];
    if (original === slot) this.settle(slot);
    else if (pool.release(original)) this.settle(original);
  }

  /** The frame's end. The slot was just freed: its metadata is still what it was. */
  private settle(slot: number): void {
    const pool = this.pool;
    const counters = this.counters;
    const port = pool.ingressPort[slot];
    if (pool.isGenerated[slot] !== 0) return;
    counters.addPort(port, RX_FRAMES, 1);
    counters.addPort(port, RX_BYTES, pool.receivedLength[slot]);
    if (pool.sentCount[slot] !== 0) {
      counters.addPort(port, RX_FORWARDED, 1);
      return;
    }
    let reason = pool.reason[slot];
    if (reason === CONSUMED) {
      counters.addPort(port, RX_CONSUMED, 1);
      return;
    }
    // No stage dropped it, yet no copy left: the last copy's failure is why.
    if (reason === 0) reason = pool.copyFailure[slot] !== 0 ? pool.copyFailure[slot] : dropReasonNumber.no_port;
    counters.addPort(port, RX_DROPPED, 1);
    counters.addDrop(port, reason, DROP_OF_FRAME);
    this.samples.take(pool, slot, port, reason, DROP_OF_FRAME, pool.policy[slot] === 0 ? 0 : pool.rule[slot]);
  }
}

/** In a slot's `reason`: the switch itself took the frame (answered it, or it was for a table). */
export const CONSUMED = -1;
