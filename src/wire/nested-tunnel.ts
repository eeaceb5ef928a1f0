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
import { CHAIN_WHOLE, IPV6_DESTINATION, IPV6_SOURCE, Ipv6Chain, MAPPED_WORD } from './ipv6.js';
import { read16 } from './octets.js';
import { UDP_DESTINATION_PORT, UDP_HEADER_SIZE } from './udp.js';

/** One worker is one thread, and no call is nested. */
const chain = new Ipv6Chain();

/**
 * Whether the packet at `network` is from or to the underlay's address and is what its tunnels send: UDP to `udpPort`, or
 * GRE when that is 0. `local`: four words from `localAt` on, as they lie in memory, IPv4 mapped. Protocol and port are
 * looked at first: nearly everything is told by them.
 */
export function isOwnTunnel(
  octets: Uint8Array,
  ethertype: number,
  network: number,
  end: number,
  udpPort: number,
  local: Int32Array,
  localAt: number,
): boolean {
  if (ethertype === ETHERTYPE_IPV4) {
    if (network + IPV4_HEADER_SIZE_MIN > end || octets[network] >>> 4 !== 4) return false;
    if (!isTunnelPacket4(octets, network, end, udpPort)) return false;
    return (
      local[localAt] === 0 &&
      local[localAt + 1] === 0 &&
      local[localAt + 2] === MAPPED_WORD &&
      (wordAt(octets, network + IPV4_DESTINATION) === local[localAt + 3] ||
        wordAt(octets, network + IPV4_SOURCE) === local[localAt + 3])
    );
  }
  if (ethertype !== ETHERTYPE_IPV6 || chain.walk(octets, network, end) !== CHAIN_WHOLE) return false;
  if (!isTunnelHeader(octets, chain.protocol, chain.position, chain.end, chain.isLaterFragment, udpPort)) return false;
  return (
    isAddress(octets, network + IPV6_DESTINATION, local, localAt) ||
    isAddress(octets, network + IPV6_SOURCE, local, localAt)
  );
}

function isTunnelPacket4(octets: Uint8Array, network: number, end: number, udpPort: number): boolean {
  const isLaterFragment = (read16(octets, network + IPV4_FRAGMENT) & IPV4_FRAGMENT_OFFSET_MASK) !== 0;
  const transport = network + ipv4HeaderSize(octets, network);
  return isTunnelHeader(octets, octets[network + IPV4_PROTOCOL], transport, end, isLaterFragment, udpPort);
}

/** A later fragment has no port to tell it by; without its first one, which has, it comes to nothing. */
function isTunnelHeader(
  octets: Uint8Array,
  protocol: number,
  position: number,
  end: number,
  isLaterFragment: boolean,
  udpPort: number,
): boolean {
  if (udpPort === 0) return protocol === PROTOCOL_GRE;
  if (protocol !== PROTOCOL_UDP || isLaterFragment || position + UDP_HEADER_SIZE > end) return false;
  return read16(octets, position + UDP_DESTINATION_PORT) === udpPort;
}

function isAddress(octets: Uint8Array, position: number, local: Int32Array, localAt: number): boolean {
  return (
    wordAt(octets, position + 12) === local[localAt + 3] &&
    wordAt(octets, position + 8) === local[localAt + 2] &&
    wordAt(octets, position + 4) === local[localAt + 1] &&
    wordAt(octets, position) === local[localAt]
  );
}

/** Four octets as a little-endian machine reads them as one word, wherever they lie. */
export function wordAt(octets: Uint8Array, position: number): number {
  return (octets[position + 3] << 24) | (octets[position + 2] << 16) | (octets[position + 1] << 8) | octets[position];
}
