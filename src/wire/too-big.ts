/**
 * Tells the sender of a packet that doesn't fit what would: ICMP "fragmentation needed" (RFC 792, RFC 1191) and ICMPv6
 * "packet too big" (RFC 4443 3.2). A bridge has no address to send it from, so the answer bears the packet's destination as
 * its source, as Linux's bridges answer for tunnels behind them (skb_tunnel_check_pmtu). @hot
 *
 * An IPv4 packet that may be fragmented (DF clear) is answered, too: a bridge can't cut it, and its sender, once told, does.
 *
 * What an attacker can do: make the switch answer him with less than he sent. He may forge whom he is answered as; how
 * often anybody is answered is the caller's matter.
 */
import type { Kernels } from '../kernels/kernels.js';
import { fold, ipv4HeaderChecksum, pseudoHeaderSum6 } from './checksum.js';
import {
  ETHERNET_DESTINATION,
  ETHERNET_SOURCE,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  isGroupAt,
  MAC_SIZE,
} from './ethernet.js';
import {
  ICMP_CHECKSUM,
  ICMP_HEADER_SIZE,
  ICMP_PARAMETER_PROBLEM,
  ICMP_REDIRECT,
  ICMP_SOURCE_QUENCH,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMPV6_INFORMATIONAL,
  ICMPV6_PACKET_TOO_BIG,
  ICMPV6_REDIRECT,
} from './icmp.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from './ip-protocol.js';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_DONT_FRAGMENT,
  IPV4_HEADER_SIZE_MIN,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TTL,
  ipv4FragmentOffset,
  ipv4PayloadStart,
  ipv4TotalLength,
  isHostIpv4,
} from './ipv4.js';
import {
  CHAIN_WHOLE,
  IPV6_DESTINATION,
  IPV6_HEADER_SIZE,
  IPV6_HOP_LIMIT,
  IPV6_MTU_MIN,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  Ipv6Chain,
  isHostIpv6,
} from './ipv6.js';
import { write16, write32 } from './octets.js';

/** The longest answers, in octets of IP packet: RFC 1812 4.3.2.3, RFC 4443 3.2. */
const ANSWER4_SIZE_MAX = 576;
const ANSWER6_SIZE_MAX = 1280;
const FRAGMENTATION_NEEDED = 4;
/** The MTU, from the start of the message: 32 bits in ICMPv6; 16 in ICMP, behind 16 that are zero (RFC 1191 section 4). */
const TOO_BIG_MTU = 4;
const ANSWER_TTL = 64;
/** Precedence "internetwork control", as errors have it (RFC 1812 4.3.2.5). */
const ANSWER_TOS = 0xc0;

/** One worker is one thread, and no call is nested. */
const chain = new Ipv6Chain();

/**
 * Writes at `to` the whole frame that answers the frame from `frame` to `end` whose packet lies at `network`. The sender's
 * tags, if there are any in front of `network`, are the answer's. Returns its octets, at most 14 + 1280 and the tags; 0,
 * and nothing is written, where no answer may be given (RFC 1122 3.2.2, RFC 4443 2.4 e): to errors, to later fragments, to
 * or for an address that isn't one host's.
 */
export function writeTooBig(
  octets: Uint8Array,
  frame: number,
  ethertype: number,
  network: number,
  end: number,
  to: number,
  mtu: number,
  kernels: Kernels,
): number {
  if (isGroupAt(octets, frame + ETHERNET_DESTINATION) || isGroupAt(octets, frame + ETHERNET_SOURCE)) return 0;
  const linkSize = network - frame;
  let size = 0;
  if (ethertype === ETHERTYPE_IPV4) size = writeTooBig4(octets, network, end, to + linkSize, mtu, kernels);
  else if (ethertype === ETHERTYPE_IPV6) size = writeTooBig6(octets, network, end, to + linkSize, mtu, kernels);
  if (size === 0) return 0;
  kernels.copy(frame, to, linkSize);
  kernels.copy(frame + ETHERNET_SOURCE, to + ETHERNET_DESTINATION, MAC_SIZE);
  kernels.copy(frame + ETHERNET_DESTINATION, to + ETHERNET_SOURCE, MAC_SIZE);
  return linkSize + size;
}

