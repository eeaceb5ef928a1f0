/**
 * One line of text for a frame, for a person: `weft trace`, `weft drops`, logs. What frame-text.ts accepts is printed in
 * the same words.
 *
 *   52:54:00:00:00:01 > ff:ff:ff:ff:ff:ff, vlan 10, ARP who-has 10.0.0.1 tell 10.0.0.5
 *   52:54:00:00:00:01 > 52:54:00:00:00:02, tcp 10.0.0.5:1234 > 10.0.0.9:80 flags S length 0
 *
 * Frames are hostile, and drop samples are cut off: nothing outside the frame is read, nothing throws, and the line's
 * length is bounded. Not hot.
 */
import { FRAME_SIZE_MAX, VLAN_TAGS_MAX } from '../limits.js';
import { ipv4Text, ipv6Text, macText } from './address.js';
import { ARP_OPERATION, ARP_REPLY, ARP_REQUEST, ARP_SENDER_IP, ARP_SENDER_MAC, ARP_TARGET_IP, isArp } from './arp.js';
import {
  ETHERNET_DESTINATION,
  ETHERNET_ETHERTYPE,
  ETHERNET_HEADER_SIZE,
  ETHERNET_SOURCE,
  ETHERTYPE_ARP,
  ETHERTYPE_CFM,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_LLDP,
  ETHERTYPE_MIN,
  ETHERTYPE_PAUSE,
  ETHERTYPE_SLOW,
} from './ethernet.js';
import * as icmp from './icmp.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from './ip-protocol.js';
import {
  IPV4_DESTINATION,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  ipv4FragmentOffset,
  ipv4IsFragment,
  ipv4PayloadStart,
  ipv4TotalLength,
} from './ipv4.js';
import { CHAIN_TOO_LONG, CHAIN_WHOLE, IPV6_DESTINATION, IPV6_SOURCE, Ipv6Chain } from './ipv6.js';
import { read16 } from './octets.js';
import { TCP_DESTINATION_PORT, TCP_FLAG_LETTERS, TCP_FLAGS, TCP_SOURCE_PORT, tcpPayloadStart } from './tcp.js';
import { isUdpHeader, UDP_DESTINATION_PORT, UDP_HEADER_SIZE, UDP_SOURCE_PORT, udpLength } from './udp.js';
import { isTpid, TPID_SERVICE, VID_MASK, VLAN_TAG_SIZE } from './vlan.js';

const ethertypeNames: readonly (readonly [number, string])[] = [
  [ETHERTYPE_LLDP, 'LLDP'],
  [ETHERTYPE_CFM, 'CFM'],
  [ETHERTYPE_PAUSE, 'pause'],
  [ETHERTYPE_SLOW, 'slow protocol'],
  [0x8847, 'MPLS'],
  [0x8863, 'PPPoE discovery'],
  [0x8864, 'PPPoE'],
  [0x888e, '802.1X'],
  [0x9000, 'loopback'],
];

const icmpNames: readonly (readonly [number, string])[] = [
  [icmp.ICMP_ECHO_REQUEST, 'echo'],
  [icmp.ICMP_ECHO_REPLY, 'reply'],
  [icmp.ICMP_UNREACHABLE, 'unreachable'],
  [icmp.ICMP_REDIRECT, 'redirect'],
  [icmp.ICMP_TIME_EXCEEDED, 'time-exceeded'],
];

const icmpv6Names: readonly (readonly [number, string])[] = [
  [icmp.ICMPV6_ECHO_REQUEST, 'echo'],
  [icmp.ICMPV6_ECHO_REPLY, 'reply'],
  [icmp.ICMPV6_UNREACHABLE, 'unreachable'],
  [icmp.ICMPV6_PACKET_TOO_BIG, 'packet-too-big'],
  [icmp.ICMPV6_TIME_EXCEEDED, 'time-exceeded'],
  [icmp.ICMPV6_ROUTER_SOLICITATION, 'router-solicitation'],
  [icmp.ICMPV6_ROUTER_ADVERTISEMENT, 'router-advertisement'],
  [icmp.ICMPV6_REDIRECT, 'redirect'],
];

