/**
 * A port queue without a device: what the simulator and the pipeline's benchmarks send to. No threads, no rings and no
 * copies: a frame is put into the pool by `memoryFrame` and handed to the pipeline, and what the pipeline sends is shown to
 * a sink in its slot and reported sent at once. One thread. @hot
 */
import type { FramePool } from '../frame-pool.js';
import type { PortQueue, SendReport } from '../io-engine.js';

/** Sees each frame that is sent; the slot is valid during the call only. */
export type FrameSink = (slot: number, port: number) => void;

export class MemoryQueue implements PortQueue {
  readonly port: number;
  /** Frames it takes until it refuses (the caller sees tx_full); refill it to go on. */
  room = Number.POSITIVE_INFINITY;
  /** Reason number with which it reports every frame; 0: sent. */
  failure = 0;
  /** Hold back the reports, as a device with a long queue: `complete` makes them. */
  isSlow = false;
  private readonly pool: FramePool;
  private readonly report: SendReport;
  private readonly sink: FrameSink | undefined;
  private readonly held: Int32Array;
  private heldCount = 0;

  constructor(port: number, pool: FramePool, report: SendReport, sink?: FrameSink) {
    this.port = port;
    this.pool = pool;
    this.report = report;
    this.sink = sink;
    this.held = new Int32Array(pool.slotCount);
  }

  send(slot: number): boolean {
    if (this.room <= 0 || this.heldCount === this.held.length) return false;
    this.room--;
    if (this.isSlow) this.held[this.heldCount++] = slot;
    else this.finish(slot);
    return true;
  }

  /** Reports at most `count` of the frames that a slow queue holds, oldest first. */
  complete(count: number = this.heldCount): void {
    const finished = Math.min(count, this.heldCount);
    for (let index = 0; index < finished; index++) this.finish(this.held[index]);
    this.held.copyWithin(0, finished, this.heldCount);
    this.heldCount -= finished;
  }

  private finish(slot: number): void {
    const octets = this.pool.length[slot];
    if (this.failure !== 0) {
      this.report.sent(slot, this.port, 0, this.failure);
      return;
    }
    if (this.sink !== undefined) this.sink(slot, this.port);
    this.report.sent(slot, this.port, octets, 0);
  }
}

/** Puts a frame into a free slot as if `port` had received it; -1 when no slot is free. */
export function memoryFrame(pool: FramePool, port: number, octets: Uint8Array): number {
  const slot = pool.allocate();
  if (slot < 0) return -1;
  pool.octets.set(octets, pool.frameStart(slot));
  pool.receive(slot, port, octets.length);
  return slot;
}
