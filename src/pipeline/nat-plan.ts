/**
 * What a router that translates addresses is going to make of a packet: decided before anything is written, because where a
 * packet goes depends on it, and a packet may have to wait for its next station and come again (stages/route.ts).
 *
 * A packet of a connection that stands is translated as that says, in its direction only: who sends to an inside address from
 * outside, or answers for somebody, is not of the connection. A new one is translated by the destination's row of the router's
 * addresses: a floating address, a forward, or a port that was mapped for somebody inside. What its source becomes is decided
 * when it is known which way it leaves (nat-commit.ts). One plan a thread, of the packet in hand. @hot
 *
 * What an attacker can do: nothing to others' connections. Without an entry of the table or a row of the configuration no
 * packet gets in from outside.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { PROTOCOL_GRE, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import { IPV4_DESTINATION, IPV4_SOURCE } from '../wire/ipv4.js';
import { IPV6_DESTINATION, IPV6_SOURCE } from '../wire/ipv6.js';
import { read32 } from '../wire/octets.js';
import { hasPorts, PACKET_IPV4 } from '../wire/packet.js';
import {
  CONNECTION_KEY_WORDS,
  CONNECTION_VALUE_WORDS,
  IS_TRANSLATED_REPLY,
  KEY_HIGHER,
  KEY_LOWER,
  KEY_PORTS,
  KEY_ZONE,
  KIND_IPV6,
  KIND_MAPPED_OUTSIDE,
  LOWER_IS_ORIGINAL,
  M_ADDRESS,
  M_PORT,
  V_LINK,
  V_STATE,
} from './connection-entry.js';
import { FROM_LOWER, KEY_ERROR } from './connection-key.js';
import { classOf, isReplyOf, TRACK_INVALID, TRACK_REUSE, track } from './connection-tracking.js';
import type { Machine } from './machine.js';
import { isContact } from './nat-contacts.js';
import { asksTranslations, entryOfKey, natKeys, natSides, noteAsked, sideOf } from './nat-keys.js';
import {
  A_KIND,
  A_PEER,
  F_FIRST,
  F_PEER,
  F_PORT,
  F_STEP,
  findForward,
  findNatAddress,
  IS_FLOATING,
  IS_OWN,
  NAT_FILTERS_ADDRESSES,
  NAT_FILTERS_NOT,
  NAT_ON,
  NAT_SNAT,
} from './nat-tables.js';
import { keepTranslation, translationOf } from './nat-translations.js';
import { ADDRESS_WORDS } from './routing-tables.js';
import { setIpv4 } from './rule-key.js';
import {
  NO_TRANSLATION,
  T_DESTINATION,
  T_IS_REPLY,
  T_NEW_DESTINATION,
  T_NEW_PORTS,
  T_NEW_SOURCE,
  T_OWN,
  T_OWN_STAMP,
  T_PORTS,
  T_SOURCE,
} from './translation-rows.js';

/** The router translates nothing, or nothing of this packet. */
export const PLAN_NONE = 0;
/** Of a connection that stands. */
export const PLAN_KNOWN = 1;
/** May begin one. */
export const PLAN_NEW = 2;
/** An ICMP error about a packet of one. */
export const PLAN_ERROR = 3;
/** Nothing that could be of a connection. */
export const PLAN_FOREIGN = 4;

export const natPlan = {
  kind: PLAN_NONE,
  /** Position of the router, and its zone; place of the packet's key. */
  router: 0,
  zone: 0,
  place: 0,
  /** Of PLAN_KNOWN: row of nat-translations.ts that says how it is translated; NO_TRANSLATION: `from`, `to` and `newPorts` do. */
  translation: NO_TRANSLATION,
  /** The packet has another destination from here on: `to`. */
  movesDestination: false,
  /** Unless its connection is known: of the packet as it is: addresses, source port << 16 | destination port (ICMP: the identifier twice). */
  source: new Int32Array(ADDRESS_WORDS),
  destination: new Int32Array(ADDRESS_WORDS),
  ports: 0,
  /** As it will be. */
  from: new Int32Array(ADDRESS_WORDS),
  to: new Int32Array(ADDRESS_WORDS),
  newPorts: 0,
  /** The connection: number and stamp of its own entry, its value with this packet in it, the class it was in. */
  entry: 0,
  stamp: 0,
  value: new Int32Array(CONNECTION_VALUE_WORDS),
  classBefore: 0,
  /** Inside mapping by which the packet got in from outside; 0: none. */
  mapping: 0,
  /** Port whose share a new one counts against, when it is made. */
  payer: 0,
};

