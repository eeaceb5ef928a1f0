/**
 * Finds the underlay's own datagrams among the frames that are about to enter a tunnel. They are there when the route to a
 * remote leads through a network of this switch: each would be wrapped again and again. Guests that run tunnels of their
 * own are left alone: their datagrams have other addresses. @hot
 */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.js';
import { PROTOCOL_GRE, PROTOCOL_UDP } from './ip-protocol.js';
import {
  IPV4_DESTINATION,
  IPV4_FRAGMENT,
  IPV4_FRAGMENT_OFFSET_MASK,
  IPV4_HEADER_SIZE_MIN,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  ipv4HeaderSize,
} from './ipv4.js';
import { CHAIN_TOO_LONG, CHAIN_WHOLE, IPV6_DESTINATION, IPV6_SOURCE, Ipv6Chain, MAPPED_WORD } from './ipv6.js';
import { read16, wordAt } from './octets.js';
import { UDP_DESTINATION_PORT, UDP_HEADER_SIZE } from './udp.js';

/** One worker is one thread, and no call is nested. */
const chain = new Ipv6Chain();

/** What a packet that is no tunnel's has instead of a port, and one whose headers are too many to tell. */
export const NO_TUNNEL = -1;
export const UNKNOWN_TUNNEL = -2;

/**
 * The UDP port that the packet at `network` is sent to, 0 for GRE: what says whose tunnel's it may be. UNKNOWN_TUNNEL for an
 * IPv6 packet with more extension headers than are looked at: it may be anybody's.
 */
export function tunnelPortOf(octets: Uint8Array, ethertype: number, network: number, end: number): number {
  if (ethertype === ETHERTYPE_IPV4) {
    if (network + IPV4_HEADER_SIZE_MIN > end || octets[network] >>> 4 !== 4) return NO_TUNNEL;
    const protocol = octets[network + IPV4_PROTOCOL];
    if (protocol === PROTOCOL_GRE) return 0;
    if (protocol !== PROTOCOL_UDP) return NO_TUNNEL;
    const isLaterFragment = (read16(octets, network + IPV4_FRAGMENT) & IPV4_FRAGMENT_OFFSET_MASK) !== 0;
    return udpPortOf(octets, network + ipv4HeaderSize(octets, network), end, isLaterFragment);
  }
  if (ethertype !== ETHERTYPE_IPV6) return NO_TUNNEL;
  const found = chain.walk(octets, network, end);
  if (found !== CHAIN_WHOLE) return found === CHAIN_TOO_LONG ? UNKNOWN_TUNNEL : NO_TUNNEL;
  if (chain.protocol === PROTOCOL_GRE) return 0;
  if (chain.protocol !== PROTOCOL_UDP) return NO_TUNNEL;
  return udpPortOf(octets, chain.position, chain.end, chain.isLaterFragment);
}

/** Fragment offset, of the word that begins with the fragment field. */
const OFFSET_BITS = 0xff1f;
/** Ethertype, version and header size of an IPv4 packet without options, as little-endian memory has them. */
const PLAIN_IPV4 = 0x45_0008;

/**
 * As tunnelPortOf, of the packet behind an Ethernet header that ends at `network`; sooner where that is untagged and begins at
 * a multiple of four, and the packet is IPv4's without options: by words (19 ns by octets, this 6). `words` is the memory
 * of `octets`.
 */
export function tunnelPortBehind(
  octets: Uint8Array,
  words: Int32Array,
  ethertype: number,
  network: number,
  end: number,
): number {
  const at = network >> 2;
  if ((network & 3) !== 2 || network + IPV4_HEADER_SIZE_MIN + UDP_HEADER_SIZE > end)
    return tunnelPortOf(octets, ethertype, network, end);
  if ((words[at] & 0xff_ffff) !== PLAIN_IPV4) return tunnelPortOf(octets, ethertype, network, end);
  const protocol = words[at + 2] >>> 24;
  if (protocol === PROTOCOL_GRE) return 0;
  if (protocol !== PROTOCOL_UDP || (words[at + 2] & OFFSET_BITS) !== 0) return NO_TUNNEL;
  const port = words[at + 6] & 0xffff;
  return ((port & 0xff) << 8) | (port >>> 8) || NO_TUNNEL;
}

/** A later fragment has no port to tell it by; without its first one, which has, it comes to nothing. */
function udpPortOf(octets: Uint8Array, position: number, end: number, isLaterFragment: boolean): number {
  if (isLaterFragment || position + UDP_HEADER_SIZE > end) return NO_TUNNEL;
  return read16(octets, position + UDP_DESTINATION_PORT) || NO_TUNNEL;
}

/** Whether the packet at `network`, which `tunnelPortOf` has read, is from the address of four words at `localAt`. */
export function isFrom(
  octets: Uint8Array,
  ethertype: number,
  network: number,
  local: Int32Array,
  localAt: number,
): boolean {
  if (ethertype !== ETHERTYPE_IPV4) return isAddress(octets, network + IPV6_SOURCE, local, localAt);
  return isMappedAddress(octets, network + IPV4_SOURCE, local, localAt);
}

/** As isFrom, whether it is to the address. */
export function isTo(
  octets: Uint8Array,
  ethertype: number,
  network: number,
  local: Int32Array,
  localAt: number,
): boolean {
  if (ethertype !== ETHERTYPE_IPV4) return isAddress(octets, network + IPV6_DESTINATION, local, localAt);
  return isMappedAddress(octets, network + IPV4_DESTINATION, local, localAt);
}

function isMappedAddress(octets: Uint8Array, position: number, local: Int32Array, localAt: number): boolean {
  return (
    wordAt(octets, position) === local[localAt + 3] &&
    local[localAt + 2] === MAPPED_WORD &&
    local[localAt + 1] === 0 &&
    local[localAt] === 0
  );
}

function isAddress(octets: Uint8Array, position: number, local: Int32Array, localAt: number): boolean {
  return (
    wordAt(octets, position + 12) === local[localAt + 3] &&
    wordAt(octets, position + 8) === local[localAt + 2] &&
    wordAt(octets, position + 4) === local[localAt + 1] &&
    wordAt(octets, position) === local[localAt]
  );
}
