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
import { read32, write32 } from '../wire/octets.js';
import type { Batch } from './batch.js';
import type { FramePool } from './frame-pool.js';
import type { SendReport, WatchedQueue } from './io-engine.js';
import * as native from './native.js';
import { copyOctets } from './octet-copy.js';

/** Octets of the length in front of each frame. */
export const LENGTH_SIZE = 4;
const MSG_DONTWAIT_NOSIGNAL = 0x40 | 0x4000;
const EPROTO = 71;
const ECONNRESET = 104;

export class StreamQueue implements WatchedQueue {
  readonly port: number;
  /** An epoll set around the socket, so that room to write after a full buffer wakes the worker too. */
  readonly fd: number;
  readable = true;
  private readonly socket: number;
  protected readonly pool: FramePool;
  protected readonly report: SendReport;
  /** Octets of what arrives that lie in front of the frame. */
  private readonly prefix: number;
  private readonly failed: (errno: number) => void;
  protected hasFailed = false;
  private waitsForRoom = false;

  // ArrayBuffers of this size lie outside V8's heap and never move.
  private readonly input = new Uint8Array(new ArrayBuffer(STREAM_READ_BUFFER));
  private readonly inputAddress = native.addressOf(this.input.buffer);
  private inputStart = 0;
  private inputEnd = 0;
  /** Octets of an over-long frame still to be thrown away. */
  private skip = 0;

  protected readonly output = new Uint8Array(new ArrayBuffer(STREAM_WRITE_BUFFER));
  private readonly outputAddress = native.addressOf(this.output.buffer);
  private outputStart = 0;
  protected outputEnd = 0;

  /** `socket` is connected and non-blocking. `failed` is called once, when the connection is of no more use. */
  constructor(
    port: number,
    socket: number,
    pool: FramePool,
    report: SendReport,
    failed: (errno: number) => void,
    prefix = 0,
  ) {
    this.port = port;
    this.socket = socket;
    this.pool = pool;
    this.report = report;
    this.prefix = prefix;
    this.failed = failed;
    this.fd = native.check('epoll', native.epoll());
    native.check('watching a stream', native.epollWatch(this.fd, socket, native.EPOLLIN, false));
  }

  send(slot: number): boolean {
    const length = this.pool.length[slot];
    const size = LENGTH_SIZE + length;
    if (this.hasFailed || !this.makeRoom(size)) return false;
    this.putLength(length);
    this.putOctets(this.pool.offset[slot], length);
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

  /** What follows is a frame of so many octets; there is room for it. */
  protected putLength(length: number): void {
    write32(this.output, this.outputEnd, length);
    this.outputEnd += LENGTH_SIZE;
  }

  protected putOctets(position: number, length: number): void {
    copyOctets(this.pool.octets, position, this.output, this.outputEnd, length);
    this.outputEnd += length;
  }

  /** Makes the slot what arrived: `length` octets, of which `prefix` lie in front of the frame. */
  protected taken(slot: number, length: number): void {
    this.pool.receive(slot, this.port, length);
  }

  protected makeRoom(size: number): boolean {
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
    const { input, pool, prefix } = this;
    if (this.skip !== 0) this.skipInput();
    const available = this.inputEnd - this.inputStart - LENGTH_SIZE;
    if (available < 0) return 0;
    const at = this.inputStart;
    const length = read32(input, at);
    if (length < prefix || length > STREAM_FRAME_SIZE_MAX) {
      this.fail(EPROTO);
      return -1;
    }
    const kept = Math.min(length, FRAME_SIZE_MAX + prefix);
    if (available < kept) return 0;
    const slot = pool.allocate();
    if (slot < 0) return -1;
    copyOctets(input, at + LENGTH_SIZE, pool.octets, pool.frameStart(slot) - prefix, kept);
    this.taken(slot, kept);
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
