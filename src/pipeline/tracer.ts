/**
 * What would happen to a frame: the very pipeline, run on one frame over copies of the tables, with queues that only
 * remember what they were given. Changes nothing in the running switch. Main thread; one trace at a time.
 */
import { Batch } from '../dataplane/batch.js';
import { Counters } from '../dataplane/counters.js';
import { type DropReason, dropReasons, dropReasonText } from '../dataplane/drop-reason.js';
import { DropSamples } from '../dataplane/drop-samples.js';
import { FramePool } from '../dataplane/frame-pool.js';
import type { DatagramQueue } from '../dataplane/io-engine.js';
import { Kernels } from '../kernels/kernels.js';
import { FRAME_SIZE_MAX, PORTS_MAX } from '../limits.js';
import { tunnelKinds } from '../tunnels/registry.js';
import { ipWordsText } from '../wire/address.js';
import { frameLine } from '../wire/print.js';
import { TO_ROUTER } from './between-routers.js';
import type { ConnectionTable } from './connection-table.js';
import { type EgressBatch, IN_FRAGMENTS } from './egress-batch.js';
import type { Fdb } from './fdb.js';
import type { FragmentTable } from './fragment-table.js';
import { changesBetween, type FrameFields, fieldsOf } from './frame-changes.js';
import { LoopGuard } from './loop-guard.js';
import { CONSUMED, Machine } from './machine.js';
import type { NeighborTable } from './neighbor-table.js';
import { WAITING_FOR_HOP } from './pending-hops.js';
import { Pipeline, type StageListener } from './pipeline.js';
import type { Punt, PuntedFrame } from './punt-ring.js';
import { PORT_UNDERLAY, type Snapshot } from './snapshot.js';
import type { EgressStage, Names, Stage } from './stage.js';
import { FLOOD } from './stages/forward.js';
import { TokenBuckets } from './token-bucket.js';
import type { TunnelTable } from './tunnel-table.js';
import { WAITING } from './waiting-fragments.js';

/** The state a trace runs on: the snapshot in force and copies of the tables' memory. */
export interface TraceState {
  readonly snapshot: Snapshot;
  readonly fdb: Fdb;
  readonly tunnels: TunnelTable;
  readonly neighbors: NeighborTable;
  readonly connections: ConnectionTable;
  readonly fragments: FragmentTable;
  readonly loops: ArrayBuffer;
  readonly storm: ArrayBuffer;
  readonly nowMs: number;
}

/** What the port would have received, without a vnet header; at most FRAME_SIZE_MAX octets. */
export interface TracedInput {
  /** A frame, or what an underlay port's socket gives: a datagram from the tunnel's header on. */
  readonly octets: Uint8Array;
  /** Of a datagram. */
  readonly outer?: {
    /** Where it came from, in the dataplane's form. */
    readonly source: Int32Array;
    readonly trafficClass: number;
    /** The whole frame it came in, in one line. */
    readonly text: string;
  };
}

export interface TracedStage {
  readonly stage: string;
  readonly decision: 'continue' | 'drop' | 'forward' | 'flood' | 'consume';
  /** `acls.a1.rules[3]`: what decided. */
  readonly rule?: string;
  readonly text: string;
  readonly changes: readonly string[];
}

export interface TracedOutput {
  readonly port: number;
  /** The frame as it leaves, before segmentation by the port's device, without what a tunnel puts in front. */
  readonly octets: Uint8Array;
  /** Address of the tunnel's far end. */
  readonly remote?: string;
}

export interface TraceOutcome {
  readonly verdict: 'forward' | 'flood' | 'drop' | 'consume';
  readonly reason?: DropReason;
  /** What dropped it. */
  readonly rule?: string;
  readonly outputs: readonly TracedOutput[];
  readonly stages: readonly TracedStage[];
  /** What would have gone to the main thread. */
  readonly punted?: PuntedFrame;
}

/** Copies of a flood to every port, each with a clone, and the frame itself. */
const TRACE_SLOTS = PORTS_MAX + 64;

/** Keeps its arena between traces: a gibibyte of address space need not be mapped anew for each. */
export class Tracer {
  private readonly pool = new FramePool(TRACE_SLOTS);
  private readonly kernels = new Kernels(this.pool.memory);
  private readonly counters = new Counters();
  private readonly samples = new DropSamples();

