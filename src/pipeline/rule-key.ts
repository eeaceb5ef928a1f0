/**
 * What a rule can ask of a frame, as numbers: the form in which rules of ACLs and security groups are matched
 * (classifier.ts). Made from a slot's fields, or for groups from a connection that is judged anew without any frame at hand.
 * One a thread; whoever judges fills it. @hot
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import { ARP_OPERATION, ARP_SENDER_IP, ARP_TARGET_IP } from '../wire/arp.js';
import { ETHERNET_DESTINATION, ETHERNET_SOURCE, macHighAt, macLowAt } from '../wire/ethernet.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP } from '../wire/ip-protocol.js';
import { IPV4_DESTINATION, IPV4_SOURCE, IPV4_TOS } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../wire/ipv6.js';
import { read16, read32 } from '../wire/octets.js';
import { FRAGMENT_LATER, hasPorts, PACKET_ARP, PACKET_IPV4 } from '../wire/packet.js';
import { TCP_FLAGS } from '../wire/tcp.js';

/** Places in a key. Addresses are four words of network order (signed), IPv4 mapped: 0, 0, 0xffff, address. -1: has none. */
export const KEY_DESTINATION_MAC_HIGH = 0;
export const KEY_DESTINATION_MAC_LOW = 1;
export const KEY_SOURCE_MAC_HIGH = 2;
export const KEY_SOURCE_MAC_LOW = 3;
export const KEY_ETHERTYPE = 4;
/** VID and PCP of the tag the frame came with. */
export const KEY_VLAN = 5;
export const KEY_PCP = 6;
/** PACKET_... of wire/packet.ts. */
export const KEY_KIND = 7;
export const KEY_PROTOCOL = 8;
export const KEY_DSCP = 9;
/** FRAGMENT_... of wire/packet.ts; -1: the packet is no IP. */
export const KEY_FRAGMENT = 10;
export const KEY_SOURCE = 11;
export const KEY_DESTINATION = 15;
export const KEY_SOURCE_PORT = 19;
export const KEY_DESTINATION_PORT = 20;
export const KEY_ICMP_TYPE = 21;
export const KEY_ICMP_CODE = 22;
export const KEY_TCP_FLAGS = 23;
export const KEY_ARP_OPERATION = 24;
/** One word each: ARP is IPv4's. */
export const KEY_ARP_SENDER = 25;
export const KEY_ARP_TARGET = 26;
export const KEY_WORDS = 27;

export const MAPPED_PREFIX_WORD = 0xffff;

/** Parts of a key that a rule set may do without; kind and protocol are always there. */
export const FIELDS_MACS = 1 << 0;
/** Ethertype, VLAN and PCP. */
export const FIELDS_LINK = 1 << 1;
export const FIELDS_ADDRESSES = 1 << 2;
/** Ports, type and code. */
export const FIELDS_PORTS = 1 << 3;
/** DSCP, fragment, flags of TCP, and ARP's fields. */
export const FIELDS_OTHER = 1 << 4;
export const FIELDS_ALL = -1;

/** The part of the key that the place is in; 0: it is always there. */
export function fieldsOfPlace(place: number): number {
  if (place <= KEY_SOURCE_MAC_LOW) return FIELDS_MACS;
  if (place <= KEY_PCP) return FIELDS_LINK;
  if (place <= KEY_PROTOCOL) return 0;
  if (place >= KEY_SOURCE && place < KEY_SOURCE_PORT) return FIELDS_ADDRESSES;
  return place >= KEY_SOURCE_PORT && place <= KEY_ICMP_CODE ? FIELDS_PORTS : FIELDS_OTHER;
}

/**
 * Fills `key` from a slot that dissect has read. `vid` is that of the frame's network where it came in; 0: untagged. What is
 * not in `fields` stays as it was: nobody asks for it.
 */
export function keyOfSlot(key: Int32Array, pool: FramePool, slot: number, vid: number, fields = FIELDS_ALL): void {
  const kind = pool.packetKind[slot];
  key[KEY_KIND] = kind;
  key[KEY_PROTOCOL] = pool.protocol[slot];
  if ((fields & FIELDS_MACS) !== 0) setMacs(key, pool.octets, pool.offset[slot]);
  if ((fields & FIELDS_LINK) !== 0) {
    key[KEY_ETHERTYPE] = pool.ethertype[slot];
    key[KEY_VLAN] = vid;
    key[KEY_PCP] = pool.priority[slot] >>> 13;
  }
  if ((fields & FIELDS_ADDRESSES) !== 0) setAddresses(key, pool, slot, kind);
  if ((fields & (FIELDS_PORTS | FIELDS_OTHER)) === 0) return;
  // Of a later fragment: the first one's, where that is known.
  const isLater = pool.fragment[slot] === FRAGMENT_LATER;
  const areKnown = pool.packetFault[slot] === 0 && (!isLater || pool.firstFlags[slot] >= 0);
  if (areKnown) setPorts(key, pool.protocol[slot], pool.ports[slot]);
  else setPorts(key, -1, 0);
  if ((fields & FIELDS_OTHER) !== 0) setOther(key, pool, slot, kind, areKnown);
}

