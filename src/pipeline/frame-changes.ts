/**
 * What a stage changed in a frame, each field before and after, for `weft trace`: read from the frame's octets, not from what
 * the stage meant to do. Main thread.
 */
import { ipText, macText } from '../wire/address.js';
import { ETHERNET_DESTINATION, ETHERNET_SOURCE } from '../wire/ethernet.js';
import { ICMP_HEADER_SIZE, ICMP_ID } from '../wire/icmp.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from '../wire/ip-protocol.js';
import { IPV4_DESTINATION, IPV4_SOURCE, IPV4_TTL } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_HOP_LIMIT, IPV6_SOURCE } from '../wire/ipv6.js';
import { read16 } from '../wire/octets.js';
import { hasIdentifier, hasPorts, PACKET_IPV4, PACKET_IPV6, PacketReader } from '../wire/packet.js';
import { KEY_ERROR, kindOfMessage, quotedProtocol, quotedUpper } from './connection-key.js';
import type { Machine } from './machine.js';

/** Names of fields and what they say. */
export type FrameFields = ReadonlyMap<string, string>;

const reader = new PacketReader();

/** The fields of the slot's frame that routers rewrite. */
export function fieldsOf({ pool }: Machine, slot: number): FrameFields {
  const { octets } = pool;
  const frame = pool.offset[slot];
  const packet = pool.networkHeader[slot];
  const fields = new Map([
    ['destination MAC', macText(octets.slice(frame + ETHERNET_DESTINATION, frame + ETHERNET_DESTINATION + 6))],
    ['source MAC', macText(octets.slice(frame + ETHERNET_SOURCE, frame + ETHERNET_SOURCE + 6))],
  ]);
  reader.read(octets, pool.ethertype[slot], packet, frame + pool.length[slot]);
  const { kind, fault, protocol, transport, end } = reader;
  if (fault !== 0 || (kind !== PACKET_IPV4 && kind !== PACKET_IPV6)) return fields;
  const isIpv4 = kind === PACKET_IPV4;
  addAddresses(fields, octets, packet, isIpv4, '');
  fields.set(isIpv4 ? 'TTL' : 'hop limit', String(octets[packet + (isIpv4 ? IPV4_TTL : IPV6_HOP_LIMIT)]));
  if (transport === 0) return fields;
  addPorts(fields, octets, transport, protocol, isIpv4, '');
  if (isError(protocol, octets[transport])) addQuotation(fields, octets, transport + ICMP_HEADER_SIZE, end, isIpv4);
  return fields;
}

/** `name before -> after` of each field that both have and that differs. */
export function changesBetween(before: FrameFields, after: FrameFields): string[] {
  return [...after].flatMap(([name, now]) => {
    const then = before.get(name);
    return then === undefined || then === now ? [] : [`${name} ${then} -> ${now}`];
  });
}

function isError(protocol: number, type: number): boolean {
  if (protocol !== PROTOCOL_ICMP && protocol !== PROTOCOL_ICMPV6) return false;
  return kindOfMessage(type, protocol === PROTOCOL_ICMPV6) === KEY_ERROR;
}

function addAddresses(
  fields: Map<string, string>,
  octets: Uint8Array,
  packet: number,
  isIpv4: boolean,
  prefix: string,
): void {
  const text = (at: number) => ipText(octets.slice(packet + at, packet + at + (isIpv4 ? 4 : 16)));
  fields.set(`${prefix}source address`, text(isIpv4 ? IPV4_SOURCE : IPV6_SOURCE));
  fields.set(`${prefix}destination address`, text(isIpv4 ? IPV4_DESTINATION : IPV6_DESTINATION));
}

function addPorts(
  fields: Map<string, string>,
  octets: Uint8Array,
  upper: number,
  protocol: number,
  isIpv4: boolean,
  prefix: string,
): void {
  if (hasPorts(protocol)) {
    fields.set(`${prefix}source port`, String(read16(octets, upper)));
    fields.set(`${prefix}destination port`, String(read16(octets, upper + 2)));
  } else if (protocol === (isIpv4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6) && hasIdentifier(octets[upper], isIpv4))
    fields.set(`${prefix}identifier`, String(read16(octets, upper + ICMP_ID)));
}

/** The packet that an ICMP error quotes, as far as it does. */
function addQuotation(
  fields: Map<string, string>,
  octets: Uint8Array,
  packet: number,
  end: number,
  isIpv4: boolean,
): void {
  const upper = quotedUpper(octets, packet, end, !isIpv4);
  if (upper < 0) return;
  addAddresses(fields, octets, packet, isIpv4, 'quoted ');
  if (upper + ICMP_HEADER_SIZE <= end) addPorts(fields, octets, upper, quotedProtocol(), isIpv4, 'quoted ');
}
