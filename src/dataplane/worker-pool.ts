/**
 * The dataplane workers as the main thread sees them: starts them in Piscina, gives them orders, wakes them, notices
 * death and standstill, and replaces what died. The tables live in shared memory, so a replaced worker goes on with them;
 * the frames that lay in its slots are lost. Main thread only.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { OperatingError } from '../errors.js';
import {
  WORKER_DEATHS_MAX,
  WORKER_DEATHS_WINDOW_MS,
  WORKER_HEAP_MIB,
  WORKER_START_MAX_MS,
  WORKER_STUCK_MS,
} from '../limits.js';
import { monotonicMs } from './clock.js';
import { COUNTERS_SIZE, Counters, WORKER_LAST_BREATH_MS } from './counters.js';
import { DROP_SAMPLES_SIZE, DropSamples } from './drop-samples.js';
import * as native from './native.js';
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
  port: MessagePort | undefined;
  abort: AbortController;
  ended: Promise<void>;
  /** When a thread that was told to end has really ended. Until then it may still be in the middle of something. */
  threadGone: Promise<void>;
  deaths: number[];
  startedMs: number;
  /** Some thread of this seat has once come as far as to breathe. */
  hasRun: boolean;
  restartTimer: NodeJS.Timeout | undefined;
}

const WATCH_PERIOD_MS = 250;
/** A pause of the main thread longer than this says nothing about the workers: the whole process stood still. */
const OWN_PAUSE_MAX_MS = 4 * WATCH_PERIOD_MS;

export class WorkerPool<Config extends { readonly epoch: number }> {
  private readonly options: WorkerPoolOptions<Config>;
  private readonly piscina: Piscina;
  private readonly places: Seat[] = [];
  private readonly watch: NodeJS.Timeout;
  private stopping = false;
  /** Works of the main thread that compute for long. */
  private computing = 0;
  private lastWatchMs = monotonicMs();
  private startFailure: OperatingError | undefined;

