/**
 * Packets for the simulator of NAT: built, taken apart and given other addresses by arrays, as RFC 791, 8200, 768, 9293 and 792
 * draw them. Every checksum is made from nothing each time; of src/ only the parsers of written addresses are used.
 */
import { ipText, parseIp } from '../../src/wire/address.js';
import { referenceSum } from '../kernels/reference.js';

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const GRE = 47;
export const ECHO_REPLY = 0;
export const ECHO_REQUEST = 8;
export const [FIN, SYN, RST, ACK] = [1, 2, 4, 16];

/** Of ICMP queries `port` is the identifier, on both sides; of protocols without ports it is 0. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface Tuple {
  readonly source: Endpoint;
  readonly destination: Endpoint;
}

/** A whole packet, before it is cut into fragments. `id`: identification of IPv4, flow label of IPv6. */
export interface Packet extends Tuple {
  readonly protocol: number;
  readonly ttl: number;
  readonly id: number;
  /** From the transport's header on. */
  readonly upper: Uint8Array;
  /** The transport's checksum is only the sum of the pseudo-header, as a virtio-net header says it. */
  readonly isPartial: boolean;
}

export interface Upper {
  readonly flags?: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly type?: number;
  readonly size?: number;
  /** UDP without checksum. */
  readonly hasNoChecksum?: boolean;
  readonly isPartial?: boolean;
}

const number = (value: number, octets: number) =>
  Array.from({ length: octets }, (_, index) => Math.floor(value / 256 ** (octets - 1 - index)) % 256);

export function addressOctets(text: string): Uint8Array {
  const octets = parseIp(text);
  if (octets === undefined) throw new Error(`no address: ${text}`);
  return octets;
}

export const isIpv6 = (text: string) => text.includes(':');
export const word = (octets: Uint8Array, at: number) => octets[at]! * 256 + octets[at + 1]!;
const setWord = (octets: Uint8Array, at: number, value: number) => octets.set(number(value, 2), at);
const sum = (octets: Uint8Array, initial = 0) => referenceSum(octets, 0, octets.length, initial);

/** Sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1). */
export function pseudoSum(source: string, destination: string, protocol: number, length: number): number {
  const addresses = [...addressOctets(source), ...addressOctets(destination)];
  return sum(Uint8Array.from([...addresses, ...number(length, 4), ...number(protocol, 4)]));
}

/** Where the transport has its checksum. */
export const checksumAt = (protocol: number) => ({ [TCP]: 16, [UDP]: 6, [ICMP]: 2 })[protocol];

/** Writes the transport's checksum: of everything, or what a partial one has. */
function addChecksum({ source, destination, protocol, isPartial }: Omit<Packet, 'upper'>, upper: Uint8Array): void {
  const at = checksumAt(protocol);
  if (at === undefined) return;
  setWord(upper, at, 0);
  const pseudo = protocol === ICMP ? 0 : pseudoSum(source.address, destination.address, protocol, upper.length);
  if (isPartial) {
    setWord(upper, at, pseudo);
    return;
  }
  const value = 0xffff - sum(upper, pseudo);
  setWord(upper, at, value === 0 && protocol === UDP ? 0xffff : value);
}

export function makePacket(
  head: Tuple & Pick<Packet, 'protocol' | 'ttl' | 'id'>,
  upper: Upper = {},
  random: () => number = () => 0x44,
): Packet {
  const { size = 12, isPartial = false } = upper;
  const { protocol, source, destination } = head;
  const payload = Array.from({ length: size }, () => random() % 256);
  const octets = Uint8Array.from([...headerOctets(head, upper, size), ...payload]);
  addChecksum({ ...head, isPartial }, octets);
  if (upper.hasNoChecksum === true && protocol === UDP) setWord(octets, 6, 0);
  return { ...head, source, destination, upper: octets, isPartial };
}

function headerOctets(
  { protocol, source, destination }: Tuple & Pick<Packet, 'protocol'>,
  { flags = SYN, sequence = 1, acknowledgement = 0, type = ECHO_REQUEST }: Upper,
  size: number,
): number[] {
  const ports = [...number(source.port, 2), ...number(destination.port, 2)];
  if (protocol === UDP) return [...ports, ...number(size + 8, 2), 0, 0];
  if (protocol === ICMP) return [type, 0, 0, 0, ...number(source.port, 2), 0, 1];
  if (protocol === TCP)
    return [...ports, ...number(sequence, 4), ...number(acknowledgement, 4), 0x50, flags, 0x20, 0, 0, 0, 0, 0];
  return [0, 0, 8, 0];
}

/** The same packet between other endpoints. What its sender did wrong with the checksum stays wrong. */
export function between(packet: Packet, { source, destination }: Tuple, hops = 1): Packet {
  const { protocol, ttl } = packet;
  const upper = Uint8Array.from(packet.upper);
  if (protocol === TCP || protocol === UDP) {
    setWord(upper, 0, source.port);
    setWord(upper, 2, destination.port);
  } else if (protocol === ICMP && !isError(packet.upper)) setWord(upper, 4, source.port);
  const moved = { ...packet, source, destination, ttl: ttl - hops };
  const isWithout = protocol === UDP && word(packet.upper, 6) === 0;
  if (!isWithout) addChecksum(moved, upper);
  return { ...moved, upper };
}

