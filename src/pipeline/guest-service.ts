/**
 * Which frames ask a service that the switch itself runs for the machines of a network: names (DNS) at port 53, instance
 * metadata at port 80, at the addresses that the snapshot lists (`guestServices`, a table of own-addresses.ts). @hot
 *
 * Asked is whoever has the address, whatever MAC the frame was sent to: a machine reaches 169.254.169.254 by ARP, by a host
 * route or by its default gateway. What came by an uplink or a tunnel was asked elsewhere: each host serves its own machines,
 * whom it knows by their ports.
 *
 * Such frames belong to no connection of the network (stages/connections.ts): the switch is their other end and knows its
 * connections itself. Rules of security groups judge each of them by itself, in the machine's egress direction; nothing is
 * always allowed here, as in Neutron, whose default group lets everything out.
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import { ETHERNET_HEADER_SIZE, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import {
  IPV4_DESTINATION,
  IPV4_PROTOCOL,
  ipv4HeaderSize,
  ipv4IsFragment,
  ipv4PayloadStart,
  ipv4TotalLength,
} from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HEADER_SIZE, IPV6_NEXT_HEADER, IPV6_PAYLOAD_LENGTH } from '../wire/ipv6.js';
import { read16 } from '../wire/octets.js';
import { TCP_ACK, TCP_FIN, TCP_FLAGS, TCP_RST, TCP_SYN, tcpPayloadStart } from '../wire/tcp.js';
import { isUdpHeader } from '../wire/udp.js';
import { findOwnAddress4, findOwnAddress6, ownFlags } from './own-addresses.js';
import { facesStations, NETWORK_GUEST_SERVICES, type Snapshot } from './snapshot.js';

/** Bits of a row's flags: what is served at the address. */
export const SERVICE_NAMES = 1 << 8;
export const SERVICE_METADATA = 1 << 9;

export const DNS_PORT = 53;
export const METADATA_PORT = 80;
/** Octets from a TCP or UDP header to its destination port. */
const DESTINATION_PORT = 2;

/** Whether a frame that asks a service asks for a TCP connection to it. */
export function isOpening(pool: FramePool, slot: number): boolean {
  const { octets } = pool;
  const ip = pool.networkHeader[slot];
  const isIpv4 = pool.ethertype[slot] === ETHERTYPE_IPV4;
  if (octets[ip + (isIpv4 ? IPV4_PROTOCOL : IPV6_NEXT_HEADER)] !== PROTOCOL_TCP) return false;
  const flags = octets[ip + (isIpv4 ? ipv4HeaderSize(octets, ip) : IPV6_HEADER_SIZE) + TCP_FLAGS];
  return (flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) === TCP_SYN;
}

/** SERVICE_... bit of the service that the frame asks, 0: none. */
export function guestServiceOf(pool: FramePool, snapshot: Snapshot, slot: number): number {
  if ((snapshot.networkFlags[pool.network[slot]] & NETWORK_GUEST_SERVICES) === 0) return 0;
  // What a router has brought is for a station of the network that it is in now.
  if (pool.ingressMember[slot] < 0 || pool.networkHeader[slot] - pool.offset[slot] !== ETHERNET_HEADER_SIZE) return 0;
  const type = pool.ethertype[slot];
  if (type === ETHERTYPE_IPV4) return serviceOf4(pool, snapshot, slot);
  return type === ETHERTYPE_IPV6 ? serviceOf6(pool, snapshot, slot) : 0;
}

function serviceOf4(pool: FramePool, snapshot: Snapshot, slot: number): number {
  const { octets } = pool;
  const ip = pool.networkHeader[slot];
  const start = ipv4PayloadStart(octets, ip, pool.offset[slot] + pool.length[slot]);
  if (start < 0 || ipv4IsFragment(octets, ip)) return 0;
  const asked = serviceAsked(octets, octets[ip + IPV4_PROTOCOL], start, ip + ipv4TotalLength(octets, ip));
  if (asked === 0 || !facesStations(snapshot, pool.ingressPort[slot])) return 0;
  const { guestServices } = snapshot;
  return (
    asked & flagsOf(guestServices, findOwnAddress4(guestServices, pool.network[slot], octets, ip + IPV4_DESTINATION))
  );
}

/** Behind extension headers nobody asks. */
function serviceOf6(pool: FramePool, snapshot: Snapshot, slot: number): number {
  const { octets } = pool;
  const ip = pool.networkHeader[slot];
  const start = ip + IPV6_HEADER_SIZE;
  const end = pool.offset[slot] + pool.length[slot];
  if (start > end || octets[ip] >>> 4 !== 6) return 0;
  const packetEnd = start + read16(octets, ip + IPV6_PAYLOAD_LENGTH);
  if (packetEnd > end) return 0;
  const asked = serviceAsked(octets, octets[ip + IPV6_NEXT_HEADER], start, packetEnd);
  if (asked === 0 || !facesStations(snapshot, pool.ingressPort[slot])) return 0;
  const { guestServices } = snapshot;
  return (
    asked & flagsOf(guestServices, findOwnAddress6(guestServices, pool.network[slot], octets, ip + IPV6_DESTINATION))
  );
}

/** The service of the segment's or datagram's destination port, whose header is whole. */
function serviceAsked(octets: Uint8Array, protocol: number, start: number, end: number): number {
  if (protocol === PROTOCOL_UDP) {
    if (!isUdpHeader(octets, start, end)) return 0;
    return read16(octets, start + DESTINATION_PORT) === DNS_PORT ? SERVICE_NAMES : 0;
  }
  if (protocol !== PROTOCOL_TCP || tcpPayloadStart(octets, start, end) < 0) return 0;
  const port = read16(octets, start + DESTINATION_PORT);
  if (port === DNS_PORT) return SERVICE_NAMES;
  return port === METADATA_PORT ? SERVICE_METADATA : 0;
}

function flagsOf(table: Int32Array, row: number): number {
  return row < 0 ? 0 : ownFlags(table, row);
}
