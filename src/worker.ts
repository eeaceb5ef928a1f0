/**
 * A worker thread's composition root: makes the pool, the engine and the machine of one dataplane worker from what the
 * main thread shares with it, then breathes until told to stop. Hosted by Piscina as one long task; it never returns to
 * the event loop, so orders are read with receiveMessageOnPort between two breaths.
 */
import { type MessagePort, receiveMessageOnPort, threadId } from 'node:worker_threads';
import { monotonicMs } from './dataplane/clock.js';
import { Counters } from './dataplane/counters.js';
import { DropSamples } from './dataplane/drop-samples.js';
import { FramePool } from './dataplane/frame-pool.js';
import type { IoEngine, PortQueue, WatchedQueue } from './dataplane/io-engine.js';
import { PollEngine } from './dataplane/io-poll.js';
import { UringEngine } from './dataplane/io-uring.js';
import * as native from './dataplane/native.js';
import type { QueueTransport } from './dataplane/port.js';
import { takeShortTurns } from './dataplane/precedence.js';
import type { MemoryDescriptor } from './dataplane/shared-memory.js';
import { makeWatchedQueue } from './dataplane/watched-queues.js';
import {
  type IoChoice,
  mappingsOf,
  STATE_COMPUTING,
  STATE_ENGINE_FD,
  STATE_EPOCH,
  STATE_PENDING,
  STATE_RING_FD,
  STATE_STOP,
  STATE_THREAD,
  STATE_WAKE_FD,
  type WorkerOrder,
  type WorkerReport,
} from './dataplane/worker-protocol.js';
import { OperatingError } from './errors.js';
import { Kernels } from './kernels/kernels.js';
import { type ConnectionMemory, openConnectionTable } from './pipeline/connection-table.js';
import { type FdbMemory, openFdb } from './pipeline/fdb.js';
import { openFragmentTable } from './pipeline/fragment-table.js';
import { InjectionRing } from './pipeline/injection-ring.js';
import { LoopGuard } from './pipeline/loop-guard.js';
import { Machine } from './pipeline/machine.js';
import { type NeighborMemory, openNeighborTable } from './pipeline/neighbor-table.js';
import { PuntRing } from './pipeline/punt-ring.js';
import { RuleCounters } from './pipeline/rule-counters.js';
import { RuleLog } from './pipeline/rule-log.js';
import type { Snapshot } from './pipeline/snapshot.js';
import { TokenBuckets } from './pipeline/token-bucket.js';
import { openTunnelTable } from './pipeline/tunnel-table.js';
import { WorkerLoop } from './pipeline/worker-loop.js';

/** What the main thread gives a new worker. */
export interface WorkerStart {
  readonly index: number;
  readonly io: IoChoice;
  readonly orders: MessagePort;
  readonly state: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly samples: SharedArrayBuffer;
  readonly storm: SharedArrayBuffer;
  readonly loops: SharedArrayBuffer;
  readonly fdb: FdbMemory;
  readonly tunnels: MemoryDescriptor;
  readonly neighbors: NeighborMemory;
  readonly connections: ConnectionMemory;
  readonly fragments: MemoryDescriptor;
  /** By worker: frames for the main thread. */
  readonly punts: readonly SharedArrayBuffer[];
  /** By worker: frames from the main thread. */
  readonly injections: readonly SharedArrayBuffer[];
  /** By worker: how often rules matched, and what those matched that are logged. */
  readonly ruleCounters: readonly SharedArrayBuffer[];
  readonly ruleLogs: readonly SharedArrayBuffer[];
  readonly snapshot: Snapshot;
}

/** The Piscina task: returns when STATE_STOP is set, throws on a defect. */
export function runWorker(start: WorkerStart): void {
  takeShortTurns();
  const worker = new DataplaneWorker(start);
  try {
    worker.run();
  } finally {
    worker.close();
  }
}

function rulesOf({ ruleCounters, ruleLogs, index }: WorkerStart): { ruleCounters: RuleCounters; ruleLog?: RuleLog } {
  const log = ruleLogs[index];
  return { ruleCounters: new RuleCounters(ruleCounters[index]), ...(log && { ruleLog: new RuleLog(log) }) };
}

