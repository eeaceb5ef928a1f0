/** What the io_uring engine keeps of one queue: which device, what the kernel holds for it, how its reception goes on. @hot */
import { RECEIVE_BUFFERS_MIN } from '../limits.js';
import type { PortQueue } from './io-engine.js';
import type { QueueTransport } from './port.js';
import { packetPrefix, tapPrefix } from './receive-layout.js';

/** The engine, as its queues see it. */
export interface UringSender {
  queueSend(queue: UringQueue, slot: number): boolean;
}

/** Transports that the kernel moves frames for. */
type KernelTransport = Extract<QueueTransport, { type: 'tap' | 'packet' }>;

export class UringQueue implements PortQueue {
  readonly port: number;
  readonly number: number;
  readonly fd: number;
  readonly isPacket: boolean;
  readonly vnetHeader: boolean;
  /** Octets the kernel writes in front of the frame, beyond recvmsg's own header. */
  readonly prefix: number;
  readonly receives: boolean;
  private readonly sender: UringSender;
  /** Buffers the kernel holds, how many it should, and the ring's tail. */
  lent = 0;
  target = RECEIVE_BUFFERS_MIN >> 1;
  tail = 0;
  /** `lent` and `tail` when it was last looked at whether it is idle. */
  seenLent = -1;
  seenTail = -1;
  armed = false;
  /** Frames wait in the device: read them one by one (readAhead) instead of waiting for them. */
  isBusy = false;
  /** The device reads without waiting when asked to; not all kernels' TAPs do. */
  canReadAhead: boolean;
  /** Such reads whose completions were not seen yet. */
  reading = 0;
  /** In the engine's list of queues to refill. */
  isStarved = false;
  detached = false;
  /** Its failure was reported: once is enough. */
  hasFailed = false;
  inFlight = 0;
  /** Moving average of frame sizes in octets, for `target`. */
  averageSize = 1024;

  constructor(sender: UringSender, port: number, number: number, transport: KernelTransport, receives: boolean) {
    this.sender = sender;
    this.port = port;
    this.number = number;
    this.fd = transport.fd;
    this.isPacket = transport.type === 'packet';
    this.vnetHeader = transport.vnetHeader;
    this.prefix = this.isPacket ? packetPrefix(this.vnetHeader) : tapPrefix(this.vnetHeader);
    this.receives = receives;
    this.canReadAhead = !this.isPacket;
  }

  send(slot: number): boolean {
    return this.sender.queueSend(this, slot);
  }
}
