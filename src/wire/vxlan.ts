/**
 * The VXLAN header (RFC 7348 section 5): eight octets between UDP and the frame.
 *
 *   flags (8): R R R R I R R R | reserved (24) | VNI (24) | reserved (8)
 *
 * `position` is the header's first octet. Reserved bits are written zero and, in the RFC's words, "ignored on receipt";
 * so are the bits that extensions (GPE, GBP) took from among them, which nobody here has agreed on with the sender. @hot
 */
import { write32 } from './octets.js';

export const VXLAN_PORT = 4789;
export const VXLAN_HEADER_SIZE = 8;
export const VNI_MAX = 0xff_ffff;

/** Octets from the start of the header. */
const VXLAN_VNI = 4;
/** The header has a VNI: it must. */
const VXLAN_HAS_VNI = 0x08;

/** Whether a whole header that names a VNI lies before `end`. */
export function isVxlanHeader(octets: Uint8Array, position: number, end: number): boolean {
  return position + VXLAN_HEADER_SIZE <= end && (octets[position] & VXLAN_HAS_VNI) !== 0;
}

export function vxlanVni(octets: Uint8Array, position: number): number {
  const at = position + VXLAN_VNI;
  return (octets[at] << 16) | (octets[at + 1] << 8) | octets[at + 2];
}

export function writeVxlan(octets: Uint8Array, position: number, vni: number): void {
  write32(octets, position, VXLAN_HAS_VNI << 24);
  write32(octets, position + VXLAN_VNI, vni << 8);
}