/**
 * The line for the frame at `start`, of which `length` octets were kept. When it had more (`originalLength`), lengths are
 * judged by what it had, so that a sample of a good frame isn't called malformed.
 */
export function frameLine(
  octets: Uint8Array,
  start = 0,
  length = octets.length - start,
  originalLength = length,
): string {
  if (originalLength <= length || originalLength > FRAME_SIZE_MAX) return wholeFrameLine(octets, start, length);
  const padded = new Uint8Array(originalLength);
  padded.set(octets.subarray(start, start + length));
  return `${wholeFrameLine(padded, 0, originalLength)} (${length} of ${originalLength} octets kept)`;
}

function wholeFrameLine(octets: Uint8Array, start: number, length: number): string {
  const end = start + length;
  if (length < ETHERNET_HEADER_SIZE) return `runt of ${length} octets`;
  const parts = [`${macText(octets, start + ETHERNET_SOURCE)} > ${macText(octets, start + ETHERNET_DESTINATION)}`];
  let at = start + ETHERNET_ETHERTYPE;
  for (let tags = 0; tags < VLAN_TAGS_MAX && isTpid(read16(octets, at)); tags++) {
    if (at + VLAN_TAG_SIZE + 2 > end) return [...parts, 'VLAN tag cut off'].join(', ');
    parts.push(tagText(read16(octets, at), read16(octets, at + 2)));
    at += VLAN_TAG_SIZE;
  }
  parts.push(payloadText(octets, read16(octets, at), at + 2, end));
  return parts.join(', ');
}

function tagText(tpid: number, tci: number): string {
  const priority = tci >>> 13 === 0 ? '' : ` priority ${tci >>> 13}`;
  const service = tpid === TPID_SERVICE ? ' tpid 0x88a8' : '';
  return `vlan ${tci & VID_MASK}${priority}${service}`;
}

function payloadText(octets: Uint8Array, ethertype: number, position: number, end: number): string {
  if (ethertype === ETHERTYPE_ARP) return arpText(octets, position, end);
  if (ethertype === ETHERTYPE_IPV4) return ipv4PacketText(octets, position, end);
  if (ethertype === ETHERTYPE_IPV6) return ipv6PacketText(octets, position, end);
  const size = `length ${end - position}`;
  if (ethertype >= ETHERTYPE_MIN) return `${named(ethertypeNames, ethertype, `ethertype ${hex(ethertype)}`)}, ${size}`;
  if (position + 2 > end) return `LLC cut off, ${size}`;
  return `LLC dsap ${hex(octets[position], 2)} ssap ${hex(octets[position + 1], 2)}, ${size}`;
}

function arpText(octets: Uint8Array, position: number, end: number): string {
  if (!isArp(octets, position, end)) return 'ARP malformed';
  const operation = read16(octets, position + ARP_OPERATION);
  const sender = ipv4Text(octets, position + ARP_SENDER_IP);
  if (operation === ARP_REQUEST) return `ARP who-has ${ipv4Text(octets, position + ARP_TARGET_IP)} tell ${sender}`;
  if (operation === ARP_REPLY) return `ARP reply ${sender} is-at ${macText(octets, position + ARP_SENDER_MAC)}`;
  return `ARP operation ${operation} from ${sender}`;
}

function ipv4PacketText(octets: Uint8Array, position: number, end: number): string {
  const transport = ipv4PayloadStart(octets, position, end);
  if (transport < 0) return 'IPv4 malformed';
  const source = ipv4Text(octets, position + IPV4_SOURCE);
  const destination = ipv4Text(octets, position + IPV4_DESTINATION);
  const protocol = octets[position + IPV4_PROTOCOL];
  const packetEnd = position + ipv4TotalLength(octets, position);
  if (ipv4IsFragment(octets, position)) {
    const offset = ipv4FragmentOffset(octets, position);
    return `ip ${source} > ${destination} proto ${protocol} fragment at ${offset} length ${packetEnd - transport}`;
  }
  return transportText(octets, protocol, transport, packetEnd, source, destination);
}