function setMacs(key: Int32Array, octets: Uint8Array, frame: number): void {
  key[KEY_DESTINATION_MAC_HIGH] = macHighAt(octets, frame + ETHERNET_DESTINATION);
  key[KEY_DESTINATION_MAC_LOW] = macLowAt(octets, frame + ETHERNET_DESTINATION);
  key[KEY_SOURCE_MAC_HIGH] = macHighAt(octets, frame + ETHERNET_SOURCE);
  key[KEY_SOURCE_MAC_LOW] = macLowAt(octets, frame + ETHERNET_SOURCE);
}

function setAddresses(key: Int32Array, { view, networkHeader, protocol }: FramePool, slot: number, kind: number): void {
  const packet = networkHeader[slot];
  if (kind < PACKET_IPV4) return;
  // A header that can't be trusted to its end was not read: nothing of what lies there counts.
  if (protocol[slot] < 0) {
    key.fill(0, KEY_SOURCE, KEY_SOURCE_PORT);
  } else if (kind === PACKET_IPV4) {
    // Of IPv4 only the last word is looked at.
    key[KEY_SOURCE + 3] = view.getInt32(packet + IPV4_SOURCE);
    key[KEY_DESTINATION + 3] = view.getInt32(packet + IPV4_DESTINATION);
  } else {
    for (let word = 0; word < 4; word++) {
      key[KEY_SOURCE + word] = view.getInt32(packet + IPV6_SOURCE + word * 4);
      key[KEY_DESTINATION + word] = view.getInt32(packet + IPV6_DESTINATION + word * 4);
    }
  }
}

function setOther(key: Int32Array, pool: FramePool, slot: number, kind: number, areKnown: boolean): void {
  const { octets } = pool;
  const packet = pool.networkHeader[slot];
  key[KEY_FRAGMENT] = kind >= PACKET_IPV4 ? pool.fragment[slot] : -1;
  key[KEY_DSCP] = -1;
  key[KEY_TCP_FLAGS] = -1;
  key[KEY_ARP_OPERATION] = -1;
  if (kind === PACKET_ARP && pool.packetFault[slot] === 0) {
    key[KEY_ARP_OPERATION] = read16(octets, packet + ARP_OPERATION);
    key[KEY_ARP_SENDER] = read32(octets, packet + ARP_SENDER_IP);
    key[KEY_ARP_TARGET] = read32(octets, packet + ARP_TARGET_IP);
  }
  if (kind < PACKET_IPV4 || pool.protocol[slot] < 0) return;
  key[KEY_DSCP] = kind === PACKET_IPV4 ? octets[packet + IPV4_TOS] >>> 2 : (read16(octets, packet) >>> 6) & 0x3f;
  if (areKnown && pool.protocol[slot] === PROTOCOL_TCP) {
    const isLater = pool.fragment[slot] === FRAGMENT_LATER;
    key[KEY_TCP_FLAGS] = isLater ? pool.firstFlags[slot] : octets[pool.transport[slot] + TCP_FLAGS];
  }
}

/** The four words from `at` become an IPv4 address. */
export function setIpv4(key: Int32Array, at: number, address: number): void {
  key[at] = 0;
  key[at + 1] = 0;
  key[at + 2] = MAPPED_PREFIX_WORD;
  key[at + 3] = address;
}

/** `ports` as a slot has them: two ports, or type, code and identifier of ICMP. Other protocols have none of these. */
export function setPorts(key: Int32Array, protocol: number, ports: number): void {
  const isIcmp = protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6;
  const has = hasPorts(protocol);
  key[KEY_SOURCE_PORT] = has ? ports >>> 16 : -1;
  key[KEY_DESTINATION_PORT] = has ? ports & 0xffff : -1;
  key[KEY_ICMP_TYPE] = isIcmp ? ports >>> 24 : -1;
  key[KEY_ICMP_CODE] = isIcmp ? (ports >>> 16) & 0xff : -1;
}
