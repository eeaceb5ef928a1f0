/**
 * A worker's loop, one pass of which is a breath: take what the kernel finished, run the pipeline on it, hand over what it
 * made, and sleep only when nothing is left. Sleeping and waking cost some 10 us, so after traffic the worker first spins
 * for a short while; how long it adapts, and without traffic it does not spin at all. Nor does it when frames come many
 * at a time: then nobody waits for a single one, and a sleep gathers more of them for the next breath. @hot
 */
import { Batch } from '../dataplane/batch.js';
import type { Clock } from '../dataplane/clock.js';
import {
  type Counters,
  WORKER_BREATHS,
  WORKER_BUSY_NS,
  WORKER_EPOCH,
  WORKER_FRAMES,
  WORKER_LAST_BREATH_MS,
  WORKER_RECEIVED_BATCHES,
  WORKER_SLOTS_FREE,
} from '../dataplane/counters.js';
import type { IoEngine, WatchedQueue } from '../dataplane/io-engine.js';
import {
  BATCH_SIZE,
  FRAGMENT_SLEEP_MS,
  SLEEP_MAX_MS,
  SPIN_FRAMES_MAX,
  SPIN_MAX_MS,
  WATCHED_FRAMES_PER_BREATH,
} from '../limits.js';
import type { InjectionRing } from './injection-ring.js';
import type { Machine } from './machine.js';
import { Pipeline } from './pipeline.js';

/** Looks at the worker's orders; true when there are some, which ends spinning and sleeping. */
export interface Orders {
  isPending(): boolean;
  /** The main thread computes for long: whoever offers it the CPU waits for it. */
  isMainComputing(): boolean;
  /** Lets whoever else is ready to run have the CPU for a while. */
  yieldCpu(): void;
}

export class WorkerLoop {
  readonly machine: Machine;
  readonly watched: WatchedQueue[] = [];
  private readonly engine: IoEngine;
  private readonly orders: Orders;
  private readonly clock: Clock;
  private readonly counters: Counters;
  private readonly pipeline: Pipeline;
  private readonly batch = new Batch(BATCH_SIZE);
  private spinMs = 0;
  /** Moving average over breaths that found frames. */
  private framesPerBreath = 1;
  private idleMs = 0;
  /** Counts breaths, so that who is asked first changes. */
  private turn = 0;
  private startedMs: number;

  constructor(machine: Machine, engine: IoEngine, orders: Orders, clock: Clock) {
    this.machine = machine;
    this.engine = engine;
    this.orders = orders;
    this.clock = clock;
    this.counters = machine.counters;
    this.pipeline = new Pipeline(machine);
    this.startedMs = clock();
  }

  /** One breath. Returns frames taken in. */
  breathe(): number {
    const now = this.clock();
    this.machine.setTime(now);
    const batch = this.batch;
    // In turns, or devices that fill every batch would leave no room for streams, and streams none for devices.
    this.turn = (this.turn + 1) | 0;
    const isWatchedFirst = (this.turn & 1) === 0;
    if (isWatchedFirst) this.receiveWatched(batch);
    this.engine.receive(batch);
    if (!isWatchedFirst) this.receiveWatched(batch);
    const frames = batch.count;
    if (frames !== 0) this.pipeline.run(batch);
    else this.pipeline.takeBack();
    for (let index = 0; index < this.watched.length; index++) this.watched[index].flush();
    this.count(frames, now);
    if (frames !== 0 || this.engine.hasWork()) this.engine.submit(0);
    else this.rest(now);
    return frames;
  }

  /** Sends what the main thread gave, as much as goes at once. True: there may be more. */
  inject(injections: InjectionRing): boolean {
    const { machine } = this;
    machine.setTime(this.clock());
    const hasMore = injections.take(machine);
    this.pipeline.runReplies();
    for (let index = 0; index < this.watched.length; index++) this.watched[index].flush();
    this.engine.submit(0);
    return hasMore;
  }

  /** Begins with another queue each time: a few that flood fill the batch before the last one's turn. */
  private receiveWatched(batch: Batch): void {
    const { watched } = this;
    const count = watched.length;
    for (let step = 0; step < count && batch.count < batch.capacity; step++) {
      const queue = watched[((this.turn >>> 1) + step) % count];
      if (queue.readable) queue.receive(batch, Math.min(WATCHED_FRAMES_PER_BREATH, batch.capacity - batch.count));
    }
  }

  /** Hands over what is queued, then spins, then sleeps, until there is work, an order, or SLEEP_MAX_MS have passed. */
  private rest(now: number): void {
    const { engine, orders, clock } = this;
    engine.submit(0);
    const spun = this.spinMs > 0 && this.framesPerBreath < SPIN_FRAMES_MAX ? this.spin(now) : now;
    if (engine.hasWork() || orders.isPending() || this.isAnyReadable()) {
      this.idleMs += spun - now;
      return;
    }
    engine.submit(this.isAnyWaiting() ? FRAGMENT_SLEEP_MS : SLEEP_MAX_MS);
    const woken = clock();
    this.idleMs += woken - now;
    // A sleep that was short would have been better spent spinning; one that was long makes spinning not worth it.
    if (woken - now < SPIN_MAX_MS) this.spinMs = SPIN_MAX_MS;
    else this.spinMs = this.spinMs < SPIN_MAX_MS / 8 ? 0 : this.spinMs / 2;
  }

  /**
   * Looks for work for spinMs. The clock costs as much as ten looks, so it is read after every sixteenth; then the CPU is
   * offered to others, or on a small machine the one that is waited for might be waiting for this very CPU (two switches and
   * two guests on two cores: 160 us a round trip without the offer, 60 with it).
   *
   * Who takes the offer to compute keeps the CPU until the kernel's next tick (4 ms), whatever arrives here meanwhile: nobody
   * is woken who does not sleep. So while the main thread is known to compute this sleeps instead, and is woken by what arrives.
   * To sleep wherever the CPU was given back late was tried, too: where guests and another switch share the CPUs that is often,
   * and their round trips through a tunnel were 144 us instead of 60.
   */
  private spin(begin: number): number {
    const { engine, orders, clock } = this;
    const until = begin + this.spinMs;
    let now = begin;
    while (now < until && !orders.isMainComputing()) {
      for (let look = 0; look < 16; look++) if (engine.hasWork() || orders.isPending()) return clock();
      orders.yieldCpu();
      now = clock();
    }
    return now;
  }

  /** Whether another worker may any moment hear what a frame here waits for. */
  private isAnyWaiting(): boolean {
    const { waiting, pending, nowSeconds } = this.machine;
    return waiting.isFresh(nowSeconds) || pending.packets !== 0;
  }

  private isAnyReadable(): boolean {
    for (let index = 0; index < this.watched.length; index++) if (this.watched[index].readable) return true;
    return false;
  }

  private count(frames: number, now: number): void {
    const values = this.counters.values;
    values[WORKER_BREATHS] += 1;
    values[WORKER_LAST_BREATH_MS] = now;
    values[WORKER_BUSY_NS] = (now - this.startedMs - this.idleMs) * 1e6;
    values[WORKER_SLOTS_FREE] = this.machine.pool.available;
    values[WORKER_EPOCH] = this.machine.snapshot.epoch;
    if (frames === 0) return;
    this.framesPerBreath += (frames - this.framesPerBreath) / 8;
    values[WORKER_FRAMES] += frames;
    values[WORKER_RECEIVED_BATCHES] += 1;
  }
}
