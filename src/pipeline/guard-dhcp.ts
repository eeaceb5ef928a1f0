/**
 * DHCP and DHCPv6 messages of guarded ports towards servers: a client speaks for itself, with its own MAC. Servers' messages
 * have been blocked before (always-blocked.ts). Only whole datagrams: a client that fragments what fits into 576 octets
 * hides something. @hot
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import {
  CLIENT_ID_MALFORMED,
  CLIENT_ID_NONE,
  DHCP_CLIENT_MAC,
  DHCP_OPERATION,
  DHCP_RELAY,
  DHCP_REQUEST,
  DHCP_SERVER_PORT,
  DHCP6_SERVER_PORT,
  findClientIdMac,
  isDhcp,
  isDhcp6Relayed,
} from '../wire/dhcp.js';
import { macHighAt, macLowAt } from '../wire/ethernet.js';
import { read32 } from '../wire/octets.js';
import { FRAGMENT_NONE, PACKET_IPV4 } from '../wire/packet.js';
import { UDP_HEADER_SIZE, udpLength } from '../wire/udp.js';
import { isOwnMac } from './guard-table.js';
import type { Machine } from './machine.js';

/** Whether UDP with these ports (as a slot has them) over this IP is for a DHCP server. */
export function isDhcpClient(kind: number, ports: number): boolean {
  return (ports & 0xffff) === (kind === PACKET_IPV4 ? DHCP_SERVER_PORT : DHCP6_SERVER_PORT);
}

/** Judges a DHCP message: client MAC and, where it is one, client identifier must be the port's. Returns the drop reason's number or 0. */
export function judgeDhcp(machine: Machine, slot: number): number {
  const { pool } = machine;
  const { octets } = pool;
  if (pool.fragment[slot] !== FRAGMENT_NONE) return dropReasonNumber.not_parsed;
  const udp = pool.transport[slot];
  const message = udp + UDP_HEADER_SIZE;
  // Behind the datagram's end there may be octets of the packet that nobody reads.
  const end = udp + udpLength(octets, udp);
  if (!isDhcp(octets, message, end) || octets[message + DHCP_OPERATION] !== DHCP_REQUEST)
    return dropReasonNumber.not_parsed;
  // A relay speaks for others.
  if (read32(octets, message + DHCP_RELAY) !== 0) return dropReasonNumber.spoof_dhcp;
  const client = findClientIdMac(octets, message, end);
  if (client === CLIENT_ID_MALFORMED) return dropReasonNumber.not_parsed;
  const isOwn =
    isOwnAt(machine, slot, message + DHCP_CLIENT_MAC) && (client === CLIENT_ID_NONE || isOwnAt(machine, slot, client));
  return isOwn ? 0 : dropReasonNumber.spoof_dhcp;
}

/** Judges a DHCPv6 message, whose source is own already. A relay speaks for others. */
export function judgeDhcp6({ pool }: Machine, slot: number): number {
  const udp = pool.transport[slot];
  const message = udp + UDP_HEADER_SIZE;
  if (pool.fragment[slot] !== FRAGMENT_NONE || message >= udp + udpLength(pool.octets, udp))
    return dropReasonNumber.not_parsed;
  return isDhcp6Relayed(pool.octets[message]) ? dropReasonNumber.spoof_dhcp : 0;
}

function isOwnAt({ pool, snapshot }: Machine, slot: number, position: number): boolean {
  const { octets } = pool;
  const port = pool.ingressPort[slot];
  return isOwnMac(snapshot.guard, port, macHighAt(octets, position), macLowAt(octets, position));
}
