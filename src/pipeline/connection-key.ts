/**
 * The connection table's key of a packet, and of the packet that an ICMP error is about. Every length is proved before it is
 * read: of the packet itself by dissect, of the packet inside an error here. @hot
 *
 * Both directions give the same words, because the lower endpoint comes first. Which endpoint the packet came from is the
 * result. ICMP queries know who asks by their type, so the two ends of a crossing pair of pings are told apart.
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import { IPV6_EXTENSION_HEADERS_MAX } from '../limits.js';
import {
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_HEADER_SIZE,
  ICMP_ID,
  ICMP_PARAMETER_PROBLEM,
  ICMP_REDIRECT,
  ICMP_SOURCE_QUENCH,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
  ICMPV6_INFORMATIONAL,
} from '../wire/icmp.js';
import {
  PROTOCOL_DESTINATION_OPTIONS,
  PROTOCOL_FRAGMENT,
  PROTOCOL_GRE,
  PROTOCOL_HOP_BY_HOP,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_IGMP,
  PROTOCOL_ROUTING,
} from '../wire/ip-protocol.js';
import {
  IPV4_DESTINATION,
  IPV4_FRAGMENT,
  IPV4_FRAGMENT_OFFSET_MASK,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
} from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HEADER_SIZE, IPV6_NEXT_HEADER, IPV6_SOURCE } from '../wire/ipv6.js';
import { read16, read32 } from '../wire/octets.js';
import { greKey, greKeyEnd, hasIdentifier, hasPorts, PACKET_IPV6 } from '../wire/packet.js';
import {
  CONNECTION_KEY_WORDS,
  KEY_HIGHER,
  KEY_LOWER,
  KEY_PORTS,
  KEY_ZONE,
  KIND_IPV6,
  KIND_LOWER_ASKS,
  KIND_QUERY_MASK,
  KIND_QUERY_SHIFT,
  QUERY_ADDRESS_MASK,
  QUERY_ECHO,
  QUERY_INFORMATION,
  QUERY_NODE_INFORMATION,
  QUERY_TIMESTAMP,
} from './connection-entry.js';

/** Results of `keyOfPacket` below 0: the packet has no key. It is none of a connection's (ND, MLD, IGMP). */
export const KEY_NONE = -1;
/** Nothing that can begin or belong to a connection (an ICMP message of no known kind). */
export const KEY_INVALID = -2;
/** An ICMP error: `keyOfError` gives the key of what it is about. */
export const KEY_ERROR = -3;

/** Bits of the other results. */
export const FROM_LOWER = 1 << 0;
/** An answer to a query: it never begins a connection. */
export const IS_ANSWER = 1 << 1;

/** Third word of an address of IPv4. */
export const MAPPED = 0xffff;

/** By type of ICMP: query << 1 | whether it is the answer; 0: no query. */
const queries4 = queryTable([
  [ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY, QUERY_ECHO],
  [13, 14, QUERY_TIMESTAMP],
  [15, 16, QUERY_INFORMATION],
  [17, 18, QUERY_ADDRESS_MASK],
]);
const queries6 = queryTable([
  [ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY, QUERY_ECHO],
  [139, 140, QUERY_NODE_INFORMATION],
]);

function queryTable(rows: readonly (readonly [request: number, reply: number, query: number])[]): Uint8Array {
  const table = new Uint8Array(256);
  for (const [request, reply, query] of rows) {
    table[request] = query << 1;
    table[reply] = (query << 1) | 1;
  }
  return table;
}

/** Neighbour discovery, multicast listeners and their like: what a link needs to work at all. */
function isLinkMessage6(type: number): boolean {
  return (type >= 130 && type <= 137) || (type >= 141 && type <= 143) || (type >= 148 && type <= 153);
}

function isError4(type: number): boolean {
  return (
    type === ICMP_UNREACHABLE ||
    type === ICMP_SOURCE_QUENCH ||
    type === ICMP_REDIRECT ||
    type === ICMP_TIME_EXCEEDED ||
    type === ICMP_PARAMETER_PROBLEM
  );
}

