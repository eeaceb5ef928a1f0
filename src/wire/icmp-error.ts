/**
 * Tells the sender of a packet why it went no further: ICMP errors (RFC 792, RFC 1812 4.3) and ICMPv6 errors (RFC 4443),
 * each with as much of the packet as fits. One worker is one thread: the error is described in one object and written at
 * once. @hot
 *
 * No error is made where none may be (RFC 1122 3.2.2, RFC 4443 2.4 e): about errors, about later fragments, to or for an
 * address that isn't one host's, about frames to a group. A caller that answers for a router says which address it is sent
 * from; without one, the error bears the packet's own destination, as a bridge has none.
 *
 * What an attacker can do: be answered with less than he sent. He may forge whom the answer goes to; how often anybody is
 * answered is the caller's matter.
 */
import type { Kernels } from '../kernels/kernels.js';
import { fold, ipv4HeaderChecksum, pseudoHeaderSum6 } from './checksum.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.js';
import {
  ICMP_CHECKSUM,
  ICMP_HEADER_SIZE,
  ICMP_PARAMETER_PROBLEM,
  ICMP_REDIRECT,
  ICMP_SOURCE_QUENCH,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMPV6_INFORMATIONAL,
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
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  Ipv6Chain,
  isHostIpv6,
} from './ipv6.js';
import { isBetweenStations, writeLinkAnswer } from './link-answer.js';
import { write16, write32 } from './octets.js';

/** The longest answers, in octets of IP packet: RFC 1812 4.3.2.3, RFC 4443 2.4 c. */
const ANSWER4_SIZE_MAX = 576;
const ANSWER6_SIZE_MAX = 1280;
/** Of the word behind type, code and checksum: an MTU, or unused. */
const ICMP_WORD = 4;
const ANSWER_TTL = 64;
/** Precedence "internetwork control", as errors have it (RFC 1812 4.3.2.5). */
const ANSWER_TOS = 0xc0;

/** One worker is one thread, and no call is nested. */
const chain = new Ipv6Chain();

/** What is to be told; filled in before each `writeIcmpError`. */
export const icmpError = {
  type4: 0,
  code4: 0,
  type6: 0,
  code6: 0,
  /** The word behind the checksum. */
  word: 0,
  /** Four words in network order (IPv4: the last of them) of the address it is sent from, from `sourceAt`; -1: the packet's destination. */
  source: new Int32Array(4) as Int32Array,
  sourceAt: -1,
};

/**
 * Writes at `to` the whole frame that tells the sender of the frame from `frame` to `end`, whose packet lies at `network`. The
 * sender's tags, if there are any in front of `network`, are the answer's. Returns its octets; 0, and nothing is written, where
 * no answer may be given.
 */
export function writeIcmpError(
  octets: Uint8Array,
  frame: number,
  ethertype: number,
  network: number,
  end: number,
  to: number,
  kernels: Kernels,
): number {
  if (!isBetweenStations(octets, frame)) return 0;
  const linkSize = network - frame;
  let size = 0;
  if (ethertype === ETHERTYPE_IPV4) size = writeError4(octets, network, end, to + linkSize, kernels);
  else if (ethertype === ETHERTYPE_IPV6) size = writeError6(octets, network, end, to + linkSize, kernels);
  if (size === 0) return 0;
  writeLinkAnswer(frame, to, linkSize, kernels);
  return linkSize + size;
}

/** Returns the octets of the packet written at `to`. */
function writeError4(octets: Uint8Array, network: number, end: number, to: number, kernels: Kernels): number {
  if (!mayAnswer4(octets, network, end)) return 0;
  const { type4, code4, word, source, sourceAt } = icmpError;
  const message = to + IPV4_HEADER_SIZE_MIN;
  const quoted = Math.min(ipv4TotalLength(octets, network), ANSWER4_SIZE_MAX - IPV4_HEADER_SIZE_MIN - ICMP_HEADER_SIZE);
  const size = IPV4_HEADER_SIZE_MIN + ICMP_HEADER_SIZE + quoted;
  octets[to] = 0x45;
  octets[to + 1] = ANSWER_TOS;
  write16(octets, to + 2, size);
  write32(octets, to + 4, IPV4_DONT_FRAGMENT);
  octets[to + IPV4_TTL] = ANSWER_TTL;
  octets[to + IPV4_PROTOCOL] = PROTOCOL_ICMP;
  if (sourceAt < 0) kernels.copy(network + IPV4_DESTINATION, to + IPV4_SOURCE, 4);
  else write32(octets, to + IPV4_SOURCE, source[sourceAt + 3]);
  kernels.copy(network + IPV4_SOURCE, to + IPV4_DESTINATION, 4);
  write16(octets, to + IPV4_CHECKSUM, ipv4HeaderChecksum(octets, to, IPV4_HEADER_SIZE_MIN));

  const head = (type4 << 8) | code4;
  write32(octets, message, head << 16);
  write32(octets, message + ICMP_WORD, word);
  const sum = kernels.copyAndChecksum(network, message + ICMP_HEADER_SIZE, quoted, fold(head + fold(word)));
  write16(octets, message + ICMP_CHECKSUM, ~sum & 0xffff);
  return size;
}

/** Returns the octets of the packet written at `to`. */
function writeError6(octets: Uint8Array, network: number, end: number, to: number, kernels: Kernels): number {
  if (!mayAnswer6(octets, network, end)) return 0;
  const { type6, code6, word, source, sourceAt } = icmpError;
  const message = to + IPV6_HEADER_SIZE;
  const quoted = Math.min(chain.end - network, ANSWER6_SIZE_MAX - IPV6_HEADER_SIZE - ICMP_HEADER_SIZE);
  write32(octets, to, 0x6000_0000);
  write16(octets, to + IPV6_PAYLOAD_LENGTH, ICMP_HEADER_SIZE + quoted);
  octets[to + IPV6_NEXT_HEADER] = PROTOCOL_ICMPV6;
  octets[to + IPV6_HOP_LIMIT] = ANSWER_TTL;
  if (sourceAt < 0) kernels.copy(network + IPV6_DESTINATION, to + IPV6_SOURCE, 16);
  else for (let part = 0; part < 4; part++) write32(octets, to + IPV6_SOURCE + part * 4, source[sourceAt + part]);
  kernels.copy(network + IPV6_SOURCE, to + IPV6_DESTINATION, 16);

  const head = (type6 << 8) | code6;
  write32(octets, message, head << 16);
  write32(octets, message + ICMP_WORD, word);
  const pseudo = pseudoHeaderSum6(octets, to, PROTOCOL_ICMPV6, ICMP_HEADER_SIZE + quoted);
  const sum = kernels.copyAndChecksum(network, message + ICMP_HEADER_SIZE, quoted, fold(pseudo + head + fold(word)));
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

/** Whether an ICMP type is an error's. */
export function isIcmpError(type: number): boolean {
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
