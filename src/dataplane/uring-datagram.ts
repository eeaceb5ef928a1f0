/**
 * Datagram queues of the io_uring engine: an underlay port's sockets. Reception is the engine's multishot recvmsg, with
 * each sender's address and control messages in front of the datagrams (receive-layout.ts); a send is a sendmsg on one of
 * many sockets, described by a block of datagram-messages.ts. Worker's thread. @hot
 *
 * What an attacker can do: nothing but fill the receiving socket, whose buffers are bounded as any port's are.
 */
import { MESSAGES_MAX } from '../limits.js';
import { FAILED_SEND } from './counters.js';
import { type DatagramFamily, DatagramMessages, datagramFamily } from './datagram-messages.js';
import { dropReasonNumber } from './drop-reason.js';
import type { FramePool } from './frame-pool.js';
import type { DatagramQueue, IoLosses, SendReport } from './io-engine.js';
import { datagramFailureReason } from './io-failure.js';
import type { DatagramTransport } from './port.js';
import { MSG_TRUNC, RECVMSG_OUT_SIZE, takeDatagram } from './receive-layout.js';
import type { Uring } from './uring.js';
import { hasIpHeader, UringQueue, type UringSender } from './uring-queue.js';

const OP_SENDMSG = 9;
const SQE_FIXED_FILE = 1;
const MSG_DONTWAIT = 0x40;

export class UringDatagramQueue extends UringQueue implements DatagramQueue {
  readonly senderCount: number;
  readonly family: DatagramFamily;
  readonly hasIpHeader: boolean;
  /** Numbers of the sockets to send by: for single datagrams, and for several at once. */
  readonly senders: Int32Array;
  readonly segmentSenders: Int32Array;
  private readonly datagrams: UringDatagrams;

  constructor(
    engine: UringSender,
    datagrams: UringDatagrams,
    port: number,
    transport: DatagramTransport,
    receives: boolean,
  ) {
    super(engine, port, transport, receives);
    this.datagrams = datagrams;
    this.family = datagramFamily(transport);
    this.hasIpHeader = hasIpHeader(transport);
    this.senderCount = transport.senders.length;
    this.senders = new Int32Array(this.senderCount);
    this.segmentSenders = transport.segmentSenders === undefined ? this.senders : new Int32Array(this.senderCount);
  }

  /** Frames have no address here. */
  override send(): boolean {
    return false;
  }

  sendTo(
    slot: number,
    segmentSize: number,
    sender: number,
    trafficClass: number,
    address0: number,
    address1: number,
    address2: number,
    address3: number,
  ): boolean {
    return this.datagrams.send(this, slot, segmentSize, sender, trafficClass, address0, address1, address2, address3);
  }
}

export class UringDatagrams {
  private readonly ring: Uring;
  private readonly pool: FramePool;
  private readonly report: SendReport;
  private readonly losses: IoLosses;
  /** Upper half of a send's user data, to which the queue's number is added; the lower half is the block. */
  private readonly purpose: number;
  private readonly messages: DatagramMessages;

  constructor(ring: Uring, pool: FramePool, report: SendReport, losses: IoLosses, purpose: number) {
    this.ring = ring;
    this.pool = pool;
    this.report = report;
    this.losses = losses;
    this.purpose = purpose;
    this.messages = new DatagramMessages(pool, MESSAGES_MAX);
  }

  /** False when the submission queue stays full, or all message blocks are on their way. */
  send(
    queue: UringDatagramQueue,
    slot: number,
    segmentSize: number,
    sender: number,
    trafficClass: number,
    address0: number,
    address1: number,
    address2: number,
    address3: number,
  ): boolean {
    const { ring, messages } = this;
    if (queue.detached || !ring.hasRoom()) return false;
    const { family } = queue;
    const block = messages.prepare(slot, segmentSize, trafficClass, family, address0, address1, address2, address3);
    if (block < 0) return false;
    const senders = segmentSize === 0 ? queue.senders : queue.segmentSenders;
    const entry = (ring.queued & ring.sqMask) << 4;
    const { sqes } = ring;
    sqes[entry] = OP_SENDMSG | (SQE_FIXED_FILE << 8);
    sqes[entry + 1] = senders[(sender & 0x7fff_ffff) % queue.senderCount];
    sqes[entry + 2] = 0;
    sqes[entry + 3] = 0;
    ring.putAddress(entry + 4, messages.addressOf(block));
    sqes[entry + 6] = 1;
    // Without it a full socket would make the ring wait for room, and the slot with it.
    sqes[entry + 7] = MSG_DONTWAIT;
    sqes[entry + 8] = block;
    sqes[entry + 9] = this.purpose | queue.number;
    sqes[entry + 10] = 0;
    sqes[entry + 11] = 0;
    ring.queued = (ring.queued + 1) | 0;
    queue.inFlight++;
    return true;
  }

  /** The network's failures are the copy's; the port stays. */
  completeSend(queue: UringQueue, block: number, result: number): void {
    const { messages } = this;
    const slot = messages.slot[block];
    const isSegmented = messages.isSegmented(block);
    messages.release(block);
    queue.inFlight--;
    if (result >= 0) {
      this.report.sent(slot, queue.port, this.pool.length[slot], 0);
      return;
    }
    this.losses.failed(FAILED_SEND, -result);
    this.report.sent(slot, queue.port, 0, datagramFailureReason(-result, isSegmented));
  }

  /** Makes the slot what was received. False when it was cut off: the loss is counted, and the slot is the caller's. */
  take(queue: UringDatagramQueue, slot: number, length: number): boolean {
    const { pool } = this;
    // struct io_uring_recvmsg_out: octets of name, control and payload, and flags.
    const head = (pool.frameStart(slot) - queue.prefix - RECVMSG_OUT_SIZE) >> 2;
    if ((pool.words[head + 3] & MSG_TRUNC) !== 0) {
      this.losses.lostFrame(queue.port, dropReasonNumber.too_long);
      return false;
    }
    const controlSize = pool.words[head + 1];
    takeDatagram(pool, slot, queue.port, length, controlSize, queue.family.isIpv6, queue.hasIpHeader);
    return true;
  }
}
