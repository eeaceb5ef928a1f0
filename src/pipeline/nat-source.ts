/**
 * What a new connection's source becomes on its way out: it stays, has a floating address, or is hidden behind an outside
 * address of the router's own. With endpoint-independent mapping (RFC 4787 REQ-1) what hides an inside endpoint is a pair of
 * mappings, which all its connections share; no two inside endpoints have one outside endpoint. @hot
 *
 * What an attacker can do: use up external.perVm mappings; then his own connections are refused.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { NAT_TRIES_MAX } from '../limits.js';
import { PROTOCOL_DCCP, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_UDPLITE } from '../wire/ip-protocol.js';
import { IPV4_SOURCE } from '../wire/ipv4.js';
import { IPV6_SOURCE } from '../wire/ipv6.js';
import { read32 } from '../wire/octets.js';
import { PACKET_IPV4 } from '../wire/packet.js';
import {
  CONNECTION_KEY_WORDS,
  CONNECTION_VALUE_WORDS,
  GROUP_ATTACHED,
  GROUP_MAPPINGS,
  GROUPS_PER_PORT,
  KIND_MAPPED_INSIDE,
  KIND_MAPPED_OUTSIDE,
  M_ADDRESS,
  M_OUTSIDE,
  M_PORT,
  V_LINK,
} from './connection-entry.js';
import type { Machine } from './machine.js';
import { natPlan, setMappingKey } from './nat-plan.js';
import { choosePort, isInRanges, unpredictable } from './nat-port-choice.js';
import { MAP_ICMP, MAP_TCP, MAP_UDP, MAPS_PER_OUTSIDE, portMapOf } from './nat-ports.js';
import { REFUSED_EXHAUSTED, REFUSED_LIMIT } from './nat-refusals.js';
import { isReplyFree, makeReplyKey } from './nat-reply.js';
import {
  A_KIND,
  A_PEER,
  findNatAddress,
  HAS_FLOATING,
  NAT_DEPENDENT_MAPPING,
  NAT_SNAT,
  type NatTables,
} from './nat-tables.js';
import { longestPrefix4, longestPrefix6, NO_PREFIX } from './prefix-tree.js';
import { HINT_HOP, hintRow, NOT_ASKED, routeHints } from './route-hints.js';
import { ADDRESS_WORDS, HOP_BLACKHOLE, HOP_LOCAL, HOP_SHARED } from './routing-tables.js';
import { setIpv4 } from './rule-key.js';

/** What becomes of a new connection's source. */
export const SOURCE_STAYS = 0;
export const SOURCE_FLOATS = 1;
export const SOURCE_HIDES = 2;

const insideKey = new Int32Array(CONNECTION_KEY_WORDS);
const outsideKey = new Int32Array(CONNECTION_KEY_WORDS);
const mappingValue = new Int32Array(CONNECTION_VALUE_WORDS);
/** Place in `outsides` that hides the packet's source. */
let outside = 0;

/** Whether the router hides inside addresses of this packet's version. */
export function hides({ pool, snapshot }: Machine, slot: number): boolean {
  return (snapshot.nat.routerFlags[natPlan.router] & NAT_SNAT) !== 0 && pool.packetKind[slot] === PACKET_IPV4;
}

/** How the source of a packet from inside appears outside. Sets `natPlan.from` for a floating one. */
export function sourceFate(machine: Machine, slot: number): number {
  const { nat } = machine.snapshot;
  const row = findNatAddress(nat.addresses, natPlan.router, natPlan.source);
  if (row >= 0 && (nat.addresses[row + A_KIND] & HAS_FLOATING) !== 0) {
    const at = nat.addresses[row + A_PEER] * ADDRESS_WORDS;
    for (let word = 0; word < ADDRESS_WORDS; word++) natPlan.from[word] = nat.peers[at + word];
    return SOURCE_FLOATS;
  }
  return hides(machine, slot) && nat.routerOutsideCount[natPlan.router] > 0 ? SOURCE_HIDES : SOURCE_STAYS;
}

/** In place of MAP_...: its connections are hidden one by one, by other ports; or as they are, since nothing can be changed. */
const BY_PORTS = -1;
const AS_IT_IS = -2;

/**
 * MAP_... of the protocol, or one of the above. SCTP, whose CRC would have to be made over the whole packet again, GRE, ESP
 * and what is unknown keep what they have beside addresses: of two machines that say the same to one remote end the first
 * gets through.
 */
