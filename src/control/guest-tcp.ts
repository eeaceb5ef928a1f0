/**
 * The connections that machines have to services of the switch: finds each segment's, begins and ends them, and gives those
 * that are open to the service as streams of Node. Main thread.
 *
 * Whose connection it is says the member that the frame came in by, then addresses and ports, which are the machine's to choose:
 * two machines with the same address have nothing in common here. They key a map by text, which V8 hashes with a seed.
 *
 * What one port can do to others: nothing. It has TCP_CONNECTIONS_PER_PORT at most, a further SYN costs it its own oldest one
 * that is not open yet (so a flood of SYNs takes turns with itself), and where all TCP_CONNECTIONS_MAX are taken, the port with
 * the most gives its oldest to one that has fewer. A segment of no connection is answered by a reset, one for one.
 */
import { Duplex } from 'node:stream';
import { TCP_CONNECTIONS_MAX, TCP_CONNECTIONS_PER_PORT } from '../limits.js';
import { ipText } from '../wire/address.js';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../wire/tcp.js';
import { FairPlaces, type TakenPlace } from './fair-places.js';
import type { GuestLink, GuestPacket } from './guest-packet.js';
import { type ReceivedSegment, readSegment, type Segment, writeSegment } from './guest-segment.js';
import type { Place } from './member-places.js';
import { type Ending, TcpConnection } from './tcp-connection.js';

/** How often what is unacknowledged is looked at. */
export const TCP_TICK_MS = 100;
/** Octets that wait in a connection before whoever writes has to. */
const QUEUED_MAX = 32 * 1024;

/** Octets that a service reads at once: of a segment full of tiny requests it need not take more than some. */
const PIECE_SIZE = 256;

/** Who is at the other end of a stream. */
export interface StreamPeer {
  readonly place: Place;
  readonly link: GuestLink;
  /** The service's port. */
  readonly servicePort: number;
}

export interface GuestTcpParts {
  readonly clock: () => number;
  /** A number of 32 bits, from the OS. */
  readonly randomWord: () => number;
  /** What a segment to the place's machine may hold. */
  readonly mssOf: (place: Place, link: GuestLink) => number;
  readonly send: (worker: number, place: Place, link: GuestLink, segment: Uint8Array) => void;
  /** An open connection, for the service. */
  readonly accept: (stream: Duplex, peer: StreamPeer) => void;
}

interface Entry {
  readonly key: string;
  readonly peer: StreamPeer;
  readonly taken: TakenPlace;
  /** The one that the last segment came by: answers leave by it. */
  worker: number;
  connection: TcpConnection;
  stream: GuestStream | undefined;
}

export class GuestTcp {
  private readonly parts: GuestTcpParts;
  /** The oldest first. */
  private readonly entries = new Map<string, Entry>();
  private readonly places = new FairPlaces(TCP_CONNECTIONS_MAX, TCP_CONNECTIONS_PER_PORT);
  private timer: NodeJS.Timeout | undefined;

  constructor(parts: GuestTcpParts) {
    this.parts = parts;
  }

  get size(): number {
    return this.entries.size;
  }

  hear(worker: number, place: Place, packet: GuestPacket): void {
    const segment = readSegment(packet.octets, packet.start, packet.end);
    if (segment === undefined || segment.sourcePort === 0) return;
    const { sourcePort, destinationPort } = segment;
    const key = [place.member, ipText(packet.guest), sourcePort, ipText(packet.server), destinationPort].join(' ');
    const entry = this.entries.get(key);
    if (entry !== undefined) {
      entry.worker = worker;
      entry.connection.hear(segment, this.parts.clock());
    } else if ((segment.flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) === TCP_SYN)
      this.begin(worker, place, packet, segment, key);
    else this.refuse(worker, place, packet, segment);
  }

  /** Ends the connections whose place is no more. */
  keepOnly(isThere: (place: Place) => boolean): void {
    for (const entry of [...this.entries.values()]) if (!isThere(entry.peer.place)) entry.connection.abort();
  }

  tick(): void {
    const now = this.parts.clock();
    for (const { connection } of [...this.entries.values()]) connection.tick(now);
  }

  close(): void {
    for (const { connection } of [...this.entries.values()]) connection.abort();
  }

  private begin(worker: number, place: Place, packet: GuestPacket, segment: ReceivedSegment, key: string): void {
    let entry: Entry | undefined;
    const taken = this.takePlace(place.portName, () => entry?.connection.abort());
    if (taken === undefined) return;
    const { guest, guestMac, server, serverMac } = packet;
    const link = { guest, guestMac, server, serverMac };
    const peer = { place, link, servicePort: segment.destinationPort };
    const opening = {
      segment,
      mssMax: this.parts.mssOf(place, link),
      sequence: this.parts.randomWord(),
      nowMs: this.parts.clock(),
    };
    const guestPort = segment.sourcePort;
    const send = (answer: Segment) => {
      const octets = writeSegment(peer.servicePort, guestPort, answer);
      this.parts.send(entry?.worker ?? worker, place, link, octets);
    };
    const connection = new TcpConnection(opening, {
      send,
      opened: () => entry && this.open(entry),
      data: (octets) => entry?.stream?.bring(octets),
      ended: () => void entry?.stream?.push(null),
      acknowledged: () => entry?.stream?.hasArrived(),
      idle: () => void entry?.stream?.end(),
      closed: (ending) => entry && this.forget(entry, ending),
    });
    entry = { key, peer, taken, worker, connection, stream: undefined };
    this.entries.set(key, entry);
    this.timer ??= setInterval(() => this.tick(), TCP_TICK_MS).unref();
  }

