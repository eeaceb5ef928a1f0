/**
 * Takes what stations ask the address service (DHCPv4, DHCPv6, router solicitations) in networks where it serves, and hands
 * it to the main thread, which answers (control/address-service.ts). @hot
 *
 * Taken is only what is addressed to the service: to everybody, to the group of servers or routers, or to an address of the
 * service itself, whatever MAC it was sent to. A message to another station's address goes on as any frame, through all
 * policy (OVN CVE-2025-0650 skipped it there). What a tunnel or an uplink brought was asked elsewhere: each host serves its
 * own stations. Only a relay agent's message (RFC 2131 4.1, giaddr) comes by an uplink too, and from no guarded port.
 *
 * What one port can do to others: nothing. Its messages are handed over at limits.dhcp, and are `rate_limited` beyond that. So
 * are those of many ports together that ask for more than the main thread has time for; each is left an equal part of that
 * (token-bucket.ts).
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { ADDRESS_MESSAGES_TOTAL_PER_SECOND } from '../../limits.js';
import { DHCP_SERVER_PORT, DHCP6_SERVER_PORT } from '../../wire/dhcp.js';
import { ETHERNET_HEADER_SIZE, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../../wire/ethernet.js';
import { ICMP_CODE, ICMP_TYPE, ICMPV6_ROUTER_SOLICITATION } from '../../wire/icmp.js';
import { PROTOCOL_ICMPV6, PROTOCOL_UDP } from '../../wire/ip-protocol.js';
import { IPV4_DESTINATION, IPV4_PROTOCOL, ipv4IsFragment, ipv4PayloadStart, ipv4TotalLength } from '../../wire/ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_SIZE,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
} from '../../wire/ipv6.js';
import { read16, read32 } from '../../wire/octets.js';
import { isUdpHeader, UDP_DESTINATION_PORT } from '../../wire/udp.js';
import { handOver } from '../hand-over.js';
import { CONSUMED, type Machine } from '../machine.js';
import { findOwnAddress4, findOwnAddress6 } from '../own-addresses.js';
import { PUNT_ADDRESS_SERVICE } from '../punt-ring.js';
import {
  facesStations,
  NETWORK_ADVERTISES,
  NETWORK_SERVES,
  NETWORK_SERVES_DHCP4,
  NETWORK_SERVES_DHCP6,
  PORT_GUARDED,
  PORT_UNDERLAY,
} from '../snapshot.js';
import type { Names, Stage } from '../stage.js';
import { BUCKET_DHCP, BUCKETS_PER_PORT, SHARED_DHCP } from '../token-bucket.js';

/** Octets of a DHCP message in front of giaddr, and of that. */
const DHCP_GIADDR = 24;
const UDP_SIZE = 8;

export const addressService: Stage = {
  name: 'address-service',

  run(machine: Machine, batch: Batch): void {
    const { pool, snapshot } = machine;
    if (snapshot.servingNetworks === 0) return;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      const serves = snapshot.networkFlags[pool.network[slot]] & NETWORK_SERVES;
      if (serves === 0 || pool.networkHeader[slot] - pool.offset[slot] !== ETHERNET_HEADER_SIZE) continue;
      const type = pool.ethertype[slot];
      const isAsked =
        type === ETHERTYPE_IPV4
          ? (serves & NETWORK_SERVES_DHCP4) !== 0 && isDhcp(machine, slot)
          : type === ETHERTYPE_IPV6 && isForIpv6(machine, slot, serves);
      if (isAsked) pool.reason[slot] = take(machine, slot);
    }
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const { pool, snapshot } = machine;
    const network = pool.network[slot];
    if ((snapshot.networkFlags[network] & NETWORK_SERVES) === 0)
      return `${names.network(network)} has no address service`;
    return pool.reason[slot] === CONSUMED ? 'goes to the address service' : 'nothing the address service is asked';
  },
};

/** Returns CONSUMED or the drop reason's number. */
function take(machine: Machine, slot: number): number {
  const { pool, snapshot } = machine;
  const port = pool.ingressPort[slot];
  const rate = snapshot.dhcpRate;
  // What the configuration lets one port have, it has while others don't ask.
  const total = Math.max(ADDRESS_MESSAGES_TOTAL_PER_SECOND, 2 * rate);
  const isWithin =
    machine.storm.take(port * BUCKETS_PER_PORT + BUCKET_DHCP, rate, machine.nowTick) &&
    machine.storm.takeShared(SHARED_DHCP, port, total, machine.nowTick);
  if (!isWithin) return dropReasonNumber.rate_limited;
  return handOver(machine, slot, PUNT_ADDRESS_SERVICE, 0);
}