/** Writes the key of the slot's packet, which dissect found sound, at `key[at..]`. Returns bits, or a number below 0. */
export function keyOfPacket(key: Int32Array, at: number, pool: FramePool, slot: number, zone: number): number {
  const packet = pool.networkHeader[slot];
  const protocol = pool.protocol[slot];
  const ports = pool.ports[slot];
  const isIpv6 = pool.packetKind[slot] === PACKET_IPV6;
  if (protocol !== PROTOCOL_ICMP && protocol !== PROTOCOL_ICMPV6) {
    if (protocol === PROTOCOL_IGMP) return KEY_NONE;
    return endpoints(key, at, pool.view, packet, isIpv6, ports, (zone << 16) | (protocol << 8), protocol);
  }
  const type = ports >>> 24;
  const query = (isIpv6 ? queries6 : queries4)[type];
  if (query === 0) return kindOfMessage(type, isIpv6);
  return queryEndpoints(key, at, pool.view, packet, isIpv6, ports, zone, protocol, query);
}

/** Of an ICMP message that is no query: KEY_ERROR, KEY_NONE or KEY_INVALID. */
export function kindOfMessage(type: number, isIpv6: boolean): number {
  if (!isIpv6) return isError4(type) ? KEY_ERROR : KEY_INVALID;
  if (type < ICMPV6_INFORMATIONAL) return KEY_ERROR;
  return isLinkMessage6(type) ? KEY_NONE : KEY_INVALID;
}

function queryEndpoints(
  key: Int32Array,
  at: number,
  view: DataView,
  packet: number,
  isIpv6: boolean,
  ports: number,
  zone: number,
  protocol: number,
  query: number,
): number {
  const identifier = ports & 0xffff;
  const last = (zone << 16) | (protocol << 8) | ((query >> 1) << KIND_QUERY_SHIFT);
  const from = endpoints(key, at, view, packet, isIpv6, identifier | (identifier << 16), last, protocol);
  const isAnswer = (query & 1) !== 0;
  if ((from === FROM_LOWER) !== isAnswer) key[at + KEY_ZONE] |= KIND_LOWER_ASKS;
  return isAnswer ? from | IS_ANSWER : from;
}

/** Writes addresses and ports in order, and `last` with the family's bit. Returns FROM_LOWER or 0. */
function endpoints(
  key: Int32Array,
  at: number,
  view: DataView,
  packet: number,
  isIpv6: boolean,
  ports: number,
  last: number,
  protocol: number,
): number {
  // GRE's key is the same in both directions; what else has no ports has 0.
  const mirrored = protocol === PROTOCOL_GRE ? ports : (ports << 16) | (ports >>> 16);
  const isPortsLower = ports >>> 16 <= (ports & 0xffff);
  key[at + KEY_ZONE] = isIpv6 ? last | KIND_IPV6 : last;
  const isLower = isIpv6
    ? orderIpv6(key, at, view, packet, isPortsLower)
    : orderIpv4(key, at, view, packet, isPortsLower);
  key[at + KEY_PORTS] = isLower ? ports : mirrored;
  return isLower ? FROM_LOWER : 0;
}

/** Writes the addresses; whether the source is the lower endpoint. */
function orderIpv6(key: Int32Array, at: number, view: DataView, packet: number, isPortsLower: boolean): boolean {
  const isLower = isSourceLower6(view, packet, isPortsLower);
  const lower = packet + (isLower ? IPV6_SOURCE : IPV6_DESTINATION);
  const higher = packet + (isLower ? IPV6_DESTINATION : IPV6_SOURCE);
  for (let word = 0; word < 4; word++) {
    key[at + KEY_LOWER + word] = view.getInt32(lower + word * 4);
    key[at + KEY_HIGHER + word] = view.getInt32(higher + word * 4);
  }
  return isLower;
}

