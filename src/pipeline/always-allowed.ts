/**
 * What passes to and from machines with security groups whatever the rules say, because without it a machine has no address
 * and finds nobody: ARP, the client's side of DHCP and DHCPv6, and the ICMPv6 messages that a link needs. The lists are
 * Neutron's (agent/firewall.py; ../shared/reference/semantics.md 1.4). Whether the addresses in them are the machine's own is
 * asked by the anti-spoof stage alone: without antiSpoof all addresses that a machine uses are its own. What is never
 * allowed from a machine is in always-blocked.ts and comes first. @hot
 *
 * Asked of sound packets only (packetFault is 0), which dissect has read.
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import {
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
  ICMPV6_ROUTER_ADVERTISEMENT,
  ICMPV6_ROUTER_SOLICITATION,
} from '../wire/icmp.js';
import { PROTOCOL_ICMPV6, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import { IPV6_SOURCE } from '../wire/ipv6.js';
import { read32 } from '../wire/octets.js';
import { PACKET_ARP, PACKET_IPV4, PACKET_IPV6 } from '../wire/packet.js';

const ICMPV6_LISTENER_QUERY = 130;
const ICMPV6_LISTENER_REPORT = 131;
const ICMPV6_LISTENER_REPORT_2 = 143;

/** Source port << 16 | destination port. */
const DHCP_TO_SERVER = (68 << 16) | 67;
const DHCP_TO_CLIENT = (67 << 16) | 68;
const DHCPV6_TO_SERVER = (546 << 16) | 547;
const DHCPV6_TO_CLIENT = (547 << 16) | 546;

export function isAlwaysAllowedFrom(pool: FramePool, slot: number): boolean {
  const kind = pool.packetKind[slot];
  if (kind === PACKET_ARP) return true;
  if (pool.protocol[slot] === PROTOCOL_UDP)
    return pool.ports[slot] === (kind === PACKET_IPV4 ? DHCP_TO_SERVER : DHCPV6_TO_SERVER);
  if (kind !== PACKET_IPV6 || pool.protocol[slot] !== PROTOCOL_ICMPV6) return false;
  const type = pool.ports[slot] >>> 24;
  if (isFromNobody(pool, slot))
    return (
      type === ICMPV6_NEIGHBOR_SOLICITATION || type === ICMPV6_LISTENER_REPORT || type === ICMPV6_LISTENER_REPORT_2
    );
  return (
    type === ICMPV6_LISTENER_QUERY ||
    type === ICMPV6_ROUTER_SOLICITATION ||
    type === ICMPV6_NEIGHBOR_SOLICITATION ||
    type === ICMPV6_NEIGHBOR_ADVERTISEMENT
  );
}

/** `isFromVm`: another machine sent it. Router advertisements are allowed from the network's side and the switch itself. */
export function isAlwaysAllowedTo(pool: FramePool, slot: number, isFromVm: boolean): boolean {
  const kind = pool.packetKind[slot];
  if (kind === PACKET_ARP) return true;
  if (pool.protocol[slot] === PROTOCOL_UDP)
    return pool.ports[slot] === (kind === PACKET_IPV4 ? DHCP_TO_CLIENT : DHCPV6_TO_CLIENT);
  if (kind !== PACKET_IPV6 || pool.protocol[slot] !== PROTOCOL_ICMPV6) return false;
  const type = pool.ports[slot] >>> 24;
  return (
    type === ICMPV6_LISTENER_QUERY ||
    type === ICMPV6_NEIGHBOR_SOLICITATION ||
    type === ICMPV6_NEIGHBOR_ADVERTISEMENT ||
    (type === ICMPV6_ROUTER_ADVERTISEMENT && !isFromVm)
  );
}

/** The unspecified address, :: */
function isFromNobody({ octets, networkHeader }: FramePool, slot: number): boolean {
  const at = networkHeader[slot] + IPV6_SOURCE;
  return (read32(octets, at) | read32(octets, at + 4) | read32(octets, at + 8) | read32(octets, at + 12)) === 0;
}
