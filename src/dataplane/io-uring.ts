/**
 * The io_uring engine: one ring per worker. Every queue has a multishot reception that fills slots from a provided-buffer
 * ring of its own (a buffer's id is its slot's number); sends are queued and handed over once a breath, in the same
 * io_uring_enter that collects completions. Runs on the worker's thread only; between two enters nothing in slots changes.
 * @hot
 *
 * Bounds: a queue can hand over at most as many frames a breath as it was lent buffers (receive-buffers.ts), so a port
 * that floods gets a share, not the worker. When its buffers run out the kernel ends the multishot (ENOBUFS) and the next
 * breath re-arms it; frames wait in the device meanwhile. A TAP whose buffers ran out is read one by one, as many frames a
 * breath, until it has none left (readAhead).
 */
import { FRAME_SIZE_MAX, SLOT_STRIDE } from '../limits.js';
import type { Batch } from './batch.js';
import { FAILED_RECEIVE, FAILED_SEND } from './counters.js';
import type { FramePool } from './frame-pool.js';
import type { IoEngine, IoLosses, PortQueue, QueueFailure, SendReport, WatchedQueue } from './io-engine.js';
import { isDeviceGone, receiveFailureReason, sendFailureReason } from './io-failure.js';
import * as native from './native.js';
import type { DatagramTransport, QueueTransport } from './port.js';
import { carry, ReceiveBuffers } from './receive-buffers.js';
import {
  AUXDATA_SIZE,
  DATAGRAM_CONTROL_SIZE,
  DATAGRAM_NAME_SIZE,
  takePacketFrame,
  takeTapFrame,
  writeVnetHeader,
} from './receive-layout.js';
import { Uring } from './uring.js';
import { UringDatagramQueue, UringDatagrams } from './uring-datagram.js';
import { QueueNumbers } from './uring-numbers.js';
import { isKernelTransport, UringQueue, type UringSender } from './uring-queue.js';
import { UringWatch } from './uring-watch.js';

const OP_RECVMSG = 10;
const OP_ASYNC_CANCEL = 14;
const OP_READ = 22;
const OP_WRITE = 23;
const OP_SEND = 26;
const OP_RECV = 27;
const OP_READ_MULTISHOT = 49;
const SQE_FIXED_FILE = 1;
const SQE_BUFFER_SELECT = 1 << 5;
const RECV_MULTISHOT = 1 << 1;
const CANCEL_ALL_BY_USER_DATA = 1;
const MSG_DONTWAIT = 0x40;
const RWF_NOWAIT = 8;
const EOPNOTSUPP = 95;
const CQE_BUFFER = 1;
const CQE_MORE = 2;

/** What a completion is for: the upper half of its user data, above the queue's number. */
const FOR_RECEIVE = 1 << 16;
const FOR_SEND = 2 << 16;
const FOR_WATCH = 3 << 16;
const FOR_WAKE = 4 << 16;
const FOR_CANCEL = 5 << 16;
const FOR_READ = 6 << 16;
const FOR_DATAGRAM = 7 << 16;
const FOR_MASK = 0xff << 16;

/** In the ring's scratch memory, in octets: the msghdr of all receptions of packet sockets, and of all of datagrams. */
const SCRATCH_PACKET = 0;
const SCRATCH_DATAGRAM = 64;

export class UringEngine implements IoEngine, UringSender {
  readonly kind = 'uring';
  readonly wakeFd: number;
  /** The ring's descriptor: the main thread closes it when the worker died. */
  readonly ringFd: number;
  readonly mappings: readonly native.Mapping[];
  private readonly ring: Uring;

  private readonly pool: FramePool;
  private readonly report: SendReport;
  private readonly losses: IoLosses;
  private readonly queueFailed: QueueFailure;
  private readonly numbers: QueueNumbers;
  private readonly queues: readonly (UringQueue | undefined)[];
  /** Queues whose multishot has to be armed, or buffers refilled, before the next enter; a queue is in it once. */
  private starved: UringQueue[] = [];
  private refilled: UringQueue[] = [];
  private readonly buffers: ReceiveBuffers;
  private readonly watches: UringWatch;
  private madeDatagrams: UringDatagrams | undefined;

  /** Address of each slot's base, as two words. */
  private readonly slotAddressLow: Int32Array;
  private readonly slotAddressHigh: Int32Array;

