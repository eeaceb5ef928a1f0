/** A worker without a pipeline, for tests of ports and engines: breathes when told, keeps what it received and what was reported. */
import { Batch } from '../../src/dataplane/batch.js';
import { Counters } from '../../src/dataplane/counters.js';
import { dropReasons } from '../../src/dataplane/drop-reason.js';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import type { IoEngine, PortQueue, WatchedQueue } from '../../src/dataplane/io-engine.js';
import { PollEngine } from '../../src/dataplane/io-poll.js';
import { UringEngine } from '../../src/dataplane/io-uring.js';
import type { QueueTransport } from '../../src/dataplane/port.js';
import { makeWatchedQueue } from '../../src/dataplane/watched-queues.js';

export type EngineKind = 'uring' | 'poll';
export const engineKinds: readonly EngineKind[] = ['uring', 'poll'];

export interface Received {
  readonly port: number;
  readonly octets: Uint8Array;
  readonly gsoType: number;
  readonly gsoSize: number;
  readonly checksumStart: number;
  readonly hasOffload: boolean;
  /** Of datagrams; see FramePool. */
  readonly datagramSize: number;
  readonly trafficClass: number;
  readonly source: readonly number[];
}

export interface Sent {
  readonly slot: number;
  readonly port: number;
  readonly octets: number;
  readonly reason: string;
}

export const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Waits until `condition` holds; fails with `what` after `timeoutMs`. */
export async function until(what: string, condition: () => boolean, timeoutMs = 5000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(5);
  }
}

export class BenchWorker {
  readonly pool: FramePool;
  readonly engine: IoEngine;
  readonly received: Received[] = [];
  readonly sent: Sent[] = [];
  readonly failed: { port: number; errno: number }[] = [];
  readonly batch: Batch;
  /** What the engine counts by itself: failures and frames the kernel lost. */
  readonly counters = new Counters();
  private readonly queues = new Map<PortQueue, boolean>();

  constructor(kind: EngineKind, slotCount = 600, batchSize = 64) {
    this.pool = new FramePool(slotCount);
    this.pool.octets.fill(0xa5);
    this.batch = new Batch(batchSize);
    const Engine = kind === 'uring' ? UringEngine : PollEngine;
    this.engine = new Engine(this.pool, this.report, this.counters, (port, errno) => this.failed.push({ port, errno }));
  }

  /** A copy's hold ends here. Nothing is relayed to or from another worker. */
  private readonly report = {
    sent: (slot: number, port: number, octets: number, reason: number) => this.finish(slot, port, octets, reason),
    handedOver: (slot: number) => this.finish(slot, -1, 0, 0),
    refused: (slot: number, port: number, reason: number) => this.finish(slot, port, 0, reason),
  };

  private finish(slot: number, port: number, octets: number, reason: number): void {
    this.sent.push({ slot, port, octets, reason: dropReasons[reason] });
    this.pool.release(slot);
  }

  attach(port: number, transport: QueueTransport, receives = true): PortQueue {
    const isKernels = transport.type === 'tap' || transport.type === 'packet' || transport.type === 'datagram';
    const queue = isKernels
      ? this.engine.attach(port, transport, receives)
      : makeWatchedQueue(port, transport, this.pool, this.report, this.counters, undefined, (errno) =>
          this.failed.push({ port, errno }),
        );
    this.queues.set(queue, !isKernels);
    if (!isKernels) this.engine.watch(queue as WatchedQueue);
    return queue;
  }

  /** Detaches and breathes until the queue's slots are back. */
  async detach(queue: PortQueue): Promise<void> {
    const isWatched = this.queues.get(queue);
    this.queues.delete(queue);
    if (isWatched === true) {
      this.engine.unwatch(queue as WatchedQueue);
      (queue as WatchedQueue).close(true);
      this.breathe();
      return;
    }
    this.engine.detach(queue);
    await until('the queue is idle', () => {
      this.breathe();
      return this.engine.isIdle(queue);
    });
  }

  async detachAll(): Promise<void> {
    for (const queue of [...this.queues.keys()]) await this.detach(queue);
  }

  /** One pass. Returns frames taken in. */
  breathe(waitMs = 0): number {
    const { batch, engine } = this;
    engine.submit(waitMs);
    batch.count = 0;
    engine.receive(batch);
    for (const [queue, isWatched] of this.queues) {
      const watched = queue as WatchedQueue;
      if (isWatched && watched.readable) watched.receive(batch, batch.capacity - batch.count);
      if (isWatched) watched.flush();
    }
    for (let index = 0; index < batch.count; index++) this.keep(batch.slots[index]);
    engine.submit(0);
    return batch.count;
  }

  /** A free slot holding these octets, held once. */
  frame(octets: Uint8Array): number {
    const slot = this.pool.allocate();
    if (slot < 0) throw new Error('the pool is empty');
    this.pool.octets.set(octets, this.pool.frameStart(slot));
    this.pool.receive(slot, 0, octets.length);
    return slot;
  }

  /** False when the queue refused; the slot is free again then. */
  send(queue: PortQueue, octets: Uint8Array): boolean {
    const slot = this.frame(octets);
    if (queue.send(slot)) return true;
    this.pool.release(slot);
    return false;
  }

  async close(): Promise<void> {
    await this.detachAll();
    this.engine.close();
  }

  private keep(slot: number): void {
    const { pool } = this;
    const start = pool.offset[slot];
    this.received.push({
      port: pool.ingressPort[slot],
      octets: pool.octets.slice(start, start + pool.length[slot]),
      gsoType: pool.gsoType[slot],
      gsoSize: pool.gsoSize[slot],
      checksumStart: pool.checksumStart[slot],
      hasOffload: pool.offloadUnchecked[slot] === 1,
      datagramSize: pool.datagramSize[slot],
      trafficClass: pool.trafficClass[slot],
      source: [...pool.sourceAddress.subarray(slot * 4, slot * 4 + 4)],
    });
    pool.release(slot);
  }
}