const otherWords = new Int32Array(CONNECTION_KEY_WORDS + CONNECTION_VALUE_WORDS);

/** Result of `planConnection`: it is an ICMP error, about which nat-errors.ts decides. */
export const IS_ERROR = -1;

/**
 * Decides about the slot's packet, which came in by the interface and whose key is at `place` of nat-keys.ts. Returns 0, the
 * drop reason's number, or IS_ERROR.
 */
export function planConnection(machine: Machine, slot: number, from: number, place: number): number {
  const { snapshot, connections } = machine;
  const { nat, routing } = snapshot;
  natPlan.kind = PLAN_NONE;
  natPlan.movesDestination = false;
  if (nat.routerFlags.length === 0) return 0;
  const router = routing.interfaceRouter[from];
  if ((nat.routerFlags[router] & NAT_ON) === 0) return 0;
  natPlan.router = router;
  natPlan.zone = nat.routerZone[router];
  natPlan.place = place;
  natPlan.translation = NO_TRANSLATION;
  if (asksTranslations()) {
    const known = planTranslated(machine, slot);
    noteAsked(known !== BEGINS);
    if (known !== BEGINS) return known;
  }
  const side = sideOf(machine, slot, natPlan.zone, place);
  if (side >= 0) {
    const entry = entryOfKey(connections.table, place);
    const planned = entry === -1 ? BEGINS : planKnown(machine, slot, entry, side);
    if (planned === 0 && asksTranslations()) keepKnown(machine, slot, entry, place);
    if (planned !== BEGINS) return planned;
  }
  readTuple(machine, slot);
  if (side >= 0) return planNew(machine, slot, from);
  if (side === KEY_ERROR) return IS_ERROR;
  natPlan.kind = PLAN_FOREIGN;
  return isToFloating(machine) ? dropReasonNumber.nat_protocol : 0;
}

/** By the translation that a packet with the same addresses and ports had. As `planKnown`; BEGINS: it is to be looked for. */
function planTranslated(machine: Machine, slot: number): number {
  const { connections, snapshot, nowSeconds, pool } = machine;
  const { table } = connections;
  const { rows } = machine.translations;
  const { value } = natPlan;
  const row = translationOf(machine, natPlan.place);
  if (row === NO_TRANSLATION) return BEGINS;
  const own = rows[row + T_OWN];
  const stamp = rows[row + T_OWN_STAMP];
  table.readState(own, value, pool.protocol[slot]);
  if (connections.isOver(own, value[V_STATE], snapshot.connectionTimeouts, nowSeconds)) return BEGINS;
  natPlan.classBefore = classOf(value[V_STATE]);
  const verdict = track(value, pool, slot, rows[row + T_IS_REPLY] !== 0);
  if (verdict === TRACK_REUSE || table.stampOf(own) !== stamp) return BEGINS;
  if (verdict === TRACK_INVALID) return dropReasonNumber.conntrack_invalid;
  natPlan.kind = PLAN_KNOWN;
  natPlan.entry = own;
  natPlan.stamp = stamp;
  natPlan.translation = row;
  natPlan.movesDestination = rows[row + T_NEW_DESTINATION] !== rows[row + T_DESTINATION];
  if (natPlan.movesDestination) setIpv4(natPlan.to, 0, rows[row + T_NEW_DESTINATION]);
  return 0;
}

