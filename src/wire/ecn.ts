/**
 * Explicit congestion notification through tunnels (RFC 6040, field of RFC 3168): what a packet that leaves a tunnel says
 * about congestion follows from its own header and the outer one. A frame that isn't IP says nothing, outside or inside. @hot
 */

import { VLAN_TAGS_MAX } from '../limits.js';
import { updateChecksum } from './checksum.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.js';
import { IPV4_CHECKSUM, IPV4_HEADER_SIZE_MIN, IPV4_TOS } from './ipv4.js';
import { IPV6_HEADER_SIZE } from './ipv6.js';
import { read16, write16 } from './octets.js';
import { ethertypePosition } from './vlan.js';

/** The lower two bits of a TOS or traffic class octet; the upper six are the DSCP. */
export const ECN_MASK = 3;
/** Not ECN-capable; capable, by either name; congestion experienced. */
export const ECN_NOT_CAPABLE = 0;
export const ECN_CAPABLE_1 = 1;
export const ECN_CAPABLE_0 = 2;
export const ECN_CONGESTION = 3;

/** The TOS or traffic class octet of the packet at `network`; 0 where there is no IPv4 or IPv6 header before `end`. */
export function innerTrafficClass(octets: Uint8Array, ethertype: number, network: number, end: number): number {
  if (ethertype === ETHERTYPE_IPV4) return isIpv4(octets, network, end) ? octets[network + IPV4_TOS] : 0;
  if (ethertype !== ETHERTYPE_IPV6 || !isIpv6(octets, network, end)) return 0;
  return (read16(octets, network) >>> 4) & 0xff;
}

/**
 * Writes into the frame at `frame`, that came in a datagram with this traffic class, the ECN field that RFC 6040 section 4.2
 * (figure 4) wants. False: the frame must be dropped, because it is not ECN-capable and congestion could be told it in no
 * other way.
 */
export function combineEcn(octets: Uint8Array, frame: number, end: number, outerTrafficClass: number): boolean {
  const outer = outerTrafficClass & ECN_MASK;
  if (outer === ECN_NOT_CAPABLE) return true;
  const at = ethertypePosition(octets, frame, end, VLAN_TAGS_MAX);
  const network = at + 2;
  const trafficClass = innerTrafficClass(octets, read16(octets, at), network, end);
  const inner = trafficClass & ECN_MASK;
  if (inner === ECN_NOT_CAPABLE) {
    return outer !== ECN_CONGESTION || !isIp(octets, read16(octets, at), network, end);
  }
  const isTakenOver = outer === ECN_CONGESTION || (outer === ECN_CAPABLE_1 && inner === ECN_CAPABLE_0);
  if (isTakenOver && inner !== outer) setEcn(octets, network, outer);
  return true;
}

/** Of the whole IPv4 or IPv6 header at `network`. */
function setEcn(octets: Uint8Array, network: number, ecn: number): void {
  if (octets[network] >>> 4 === 6) {
    octets[network + 1] = (octets[network + 1] & ~(ECN_MASK << 4)) | (ecn << 4);
    return;
  }
  const before = read16(octets, network);
  const after = (before & ~ECN_MASK) | ecn;
  octets[network + IPV4_TOS] = after;
  const checksum = network + IPV4_CHECKSUM;
  write16(octets, checksum, updateChecksum(read16(octets, checksum), before, after));
}

function isIp(octets: Uint8Array, ethertype: number, network: number, end: number): boolean {
  if (ethertype === ETHERTYPE_IPV4) return isIpv4(octets, network, end);
  return ethertype === ETHERTYPE_IPV6 && isIpv6(octets, network, end);
}

function isIpv4(octets: Uint8Array, network: number, end: number): boolean {
  return network + IPV4_HEADER_SIZE_MIN <= end && octets[network] >>> 4 === 4;
}

function isIpv6(octets: Uint8Array, network: number, end: number): boolean {
  return network + IPV6_HEADER_SIZE <= end && octets[network] >>> 4 === 6;
}
