/**
 * The io_uring engine: one ring per worker. Every queue has a multishot reception that fills slots from a provided-buffer
 * ring of its own (a buffer's id is its slot's number); sends are queued and handed over once a breath, in the same
 * io_uring_enter that collects completions. Runs on the worker's thread only: SINGLE_ISSUER and DEFER_TASKRUN make the
 * kernel work for this ring only inside our own enter, so between two enters nothing in slots changes. @hot
 *
 * Bounds: a queue can hand over at most as many frames a breath as it was lent buffers (RECEIVE_BUFFERS_MAX), so a port
 * that floods gets a share, not the worker. When its buffers run out the kernel ends the multishot (ENOBUFS) and the next
 * breath re-arms it; frames wait in the device meanwhile.
 *
 * Formats: linux/io_uring.h.
 */

import { OperatingError } from '../errors.js';
import {
  FRAME_SIZE_MAX,
  RECEIVE_BUFFERS_MAX,
  RECEIVE_BUFFERS_MIN,
  RECEIVE_FOOTPRINT,
  RECEIVE_SLOTS_SHARE,
  RING_COMPLETIONS,
  RING_SUBMISSIONS,
  SLOT_STRIDE,
} from '../limits.js';
import type { Batch } from './batch.js';
import type { FramePool } from './frame-pool.js';
import type { IoEngine, PortQueue, QueueFailure, SendReport, WatchedQueue } from './io-engine.js';
import { isDeviceGone, sendFailureReason } from './io-failure.js';
import * as native from './native.js';
import type { QueueTransport } from './port.js';
import {
  AUXDATA_SIZE,
  packetPrefix,
  RECVMSG_OUT_SIZE,
  takePacketFrame,
  takeTapFrame,
  tapPrefix,
  writeVnetHeader,
} from './receive-layout.js';

const SETUP_CQSIZE = 1 << 3;
const SETUP_SUBMIT_ALL = 1 << 7;
const SETUP_TASKRUN_FLAG = 1 << 9;
const SETUP_SINGLE_ISSUER = 1 << 12;
const SETUP_DEFER_TASKRUN = 1 << 13;
const FEATURE_SINGLE_MMAP = 1;
const FEATURE_EXT_ARG = 1 << 8;
const OFFSET_SQES = 0x1000_0000;
const ENTER_GETEVENTS = 1;
const ENTER_EXT_ARG = 1 << 3;
const REGISTER_FILES_UPDATE = 6;
const REGISTER_FILES2 = 13;
const FILES_SPARSE = 1;
const REGISTER_PROBE = 8;
/** Operations a probe tells of, and the octets of its answer: a head of 16, eight for each. */
const PROBE_OPERATIONS = 64;
const PROBE_SUPPORTED = 1;
const REGISTER_PBUF_RING = 22;
const UNREGISTER_PBUF_RING = 23;
const SQ_TASKRUN_OR_OVERFLOW = 4 | 2;

const OP_POLL_ADD = 6;
const OP_RECVMSG = 10;
const OP_ASYNC_CANCEL = 14;
const OP_READ = 22;
const OP_WRITE = 23;
const OP_SEND = 26;
const OP_READ_MULTISHOT = 49;
const SQE_FIXED_FILE = 1;
const SQE_BUFFER_SELECT = 1 << 5;
const RECV_MULTISHOT = 1 << 1;
const POLL_ADD_MULTI = 1;
const CANCEL_ALL_BY_USER_DATA = 1;
const MSG_DONTWAIT = 0x40;
const CQE_BUFFER = 1;
const CQE_MORE = 2;

/** What a completion is for: the upper half of its user data, above the queue's number. */
const FOR_RECEIVE = 1 << 16;
const FOR_SEND = 2 << 16;
const FOR_WATCH = 3 << 16;
const FOR_WAKE = 4 << 16;
const FOR_CANCEL = 5 << 16;
const FOR_MASK = 0xff << 16;

/** A page each, as the kernel wants rings to begin at one. */
const BUFFER_RING_SIZE = RECEIVE_BUFFERS_MAX * 16;
/** Queues of one worker. Their buffer rings lie in one mapping made at start, which is address space only until used. */
const QUEUES_MAX = 8192;
const QUEUES_MIN = 64;
/** Tries to hand over a full submission queue; the kernel refuses only while it has no memory. */
const HAND_OVER_TRIES = 1000;