/** The packet's connection, which was just found by its key, is known from here on: where that still is so. */
function keepKnown(machine: Machine, slot: number, entry: number, place: number): void {
  const { table } = machine.connections;
  const stamp = table.stampOf(entry);
  const at = place * CONNECTION_KEY_WORDS;
  if (!table.holdsKey(entry, natKeys, at)) return;
  const link = table.found[V_LINK];
  const linkStamp = table.stampOf(link);
  if (!table.read(link, otherWords) || otherWords[CONNECTION_KEY_WORDS + V_LINK] !== entry) return;
  if (table.stampOf(entry) !== stamp || table.stampOf(link) !== linkStamp) return;
  const isReply = natPlan.entry !== entry;
  setTuple(otherWords, otherWords[CONNECTION_KEY_WORDS + V_STATE]);
  keepTranslation(
    machine,
    slot,
    natPlan.zone,
    isReply ? link : entry,
    isReply ? linkStamp : stamp,
    isReply,
    natPlan.from[3],
    natPlan.to[3],
    natPlan.newPorts,
  );
}

/** Addresses and ports of the packet, as it is and, until something changes that, as it will be. */
function readTuple({ pool }: Machine, slot: number): void {
  const { octets } = pool;
  const { source, destination, from, to } = natPlan;
  const packet = pool.networkHeader[slot];
  if (pool.packetKind[slot] === PACKET_IPV4) {
    setIpv4(source, 0, read32(octets, packet + IPV4_SOURCE));
    setIpv4(destination, 0, read32(octets, packet + IPV4_DESTINATION));
  } else
    for (let word = 0; word < ADDRESS_WORDS; word++) {
      source[word] = read32(octets, packet + IPV6_SOURCE + word * 4);
      destination[word] = read32(octets, packet + IPV6_DESTINATION + word * 4);
    }
  natPlan.ports = portsOf(pool.protocol[slot], pool.ports[slot]);
  natPlan.newPorts = natPlan.ports;
  for (let word = 0; word < ADDRESS_WORDS; word++) {
    from[word] = source[word];
    to[word] = destination[word];
  }
}

/** Both ports; of ICMP the identifier twice; of what has neither, what its key has in their place. */
function portsOf(protocol: number, ports: number): number {
  if (hasPorts(protocol)) return ports;
  const identifier = ports & 0xffff;
  return protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6 ? (identifier << 16) | identifier : ports;
}

/** Whether the packet is for a floating address. */
export function isToFloating({ snapshot }: Machine): boolean {
  const row = findNatAddress(snapshot.nat.addresses, natPlan.router, natPlan.destination);
  return row >= 0 && (snapshot.nat.addresses[row + A_KIND] & IS_FLOATING) !== 0;
}

/** `to` counts from here on, of a packet whose tuple was read. */
export function moveDestination(): void {
  natPlan.movesDestination = isOther(natPlan.to, natPlan.destination);
}

function isOther(one: Int32Array, other: Int32Array): boolean {
  return ((one[0] ^ other[0]) | (one[1] ^ other[1]) | (one[2] ^ other[2]) | (one[3] ^ other[3])) !== 0;
}

/** Number of the connection's own entry, of either of its entries. `table.found` is the entry's value. */
export function ownEntryOf(entry: number, value: Int32Array): number {
  return (value[V_STATE] & IS_TRANSLATED_REPLY) === 0 ? entry : value[V_LINK];
}

/** Result of `planKnown`: the connection is over, or its endpoints begin another. */
export const BEGINS = -2;

/**
 * The packet has an entry, whose value is `table.found`. Also asked under the lock, of a connection that another worker has
 * made meanwhile. Returns 0, the drop reason's number, or BEGINS.
 */
