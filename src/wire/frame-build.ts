/**
 * Builds whole packets and frames from their fields, checksums and lengths included: for `weft trace`, for what the main
 * thread says itself (slow protocols), and for tests. Makes new, zeroed arrays, so it is nothing for workers, who write their
 * answers in place. No input is checked here: addresses are parsed ones (wire/address.ts), sizes fit.
 */
import {
  ARP_OPERATION,
  ARP_SENDER_IP,
  ARP_SENDER_MAC,
  ARP_SIZE,
  ARP_SIZES,
  ARP_TARGET_IP,
  ARP_TARGET_MAC,
} from './arp.js';
import { ipv4HeaderChecksum, pseudoHeaderSum4, pseudoHeaderSum6, sumOctets } from './checksum.js';
import { MAC_SIZE } from './ethernet.js';
import { ICMP_CHECKSUM, ICMP_CODE, ICMP_HEADER_SIZE, ICMP_ID, ICMP_SEQUENCE, ICMP_TYPE } from './icmp.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from './ip-protocol.js';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_HEADER_SIZE_MIN,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
} from './ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_SIZE,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
} from './ipv6.js';
import { write16, write32 } from './octets.js';
import {
  TCP_ACKNOWLEDGEMENT,
  TCP_CHECKSUM,
  TCP_DATA_OFFSET,
  TCP_DESTINATION_PORT,
  TCP_FLAGS,
  TCP_HEADER_SIZE_MIN,
  TCP_SEQUENCE,
  TCP_SOURCE_PORT,
  TCP_WINDOW,
} from './tcp.js';
import { UDP_CHECKSUM, UDP_DESTINATION_PORT, UDP_HEADER_SIZE, UDP_LENGTH, UDP_SOURCE_PORT } from './udp.js';
import { VLAN_TAG_SIZE } from './vlan.js';

export interface Tag {
  readonly vid: number;
  readonly priority: number;
  readonly tpid: number;
}

export interface EthernetFields {
  readonly destination: ArrayLike<number>;
  readonly source: ArrayLike<number>;
  /** The outer one first. */
  readonly tags: readonly Tag[];
}

export function buildEthernet(fields: EthernetFields, ethertype: number, payload: Uint8Array): Uint8Array {
  const addressesSize = 2 * MAC_SIZE;
  const frame = new Uint8Array(addressesSize + VLAN_TAG_SIZE * fields.tags.length + 2 + payload.length);
  frame.set(fields.destination);
  frame.set(fields.source, MAC_SIZE);
  let at = addressesSize;
  for (const tag of fields.tags) {
    write16(frame, at, tag.tpid);
    write16(frame, at + 2, (tag.priority << 13) | tag.vid);
    at += VLAN_TAG_SIZE;
  }
  write16(frame, at, ethertype);
  frame.set(payload, at + 2);
  return frame;
}

export interface ArpFields {
  readonly operation: number;
  readonly senderMac: ArrayLike<number>;
  readonly senderIp: ArrayLike<number>;
  readonly targetMac: ArrayLike<number>;
  readonly targetIp: ArrayLike<number>;
}

export function buildArp(fields: ArpFields): Uint8Array {
  const message = new Uint8Array(ARP_SIZE);
  message.set([0, 1, 0x08, 0x00]);
  message.set([6, 4], ARP_SIZES);
  write16(message, ARP_OPERATION, fields.operation);
  message.set(fields.senderMac, ARP_SENDER_MAC);
  message.set(fields.senderIp, ARP_SENDER_IP);
  message.set(fields.targetMac, ARP_TARGET_MAC);
  message.set(fields.targetIp, ARP_TARGET_IP);
  return message;
}