function puntOf({ punts, index }: WorkerStart): { punt?: PuntRing } {
  const memory = punts[index];
  return memory === undefined ? {} : { punt: new PuntRing(memory) };
}

function injectionsOf({ injections, index }: WorkerStart): InjectionRing | undefined {
  const memory = injections[index];
  return memory === undefined ? undefined : new InjectionRing(memory);
}

/** A port that is being detached and its queues that the kernel may still use. */
interface Leaving {
  readonly port: number;
  readonly queues: readonly PortQueue[];
}

/** Looks at leaving queues for which the worker does not sleep: the kernel gives buffers back within one or two. */
const EAGER_LOOKS = 100;

class DataplaneWorker {
  private readonly orders: MessagePort;
  private readonly state: Int32Array;
  private readonly machine: Machine;
  private readonly engine: IoEngine;
  private readonly loop: WorkerLoop;
  private readonly attached = new Map<number, PortQueue[]>();
  private leaving: Leaving[] = [];
  private looksAtLeaving = 0;
  private readonly injections: InjectionRing | undefined;
  private hasInjections = true;

  constructor(start: WorkerStart) {
    this.orders = start.orders;
    this.injections = injectionsOf(start);
    this.state = new Int32Array(start.state);
    Atomics.store(this.state, STATE_THREAD, threadId);
    const pool = new FramePool();
    this.machine = new Machine(
      {
        pool,
        kernels: new Kernels(pool.memory),
        counters: new Counters(start.counters),
        samples: new DropSamples(start.samples),
        fdb: openFdb(start.fdb, start.index),
        tunnels: openTunnelTable(start.tunnels, start.index),
        neighbors: openNeighborTable(start.neighbors, start.index),
        connections: openConnectionTable(start.connections, start.index, native.yieldCpu),
        fragments: openFragmentTable(start.fragments, start.index),
        storm: new TokenBuckets(start.storm),
        loops: new LoopGuard(start.loops),
        ...puntOf(start),
        ...rulesOf(start),
      },
      start.snapshot,
    );
    const failed = (port: number, errno: number) => this.tell({ type: 'failed', port, errno });
    const { engine, reason } = chooseEngine(start.io, pool, this.machine, failed);
    this.engine = engine;
    this.showWhatToClose(engine);
    this.loop = new WorkerLoop(
      this.machine,
      engine,
      {
        isPending: () => this.isPending(),
        isMainComputing: () => this.state[STATE_COMPUTING] !== 0,
        yieldCpu: native.yieldCpu,
      },
      monotonicMs,
    );
    Atomics.store(this.state, STATE_EPOCH, start.snapshot.epoch);
    this.tell({ type: 'started', io: engine.kind, ioReason: reason });
  }

  run(): void {
    // Plain loads first: an Atomics call costs 20 ns, and what they miss in this breath they see in the next.
    while (this.state[STATE_STOP] === 0) {
      this.loop.breathe();
      if (this.state[STATE_PENDING] !== 0 && Atomics.exchange(this.state, STATE_PENDING, 0) !== 0) {
        this.hasInjections = this.injections !== undefined;
        this.readOrders();
      }
      if (this.hasInjections && this.injections !== undefined) this.hasInjections = this.loop.inject(this.injections);
      if (this.leaving.length !== 0) this.checkLeaving();
    }
  }

  /** After a throw too, so nothing of the queues is to be trusted; the main thread is not to close these once more. */
  close(): void {
    Atomics.store(this.state, STATE_RING_FD, -1);
    Atomics.store(this.state, STATE_ENGINE_FD, -1);
    mappingsOf(this.state).fill(0);
    for (const queue of this.loop.watched) queue.close(false);
    this.engine.close();
  }

  /** What the main thread needs to wake this worker, and to close and unmap when its thread died. */
  private showWhatToClose(engine: IoEngine): void {
    const { state } = this;
    mappingsOf(state).set(engine.mappings.flatMap(({ address, size }) => [address, size]));
    Atomics.store(state, STATE_ENGINE_FD, engine.wakeFd);
    Atomics.store(state, STATE_RING_FD, engine.ringFd);
    Atomics.store(state, STATE_WAKE_FD, native.check('duplicating an eventfd', native.duplicate(engine.wakeFd)));
  }