  private open(entry: Entry): void {
    entry.stream = new GuestStream(entry.connection, this.parts.clock);
    this.parts.accept(entry.stream, entry.peer);
  }

  private forget(entry: Entry, ending: Ending): void {
    this.entries.delete(entry.key);
    this.places.leave(entry.taken);
    if (this.entries.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
    entry.stream?.isOver(ending);
  }

  /** For one more connection of the port, which may cost it its oldest one that is not open yet. Undefined: there is no room. */
  private takePlace(portName: string, giveWay: () => void): TakenPlace | undefined {
    if (this.places.hasShare(portName)) {
      const own = [...this.entries.values()].filter(({ peer }) => peer.place.portName === portName);
      own.find(({ connection }) => connection.isOpening)?.connection.abort();
    }
    return this.places.take(portName, giveWay);
  }

  /** RFC 9293 3.10.7.1: a reset that the sender takes for one. */
  private refuse(worker: number, place: Place, packet: GuestPacket, segment: ReceivedSegment): void {
    const { flags, payload, sequence, acknowledgement } = segment;
    if ((flags & TCP_RST) !== 0) return;
    const size = payload.length + ((flags & TCP_SYN) === 0 ? 0 : 1) + ((flags & TCP_FIN) === 0 ? 0 : 1);
    const hasAcknowledgement = (flags & TCP_ACK) !== 0;
    const reset = writeSegment(segment.destinationPort, segment.sourcePort, {
      sequence: hasAcknowledgement ? acknowledgement : 0,
      acknowledgement: hasAcknowledgement ? 0 : (sequence + size) | 0,
      flags: hasAcknowledgement ? TCP_RST : TCP_RST | TCP_ACK,
      window: 0,
      payload: new Uint8Array(0),
    });
    this.parts.send(worker, place, packet, reset);
  }
}

/** The service's end. Ends with an end where it was one, else with an error. */
class GuestStream extends Duplex {
  private readonly connection: TcpConnection;
  private readonly clock: () => number;
  /** Octets that came and were not read when that was last looked at. */
  private unread = 0;
  private written: (() => void) | undefined;
  private finished: (() => void) | undefined;

  constructor(connection: TcpConnection, clock: () => number) {
    super({ emitClose: true });
    this.connection = connection;
    this.clock = clock;
    // Whoever has no use for the error has been told by the end.
    this.on('error', () => {});
  }

  /** Octets of the machine's, in pieces: who reads one of them may end it all, and has not read the rest by then. */
  bring(octets: Uint8Array): void {
    for (let at = 0; at < octets.length && !this.destroyed; at += PIECE_SIZE)
      this.push(octets.subarray(at, at + PIECE_SIZE));
  }

  /** null: there are no more. */
  override push(octets: Uint8Array | null): boolean {
    if (octets !== null) this.unread += octets.length;
    const wantsMore = super.push(octets);
    this.tellRead();
    return wantsMore;
  }

  /** Whoever reads, in whatever way, comes by here: what he has read makes room. */
  // biome-ignore lint/suspicious/noExplicitAny: the signature is Readable's
  override read(size?: number): any {
    // A stream that was destroyed goes on giving out what is in its buffer.
    const chunk = this.destroyed ? null : super.read(size);
    this.tellRead();
    return chunk;
  }

  /** What there is comes by itself. */
  override _read(): void {}

  override _write(octets: Uint8Array, _encoding: BufferEncoding, done: () => void): void {
    this.connection.write(octets, this.clock());
    if (this.connection.queued < QUEUED_MAX) done();
    else this.written = done;
  }

  override _final(done: () => void): void {
    this.finished = done;
    this.connection.finish(this.clock());
    this.hasArrived();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.connection.abort();
    done(error);
  }

  /** Some of what was written has arrived. */
  hasArrived(): void {
    const { written, finished } = this;
    if (written !== undefined && this.connection.queued < QUEUED_MAX) {
      this.written = undefined;
      written();
    }
    if (finished !== undefined && (this.connection.isFinished || this.connection.isClosed)) {
      this.finished = undefined;
      finished();
    }
  }

  isOver(ending: Ending): void {
    if (ending === 'done') {
      this.hasArrived();
      return;
    }
    this.destroy(new Error(ending === 'timeout' ? 'the machine was silent' : 'the machine reset the connection'));
  }

  /** What left the stream's buffer was read: the machine may send as much again. */
  private tellRead(): void {
    const read = this.unread - this.readableLength;
    if (read <= 0) return;
    this.unread -= read;
    this.connection.consume(read, this.clock());
  }
}
