/**
 * The Internet checksum (RFC 1071) for headers: sums of a few octets, pseudo-headers and changes in place. Payload is
 * summed by the kernels (src/kernels), which are faster from about 64 octets on.
 *
 * A **sum** here is a one's complement sum, not complemented, in at most 32 bits; `fold` brings it to 16. A header's
 * checksum field is the complement of the folded sum. A **partial checksum** is a field that holds the folded
 * pseudo-header sum, waiting for the rest (virtio 1.2, 5.1.6.2, VIRTIO_NET_HDR_F_NEEDS_CSUM). @hot
 */
import { read16 } from './octets.js';

/** End-around carry: any unsigned or signed 32-bit sum to 16 bits. */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** Sum of `length` octets (at most 65,536) plus `initial` (at most 16 bits), folded. An odd last octet is padded with zero. */
export function sumOctets(octets: Uint8Array, start: number, length: number, initial: number): number {
  let sum = initial;
  const end = start + (length & ~1);
  for (let position = start; position < end; position += 2) sum += read16(octets, position);
  if ((length & 1) === 1) sum += octets[end] << 8;
  return fold(sum);
}

/** Folded sum of the IPv4 pseudo-header (RFC 9293 3.1) for the header at `ipHeader`; `length`: octets of the L4 part. */
export function pseudoHeaderSum4(octets: Uint8Array, ipHeader: number, protocol: number, length: number): number {
  return fold(sumOctets(octets, ipHeader + 12, 8, protocol) + length);
}

/**
 * Folded sum of the IPv6 pseudo-header (RFC 8200 8.1). The destination is the header's: right where no routing header
 * with segments left follows.
 */
export function pseudoHeaderSum6(octets: Uint8Array, ipHeader: number, protocol: number, length: number): number {
  return fold(sumOctets(octets, ipHeader + 8, 32, protocol) + (length & 0xffff) + (length >>> 16));
}

/** Checksum of an IPv4 header of `size` octets, whatever its checksum field holds now. */
export function ipv4HeaderChecksum(octets: Uint8Array, ipHeader: number, size: number): number {
  const first = sumOctets(octets, ipHeader, 10, 0);
  return ~sumOctets(octets, ipHeader + 12, size - 12, first) & 0xffff;
}

/**
 * A complete checksum after one 16-bit word it covers changed: RFC 1624 equation 3, HC' = ~(~HC + ~m + m'). The word must
 * lie at an even distance from the start of what is summed.
 */
export function updateChecksum(checksum: number, before: number, after: number): number {
  return ~fold((~checksum & 0xffff) + (~before & 0xffff) + after) & 0xffff;
}
