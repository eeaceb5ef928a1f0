/**
 * Tells the sender of a packet that an ACL rejects it: a reset for TCP (RFC 9293 3.10.7.1), else ICMP "communication
 * administratively prohibited" (RFC 1812 5.2.7.1; ICMPv6: RFC 4443 3.1). @hot
 */
import type { Kernels } from '../kernels/kernels.js';
import { ipv4HeaderChecksum, pseudoHeaderSum4, pseudoHeaderSum6 } from './checksum.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.js';
import { ICMP_UNREACHABLE, ICMPV6_UNREACHABLE } from './icmp.js';
import { icmpError, writeIcmpError } from './icmp-error.js';
import { PROTOCOL_TCP } from './ip-protocol.js';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_DONT_FRAGMENT,
  IPV4_HEADER_SIZE_MIN,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TTL,
  isHostIpv4,
} from './ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_SIZE,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  isHostIpv6,
} from './ipv6.js';
import { isBetweenStations, writeLinkAnswer } from './link-answer.js';
import { read32, write16, write32 } from './octets.js';
import { FRAGMENT_NONE, PacketReader } from './packet.js';
import {
  TCP_ACK,
  TCP_ACKNOWLEDGEMENT,
  TCP_CHECKSUM,
  TCP_DESTINATION_PORT,
  TCP_FIN,
  TCP_FLAGS,
  TCP_HEADER_SIZE_MIN,
  TCP_RST,
  TCP_SEQUENCE,
  TCP_SOURCE_PORT,
  TCP_SYN,
  tcpHeaderSize,
} from './tcp.js';

/** Codes of "administratively prohibited". */
const PROHIBITED4 = 13;
const PROHIBITED6 = 1;
const RESET_TTL = 64;

/** One worker is one thread, and no call is nested. */
const reader = new PacketReader();

/**
 * Writes at `to` the whole frame that answers the frame from `frame` to `end` whose packet lies at `network`. The sender's
 * tags, if there are any in front of `network`, are the answer's. Returns its octets, at most 14 + 1280 and the tags; 0,
 * and nothing is written, where no answer may be given (icmp-error.ts), to a reset, and to what is no IP.
 */
export function writeReject(
  octets: Uint8Array,
  frame: number,
  ethertype: number,
  network: number,
  end: number,
  to: number,
  kernels: Kernels,
): number {
  if (ethertype !== ETHERTYPE_IPV4 && ethertype !== ETHERTYPE_IPV6) return 0;
  reader.read(octets, ethertype, network, end);
  if (reader.fault !== 0) return 0;
  // Of a fragment nobody knows how much of the sequence it takes.
  if (reader.protocol === PROTOCOL_TCP && reader.fragment === FRAGMENT_NONE)
    return writeResetFrame(octets, frame, ethertype, network, to, kernels);
  icmpError.type4 = ICMP_UNREACHABLE;
  icmpError.code4 = PROHIBITED4;
  icmpError.type6 = ICMPV6_UNREACHABLE;
  icmpError.code6 = PROHIBITED6;
  icmpError.word = 0;
  icmpError.sourceAt = -1;
  return writeIcmpError(octets, frame, ethertype, network, end, to, kernels);
}

function writeResetFrame(
  octets: Uint8Array,
  frame: number,
  ethertype: number,
  network: number,
  to: number,
  kernels: Kernels,
): number {
  if (!isBetweenStations(octets, frame)) return 0;
  const linkSize = network - frame;
  const at = to + linkSize;
  const isIpv4 = ethertype === ETHERTYPE_IPV4;
  const size = isIpv4 ? writeReset4(octets, network, at, kernels) : writeReset6(octets, network, at, kernels);
  if (size === 0) return 0;
  writeLinkAnswer(frame, to, linkSize, kernels);
  return linkSize + size;
}

