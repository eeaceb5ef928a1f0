/** Datagram queues of the poll engine: an underlay port's sockets, by recvmsg and sendmsg. Worker's thread. @hot */
import { FRAME_SIZE_MAX } from '../limits.js';
import { FAILED_SEND } from './counters.js';
import { type DatagramFamily, DatagramMessages, datagramFamily } from './datagram-messages.js';
import { dropReasonNumber } from './drop-reason.js';
import type { FramePool } from './frame-pool.js';
import type { DatagramQueue, IoLosses, SendReport } from './io-engine.js';
import { datagramFailureReason } from './io-failure.js';
import * as native from './native.js';
import { PollQueue, type PollSender } from './poll-queue.js';
import type { DatagramTransport } from './port.js';
import {
  DATAGRAM_CONTROL_SIZE,
  DATAGRAM_NAME_SIZE,
  datagramPrefix,
  isTruncated,
  MSG_TRUNC,
  RAW_HEADER_SIZE,
  takeDatagram,
  takeRawPacket,
} from './receive-layout.js';

const MSG_DONTWAIT = 0x40;
/** Words of the receiving struct msghdr, and where its struct iovec lies behind it. */
const IOVEC = 16;
const SCRATCH_WORDS = 32;

export class PollDatagramQueue extends PollQueue implements DatagramQueue {
  readonly senderCount: number;
  readonly family: DatagramFamily;
  readonly hasIpHeader: boolean;
  /** As in UringDatagramQueue. */
  readonly cutsMessages: boolean;
  readonly senders: readonly number[];
  readonly segmentSenders: readonly number[];
  private readonly datagrams: PollDatagrams;

  constructor(
    engine: PollSender,
    datagrams: PollDatagrams,
    port: number,
    transport: DatagramTransport,
    receives: boolean,
  ) {
    super(engine, port, transport, receives);
    this.datagrams = datagrams;
    this.family = datagramFamily(transport);
    this.hasIpHeader = transport.protocol === 'gre' && transport.family === 4;
    this.cutsMessages = transport.protocol === 'udp';
    this.senders = transport.senders;
    this.segmentSenders = transport.segmentSenders ?? transport.senders;
    this.senderCount = transport.senders.length;
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
    if (this.detached) return false;
    const { messages } = this.datagrams;
    const { family } = this;
    const isCutHere = segmentSize !== 0 && !this.cutsMessages;
    const cut = isCutHere ? 0 : segmentSize;
    const block = messages.prepare(slot, cut, trafficClass, family, address0, address1, address2, address3);
    const senders = segmentSize === 0 ? this.senders : this.segmentSenders;
    const fd = senders[(sender & 0x7fff_ffff) % this.senderCount];
    this.datagrams.sendNow(this, fd, block, isCutHere ? segmentSize : 0);
    return true;
  }
}

export class PollDatagrams {
  /** One: a message is sent before the next one is written. */
  readonly messages: DatagramMessages;
  private readonly pool: FramePool;
  private readonly report: SendReport;
  private readonly losses: IoLosses;
  private readonly arena: number;
  private readonly scratch = new Int32Array(new ArrayBuffer(SCRATCH_WORDS * 4));
  private readonly scratchAddress = native.addressOf(this.scratch.buffer);

  constructor(pool: FramePool, report: SendReport, losses: IoLosses) {
    this.pool = pool;
    this.report = report;
    this.losses = losses;
    this.arena = native.addressOf(pool.memory.buffer);
    this.messages = new DatagramMessages(pool, 1);
  }

  /** `partSize`: each so many octets of the message are a packet that is sent by itself; 0: the message is sent as it is. */
  sendNow(queue: PollDatagramQueue, fd: number, block: number, partSize: number): void {
    const { messages, pool } = this;
    const slot = messages.slot[block];
    const isSegmented = messages.isSegmented(block);
    const end = pool.offset[slot] + pool.length[slot];
    const size = partSize === 0 ? pool.length[slot] : partSize;
    let errno = 0;
    let at = pool.offset[slot];
    do {
      if (partSize !== 0) messages.point(block, at, Math.min(size, end - at));
      if (native.sendmsg(fd, messages.addressOf(block), MSG_DONTWAIT) < 0) {
        errno = native.errno();
        this.losses.failed(FAILED_SEND, errno);
      }
      at += size;
    } while (at < end);
    messages.release(block);
    if (errno === 0) this.report.sent(slot, queue.port, pool.length[slot], 0);
    else this.report.sent(slot, queue.port, 0, datagramFailureReason(errno, isSegmented));
  }

  /** Octets received into the slot, an IP header in front of them not counted; negative: none, see errno. */
  read(queue: PollDatagramQueue, slot: number): number {
    const { scratch } = this;
    const start = this.arena + this.pool.frameStart(slot);
    if (queue.hasIpHeader)
      return native.read(queue.fd, start - RAW_HEADER_SIZE, FRAME_SIZE_MAX + RAW_HEADER_SIZE) - RAW_HEADER_SIZE;
    const name = start - datagramPrefix(false);
    this.putAddress(0, name);
    scratch[2] = DATAGRAM_NAME_SIZE;
    this.putAddress(4, this.scratchAddress + IOVEC * 4);
    scratch[6] = 1;
    this.putAddress(8, name + DATAGRAM_NAME_SIZE);
    scratch[10] = DATAGRAM_CONTROL_SIZE;
    this.putAddress(IOVEC, start);
    scratch[IOVEC + 2] = FRAME_SIZE_MAX;
    return native.recvmsg(queue.fd, this.scratchAddress, MSG_DONTWAIT);
  }

  /** Makes the slot what `read` just received. False when it was cut off: the loss is counted, and the slot is the caller's. */
  take(queue: PollDatagramQueue, slot: number, length: number): boolean {
    const { scratch } = this;
    const isCut = queue.hasIpHeader ? isTruncated(length) : (scratch[12] & MSG_TRUNC) !== 0;
    if (isCut) {
      this.losses.lostFrame(queue.port, dropReasonNumber.too_long);
      return false;
    }
    if (queue.hasIpHeader) takeRawPacket(this.pool, slot, queue.port, length);
    else takeDatagram(this.pool, slot, queue.port, length, scratch[10], queue.family.isIpv6);
    return true;
  }

  private putAddress(word: number, address: number): void {
    this.scratch[word] = address | 0;
    this.scratch[word + 1] = Math.floor(address / 2 ** 32);
  }
}
