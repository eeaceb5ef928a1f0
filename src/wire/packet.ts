/**
 * What a frame carries, as policy sees it: which packet, where its upper layer's header lies, its ports, whether it is a
 * fragment, and the first thing that is wrong with its headers. Read once for a frame; who asks afterwards reads fields.
 * Nothing is looked at behind the packet's end (what lies there is padding), and every walk is bounded. @hot
 *
 * A later fragment has no upper-layer header, whatever its octets look like: `transport` is 0 and `ports` 0 for it.
 */
import { ARP_SIZE, isArp } from './arp.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.js';
import {
  ICMP_CODE,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_HEADER_SIZE,
  ICMP_ID,
  ICMP_MASK_REPLY,
  ICMP_TIMESTAMP,
  ICMP_TYPE,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
} from './icmp.js';
import {
  PROTOCOL_DCCP,
  PROTOCOL_GRE,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  PROTOCOL_UDPLITE,
} from './ip-protocol.js';
import {
  IPV4_FRAGMENT,
  IPV4_FRAGMENT_OFFSET_MASK,
  IPV4_HEADER_SIZE_MIN,
  IPV4_MORE_FRAGMENTS,
  IPV4_OPTION_END,
  IPV4_OPTION_NOTHING,
  IPV4_PROTOCOL,
  ipv4PayloadStart,
  ipv4TotalLength,
} from './ipv4.js';
import { CHAIN_WHOLE, IPV6_FRAGMENT_HEADER_SIZE, IPV6_HEADER_SIZE, Ipv6Chain } from './ipv6.js';
import { read16, read32 } from './octets.js';
import { tcpPayloadStart } from './tcp.js';
import { isUdpHeader, UDP_HEADER_SIZE } from './udp.js';

/** Kinds of packets. OTHER: neither of the three, also what is behind an LLC header. */
export const PACKET_OTHER = 0;
export const PACKET_ARP = 1;
export const PACKET_IPV4 = 2;
export const PACKET_IPV6 = 3;

/** Whether a packet is whole, the first fragment of one (it has the upper layer's header), or a later one. */
export const FRAGMENT_NONE = 0;
export const FRAGMENT_FIRST = 1;
export const FRAGMENT_LATER = 2;

/** What can be wrong with a packet's headers; the first that is found counts. */
export const FAULT_NONE = 0;
/** No ARP for IPv4 over Ethernet, or cut off. */
export const FAULT_ARP = 1;
/**
 * No IP header, one that contradicts itself or the frame, options or extension headers that can't be walked to their end, a
 * fragment that can't be one: without payload, not of whole eight octets and not the last, past the longest datagram.
 */
export const FAULT_IP = 2;
/** An upper-layer header that is cut off or contradicts its packet. Of a first fragment too (RFC 7112; RFC 3128: the tiny fragment). */
export const FAULT_TCP = 3;
export const FAULT_UDP = 4;
export const FAULT_ICMP = 5;
/** A later fragment of TCP at offset 1 (eight octets) would write over the flags of the first (RFC 3128 section 2.1). */
export const FAULT_TCP_FRAGMENT = 6;
/** The header of SCTP or DCCP is cut off. */
export const FAULT_TRANSPORT = 7;

/** Upper layers whose headers begin with a source and a destination port, besides TCP, UDP and SCTP. */
/** Whether the protocol's header begins with a source and a destination port. */
export function hasPorts(protocol: number): boolean {
  return (
    protocol === PROTOCOL_TCP ||
    protocol === PROTOCOL_UDP ||
    protocol === PROTOCOL_SCTP ||
    protocol === PROTOCOL_UDPLITE ||
    protocol === PROTOCOL_DCCP
  );
}

/** Octets of an SCTP common header (RFC 9260 3.1). */
const SCTP_HEADER_SIZE = 12;
/** Of a DCCP header (RFC 4340 5.1): the least, with long sequence numbers, and where it says how long it is, in words. */
const DCCP_HEADER_SIZE = 12;
const DCCP_LONG_HEADER_SIZE = 16;
const DCCP_DATA_OFFSET = 4;
const DCCP_TYPE_AND_X = 8;

/** What a datagram's payload can be at most, as fragments count it. */
const DATAGRAM_SIZE_MAX = 65_535;

/** Octets of a GRE header without any of the fields that may follow. */
const GRE_HEADER_SIZE_MIN = 4;

/**
 * Octets of a GRE header up to the end of its key (RFC 2890); without a key, GRE_HEADER_SIZE_MIN. Only version 0 has one that can
 * be compared: PPTP's (version 1) differs by direction.
 */