/** Where things lie in the scratch mapping that the kernel reads at its leisure. */
const SCRATCH_MSGHDR = 0;
const SCRATCH_REGISTER = 64;
const SCRATCH_WAIT_ARGUMENT = 128;
const SCRATCH_TIMESPEC = 160;
const SCRATCH_WAKE = 192;
const SCRATCH_FILE = 200;
const SCRATCH_SIZE = 4096;

/** Transports that the kernel moves frames for. */
type KernelTransport = Extract<QueueTransport, { type: 'tap' | 'packet' }>;

class UringQueue implements PortQueue {
  readonly port: number;
  readonly number: number;
  readonly fd: number;
  readonly isPacket: boolean;
  readonly vnetHeader: boolean;
  /** Octets the kernel writes in front of the frame, beyond recvmsg's own header. */
  readonly prefix: number;
  readonly receives: boolean;
  private readonly engine: UringEngine;
  /** Buffers the kernel holds, how many it should, and the ring's tail. */
  lent = 0;
  target = RECEIVE_BUFFERS_MIN >> 1;
  tail = 0;
  armed = false;
  /** In the engine's list of queues to refill. */
  isStarved = false;
  detached = false;
  /** Its failure was reported: once is enough. */
  hasFailed = false;
  inFlight = 0;
  /** Moving average of frame sizes in octets, for `target`. */
  averageSize = 1024;

  constructor(engine: UringEngine, port: number, number: number, transport: KernelTransport, receives: boolean) {
    this.engine = engine;
    this.port = port;
    this.number = number;
    this.fd = transport.fd;
    this.isPacket = transport.type === 'packet';
    this.vnetHeader = transport.vnetHeader;
    this.prefix = this.isPacket ? packetPrefix(this.vnetHeader) : tapPrefix(this.vnetHeader);
    this.receives = receives;
  }

  send(slot: number): boolean {
    return this.engine.queueSend(this, slot);
  }
}

export class UringEngine implements IoEngine {
  readonly kind = 'uring';
  readonly wakeFd: number;
  readonly failures = new Map<number, number>();
  /** The ring's descriptor: the main thread closes it when the worker died. */
  readonly ringFd: number;
  readonly mappings: readonly native.Mapping[];

  private readonly pool: FramePool;
  private readonly report: SendReport;
  private readonly queueFailed: QueueFailure;
  private readonly queues: (UringQueue | undefined)[] = [];
  private readonly watched: (WatchedQueue | undefined)[] = [];
  /** Queues whose multishot has to be armed, or buffers refilled, before the next enter; a queue is in it once. */
  private starved: UringQueue[] = [];
  private refilled: UringQueue[] = [];
  private queueCount = 0;
  private readonly queuesMax: number;
  private lentTotal = 0;

  private readonly rings: native.Mapping;
  private readonly sqeMapping: native.Mapping;
  private readonly bufferRings: native.Mapping;
  private readonly scratch: native.Mapping;
  private readonly scratchWords: Int32Array;
  private readonly ringWords: Int32Array;
  private readonly sqes: Int32Array;
  private readonly bufferWords: Int32Array;
  private readonly bufferHalves: Uint16Array;
  /** Word positions in ringWords. */
  private readonly sqHead: number;
  private readonly sqTail: number;
  private readonly sqFlags: number;
  private readonly cqHead: number;
  private readonly cqTail: number;
  private readonly cqes: number;
  private readonly sqMask: number;
  private readonly cqMask: number;
  private readonly sqEntries: number;
  private queued = 0;
  /** Submissions the kernel had taken when it was last asked; it takes them in an enter only. */
  private consumed = 0;
  private completed = 0;
  /** Address of each slot's base, as two words. */
  private readonly slotAddressLow: Int32Array;
  private readonly slotAddressHigh: Int32Array;

