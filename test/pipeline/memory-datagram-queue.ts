/** A memory queue of datagrams: what an underlay port's sockets would be given, message by message. */
import type { FramePool } from '../../src/dataplane/frame-pool.js';
import type { DatagramQueue, SendReport } from '../../src/dataplane/io-engine.js';

export interface SentMessage {
  readonly slot: number;
  readonly octets: Uint8Array;
  /** The octets, cut as UDP_SEGMENT would. */
  readonly datagrams: readonly Uint8Array[];
  readonly segmentSize: number;
  readonly sender: number;
  readonly trafficClass: number;
  readonly address: readonly number[];
}

export class MemoryDatagramQueue implements DatagramQueue {
  readonly port: number;
  readonly senderCount = 64;
  /** As in MemoryQueue. */
  room = Number.POSITIVE_INFINITY;
  failure = 0;
  isSlow = false;
  private readonly pool: FramePool;
  private readonly report: SendReport;
  private readonly sink: (message: SentMessage) => void;
  private readonly held: SentMessage[] = [];

  constructor(port: number, pool: FramePool, report: SendReport, sink: (message: SentMessage) => void) {
    this.port = port;
    this.pool = pool;
    this.report = report;
    this.sink = sink;
  }

  send(): boolean {
    throw new Error('a frame without an address was given to a queue of datagrams');
  }

  sendTo(slot: number, segmentSize: number, sender: number, trafficClass: number, ...address: number[]): boolean {
    if (this.room <= 0) return false;
    this.room--;
    if (this.pool.holds[slot] <= 0) throw new Error('a slot that nobody holds was given to a queue');
    const start = this.pool.offset[slot];
    const octets = this.pool.octets.slice(start, start + this.pool.length[slot]);
    const size = segmentSize === 0 ? octets.length : segmentSize;
    const datagrams: Uint8Array[] = [];
    for (let at = 0; at < octets.length; at += size) datagrams.push(octets.subarray(at, at + size));
    this.held.push({ slot, octets, datagrams, segmentSize, sender, trafficClass, address });
    if (!this.isSlow) this.complete();
    return true;
  }

  /** Reports what it holds, oldest first; the octets that leave are those in the slot by then. */
  complete(): void {
    for (const message of this.held.splice(0)) {
      const start = this.pool.offset[message.slot];
      const now = this.pool.octets.subarray(start, start + message.octets.length);
      if (Buffer.compare(now, message.octets) !== 0) throw new Error('a lent slot was changed');
      if (this.failure === 0) this.sink(message);
      this.report.sent(message.slot, this.port, this.failure === 0 ? message.octets.length : 0, this.failure);
    }
  }
}
