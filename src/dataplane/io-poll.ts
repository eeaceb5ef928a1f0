/**
 * The poll engine: the same as the io_uring engine by poll, read, recvmsg, write and send, for hosts where io_uring is
 * missing or forbidden. A system call a frame, so about two thirds of the speed. Runs on the worker's thread only. @hot
 *
 * Bounds: at most READS_PER_QUEUE frames of one queue a breath, starting with another queue each time.
 */
import { FRAME_SIZE_MAX, SLOT_STRIDE } from '../limits.js';
import { VNET_HEADER_SIZE } from '../wire/virtio-net.js';
import type { Batch } from './batch.js';
import { FAILED_RECEIVE, FAILED_SEND } from './counters.js';
import type { FramePool } from './frame-pool.js';
import type { IoEngine, IoLosses, PortQueue, QueueFailure, SendReport, WatchedQueue } from './io-engine.js';
import { isDeviceGone, receiveFailureReason, sendFailureReason } from './io-failure.js';
import * as native from './native.js';
import { PollDatagramQueue, PollDatagrams } from './poll-datagram.js';
import { PollQueue, type PollSender } from './poll-queue.js';
import type { QueueTransport } from './port.js';
import {
  AUXDATA_SIZE,
  packetPrefix,
  takePacketFrame,
  takeTapFrame,
  tapPrefix,
  writeVnetHeader,
} from './receive-layout.js';

const READS_PER_QUEUE = 64;
const MSG_DONTWAIT = 0x40;
/** Words of a struct pollfd. */
const POLLFD_WORDS = 2;
/** struct msghdr and one struct iovec in the scratch mapping. */
const SCRATCH_IOVEC = 64;
const SCRATCH_WAKE = 96;
const SCRATCH_SIZE = 4096;

export class PollEngine implements IoEngine, PollSender {
  readonly kind = 'poll';
  readonly wakeFd: number;
  readonly ringFd = -1;
  readonly mappings: readonly native.Mapping[];
  private readonly pool: FramePool;
  private readonly report: SendReport;
  private readonly losses: IoLosses;
  private readonly queueFailed: QueueFailure;
  private readonly arena: number;
  private readonly scratch: native.Mapping;
  private readonly scratchWords: Int32Array;
  private madeDatagrams: PollDatagrams | undefined;
  private queues: PollQueue[] = [];
  private watched: WatchedQueue[] = [];
  /** One pollfd for the wake descriptor, each queue, each watched one, in this order. */
  private pollFds = new Int32Array(POLLFD_WORDS);
  private pollCount = 1;
  private ready = 0;
  private first = 0;

  constructor(pool: FramePool, report: SendReport, losses: IoLosses, queueFailed: QueueFailure) {
    this.pool = pool;
    this.report = report;
    this.losses = losses;
    this.queueFailed = queueFailed;
    this.arena = native.addressOf(pool.memory.buffer);
    this.scratch = native.map(-1, SCRATCH_SIZE);
    this.mappings = [this.scratch];
    this.scratchWords = new Int32Array(this.scratch.buffer);
    try {
      this.wakeFd = native.check('eventfd', native.eventfd());
    } catch (error) {
      native.unmap(this.scratch.address, SCRATCH_SIZE);
      throw error;
    }
    this.listDescriptors();
  }

  attach(port: number, transport: QueueTransport, receives: boolean): PortQueue {
    const queue = this.newQueue(port, transport, receives);
    if (receives) this.queues.push(queue);
    this.listDescriptors();
    return queue;
  }

  private newQueue(port: number, transport: QueueTransport, receives: boolean): PollQueue {
    if (transport.type === 'datagram') return new PollDatagramQueue(this, this.datagrams, port, transport, receives);
    if (transport.type === 'tap' || transport.type === 'packet') return new PollQueue(this, port, transport, receives);
    throw new Error(`no kernel queue for ${transport.type}`);
  }

  /** Made when it is first needed: hosts without tunnels have none. */
  private get datagrams(): PollDatagrams {
    this.madeDatagrams ??= new PollDatagrams(this.pool, this.report, this.losses);
    return this.madeDatagrams;
  }

  detach(portQueue: PortQueue): void {
    const queue = portQueue as PollQueue;
    queue.detached = true;
    this.queues = this.queues.filter((other) => other !== queue);
    this.listDescriptors();
  }

  isIdle(portQueue: PortQueue): boolean {
    return (portQueue as PollQueue).detached;
  }

  watch(queue: WatchedQueue): void {
    this.watched.push(queue);
    queue.readable = true;
    this.listDescriptors();
  }

  unwatch(queue: WatchedQueue): void {
    this.watched = this.watched.filter((other) => other !== queue);
    this.listDescriptors();
  }

  hasWork(): boolean {
    if (this.ready === 0) this.ready = Math.max(0, native.poll(this.pollFds, this.pollCount, 0));
    return this.ready > 0;
  }

  submit(waitMs: number): void {
    // Sends were done when they were asked for; only waiting is left.
    if (this.ready === 0) this.ready = Math.max(0, native.poll(this.pollFds, this.pollCount, waitMs));
  }

