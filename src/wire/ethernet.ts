/**
 * The Ethernet header (IEEE 802.3): destination, source, ethertype. `position` is always the first octet of the frame,
 * or of the address where the name says so. @hot
 */
import { read16, read32, write16, write32 } from './octets.js';

/** Octets from the start of the frame. */
export const ETHERNET_DESTINATION = 0;
export const ETHERNET_SOURCE = 6;
export const ETHERNET_ETHERTYPE = 12;
export const ETHERNET_HEADER_SIZE = 14;
export const MAC_SIZE = 6;

/** Below this the field is an IEEE 802.3 length and an LLC header follows. */
export const ETHERTYPE_MIN = 0x0600;
export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
/** Trans-Ether bridging: an Ethernet frame inside GRE or Geneve (RFC 1701, RFC 8926). */
export const ETHERTYPE_TEB = 0x6558;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_PAUSE = 0x8808;
/** Slow protocols (IEEE 802.3 annex 57A): LACP is one. */
export const ETHERTYPE_SLOW = 0x8809;
export const ETHERTYPE_LLDP = 0x88cc;
export const ETHERTYPE_CFM = 0x8902;

/** First two octets of the address at `position`, 16 bits. */
export function macHighAt(octets: Uint8Array, position: number): number {
  return read16(octets, position);
}

/** Last four octets of the address at `position`, as a signed 32-bit word. */
export function macLowAt(octets: Uint8Array, position: number): number {
  return read32(octets, position + 2);
}

export function writeMac(octets: Uint8Array, position: number, high: number, low: number): void {
  write16(octets, position, high);
  write32(octets, position + 2, low);
}

/** Whether the address at `position` is a group (multicast or broadcast) address. */
export function isGroupAt(octets: Uint8Array, position: number): boolean {
  return (octets[position] & 1) === 1;
}

/** Whether the address whose first two octets are `high` is a group address. */
export function isGroup(high: number): boolean {
  return (high & 0x0100) !== 0;
}

/** Whether the address at `position` is ff:ff:ff:ff:ff:ff. */
export function isBroadcastAt(octets: Uint8Array, position: number): boolean {
  return read16(octets, position) === 0xffff && read32(octets, position + 2) === -1;
}