  /** Throws an OperatingError when the kernel has no usable io_uring; the caller then takes the poll engine. */
  constructor(pool: FramePool, report: SendReport, queueFailed: QueueFailure) {
    this.pool = pool;
    this.report = report;
    this.queueFailed = queueFailed;
    const parameters = new Uint8Array(120);
    const words = new Uint32Array(parameters.buffer);
    words[1] = RING_COMPLETIONS;
    words[2] = SETUP_CQSIZE | SETUP_SUBMIT_ALL | SETUP_TASKRUN_FLAG | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN;
    this.ringFd = native.check('io_uring_setup', native.ioUringSetup(RING_SUBMISSIONS, parameters));
    const features = words[5];
    if ((features & FEATURE_SINGLE_MMAP) === 0 || (features & FEATURE_EXT_ARG) === 0) {
      native.close(this.ringFd);
      throw new OperatingError('io_uring of this kernel is too old', { code: 'no-kernel-feature' });
    }
    requireOperations(this.ringFd);
    this.sqEntries = words[0];
    const ringSize = Math.max(words[16] + words[0] * 4, words[25] + words[1] * 16);
    this.rings = native.map(this.ringFd, ringSize, 0, true);
    this.sqeMapping = native.map(this.ringFd, words[0] * 64, OFFSET_SQES, true);
    this.ringWords = new Int32Array(this.rings.buffer, 0, ringSize >> 2);
    this.sqes = new Int32Array(this.sqeMapping.buffer);
    this.sqHead = words[10] >> 2;
    this.sqTail = words[11] >> 2;
    this.sqMask = this.ringWords[words[12] >> 2];
    this.sqFlags = words[14] >> 2;
    const sqArray = words[16] >> 2;
    for (let index = 0; index < this.sqEntries; index++) this.ringWords[sqArray + index] = index;
    this.cqHead = words[20] >> 2;
    this.cqTail = words[21] >> 2;
    this.cqMask = this.ringWords[words[22] >> 2];
    this.cqes = words[25] >> 2;

    this.bufferRings = native.map(-1, QUEUES_MAX * BUFFER_RING_SIZE);
    this.bufferWords = new Int32Array(this.bufferRings.buffer);
    this.bufferHalves = new Uint16Array(this.bufferRings.buffer);
    this.scratch = native.map(-1, SCRATCH_SIZE);
    this.mappings = [this.rings, this.sqeMapping, this.bufferRings, this.scratch];
    this.scratchWords = new Int32Array(this.scratch.buffer);
    // struct msghdr of all multishot receptions: no name, room for one auxdata control message.
    this.scratchWords[(SCRATCH_MSGHDR + 40) >> 2] = AUXDATA_SIZE;

    const arena = native.addressOf(pool.memory.buffer);
    this.slotAddressLow = new Int32Array(pool.slotCount);
    this.slotAddressHigh = new Int32Array(pool.slotCount);
    for (let slot = 0; slot < pool.slotCount; slot++) {
      const address = arena + slot * SLOT_STRIDE;
      this.slotAddressLow[slot] = address | 0;
      this.slotAddressHigh[slot] = Math.floor(address / 2 ** 32);
    }
    this.queuesMax = this.registerFileTable();
    this.wakeFd = native.check('eventfd', native.eventfd());
    this.armWake();
  }

  attach(port: number, transport: QueueTransport, receives: boolean): PortQueue {
    if (transport.type !== 'tap' && transport.type !== 'packet')
      throw new Error(`no kernel queue for ${transport.type}`);
    let number = this.queues.indexOf(undefined);
    if (number < 0) number = this.queues.length;
    if (number >= this.queuesMax) {
      const fix = 'raise the limit of open files';
      throw new OperatingError(`a worker has at most ${this.queuesMax} queues`, {
        code: 'limit',
        errno: 'EMFILE',
        fix,
      });
    }
    const queue = new UringQueue(this, port, number, transport, receives);
    this.registerFile(number, queue.fd);
    if (receives) {
      try {
        this.registerBufferRing(number);
      } catch (error) {
        this.registerFile(number, -1);
        throw error;
      }
    }
    this.queues[number] = queue;
    if (!receives) return queue;
    this.queueCount++;
    this.starve(queue);
    return queue;
  }