/** A whole DHCP message to everybody or to an address of ours. */
function isDhcp(machine: Machine, slot: number): boolean {
  const { pool, snapshot } = machine;
  const { octets } = pool;
  const ip = pool.networkHeader[slot];
  const udp = ipv4PayloadStart(octets, ip, pool.offset[slot] + pool.length[slot]);
  if (udp < 0 || octets[ip + IPV4_PROTOCOL] !== PROTOCOL_UDP || ipv4IsFragment(octets, ip)) return false;
  if (!isUdpHeader(octets, udp, ip + ipv4TotalLength(octets, ip))) return false;
  if (read16(octets, udp + UDP_DESTINATION_PORT) !== DHCP_SERVER_PORT) return false;
  const giaddr = udp + UDP_SIZE + DHCP_GIADDR;
  const isRelayed = giaddr + 4 <= pool.offset[slot] + pool.length[slot] && read32(octets, giaddr) !== 0;
  const destination = ip + IPV4_DESTINATION;
  if (read32(octets, destination) === -1) return !isRelayed && facesStations(snapshot, pool.ingressPort[slot]);
  if (findOwnAddress4(snapshot.serverAddresses, pool.network[slot], octets, destination) < 0) return false;
  // A station that says it is a relay would be served as whom it likes.
  if (facesStations(snapshot, pool.ingressPort[slot])) return !isRelayed;
  const port = pool.ingressPort[slot];
  if (snapshot.portMode[port] === PORT_UNDERLAY || (snapshot.portFlags[port] & PORT_GUARDED) !== 0) return false;
  return isRelayed;
}

/** DHCPv6 to the servers' group or an address of ours, a solicitation to the routers' group or an address of ours. */
function isForIpv6(machine: Machine, slot: number, serves: number): boolean {
  const { pool, snapshot } = machine;
  const { octets } = pool;
  const ip = pool.networkHeader[slot];
  const end = pool.offset[slot] + pool.length[slot];
  const upper = ip + IPV6_HEADER_SIZE;
  if (upper + UDP_SIZE > end || octets[ip] >>> 4 !== 6) return false;
  const next = octets[ip + IPV6_NEXT_HEADER];
  if (next !== PROTOCOL_UDP && next !== PROTOCOL_ICMPV6) return false;
  const size = read16(octets, ip + IPV6_PAYLOAD_LENGTH);
  if (upper + size > end || !facesStations(snapshot, pool.ingressPort[slot])) return false;
  const destination = ip + IPV6_DESTINATION;
  const isOurs =
    isToGroup(octets, destination) ||
    findOwnAddress6(snapshot.serverAddresses, pool.network[slot], octets, destination) >= 0;
  if (next === PROTOCOL_UDP) {
    if ((serves & NETWORK_SERVES_DHCP6) === 0 || !isOurs || !isUdpHeader(octets, upper, upper + size)) return false;
    return read16(octets, upper + UDP_DESTINATION_PORT) === DHCP6_SERVER_PORT;
  }
  if ((serves & NETWORK_ADVERTISES) === 0 || !isOurs || size < UDP_SIZE) return false;
  // RFC 4861 6.1.1: nothing that a router let through.
  return (
    octets[upper + ICMP_TYPE] === ICMPV6_ROUTER_SOLICITATION &&
    octets[upper + ICMP_CODE] === 0 &&
    octets[ip + IPV6_HOP_LIMIT] === 255
  );
}

/** ff02::2 (all routers) or ff02::1:2 (all DHCP servers and relay agents). */
function isToGroup(octets: Uint8Array, at: number): boolean {
  if (read32(octets, at) !== (0xff02_0000 | 0) || read32(octets, at + 4) !== 0) return false;
  const word2 = read32(octets, at + 8);
  const word3 = read32(octets, at + 12);
  return (word2 === 0 && word3 === 2) || (word2 === 0 && word3 === 0x0001_0002);
}