  trace(state: TraceState, port: number, { octets, outer }: TracedInput, names: Names): TraceOutcome {
    const { pool } = this;
    const desk = new Desk();
    const machine = new Machine(
      {
        pool,
        kernels: this.kernels,
        counters: this.counters,
        samples: this.samples,
        fdb: state.fdb,
        tunnels: state.tunnels,
        neighbors: state.neighbors,
        connections: state.connections,
        fragments: state.fragments,
        storm: new TokenBuckets(state.storm),
        loops: new LoopGuard(state.loops),
        punt: desk,
      },
      state.snapshot,
    );
    machine.setTime(state.nowMs);
    const sink = new Sink(machine);
    for (let index = 0; index < PORTS_MAX; index++) machine.queues[index] = sink.queue(index);
    const slot = pool.allocate();
    const length = Math.min(octets.length, FRAME_SIZE_MAX);
    pool.octets.set(octets.subarray(0, length), pool.frameStart(slot));
    pool.receive(slot, port, length);
    pool.trafficClass[slot] = outer?.trafficClass ?? -1;
    if (outer !== undefined) pool.sourceAddress.set(outer.source, slot * 4);
    const recorder = new Recorder(machine, slot, names, outer?.text);
    const batch = new Batch(1);
    batch.push(slot);
    new Pipeline(machine, recorder).run(batch);
    const outcome = recorder.outcome(sink.outputs);
    machine.waiting.abandon(machine);
    machine.pending.abandon(machine);
    for (const sent of sink.sent) machine.sent(sent.slot, sent.port, 0, 0);
    return desk.punted === undefined ? outcome : { ...outcome, punted: desk.punted };
  }
}

/** In place of the ring to the main thread: remembers what it was given. */
class Desk implements Punt {
  punted: PuntedFrame | undefined;

  put(octets: Uint8Array, start: number, length: number, kind: number, member: number, tunnel: number): boolean {
    this.punted = { octets: octets.slice(start, start + length), kind, member, tunnel };
    return true;
  }
}

/** Queues that remember what they were given. */
class Sink {
  readonly outputs: TracedOutput[] = [];
  readonly sent: { slot: number; port: number }[] = [];
  private readonly machine: Machine;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  queue(port: number): DatagramQueue {
    return {
      port,
      senderCount: 1,
      send: (slot) => this.take(port, slot, 0),
      sendTo: (slot, _segmentSize, _sender, _trafficClass, ...address) => {
        const { snapshot, tunnelSettings } = this.machine;
        const kind = tunnelKinds[snapshot.portTunnelKind[port]];
        const header = kind.headerSize(tunnelSettings.flags, tunnelSettings.optionsSize);
        return this.take(port, slot, header, ipWordsText(Int32Array.from(address)));
      },
    };
  }

  private take(port: number, slot: number, header: number, remote?: string): boolean {
    const { pool } = this.machine;
    const start = pool.offset[slot];
    const octets = pool.octets.slice(start + header, start + pool.length[slot]);
    this.outputs.push({ port, octets, ...(remote === undefined ? {} : { remote }) });
    this.sent.push({ slot, port });
    return true;
  }
}

/** Writes down what each stage decided about the one frame, and about each of its copies. */
class Recorder implements StageListener {
  private readonly machine: Machine;
  private readonly slot: number;
  private readonly names: Names;
  private readonly outer: string | undefined;
  private readonly stages: TracedStage[] = [];
  private reason = 0;
  private length: number;
  /** Of the frame as the stage before left it, from the first one on. */
  private fields: FrameFields | undefined;
  /** Copies that died, by where they were to go. */
  private readonly dead = new Set<string>();

  constructor(machine: Machine, slot: number, names: Names, outer: string | undefined) {
    this.machine = machine;
    this.slot = slot;
    this.names = names;
    this.outer = outer;
    this.length = machine.pool.length[slot];
  }

  unpacked(): void {
    const { outer, slot } = this;
    if (outer === undefined) return;
    const { pool, snapshot } = this.machine;
    this.reason = pool.reason[slot];
    if (this.reason !== 0) {
      this.add('decap', 'drop', `${this.reasonText(this.reason)} The datagram: ${outer}`);
      return;
    }
    const removed = this.length - pool.length[slot];
    this.length = pool.length[slot];
    const { type } = tunnelKinds[snapshot.portTunnelKind[pool.ingressPort[slot]]];
    const network = this.names.network(pool.network[slot]);
    this.add('decap', 'continue', `for network ${network}, from the datagram ${outer}`, [
      `takes the ${type} header off (${removed} octets); inside is ${this.line(slot)}`,
    ]);
  }

  ingress(stage: Stage, batch: Batch): void {
    // Another router of the switch goes on with it.
    if (this.reason === TO_ROUTER && stage.name === 'route') this.reason = 0;
    // Stages also run for what waited, of which the frame may be none.
    if (this.reason !== 0 || !holds(batch, this.slot)) return;
    const { pool } = this.machine;
    this.reason = pool.reason[this.slot];
    const rule = stage.rule?.(this.machine, this.slot, this.names);
    if (this.reason > 0) {
      const why = stage.explainDrop?.(this.machine, this.slot, this.names);
      this.add(stage.name, 'drop', `${this.reasonText(this.reason)}${why === undefined ? '' : ` ${why}`}`, [], rule);
      return;
    }
    const text = stage.explain(this.machine, this.slot, this.names);
    const changes = [...(pool.length[this.slot] < this.length ? ['takes the outer tag off'] : []), ...this.rewrites()];
    this.length = pool.length[this.slot];
    this.add(stage.name, this.decisionOf(stage), text, changes, rule);
  }