  receive(batch: Batch): void {
    if (this.ready === 0) return;
    this.ready = 0;
    const events = this.pollFds;
    if (events[1] >> 16 !== 0) native.read(this.wakeFd, this.scratch.address + SCRATCH_WAKE, 8);
    // A device that is gone is detached while its queue is read, which makes a new list.
    const { queues } = this;
    const count = queues.length;
    this.first = count === 0 ? 0 : (this.first + 1) % count;
    for (let turn = 0; turn < count; turn++) {
      const index = (this.first + turn) % count;
      const queue = queues[index];
      if (events[(1 + index) * POLLFD_WORDS + 1] >> 16 !== 0 && !queue.detached) this.readQueue(queue, batch);
    }
    for (let index = 0; index < this.watched.length; index++) {
      if (events[(1 + count + index) * POLLFD_WORDS + 1] >> 16 !== 0) this.watched[index].readable = true;
    }
  }

  sendNow(queue: PollQueue, slot: number): void {
    const pool = this.pool;
    const position = queue.vnetHeader ? writeVnetHeader(pool, slot) : pool.offset[slot];
    const size = pool.offset[slot] + pool.length[slot] - position;
    const result = queue.isPacket
      ? native.sendAt(queue.fd, this.arena + position, size, MSG_DONTWAIT)
      : native.write(queue.fd, this.arena + position, size);
    if (result >= 0) {
      this.report.sent(slot, queue.port, pool.length[slot], 0);
      return;
    }
    const errno = native.errno();
    this.losses.failed(FAILED_SEND, errno);
    this.report.sent(slot, queue.port, 0, sendFailureReason(errno));
    if (isDeviceGone(errno)) this.fail(queue, errno);
  }

  close(): void {
    native.close(this.wakeFd);
    native.unmap(this.scratch.address, SCRATCH_SIZE);
  }

  private readQueue(queue: PollQueue, batch: Batch): void {
    for (let reads = 0; reads < READS_PER_QUEUE && batch.count < batch.capacity; reads++) {
      const slot = this.pool.allocate();
      if (slot < 0) return;
      const length = this.read(queue, slot);
      if (length >= 0) {
        if (this.take(queue, slot, length)) batch.push(slot);
        else this.pool.release(slot);
        continue;
      }
      this.pool.release(slot);
      const errno = native.errno();
      if (errno === native.EAGAIN) return;
      this.losses.failed(FAILED_RECEIVE, errno);
      const reason = queue.type === 'datagram' ? 0 : receiveFailureReason(errno);
      if (reason !== 0) this.losses.lostFrame(queue.port, reason);
      if (isDeviceGone(errno)) {
        this.fail(queue, errno);
        return;
      }
    }
  }

  /** Octets of the frame that is in the slot now, or a negative number: see errno. */
  private read(queue: PollQueue, slot: number): number {
    if (queue.isPacket) return this.receivePacket(queue, slot);
    if (queue.type === 'tap') return this.readTap(queue, slot);
    return this.datagrams.read(queue as PollDatagramQueue, slot);
  }

  private take(queue: PollQueue, slot: number, length: number): boolean {
    if (queue.type === 'datagram') return this.datagrams.take(queue as PollDatagramQueue, slot, length);
    if (queue.isPacket) takePacketFrame(this.pool, slot, queue.port, length, queue.vnetHeader);
    else takeTapFrame(this.pool, slot, queue.port, length, queue.vnetHeader);
    return true;
  }

  private readTap(queue: PollQueue, slot: number): number {
    const prefix = tapPrefix(queue.vnetHeader);
    const address = this.arena + this.pool.frameStart(slot) - prefix;
    return native.read(queue.fd, address, FRAME_SIZE_MAX + prefix) - prefix;
  }

  private receivePacket(queue: PollQueue, slot: number): number {
    const prefix = packetPrefix(queue.vnetHeader);
    const start = this.arena + this.pool.frameStart(slot) - prefix;
    const headerSize = queue.vnetHeader ? VNET_HEADER_SIZE : 0;
    const words = this.scratchWords;
    // struct msghdr { name, namelen, iov, iovlen, control, controllen, flags }
    this.putAddress(SCRATCH_IOVEC >> 2, start + AUXDATA_SIZE);
    words[(SCRATCH_IOVEC + 8) >> 2] = FRAME_SIZE_MAX + headerSize;
    this.putAddress(16 >> 2, this.scratch.address + SCRATCH_IOVEC);
    words[24 >> 2] = 1;
    this.putAddress(32 >> 2, start);
    words[40 >> 2] = AUXDATA_SIZE;
    // A control message of an earlier frame in this slot must not be taken for this one's.
    const control = slot * SLOT_STRIDE + (start - this.arena - slot * SLOT_STRIDE);
    this.pool.octets.fill(0, control, control + AUXDATA_SIZE);
    return native.recvmsg(queue.fd, this.scratch.address, MSG_DONTWAIT) - headerSize;
  }

  private putAddress(word: number, address: number): void {
    this.scratchWords[word] = address | 0;
    this.scratchWords[word + 1] = Math.floor(address / 2 ** 32);
  }

  private fail(queue: PollQueue, errno: number): void {
    if (queue.detached) return;
    this.detach(queue);
    this.queueFailed(queue.port, errno);
  }

  private listDescriptors(): void {
    const fds = [this.wakeFd, ...this.queues.map((queue) => queue.fd), ...this.watched.map((queue) => queue.fd)];
    this.pollCount = fds.length;
    this.pollFds = new Int32Array(fds.length * POLLFD_WORDS);
    for (let index = 0; index < fds.length; index++) {
      this.pollFds[index * POLLFD_WORDS] = fds[index];
      this.pollFds[index * POLLFD_WORDS + 1] = native.POLLIN;
    }
    this.ready = 0;
  }
}