  /** Throws an OperatingError when the kernel has no usable io_uring; the caller then takes the poll engine. */
  constructor(pool: FramePool, report: SendReport, losses: IoLosses, queueFailed: QueueFailure) {
    this.pool = pool;
    this.report = report;
    this.losses = losses;
    this.queueFailed = queueFailed;
    this.ring = new Uring();
    this.ringFd = this.ring.fd;
    this.mappings = this.ring.mappings;
    this.numbers = new QueueNumbers(this.ring);
    this.queues = this.numbers.queues;
    // struct msghdr: room for one auxdata control message, and for an address and two control messages.
    this.ring.scratch[(SCRATCH_PACKET + 40) >> 2] = AUXDATA_SIZE;
    this.ring.scratch[(SCRATCH_DATAGRAM + 8) >> 2] = DATAGRAM_NAME_SIZE;
    this.ring.scratch[(SCRATCH_DATAGRAM + 40) >> 2] = DATAGRAM_CONTROL_SIZE;

    this.buffers = new ReceiveBuffers(pool, this.ring);
    this.slotAddressLow = this.buffers.slotAddressLow;
    this.slotAddressHigh = this.buffers.slotAddressHigh;
    try {
      this.wakeFd = native.check('eventfd', native.eventfd());
    } catch (error) {
      this.ring.close();
      throw error;
    }
    this.watches = new UringWatch(this.ring, this.wakeFd, { watch: FOR_WATCH, wake: FOR_WAKE, cancel: FOR_CANCEL });
  }

  attach(port: number, transport: QueueTransport, receives: boolean): PortQueue {
    if (!isKernelTransport(transport)) throw new Error(`no kernel queue for ${transport.type}`);
    const queue =
      transport.type === 'datagram'
        ? new UringDatagramQueue(this, this.datagrams, port, transport, receives)
        : new UringQueue(this, port, transport, receives);
    try {
      queue.number = this.numbers.register(queue, queue.fd);
      if (queue instanceof UringDatagramQueue) this.registerSenders(queue, transport as DatagramTransport);
      if (receives) this.ring.registerBufferRing(queue.number);
    } catch (error) {
      this.numbers.unregister(queue);
      throw error;
    }
    if (!receives) return queue;
    this.buffers.add(queue);
    this.starve(queue);
    return queue;
  }

  detach(portQueue: PortQueue): void {
    const queue = portQueue as UringQueue;
    queue.detached = true;
    if (!queue.receives || !queue.armed) return;
    const entry = this.ring.nextEntry(OP_ASYNC_CANCEL, -1, 0, FOR_CANCEL | queue.number);
    this.ring.sqes[entry + 5] = FOR_RECEIVE | queue.number;
    this.ring.sqes[entry + 7] = CANCEL_ALL_BY_USER_DATA;
  }

  isIdle(portQueue: PortQueue): boolean {
    const queue = portQueue as UringQueue;
    if (queue.armed || queue.inFlight !== 0 || queue.reading !== 0) return false;
    if (this.queues[queue.number] === queue) this.forget(queue);
    return true;
  }

  watch(queue: WatchedQueue): void {
    this.watches.add(queue);
  }

  unwatch(queue: WatchedQueue): void {
    this.watches.remove(queue);
  }

  hasWork(): boolean {
    return this.ring.hasWork();
  }

  submit(waitMs: number): void {
    if (this.starved.length !== 0) this.refillStarved();
    if (this.buffers.isScarce) this.buffers.takeBackOne();
    this.ring.handOver(waitMs);
  }

  receive(batch: Batch): void {
    const { words, cqes, cqMask } = this.ring;
    const tail = this.ring.tail();
    let head = this.ring.completed;
    while (head !== tail && batch.count < batch.capacity) {
      const cqe = cqes + ((head & cqMask) << 2);
      const purpose = words[cqe + 1];
      const kind = purpose & FOR_MASK;
      if (kind === FOR_SEND) this.completeSend(words[cqe], purpose & 0xffff, words[cqe + 2]);
      else if (kind === FOR_DATAGRAM)
        this.datagrams.completeSend(this.queues[purpose & 0xffff]!, words[cqe], words[cqe + 2]);
      else if (kind === FOR_READ) this.completeRead(batch, words[cqe], purpose & 0xffff, words[cqe + 2]);
      else if (kind === FOR_RECEIVE) this.completeReceive(batch, purpose & 0xffff, words[cqe + 2], words[cqe + 3]);
      else this.watches.complete(kind, purpose & 0xffff, words[cqe + 2], words[cqe + 3]);
      head = (head + 1) | 0;
    }
    this.ring.complete(head);
  }