export interface IpFields {
  /** Parsed addresses of one family, which makes the packet's. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  readonly ttl: number;
}

/** A packet with the checksum of TCP, UDP, ICMP or ICMPv6 in `payload` written; other payloads stay as they are. */
export function buildIp(fields: IpFields, payload: Uint8Array): Uint8Array {
  const isIpv4 = fields.source.length === 4;
  const headerSize = isIpv4 ? IPV4_HEADER_SIZE_MIN : IPV6_HEADER_SIZE;
  const packet = new Uint8Array(headerSize + payload.length);
  if (isIpv4) writeIpv4(packet, fields);
  else writeIpv6(packet, fields);
  packet.set(payload, headerSize);
  writeChecksum(packet, headerSize, isIpv4, fields.protocol);
  return packet;
}

function writeIpv4(packet: Uint8Array, fields: IpFields): void {
  packet[0] = 0x45;
  write16(packet, IPV4_TOTAL_LENGTH, packet.length);
  packet[IPV4_TTL] = fields.ttl;
  packet[IPV4_PROTOCOL] = fields.protocol;
  packet.set(fields.source, IPV4_SOURCE);
  packet.set(fields.destination, IPV4_DESTINATION);
  write16(packet, IPV4_CHECKSUM, ipv4HeaderChecksum(packet, 0, IPV4_HEADER_SIZE_MIN));
}

function writeIpv6(packet: Uint8Array, fields: IpFields): void {
  packet[0] = 0x60;
  write16(packet, IPV6_PAYLOAD_LENGTH, packet.length - IPV6_HEADER_SIZE);
  packet[IPV6_NEXT_HEADER] = fields.protocol;
  packet[IPV6_HOP_LIMIT] = fields.ttl;
  packet.set(fields.source, IPV6_SOURCE);
  packet.set(fields.destination, IPV6_DESTINATION);
}

function writeChecksum(packet: Uint8Array, transport: number, isIpv4: boolean, protocol: number): void {
  const field = checksumField(protocol);
  const length = packet.length - transport;
  if (field < 0 || field + 2 > length) return;
  let pseudo = 0;
  if (!isIpv4) pseudo = pseudoHeaderSum6(packet, 0, protocol, length);
  else if (protocol !== PROTOCOL_ICMP) pseudo = pseudoHeaderSum4(packet, 0, protocol, length);
  write16(packet, transport + field, 0);
  const checksum = ~sumOctets(packet, transport, length, pseudo) & 0xffff;
  // RFC 768: a sum of zero is sent as all ones, zero means "none".
  write16(packet, transport + field, checksum === 0 && protocol === PROTOCOL_UDP ? 0xffff : checksum);
}

/** Octets from the transport header to its checksum; -1 when there is none that could be written here. */
function checksumField(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return TCP_CHECKSUM;
  if (protocol === PROTOCOL_UDP) return UDP_CHECKSUM;
  return protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6 ? ICMP_CHECKSUM : -1;
}

export interface TcpFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly window: number;
}

/** A segment without options. */
export function buildTcp(fields: TcpFields, payloadSize: number): Uint8Array {
  return buildTcpOf(fields, new Uint8Array(0), countingPayload(payloadSize));
}

/** With these options, a multiple of four octets, and this payload; its checksum is buildIp's matter. */
export function buildTcpOf(fields: TcpFields, options: Uint8Array, payload: Uint8Array): Uint8Array {
  const headerSize = TCP_HEADER_SIZE_MIN + options.length;
  const segment = new Uint8Array(headerSize + payload.length);
  write16(segment, TCP_SOURCE_PORT, fields.sourcePort);
  write16(segment, TCP_DESTINATION_PORT, fields.destinationPort);
  write32(segment, TCP_SEQUENCE, fields.sequence);
  write32(segment, TCP_ACKNOWLEDGEMENT, fields.acknowledgement);
  segment[TCP_DATA_OFFSET] = (headerSize / 4) << 4;
  segment[TCP_FLAGS] = fields.flags;
  write16(segment, TCP_WINDOW, fields.window);
  segment.set(options, TCP_HEADER_SIZE_MIN);
  segment.set(payload, headerSize);
  return segment;
}

export function buildUdp(sourcePort: number, destinationPort: number, payloadSize: number): Uint8Array {
  return buildUdpOf(sourcePort, destinationPort, countingPayload(payloadSize));
}

/** With this payload. */
export function buildUdpOf(sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const datagram = new Uint8Array(UDP_HEADER_SIZE + payload.length);
  write16(datagram, UDP_SOURCE_PORT, sourcePort);
  write16(datagram, UDP_DESTINATION_PORT, destinationPort);
  write16(datagram, UDP_LENGTH, datagram.length);
  datagram.set(payload, UDP_HEADER_SIZE);
  return datagram;
}

export interface IcmpFields {
  readonly type: number;
  readonly code: number;
  /** The four octets behind the checksum, as most messages use them. */
  readonly id: number;
  readonly sequence: number;
}

export function buildIcmp(fields: IcmpFields, payloadSize: number): Uint8Array {
  const message = new Uint8Array(ICMP_HEADER_SIZE + payloadSize);
  message.set(countingPayload(payloadSize), ICMP_HEADER_SIZE);
  message[ICMP_TYPE] = fields.type;
  message[ICMP_CODE] = fields.code;
  write16(message, ICMP_ID, fields.id);
  write16(message, ICMP_SEQUENCE, fields.sequence);
  return message;
}

/** Octets that count up, so that a payload that was moved or cut shows it. */
export function countingPayload(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => index);
}