  /** Whether there is a reason not to sleep that is no frame. */
  private isPending(): boolean {
    if (this.state[STATE_PENDING] !== 0 || this.hasInjections) return true;
    return this.leaving.length !== 0 && this.looksAtLeaving < EAGER_LOOKS;
  }

  private tell(report: WorkerReport): void {
    this.orders.postMessage(report);
  }

  private readOrders(): void {
    for (let received = receiveMessageOnPort(this.orders); received; received = receiveMessageOnPort(this.orders)) {
      this.obey(received.message as WorkerOrder<Snapshot>);
    }
  }

  private obey(order: WorkerOrder<Snapshot>): void {
    if (order.type === 'snapshot') {
      this.machine.snapshot = order.snapshot;
      Atomics.store(this.state, STATE_EPOCH, order.snapshot.epoch);
    } else if (order.type === 'attach') this.attach(order.port, order.transports, order.receives);
    else if (order.type === 'forget') this.machine.samples.forget(order.port);
    else this.detach(order.port);
  }

  /**
   * The port sends by its first queue; the others only receive. What the system refuses (no descriptor, no memory) is that
   * port's misfortune: it is reported as failed, and the worker goes on for the others.
   */
  private attach(port: number, transports: readonly QueueTransport[], receives: boolean): void {
    const queues: PortQueue[] = [];
    this.attached.set(port, queues);
    try {
      for (const transport of transports) queues.push(this.openQueue(port, transport, receives, queues[0]));
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.tell({ type: 'failed', port, errno: native.errnoOf(error.errno) });
    }
    this.machine.queues[port] = queues[0];
  }

  private openQueue(
    port: number,
    transport: QueueTransport,
    receives: boolean,
    first: PortQueue | undefined,
  ): PortQueue {
    if (transport.type === 'tap' || transport.type === 'packet' || transport.type === 'datagram')
      return this.engine.attach(port, transport, receives);
    const { machine } = this;
    const queue = makeWatchedQueue(port, transport, machine.pool, machine, machine.counters, first, (errno: number) =>
      this.tell({ type: 'failed', port, errno }),
    );
    // Nothing comes back through a relay; its eventfd is for the far end.
    if (transport.type !== 'relay' || transport.end === 'to') this.engine.watch(queue);
    this.loop.watched.push(queue);
    return queue;
  }

  private detach(port: number): void {
    const queues = this.attached.get(port) ?? [];
    this.attached.delete(port);
    this.machine.queues[port] = undefined;
    this.machine.waiting.abandon(this.machine, port);
    this.machine.pending.abandon(this.machine, port);
    for (const queue of queues) {
      const watched = this.loop.watched.indexOf(queue as WatchedQueue);
      if (watched >= 0) {
        this.loop.watched.splice(watched, 1);
        this.engine.unwatch(queue as WatchedQueue);
        (queue as WatchedQueue).close(true);
      } else this.engine.detach(queue);
    }
    this.leaving.push({ port, queues: queues.filter((queue) => !('readable' in queue)) });
    this.looksAtLeaving = 0;
  }

  /** Queues whose buffers the kernel has given back are told to the main thread, which may close their descriptors. */
  private checkLeaving(): void {
    this.looksAtLeaving++;
    this.engine.submit(0);
    const staying: Leaving[] = [];
    for (const one of this.leaving) {
      if (one.queues.every((queue) => this.engine.isIdle(queue))) this.tell({ type: 'detached', port: one.port });
      else staying.push(one);
    }
    this.leaving = staying;
  }
}

function chooseEngine(
  choice: IoChoice,
  pool: FramePool,
  machine: Machine,
  failed: (port: number, errno: number) => void,
): { engine: IoEngine; reason: string } {
  const poll = () => new PollEngine(pool, machine, machine.counters, failed);
  if (choice === 'poll') return { engine: poll(), reason: 'asked for by --io poll' };
  try {
    const engine = new UringEngine(pool, machine, machine.counters, failed);
    return { engine, reason: choice === 'uring' ? 'asked for by --io uring' : 'the kernel has io_uring' };
  } catch (error) {
    if (choice === 'uring') throw error;
    return { engine: poll(), reason: `no io_uring: ${(error as Error).message}` };
  }
}