  detach(portQueue: PortQueue): void {
    const queue = portQueue as UringQueue;
    queue.detached = true;
    if (!queue.receives || !queue.armed) return;
    const sqe = this.nextSqe(OP_ASYNC_CANCEL, -1, FOR_CANCEL | queue.number, 0);
    this.sqes[sqe + 4] = 0;
    this.sqes[sqe + 5] = FOR_RECEIVE | queue.number;
    this.sqes[sqe + 7] = CANCEL_ALL_BY_USER_DATA;
  }

  isIdle(portQueue: PortQueue): boolean {
    const queue = portQueue as UringQueue;
    if (queue.armed || queue.inFlight !== 0) return false;
    if (this.queues[queue.number] === queue) this.forget(queue);
    return true;
  }

  watch(queue: WatchedQueue): void {
    let number = this.watched.indexOf(undefined);
    if (number < 0) number = this.watched.length;
    this.watched[number] = queue;
    this.armWatch(number, queue.fd);
    queue.readable = true;
  }

  unwatch(queue: WatchedQueue): void {
    const number = this.watched.indexOf(queue);
    if (number < 0) return;
    this.watched[number] = undefined;
    const sqe = this.nextSqe(OP_ASYNC_CANCEL, -1, FOR_CANCEL, 0);
    this.sqes[sqe + 5] = FOR_WATCH | number;
    this.sqes[sqe + 7] = CANCEL_ALL_BY_USER_DATA;
  }

  /**
   * Plain loads: Atomics.load is a call of 20 ns, and here an old value only means another look. Where something is taken
   * from the ring because of what a load said (receive), the load is an acquiring one.
   */
  hasWork(): boolean {
    const words = this.ringWords;
    return words[this.cqTail] !== this.completed || (words[this.sqFlags] & SQ_TASKRUN_OR_OVERFLOW) !== 0;
  }

  submit(waitMs: number): void {
    if (this.starved.length !== 0) this.refillStarved();
    this.handOver(waitMs);
  }

  receive(batch: Batch): void {
    const words = this.ringWords;
    const tail = Atomics.load(words, this.cqTail);
    let head = this.completed;
    while (head !== tail && batch.count < batch.capacity) {
      const cqe = this.cqes + ((head & this.cqMask) << 2);
      const purpose = words[cqe + 1];
      const kind = purpose & FOR_MASK;
      if (kind === FOR_SEND) this.completeSend(words[cqe], purpose & 0xffff, words[cqe + 2]);
      else if (kind === FOR_RECEIVE) this.completeReceive(batch, purpose & 0xffff, words[cqe + 2], words[cqe + 3]);
      else this.completeOther(kind, purpose & 0xffff, words[cqe + 2], words[cqe + 3]);
      head = (head + 1) | 0;
    }
    this.completed = head;
    Atomics.store(words, this.cqHead, head);
  }

  /** A send in the queue's name; false when the submission queue stays full although the kernel was given all of it. */
  queueSend(queue: UringQueue, slot: number): boolean {
    if (queue.detached) return false;
    if (((this.queued - this.consumed) | 0) >= this.sqEntries) {
      this.handOver(0);
      if (((this.queued - this.consumed) | 0) >= this.sqEntries) return false;
    }
    const pool = this.pool;
    const position = queue.vnetHeader ? writeVnetHeader(pool, slot) : pool.offset[slot];
    const size = pool.offset[slot] + pool.length[slot] - position;
    const low = (this.slotAddressLow[slot] + (position - slot * SLOT_STRIDE)) | 0;
    const sqe = (this.queued & this.sqMask) << 4;
    const sqes = this.sqes;
    sqes[sqe] = (queue.isPacket ? OP_SEND : OP_WRITE) | (SQE_FIXED_FILE << 8);
    sqes[sqe + 1] = queue.number;
    sqes[sqe + 2] = 0;
    sqes[sqe + 3] = 0;
    sqes[sqe + 4] = low;
    sqes[sqe + 5] = this.slotAddressHigh[slot] + carry(this.slotAddressLow[slot], low);
    sqes[sqe + 6] = size;
    sqes[sqe + 7] = queue.isPacket ? MSG_DONTWAIT : 0;
    sqes[sqe + 8] = slot;
    sqes[sqe + 9] = FOR_SEND | queue.number;
    sqes[sqe + 10] = 0;
    sqes[sqe + 11] = 0;
    this.queued = (this.queued + 1) | 0;
    queue.inFlight++;
    return true;
  }

