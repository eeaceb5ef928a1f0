/** What the poll engine keeps of one queue. @hot */
import type { PortQueue } from './io-engine.js';
import type { QueueTransport } from './port.js';

/** The engine, as its queues see it. */
export interface PollSender {
  sendNow(queue: PollQueue, slot: number): void;
}

type KernelTransport = Extract<QueueTransport, { type: 'tap' | 'packet' | 'datagram' }>;

export class PollQueue implements PortQueue {
  readonly port: number;
  readonly fd: number;
  readonly type: KernelTransport['type'];
  readonly isPacket: boolean;
  readonly vnetHeader: boolean;
  readonly receives: boolean;
  detached = false;
  private readonly engine: PollSender;

  constructor(engine: PollSender, port: number, transport: KernelTransport, receives: boolean) {
    this.engine = engine;
    this.port = port;
    this.fd = transport.fd;
    this.type = transport.type;
    this.isPacket = transport.type === 'packet';
    this.vnetHeader = transport.type !== 'datagram' && transport.vnetHeader;
    this.receives = receives;
  }

  send(slot: number): boolean {
    if (this.detached) return false;
    this.engine.sendNow(this, slot);
    return true;
  }
}
