/**
 * What no machine may send whatever its rules allow: a DHCP or DHCPv6 server's messages, router advertisements, redirects.
 * Holds for guarded ports (stages/anti-spoof.ts) and for ports with security groups. @hot
 *
 * A message is a server's by whom it is for, not by whom it pretends to be from: clients take answers from any port, so
 * whatever goes to a client's port is blocked. Towards the servers' port those messages are that only servers and relays
 * send. First fragments are judged as whole packets are; a later one alone becomes nothing.
 *
 * The slot has been dissected, and its packet is sound (`packetFault` 0): what could not be read to its end is not found
 * here and must not pass either.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import {
  DHCP_CLIENT_PORT,
  DHCP_OPERATION,
  DHCP_REPLY,
  DHCP_SERVER_PORT,
  DHCP6_CLIENT_PORT,
  DHCP6_SERVER_PORT,
  isDhcp6ServerMessage,
} from '../wire/dhcp.js';
import {
  ICMP_REDIRECT,
  ICMP_ROUTER_ADVERTISEMENT,
  ICMPV6_REDIRECT,
  ICMPV6_ROUTER_ADVERTISEMENT,
} from '../wire/icmp.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import { PACKET_IPV4, PACKET_IPV6 } from '../wire/packet.js';
import { UDP_HEADER_SIZE } from '../wire/udp.js';
import type { Machine } from './machine.js';

/**
 * Whether a packet with these ports (as a slot has them) is none of what is always blocked or always allowed: TCP, and UDP to
 * ports behind those of DHCP. Most of all frames are, so this is asked first.
 */
export function isOrdinary(protocol: number, ports: number): boolean {
  return protocol === PROTOCOL_TCP || (protocol === PROTOCOL_UDP && (ports & 0xffff) > DHCP6_SERVER_PORT);
}

/** The drop reason's number, 0 for what is none of these. */
export function alwaysBlocked(machine: Machine, slot: number): number {
  const { pool } = machine;
  const kind = pool.packetKind[slot];
  if (kind < PACKET_IPV4) return 0;
  const protocol = pool.protocol[slot];
  if (protocol === PROTOCOL_UDP) {
    // Most of UDP goes elsewhere.
    const port = pool.ports[slot] & 0xffff;
    const server = kind === PACKET_IPV4 ? DHCP_SERVER_PORT : DHCP6_SERVER_PORT;
    const client = kind === PACKET_IPV4 ? DHCP_CLIENT_PORT : DHCP6_CLIENT_PORT;
    if (port === client) return dropReasonNumber.dhcp_server;
    if (port !== server || pool.transport[slot] === 0) return 0;
    const message = pool.transport[slot] + UDP_HEADER_SIZE;
    return isServerMessage(pool.octets, kind, message, pool.packetEnd[slot]) ? dropReasonNumber.dhcp_server : 0;
  }
  return isRoutersWord(machine, slot) ? dropReasonNumber.router_advertisement : 0;
}

/** Whether it is a router advertisement or a redirect, of either IP version. */
export function isRoutersWord({ pool }: Machine, slot: number): boolean {
  const protocol = pool.protocol[slot];
  if (protocol !== PROTOCOL_ICMP && protocol !== PROTOCOL_ICMPV6) return false;
  // A later fragment that was given no ports says type 0: an echo reply, which is none of these.
  const type = pool.ports[slot] >>> 24;
  return pool.packetKind[slot] === PACKET_IPV6
    ? type === ICMPV6_ROUTER_ADVERTISEMENT || type === ICMPV6_REDIRECT
    : type === ICMP_REDIRECT || type === ICMP_ROUTER_ADVERTISEMENT;
}

/** Of a message to the servers' port: whether a server, or a relay towards clients, sends it. */
function isServerMessage(octets: Uint8Array, kind: number, message: number, end: number): boolean {
  if (message >= end) return false;
  return kind === PACKET_IPV4 ? octets[message + DHCP_OPERATION] === DHCP_REPLY : isDhcp6ServerMessage(octets[message]);
}