  /** A send in the queue's name; false when the submission queue stays full although the kernel was given all of it. */
  queueSend(queue: UringQueue, slot: number): boolean {
    const { pool, ring } = this;
    if (queue.detached || !ring.hasRoom()) return false;
    const position = queue.vnetHeader ? writeVnetHeader(pool, slot) : pool.offset[slot];
    const size = pool.offset[slot] + pool.length[slot] - position;
    const low = (this.slotAddressLow[slot] + (position - slot * SLOT_STRIDE)) | 0;
    const entry = (ring.queued & ring.sqMask) << 4;
    const sqes = ring.sqes;
    sqes[entry] = (queue.isPacket ? OP_SEND : OP_WRITE) | (SQE_FIXED_FILE << 8);
    sqes[entry + 1] = queue.number;
    sqes[entry + 2] = 0;
    sqes[entry + 3] = 0;
    sqes[entry + 4] = low;
    sqes[entry + 5] = this.slotAddressHigh[slot] + carry(this.slotAddressLow[slot], low);
    sqes[entry + 6] = size;
    sqes[entry + 7] = queue.isPacket ? MSG_DONTWAIT : 0;
    sqes[entry + 8] = slot;
    sqes[entry + 9] = FOR_SEND | queue.number;
    sqes[entry + 10] = 0;
    sqes[entry + 11] = 0;
    ring.queued = (ring.queued + 1) | 0;
    queue.inFlight++;
    return true;
  }

  close(): void {
    this.ring.close();
    native.close(this.wakeFd);
  }

  private completeSend(slot: number, number: number, result: number): void {
    const queue = this.queues[number]!;
    queue.inFlight--;
    if (result >= 0) {
      this.report.sent(slot, queue.port, this.pool.length[slot], 0);
      return;
    }
    this.losses.failed(FAILED_SEND, -result);
    this.report.sent(slot, queue.port, 0, sendFailureReason(-result));
    if (!isDeviceGone(-result) || queue.detached || queue.hasFailed) return;
    queue.hasFailed = true;
    this.queueFailed(queue.port, -result);
  }

  private completeReceive(batch: Batch, number: number, result: number, flags: number): void {
    const queue = this.queues[number]!;
    if ((flags & CQE_MORE) === 0) {
      queue.armed = false;
      this.starve(queue);
      // All buffers were used up at once, so more frames wait.
      queue.isBusy = result === -native.ENOBUFS && queue.canReadAhead;
      if (result < 0 && result !== -native.ENOBUFS && result !== -native.ECANCELED) this.receiveFailed(queue, -result);
    }
    if ((flags & CQE_BUFFER) === 0) return;
    const slot = flags >>> 16;
    queue.lent--;
    this.buffers.lentTotal--;
    if (queue.lent <= queue.target >> 1) this.starve(queue);
    const length = result - queue.prefix - queue.headSize;
    if (queue.detached || length < 0) {
      this.pool.release(slot);
      return;
    }
    queue.averageSize += (length - queue.averageSize) >> 3;
    if (queue.isPacket) takePacketFrame(this.pool, slot, queue.port, length, queue.vnetHeader);
    else if (queue.type === 'tap') takeTapFrame(this.pool, slot, queue.port, length, queue.vnetHeader);
    else if (!this.datagrams.take(queue as UringDatagramQueue, slot, length)) {
      this.pool.release(slot);
      return;
    }
    batch.push(slot);
  }

  /** A read of readAhead. None left in the device: from now on wait for frames again. */
  private completeRead(batch: Batch, slot: number, number: number, result: number): void {
    const queue = this.queues[number]!;
    queue.reading--;
    if (queue.reading === 0) this.starve(queue);
    const length = result - queue.prefix;
    if (length < 0 || queue.detached) {
      queue.isBusy = false;
      this.pool.release(slot);
      if (result === -EOPNOTSUPP) queue.canReadAhead = false;
      else if (result < 0 && result !== -native.EAGAIN) this.receiveFailed(queue, -result);
      return;
    }
    queue.averageSize += (length - queue.averageSize) >> 3;
    takeTapFrame(this.pool, slot, queue.port, length, queue.vnetHeader);
    batch.push(slot);
  }

