/**
 * A port queue over a pair of frame rings: the worker's side of an in-process port. Frames are copied once each way.
 * Runs on the worker's thread. @hot
 *
 * The worker sleeps on the eventfd that the far side signals when its ring was empty, not for each frame; in the other
 * direction the far side is woken once a breath, if it sleeps.
 */
import type { Batch } from './batch.js';
import type { FramePool } from './frame-pool.js';
import { FrameRing } from './frame-ring.js';
import type { SendReport, WatchedQueue } from './io-engine.js';
import * as native from './native.js';
import type { QueueTransport } from './port.js';

type RingTransport = Extract<QueueTransport, { type: 'ring' }>;

const NEEDS_CHECKSUM = 1;

export class RingQueue implements WatchedQueue {
  readonly port: number;
  readonly fd: number;
  readable = true;
  private readonly pool: FramePool;
  private readonly report: SendReport;
  private readonly incoming: FrameRing;
  private readonly outgoing: FrameRing;
  private hasSent = false;

  constructor(port: number, transport: RingTransport, pool: FramePool, report: SendReport) {
    this.port = port;
    this.fd = transport.wakeFd;
    this.pool = pool;
    this.report = report;
    this.incoming = new FrameRing(transport.receive);
    this.outgoing = new FrameRing(transport.transmit);
  }

  send(slot: number): boolean {
    const { pool } = this;
    const frame = pool.offset[slot];
    const length = pool.length[slot];
    const start = pool.checksumStart[slot];
    const taken =
      start === 0
        ? this.outgoing.put(pool.octets, frame, length, 0, 0, 0, 0, 0)
        : this.outgoing.put(
            pool.octets,
            frame,
            length,
            pool.gsoType[slot],
            pool.gsoSize[slot],
            start - frame,
            pool.checksumOffset[slot],
            pool.headersEnd[slot] - frame,
          );
    if (!taken) return false;
    this.hasSent = true;
    this.report.sent(slot, this.port, length, 0);
    return true;
  }

  receive(batch: Batch, budget: number): void {
    const { pool, incoming } = this;
    for (let taken = 0; taken < budget && batch.count < batch.capacity; taken++) {
      if (!incoming.next()) {
        this.readable = !this.fallAsleep();
        if (!this.readable) return;
        continue;
      }
      const slot = pool.allocate();
      if (slot < 0) return;
      incoming.copyTo(pool.octets, pool.frameStart(slot));
      pool.receive(slot, this.port, incoming.length);
      if (incoming.checksumStart !== 0 || incoming.gsoType !== 0) {
        pool.offload(
          slot,
          incoming.checksumStart === 0 ? 0 : NEEDS_CHECKSUM,
          incoming.gsoType,
          incoming.headersEnd,
          incoming.gsoSize,
          incoming.checksumStart,
          incoming.checksumOffset,
        );
      }
      incoming.advance();
      batch.push(slot);
    }
  }

  flush(): void {
    if (!this.hasSent) return;
    this.hasSent = false;
    this.outgoing.wakeWaiter();
  }

  /** The rings and the eventfd are the port's. */
  close(): void {}

  /** The eventfd is emptied before the far side may signal it again, or the wake-up would be lost. */
  private fallAsleep(): boolean {
    native.drainEvent(this.fd);
    return this.incoming.sleep();
  }
}
