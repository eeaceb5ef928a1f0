/**
 * Writes a packet's new addresses and ports, and what its checksums become by that, each by the difference only (RFC 1624), so
 * that a packet that was damaged stays recognisably so. A partial checksum covers the addresses only; a super-frame is one
 * packet here. Later fragments have addresses only. What has no checksum over the addresses (SCTP's CRC, GRE, ESP) is left as
 * it is, and whatever authenticates them (AH; mobility and HIP headers of IPv6) is broken by any translation.
 * @hot
 */
import { fold } from '../wire/checksum.js';
import {
  PROTOCOL_DCCP,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  PROTOCOL_UDPLITE,
} from '../wire/ip-protocol.js';
import { IPV4_CHECKSUM, IPV4_DESTINATION, IPV4_SOURCE } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../wire/ipv6.js';
import { read16, read32, write16, write32 } from '../wire/octets.js';
import { hasIdentifier, hasPorts } from '../wire/packet.js';
import type { Machine } from './machine.js';

const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;
const ICMP_CHECKSUM = 2;
const ICMP_ID = 4;

/** Octets from the start of the upper layer to the checksum that covers the addresses, or the identifier; -1: it has none. */
function checksumOffset(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return TCP_CHECKSUM;
  if (protocol === PROTOCOL_UDP || protocol === PROTOCOL_DCCP || protocol === PROTOCOL_UDPLITE) return UDP_CHECKSUM;
  return isIcmp(protocol) ? ICMP_CHECKSUM : -1;
}

/**
 * What the words written since `writeAddresses` began did to a sum that covers them: of addresses (all of them in the pseudo-header)
 * and of what lies in the upper layer.
 */
let addressChange = 0;
let upperChange = 0;

/** One's complement difference of two words, as something to add to a sum. */
function change32(before: number, after: number): number {
  return (~before >>> 16) + (~before & 0xffff) + (after >>> 16) + (after & 0xffff);
}

/** What new addresses of IPv4 do to a sum that covers them; 0: they are the same. */
export function addressesChange(
  source: number,
  newSource: number,
  destination: number,
  newDestination: number,
): number {
  const change = source === newSource ? 0 : fold(change32(source, newSource));
  return destination === newDestination ? change : fold(change + change32(destination, newDestination));
}

/** The same of ports. */
export function portsChange(ports: number, newPorts: number): number {
  return ports === newPorts ? 0 : fold(change32(ports, newPorts));
}

/** Writes four words of an address where it differs. IPv4 has the last of them. */
function writeAddress(octets: Uint8Array, at: number, words: Int32Array, isIpv4: boolean): void {
  for (let word = isIpv4 ? 3 : 0; word < 4; word++) {
    const position = isIpv4 ? at : at + word * 4;
    const before = read32(octets, position);
    if (before === words[word]) continue;
    write32(octets, position, words[word]);
    addressChange = fold(addressChange + change32(before, words[word]));
  }
}

/** Writes addresses of the IP header at `packet` and mends its own checksum. */
function writeAddresses(
  octets: Uint8Array,
  packet: number,
  isIpv4: boolean,
  source: Int32Array,
  destination: Int32Array,
): void {
  addressChange = 0;
  upperChange = 0;
  writeAddress(octets, packet + (isIpv4 ? IPV4_SOURCE : IPV6_SOURCE), source, isIpv4);
  writeAddress(octets, packet + (isIpv4 ? IPV4_DESTINATION : IPV6_DESTINATION), destination, isIpv4);
  if (!isIpv4 || addressChange === 0) return;
  const checksum = read16(octets, packet + IPV4_CHECKSUM);
  write16(octets, packet + IPV4_CHECKSUM, changed(checksum, addressChange));
}

/** A complete checksum after its sum changed by `change`. */
function changed(checksum: number, change: number): number {
  return ~fold((~checksum & 0xffff) + change) & 0xffff;
}

function isIcmp(protocol: number): boolean {
  return protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
}

/** Writes ports, or of an ICMP query its identifier, at the upper layer's start. */
function writePorts(octets: Uint8Array, upper: number, protocol: number, ports: number): void {
  if (hasPorts(protocol)) {
    const before = read32(octets, upper);
    if (before === ports) return;
    write32(octets, upper, ports);
    upperChange = fold(upperChange + change32(before, ports));
  } else if (isIcmp(protocol) && hasIdentifier(octets[upper], protocol === PROTOCOL_ICMP)) {
    const before = read16(octets, upper + ICMP_ID);
    const after = ports & 0xffff;
    if (before === after) return;
    write16(octets, upper + ICMP_ID, after);
    upperChange = fold(upperChange + (~before & 0xffff) + after);
  }
}