  private receiveFailed(queue: UringQueue, errno: number): void {
    this.losses.failed(FAILED_RECEIVE, errno);
    const reason = queue.type === 'datagram' ? 0 : receiveFailureReason(errno);
    if (reason !== 0) this.losses.lostFrame(queue.port, reason);
    if (isDeviceGone(errno) && !queue.detached) {
      queue.detached = true;
      if (!queue.hasFailed) this.queueFailed(queue.port, errno);
      queue.hasFailed = true;
    }
  }

  private starve(queue: UringQueue): void {
    if (queue.isStarved) return;
    queue.isStarved = true;
    this.starved.push(queue);
  }

  private refillStarved(): void {
    const queues = this.starved;
    this.starved = this.refilled;
    for (let index = 0; index < queues.length; index++) {
      queues[index].isStarved = false;
      this.refill(queues[index]);
    }
    queues.length = 0;
    this.refilled = queues;
  }

  /** Lends the queue buffers up to its target and arms its multishot if that ended. */
  private refill(queue: UringQueue): void {
    if (queue.detached || !queue.receives) return;
    if (queue.reading !== 0) return;
    queue.target = this.buffers.targetOf(queue);
    if (queue.isBusy) {
      this.readAhead(queue);
      return;
    }
    this.buffers.lend(queue);
    if (queue.armed) return;
    if (queue.lent > 0) this.armReceive(queue);
    else this.starve(queue);
  }

  /**
   * Reads of a TAP that is known to have frames, as many as its buffers would be: done inside the next enter, each without
   * the poll and the choosing of a buffer that a multishot reception costs.
   */
  private readAhead(queue: UringQueue): void {
    const { pool, ring } = this;
    const { sqes } = ring;
    const position = pool.frameStart(0) - queue.prefix;
    for (let count = 0; count < queue.target && ring.hasRoom(); count++) {
      const slot = pool.allocate();
      if (slot < 0) break;
      const low = (this.slotAddressLow[slot] + position) | 0;
      const entry = (ring.queued & ring.sqMask) << 4;
      sqes[entry] = OP_READ | (SQE_FIXED_FILE << 8);
      sqes[entry + 1] = queue.number;
      sqes[entry + 2] = 0;
      sqes[entry + 3] = 0;
      sqes[entry + 4] = low;
      sqes[entry + 5] = this.slotAddressHigh[slot] + carry(this.slotAddressLow[slot], low);
      sqes[entry + 6] = FRAME_SIZE_MAX + queue.prefix;
      // Without it an empty TAP, though opened non-blocking, would make each read wait for a frame of its own.
      sqes[entry + 7] = RWF_NOWAIT;
      sqes[entry + 8] = slot;
      sqes[entry + 9] = FOR_READ | queue.number;
      sqes[entry + 10] = 0;
      sqes[entry + 11] = 0;
      ring.queued = (ring.queued + 1) | 0;
      queue.reading++;
    }
    if (queue.reading === 0) this.starve(queue);
  }

  private armReceive(queue: UringQueue): void {
    const receive = (queue.hasMessages ? OP_RECVMSG : OP_RECV) | (RECV_MULTISHOT << 16);
    const opcode = queue.type === 'tap' ? OP_READ_MULTISHOT : receive;
    const flags = (SQE_BUFFER_SELECT | SQE_FIXED_FILE) << 8;
    const entry = this.ring.nextEntry(opcode | flags, queue.number, 0, FOR_RECEIVE | queue.number);
    const message = queue.isPacket ? SCRATCH_PACKET : SCRATCH_DATAGRAM;
    if (queue.hasMessages) this.ring.putAddress(entry + 4, this.ring.scratchAddress + message);
    this.ring.sqes[entry + 10] = queue.number;
    queue.armed = true;
  }

  /** Made when it is first needed: hosts without tunnels have none. */
  private get datagrams(): UringDatagrams {
    this.madeDatagrams ??= new UringDatagrams(this.ring, this.pool, this.report, this.losses, FOR_DATAGRAM);
    return this.madeDatagrams;
  }

  private registerSenders(queue: UringDatagramQueue, transport: DatagramTransport): void {
    for (const [index, fd] of transport.senders.entries()) queue.senders[index] = this.numbers.register(queue, fd);
    for (const [index, fd] of (transport.segmentSenders ?? []).entries())
      queue.segmentSenders[index] = this.numbers.register(queue, fd);
  }

  /** Takes back the buffers of a queue that is idle and frees its numbers. */
  private forget(queue: UringQueue): void {
    this.numbers.unregister(queue);
    if (queue.receives) this.buffers.remove(queue);
  }
}