export function planKnown(machine: Machine, slot: number, entry: number, side: number): number {
  const { connections, snapshot, nowSeconds, pool } = machine;
  const { table } = connections;
  const { found } = table;
  const { value } = natPlan;
  const state = found[V_STATE];
  const link = found[V_LINK];
  const isReply = (state & IS_TRANSLATED_REPLY) !== 0;
  const own = isReply ? link : entry;
  // It is just being made, or removed: the next packet finds one or the other.
  if (link === 0) return dropReasonNumber.conntrack_invalid;
  const stamp = table.stampOf(own);
  if (!isReply) for (let word = 0; word < CONNECTION_VALUE_WORDS; word++) value[word] = found[word];
  if (!table.read(link, otherWords) || otherWords[CONNECTION_KEY_WORDS + V_LINK] !== entry)
    return dropReasonNumber.conntrack_invalid;
  if (isReply)
    for (let word = 0; word < CONNECTION_VALUE_WORDS; word++) value[word] = otherWords[CONNECTION_KEY_WORDS + word];
  if (connections.isOver(own, value[V_STATE], snapshot.connectionTimeouts, nowSeconds)) return BEGINS;
  if (isReplyOf(state, side)) return dropReasonNumber.nat_filtered;
  natPlan.classBefore = classOf(value[V_STATE]);
  const verdict = track(value, pool, slot, isReply);
  if (verdict === TRACK_INVALID) return dropReasonNumber.conntrack_invalid;
  if (verdict === TRACK_REUSE) return BEGINS;
  natPlan.kind = PLAN_KNOWN;
  natPlan.entry = own;
  natPlan.stamp = stamp;
  setTuple(otherWords, otherWords[CONNECTION_KEY_WORDS + V_STATE]);
  natPlan.movesDestination = isElsewhere(pool.octets, pool.networkHeader[slot], pool.packetKind[slot] === PACKET_IPV4);
  return 0;
}

/** Whether `to` is another address than the packet's destination. */
function isElsewhere(octets: Uint8Array, packet: number, isIpv4: boolean): boolean {
  const { to } = natPlan;
  if (isIpv4) return read32(octets, packet + IPV4_DESTINATION) !== to[3];
  for (let word = 0; word < ADDRESS_WORDS; word++)
    if (read32(octets, packet + IPV6_DESTINATION + word * 4) !== to[word]) return true;
  return false;
}

/** What leaves goes the way that what arrives with the other entry's key came. */
export function setTuple(key: Int32Array, state: number): void {
  const ports = readEndpoints(key, 0, (state & LOWER_IS_ORIGINAL) !== 0, natPlan.to, natPlan.from);
  const isTurned = ((key[KEY_ZONE] >>> 8) & 0xff) !== PROTOCOL_GRE;
  natPlan.newPorts = isTurned ? (ports << 16) | (ports >>> 16) : ports;
}

/** Reads who sends to whom from a key whose lower endpoint sends, or does not. Returns their ports, the sender's first. */
function readEndpoints(
  key: Int32Array,
  at: number,
  isLower: boolean,
  sender: Int32Array,
  receiver: Int32Array,
): number {
  const first = at + (isLower ? KEY_LOWER : KEY_HIGHER);
  const second = at + (isLower ? KEY_HIGHER : KEY_LOWER);
  for (let word = 0; word < ADDRESS_WORDS; word++) {
    sender[word] = key[first + word];
    receiver[word] = key[second + word];
  }
  const ports = key[at + KEY_PORTS];
  // The key has the lower endpoint's port first; of GRE it has the one key of both.
  return isLower || ((key[at + KEY_ZONE] >>> 8) & 0xff) === PROTOCOL_GRE ? ports : (ports << 16) | (ports >>> 16);
}

/** The tuple of the packet as it was, and as it is where that is of a translation, of a known connection: for explanations. */
export function recallTuple({ translations }: Machine): void {
  const { place, source, destination, translation, from, to } = natPlan;
  if (translation === NO_TRANSLATION) {
    const isLower = (natSides[place] & FROM_LOWER) !== 0;
    natPlan.ports = readEndpoints(natKeys, place * CONNECTION_KEY_WORDS, isLower, source, destination);
    return;
  }
  const { rows } = translations;
  setIpv4(source, 0, rows[translation + T_SOURCE]);
  setIpv4(destination, 0, rows[translation + T_DESTINATION]);
  setIpv4(from, 0, rows[translation + T_NEW_SOURCE]);
  setIpv4(to, 0, rows[translation + T_NEW_DESTINATION]);
  natPlan.ports = rows[translation + T_PORTS];
  natPlan.newPorts = rows[translation + T_NEW_PORTS];
}

