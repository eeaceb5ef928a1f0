/**
 * The dataplane workers as the main thread sees them: starts them in Piscina, gives them orders, wakes them, notices
 * death and standstill, and replaces what died. The tables live in shared memory, so a replaced worker goes on with them;
 * the frames that lay in its slots are lost. Main thread only.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { WORKER_DEATHS_MAX, WORKER_DEATHS_WINDOW_MS, WORKER_STUCK_MS } from '../limits.js';
import { monotonicMs } from './clock.js';
import { COUNTERS_SIZE, Counters, WORKER_LAST_BREATH_MS } from './counters.js';
import { DROP_SAMPLES_SIZE, DropSamples } from './drop-samples.js';
import * as native from './native.js';
import {
  type IoChoice,
  STATE_EPOCH,
  STATE_PENDING,
  STATE_RING_FD,
  STATE_STOP,
  STATE_WAKE_FD,
  STATE_WORDS,
  type WorkerOrder,
  type WorkerReport,
} from './worker-protocol.js';

/** What every worker is given besides its own channel and pages; plain data that can be posted. */
export type SharedParts = Readonly<Record<string, unknown>>;

export interface WorkerPoolOptions<Config> {
  readonly count: number;
  readonly io: IoChoice;
  /** Module with the task, and the name it exports. */
  readonly filename: string;
  readonly task: string;
  readonly shared: SharedParts;
  /** The configuration a (re)started worker begins with, and the orders that bring it to where the others are. */
  readonly current: (index: number) => { readonly snapshot: Config; readonly orders: readonly WorkerOrder<Config>[] };
  readonly onReport: (index: number, report: WorkerReport) => void;
  /** A worker ended by itself and is being replaced. Its FDB lock and the like are to be broken. */
  readonly onDeath: (index: number, reason: string) => void;
}

/** One worker's place; the thread behind it may change. */
export interface WorkerSeat {
  readonly index: number;
  readonly counters: Counters;
  readonly samples: DropSamples;
  state: 'starting' | 'running' | 'failed';
  restarts: number;
  lastExit?: string;
  io: 'uring' | 'poll';
  ioReason: string;
}

interface Seat extends WorkerSeat {
  page: Int32Array;
  port: MessagePort;
  abort: AbortController;
  ended: Promise<void>;
  deaths: number[];
  startedMs: number;
}

const WATCH_PERIOD_MS = 250;

export class WorkerPool<Config extends { readonly epoch: number }> {
  private readonly options: WorkerPoolOptions<Config>;
  private readonly piscina: Piscina;
  private readonly places: Seat[] = [];
  private readonly watch: NodeJS.Timeout;
  private stopping = false;

  constructor(options: WorkerPoolOptions<Config>) {
    this.options = options;
    this.piscina = new Piscina({
      filename: options.filename,
      minThreads: options.count,
      maxThreads: options.count,
      concurrentTasksPerWorker: 1,
      // Piscina's own waiting between tasks is not ours: the one task never ends.
      atomics: 'disabled',
    });
    for (let index = 0; index < options.count; index++) this.places.push(this.newSeat(index));
    for (const seat of this.places) this.start(seat);
    this.watch = setInterval(() => this.replaceStuck(), WATCH_PERIOD_MS);
    this.watch.unref();
  }

  get seats(): readonly WorkerSeat[] {
    return this.places;
  }

  /** Posts an order to one worker and wakes it. */
  order(index: number, order: WorkerOrder<Config>): void {
    const seat = this.places[index];
    seat.port.postMessage(order);
    wake(seat);
  }

  /** Posts an order to all workers. */
  orderAll(order: WorkerOrder<Config>): void {
    for (const seat of this.places) this.order(seat.index, order);
  }

  /** Resolves when every worker forwards by the snapshot of this epoch or a later one. */
  async reached(epoch: number): Promise<void> {
    for (const seat of this.places) {
      for (let waits = 0; Atomics.load(seat.page, STATE_EPOCH) < epoch && !this.stopping; waits++) {
        wake(seat);
        await pause(waits < 20 ? 0 : 2);
      }
    }
  }

