/**
 * Datagram queues of the io_uring engine: an underlay port's sockets. Reception is the engine's multishot recvmsg, with
 * each sender's address and control messages in front of the datagrams (receive-layout.ts); a send is a sendmsg on one of
 * many sockets, described by a block of datagram-messages.ts. GRE has no UDP_SEGMENT: of a message of many packets each is
 * submitted by itself, and the slot comes back with the last one's completion. A raw socket of IPv4 is read by plain
 * receptions, since the packet's own IP header tells all that a recvmsg would. Worker's thread. @hot
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
import { ENOBUFS } from './native.js';
import type { DatagramTransport } from './port.js';
import { isTruncated, MSG_TRUNC, RECVMSG_OUT_SIZE, takeDatagram, takeRawPacket } from './receive-layout.js';
import type { Uring } from './uring.js';
import { hasIpHeader, UringQueue, type UringSender } from './uring-queue.js';

const OP_SENDMSG = 9;
const OP_SEND = 26;
const SQE_FIXED_FILE = 1;
const MSG_DONTWAIT = 0x40;

export class UringDatagramQueue extends UringQueue implements DatagramQueue {
  readonly senderCount: number;
  readonly family: DatagramFamily;
  readonly hasIpHeader: boolean;
  /** The kernel cuts messages into datagrams; otherwise each datagram is a submission. */
  readonly cutsMessages: boolean;
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
    this.cutsMessages = transport.protocol === 'udp';
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
  /** Submissions whose completions were not seen yet. */
  private underWay = 0;

  constructor(ring: Uring, pool: FramePool, report: SendReport, losses: IoLosses, purpose: number) {
    this.ring = ring;
    this.pool = pool;
    this.report = report;
    this.losses = losses;
    this.purpose = purpose;
    this.messages = new DatagramMessages(pool, MESSAGES_MAX);
  }

  /** False when the submission queue stays full, or as much is on its way as may be. */
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
    const { ring, messages, pool } = this;
    const isCutHere = segmentSize !== 0 && !queue.cutsMessages;
    const count = isCutHere ? Math.ceil(pool.length[slot] / segmentSize) : 1;
    if (queue.detached || this.underWay + count > MESSAGES_MAX || !ring.hasRoom()) return false;
    const { family } = queue;
    const cut = isCutHere ? 0 : segmentSize;
    const block = messages.prepare(slot, cut, trafficClass, family, address0, address1, address2, address3);
    if (block < 0) return false;
    const senders = segmentSize === 0 ? queue.senders : queue.segmentSenders;
    const socket = senders[(sender & 0x7fff_ffff) % queue.senderCount];
    if (!isCutHere) this.submitMessage(queue, socket, block);
    else if (trafficClass > 0) this.submitMessages(queue, socket, block, segmentSize);
    else this.submitPackets(queue, socket, block, segmentSize);
    return true;
  }

  private submitMessage(queue: UringDatagramQueue, socket: number, block: number): void {
    const { ring, messages } = this;
    const { sqes } = ring;
    const entry = this.submit(queue, OP_SENDMSG, socket, block);
    sqes[entry + 2] = 0;
    sqes[entry + 3] = 0;
    ring.putAddress(entry + 4, messages.addressOf(block));
    sqes[entry + 6] = 1;
    sqes[entry + 11] = 0;
  }

  /**
   * Each packet of `size` octets by a send with an address, which costs the kernel less than a message header to copy and
   * check (2 % of the whole way between two hosts), and no block. A control message can't go with it.
   *
   * 85 % of a sender's time is in here, 73 % in the kernel's raw_sendmsg, of which what the far host does with the packet on
   * this core (between namespaces) is 31, copying 12, the route 4. Tried in C, by packet of 1,440 octets: so 2.7 us; with
   * IP_HDRINCL 2.5 to 2.9; by a connected socket 2.7; completions of the last packet only 2.4 to 2.7; sendmmsg 4.0;
   * AF_PACKET 2.0, but then we would have to find the route and the neighbour. No offload of raw sockets cuts GRE.
   */
  private submitPackets(queue: UringDatagramQueue, socket: number, block: number, size: number): void {
    const { ring, messages, pool } = this;
    const { sqes } = ring;
    const slot = messages.slot[block];
    const name = messages.nameOf(block);
    const nameSize = messages.nameSize(block);
    const end = pool.offset[slot] + pool.length[slot];
    for (let at = pool.offset[slot]; at < end; at += size) {
      if (at !== pool.offset[slot]) {
        if (!this.hasRoomForPart(block)) return;
        messages.addPart(block);
      }
      const entry = this.submit(queue, OP_SEND, socket, block);
      ring.putAddress(entry + 2, name);
      ring.putAddress(entry + 4, messages.addressAt(at));
      sqes[entry + 6] = Math.min(size, end - at);
      sqes[entry + 11] = nameSize;
    }
  }

  /** Each packet with a message header of its own, for its traffic class. */
  private submitMessages(queue: UringDatagramQueue, socket: number, block: number, size: number): void {
    const { messages, pool } = this;
    const slot = messages.slot[block];
    const start = pool.offset[slot];
    const end = start + pool.length[slot];
    messages.point(block, start, Math.min(size, end - start));
    this.submitMessage(queue, socket, block);
    for (let at = start + size; at < end; at += size) {
      if (!this.hasRoomForPart(block)) return;
      const part = messages.preparePart(block, at, Math.min(size, end - at));
      if (part < 0) {
        messages.failPart(block, ENOBUFS);
        return;
      }
      this.submitMessage(queue, socket, part);
    }
  }

  /** False when the kernel takes no more: then the message has failed, which is told once what is on its way is done. */
  private hasRoomForPart(block: number): boolean {
    if (this.ring.hasRoom()) return true;
    this.messages.failPart(block, ENOBUFS);
    return false;
  }

  /** A submission whose address and length the caller fills in; there is room for it. */
  private submit(queue: UringDatagramQueue, operation: number, socket: number, block: number): number {
    const { ring } = this;
    const { sqes } = ring;
    const entry = (ring.queued & ring.sqMask) << 4;
    sqes[entry] = operation | (SQE_FIXED_FILE << 8);
    sqes[entry + 1] = socket;
    // Without it a full socket would make the ring wait for room, and the slot with it.
    sqes[entry + 7] = MSG_DONTWAIT;
    sqes[entry + 8] = block;
    sqes[entry + 9] = this.purpose | queue.number;
    sqes[entry + 10] = 0;
    ring.queued = (ring.queued + 1) | 0;
    queue.inFlight++;
    this.underWay++;
    return entry;
  }

  /** The network's failures are the copy's; the port stays. A message of which a part failed has failed. */
  completeSend(queue: UringQueue, block: number, result: number): void {
    const { messages } = this;
    queue.inFlight--;
    this.underWay--;
    if (result < 0) this.losses.failed(FAILED_SEND, -result);
    const message = messages.complete(block, result < 0 ? -result : 0);
    if (message < 0) return;
    const slot = messages.slot[message];
    const isSegmented = messages.isSegmented(message);
    const errno = messages.failureOf(message);
    messages.release(message);
    if (errno === 0) this.report.sent(slot, queue.port, this.pool.length[slot], 0);
    else this.report.sent(slot, queue.port, 0, datagramFailureReason(errno, isSegmented));
  }

  /** Makes the slot what was received. False when it was cut off: the loss is counted, and the slot is the caller's. */
  take(queue: UringDatagramQueue, slot: number, length: number): boolean {
    const { pool } = this;
    if (queue.hasIpHeader) {
      if (!isTruncated(length)) takeRawPacket(pool, slot, queue.port, length);
      else this.losses.lostFrame(queue.port, dropReasonNumber.too_long);
      return !isTruncated(length);
    }
    // struct io_uring_recvmsg_out: octets of name, control and payload, and flags.
    const head = (pool.frameStart(slot) - queue.prefix - RECVMSG_OUT_SIZE) >> 2;
    if ((pool.words[head + 3] & MSG_TRUNC) !== 0) {
      this.losses.lostFrame(queue.port, dropReasonNumber.too_long);
      return false;
    }
    const controlSize = pool.words[head + 1];
    takeDatagram(pool, slot, queue.port, length, controlSize, queue.family.isIpv6);
    return true;
  }
}
