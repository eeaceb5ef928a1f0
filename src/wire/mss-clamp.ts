/**
 * Lowers the maximum segment size that a SYN offers (RFC 9293 3.2, 3.7.1) to what a path with a smaller MTU than its sender
 * knows of carries, as routers in front of tunnels do. What offers less, or nothing (then 536 or 1220 is sent), is left
 * alone; so is what can't be read. The walk over options is bounded by the header's 40 octets. @hot
 */
import { fold } from './checksum.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.js';
import { PROTOCOL_TCP } from './ip-protocol.js';
import {
  IPV4_FRAGMENT,
  IPV4_FRAGMENT_OFFSET_MASK,
  IPV4_HEADER_SIZE_MIN,
  IPV4_PROTOCOL,
  ipv4PayloadStart,
} from './ipv4.js';
import { CHAIN_WHOLE, IPV6_HEADER_SIZE, Ipv6Chain } from './ipv6.js';
import { read16, swap16, write16 } from './octets.js';
import { TCP_CHECKSUM, TCP_FLAGS, TCP_HEADER_SIZE_MIN, TCP_SYN, tcpPayloadStart } from './tcp.js';

const OPTION_END = 0;
const OPTION_NONE = 1;
const OPTION_MSS = 2;
const OPTION_MSS_SIZE = 4;

/** One worker is one thread, and no call is nested. */
const chain = new Ipv6Chain();

/**
 * Clamps the packet at `network` of a frame that ends at `end` to an MTU. `isPartial`: its checksum field has the
 * pseudo-header's sum only, in which options have no part.
 */
export function clampMss(
  octets: Uint8Array,
  ethertype: number,
  network: number,
  end: number,
  mtu: number,
  isPartial: boolean,
): void {
  const transport = tcpStart(octets, ethertype, network, end);
  if (transport < 0 || transport + TCP_HEADER_SIZE_MIN > end || (octets[transport + TCP_FLAGS] & TCP_SYN) === 0) return;
  const optionsEnd = tcpPayloadStart(octets, transport, end);
  if (optionsEnd < 0) return;
  const at = mssPosition(octets, transport + TCP_HEADER_SIZE_MIN, optionsEnd);
  if (at < 0) return;
  const most = mtu - TCP_HEADER_SIZE_MIN - (ethertype === ETHERTYPE_IPV4 ? IPV4_HEADER_SIZE_MIN : IPV6_HEADER_SIZE);
  const old = read16(octets, at);
  if (most <= 0 || old <= most) return;
  write16(octets, at, most);
  if (isPartial) return;
  // RFC 1624 section 3. Behind an odd number of octets the field lies across two words of the sum.
  const isOdd = ((at - transport) & 1) !== 0;
  const sum = (~read16(octets, transport + TCP_CHECKSUM) & 0xffff) + (~(isOdd ? swap16(old) : old) & 0xffff);
  write16(octets, transport + TCP_CHECKSUM, ~fold(sum + (isOdd ? swap16(most) : most)) & 0xffff);
}

/** Position of the TCP header; -1: there is none. */
function tcpStart(octets: Uint8Array, ethertype: number, network: number, end: number): number {
  if (ethertype === ETHERTYPE_IPV4) {
    const start = ipv4PayloadStart(octets, network, end);
    if (start < 0 || octets[network + IPV4_PROTOCOL] !== PROTOCOL_TCP) return -1;
    return (read16(octets, network + IPV4_FRAGMENT) & IPV4_FRAGMENT_OFFSET_MASK) === 0 ? start : -1;
  }
  if (ethertype !== ETHERTYPE_IPV6 || chain.walk(octets, network, end) !== CHAIN_WHOLE) return -1;
  return chain.protocol === PROTOCOL_TCP && !chain.isLaterFragment ? chain.position : -1;
}

/** Position of the option's value; -1: it has none that is whole. */
function mssPosition(octets: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end && octets[at] !== OPTION_END; ) {
    if (octets[at] === OPTION_NONE) {
      at++;
      continue;
    }
    const size = at + 1 < end ? octets[at + 1] : 0;
    if (size < 2 || at + size > end) return -1;
    if (octets[at] === OPTION_MSS) return size === OPTION_MSS_SIZE ? at + 2 : -1;
    at += size;
  }
  return -1;
}