function orderIpv4(key: Int32Array, at: number, view: DataView, packet: number, isPortsLower: boolean): boolean {
  const source = view.getInt32(packet + IPV4_SOURCE);
  const destination = view.getInt32(packet + IPV4_DESTINATION);
  const isLower = source < destination || (source === destination && isPortsLower);
  key[at] = 0;
  key[at + 1] = 0;
  key[at + 2] = MAPPED;
  key[at + 3] = isLower ? source : destination;
  key[at + KEY_HIGHER] = 0;
  key[at + KEY_HIGHER + 1] = 0;
  key[at + KEY_HIGHER + 2] = MAPPED;
  key[at + KEY_HIGHER + 3] = isLower ? destination : source;
  return isLower;
}

/**
 * Writes the key that a packet with these addresses, in network order, would have. `ports`: source << 16 | destination (ICMP:
 * the identifier twice). `last` is the key's last word without the bits that depend on the order: of ICMP queries they say that
 * the receiver asks. Returns FROM_LOWER or 0.
 */
export function keyOfTuple(
  key: Int32Array,
  source: Int32Array,
  destination: Int32Array,
  ports: number,
  last: number,
): number {
  const isLower = isTupleLower(source, destination, ports >>> 16 <= (ports & 0xffff));
  const isQuery = (last & KIND_QUERY_MASK) !== 0;
  const lower = isLower ? source : destination;
  const higher = isLower ? destination : source;
  for (let word = 0; word < 4; word++) {
    key[KEY_LOWER + word] = lower[word];
    key[KEY_HIGHER + word] = higher[word];
  }
  key[KEY_PORTS] = isLower || ((last >>> 8) & 0xff) === PROTOCOL_GRE ? ports : (ports << 16) | (ports >>> 16);
  key[KEY_ZONE] = isQuery && !isLower ? last | KIND_LOWER_ASKS : last & ~KIND_LOWER_ASKS;
  return isLower ? FROM_LOWER : 0;
}

function isTupleLower(source: Int32Array, destination: Int32Array, whenEqual: boolean): boolean {
  for (let word = 0; word < 4; word++) if (source[word] !== destination[word]) return source[word] < destination[word];
  return whenEqual;
}

/** Any total order will do: that of signed words. */
function isSourceLower6(view: DataView, packet: number, whenEqual: boolean): boolean {
  for (let word = 0; word < 16; word += 4) {
    const source = view.getInt32(packet + IPV6_SOURCE + word);
    const destination = view.getInt32(packet + IPV6_DESTINATION + word);
    if (source !== destination) return source < destination;
  }
  return whenEqual;
}

/** Where the last walk over an inner IPv6 packet ended. */
let innerProtocol = 0;

/**
 * Writes the key of the packet that the slot's ICMP error quotes. Returns FROM_LOWER or 0 for the side that had sent that
 * packet, or KEY_INVALID: cut off before its ports or its tunnel's key, a later fragment, an error itself, or an error that does not go to whom
 * had sent it (RFC 5927 section 4: nobody else is to be told).
 */
export function keyOfError(key: Int32Array, at: number, pool: FramePool, slot: number, zone: number): number {
  const { octets, view } = pool;
  const outer = pool.networkHeader[slot];
  const inner = pool.transport[slot] + ICMP_HEADER_SIZE;
  const end = pool.packetEnd[slot];
  const isIpv6 = pool.packetKind[slot] === PACKET_IPV6;
  const upper = quotedUpper(octets, inner, end, isIpv6);
  if (upper < 0 || !goesToSender(octets, outer, inner, isIpv6)) return KEY_INVALID;
  const protocol = innerProtocol;
  const last = (zone << 16) | (protocol << 8);
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    if (upper + ICMP_HEADER_SIZE > end || (protocol === PROTOCOL_ICMPV6) !== isIpv6) return KEY_INVALID;
    const query = (isIpv6 ? queries6 : queries4)[octets[upper]];
    if (query === 0) return KEY_INVALID;
    const identifier = hasIdentifier(octets[upper], !isIpv6) ? read16(octets, upper + ICMP_ID) : 0;
    return queryEndpoints(key, at, view, inner, isIpv6, identifier, zone, protocol, query) & FROM_LOWER;
  }
  if (protocol === PROTOCOL_GRE) {
    if (upper + 4 > end || upper + greKeyEnd(octets, upper) > end) return KEY_INVALID;
    return endpoints(key, at, view, inner, isIpv6, greKey(octets, upper, end), last, protocol);
  }
  if (!hasPorts(protocol)) return endpoints(key, at, view, inner, isIpv6, 0, last, protocol);
  if (upper + 4 > end) return KEY_INVALID;
  return endpoints(key, at, view, inner, isIpv6, view.getInt32(upper), last, protocol);
}

