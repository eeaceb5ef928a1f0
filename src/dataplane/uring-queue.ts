/** What the io_uring engine keeps of one queue: which device, what the kernel holds for it, how its reception goes on. @hot */
import { RECEIVE_BUFFERS_MIN } from '../limits.js';
import type { PortQueue } from './io-engine.js';
import type { QueueTransport } from './port.js';
import { datagramPrefix, packetPrefix, RECVMSG_OUT_SIZE, tapPrefix } from './receive-layout.js';

/** The engine, as its queues see it. */
export interface UringSender {
  queueSend(queue: UringQueue, slot: number): boolean;
}

/** Transports that the kernel moves frames for. */
export type KernelTransport = Extract<QueueTransport, { type: 'tap' | 'packet' | 'datagram' }>;

export function isKernelTransport(transport: QueueTransport): transport is KernelTransport {
  return transport.type === 'tap' || transport.type === 'packet' || transport.type === 'datagram';
}

export class UringQueue implements PortQueue {
  readonly port: number;
  readonly fd: number;
  readonly type: KernelTransport['type'];
  readonly isPacket: boolean;
  readonly vnetHeader: boolean;
  /** Octets that the kernel writes in front of the frame: recvmsg's own header, and what follows it. */
  readonly headSize: number;
  readonly prefix: number;
  readonly receives: boolean;
  /** Received by recvmsg. */
  readonly hasMessages: boolean;
  private readonly sender: UringSender;
  /** Number under which the ring knows its descriptor and its buffers, and all numbers that are its. */
  number = -1;
  readonly numbers: number[] = [];
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

  constructor(sender: UringSender, port: number, transport: KernelTransport, receives: boolean) {
    this.sender = sender;
    this.port = port;
    this.fd = transport.fd;
    this.type = transport.type;
    this.isPacket = transport.type === 'packet';
    this.vnetHeader = transport.type !== 'datagram' && transport.vnetHeader;
    this.hasMessages = transport.type !== 'tap' && !hasIpHeader(transport);
    this.headSize = this.hasMessages ? RECVMSG_OUT_SIZE : 0;
    this.prefix = prefixOf(transport);
    this.receives = receives;
    this.canReadAhead = transport.type === 'tap';
  }

  send(slot: number): boolean {
    return this.sender.queueSend(this, slot);
  }
}

function prefixOf(transport: KernelTransport): number {
  if (transport.type === 'tap') return tapPrefix(transport.vnetHeader);
  if (transport.type === 'packet') return packetPrefix(transport.vnetHeader);
  return datagramPrefix(hasIpHeader(transport));
}

/** Whether the IP header comes in with the packet. */
export function hasIpHeader(transport: KernelTransport): boolean {
  return transport.type === 'datagram' && transport.protocol === 'gre' && transport.family === 4;
}