function mapOf(protocol: number): number {
  switch (protocol) {
    case PROTOCOL_TCP:
      return MAP_TCP;
    case PROTOCOL_UDP:
      return MAP_UDP;
    case PROTOCOL_ICMP:
      return MAP_ICMP;
    case PROTOCOL_UDPLITE:
    case PROTOCOL_DCCP:
      return BY_PORTS;
    default:
      return AS_IT_IS;
  }
}

/** RFC 4787 REQ-2, paired: all that an inside address sends appears from one outside address. */
function outsideOf(nat: NatTables): number {
  const { router, source } = natPlan;
  const mixed = Math.imul(source[3] ^ (source[3] >>> 15), 0x2c1b3c6d) >>> 8;
  return nat.routerOutsides[router] + (mixed % nat.routerOutsideCount[router]);
}

const sourceWords = new Int32Array(ADDRESS_WORDS);

/** The hop of the packet's source: the way back; NO_PREFIX: there is none. */
function hopBack({ pool, snapshot }: Machine, slot: number): number {
  const { routing } = snapshot;
  const { octets } = pool;
  const isIpv4 = pool.packetKind[slot] === PACKET_IPV4;
  const at = pool.networkHeader[slot] + (isIpv4 ? IPV4_SOURCE : IPV6_SOURCE);
  if (isIpv4) setIpv4(sourceWords, 0, read32(octets, at));
  else for (let word = 0; word < ADDRESS_WORDS; word++) sourceWords[word] = read32(octets, at + word * 4);
  const { router } = natPlan;
  const row = hintRow(router, isIpv4, sourceWords);
  let hop = routeHints[row + HINT_HOP];
  if (hop === NOT_ASKED) {
    const { trees } = routing;
    hop = isIpv4
      ? longestPrefix4(trees, routing.routerTree4[router], octets, at)
      : longestPrefix6(trees, routing.routerTree6[router], octets, at);
    routeHints[row + HINT_HOP] = hop;
  }
  return hop;
}

/** Whether the way back to the source leads inside (RFC 2827). */
export function isSourceInside(machine: Machine, slot: number): boolean {
  const { routing } = machine.snapshot;
  const hop = hopBack(machine, slot);
  if (hop === NO_PREFIX || routing.hopKind[hop] === HOP_BLACKHOLE) return false;
  const one = routing.hopKind[hop] === HOP_SHARED ? routing.hopInterface[hop] : hop;
  return routing.interfaceExternal[routing.hopInterface[one]] === 0;
}

/**
 * Whether the way back to the source leads to the interface that the packet came in by, or can, where several hops share it
 * (RFC 3704 2.2, strict reverse path). Nobody is the router.
 */
export function isWayBack(machine: Machine, slot: number, from: number): boolean {
  const { routing } = machine.snapshot;
  const hop = hopBack(machine, slot);
  if (hop === NO_PREFIX) return false;
  const kind = routing.hopKind[hop];
  if (kind !== HOP_SHARED) return kind !== HOP_BLACKHOLE && kind !== HOP_LOCAL && routing.hopInterface[hop] === from;
  const first = routing.hopInterface[hop];
  for (let step = 0; step < routing.hopCount[hop]; step++) if (routing.hopInterface[first + step] === from) return true;
  return false;
}

/** Gives the source its outside endpoint. Returns the inside mapping (0 with endpoint-dependent mapping) or -reason. */
export function hideSource(machine: Machine, slot: number): number {
  const { pool, snapshot, connections } = machine;
  const { nat } = snapshot;
  const { table } = connections;
  const group = pool.ingressPort[slot] * GROUPS_PER_PORT + GROUP_MAPPINGS;
  const isLimited = table.groupCount(group) >= nat.routerPerVm[natPlan.router];
  const protocol = pool.protocol[slot];
  const kind = mapOf(protocol);
  outside = outsideOf(nat);
  for (let word = 0; word < ADDRESS_WORDS; word++)
    natPlan.from[word] = nat.outsideAddress[outside * ADDRESS_WORDS + word];
  if (kind < 0 || (nat.routerFlags[natPlan.router] & NAT_DEPENDENT_MAPPING) !== 0)
    return isLimited ? refuse(machine, slot, REFUSED_LIMIT) : hideDependently(machine, slot, protocol);
  const port = natPlan.ports >>> 16;
  setMappingKey(insideKey, natPlan.source, port, protocol, KIND_MAPPED_INSIDE);
  const hash = table.hashKey(insideKey, 0);
  const mapping = table.find(hash, insideKey, 0);
  if (mapping !== -1) {
    for (let word = 0; word < ADDRESS_WORDS; word++) natPlan.from[word] = table.found[M_ADDRESS + word];
    setSourcePort(protocol, table.found[M_PORT]);
    return mapping;
  }
  if (isLimited) return refuse(machine, slot, REFUSED_LIMIT);
  const map = portMapOf(nat.outsideNumber[outside], kind);
  const chosen = choosePort(machine, outside * MAPS_PER_OUTSIDE + kind, map, port);
  if (chosen < 0) return refuse(machine, slot, REFUSED_EXHAUSTED);
  setSourcePort(protocol, chosen);
  return insertMapping(machine, slot, hash, map, chosen);
}