  constructor(options: WorkerPoolOptions<Config>) {
    this.options = options;
    this.piscina = new Piscina({
      filename: options.filename,
      minThreads: options.count,
      maxThreads: options.count,
      concurrentTasksPerWorker: 1,
      // Piscina's own waiting between tasks is not ours: the one task never ends.
      atomics: 'disabled',
      // What a worker needs is allocated at its start, outside this heap.
      resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MIB },
    });
    // Of a thread without a task: whoever had one hears of it by the task's promise. Unheard it would end the process.
    this.piscina.on('error', () => undefined);
    for (let index = 0; index < options.count; index++) this.places.push(this.newSeat(index));
    for (const seat of this.places) this.start(seat);
    this.watch = setInterval(() => this.replaceStuck(), WATCH_PERIOD_MS);
    this.watch.unref();
  }

  get seats(): readonly WorkerSeat[] {
    return this.places;
  }

  /** Posts an order to one worker and wakes it. False: it is dead just now; its successor begins with `current`. */
  order(index: number, order: WorkerOrder<Config>): boolean {
    const seat = this.places[index];
    if (seat?.port === undefined) return false;
    seat.port.postMessage(order);
    wake(seat);
    return true;
  }

  /** Makes one worker look for what was put down for it. False: it is dead just now; its successor looks when it begins. */
  nudge(index: number): boolean {
    const seat = this.places[index];
    if (seat?.port === undefined) return false;
    wake(seat);
    return true;
  }

  /** Posts an order to all workers. */
  orderAll(order: WorkerOrder<Config>): void {
    for (const seat of this.places) this.order(seat.index, order);
  }

  /** Has the workers know that the main thread, or one that works for it, computes until this is done. */
  async whileComputing<Result>(work: () => Promise<Result>): Promise<Result> {
    this.countComputing(1);
    try {
      return await work();
    } finally {
      this.countComputing(-1);
    }
  }

  private countComputing(change: number): void {
    this.computing += change;
    for (const { page } of this.places) page[STATE_COMPUTING] = this.computing;
  }

  /** Resolves when every worker runs for the first time. Throws an OperatingError that says why one can't. */
  async started(): Promise<void> {
    while (!this.stopping && !this.places.every((seat) => seat.hasRun)) {
      if (this.startFailure !== undefined) throw this.startFailure;
      await pause(2);
    }
  }

  /**
   * Resolves when no worker forwards by a snapshot older than this epoch. One that is dead, or has not begun, forwards
   * nothing, and will begin with the newest: nobody waits for it, or one crashing worker would hold up every change.
   */
  async reached(epoch: number): Promise<void> {
    for (const seat of this.places) {
      for (let waits = 0; isBehind(seat, epoch) && !this.stopping; waits++) {
        wake(seat);
        await pause(waits < 20 ? 0 : 2);
      }
    }
  }

  async stop(): Promise<void> {
    this.stopping = true;
    clearInterval(this.watch);
    for (const seat of this.places) {
      clearTimeout(seat.restartTimer);
      Atomics.store(seat.page, STATE_STOP, 1);
      wake(seat);
    }
    await within(WORKER_STUCK_MS, Promise.all(this.places.map((seat) => seat.ended)));
    await this.piscina.destroy();
    for (const seat of this.places) {
      seat.port?.close();
      seat.port = undefined;
      closeLeftovers(seat);
    }
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
      port: undefined,
      abort: new AbortController(),
      ended: Promise.resolve(),
      threadGone: Promise.resolve(),
      deaths: [],
      startedMs: 0,
      hasRun: false,
      restartTimer: undefined,
    };
  }

  private start(seat: Seat): void {
    const { shared, current, io, task } = this.options;
    const channel = new MessageChannel();
    const page = new SharedArrayBuffer(STATE_WORDS * 4);
    seat.page = new Int32Array(page);
    seat.page[STATE_WAKE_FD] = -1;
    seat.page[STATE_RING_FD] = -1;
    seat.page[STATE_ENGINE_FD] = -1;
    seat.page[STATE_EPOCH] = -1;
    seat.page[STATE_COMPUTING] = this.computing;
    seat.threadGone = Promise.resolve();
    seat.port = channel.port1;
    seat.abort = new AbortController();
    seat.state = 'starting';
    seat.startedMs = monotonicMs();
    channel.port1.on('message', (report: WorkerReport) => {
      // What a dead worker said last is about ports that its successor may have again.
      if (seat.port === channel.port1) this.hear(seat, report);
    });
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
      (error: unknown) => this.ended(seat, reasonOf(error)),
    );
  }

  private hear(seat: Seat, report: WorkerReport): void {
    if (report.type === 'started') {
      seat.state = 'running';
      seat.hasRun = true;
      seat.io = report.io;
      seat.ioReason = report.ioReason;
    }
    this.options.onReport(seat.index, report);
  }

  private async ended(seat: Seat, reason: string): Promise<void> {
    await within(WORKER_STUCK_MS, seat.threadGone);
    if (this.stopping) return;
    closeLeftovers(seat);
    seat.port?.close();
    seat.port = undefined;
    seat.lastExit = reason;
    seat.state = 'failed';
    if (!seat.hasRun) {
      this.startFailure ??= new OperatingError(`worker ${seat.index} can't start: ${reason}`);
      return;
    }
    seat.restarts++;
    const now = monotonicMs();
    seat.deaths = [...seat.deaths.filter((at) => now - at < WORKER_DEATHS_WINDOW_MS), now];
    this.options.onDeath(seat.index, reason);
    const delay = seat.deaths.length > WORKER_DEATHS_MAX ? WORKER_DEATHS_WINDOW_MS : 0;
    seat.restartTimer = setTimeout(() => {
      if (!this.stopping) this.start(seat);
    }, delay);
  }

  /** A worker that neither breathes nor sleeps (it wakes by itself to breathe) hangs in a loop: end its thread. */
  private replaceStuck(): void {
    const now = monotonicMs();
    const paused = now - this.lastWatchMs > OWN_PAUSE_MAX_MS;
    this.lastWatchMs = now;
    if (paused) return;
    for (const seat of this.places) {
      if (seat.port === undefined || seat.abort.signal.aborted) continue;
      const last = Math.max(seat.counters.values[WORKER_LAST_BREATH_MS], seat.startedMs);
      const patience = seat.state === 'running' ? WORKER_STUCK_MS : WORKER_START_MAX_MS;
      if (now - last > patience) this.kill(seat, `did not breathe for ${Math.round(now - last)} ms`);
    }
  }

  private kill(seat: Seat, reason: string): void {
    const number = Atomics.load(seat.page, STATE_THREAD);
    const thread = this.piscina.threads.find(({ threadId }) => number !== 0 && threadId === number);
    if (thread !== undefined) seat.threadGone = new Promise((resolve) => thread.once('exit', () => resolve()));
    // It may hang in a system call that only this ends.
    wake(seat);
    seat.abort.abort(new Error(reason));
  }
}

/** Whether the worker forwards by an older snapshot than this. */
function isBehind(seat: Seat, epoch: number): boolean {
  if (seat.port === undefined) return false;
  const reached = Atomics.load(seat.page, STATE_EPOCH);
  return reached !== -1 && reached < epoch;
}

function wake(seat: Seat): void {
  Atomics.store(seat.page, STATE_PENDING, 1);
  const fd = Atomics.load(seat.page, STATE_WAKE_FD);
  if (fd >= 0) native.signalEvent(fd);
}

/**
 * A thread that died left its ring, with receptions pending on the ports' descriptors, its eventfd and its mappings. Call
 * it when the thread is gone: nothing may look into the mappings any more.
 */
function closeLeftovers(seat: Seat): void {
  for (const word of [STATE_RING_FD, STATE_ENGINE_FD, STATE_WAKE_FD]) {
    const fd = Atomics.exchange(seat.page, word, -1);
    if (fd >= 0) native.close(fd);
  }
  const mappings = mappingsOf(seat.page);
  for (let index = 0; index < mappings.length; index += 2) {
    if (mappings[index] !== 0) native.unmap(mappings[index], mappings[index + 1]);
    mappings[index] = 0;
  }
}

/** What the task's promise was rejected with; of an abort, why it was aborted. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === 'AbortError' && error.cause instanceof Error ? error.cause.message : error.message;
}

/** Waits for it, but only so long. */
async function within(timeoutMs: number, done: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    done,
    new Promise((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    }),
  ]);
  clearTimeout(timer);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
