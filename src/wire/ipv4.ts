/**
 * The IPv4 header (RFC 791). `position` is the header's first octet. Accessors trust that `ipv4PayloadStart` accepted the
 * header once. @hot
 */
import { read16 } from './octets.js';

/** Octets from the start of the header. */
export const IPV4_TOS = 1;
export const IPV4_TOTAL_LENGTH = 2;
export const IPV4_ID = 4;
export const IPV4_FRAGMENT = 6;
export const IPV4_TTL = 8;
export const IPV4_PROTOCOL = 9;
export const IPV4_CHECKSUM = 10;
export const IPV4_SOURCE = 12;
export const IPV4_DESTINATION = 16;
export const IPV4_HEADER_SIZE_MIN = 20;

/** The two options that are one octet long; all others say their length in the second. */
export const IPV4_OPTION_END = 0;
export const IPV4_OPTION_NOTHING = 1;

/** Bits of the fragment field. */
export const IPV4_DONT_FRAGMENT = 0x4000;
export const IPV4_MORE_FRAGMENTS = 0x2000;
export const IPV4_FRAGMENT_OFFSET_MASK = 0x1fff;

export function ipv4HeaderSize(octets: Uint8Array, position: number): number {
  return (octets[position] & 0x0f) << 2;
}

/** Octets of the packet, header included. */
export function ipv4TotalLength(octets: Uint8Array, position: number): number {
  return read16(octets, position + IPV4_TOTAL_LENGTH);
}

/**
 * Position of the octet behind the header; -1 when there is no well-formed header before `end`: wrong version, a size
 * below 20, a header or a packet that is longer than what is there, a total length inside the header. The header's
 * checksum is not looked at.
 */
export function ipv4PayloadStart(octets: Uint8Array, position: number, end: number): number {
  if (position + IPV4_HEADER_SIZE_MIN > end || octets[position] >>> 4 !== 4) return -1;
  const size = ipv4HeaderSize(octets, position);
  const total = ipv4TotalLength(octets, position);
  if (size < IPV4_HEADER_SIZE_MIN || total < size || position + total > end) return -1;
  return position + size;
}

/**
 * Whether the address at `position` may be one host's, by its first octet: not "this network", loopback, multicast, class E
 * (in which the limited broadcast address lies).
 */
export function isHostIpv4(octets: Uint8Array, position: number): boolean {
  const first = octets[position];
  return first !== 0 && first !== 127 && first < 224;
}

/** Whether the packet is a part of a fragmented one, the first part included. */
export function ipv4IsFragment(octets: Uint8Array, position: number): boolean {
  return (read16(octets, position + IPV4_FRAGMENT) & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET_MASK)) !== 0;
}

/** Octets of the original packet's payload in front of this fragment's. */
export function ipv4FragmentOffset(octets: Uint8Array, position: number): number {
  return (read16(octets, position + IPV4_FRAGMENT) & IPV4_FRAGMENT_OFFSET_MASK) << 3;
}
