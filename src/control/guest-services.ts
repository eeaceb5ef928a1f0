/**
 * The services that the switch runs for machines, from the frame that a worker handed over (stages/guest-services.ts) to the
 * frame that it is given to send: names by UDP and TCP, metadata by HTTP. Who asks is told apart by the member that the frame
 * came in by, never by what it says. Main thread.
 *
 * Answers leave by that member and through all of its egress policy but security groups, which judge nothing that the switch
 * says itself; what comes was within the port's rate, and all that is kept of it has a share for each port.
 */
import type { Duplex } from 'node:stream';
import { PUNT_GUEST_SERVICE, type PuntedFrame } from '../pipeline/punt-ring.js';
import { IPV4_SIZE } from '../wire/address.js';
import { buildUdpOf } from '../wire/frame-build.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import { IPV4_HEADER_SIZE_MIN } from '../wire/ipv4.js';
import { IPV6_HEADER_SIZE } from '../wire/ipv6.js';
import { read16 } from '../wire/octets.js';
import { TCP_HEADER_SIZE_MIN } from '../wire/tcp.js';
import { UDP_HEADER_SIZE, UDP_SOURCE_PORT } from '../wire/udp.js';
import { DnsStreams } from './dns-stream.js';
import { type GuestLink, type GuestPacket, guestFrame, readGuestPacket } from './guest-packet.js';
import { GuestTcp, type StreamPeer } from './guest-tcp.js';
import type { Indices } from './indices.js';
import type { Log } from './log.js';
import { type Place, placesOf } from './member-places.js';
import type { MetadataService } from './metadata-service.js';
import type { Asker, NameService } from './name-service.js';
import type { ResolvedConfig } from './resolved.js';
import type { ServicesStatus } from './shapes.js';
import { virtualMac } from './virtual-mac.js';

const DNS_PORT = 53;
const MTU_DEFAULT = 1500;

export interface GuestServicesParts {
  readonly log: Log;
  readonly names: NameService;
  readonly metadata: MetadataService;
  readonly clock: () => number;
  /** A number of 32 bits, from the OS. */
  readonly randomWord: () => number;
  /** Has the worker send the frame by the member. */
  readonly send: (worker: number, frame: Uint8Array, network: number, member: number) => void;
  /** What may leave by the member, 0 when it is not known. */
  readonly memberMtu: (member: number) => number;
}

export class GuestServices {
  private readonly parts: GuestServicesParts;
  private places = new Map<number, Place>();
  private readonly tcp: GuestTcp;
  private readonly dnsStreams: DnsStreams;

  constructor(parts: GuestServicesParts) {
    this.parts = parts;
    this.dnsStreams = new DnsStreams(parts.names, parts.clock);
    this.tcp = new GuestTcp({
      clock: parts.clock,
      randomWord: parts.randomWord,
      mssOf: ({ member }, link) => this.mtuOf(member) - headersOf(link) - TCP_HEADER_SIZE_MIN,
      send: (worker, place, link, segment) => this.send(worker, place, link, PROTOCOL_TCP, segment),
      accept: (stream, peer) => this.accept(stream, peer),
    });
  }

  /** Serves by this configuration from now on. */
  follow(config: ResolvedConfig, indices: Indices): void {
    this.places = placesOf(config, indices);
    this.parts.names.follow(config);
    this.parts.metadata.follow(config);
    this.dnsStreams.follow(config.limits.dnsRate);
    this.tcp.keepOnly((place) => isSame(place, this.places.get(place.member)));
  }

  get status(): ServicesStatus {
    const { names, metadata } = this.parts;
    return { names: names.counts, metadata: metadata.counts, connections: this.tcp.size };
  }

  close(): void {
    this.tcp.close();
  }

  /** A frame that a worker handed over. */
  hear(worker: number, frame: PuntedFrame): void {
    const place = this.places.get(frame.member);
    if (frame.kind !== PUNT_GUEST_SERVICE || place === undefined) return;
    const packet = readGuestPacket(frame.octets, frame.tunnel === 1);
    if (packet === undefined) return;
    if (packet.protocol === PROTOCOL_UDP) this.hearDatagram(worker, place, packet);
    else this.tcp.hear(worker, place, packet);
  }

  /** What a service would do with a frame that a stage takes for it; changes nothing. */
  explain(member: number, octets: Uint8Array, isPartial: boolean): string {
    const place = this.places.get(member);
    const packet = readGuestPacket(octets, isPartial);
    if (place === undefined || packet === undefined) return 'malformed, or nobody is known there: no answer';
    if (packet.protocol === PROTOCOL_UDP) return this.parts.names.explain(payloadOf(packet), place.networkName);
    return 'a segment of a connection to the switch itself';
  }

  private hearDatagram(worker: number, place: Place, packet: GuestPacket): void {
    const { octets, start } = packet;
    const port = read16(octets, start + UDP_SOURCE_PORT);
    const link: GuestLink = packet;
    const answer = this.parts.names.answer(payloadOf(packet), this.askerOf(place, packet, 'udp'));
    void answer.then((message) => {
      if (message === undefined || port === 0) return;
      this.send(worker, place, link, PROTOCOL_UDP, buildUdpOf(DNS_PORT, port, message));
    });
  }

  private accept(stream: Duplex, peer: StreamPeer): void {
    if (peer.servicePort === DNS_PORT) this.dnsStreams.accept(stream, this.askerOf(peer.place, peer.link, 'tcp'));
    else this.parts.metadata.accept(stream, peer);
  }

  private askerOf(place: Place, link: GuestLink, transport: Asker['transport']): Asker {
    const sizeMax = this.mtuOf(place.member) - headersOf(link) - UDP_HEADER_SIZE;
    return { port: place.portName, network: place.networkName, transport, sizeMax };
  }

  private mtuOf(member: number): number {
    return this.parts.memberMtu(member) || MTU_DEFAULT;
  }

  private send(worker: number, place: Place, link: GuestLink, protocol: number, payload: Uint8Array): void {
    const frame = guestFrame(link, protocol, payload, virtualMac(place.networkName));
    this.parts.send(worker, frame, place.network, place.member);
  }
}

/** Whether it is the same port of the same network still, and the same machine behind it. */
function isSame(one: Place, other: Place | undefined): boolean {
  return (
    other !== undefined &&
    one.portName === other.portName &&
    one.network === other.network &&
    one.port.instance?.id === other.port.instance?.id &&
    one.port.instance?.tenant === other.port.instance?.tenant
  );
}

function headersOf({ guest }: GuestLink): number {
  return guest.length === IPV4_SIZE ? IPV4_HEADER_SIZE_MIN : IPV6_HEADER_SIZE;
}

/** A copy: the frame's octets are soon another's. */
function payloadOf({ octets, start, end }: GuestPacket): Uint8Array {
  return octets.slice(start + UDP_HEADER_SIZE, end);
}