export function greKeyEnd(octets: Uint8Array, at: number): number {
  const flags = read16(octets, at);
  if ((flags & 0x2007) !== 0x2000) return GRE_HEADER_SIZE_MIN;
  return (flags & 0x8000) !== 0 ? GRE_HEADER_SIZE_MIN + 8 : GRE_HEADER_SIZE_MIN + 4;
}

/** The key of the GRE header at `at`; 0: it has none before `end`. */
export function greKey(octets: Uint8Array, at: number, end: number): number {
  if (at + GRE_HEADER_SIZE_MIN > end) return 0;
  const keyEnd = greKeyEnd(octets, at);
  return keyEnd === GRE_HEADER_SIZE_MIN || at + keyEnd > end ? 0 : read32(octets, at + keyEnd - 4);
}

/** One packet's findings; made once and used again for every packet. */
export class PacketReader {
  kind = PACKET_OTHER;
  fault = FAULT_NONE;
  /** The upper layer's protocol, behind extension headers; -1 when the packet is no IP. */
  protocol = -1;
  fragment = FRAGMENT_NONE;
  /** Octets of the datagram's payload in front of this fragment's. */
  fragmentOffset = 0;
  /** Position of the upper layer's header; 0: there is none. */
  transport = 0;
  /** Behind the packet's last octet. */
  end = 0;
  /** Source port << 16 | destination port; of ICMP: type << 24 | code << 16 | identifier (`hasIdentifier`); of GRE: its key. */
  ports = 0;
  /** Of IPv6: the chain that was walked. */
  readonly chain = new Ipv6Chain();

  /** Reads what lies behind `ethertype` at `position`, in a frame that ends at `frameEnd`. */
  read(octets: Uint8Array, ethertype: number, position: number, frameEnd: number): void {
    this.kind = PACKET_OTHER;
    this.fault = FAULT_NONE;
    this.protocol = -1;
    this.fragment = FRAGMENT_NONE;
    this.fragmentOffset = 0;
    this.transport = 0;
    this.end = frameEnd;
    this.ports = 0;
    if (ethertype === ETHERTYPE_IPV4) this.readIpv4(octets, position, frameEnd);
    else if (ethertype === ETHERTYPE_IPV6) this.readIpv6(octets, position, frameEnd);
    else if (ethertype === ETHERTYPE_ARP) this.readArp(octets, position, frameEnd);
  }

  private readArp(octets: Uint8Array, position: number, frameEnd: number): void {
    this.kind = PACKET_ARP;
    if (isArp(octets, position, frameEnd)) this.end = position + ARP_SIZE;
    else this.fault = FAULT_ARP;
  }

  private readIpv4(octets: Uint8Array, position: number, frameEnd: number): void {
    this.kind = PACKET_IPV4;
    const payload = ipv4PayloadStart(octets, position, frameEnd);
    if (payload < 0 || !areIpv4OptionsSound(octets, position + IPV4_HEADER_SIZE_MIN, payload)) {
      this.fault = FAULT_IP;
      return;
    }
    this.end = position + ipv4TotalLength(octets, position);
    this.protocol = octets[position + IPV4_PROTOCOL];
    const field = read16(octets, position + IPV4_FRAGMENT);
    this.fragmentOffset = (field & IPV4_FRAGMENT_OFFSET_MASK) << 3;
    const hasMore = (field & IPV4_MORE_FRAGMENTS) !== 0;
    if (this.fragmentOffset !== 0) this.fragment = FRAGMENT_LATER;
    else if (hasMore) this.fragment = FRAGMENT_FIRST;
    if (this.fragment !== FRAGMENT_NONE && !this.isFragmentSound(payload - position, this.end - payload, hasMore))
      this.fault = FAULT_IP;
    else this.readUpper(octets, payload);
  }

  private readIpv6(octets: Uint8Array, position: number, frameEnd: number): void {
    this.kind = PACKET_IPV6;
    const { chain } = this;
    if (chain.walk(octets, position, frameEnd) !== CHAIN_WHOLE) {
      this.fault = FAULT_IP;
      return;
    }
    this.end = chain.end;
    this.protocol = chain.protocol;
    if (chain.isFragment) {
      const field = read16(octets, chain.fragmentHeader + 2);
      const payload = chain.fragmentHeader + IPV6_FRAGMENT_HEADER_SIZE;
      this.fragment = chain.isLaterFragment ? FRAGMENT_LATER : FRAGMENT_FIRST;
      this.fragmentOffset = field & 0xfff8;
      // The payload length of the whole counts the extension headers in front of the fragment header too (RFC 8200 4.5).
      const unfragmentable = chain.fragmentHeader - position - IPV6_HEADER_SIZE;
      if (!this.isFragmentSound(unfragmentable, this.end - payload, (field & 1) !== 0)) {
        this.fault = FAULT_IP;
        return;
      }
    }
    this.readUpper(octets, chain.position);
  }

