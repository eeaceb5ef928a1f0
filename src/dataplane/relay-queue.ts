/**
 * How several workers share a port that only one of them can write to (a stream: its frames may not be mixed up): the
 * others put their frames into a ring each, and the worker that has the port empties the rings into it. Frames on their
 * way have been through the whole pipeline; they are whole, with complete checksums. Both ends run on their workers. @hot
 *
 * Counting: the worker that switched the frame counts it as forwarded; the one that has the port counts it as sent by the
 * port or as a copy dropped there. The end that empties is detached last (port-server.ts), so what is in the ring then
 * is all that will ever be: copies dropped because the port is down.
 */
import type { Batch } from './batch.js';
import { dropReasonNumber } from './drop-reason.js';
import { ANOTHERS, type FramePool } from './frame-pool.js';
import { FrameRing } from './frame-ring.js';
import type { IoLosses, PortQueue, WatchedQueue } from './io-engine.js';
import * as native from './native.js';
import type { QueueTransport } from './port.js';

type RelayTransport = Extract<QueueTransport, { type: 'relay' }>;

/** What the ends ask of the machine that counts. */
export interface RelayCounts {
  /** The copy is another worker's now, to leave by the port. */
  handedOver(slot: number, port: number): void;
  /** A frame that another worker switched could not leave by the port. */
  refused(slot: number, port: number, reason: number): void;
}

/** The end of a worker that does not have the port. */
export class RelaySource implements WatchedQueue {
  readonly port: number;
  readonly fd: number;
  /** Nothing ever comes back through a relay. */
  readable = false;
  private readonly pool: FramePool;
  private readonly ring: FrameRing;
  private readonly counts: RelayCounts;
  private hasSent = false;

  constructor(port: number, transport: RelayTransport, pool: FramePool, counts: RelayCounts) {
    this.port = port;
    this.fd = transport.wakeFd;
    this.pool = pool;
    this.ring = new FrameRing(transport.ring);
    this.counts = counts;
  }

  send(slot: number): boolean {
    const { pool } = this;
    if (!this.ring.put(pool.octets, pool.offset[slot], pool.length[slot], 0, 0, 0, 0, 0)) return false;
    this.hasSent = true;
    this.counts.handedOver(slot, this.port);
    return true;
  }

  receive(): void {
    this.readable = false;
  }

  flush(): void {
    if (!this.hasSent) return;
    this.hasSent = false;
    native.signalEvent(this.fd);
  }

  close(): void {}
}

/** The end of the worker that has the port; `target` is the port's own queue. */
export class RelaySink implements WatchedQueue {
  readonly port: number;
  readonly fd: number;
  readable = true;
  private readonly pool: FramePool;
  private readonly ring: FrameRing;
  private readonly target: PortQueue;
  private readonly counts: RelayCounts;
  private readonly losses: IoLosses;

  constructor(transport: RelayTransport, target: PortQueue, pool: FramePool, counts: RelayCounts, losses: IoLosses) {
    this.port = target.port;
    this.fd = transport.wakeFd;
    this.pool = pool;
    this.ring = new FrameRing(transport.ring);
    this.target = target;
    this.counts = counts;
    this.losses = losses;
  }

  /** A sink is no port's queue: nobody sends by it. */
  send(): boolean {
    return false;
  }

  /** Moves at most `budget` frames on to the port. None goes into the batch: they have been switched already. */
  receive(_batch: Batch, budget: number): void {
    for (let moved = 0; moved < budget; moved++) {
      if (!this.ring.next()) {
        native.drainEvent(this.fd);
        // A frame may have been put there between the look and the draining.
        if (this.ring.next()) continue;
        this.readable = false;
        return;
      }
      const slot = this.takeOne();
      if (slot < 0) return;
      if (!this.target.send(slot)) this.counts.refused(slot, this.port, dropReasonNumber.tx_full);
    }
  }

  flush(): void {}

  /** What is left has no port to leave by. Without a free slot it is counted, but shown to nobody. */
  close(isDetached: boolean): void {
    while (isDetached && this.ring.next()) {
      const slot = this.takeOne();
      if (slot >= 0) {
        this.counts.refused(slot, this.port, dropReasonNumber.port_down);
        continue;
      }
      this.ring.advance();
      this.losses.lostCopy(this.port, dropReasonNumber.port_down);
    }
  }

  /** The slot that has the next frame now; -1 when none is free: the frame stays in the ring. */
  private takeOne(): number {
    const { pool, ring } = this;
    const slot = pool.allocate();
    if (slot < 0) return -1;
    ring.copyTo(pool.octets, pool.frameStart(slot));
    pool.receive(slot, this.port, ring.length);
    pool.isGenerated[slot] = ANOTHERS;
    ring.advance();
    return slot;
  }
}
