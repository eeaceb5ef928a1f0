/**
 * Packets for the tests of NAT that look at every octet: built here and checked by the plainest sum there is (RFC 1071), which
 * shares nothing with the code that is tested.
 */
import { ip } from '../wire/neighbor-frames.js';

export interface Upper {
  readonly protocol: number;
  /** From the upper layer's header on; its checksum is made by `packet`. */
  readonly octets: Uint8Array;
  /** Where in them the checksum is; absent: none covers the addresses. */
  readonly checksumAt?: number;
  /** Octets of them that are summed: all, unless the protocol says otherwise. */
  readonly covered?: number;
  /** The sum covers no addresses: ICMP of IPv4. */
  readonly isPlain?: boolean;
}

/** One's complement sum over the parts, in words of 16 bits, each part padded to whole words. */
export function sum(...parts: readonly Uint8Array[]): number {
  let total = 0;
  for (const part of parts) for (let at = 0; at < part.length; at += 2) total += part[at]! * 256 + (part[at + 1] ?? 0);
  return total % 0xffff === 0 && total > 0 ? 0xffff : total % 0xffff;
}

function words(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values.flatMap((value) => [value >>> 8, value & 0xff]));
}

/** What a checksum over `size` octets of the protocol covers besides them (RFC 768, RFC 8200 8.1). */
export function pseudoHeader(source: string, destination: string, protocol: number, size: number): Uint8Array {
  return Uint8Array.of(...ip(source), ...ip(destination), ...words(size >>> 16, size & 0xffff, protocol));
}

/** A copy of the upper layer with its checksum made. */
export function checksummed(source: string, destination: string, upper: Upper): Uint8Array {
  const { protocol, checksumAt, isPlain = false } = upper;
  const octets = upper.octets.slice();
  if (checksumAt === undefined) return octets;
  octets.fill(0, checksumAt, checksumAt + 2);
  const covered = octets.subarray(0, upper.covered ?? octets.length);
  const pseudo = isPlain ? new Uint8Array() : pseudoHeader(source, destination, protocol, octets.length);
  let checksum = 0xffff - sum(pseudo, covered);
  if (checksum === 0 && (protocol === 17 || protocol === 136)) checksum = 0xffff;
  octets.set(words(checksum), checksumAt);
  return octets;
}

export interface PacketOptions {
  readonly ttl?: number;
  readonly id?: number;
  /** Flags and offset in units of 8 octets. */
  readonly fragment?: number;
}

/** An IP packet of which nothing of the upper layer is changed. */
export function rawPacket(
  source: string,
  destination: string,
  protocol: number,
  payload: Uint8Array,
  { ttl = 64, id = 7, fragment = 0 }: PacketOptions = {},
): Uint8Array {
  if (source.includes(':'))
    return Uint8Array.of(
      0x60,
      0,
      0,
      0,
      ...words(payload.length),
      protocol,
      ttl,
      ...ip(source),
      ...ip(destination),
      ...payload,
    );
  const size = 20 + payload.length;
  const header = Uint8Array.of(
    0x45,
    0,
    ...words(size, id, fragment),
    ttl,
    protocol,
    0,
    0,
    ...ip(source),
    ...ip(destination),
  );
  header.set(words(0xffff - sum(header)), 10);
  return Uint8Array.of(...header, ...payload);
}

export function packet(source: string, destination: string, upper: Upper, options?: PacketOptions): Uint8Array {
  return rawPacket(source, destination, upper.protocol, checksummed(source, destination, upper), options);
}

const payload = (size: number) => Uint8Array.from({ length: size }, (_, index) => (index * 37 + 11) & 0xff);
const text = payload(13);

export function udp(source: number, destination: number, octets = text): Upper {
  return {
    protocol: 17,
    octets: Uint8Array.of(...words(source, destination, 8 + octets.length, 0), ...octets),
    checksumAt: 6,
  };
}

export function tcp(source: number, destination: number, flags = 2, octets = text): Upper {
  const header = [...words(source, destination, 0, 1, 0, flags === 2 ? 0 : 1), 0x50, flags, ...words(8000, 0, 0)];
  return { protocol: 6, octets: Uint8Array.of(...header, ...octets), checksumAt: 16 };
}

/** An ICMP message with an identifier and a sequence number; of `protocol` 58 ICMPv6. */
export function icmp(type: number, id: number, protocol = 1, octets = text): Upper {
  return {
    protocol,
    octets: Uint8Array.of(type, 0, 0, 0, ...words(id, 1), ...octets),
    checksumAt: 2,
    isPlain: protocol === 1,
  };
}

/** Covers its header and 4 octets of what it carries (RFC 3828). */
export function udpLite(source: number, destination: number): Upper {
  return {
    protocol: 136,
    octets: Uint8Array.of(...words(source, destination, 12, 0), ...text),
    checksumAt: 6,
    covered: 12,
  };
}

/** A DCCP request with all of its data covered (RFC 4340 5.1). */
export function dccp(source: number, destination: number): Upper {
  const header = [...words(source, destination), 5, 0, 0, 0, 1, 0, ...words(1, 0, 1, 0, 5)];
  return { protocol: 33, octets: Uint8Array.of(...header, ...text), checksumAt: 6 };
}

/** INIT, or with `tag` the INIT ACK to it (RFC 9260 3.3.2). Its CRC is not looked at. */
export function sctp(source: number, destination: number, tag = 0): Upper {
  const common = [...words(source, destination, tag >>> 16, tag & 0xffff), 0xde, 0xad, 0xbe, 0xef];
  const chunk = [tag === 0 ? 1 : 2, 0, ...words(20, 0, tag === 0 ? 77 : 88, 0, 9000, 1, 1, 0, 1)];
  return { protocol: 132, octets: Uint8Array.of(...common, ...chunk) };
}

export function gre(key?: number): Upper {
  const head = key === undefined ? words(0, 0x0800) : words(0x2000, 0x0800, key >>> 16, key & 0xffff);
  return { protocol: 47, octets: Uint8Array.of(...head, ...text) };
}

/** Anything without ports or a checksum over the addresses. */
export function other(protocol: number): Upper {
  return { protocol, octets: payload(40) };
}