/** Brings the upper layer's checksum in line with what was written. ICMP's does not cover the addresses (RFC 792). */
function mendUpper(octets: Uint8Array, upper: number, protocol: number, isPartial: boolean): void {
  const offset = checksumOffset(protocol);
  if (offset < 0) return;
  const at = upper + offset;
  const before = read16(octets, at);
  if (isPartial) {
    if (protocol !== PROTOCOL_ICMP) write16(octets, at, fold(before + addressChange));
    return;
  }
  // RFC 768: there is none. In UDP-Lite 0 is wrong (RFC 3828 3.1), and stays so.
  const isZeroSpecial = protocol === PROTOCOL_UDP || protocol === PROTOCOL_UDPLITE;
  if (before === 0 && isZeroSpecial) return;
  const change = protocol === PROTOCOL_ICMP ? upperChange : fold(addressChange + upperChange);
  if (change === 0) return;
  const after = changed(before, change);
  write16(octets, at, after === 0 && isZeroSpecial ? 0xffff : after);
}

/** Gives the slot's packet these addresses and ports (of ICMP queries: the identifier twice). */
export function rewritePacket(
  { pool }: Machine,
  slot: number,
  source: Int32Array,
  destination: Int32Array,
  ports: number,
  isIpv4: boolean,
): void {
  const { octets } = pool;
  const protocol = pool.protocol[slot];
  const upper = pool.transport[slot];
  writeAddresses(octets, pool.networkHeader[slot], isIpv4, source, destination);
  if (upper !== 0) {
    // What a sum over the payload still has to cover is written plainly.
    writePorts(octets, upper, protocol, ports);
    mendUpper(octets, upper, protocol, pool.checksumStart[slot] === upper);
  }
  if (hasPorts(protocol)) pool.ports[slot] = ports;
  else if (isIcmp(protocol)) pool.ports[slot] = (pool.ports[slot] & ~0xffff) | (ports & 0xffff);
}

/** As `rewritePacket`, of IPv4 with ports: what is written, and what that does to sums, is known. */
export function writeTranslation(
  { pool }: Machine,
  slot: number,
  source: number,
  destination: number,
  ports: number,
  ofAddresses: number,
  ofPorts: number,
): void {
  const { octets } = pool;
  const packet = pool.networkHeader[slot];
  const upper = pool.transport[slot];
  pool.ports[slot] = ports;
  if (ofAddresses !== 0) {
    write32(octets, packet + IPV4_SOURCE, source);
    write32(octets, packet + IPV4_DESTINATION, destination);
    const checksum = read16(octets, packet + IPV4_CHECKSUM);
    write16(octets, packet + IPV4_CHECKSUM, changed(checksum, ofAddresses));
  }
  // A later fragment.
  if (upper === 0) return;
  write32(octets, upper, ports);
  addressChange = ofAddresses;
  upperChange = ofPorts;
  mendUpper(octets, upper, pool.protocol[slot], pool.checksumStart[slot] === upper);
}

/** Only the addresses, where `mendIcmpError` makes the checksum anew. */
export function rewriteAddresses(
  octets: Uint8Array,
  packet: number,
  isIpv4: boolean,
  source: Int32Array,
  destination: Int32Array,
): void {
  writeAddresses(octets, packet, isIpv4, source, destination);
}

/**
 * As `rewritePacket`, of a packet that an ICMP error quotes: what of it was quoted, up to `end`. Its ports are there
 * (connection-key.ts has read them), its checksum perhaps.
 */
export function rewriteQuoted(
  octets: Uint8Array,
  packet: number,
  upper: number,
  end: number,
  protocol: number,
  source: Int32Array,
  destination: Int32Array,
  ports: number,
  isIpv4: boolean,
): void {
  writeAddresses(octets, packet, isIpv4, source, destination);
  writePorts(octets, upper, protocol, ports);
  const offset = checksumOffset(protocol);
  if (offset >= 0 && upper + offset + 2 <= end) mendUpper(octets, upper, protocol, false);
}