  /** `before`: octets that the whole datagram's length counts besides its fragments' payload. */
  private isFragmentSound(before: number, size: number, hasMore: boolean): boolean {
    if (size === 0 || (hasMore && (size & 7) !== 0)) return false;
    return before + this.fragmentOffset + size <= DATAGRAM_SIZE_MAX;
  }

  private readUpper(octets: Uint8Array, at: number): void {
    if (this.fragment === FRAGMENT_LATER) {
      if (this.protocol === PROTOCOL_TCP && this.fragmentOffset === 8) this.fault = FAULT_TCP_FRAGMENT;
      return;
    }
    this.transport = at;
    switch (this.protocol) {
      case PROTOCOL_TCP:
        if (tcpPayloadStart(octets, at, this.end) < 0) this.fault = FAULT_TCP;
        else this.ports = read32(octets, at);
        return;
      case PROTOCOL_UDP:
      case PROTOCOL_UDPLITE:
        if (this.isUdpSound(octets, at)) this.ports = read32(octets, at);
        else this.fault = FAULT_UDP;
        return;
      case PROTOCOL_ICMP:
      case PROTOCOL_ICMPV6:
        this.readIcmp(octets, at);
        return;
      case PROTOCOL_GRE:
        this.ports = greKey(octets, at, this.end);
        return;
      case PROTOCOL_SCTP:
        if (at + SCTP_HEADER_SIZE <= this.end) this.ports = read32(octets, at);
        else this.fault = FAULT_TRANSPORT;
        return;
      case PROTOCOL_DCCP:
        if (isDccpHeader(octets, at, this.end)) this.ports = read32(octets, at);
        else this.fault = FAULT_TRANSPORT;
        return;
    }
  }

  /** A first fragment's length covers the whole datagram, so it can't be checked against what is here. UDP-Lite has another field there. */
  private isUdpSound(octets: Uint8Array, at: number): boolean {
    if (this.fragment === FRAGMENT_FIRST || this.protocol === PROTOCOL_UDPLITE) return at + UDP_HEADER_SIZE <= this.end;
    return isUdpHeader(octets, at, this.end);
  }

  private readIcmp(octets: Uint8Array, at: number): void {
    const isRight = (this.protocol === PROTOCOL_ICMP) === (this.kind === PACKET_IPV4);
    if (!isRight || at + ICMP_HEADER_SIZE > this.end) {
      this.fault = FAULT_ICMP;
      return;
    }
    const type = octets[at + ICMP_TYPE];
    const identifier = hasIdentifier(type, this.kind === PACKET_IPV4) ? read16(octets, at + ICMP_ID) : 0;
    this.ports = (type << 24) | (octets[at + ICMP_CODE] << 16) | identifier;
  }
}

/**
 * Whether the ICMP message is a query or an answer with an identifier: echoes, and in IPv4 timestamps, information and address
 * masks (RFC 792, RFC 950). ICMPv6 node information has other fields in its place (RFC 4620).
 */
export function hasIdentifier(type: number, isIpv4: boolean): boolean {
  if (!isIpv4) return type === ICMPV6_ECHO_REQUEST || type === ICMPV6_ECHO_REPLY;
  return type === ICMP_ECHO_REQUEST || type === ICMP_ECHO_REPLY || (type >= ICMP_TIMESTAMP && type <= ICMP_MASK_REPLY);
}

function isDccpHeader(octets: Uint8Array, at: number, end: number): boolean {
  if (at + DCCP_HEADER_SIZE > end) return false;
  const size = octets[at + DCCP_DATA_OFFSET] << 2;
  const sizeMin = (octets[at + DCCP_TYPE_AND_X] & 1) === 0 ? DCCP_HEADER_SIZE : DCCP_LONG_HEADER_SIZE;
  return size >= sizeMin && at + size <= end;
}

/** Whether the options from `at` end where the header does (RFC 791 3.1): one octet, or type, length and contents. */
function areIpv4OptionsSound(octets: Uint8Array, at: number, end: number): boolean {
  let next = at;
  while (next < end) {
    const type = octets[next];
    if (type === IPV4_OPTION_END) return true;
    if (type === IPV4_OPTION_NOTHING) {
      next++;
      continue;
    }
    if (next + 2 > end || octets[next + 1] < 2) return false;
    next += octets[next + 1];
  }
  return next === end;
}