  /** What the stage wrote into the frame. */
  private rewrites(): string[] {
    const before = this.fields;
    this.fields = fieldsOf(this.machine, this.slot);
    return before === undefined ? [] : changesBetween(before, this.fields);
  }

  egress(stage: EgressStage, copies: EgressBatch): void {
    const { pool, snapshot } = this.machine;
    for (let index = 0; index < copies.count; index++) {
      const slot = copies.slots[index];
      const port = snapshot.memberPort[copies.members[index]];
      const isTunnel = snapshot.portMode[port] === PORT_UNDERLAY;
      const isLast = stage.name === (isTunnel ? 'encap' : 'transmit');
      // What tunnels are not for, and what has left by one.
      if ((stage.name === 'encap' && !isTunnel) || (stage.name === 'transmit' && isTunnel)) continue;
      const where = this.where(port, copies.tunnels[index]);
      if (pool.isGenerated[pool.original[slot]] !== 0) {
        if (isLast) this.add('answer', 'continue', `${where}: the switch answers`);
        continue;
      }
      const reason = copies.reasons[index];
      if (this.dead.has(where)) continue;
      if (reason === IN_FRAGMENTS && stage.name !== 'fit') continue;
      const rule = stage.rule?.(this.machine, copies, index, this.names);
      if (reason > 0) {
        this.dead.add(where);
        const why = stage.explainDrop?.(this.machine, copies, index, this.names);
        const text = `${where}: ${this.reasonText(reason)}${why === undefined ? '' : ` ${why}`}`;
        this.add(stage.name, 'drop', text, [], rule);
        continue;
      }
      const text = `${where}: ${stage.explain(this.machine, copies, index, this.names)}`;
      this.add(stage.name, 'continue', text, [], rule);
    }
  }

  outcome(outputs: readonly TracedOutput[]): TraceOutcome {
    const { pool } = this.machine;
    const { stages, slot } = this;
    if (pool.reason[slot] === CONSUMED) return { verdict: 'consume', outputs, stages };
    // All that is said of it is this one frame: its first fragment does not come.
    if (pool.reason[slot] === WAITING) return { verdict: 'drop', reason: 'fragment_timeout', outputs, stages };
    // Nor does a station answer in a trace: what is kept for it does not leave.
    if (pool.reason[slot] === WAITING_FOR_HOP)
      return { verdict: 'drop', reason: 'neighbor_unresolved', outputs, stages };
    // An answer that leaves is no copy of the frame.
    const isForwarded = stages.some(({ stage, decision }) => isDeparture(stage) && decision === 'continue');
    if (isForwarded) return { verdict: pool.destination[slot] === FLOOD ? 'flood' : 'forward', outputs, stages };
    const number = pool.reason[slot] !== 0 ? pool.reason[slot] : pool.copyFailure[slot];
    const rule = stages.findLast(({ decision }) => decision === 'drop')?.rule;
    return { verdict: 'drop', reason: dropReasons[number], ...(rule !== undefined && { rule }), outputs, stages };
  }

  private add(
    stage: string,
    decision: TracedStage['decision'],
    text: string,
    changes: readonly string[] = [],
    rule?: string,
  ): void {
    this.stages.push({ stage, decision, ...(rule !== undefined && { rule }), text, changes });
  }

  private where(port: number, tunnel: number): string {
    const name = this.names.port(port);
    return tunnel === 0 ? name : `${name} to ${this.names.remote(tunnel)}`;
  }

  private line(slot: number): string {
    const { pool } = this.machine;
    return frameLine(pool.octets, pool.offset[slot], pool.length[slot]);
  }

  private decisionOf(stage: Stage): TracedStage['decision'] {
    if (this.reason === CONSUMED) return 'consume';
    if (this.reason === WAITING || this.reason === WAITING_FOR_HOP) return 'drop';
    if (stage.name !== 'forward') return 'continue';
    return this.machine.pool.destination[this.slot] === FLOOD ? 'flood' : 'forward';
  }

  private reasonText(reason: number): string {
    const name = dropReasons[reason];
    return `${name}: ${dropReasonText(name)}`;
  }
}

function isDeparture(stage: string): boolean {
  return stage === 'transmit' || stage === 'encap';
}

function holds({ slots, count }: Batch, slot: number): boolean {
  return slots.subarray(0, count).includes(slot);
}
