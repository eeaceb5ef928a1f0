/**
 * A queue of IPv4 packets over a stream to a process that has a raw socket (ports/raw-socket-process.ts): the underlay
 * driver `raw-socket`. Each packet goes with its IP header, in both directions, after its length; the header says what a
 * socket address and control messages say elsewhere. What the process can't send is lost without a word: the copy was
 * reported when the stream had it. Runs on the worker's thread. @hot
 */
import { IPV4_DONT_FRAGMENT, IPV4_HEADER_SIZE_MIN } from '../wire/ipv4.js';
import { write16 } from '../wire/octets.js';
import type { FramePool } from './frame-pool.js';
import type { DatagramQueue, SendReport } from './io-engine.js';
import type { RawStreamTransport } from './port.js';
import { RAW_HEADER_SIZE, takeRawPacket } from './receive-layout.js';
import { LENGTH_SIZE, StreamQueue } from './stream-queue.js';

const VERSION_AND_SIZE = 0x45;
const HEAD_SIZE = LENGTH_SIZE + IPV4_HEADER_SIZE_MIN;

export class RawPacketQueue extends StreamQueue implements DatagramQueue {
  readonly senderCount = 1;
  private readonly transport: RawStreamTransport;

  constructor(
    port: number,
    transport: RawStreamTransport,
    pool: FramePool,
    report: SendReport,
    failed: (errno: number) => void,
  ) {
    super(port, transport.fd, pool, report, failed, RAW_HEADER_SIZE);
    this.transport = transport;
  }

  /** Frames have no address here. */
  override send(): boolean {
    return false;
  }

  sendTo(
    slot: number,
    segmentSize: number,
    _sender: number,
    trafficClass: number,
    _address0: number,
    _address1: number,
    _address2: number,
    address3: number,
  ): boolean {
    const { pool } = this;
    const length = pool.length[slot];
    const size = segmentSize === 0 ? length : segmentSize;
    const count = size === 0 ? 1 : Math.ceil(length / size);
    if (this.hasFailed || !this.makeRoom(length + count * HEAD_SIZE)) return false;
    const start = pool.offset[slot];
    for (let at = 0, index = 0; index < count; index++, at += size) {
      const part = Math.min(size, length - at);
      this.putLength(IPV4_HEADER_SIZE_MIN + part);
      this.putHeader(trafficClass, IPV4_HEADER_SIZE_MIN + part, address3);
      this.putOctets(start + at, part);
    }
    this.report.sent(slot, this.port, length, 0);
    return true;
  }

  protected override taken(slot: number, length: number): void {
    takeRawPacket(this.pool, slot, this.port, length - RAW_HEADER_SIZE);
  }

  /** The kernel fills in id and checksum (raw(7), IP_HDRINCL). `remote` is as it lies in memory. */
  private putHeader(trafficClass: number, totalLength: number, remote: number): void {
    const { output, transport } = this;
    const at = this.outputEnd;
    output[at] = VERSION_AND_SIZE;
    output[at + 1] = Math.max(0, trafficClass);
    write16(output, at + 2, totalLength);
    write16(output, at + 4, 0);
    write16(output, at + 6, IPV4_DONT_FRAGMENT);
    output[at + 8] = transport.ttl;
    output[at + 9] = transport.protocol;
    write16(output, at + 10, 0);
    for (let octet = 0; octet < 4; octet++) {
      output[at + 12 + octet] = transport.local >>> (octet * 8);
      output[at + 16 + octet] = remote >>> (octet * 8);
    }
    this.outputEnd = at + IPV4_HEADER_SIZE_MIN;
  }
}