export function isError(upper: Uint8Array): boolean {
  return [3, 4, 5, 11, 12].includes(upper[0]!);
}

// ---- on the wire ----------------------------------------------------------------------------------------------------

export interface Cut {
  readonly offset: number;
  readonly length: number;
}

/** Octets of the IP packet, or of the part of it that a fragment carries. */
export function packetOctets(packet: Packet, cut: Cut = { offset: 0, length: packet.upper.length }): Uint8Array {
  const part = packet.upper.slice(cut.offset, cut.offset + cut.length);
  const [source, destination] = [addressOctets(packet.source.address), addressOctets(packet.destination.address)];
  if (source.length === 16) {
    const first = [...number(0x6000_0000 + packet.id, 4), ...number(part.length, 2), packet.protocol, packet.ttl];
    return Uint8Array.from([...first, ...source, ...destination, ...part]);
  }
  const isLast = cut.offset + part.length === packet.upper.length;
  const place = (isLast ? 0 : 0x2000) + cut.offset / 8;
  const head = Uint8Array.from([
    ...[0x45, 0, ...number(20 + part.length, 2), ...number(packet.id, 2), ...number(place, 2)],
    ...[packet.ttl, packet.protocol, 0, 0, ...source, ...destination],
  ]);
  setWord(head, 10, 0xffff - sum(head));
  return Uint8Array.from([...head, ...part]);
}

/** Where a packet is cut into fragments; one: not at all. */
export function cuts(packet: Packet, size: number): Cut[] {
  const all: Cut[] = [];
  for (let offset = 0; offset < packet.upper.length; offset += size)
    all.push({ offset, length: Math.min(size, packet.upper.length - offset) });
  return all;
}

export interface Seen {
  readonly source: string;
  readonly destination: string;
  readonly id: number;
  readonly ttl: number;
  readonly protocol: number;
  /** Place in the whole packet, in octets. */
  readonly offset: number;
  readonly hasMore: boolean;
  /** Octets of the header, with options. */
  readonly header: number;
  readonly octets: Uint8Array;
}

/** What the IP packet says. */
export function read(octets: Uint8Array): Seen {
  if (octets[0]! >> 4 === 6) {
    const id = (word(octets, 0) % 16) * 65_536 + word(octets, 2);
    const [source, destination] = [ipText(octets.slice(8, 24)), ipText(octets.slice(24, 40))];
    const rest = { id, ttl: octets[7]!, protocol: octets[6]!, offset: 0, hasMore: false, header: 40, octets };
    return { source, destination, ...rest };
  }
  const place = word(octets, 6);
  return {
    source: ipText(octets.slice(12, 16)),
    destination: ipText(octets.slice(16, 20)),
    id: word(octets, 4),
    ttl: octets[8]!,
    protocol: octets[9]!,
    offset: (place % 0x2000) * 8,
    hasMore: (place & 0x2000) !== 0,
    header: (octets[0]! % 16) * 4,
    octets,
  };
}

/** What differs between two packets that should be the same; of a checksum both ways to write zero are right. */
export function difference(actual: Uint8Array, expected: Uint8Array): string | undefined {
  const { header, protocol, offset } = read(expected);
  const isIpv4 = expected[0]! >> 4 === 4;
  const sumAt = offset === 0 ? checksumAt(protocol) : undefined;
  const sums = [...(isIpv4 ? [10] : []), ...(sumAt === undefined ? [] : [header + sumAt])];
  const plain = (octets: Uint8Array) => {
    const copy = Uint8Array.from(octets);
    for (const at of sums) if (word(copy, at) === 0xffff && protocol !== UDP) setWord(copy, at, 0);
    return Buffer.from(copy).toString('hex');
  };
  const [one, other] = [plain(actual), plain(expected)];
  return one === other ? undefined : `is\n${one}, not\n${other}`;
}

// ---- ICMP errors ----------------------------------------------------------------------------------------------------

/** An ICMP error that quotes the octets of a packet; `broken`: its checksum is wrong. */
export function errorPacket(
  { source, destination, id }: { readonly source: string; readonly destination: string; readonly id: number },
  quoted: Uint8Array,
  type = 3,
  code = 3,
): Packet {
  const head = { source: { address: source, port: 0 }, destination: { address: destination, port: 0 }, id };
  const upper = Uint8Array.from([type, code, 0, 0, 0, 0, 0, 0, ...quoted]);
  const packet = { ...head, protocol: ICMP, ttl: 60, isPartial: false };
  addChecksum(packet, upper);
  return { ...packet, upper };
}

/** The octets of an IPv4 packet with another TTL, and so another header checksum. */
export function withTtl(octets: Uint8Array, ttl: number): Uint8Array {
  const copy = Uint8Array.from(octets);
  copy[8] = ttl;
  setWord(copy, 10, 0);
  setWord(copy, 10, 0xffff - sum(copy.slice(0, 20)));
  return copy;
}
