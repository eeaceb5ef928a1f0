/**
 * IPv6 neighbour discovery (RFC 4861): reads solicitations and advertisements, writes an advertisement. `network` is the
 * first octet of the IPv6 header. @hot
 *
 * What is read is judged as a host would (RFC 4861 7.1.1 and 7.1.2), because what a host throws away must teach nobody
 * anything: hop limit 255, code 0, the checksum, every option's length. Messages behind extension headers are not read:
 * no host sends them so, and RFC 6980 forbids the worst of it. An attacker can make the walk over options at most
 * ND_MESSAGE_SIZE_MAX / 8 steps long.
 */
import { ND_MESSAGE_SIZE_MAX } from '../limits.js';
import { pseudoHeaderSum6, sumOctets } from './checksum.js';
import {
  ETHERNET_DESTINATION,
  ETHERNET_ETHERTYPE,
  ETHERNET_HEADER_SIZE,
  ETHERNET_SOURCE,
  ETHERTYPE_IPV6,
  MAC_SIZE,
  writeMac,
} from './ethernet.js';
import {
  ICMP_CHECKSUM,
  ICMP_CODE,
  ICMP_TYPE,
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
  ND_MESSAGE_SIZE_MIN,
  ND_TARGET,
} from './icmp.js';
import { PROTOCOL_ICMPV6 } from './ip-protocol.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_SIZE,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
} from './ipv6.js';
import { read16, read32, write16, write32 } from './octets.js';

/** Octets from the start of the message. */
const ND_FLAGS = 4;
/** Flags of an advertisement, in the octet at ND_FLAGS. */
export const ND_ROUTER = 0x80;
export const ND_SOLICITED = 0x40;
export const ND_OVERRIDE = 0x20;
/** A router or host one hop away sent it: no router lets 255 through. */
export const ND_HOP_LIMIT = 255;

/** Options: type, length in units of eight octets, and what they say. */
export const OPTION_UNIT = 8;
export const SOURCE_LINK_LAYER = 1;
export const TARGET_LINK_LAYER = 2;

const IPV6_ADDRESS_SIZE = 16;
const ADVERTISEMENT_SIZE = ND_MESSAGE_SIZE_MIN + OPTION_UNIT;

/** Octets of the frame that `writeNeighborAdvertisement` writes. */
export const NEIGHBOR_ADVERTISEMENT_FRAME_SIZE = ETHERNET_HEADER_SIZE + IPV6_HEADER_SIZE + ADVERTISEMENT_SIZE;

/** One message's findings; made once and used again for every packet. They mean something after `read` returned true. */
export class NeighborMessage {
  isSolicitation = false;
  /** ND_… flags of an advertisement; of a solicitation 0. */
  flags = 0;
  /** Position of the address that is asked for or told. */
  target = 0;
  /** Position of the MAC in a solicitation's source option or an advertisement's target option; 0: it has none. */
  mac = 0;

  /** Whether the packet is a sound solicitation or advertisement, whole in a frame that ends at `end`. */
  read(octets: Uint8Array, network: number, end: number): boolean {
    const message = network + IPV6_HEADER_SIZE;
    if (message + ND_MESSAGE_SIZE_MIN > end || octets[network] >>> 4 !== 6) return false;
    if (octets[network + IPV6_NEXT_HEADER] !== PROTOCOL_ICMPV6) return false;
    const type = octets[message + ICMP_TYPE];
    if (type !== ICMPV6_NEIGHBOR_SOLICITATION && type !== ICMPV6_NEIGHBOR_ADVERTISEMENT) return false;
    if (octets[message + ICMP_CODE] !== 0 || octets[network + IPV6_HOP_LIMIT] !== ND_HOP_LIMIT) return false;
    const size = read16(octets, network + IPV6_PAYLOAD_LENGTH);
    if (size < ND_MESSAGE_SIZE_MIN || size > ND_MESSAGE_SIZE_MAX || message + size > end) return false;
    this.isSolicitation = type === ICMPV6_NEIGHBOR_SOLICITATION;
    this.flags = this.isSolicitation ? 0 : octets[message + ND_FLAGS];
    this.target = message + ND_TARGET;
    if (octets[this.target] === 0xff || !this.readOptions(octets, message, size)) return false;
    if (!this.mayBeSentThere(octets, network)) return false;
    // The sum of what is right, its checksum included, is all ones.
    return sumOctets(octets, message, size, pseudoHeaderSum6(octets, network, PROTOCOL_ICMPV6, size)) === 0xffff;
  }