  close(): void {
    native.close(this.ringFd);
    native.close(this.wakeFd);
    // Only now that no ring refers to them may the mappings go.
    for (const { address, size } of this.mappings) native.unmap(address, size);
  }

  private completeSend(slot: number, number: number, result: number): void {
    const queue = this.queues[number]!;
    queue.inFlight--;
    if (result >= 0) {
      this.report.sent(slot, queue.port, this.pool.length[slot], 0);
      return;
    }
    this.countFailure(result);
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
      if (result < 0 && result !== -native.ENOBUFS && result !== -native.ECANCELED) this.receiveFailed(queue, -result);
    }
    if ((flags & CQE_BUFFER) === 0) return;
    const slot = flags >>> 16;
    queue.lent--;
    this.lentTotal--;
    if (queue.lent <= queue.target >> 1) this.starve(queue);
    const length = result - queue.prefix - (queue.isPacket ? RECVMSG_OUT_SIZE : 0);
    if (queue.detached || length < 0) {
      this.pool.release(slot);
      return;
    }
    queue.averageSize += (length - queue.averageSize) >> 3;
    if (queue.isPacket) takePacketFrame(this.pool, slot, queue.port, length, queue.vnetHeader);
    else takeTapFrame(this.pool, slot, queue.port, length, queue.vnetHeader);
    batch.push(slot);
  }

  private completeOther(kind: number, number: number, result: number, flags: number): void {
    if (kind === FOR_WAKE) this.armWake();
    if (kind !== FOR_WATCH) return;
    const queue = this.watched[number];
    if (queue === undefined) return;
    queue.readable = true;
    if ((flags & CQE_MORE) === 0 && result >= 0) this.armWatch(number, queue.fd);
  }

  private receiveFailed(queue: UringQueue, errno: number): void {
    this.countFailure(errno);
    if (isDeviceGone(errno) && !queue.detached) {
      queue.detached = true;
      if (!queue.hasFailed) this.queueFailed(queue.port, errno);
      queue.hasFailed = true;
    }
  }

  private countFailure(result: number): void {
    const errno = Math.abs(result);
    this.failures.set(errno, (this.failures.get(errno) ?? 0) + 1);
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
    queue.target = this.targetOf(queue);
    const mask = RECEIVE_BUFFERS_MAX - 1;
    const base = (queue.number * BUFFER_RING_SIZE) >> 2;
    const position = this.pool.frameStart(0) - queue.prefix - (queue.isPacket ? RECVMSG_OUT_SIZE : 0);
    const size = FRAME_SIZE_MAX + queue.prefix + (queue.isPacket ? RECVMSG_OUT_SIZE : 0);
    while (queue.lent < queue.target) {
      const slot = this.pool.allocate();
      if (slot < 0) break;
      const entry = base + ((queue.tail & mask) << 2);
      const low = (this.slotAddressLow[slot] + position) | 0;
      this.bufferWords[entry] = low;
      this.bufferWords[entry + 1] = this.slotAddressHigh[slot] + carry(this.slotAddressLow[slot], low);
      this.bufferWords[entry + 2] = size;
      this.bufferHalves[(entry << 1) + 6] = slot;
      queue.tail = (queue.tail + 1) & 0xffff;
      queue.lent++;
      this.lentTotal++;
    }
    // struct io_uring_buf_ring: the tail lies in the reserved half-word of the first entry.
    Atomics.store(this.bufferHalves, (base << 1) + 7, queue.tail);
    if (queue.armed) return;
    if (queue.lent > 0) this.armReceive(queue);
    else this.starve(queue);
  }

  /**
   * How many buffers a queue should have. Few to begin with; twice as many each time it has used half of them, as far as
   * its frames' sizes (they should stay in the caches) and the other queues' share allow. What an idle queue was lent can't
   * be taken back, so growing ends at half of the pool: the rest is for those that come later.
   */
  private targetOf(queue: UringQueue): number {
    const { slotCount } = this.pool;
    const byFootprint = Math.floor(RECEIVE_FOOTPRINT / Math.max(queue.averageSize, 64));
    const byShare = Math.floor((slotCount * RECEIVE_SLOTS_SHARE) / this.queueCount);
    const most = Math.max(1, Math.min(RECEIVE_BUFFERS_MAX, byFootprint, byShare));
    if (this.lentTotal > slotCount * RECEIVE_SLOTS_SHARE) return 1;
    if (queue.lent <= queue.target >> 1 && this.lentTotal < slotCount >> 1) return Math.min(most, queue.target * 2);
    return Math.min(most, queue.target);
  }

  private armReceive(queue: UringQueue): void {
    const opcode = queue.isPacket ? OP_RECVMSG | (RECV_MULTISHOT << 16) : OP_READ_MULTISHOT;
    const flags = (SQE_BUFFER_SELECT | SQE_FIXED_FILE) << 8;
    const sqe = this.nextSqe(opcode | flags, queue.number, FOR_RECEIVE | queue.number, 0);
    if (queue.isPacket) this.putAddress(sqe + 4, this.scratch.address + SCRATCH_MSGHDR);
    this.sqes[sqe + 10] = queue.number;
    queue.armed = true;
  }

  private armWake(): void {
    const sqe = this.nextSqe(OP_READ, this.wakeFd, FOR_WAKE, 0);
    this.putAddress(sqe + 4, this.scratch.address + SCRATCH_WAKE);
    this.sqes[sqe + 6] = 8;
  }

  private armWatch(number: number, fd: number): void {
    const sqe = this.nextSqe(OP_POLL_ADD, fd, FOR_WATCH | number, 0);
    this.sqes[sqe + 6] = POLL_ADD_MULTI;
    this.sqes[sqe + 7] = native.POLLIN;
  }

  /** A cleared submission entry with the given first word, descriptor and user data; its word position. */
  private nextSqe(first: number, fd: number, purpose: number, slot: number): number {
    for (let tries = 0; ((this.queued - this.consumed) | 0) >= this.sqEntries; tries++) {
      if (tries === HAND_OVER_TRIES) throw new Error('the kernel takes no submissions');
      this.handOver(0);
    }
    const sqe = (this.queued & this.sqMask) << 4;
    this.sqes.fill(0, sqe, sqe + 16);
    this.sqes[sqe] = first;
    this.sqes[sqe + 1] = fd;
    this.sqes[sqe + 8] = slot;
    this.sqes[sqe + 9] = purpose;
    this.queued = (this.queued + 1) | 0;
    return sqe;
  }

  private putAddress(word: number, address: number): void {
    this.sqes[word] = address | 0;
    this.sqes[word + 1] = Math.floor(address / 2 ** 32);
  }

  /** Everything queued, also what the kernel left the last time: it takes fewer only while it has no memory. */
  private handOver(waitMs: number): void {
    const pending = (this.queued - this.consumed) | 0;
    const isWaiting = waitMs > 0 && Atomics.load(this.ringWords, this.cqTail) === this.completed;
    Atomics.store(this.ringWords, this.sqTail, this.queued);
    if (isWaiting) this.enterAndWait(pending, waitMs);
    else if (pending !== 0 || this.hasWork()) native.ioUringEnter(this.ringFd, pending, 0, ENTER_GETEVENTS, 0, 0);
    this.consumed = Atomics.load(this.ringWords, this.sqHead);
  }

  private enterAndWait(pending: number, waitMs: number): void {
    // struct io_uring_getevents_arg: sigmask, its size, minimum wait, address of a timespec.
    const words = this.scratchWords;
    const timespec = this.scratch.address + SCRATCH_TIMESPEC;
    words[SCRATCH_TIMESPEC >> 2] = Math.floor(waitMs / 1000);
    words[(SCRATCH_TIMESPEC + 8) >> 2] = (waitMs % 1000) * 1_000_000;
    words[(SCRATCH_WAIT_ARGUMENT + 16) >> 2] = timespec | 0;
    words[(SCRATCH_WAIT_ARGUMENT + 20) >> 2] = Math.floor(timespec / 2 ** 32);
    const argument = this.scratch.address + SCRATCH_WAIT_ARGUMENT;
    native.ioUringEnter(this.ringFd, pending, 1, ENTER_GETEVENTS | ENTER_EXT_ARG, argument, 24);
  }

  /**
   * A queue's descriptor is known to the ring by the queue's number, which spares each request a reference taken and given
   * back. A registered descriptor stays open until it is taken out again.
   */
  private registerFileTable(): number {
    const words = this.scratchWords;
    const base = SCRATCH_REGISTER >> 2;
    const place = this.scratch.address + SCRATCH_REGISTER;
    // The table may be no larger than the process's limit of open files.
    for (let size = QUEUES_MAX; ; size >>= 1) {
      words.fill(0, base, base + 8);
      words[base] = size;
      words[base + 1] = FILES_SPARSE;
      const result = native.ioUringRegister(this.ringFd, REGISTER_FILES2, place, 32);
      if (result >= 0) return size;
      if (size <= QUEUES_MIN)
        native.check('registering a table of descriptors', result, 'raise the limit of open files');
    }
  }

  private registerFile(number: number, fd: number): void {
    const words = this.scratchWords;
    const base = SCRATCH_REGISTER >> 2;
    const place = this.scratch.address + SCRATCH_FILE;
    words[SCRATCH_FILE >> 2] = fd;
    words[base] = number;
    words[base + 1] = 0;
    words[base + 2] = place | 0;
    words[base + 3] = Math.floor(place / 2 ** 32);
    const result = native.ioUringRegister(
      this.ringFd,
      REGISTER_FILES_UPDATE,
      this.scratch.address + SCRATCH_REGISTER,
      1,
    );
    native.check('registering a descriptor', result);
  }

  private registerBufferRing(number: number): void {
    const words = this.scratchWords;
    const address = this.bufferRings.address + number * BUFFER_RING_SIZE;
    const base = SCRATCH_REGISTER >> 2;
    words.fill(0, base, base + 10);
    words[base] = address | 0;
    words[base + 1] = Math.floor(address / 2 ** 32);
    words[base + 2] = RECEIVE_BUFFERS_MAX;
    words[base + 3] = number;
    this.bufferHalves[(number * BUFFER_RING_SIZE) / 2 + 7] = 0;
    const result = native.ioUringRegister(this.ringFd, REGISTER_PBUF_RING, this.scratch.address + SCRATCH_REGISTER, 1);
    native.check('registering a buffer ring', result);
  }

  /** Takes back the buffers of a queue that is idle and frees its number. */
  private forget(queue: UringQueue): void {
    this.queues[queue.number] = undefined;
    this.registerFile(queue.number, -1);
    if (!queue.receives) return;
    this.queueCount--;
    const base = (SCRATCH_REGISTER >> 2) + 3;
    this.scratchWords[base] = queue.number;
    native.ioUringRegister(this.ringFd, UNREGISTER_PBUF_RING, this.scratch.address + SCRATCH_REGISTER, 1);
    const ring = queue.number * BUFFER_RING_SIZE;
    for (; queue.lent > 0; queue.lent--, this.lentTotal--) {
      queue.tail = (queue.tail - 1) & 0xffff;
      this.pool.release(this.bufferHalves[ring / 2 + (queue.tail & (RECEIVE_BUFFERS_MAX - 1)) * 8 + 6]);
    }
  }
}

/** Closes the ring and throws if the kernel lacks what queues need: multishot reads are of Linux 6.7. */
function requireOperations(ringFd: number): void {
  const answer = new Uint8Array(16 + PROBE_OPERATIONS * 8);
  const address = native.addressOf(answer.buffer);
  const result = native.ioUringRegister(ringFd, REGISTER_PROBE, address, PROBE_OPERATIONS);
  if (result >= 0 && (answer[16 + OP_READ_MULTISHOT * 8 + 2] & PROBE_SUPPORTED) !== 0) return;
  native.close(ringFd);
  throw new OperatingError('io_uring of this kernel has no multishot reads (Linux 6.7 has)', {
    code: 'no-kernel-feature',
  });
}

/** 1 when adding a non-negative number to `before` wrapped to `after`, both read as unsigned words. */
function carry(before: number, after: number): number {
  return (after ^ 0x8000_0000) < (before ^ 0x8000_0000) ? 1 : 0;
}