function ipv6PacketText(octets: Uint8Array, position: number, end: number): string {
  const chain = new Ipv6Chain();
  const verdict = chain.walk(octets, position, end);
  if (verdict === CHAIN_TOO_LONG) return 'IPv6 with too many extension headers';
  if (verdict !== CHAIN_WHOLE) return 'IPv6 malformed';
  const source = ipv6Text(octets, position + IPV6_SOURCE);
  const destination = ipv6Text(octets, position + IPV6_DESTINATION);
  if (chain.isFragment) {
    const offset = read16(octets, chain.fragmentHeader + 2) & 0xfff8;
    const size = chain.end - chain.position;
    return `ip ${source} > ${destination} proto ${chain.protocol} fragment at ${offset} length ${size}`;
  }
  return transportText(octets, chain.protocol, chain.position, chain.end, source, destination);
}

function transportText(
  octets: Uint8Array,
  protocol: number,
  at: number,
  end: number,
  source: string,
  destination: string,
): string {
  if (protocol === PROTOCOL_TCP) {
    const payload = tcpPayloadStart(octets, at, end);
    if (payload < 0) return `tcp ${source} > ${destination} malformed`;
    const from = withPort(source, read16(octets, at + TCP_SOURCE_PORT));
    const to = withPort(destination, read16(octets, at + TCP_DESTINATION_PORT));
    return `tcp ${from} > ${to} flags ${tcpFlagsText(octets[at + TCP_FLAGS])} length ${end - payload}`;
  }
  if (protocol === PROTOCOL_UDP) {
    if (!isUdpHeader(octets, at, end)) return `udp ${source} > ${destination} malformed`;
    const from = withPort(source, read16(octets, at + UDP_SOURCE_PORT));
    const to = withPort(destination, read16(octets, at + UDP_DESTINATION_PORT));
    return `udp ${from} > ${to} length ${udpLength(octets, at) - UDP_HEADER_SIZE}`;
  }
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    return `icmp ${source} > ${destination} ${icmpText(octets, protocol, at, end)}`;
  }
  return `ip ${source} > ${destination} proto ${protocol} length ${end - at}`;
}

function icmpText(octets: Uint8Array, protocol: number, at: number, end: number): string {
  if (at + icmp.ICMP_HEADER_SIZE > end) return 'malformed';
  const type = octets[at + icmp.ICMP_TYPE];
  const code = octets[at + icmp.ICMP_CODE];
  const size = `length ${end - at - icmp.ICMP_HEADER_SIZE}`;
  if (protocol === PROTOCOL_ICMPV6 && at + icmp.ND_MESSAGE_SIZE_MIN <= end) {
    const target = ipv6Text(octets, at + icmp.ND_TARGET);
    if (type === icmp.ICMPV6_NEIGHBOR_SOLICITATION) return `who-has ${target}`;
    if (type === icmp.ICMPV6_NEIGHBOR_ADVERTISEMENT) return `neighbor ${target}`;
  }
  const name = named(protocol === PROTOCOL_ICMP ? icmpNames : icmpv6Names, type, `type ${type}`);
  return `${name}${code === 0 ? '' : ` code ${code}`} ${size}`;
}

function tcpFlagsText(flags: number): string {
  const letters = [...TCP_FLAG_LETTERS].filter((_, bit) => (flags & (1 << bit)) !== 0);
  return letters.length === 0 ? 'none' : letters.join('');
}

function withPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function named(names: readonly (readonly [number, string])[], value: number, otherwise: string): string {
  return names.find(([candidate]) => candidate === value)?.[1] ?? otherwise;
}

function hex(value: number, digits = 4): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}
