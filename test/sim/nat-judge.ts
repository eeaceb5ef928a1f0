/** Looks at what left the real switch: the frames of a packet, ICMP errors that went through, those that the router made. */
import { macText } from '../../src/wire/address.js';
import type { Sent } from '../pipeline/test-switch.js';
import { isInside, portOf, type Station, stationOf } from './nat-model.js';
import {
  between,
  type Cut,
  checksumAt,
  difference,
  type Endpoint,
  ICMP,
  isError,
  type Packet,
  packetOctets,
  pseudoSum,
  type Seen,
  TCP,
  type Tuple,
  UDP,
  withTtl,
  word,
} from './nat-octets.js';
import type { Arrival, Way } from './nat-reference.js';
import type { Shot } from './nat-traffic.js';

/** What is wrong with the frames: they go to the right machine, from the router, whole and with the right octets. */
export function frameFault(
  shot: Shot,
  packet: Packet,
  heard: readonly Heard[],
  gateway: (to: Station) => Uint8Array,
  parts: readonly Cut[] = [{ offset: 0, length: packet.upper.length }],
): string | undefined {
  const receiver = stationOf(packet.destination.address);
  if (receiver === undefined) return `went to ${packet.destination.address}, who is nobody`;
  if (heard.length !== parts.length) return `left in ${heard.length} frames, not ${parts.length}`;
  const head = `${receiver.mac} ${macText(gateway(receiver))}`;
  for (const { one, seen } of heard) {
    if (one.port !== portOf(shot.half, receiver.name)) return `went to ${one.port}, not ${receiver.name}`;
    if (`${macText(one.octets.slice(0, 6))} ${macText(one.octets.slice(6, 12))}` !== head) return 'has wrong MACs';
    const cut = parts.find(({ offset }) => offset === seen.offset);
    if (cut === undefined) return `has a fragment at ${seen.offset}`;
    const wrong = difference(seen.octets, packetOctets(packet, cut)) ?? offloadFault(shot, packet, one, seen);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function offloadFault(shot: Shot, { isPartial }: Packet, one: Sent, seen: Seen): string | undefined {
  if ((one.checksumStart !== 0) !== isPartial) return 'lost or gained a partial checksum';
  if (isPartial && !isPseudoSum(seen)) return 'has a partial checksum of other addresses';
  return one.gsoSize === (shot.gsoSize ?? 0) ? undefined : `is segmented by ${one.gsoSize}`;
}

/** What is wrong with an ICMP error: it goes to who sent what it is about, with that as he had sent it (RFC 5508 REQ-4, 5, 7). */
export function errorFault(shot: Shot, heard: readonly Heard[]): string | undefined {
  const { delivery, quotedTtl, quotedSize } = shot.about!;
  const { sent, sender, receiver } = delivery;
  const isFromInside = receiver.network !== 'ext';
  const source = isFromInside ? sent.destination.address : shot.packet.source.address;
  const { seen, one } = heard[0]!;
  if (heard.length > 1 || one.port !== portOf(shot.half, sender.name))
    return `went to ${heard.map((all) => all.one.port)}, not ${sender.name}`;
  if (seen.source !== source || seen.destination !== sent.source.address)
    return `left as ${seen.source} > ${seen.destination}, not ${source} > ${sent.source.address}`;
  if (shot.isHostile === true) return undefined;
  const quoted = seen.octets.slice(seen.header + 8);
  const expected = withTtl(packetOctets(sent), quotedTtl).slice(0, quotedSize);
  if (quoted.length !== expected.length) return `quotes ${quoted.length} octets, not ${expected.length}`;
  const wrong = difference(quoted, expected);
  if (wrong !== undefined) return `quotes ${wrong}`;
  const upper = Uint8Array.from(seen.octets.slice(seen.header));
  const again = between({ ...shot.packet, upper }, shot.packet);
  return word(again.upper, 2) === word(upper, 2) ? undefined : 'has a wrong checksum';
}

/** What is wrong with an ICMP error of the router's own: who asked for it gets it, and learns nothing that he did not know. */
export function generatedFault({ port }: Sent, seen: Seen, shots: readonly Shot[]): string | undefined {
  const upper = seen.octets.slice(seen.header);
  if (seen.protocol !== ICMP || !isError(upper)) return undefined;
  const quoted = upper.slice(8);
  const about = shots.find(
    ({ half, station, packet }) => packet.id === word(quoted, 4) && port === portOf(half, station.name),
  );
  if (about === undefined) return `${port} was told of a packet that it did not send`;
  const said = packetOctets(about.packet).slice(0, quoted.length);
  const isWhole = about.cutAt === undefined && !about.packet.isPartial;
  if (isWhole && difference(withTtl(quoted, about.packet.ttl), said) !== undefined)
    return `${port} was told of another packet than it sent`;
  const isFromInside = about.station.network === 'ext' && isInside(seen.source);
  return isFromInside ? `${port} was told by an inside address` : undefined;
}

/** A frame that left, and what its packet says. */
export interface Heard {
  readonly one: Sent;
  readonly seen: Seen;
}

export function arrivalOf({ packet, station, flags, type, isInOrder }: Shot): Arrival {
  const isFromInside = station.network !== 'ext';
  return { ...tupleOf(packet), protocol: packet.protocol, isFromInside, flags, type, isInOrder };
}

/** What the way makes of the packet, with the port that a mapping got; an ICMP query has one identifier, which is its port. */
export function outcomeOf({ source, destination }: Way, left: Tuple, protocol: number): Tuple {
  if (source !== undefined) return { source, destination };
  const port = protocol === ICMP ? left.source.port : destination.port;
  return { source: left.source, destination: { ...destination, port } };
}

export const tupleOf = ({ source, destination }: Tuple): Tuple => ({ source, destination });

export function endsOf({ source, destination, protocol, octets, header }: Seen): Tuple {
  const at = (offset: number) => word(octets, header + offset);
  const hasPorts = protocol === TCP || protocol === UDP;
  const [one, other] = hasPorts ? [at(0), at(2)] : protocol === ICMP ? [at(4), at(4)] : [0, 0];
  return { source: { address: source, port: one! }, destination: { address: destination, port: other! } };
}

function isPseudoSum({ source, destination, protocol, octets, header }: Seen): boolean {
  const length = octets.length - header;
  const expected = pseudoSum(source, destination, protocol, length);
  return word(octets, header + checksumAt(protocol)!) % 0xffff === expected % 0xffff;
}

const text = ({ address, port }: Endpoint) => `${address}:${port}`;
export const endsText = (seen: Seen) => {
  const { source, destination } = endsOf(seen);
  return `${text(source)} > ${text(destination)}`;
};
export const shotText = ({ half, station, packet, flags, type, about, cutAt, isHostile }: Shot) =>
  `${half} ${station.name}: ${packet.protocol} ${text(packet.source)} > ${text(packet.destination)} flags ${flags} type ${type}${about === undefined ? '' : ' error'}${cutAt === undefined ? '' : ' in fragments'}${isHostile ? ' (hostile)' : ''}`;
export const waysText = (ways: readonly Way[]) =>
  ways.length === 0
    ? 'it may not leave'
    : ways
        .map(
          ({ source, destination, isRequired }) =>
            `${source === undefined ? 'a port of the router' : text(source)} > ${text(destination)}${isRequired ? ' (must)' : ''}`,
        )
        .join(' or ');
