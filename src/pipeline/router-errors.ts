/**
 * What a router tells the sender of a packet that it does not send on. Each function returns the reason the packet is dropped
 * for, whether or not an error could be sent. @hot
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import {
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMPV6_PACKET_TOO_BIG,
  ICMPV6_TIME_EXCEEDED,
  ICMPV6_UNREACHABLE,
} from '../wire/icmp.js';
import { icmpError, writeIcmpError } from '../wire/icmp-error.js';
import { IPV6_MTU_MIN } from '../wire/ipv6.js';
import { PACKET_IPV4 } from '../wire/packet.js';
import type { Machine } from './machine.js';
import { openErrorReply, sendReply } from './reply.js';
import { ADDRESS_WORDS } from './routing-tables.js';

/** Codes of "unreachable": RFC 792, RFC 1812 5.2.7.1; RFC 4443 3.1. */
const CODE4_NETWORK = 0;
const CODE4_HOST = 1;
const CODE4_PORT = 3;
const CODE4_TOO_BIG = 4;
const CODE4_PROHIBITED = 13;
const CODE6_NO_ROUTE = 0;
const CODE6_PROHIBITED = 1;
const CODE6_ADDRESS = 3;
const CODE6_PORT = 4;

export function sayNoRoute(machine: Machine, slot: number, from: number): number {
  say(machine, slot, from, ICMP_UNREACHABLE, CODE4_NETWORK, ICMPV6_UNREACHABLE, CODE6_NO_ROUTE, 0);
  return dropReasonNumber.no_route;
}

export function sayHostUnreachable(machine: Machine, slot: number, from: number): number {
  say(machine, slot, from, ICMP_UNREACHABLE, CODE4_HOST, ICMPV6_UNREACHABLE, CODE6_ADDRESS, 0);
  return dropReasonNumber.neighbor_unresolved;
}

export function sayTimeExceeded(machine: Machine, slot: number, from: number): number {
  say(machine, slot, from, ICMP_TIME_EXCEEDED, 0, ICMPV6_TIME_EXCEEDED, 0, 0);
  return dropReasonNumber.ttl_exceeded;
}

export function sayPortUnreachable(machine: Machine, slot: number, from: number): number {
  say(machine, slot, from, ICMP_UNREACHABLE, CODE4_PORT, ICMPV6_UNREACHABLE, CODE6_PORT, 0);
  return dropReasonNumber.no_service;
}

/**
 * Why a packet was not translated, `reason`: told to who is inside where there was no room for his connection (RFC 5508
 * REQ-8), and to nobody outside. Not for conntrack_full, which may only mean that another worker was at it: a next try helps.
 */
export function sayUntranslated(machine: Machine, slot: number, from: number, reason: number): number {
  const isFull =
    reason === dropReasonNumber.nat_exhausted ||
    reason === dropReasonNumber.nat_limit ||
    reason === dropReasonNumber.conntrack_port_limit;
  if (isFull && machine.snapshot.routing.interfaceExternal[from] === 0)
    say(machine, slot, from, ICMP_UNREACHABLE, CODE4_PROHIBITED, ICMPV6_UNREACHABLE, CODE6_PROHIBITED, 0);
  return reason;
}

export function sayTooBig(machine: Machine, slot: number, from: number, mtu: number): number {
  const isIpv4 = machine.pool.packetKind[slot] === PACKET_IPV4;
  say(
    machine,
    slot,
    from,
    ICMP_UNREACHABLE,
    CODE4_TOO_BIG,
    ICMPV6_PACKET_TOO_BIG,
    0,
    isIpv4 ? mtu : Math.max(mtu, IPV6_MTU_MIN),
  );
  return dropReasonNumber.mtu_exceeded;
}

/** From the address of the interface the packet came in by (RFC 1812 4.3.2.4). */
function say(
  machine: Machine,
  slot: number,
  from: number,
  type4: number,
  code4: number,
  type6: number,
  code6: number,
  word: number,
): void {
  const { pool } = machine;
  const { routing } = machine.snapshot;
  const reply = openErrorReply(machine, slot);
  if (reply < 0) return;
  icmpError.type4 = type4;
  icmpError.code4 = code4;
  icmpError.type6 = type6;
  icmpError.code6 = code6;
  icmpError.word = word;
  icmpError.source = pool.packetKind[slot] === PACKET_IPV4 ? routing.interfaceAddress4 : routing.interfaceAddress6;
  icmpError.sourceAt = from * ADDRESS_WORDS;
  const frame = pool.offset[slot];
  const packet = pool.networkHeader[slot];
  const to = pool.frameStart(reply);
  const size = writeIcmpError(
    pool.octets,
    frame,
    pool.ethertype[slot],
    packet,
    pool.packetEnd[slot],
    to,
    machine.kernels,
  );
  sendReply(machine, slot, reply, size);
}