  /** Walks all options. False: one has no length, or does not end where the message does (RFC 4861 4.6). */
  private readOptions(octets: Uint8Array, message: number, size: number): boolean {
    const wanted = this.isSolicitation ? SOURCE_LINK_LAYER : TARGET_LINK_LAYER;
    const end = message + size;
    this.mac = 0;
    let at = message + ND_MESSAGE_SIZE_MIN;
    while (at < end) {
      if (at + 2 > end) return false;
      const length = octets[at + 1] * OPTION_UNIT;
      if (length === 0 || at + length > end) return false;
      // The first of several counts, as for hosts; a longer one is no Ethernet address.
      if (octets[at] === wanted && length === OPTION_UNIT && this.mac === 0) this.mac = at + 2;
      at += length;
    }
    return true;
  }

  /** Who has no address yet asks the target's solicited-node group and tells no MAC; an answer to one host is no group's. */
  private mayBeSentThere(octets: Uint8Array, network: number): boolean {
    const destination = network + IPV6_DESTINATION;
    const isGroup = octets[destination] === 0xff;
    if (!this.isSolicitation) return !isGroup || (this.flags & ND_SOLICITED) === 0;
    if (!isUnspecified(octets, network + IPV6_SOURCE)) return true;
    return isSolicitedNode(octets, destination) && this.mac === 0;
  }
}

/** Whether the address at `position` is ::. */
export function isUnspecified(octets: Uint8Array, position: number): boolean {
  const upper = read32(octets, position) | read32(octets, position + 4);
  return (upper | read32(octets, position + 8) | read32(octets, position + 12)) === 0;
}

/** ff02::1:ff00:0/104 (RFC 4291 2.7.1). */
function isSolicitedNode(octets: Uint8Array, position: number): boolean {
  return (
    read32(octets, position) === (0xff02_0000 | 0) &&
    read32(octets, position + 4) === 0 &&
    read32(octets, position + 8) === 1 &&
    octets[position + 12] === 0xff
  );
}

/** Whether two IPv6 addresses are the same. */
export function isSameIpv6(octets: Uint8Array, position: number, other: number): boolean {
  return (
    read32(octets, position) === read32(octets, other) &&
    read32(octets, position + 4) === read32(octets, other + 4) &&
    read32(octets, position + 8) === read32(octets, other + 8) &&
    read32(octets, position + 12) === read32(octets, other + 12)
  );
}

/**
 * Writes at `to` the whole frame that answers the solicitation in the frame at `frame`, its IPv6 header at `network`: the
 * target is at `macHigh`, `macLow`, and it is that station which seems to say so. A router that is not told to be one
 * (RFC 4861 7.2.5) would be thrown out of the asker's list of default routers: `isRouter` must be known.
 */
export function writeNeighborAdvertisement(
  octets: Uint8Array,
  frame: number,
  network: number,
  to: number,
  macHigh: number,
  macLow: number,
  isRouter: boolean,
): void {
  copy(octets, frame + ETHERNET_SOURCE, to + ETHERNET_DESTINATION, MAC_SIZE);
  copy(octets, network + IPV6_SOURCE, to + ETHERNET_HEADER_SIZE + IPV6_DESTINATION, IPV6_ADDRESS_SIZE);
  const flags = (isRouter ? ND_ROUTER : 0) | ND_SOLICITED | ND_OVERRIDE;
  writeAdvertisement(octets, network, to, macHigh, macLow, flags);
}

/** As writeNeighborAdvertisement, to all nodes: who asked has no address yet (RFC 4861 7.2.4), so S is not set. */
export function writeUnsolicitedAdvertisement(
  octets: Uint8Array,
  _frame: number,
  network: number,
  to: number,
  macHigh: number,
  macLow: number,
  isRouter: boolean,
): void {
  // ff02::1 and the group MAC it maps to (RFC 2464 section 7).
  writeMac(octets, to + ETHERNET_DESTINATION, 0x3333, 1);
  const destination = to + ETHERNET_HEADER_SIZE + IPV6_DESTINATION;
  write32(octets, destination, 0xff02_0000 | 0);
  write32(octets, destination + 4, 0);
  write32(octets, destination + 8, 0);
  write32(octets, destination + 12, 1);
  writeAdvertisement(octets, network, to, macHigh, macLow, (isRouter ? ND_ROUTER : 0) | ND_OVERRIDE);
}

