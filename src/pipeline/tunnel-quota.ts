/**
 * How much the frames of one port may send into tunnels within one batch: a super-frame can ask for a thousand sends, a
 * flood for one to each remote, and all ports of a worker share its slots and sends. Only what is sent is kept, one number
 * a port, void with the next batch. @hot
 */
import { MESSAGES_PER_PORT_MAX, PORTS_MAX } from '../limits.js';

export class TunnelQuota {
  private batch = 0;
  /** By port: the batch it last sent in, and what it sent then. Of `port` it is `count` alone, until another one has its turn. */
  private readonly batchOf = new Int32Array(PORTS_MAX);
  private readonly used = new Int32Array(PORTS_MAX);
  private port = 0;
  private count = 0;

  /** A new batch: everybody has sent nothing. */
  begin(): void {
    this.batch = (this.batch + 1) | 0;
    this.count = 0;
  }

  /** Whether a frame of `port` may send so many more; they are counted then. */
  take(port: number, sends: number): boolean {
    if (port !== this.port) this.turnTo(port);
    if (this.count + sends > MESSAGES_PER_PORT_MAX) return false;
    this.count += sends;
    return true;
  }

  private turnTo(port: number): void {
    this.batchOf[this.port] = this.batch;
    this.used[this.port] = this.count;
    this.port = port;
    this.count = this.batchOf[port] === this.batch ? this.used[port] : 0;
  }
}