/** Returns -reason. */
function refuse({ pool, snapshot, connections }: Machine, slot: number, kind: number): number {
  const { zone, source, ports } = natPlan;
  const { outsideAddress } = snapshot.nat;
  const at = outside * ADDRESS_WORDS;
  const protocol = pool.protocol[slot];
  connections.refusals.add(kind, zone, protocol, pool.ingressPort[slot], source, ports >>> 16, outsideAddress, at);
  return -(kind === REFUSED_LIMIT ? dropReasonNumber.nat_limit : dropReasonNumber.nat_exhausted);
}

function setSourcePort(protocol: number, port: number): void {
  natPlan.newPorts = protocol === PROTOCOL_ICMP ? (port << 16) | port : (port << 16) | (natPlan.newPorts & 0xffff);
}

function insertMapping(machine: Machine, slot: number, hash: number, map: number, port: number): number {
  const { pool, connections, nowSeconds } = machine;
  const { table } = connections;
  const group = pool.ingressPort[slot] * GROUPS_PER_PORT;
  mappingValue.fill(0);
  for (let word = 0; word < ADDRESS_WORDS; word++) mappingValue[M_ADDRESS + word] = natPlan.from[word];
  mappingValue[M_PORT] = port;
  const inside = table.insert(hash, insideKey, mappingValue, group + GROUP_MAPPINGS, nowSeconds);
  if (inside === -1) return -dropReasonNumber.conntrack_full;
  setMappingKey(outsideKey, natPlan.from, port, pool.protocol[slot], KIND_MAPPED_OUTSIDE);
  for (let word = 0; word < ADDRESS_WORDS; word++) mappingValue[M_ADDRESS + word] = natPlan.source[word];
  mappingValue[M_PORT] = natPlan.ports >>> 16;
  mappingValue[M_OUTSIDE] = map;
  mappingValue[V_LINK] = inside;
  const outsideHash = table.hashKey(outsideKey, 0);
  const other = table.insert(outsideHash, outsideKey, mappingValue, group + GROUP_ATTACHED, nowSeconds);
  if (other === -1) {
    table.remove(inside);
    return -dropReasonNumber.conntrack_full;
  }
  table.setValueWord(inside, V_LINK, other);
  connections.ports.take(map, port);
  return inside;
}

/** Endpoint-dependent mapping: a port of the outside address with which the reply is nobody else's. Returns 0 or -reason. */
function hideDependently(machine: Machine, slot: number, protocol: number): number {
  const { nat } = machine.snapshot;
  const kind = mapOf(protocol);
  if (kind === AS_IT_IS) {
    makeReplyKey();
    return isReplyFree(machine) ? 0 : refuse(machine, slot, REFUSED_EXHAUSTED);
  }
  const place = outside * MAPS_PER_OUTSIDE + (kind === BY_PORTS ? MAP_UDP : kind);
  const first = nat.rangeStart[place];
  const count = nat.rangeCount[place];
  const own = natPlan.ports >>> 16;
  let port = own;
  for (let attempt = 0; attempt < NAT_TRIES_MAX && count > 0; attempt++) {
    if (isInRanges(nat, first, count, port)) {
      setSourcePort(protocol, port);
      makeReplyKey();
      if (isReplyFree(machine)) return 0;
    }
    const random = unpredictable(machine) >>> 4;
    const range = first + (random % count);
    const size = nat.ranges[range * 2 + 1] - nat.ranges[range * 2] + 1;
    port = nat.ranges[range * 2] + ((random >>> 8) % size);
    // RFC 4787 REQ-4, as long as there are tries for it.
    if (attempt < NAT_TRIES_MAX >> 1) port = (port & ~1) | (own & 1);
  }
  return refuse(machine, slot, REFUSED_EXHAUSTED);
}
