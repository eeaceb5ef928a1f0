/** Names of IP protocols and ICMP types that rules may use, as IANA and the tools of the field have them. Pure. */
import {
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMP_PARAMETER_PROBLEM,
  ICMP_REDIRECT,
  ICMP_SOURCE_QUENCH,
  ICMP_TIME_EXCEEDED,
  ICMP_UNREACHABLE,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
  ICMPV6_PACKET_TOO_BIG,
  ICMPV6_PARAMETER_PROBLEM,
  ICMPV6_REDIRECT,
  ICMPV6_ROUTER_ADVERTISEMENT,
  ICMPV6_ROUTER_SOLICITATION,
  ICMPV6_TIME_EXCEEDED,
  ICMPV6_UNREACHABLE,
} from '../wire/icmp.js';
import {
  PROTOCOL_AH,
  PROTOCOL_ESP,
  PROTOCOL_GRE,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_IGMP,
  PROTOCOL_IPV4,
  PROTOCOL_IPV6,
  PROTOCOL_SCTP,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from '../wire/ip-protocol.js';

export const protocolNumbers: ReadonlyMap<string, number> = new Map([
  ['icmp', PROTOCOL_ICMP],
  ['igmp', PROTOCOL_IGMP],
  ['ipip', PROTOCOL_IPV4],
  ['tcp', PROTOCOL_TCP],
  ['egp', 8],
  ['udp', PROTOCOL_UDP],
  ['dccp', 33],
  ['ipv6-encap', PROTOCOL_IPV6],
  ['rsvp', 46],
  ['gre', PROTOCOL_GRE],
  ['esp', PROTOCOL_ESP],
  ['ah', PROTOCOL_AH],
  ['icmpv6', PROTOCOL_ICMPV6],
  ['ipv6-icmp', PROTOCOL_ICMPV6],
  ['ospf', 89],
  ['pim', 103],
  ['pgm', 113],
  ['vrrp', 112],
  ['l2tp', 115],
  ['sctp', PROTOCOL_SCTP],
  ['udplite', 136],
]);

/** By number: of two names, the one that is listed first. */
const namesByNumber = new Map([...protocolNumbers].reverse().map(([name, number]) => [number, name]));

/** The protocol's name, if it has one, else its number. */
export function protocolName(protocol: number): string {
  return namesByNumber.get(protocol) ?? String(protocol);
}

/** Protocols whose headers begin with two ports. */
export const protocolsWithPorts: ReadonlySet<number> = new Set([PROTOCOL_TCP, PROTOCOL_UDP, 33, PROTOCOL_SCTP, 136]);

export const icmpTypes: ReadonlyMap<string, number> = new Map([
  ['echo-reply', ICMP_ECHO_REPLY],
  ['destination-unreachable', ICMP_UNREACHABLE],
  ['source-quench', ICMP_SOURCE_QUENCH],
  ['redirect', ICMP_REDIRECT],
  ['echo-request', ICMP_ECHO_REQUEST],
  ['router-advertisement', 9],
  ['router-solicitation', 10],
  ['time-exceeded', ICMP_TIME_EXCEEDED],
  ['parameter-problem', ICMP_PARAMETER_PROBLEM],
  ['timestamp-request', 13],
  ['timestamp-reply', 14],
]);

export const icmpv6Types: ReadonlyMap<string, number> = new Map([
  ['destination-unreachable', ICMPV6_UNREACHABLE],
  ['packet-too-big', ICMPV6_PACKET_TOO_BIG],
  ['time-exceeded', ICMPV6_TIME_EXCEEDED],
  ['parameter-problem', ICMPV6_PARAMETER_PROBLEM],
  ['echo-request', ICMPV6_ECHO_REQUEST],
  ['echo-reply', ICMPV6_ECHO_REPLY],
  ['multicast-listener-query', 130],
  ['multicast-listener-report', 131],
  ['multicast-listener-done', 132],
  ['router-solicitation', ICMPV6_ROUTER_SOLICITATION],
  ['router-advertisement', ICMPV6_ROUTER_ADVERTISEMENT],
  ['neighbor-solicitation', ICMPV6_NEIGHBOR_SOLICITATION],
  ['neighbor-advertisement', ICMPV6_NEIGHBOR_ADVERTISEMENT],
  ['redirect', ICMPV6_REDIRECT],
  ['multicast-listener-report-v2', 143],
]);