function planNew(machine: Machine, slot: number, from: number): number {
  const { pool, snapshot } = machine;
  const { nat } = snapshot;
  natPlan.kind = PLAN_NEW;
  natPlan.mapping = 0;
  const row = findNatAddress(nat.addresses, natPlan.router, natPlan.destination);
  if (row < 0) return 0;
  const kind = nat.addresses[row + A_KIND];
  if ((kind & IS_FLOATING) !== 0) {
    setPeer(nat.peers, nat.addresses[row + A_PEER]);
    moveDestination();
    return 0;
  }
  const protocol = pool.protocol[slot];
  const port = natPlan.ports & 0xffff;
  const forward = protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP ? findForward(nat, row, protocol, port) : -1;
  if (forward >= 0) {
    const { forwards } = nat;
    setPeer(nat.peers, forwards[forward + F_PEER]);
    const inside = forwards[forward + F_PORT] + (port - forwards[forward + F_FIRST]) * forwards[forward + F_STEP];
    natPlan.newPorts = (natPlan.ports & ~0xffff) | inside;
    moveDestination();
    return 0;
  }
  return (kind & IS_OWN) === 0 ? 0 : planMapped(machine, protocol, from);
}

function setPeer(peers: Int32Array, place: number): void {
  for (let word = 0; word < ADDRESS_WORDS; word++) natPlan.to[word] = peers[place * ADDRESS_WORDS + word];
}

const outsideKey = new Int32Array(CONNECTION_KEY_WORDS);

/**
 * To an outside address of the router's own: for who has mapped the port, as far as filtering lets it in. Asked again under the
 * lock.
 */
export function planMapped(machine: Machine, protocol: number, from: number): number {
  const { snapshot, connections } = machine;
  const flags = snapshot.nat.routerFlags[natPlan.router];
  const isOutside = snapshot.routing.interfaceExternal[from] !== 0;
  if (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP) return 0;
  const { table } = connections;
  setMappingKey(outsideKey, natPlan.destination, natPlan.ports & 0xffff, protocol, KIND_MAPPED_OUTSIDE);
  const mapping = table.find(table.hashKey(outsideKey, 0), outsideKey, 0);
  // RFC 5382 REQ-4: who opens a connection from both sides must not be told that there is none.
  if (mapping === -1)
    return isOutside && protocol === PROTOCOL_TCP && (flags & NAT_SNAT) !== 0 ? dropReasonNumber.nat_filtered : 0;
  const { found } = table;
  for (let word = 0; word < ADDRESS_WORDS; word++) natPlan.to[word] = found[M_ADDRESS + word];
  natPlan.newPorts = (natPlan.ports & ~0xffff) | found[M_PORT];
  natPlan.mapping = found[V_LINK];
  // Both ends of a hairpin are inside: nobody is kept out.
  if (isOutside && (flags & NAT_FILTERS_NOT) === 0 && !isAnswering(machine, protocol, flags))
    return dropReasonNumber.nat_filtered;
  moveDestination();
  return 0;
}

/** Whether filtering goes by addresses, and the mapped endpoint has sent to the packet's sender. */
function isAnswering({ connections }: Machine, protocol: number, flags: number): boolean {
  if ((flags & NAT_FILTERS_ADDRESSES) === 0) return false;
  const { zone, destination, ports, source } = natPlan;
  return isContact(connections, zone, protocol, destination, ports & 0xffff, source);
}

/** The key of a mapping of an inside or outside endpoint (KIND_MAPPED_...) in the plan's zone. */
export function setMappingKey(
  key: Int32Array,
  address: Int32Array,
  port: number,
  protocol: number,
  kind: number,
): void {
  for (let word = 0; word < ADDRESS_WORDS; word++) {
    key[KEY_LOWER + word] = address[word];
    key[KEY_HIGHER + word] = 0;
  }
  key[KEY_PORTS] = port << 16;
  const family = (address[0] | address[1]) === 0 && address[2] === 0xffff ? 0 : KIND_IPV6;
  key[KEY_ZONE] = (natPlan.zone << 16) | (protocol << 8) | kind | family;
}