/** All but the destinations, which are written already. */
function writeAdvertisement(
  octets: Uint8Array,
  network: number,
  to: number,
  macHigh: number,
  macLow: number,
  flags: number,
): void {
  const target = network + IPV6_HEADER_SIZE + ND_TARGET;
  writeMac(octets, to + ETHERNET_SOURCE, macHigh, macLow);
  write16(octets, to + ETHERNET_ETHERTYPE, ETHERTYPE_IPV6);
  const header = to + ETHERNET_HEADER_SIZE;
  write32(octets, header, 0x6000_0000);
  write16(octets, header + IPV6_PAYLOAD_LENGTH, ADVERTISEMENT_SIZE);
  octets[header + IPV6_NEXT_HEADER] = PROTOCOL_ICMPV6;
  octets[header + IPV6_HOP_LIMIT] = ND_HOP_LIMIT;
  copy(octets, target, header + IPV6_SOURCE, IPV6_ADDRESS_SIZE);

  const message = header + IPV6_HEADER_SIZE;
  write32(octets, message, ICMPV6_NEIGHBOR_ADVERTISEMENT << 24);
  write32(octets, message + ND_FLAGS, flags << 24);
  copy(octets, target, message + ND_TARGET, IPV6_ADDRESS_SIZE);
  const option = message + ND_MESSAGE_SIZE_MIN;
  octets[option] = TARGET_LINK_LAYER;
  octets[option + 1] = 1;
  writeMac(octets, option + 2, macHigh, macLow);
  const pseudo = pseudoHeaderSum6(octets, header, PROTOCOL_ICMPV6, ADVERTISEMENT_SIZE);
  write16(octets, message + ICMP_CHECKSUM, ~sumOctets(octets, message, ADVERTISEMENT_SIZE, pseudo) & 0xffff);
}

/** Octets of the frame that `writeNeighborSolicitation` writes. */
export const NEIGHBOR_SOLICITATION_FRAME_SIZE =
  ETHERNET_HEADER_SIZE + IPV6_HEADER_SIZE + ND_MESSAGE_SIZE_MIN + OPTION_UNIT;

/**
 * Writes at `to` the whole frame in which the station with this MAC and the address of the four words of `sources` from
 * `source` asks the target's solicited-node group for it (RFC 4861 4.3). Words in network order.
 */
export function writeNeighborSolicitation(
  octets: Uint8Array,
  to: number,
  macHigh: number,
  macLow: number,
  sources: Int32Array,
  source: number,
  target: Int32Array,
): void {
  // RFC 2464 section 7: 33:33 and the group's last four octets.
  const group = 0xff00_0000 | (target[3] & 0xff_ffff);
  writeMac(octets, to + ETHERNET_DESTINATION, 0x3333, group);
  writeMac(octets, to + ETHERNET_SOURCE, macHigh, macLow);
  write16(octets, to + ETHERNET_ETHERTYPE, ETHERTYPE_IPV6);
  const header = to + ETHERNET_HEADER_SIZE;
  write32(octets, header, 0x6000_0000);
  write16(octets, header + IPV6_PAYLOAD_LENGTH, ADVERTISEMENT_SIZE);
  octets[header + IPV6_NEXT_HEADER] = PROTOCOL_ICMPV6;
  octets[header + IPV6_HOP_LIMIT] = ND_HOP_LIMIT;
  const message = header + IPV6_HEADER_SIZE;
  for (let word = 0; word < 4; word++) {
    write32(octets, header + IPV6_SOURCE + word * 4, sources[source + word]);
    write32(octets, message + ND_TARGET + word * 4, target[word]);
  }
  write32(octets, header + IPV6_DESTINATION, 0xff02_0000);
  write32(octets, header + IPV6_DESTINATION + 4, 0);
  write32(octets, header + IPV6_DESTINATION + 8, 1);
  write32(octets, header + IPV6_DESTINATION + 12, group);
  write32(octets, message, ICMPV6_NEIGHBOR_SOLICITATION << 24);
  write32(octets, message + 4, 0);
  const option = message + ND_MESSAGE_SIZE_MIN;
  octets[option] = SOURCE_LINK_LAYER;
  octets[option + 1] = 1;
  writeMac(octets, option + 2, macHigh, macLow);
  const pseudo = pseudoHeaderSum6(octets, header, PROTOCOL_ICMPV6, ADVERTISEMENT_SIZE);
  write16(octets, message + ICMP_CHECKSUM, ~sumOctets(octets, message, ADVERTISEMENT_SIZE, pseudo) & 0xffff);
}

/** A loop: for so few octets it is quicker than `copyWithin`. The parts do not overlap. */
function copy(octets: Uint8Array, from: number, to: number, size: number): void {
  for (let index = 0; index < size; index++) octets[to + index] = octets[from + index];
}