function writeReset4(octets: Uint8Array, network: number, to: number, kernels: Kernels): number {
  if (!isHostIpv4(octets, network + IPV4_SOURCE) || !isHostIpv4(octets, network + IPV4_DESTINATION)) return 0;
  const segment = to + IPV4_HEADER_SIZE_MIN;
  if (!writeReset(octets, segment)) return 0;
  const size = IPV4_HEADER_SIZE_MIN + TCP_HEADER_SIZE_MIN;
  write32(octets, to, 0x4500_0000 | size);
  write32(octets, to + 4, IPV4_DONT_FRAGMENT);
  octets[to + IPV4_TTL] = RESET_TTL;
  octets[to + IPV4_PROTOCOL] = PROTOCOL_TCP;
  kernels.copy(network + IPV4_DESTINATION, to + IPV4_SOURCE, 4);
  kernels.copy(network + IPV4_SOURCE, to + IPV4_DESTINATION, 4);
  write16(octets, to + IPV4_CHECKSUM, ipv4HeaderChecksum(octets, to, IPV4_HEADER_SIZE_MIN));
  const pseudo = pseudoHeaderSum4(octets, to, PROTOCOL_TCP, TCP_HEADER_SIZE_MIN);
  write16(octets, segment + TCP_CHECKSUM, ~kernels.checksum(segment, TCP_HEADER_SIZE_MIN, pseudo) & 0xffff);
  return size;
}

function writeReset6(octets: Uint8Array, network: number, to: number, kernels: Kernels): number {
  if (!isHostIpv6(octets, network + IPV6_SOURCE) || !isHostIpv6(octets, network + IPV6_DESTINATION)) return 0;
  const segment = to + IPV6_HEADER_SIZE;
  if (!writeReset(octets, segment)) return 0;
  write32(octets, to, 0x6000_0000);
  write16(octets, to + IPV6_PAYLOAD_LENGTH, TCP_HEADER_SIZE_MIN);
  octets[to + IPV6_NEXT_HEADER] = PROTOCOL_TCP;
  octets[to + IPV6_HOP_LIMIT] = RESET_TTL;
  kernels.copy(network + IPV6_DESTINATION, to + IPV6_SOURCE, 16);
  kernels.copy(network + IPV6_SOURCE, to + IPV6_DESTINATION, 16);
  const pseudo = pseudoHeaderSum6(octets, to, PROTOCOL_TCP, TCP_HEADER_SIZE_MIN);
  write16(octets, segment + TCP_CHECKSUM, ~kernels.checksum(segment, TCP_HEADER_SIZE_MIN, pseudo) & 0xffff);
  return IPV6_HEADER_SIZE + TCP_HEADER_SIZE_MIN;
}

/**
 * The reset of the segment that `reader` has read, without its checksum: "If the ACK bit is off, sequence number zero is
 * used, <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>. If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>." False: it is a reset itself.
 */
function writeReset(octets: Uint8Array, to: number): boolean {
  const { transport, end } = reader;
  const flags = octets[transport + TCP_FLAGS];
  if ((flags & TCP_RST) !== 0) return false;
  const hasAck = (flags & TCP_ACK) !== 0;
  // SEG.LEN: octets of data, and one each for SYN and FIN.
  const data = end - transport - tcpHeaderSize(octets, transport);
  const length = data + ((flags & TCP_SYN) !== 0 ? 1 : 0) + ((flags & TCP_FIN) !== 0 ? 1 : 0);
  const ports = read32(octets, transport);
  write16(octets, to + TCP_SOURCE_PORT, ports & 0xffff);
  write16(octets, to + TCP_DESTINATION_PORT, ports >>> 16);
  write32(octets, to + TCP_SEQUENCE, hasAck ? read32(octets, transport + TCP_ACKNOWLEDGEMENT) : 0);
  write32(octets, to + TCP_ACKNOWLEDGEMENT, hasAck ? 0 : (read32(octets, transport + TCP_SEQUENCE) + length) | 0);
  // Five words of header, no window, no checksum yet, no urgent pointer.
  write16(octets, to + TCP_ACKNOWLEDGEMENT + 4, 0x5000 | TCP_RST | (hasAck ? 0 : TCP_ACK));
  write16(octets, to + TCP_ACKNOWLEDGEMENT + 6, 0);
  write32(octets, to + TCP_CHECKSUM, 0);
  return true;
}