function goesToSender(octets: Uint8Array, outer: number, inner: number, isIpv6: boolean): boolean {
  if (!isIpv6) return read32(octets, outer + IPV4_DESTINATION) === read32(octets, inner + IPV4_SOURCE);
  for (let word = 0; word < 16; word += 4) {
    if (read32(octets, outer + IPV6_DESTINATION + word) !== read32(octets, inner + IPV6_SOURCE + word)) return false;
  }
  return true;
}

/** Position of the upper layer of the packet at `inner` that an ICMP error quotes up to `end`; -1: there is none. */
export function quotedUpper(octets: Uint8Array, inner: number, end: number, isIpv6: boolean): number {
  return isIpv6 ? innerUpper6(octets, inner, end) : innerUpper4(octets, inner, end);
}

/** Position of the quoted packet's upper layer; -1: there is none. Its total length is that of the whole packet: not asked. */
function innerUpper4(octets: Uint8Array, inner: number, end: number): number {
  if (inner + 20 > end || octets[inner] >>> 4 !== 4) return -1;
  const size = (octets[inner] & 0xf) << 2;
  if (size < 20 || inner + size > end) return -1;
  if ((read16(octets, inner + IPV4_FRAGMENT) & IPV4_FRAGMENT_OFFSET_MASK) !== 0) return -1;
  innerProtocol = octets[inner + IPV4_PROTOCOL];
  return inner + size;
}

/** As Ipv6Chain, but of a packet whose end is missing. */
function innerUpper6(octets: Uint8Array, inner: number, end: number): number {
  if (inner + IPV6_HEADER_SIZE > end || octets[inner] >>> 4 !== 6) return -1;
  let protocol = octets[inner + IPV6_NEXT_HEADER];
  let position = inner + IPV6_HEADER_SIZE;
  for (let count = 0; count <= IPV6_EXTENSION_HEADERS_MAX; count++) {
    const isFragment = protocol === PROTOCOL_FRAGMENT;
    const isOther =
      protocol === PROTOCOL_HOP_BY_HOP || protocol === PROTOCOL_ROUTING || protocol === PROTOCOL_DESTINATION_OPTIONS;
    if (!isFragment && !isOther) {
      innerProtocol = protocol;
      return position <= end ? position : -1;
    }
    if (position + 8 > end) return -1;
    if (isFragment && (read16(octets, position + 2) & 0xfff8) !== 0) return -1;
    protocol = octets[position];
    position += isFragment ? 8 : (octets[position + 1] + 1) << 3;
  }
  return -1;
}

/** Protocol of the packet that `quotedUpper` looked at last. */
export function quotedProtocol(): number {
  return innerProtocol;
}

/** Whether the key's endpoints are one: such a packet has only one direction. */
export function isLoop(key: Int32Array, at: number): boolean {
  for (let word = 0; word < 4; word++) if (key[at + word] !== key[at + KEY_HIGHER + word]) return false;
  const ports = key[at + KEY_PORTS];
  return ports >>> 16 === (ports & 0xffff);
}

export { CONNECTION_KEY_WORDS };