  async stop(): Promise<void> {
    this.stopping = true;
    clearInterval(this.watch);
    for (const seat of this.places) {
      Atomics.store(seat.page, STATE_STOP, 1);
      wake(seat);
    }
    const timeout = pause(WORKER_STUCK_MS);
    await Promise.race([Promise.all(this.places.map((seat) => seat.ended)), timeout]);
    for (const seat of this.places) seat.port.close();
    await this.piscina.destroy();
  }

  private newSeat(index: number): Seat {
    return {
      index,
      counters: new Counters(new SharedArrayBuffer(COUNTERS_SIZE)),
      samples: new DropSamples(new SharedArrayBuffer(DROP_SAMPLES_SIZE)),
      state: 'starting',
      restarts: 0,
      io: 'uring',
      ioReason: 'starting',
      page: new Int32Array(new SharedArrayBuffer(STATE_WORDS * 4)),
      port: undefined as unknown as MessagePort,
      abort: new AbortController(),
      ended: Promise.resolve(),
      deaths: [],
      startedMs: 0,
    };
  }

  private start(seat: Seat): void {
    const { shared, current, io, task } = this.options;
    const channel = new MessageChannel();
    const page = new SharedArrayBuffer(STATE_WORDS * 4);
    seat.page = new Int32Array(page);
    seat.page[STATE_WAKE_FD] = -1;
    seat.page[STATE_RING_FD] = -1;
    seat.page[STATE_EPOCH] = -1;
    seat.port = channel.port1;
    seat.abort = new AbortController();
    seat.state = 'starting';
    seat.startedMs = monotonicMs();
    channel.port1.on('message', (report: WorkerReport) => this.hear(seat, report));
    channel.port1.unref();
    const { snapshot, orders } = current(seat.index);
    const start = {
      ...shared,
      index: seat.index,
      io,
      orders: channel.port2,
      state: page,
      counters: seat.counters.values.buffer,
      samples: seat.samples.buffer,
      snapshot,
    };
    const run = this.piscina.run(start, { name: task, signal: seat.abort.signal, transferList: [channel.port2] });
    for (const order of orders) channel.port1.postMessage(order);
    Atomics.store(seat.page, STATE_PENDING, 1);
    seat.ended = run.then(
      () => this.ended(seat, 'ended without being asked to'),
      (error: unknown) => this.ended(seat, error instanceof Error ? error.message : String(error)),
    );
  }

  private hear(seat: Seat, report: WorkerReport): void {
    if (report.type === 'started') {
      seat.state = 'running';
      seat.io = report.io;
      seat.ioReason = report.ioReason;
    }
    this.options.onReport(seat.index, report);
  }

  private ended(seat: Seat, reason: string): void {
    if (this.stopping) return;
    closeLeftovers(seat);
    seat.port.close();
    seat.lastExit = reason;
    seat.state = 'failed';
    seat.restarts++;
    const now = monotonicMs();
    seat.deaths = [...seat.deaths.filter((at) => now - at < WORKER_DEATHS_WINDOW_MS), now];
    this.options.onDeath(seat.index, reason);
    const delay = seat.deaths.length > WORKER_DEATHS_MAX ? WORKER_DEATHS_WINDOW_MS : 0;
    setTimeout(() => {
      if (!this.stopping) this.start(seat);
    }, delay);
  }

  /** A worker that neither breathes nor sleeps (it wakes by itself to breathe) hangs in a loop: end its thread. */
  private replaceStuck(): void {
    const now = monotonicMs();
    for (const seat of this.places) {
      if (seat.state !== 'running') continue;
      const last = Math.max(seat.counters.values[WORKER_LAST_BREATH_MS], seat.startedMs);
      if (now - last > WORKER_STUCK_MS) seat.abort.abort(new Error(`did not breathe for ${Math.round(now - last)} ms`));
    }
  }
}

function wake(seat: Seat): void {
  Atomics.store(seat.page, STATE_PENDING, 1);
  const fd = Atomics.load(seat.page, STATE_WAKE_FD);
  if (fd >= 0) native.signalEvent(fd);
}

/** A thread that died left its ring, with receptions pending on the ports' descriptors, and its eventfd open. */
function closeLeftovers(seat: Seat): void {
  for (const word of [STATE_RING_FD, STATE_WAKE_FD]) {
    const fd = Atomics.exchange(seat.page, word, -1);
    if (fd >= 0) native.close(fd);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