/** Returns the octets of the packet written at `to`. */
function writeTooBig4(
  octets: Uint8Array,
  network: number,
  end: number,
  to: number,
  mtu: number,
  kernels: Kernels,
): number {
  if (!mayAnswer4(octets, network, end)) return 0;
  const message = to + IPV4_HEADER_SIZE_MIN;
  const quoted = Math.min(ipv4TotalLength(octets, network), ANSWER4_SIZE_MAX - IPV4_HEADER_SIZE_MIN - ICMP_HEADER_SIZE);
  const size = IPV4_HEADER_SIZE_MIN + ICMP_HEADER_SIZE + quoted;
  octets[to] = 0x45;
  octets[to + 1] = ANSWER_TOS;
  write16(octets, to + 2, size);
  write32(octets, to + 4, IPV4_DONT_FRAGMENT);
  octets[to + IPV4_TTL] = ANSWER_TTL;
  octets[to + IPV4_PROTOCOL] = PROTOCOL_ICMP;
  kernels.copy(network + IPV4_DESTINATION, to + IPV4_SOURCE, 4);
  kernels.copy(network + IPV4_SOURCE, to + IPV4_DESTINATION, 4);
  write16(octets, to + IPV4_CHECKSUM, ipv4HeaderChecksum(octets, to, IPV4_HEADER_SIZE_MIN));

  const head = (ICMP_UNREACHABLE << 8) | FRAGMENTATION_NEEDED;
  write32(octets, message, head << 16);
  write32(octets, message + TOO_BIG_MTU, mtu);
  const sum = kernels.copyAndChecksum(network, message + ICMP_HEADER_SIZE, quoted, head + mtu);
  write16(octets, message + ICMP_CHECKSUM, ~sum & 0xffff);
  return size;
}

/** Returns the octets of the packet written at `to`. */
function writeTooBig6(
  octets: Uint8Array,
  network: number,
  end: number,
  to: number,
  mtu: number,
  kernels: Kernels,
): number {
  if (mtu < IPV6_MTU_MIN || !mayAnswer6(octets, network, end)) return 0;
  const message = to + IPV6_HEADER_SIZE;
  const quoted = Math.min(chain.end - network, ANSWER6_SIZE_MAX - IPV6_HEADER_SIZE - ICMP_HEADER_SIZE);
  write32(octets, to, 0x6000_0000);
  write16(octets, to + IPV6_PAYLOAD_LENGTH, ICMP_HEADER_SIZE + quoted);
  octets[to + IPV6_NEXT_HEADER] = PROTOCOL_ICMPV6;
  octets[to + IPV6_HOP_LIMIT] = ANSWER_TTL;
  kernels.copy(network + IPV6_DESTINATION, to + IPV6_SOURCE, 16);
  kernels.copy(network + IPV6_SOURCE, to + IPV6_DESTINATION, 16);

  const head = ICMPV6_PACKET_TOO_BIG << 8;
  write32(octets, message, head << 16);
  write32(octets, message + TOO_BIG_MTU, mtu);
  const pseudo = pseudoHeaderSum6(octets, to, PROTOCOL_ICMPV6, ICMP_HEADER_SIZE + quoted);
  const sum = kernels.copyAndChecksum(network, message + ICMP_HEADER_SIZE, quoted, pseudo + head + fold(mtu));
  write16(octets, message + ICMP_CHECKSUM, ~sum & 0xffff);
  return IPV6_HEADER_SIZE + ICMP_HEADER_SIZE + quoted;
}

function mayAnswer4(octets: Uint8Array, network: number, end: number): boolean {
  const message = ipv4PayloadStart(octets, network, end);
  if (message < 0 || ipv4FragmentOffset(octets, network) !== 0) return false;
  if (!isHostIpv4(octets, network + IPV4_SOURCE) || !isHostIpv4(octets, network + IPV4_DESTINATION)) return false;
  if (octets[network + IPV4_PROTOCOL] !== PROTOCOL_ICMP) return true;
  return message < network + ipv4TotalLength(octets, network) && !isIcmpError(octets[message]);
}

function isIcmpError(type: number): boolean {
  return (
    type === ICMP_UNREACHABLE ||
    type === ICMP_SOURCE_QUENCH ||
    type === ICMP_REDIRECT ||
    type === ICMP_TIME_EXCEEDED ||
    type === ICMP_PARAMETER_PROBLEM
  );
}

function mayAnswer6(octets: Uint8Array, network: number, end: number): boolean {
  if (chain.walk(octets, network, end) !== CHAIN_WHOLE || chain.isLaterFragment) return false;
  if (!isHostIpv6(octets, network + IPV6_SOURCE) || !isHostIpv6(octets, network + IPV6_DESTINATION)) return false;
  if (chain.protocol !== PROTOCOL_ICMPV6) return true;
  if (chain.position >= chain.end) return false;
  const type = octets[chain.position];
  return type >= ICMPV6_INFORMATIONAL && type !== ICMPV6_REDIRECT;
}
