/**
 * What would happen to a frame: the very pipeline, run on one frame over copies of the tables, with queues that only
 * remember what they were given. Changes nothing in the running switch. Main thread; one trace at a time.
 */
import { Batch } from '../dataplane/batch.js';
import { Counters } from '../dataplane/counters.js';
import { type DropReason, dropReasons, dropReasonText } from '../dataplane/drop-reason.js';
import { DropSamples } from '../dataplane/drop-samples.js';
import { FramePool } from '../dataplane/frame-pool.js';
import type { PortQueue } from '../dataplane/io-engine.js';
import { Kernels } from '../kernels/kernels.js';
import { FRAME_SIZE_MAX, PORTS_MAX } from '../limits.js';
import type { EgressBatch } from './egress-batch.js';
import type { Fdb } from './fdb.js';
import { LoopGuard } from './loop-guard.js';
import { Machine } from './machine.js';
import { Pipeline, type StageListener } from './pipeline.js';
import type { Snapshot } from './snapshot.js';
import type { EgressStage, Names, Stage } from './stage.js';
import { FLOOD } from './stages/forward.js';
import { TokenBuckets } from './token-bucket.js';

/** The state a trace runs on: the snapshot in force and copies of the tables' memory. */
export interface TraceState {
  readonly snapshot: Snapshot;
  readonly fdb: Fdb;
  readonly loops: ArrayBuffer;
  readonly storm: ArrayBuffer;
  readonly nowMs: number;
}

export interface TracedStage {
  readonly stage: string;
  readonly decision: 'continue' | 'drop' | 'forward' | 'flood';
  readonly text: string;
  readonly changes: readonly string[];
}

export interface TracedOutput {
  readonly port: number;
  /** The frame as it leaves, before segmentation by the port's device. */
  readonly octets: Uint8Array;
}

export interface TraceOutcome {
  readonly verdict: 'forward' | 'flood' | 'drop';
  readonly reason?: DropReason;
  readonly outputs: readonly TracedOutput[];
  readonly stages: readonly TracedStage[];
}

/** Copies of a flood to every port, each with a clone, and the frame itself. */
const TRACE_SLOTS = PORTS_MAX + 64;

/** Keeps its arena between traces: a gibibyte of address space need not be mapped anew for each. */
export class Tracer {
  private readonly pool = new FramePool(TRACE_SLOTS);
  private readonly kernels = new Kernels(this.pool.memory);
  private readonly counters = new Counters();
  private readonly samples = new DropSamples();

  /** `frame` is what the port would have received, without a vnet header; at most FRAME_SIZE_MAX octets. */
  trace(state: TraceState, port: number, frame: Uint8Array, names: Names): TraceOutcome {
    const machine = new Machine(
      {
        pool: this.pool,
        kernels: this.kernels,
        counters: this.counters,
        samples: this.samples,
        fdb: state.fdb,
        storm: new TokenBuckets(state.storm),
        loops: new LoopGuard(state.loops),
      },
      state.snapshot,
    );
    machine.setTime(state.nowMs);
    const sink = new Sink(this.pool);
    for (let index = 0; index < PORTS_MAX; index++) machine.queues[index] = sink.queue(index);
    const slot = this.pool.allocate();
    const length = Math.min(frame.length, FRAME_SIZE_MAX);
    this.pool.octets.set(frame.subarray(0, length), this.pool.frameStart(slot));
    this.pool.receive(slot, port, length);
    const recorder = new Recorder(machine, slot, names);
    const batch = new Batch(1);
    batch.push(slot);
    new Pipeline(machine, recorder).run(batch);
    const outcome = recorder.outcome(sink.outputs);
    for (const sent of sink.sent) machine.sent(sent.slot, sent.port, 0, 0);
    return outcome;
  }
}

/** Queues that remember what they were given. */
class Sink {
  readonly outputs: TracedOutput[] = [];
  readonly sent: { slot: number; port: number }[] = [];
  private readonly pool: FramePool;

  constructor(pool: FramePool) {
    this.pool = pool;
  }

  queue(port: number): PortQueue {
    return { port, send: (slot) => this.take(port, slot) };
  }

  private take(port: number, slot: number): boolean {
    const start = this.pool.offset[slot];
    this.outputs.push({ port, octets: this.pool.octets.slice(start, start + this.pool.length[slot]) });
    this.sent.push({ slot, port });
    return true;
  }
}

/** Writes down what each stage decided about the one frame, and about each of its copies. */
class Recorder implements StageListener {
  private readonly machine: Machine;
  private readonly slot: number;
  private readonly names: Names;
  private readonly stages: TracedStage[] = [];
  private reason = 0;
  private length: number;

  constructor(machine: Machine, slot: number, names: Names) {
    this.machine = machine;
    this.slot = slot;
    this.names = names;
    this.length = machine.pool.length[slot];
  }

  ingress(stage: Stage): void {
    if (this.reason !== 0) return;
    const pool = this.machine.pool;
    this.reason = pool.reason[this.slot];
    if (this.reason !== 0) {
      this.stages.push({ stage: stage.name, decision: 'drop', text: this.reasonText(this.reason), changes: [] });
      return;
    }
    const text = stage.explain(this.machine, this.slot, this.names);
    const changes = pool.length[this.slot] < this.length ? ['takes the outer tag off'] : [];
    this.length = pool.length[this.slot];
    this.stages.push({ stage: stage.name, decision: this.decisionOf(stage), text, changes });
  }

  egress(stage: EgressStage, copies: EgressBatch): void {
    for (let index = 0; index < copies.count; index++) {
      const port = this.names.port(this.machine.snapshot.memberPort[copies.members[index]]);
      const reason = copies.reasons[index];
      const wasDropped = this.stages.some((row) => row.decision === 'drop' && row.text.startsWith(`${port}: `));
      if (wasDropped) continue;
      const text = reason === 0 ? stage.explain(this.machine, copies, index, this.names) : this.reasonText(reason);
      this.stages.push({
        stage: stage.name,
        decision: reason === 0 ? 'continue' : 'drop',
        text: `${port}: ${text}`,
        changes: [],
      });
    }
  }

  outcome(outputs: readonly TracedOutput[]): TraceOutcome {
    const { pool } = this.machine;
    const stages = this.stages;
    if (outputs.length > 0) {
      const verdict = pool.destination[this.slot] === FLOOD ? 'flood' : 'forward';
      return { verdict, outputs, stages };
    }
    const number = pool.reason[this.slot] !== 0 ? pool.reason[this.slot] : pool.copyFailure[this.slot];
    return { verdict: 'drop', reason: dropReasons[number], outputs, stages };
  }

  private decisionOf(stage: Stage): TracedStage['decision'] {
    if (stage.name !== 'forward') return 'continue';
    return this.machine.pool.destination[this.slot] === FLOOD ? 'flood' : 'forward';
  }

  private reasonText(reason: number): string {
    const name = dropReasons[reason];
    return `${name}: ${dropReasonText(name)}`;
  }
}
