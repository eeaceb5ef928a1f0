/**
 * A port queue over a connected stream socket, as QEMU's `-netdev stream` speaks it: each frame after its length, four
 * octets in network order, nothing else. Runs on the worker's thread. @hot
 *
 * What the peer can do: send halves (kept until the rest comes), runts (dropped by parse as every runt), frames longer
 * than a slot (cut, dropped as `too_long`, the rest skipped), lengths no frame has (then where frames begin is lost: the
 * connection fails with EPROTO), hang up (ECONNRESET), or not read (its write buffer fills, `send` refuses, `tx_full`).
 * None of it grows memory or holds up the worker.
 */
import { FRAME_SIZE_MAX, STREAM_FRAME_SIZE_MAX, STREAM_READ_BUFFER, STREAM_WRITE_BUFFER } from '../limits.js';
import type { Batch } from './batch.js';
import type { FramePool } from './frame-pool.js';
import type { SendReport, WatchedQueue } from './io-engine.js';
import * as native from './native.js';
import { copyOctets } from './octet-copy.js';

const LENGTH_SIZE = 4;
const MSG_DONTWAIT_NOSIGNAL = 0x40 | 0x4000;
const EPROTO = 71;
const ECONNRESET = 104;

export class StreamQueue implements WatchedQueue {
  readonly port: number;
  /** An epoll set around the socket, so that room to write after a full buffer wakes the worker too. */
  readonly fd: number;
  readable = true;
  private readonly socket: number;
  private readonly pool: FramePool;
  private readonly report: SendReport;
  private readonly failed: (errno: number) => void;
  private hasFailed = false;
  private waitsForRoom = false;

  // ArrayBuffers of this size lie outside V8's heap and never move.
  private readonly input = new Uint8Array(new ArrayBuffer(STREAM_READ_BUFFER));
  private readonly inputAddress = native.addressOf(this.input.buffer);
  private inputStart = 0;
  private inputEnd = 0;
  /** Octets of an over-long frame still to be thrown away. */
  private skip = 0;

  private readonly output = new Uint8Array(new ArrayBuffer(STREAM_WRITE_BUFFER));
  private readonly outputAddress = native.addressOf(this.output.buffer);
  private outputStart = 0;
  private outputEnd = 0;

  /** `socket` is connected and non-blocking. `failed` is called once, when the connection is of no more use. */
  constructor(port: number, socket: number, pool: FramePool, report: SendReport, failed: (errno: number) => void) {
    this.port = port;
    this.socket = socket;
    this.pool = pool;
    this.report = report;
    this.failed = failed;
    this.fd = native.check('epoll', native.epoll());
    native.check('watching a stream', native.epollWatch(this.fd, socket, native.EPOLLIN, false));
  }

  send(slot: number): boolean {
    const length = this.pool.length[slot];
    const size = LENGTH_SIZE + length;
    if (this.hasFailed || !this.makeRoom(size)) return false;
    const { output } = this;
    const at = this.outputEnd;
    output[at] = length >>> 24;
    output[at + 1] = length >>> 16;
    output[at + 2] = length >>> 8;
    output[at + 3] = length;
    copyOctets(this.pool.octets, this.pool.offset[slot], output, at + LENGTH_SIZE, length);
    this.outputEnd = at + size;
    this.report.sent(slot, this.port, length, 0);
    return true;
  }

  receive(batch: Batch, budget: number): void {
    for (let taken = 0; taken < budget && batch.count < batch.capacity && this.readable; ) {
      const result = this.takeFrame(batch);
      if (result > 0) taken++;
      else if (result < 0 || !this.fill()) return;
    }
  }

  flush(): void {
    if (this.outputStart === this.outputEnd || this.hasFailed) return;
    const address = this.outputAddress + this.outputStart;
    const written = native.sendAt(this.socket, address, this.outputEnd - this.outputStart, MSG_DONTWAIT_NOSIGNAL);
    if (written >= 0) this.outputStart += written;
    else if (native.errno() !== native.EAGAIN) this.fail(native.errno());
    if (this.outputStart === this.outputEnd) this.outputStart = this.outputEnd = 0;
    this.waitForRoom(this.outputEnd !== 0 && !this.hasFailed);
  }

  close(): void {
    native.close(this.fd);
  }

  private makeRoom(size: number): boolean {
    if (this.outputEnd + size <= this.output.length) return true;
    this.flush();
    if (this.hasFailed) return false;
    if (this.outputEnd + size <= this.output.length) return true;
    if (this.outputEnd - this.outputStart + size > this.output.length) return false;
    this.output.copyWithin(0, this.outputStart, this.outputEnd);
    this.outputEnd -= this.outputStart;
    this.outputStart = 0;
    return true;
  }

  private waitForRoom(waits: boolean): void {
    if (waits === this.waitsForRoom) return;
    this.waitsForRoom = waits;
    native.epollWatch(this.fd, this.socket, waits ? native.EPOLLIN | native.EPOLLOUT : native.EPOLLIN, true);
  }

  /** 1: a frame was pushed. 0: there is no whole one. -1: no slot is free, or the connection failed. */
  private takeFrame(batch: Batch): number {
    const { input, pool } = this;
    if (this.skip !== 0) this.skipInput();
    const available = this.inputEnd - this.inputStart - LENGTH_SIZE;
    if (available < 0) return 0;
    const at = this.inputStart;
    const length = (input[at] << 24) | (input[at + 1] << 16) | (input[at + 2] << 8) | input[at + 3];
    if (length < 0 || length > STREAM_FRAME_SIZE_MAX) {
      this.fail(EPROTO);
      return -1;
    }
    const kept = Math.min(length, FRAME_SIZE_MAX);
    if (available < kept) return 0;
    const slot = pool.allocate();
    if (slot < 0) return -1;
    copyOctets(input, at + LENGTH_SIZE, pool.octets, pool.frameStart(slot), kept);
    pool.receive(slot, this.port, kept);
    this.inputStart = at + LENGTH_SIZE + kept;
    this.skip = length - kept;
    batch.push(slot);
    return 1;
  }

  private skipInput(): void {
    const available = this.inputEnd - this.inputStart;
    const skipped = Math.min(this.skip, available);
    this.inputStart += skipped;
    this.skip -= skipped;
  }

  /** Reads what has come. False when there was nothing, or the connection ended. */
  private fill(): boolean {
    if (this.inputStart !== 0) {
      this.input.copyWithin(0, this.inputStart, this.inputEnd);
      this.inputEnd -= this.inputStart;
      this.inputStart = 0;
    }
    const room = this.input.length - this.inputEnd;
    const size = native.read(this.socket, this.inputAddress + this.inputEnd, room);
    if (size > 0) {
      this.inputEnd += size;
      return true;
    }
    const errno = size === 0 ? ECONNRESET : native.errno();
    this.readable = false;
    if (errno !== native.EAGAIN && errno !== native.EINTR) this.fail(errno);
    return false;
  }

  private fail(errno: number): void {
    this.readable = false;
    if (this.hasFailed) return;
    this.hasFailed = true;
    this.failed(errno);
  }
}
