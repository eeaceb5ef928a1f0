/**
 * Which flow a frame belongs to, as a number: chooses the outer source port of tunnels, so that networks between the hosts
 * spread flows over their paths and keep each in order (RFC 7348 section 5).
 *
 * Mixing and finish are murmur3's. No seed: who makes all his flows hash alike slows down only himself, and two switches
 * that send for the same station send alike. @hot
 */
import {
  ETHERNET_DESTINATION,
  ETHERNET_SOURCE,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  macHighAt,
  macLowAt,
} from './ethernet.js';
import { PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP } from './ip-protocol.js';
import {
  IPV4_DESTINATION,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  ipv4IsFragment,
  ipv4PayloadStart,
  ipv4TotalLength,
} from './ipv4.js';
import { CHAIN_WHOLE, IPV6_HEADER_SIZE, IPV6_SOURCE, Ipv6Chain } from './ipv6.js';
import { wordAt } from './octets.js';

/** Octets of source and destination port, at the front of the header of every protocol that has them. */
const PORTS_SIZE = 4;

/** One worker is one thread, and no call is nested. */
const chain = new Ipv6Chain();

/**
 * A hash of 31 bits, not negative, each as good as the others; equal for all packets of a flow in one direction: addresses,
 * protocol and ports. Fragments go by addresses and protocol alone, since later ones have no ports; so does what has none.
 * What isn't a whole IP packet goes by its MACs. `frame`, `network`: positions of the Ethernet and the IP header.
 */
export function flowHash(octets: Uint8Array, frame: number, ethertype: number, network: number, end: number): number {
  if (ethertype === ETHERTYPE_IPV4) {
    const transport = ipv4PayloadStart(octets, network, end);
    if (transport >= 0) return hashIpv4(octets, network, transport);
  } else if (ethertype === ETHERTYPE_IPV6 && chain.walk(octets, network, end) === CHAIN_WHOLE) {
    return hashIpv6(octets, network);
  }
  let hash = mixHash(0, macHighAt(octets, frame + ETHERNET_DESTINATION));
  hash = mixHash(hash, macLowAt(octets, frame + ETHERNET_DESTINATION));
  hash = mixHash(hash, macHighAt(octets, frame + ETHERNET_SOURCE));
  return finishHash(mixHash(hash, macLowAt(octets, frame + ETHERNET_SOURCE)));
}

function hashIpv4(octets: Uint8Array, network: number, transport: number): number {
  const protocol = octets[network + IPV4_PROTOCOL];
  let hash = mixHash(protocol, wordAt(octets, network + IPV4_SOURCE));
  hash = mixHash(hash, wordAt(octets, network + IPV4_DESTINATION));
  const end = network + ipv4TotalLength(octets, network);
  if (hasPorts(protocol) && transport + PORTS_SIZE <= end && !ipv4IsFragment(octets, network))
    hash = mixHash(hash, wordAt(octets, transport));
  return finishHash(hash);
}

/** Of the packet that `chain` has walked. The flow label is left out: Linux changes a connection's when its segments get lost. */
function hashIpv6(octets: Uint8Array, network: number): number {
  // The first fragment's chain may lead to another protocol than its later ones name, so these go by addresses.
  const protocol = chain.isFragment ? 0 : chain.protocol;
  let hash = protocol;
  const last = network + IPV6_HEADER_SIZE;
  for (let at = network + IPV6_SOURCE; at < last; at += 4) hash = mixHash(hash, wordAt(octets, at));
  if (hasPorts(protocol) && chain.position + PORTS_SIZE <= chain.end)
    hash = mixHash(hash, wordAt(octets, chain.position));
  return finishHash(hash);
}

export function hasPorts(protocol: number): boolean {
  return protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_SCTP;
}

/** Words of a packet as little-endian memory has them, so that they need not be turned round (inner-packet.ts). */
export function mixHash(hash: number, word: number): number {
  const scaled = Math.imul(word, 0xcc9e2d51);
  const mixed = hash ^ Math.imul((scaled << 15) | (scaled >>> 17), 0x1b873593);
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0;
}

export function finishHash(hash: number): number {
  const first = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  const second = Math.imul(first ^ (first >>> 13), 0xc2b2ae35);
  return (second ^ (second >>> 16)) & 0x7fff_ffff;
}
