/**
 * Which packets a router takes at all: sound ones, between addresses that may be one host's and the other's, without a route
 * that their sender wrote, that are not from itself and speak no router's word. @hot
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { fold, sumOctets } from '../wire/checksum.js';
import { PROTOCOL_ROUTING } from '../wire/ip-protocol.js';
import { IPV4_DESTINATION, IPV4_HEADER_SIZE_MIN, IPV4_SOURCE, ipv4HeaderSize, isHostIpv4 } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HEADER_SIZE, IPV6_NEXT_HEADER, IPV6_SOURCE, isHostIpv6 } from '../wire/ipv6.js';
import { read16, read32 } from '../wire/octets.js';
import { PACKET_IPV4 } from '../wire/packet.js';
import { isRoutersWord } from './always-blocked.js';
import type { Machine } from './machine.js';
import { ADDRESS_WORDS } from './routing-tables.js';

/** IPv4 options (RFC 791 3.1): end of the list, no operation, and the two in which the sender writes the route. */
const OPTION_END = 0;
const OPTION_NOTHING = 1;
const OPTION_LOOSE_ROUTE = 131;
const OPTION_STRICT_ROUTE = 137;
/** Upper ten bits of fe80::/10, and 169.254/16. */
const LINK_LOCAL6 = 0xfe80;
const LINK_LOCAL6_MASK = 0xffc0;
const LINK_LOCAL4 = 0xa9fe;

/** Of a packet that came in by the interface `from`: the drop reason's number, 0 if it may be routed. */
export function packetProblem(machine: Machine, slot: number, from: number): number {
  const { pool } = machine;
  if (pool.packetFault[slot] !== 0) return pool.packetFault[slot];
  const packet = pool.networkHeader[slot];
  const isIpv4 = pool.packetKind[slot] === PACKET_IPV4;
  const problem = isIpv4 ? problem4(pool.octets, pool.words, packet) : problem6(pool.octets, packet);
  if (problem !== 0) return problem;
  if (isFromItself(machine, packet, from, isIpv4)) return dropReasonNumber.martian;
  // Routes are the configuration's: a router heeds nobody's redirect, and carries none to another link, where it would be forged.
  return isRoutersWord(machine, slot) ? dropReasonNumber.router_advertisement : 0;
}

/** Whether the packet's source is the (first) address of the interface that it came in by. */
function isFromItself({ pool, snapshot }: Machine, packet: number, from: number, isIpv4: boolean): boolean {
  const { interfaceAddress4, interfaceAddress6 } = snapshot.routing;
  const at = from * ADDRESS_WORDS;
  if (isIpv4) return read32(pool.octets, packet + IPV4_SOURCE) === interfaceAddress4[at + 3];
  return isAddress6(pool.octets, packet + IPV6_SOURCE, interfaceAddress6, at);
}

function problem4(octets: Uint8Array, words: Int32Array, packet: number): number {
  const size = ipv4HeaderSize(octets, packet);
  // RFC 1812 5.2.2: the sum of a sound header with its checksum is all ones.
  const isPlain = size === IPV4_HEADER_SIZE_MIN && (packet & 3) === 2;
  const sum = isPlain ? sumOfPlainHeader(words, packet >> 2) : sumOctets(octets, packet, size, 0);
  if (sum !== 0xffff) return dropReasonNumber.bad_ip_header;
  if (!isHostIpv4(octets, packet + IPV4_SOURCE) || !isHostIpv4(octets, packet + IPV4_DESTINATION))
    return dropReasonNumber.martian;
  // RFC 3927 7: link-local addresses stay on their link.
  if (read16(octets, packet + IPV4_SOURCE) === LINK_LOCAL4 || read16(octets, packet + IPV4_DESTINATION) === LINK_LOCAL4)
    return dropReasonNumber.martian;
  if (size !== IPV4_HEADER_SIZE_MIN && hasSourceRoute(octets, packet + IPV4_HEADER_SIZE_MIN, packet + size))
    return dropReasonNumber.source_route;
  return 0;
}

/**
 * Sum of a header of 20 octets behind an Ethernet header, from the second half of the word at this position on. Its octets are
 * in the other order (RFC 1071 2 B), which all ones don't mind.
 */
function sumOfPlainHeader(words: Int32Array, at: number): number {
  let sum = (words[at] >>> 16) + (words[at + 5] & 0xffff);
  sum += (words[at + 1] >>> 16) + (words[at + 1] & 0xffff);
  sum += (words[at + 2] >>> 16) + (words[at + 2] & 0xffff);
  sum += (words[at + 3] >>> 16) + (words[at + 3] & 0xffff);
  sum += (words[at + 4] >>> 16) + (words[at + 4] & 0xffff);
  return fold(sum);
}

/** RFC 7126 4.3, 4.4: such packets are not for anybody's good. Options that can't be walked are none a router could heed. */
function hasSourceRoute(octets: Uint8Array, from: number, end: number): boolean {
  let at = from;
  while (at < end) {
    const option = octets[at];
    if (option === OPTION_END) return false;
    if (option === OPTION_NOTHING) {
      at++;
      continue;
    }
    if (option === OPTION_LOOSE_ROUTE || option === OPTION_STRICT_ROUTE) return true;
    const size = at + 1 < end ? octets[at + 1] : 0;
    if (size < 2) return true;
    at += size;
  }
  return false;
}

function problem6(octets: Uint8Array, packet: number): number {
  if (!isHostIpv6(octets, packet + IPV6_SOURCE) || !isHostIpv6(octets, packet + IPV6_DESTINATION))
    return dropReasonNumber.martian;
  if (
    (read16(octets, packet + IPV6_SOURCE) & LINK_LOCAL6_MASK) === LINK_LOCAL6 &&
    !isLinkLocal(octets, packet + IPV6_DESTINATION)
  )
    return dropReasonNumber.martian;
  // RFC 5095: a routing header of type 0; in the usual place, or behind others, which no router looks behind.
  const first = octets[packet + IPV6_NEXT_HEADER];
  if (first === PROTOCOL_ROUTING && octets[packet + IPV6_HEADER_SIZE + 2] === 0) return dropReasonNumber.source_route;
  return 0;
}

/** Whether the IPv6 address at `position` is of one link only. */
export function isLinkLocal(octets: Uint8Array, position: number): boolean {
  return (read16(octets, position) & LINK_LOCAL6_MASK) === LINK_LOCAL6;
}

/** Whether the IPv6 address at `position` is the four words of `words` from `at`. */
export function isAddress6(octets: Uint8Array, position: number, words: Int32Array, at: number): boolean {
  for (let word = 0; word < 4; word++) if (read32(octets, position + word * 4) !== words[at + word]) return false;
  return true;
}
