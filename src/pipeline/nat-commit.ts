/**
 * Carries out what nat-plan.ts planned, when the packet is about to leave: a connection that stands is moved on, a new one is
 * made, with the outside endpoint of its source if it leaves for the outside, and the packet is rewritten. @hot
 *
 * A new connection is made under one hold of the connections' lock: its own entry (the packet as it came), the second (the
 * reply as it will come), and with endpoint-independent mapping (RFC 4787 REQ-1) the pair of mappings of its inside endpoint,
 * unless that has them. No two inside endpoints have one outside endpoint, and no two connections one reply.
 *
 * A port is kept where it is free, else another of its parity and range is taken from a place that nobody can predict
 * (RFC 6056; RFC 4787 REQ-3, 4). How long that takes does not depend on how many are taken (nat-ports.ts).
 *
 * What an attacker can do: use up external.perVm mappings and his port's share of the connections; then his own are refused.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { NAT_TRIES_MAX } from '../limits.js';
import { ICMP_ECHO_REQUEST } from '../wire/icmp.js';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import { IPV4_SOURCE } from '../wire/ipv4.js';
import { IPV6_SOURCE } from '../wire/ipv6.js';
import { PACKET_IPV4 } from '../wire/packet.js';
import {
  CLASS_MASK,
  CLASS_SHIFT,
  CONNECTION_KEY_WORDS,
  CONNECTION_VALUE_WORDS,
  GROUP_ATTACHED,
  GROUP_MAPPINGS,
  GROUPS_PER_PORT,
  IS_TRANSLATED_REPLY,
  KEY_ZONE,
  KIND_MAPPED_INSIDE,
  KIND_MAPPED_OUTSIDE,
  LOWER_IS_ORIGINAL,
  M_ADDRESS,
  M_OUTSIDE,
  M_PORT,
  M_REFERENCES,
  portsWord,
  T_MAPPING,
  V_LINK,
  V_PORTS,
  V_STATE,
} from './connection-entry.js';
import { FROM_LOWER, keyOfPacket, keyOfTuple } from './connection-key.js';
import { C_CREATED, C_NAT_EXHAUSTED, C_NAT_LIMIT, C_REFUSED_BUSY, COMMIT_PORT_LIMIT } from './connection-table.js';
import { begin, classOf } from './connection-tracking.js';
import type { Machine } from './machine.js';
import { rewriteError } from './nat-errors.js';
import {
  natPlan,
  ownEntryOf,
  PLAN_ERROR,
  PLAN_FOREIGN,
  PLAN_KNOWN,
  PLAN_NEW,
  planKnown,
  setMappingKey,
} from './nat-plan.js';
import { MAP_ICMP, MAP_TCP, MAP_UDP, portMapOf } from './nat-ports.js';
import { rewritePacket } from './nat-rewrite.js';
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
import { ADDRESS_WORDS, HOP_BLACKHOLE, HOP_SHARED } from './routing-tables.js';

/** Entries that one connection may need. */
const ENTRIES_MAX = 4;

/** What becomes of a new connection's source. */
const SOURCE_STAYS = 0;
const SOURCE_FLOATS = 1;
const SOURCE_HIDES = 2;

const key = new Int32Array(CONNECTION_KEY_WORDS);
const secondKey = new Int32Array(CONNECTION_KEY_WORDS);
const insideKey = new Int32Array(CONNECTION_KEY_WORDS);
const outsideKey = new Int32Array(CONNECTION_KEY_WORDS);
const value = new Int32Array(CONNECTION_VALUE_WORDS);
const secondValue = new Int32Array(CONNECTION_VALUE_WORDS);
const mappingValue = new Int32Array(CONNECTION_VALUE_WORDS);
const moved = new Int32Array(1);
const movedStamp = new Int32Array(1);
/** Mixed into the places where searches for ports begin. */
let searches = 0;
/** Place in `outsides` that hides the packet's source. */
let outside = 0;

/**
 * Translates the slot's packet, which goes from one interface to another. Returns 0 or the drop reason's number: then nothing
 * was changed.
 */
export function translate(machine: Machine, slot: number, from: number, to: number): number {
  switch (natPlan.kind) {
    case PLAN_KNOWN:
      moveOn(machine);
      break;
    case PLAN_ERROR:
      rewriteError(machine, slot);
      return 0;
    case PLAN_FOREIGN:
      return foreign(machine, slot, from, to);
    case PLAN_NEW: {
      const refusal = translateNew(machine, slot, from, to);
      if (refusal === UNTOUCHED) return 0;
      if (refusal !== 0) return refusal;
      break;
    }
    default:
      return 0;
  }
  const isIpv4 = machine.pool.packetKind[slot] === PACKET_IPV4;
  rewritePacket(machine, slot, natPlan.from, natPlan.to, natPlan.newPorts, isIpv4);
  return 0;
}

/** In place of a drop reason: the packet goes on as it is. */
const UNTOUCHED = -1;

function moveOn(machine: Machine): void {
  const { connections, nowSeconds } = machine;
  const { entry, stamp, classBefore } = natPlan;
  const { table } = connections;
  table.storeFound(entry, stamp, natPlan.value);
  table.refresh(entry, nowSeconds);
  if (classBefore === classOf(natPlan.value[V_STATE])) return;
  moved[0] = entry;
  movedStamp[0] = stamp;
  connections.regroup(moved, movedStamp, 1);
}

/** Whether the router hides inside addresses of this packet's version. */
function hides({ pool, snapshot }: Machine, slot: number): boolean {
  return (snapshot.nat.routerFlags[natPlan.router] & NAT_SNAT) !== 0 && pool.packetKind[slot] === PACKET_IPV4;
}

/** What is of no connection and can begin none stays on its side of a router that hides the inside. */
function foreign(machine: Machine, slot: number, from: number, to: number): number {
  const { interfaceExternal } = machine.snapshot.routing;
  if (interfaceExternal[from] === interfaceExternal[to]) return 0;
  if (interfaceExternal[from] !== 0) return hides(machine, slot) ? dropReasonNumber.nat_filtered : 0;
  if (sourceFate(machine, slot) === SOURCE_STAYS) return 0;
  return dropReasonNumber.nat_protocol;
}

/** How the source of a packet from inside appears outside. Sets `natPlan.from` for a floating one. */
function sourceFate(machine: Machine, slot: number): number {
  const { nat } = machine.snapshot;
  const row = findNatAddress(nat.addresses, natPlan.router, natPlan.source);
  if (row >= 0 && (nat.addresses[row + A_KIND] & HAS_FLOATING) !== 0) {
    const at = nat.addresses[row + A_PEER] * ADDRESS_WORDS;
    for (let word = 0; word < ADDRESS_WORDS; word++) natPlan.from[word] = nat.peers[at + word];
    return SOURCE_FLOATS;
  }
  return hides(machine, slot) && nat.routerOutsideCount[natPlan.router] > 0 ? SOURCE_HIDES : SOURCE_STAYS;
}

function translateNew(machine: Machine, slot: number, from: number, to: number): number {
  const { interfaceExternal } = machine.snapshot.routing;
  const isFromInside = interfaceExternal[from] === 0;
  const leaves = isFromInside && interfaceExternal[to] !== 0;
  let fate = SOURCE_STAYS;
  // RFC 4787 REQ-9: who reaches an outside address from inside is seen with his own.
  if (leaves || (isFromInside && natPlan.movesDestination)) fate = sourceFate(machine, slot);
  if (fate === SOURCE_STAYS && !natPlan.movesDestination) {
    const enters = !isFromInside && interfaceExternal[to] === 0;
    return enters && hides(machine, slot) ? dropReasonNumber.nat_filtered : UNTOUCHED;
  }
  if (fate === SOURCE_HIDES) {
    if (mapOf(machine, slot) < 0) return dropReasonNumber.nat_protocol;
    outside = outsideOf(machine.snapshot.nat);
  }
  if (fate !== SOURCE_STAYS && !isSourceInside(machine, slot)) return dropReasonNumber.martian;
  return commit(machine, slot, from, fate);
}

/** MAP_... of the packet's protocol; -1: it has no ports that could be mapped. */
function mapOf({ pool }: Machine, slot: number): number {
  const protocol = pool.protocol[slot];
  if (protocol === PROTOCOL_TCP) return MAP_TCP;
  if (protocol === PROTOCOL_UDP) return MAP_UDP;
  return protocol === PROTOCOL_ICMP && pool.ports[slot] >>> 24 === ICMP_ECHO_REQUEST ? MAP_ICMP : -1;
}

/** RFC 4787 REQ-2, paired: all that an inside address sends appears from one outside address. */
function outsideOf(nat: NatTables): number {
  const { router, source } = natPlan;
  const mixed = Math.imul(source[3] ^ (source[3] >>> 15), 0x2c1b3c6d) >>> 8;
  return nat.routerOutsides[router] + (mixed % nat.routerOutsideCount[router]);
}

/** Whether the way back to the source leads inside: nobody is hidden who could not be answered (RFC 3704). */
function isSourceInside({ pool, snapshot }: Machine, slot: number): boolean {
  const { routing } = snapshot;
  const packet = pool.networkHeader[slot];
  const { router } = natPlan;
  const { trees } = routing;
  const hop =
    pool.packetKind[slot] === PACKET_IPV4
      ? longestPrefix4(trees, routing.routerTree4[router], pool.octets, packet + IPV4_SOURCE)
      : longestPrefix6(trees, routing.routerTree6[router], pool.octets, packet + IPV6_SOURCE);
  if (hop === NO_PREFIX || routing.hopKind[hop] === HOP_BLACKHOLE) return false;
  const one = routing.hopKind[hop] === HOP_SHARED ? routing.hopInterface[hop] : hop;
  return routing.interfaceExternal[routing.hopInterface[one]] === 0;
}

function commit(machine: Machine, slot: number, from: number, fate: number): number {
  const { connections } = machine;
  if (!connections.lockPatiently()) {
    connections.count(C_REFUSED_BUSY);
    return dropReasonNumber.conntrack_full;
  }
  const refusal = commitLocked(machine, slot, from, fate);
  connections.unlock();
  // Another worker has made it: this packet only moves it on. After the lock is let go of, since that may take it again.
  if (refusal === 0 && natPlan.kind === PLAN_KNOWN) moveOn(machine);
  return refusal;
}

function commitLocked(machine: Machine, slot: number, from: number, fate: number): number {
  const { pool, snapshot, connections, nowSeconds } = machine;
  const { table } = connections;
  const side = keyOfPacket(key, 0, pool, slot, natPlan.zone);
  const hash = table.hashKey(key, 0);
  const there = table.find(hash, key, 0);
  if (there !== -1) {
    if (!natPlan.replaces) {
      const refusal = planKnown(machine, slot, there, side, from);
      return refusal === 0 && natPlan.kind !== PLAN_KNOWN ? dropReasonNumber.conntrack_invalid : refusal;
    }
    connections.drop(ownEntryOf(there, table.found));
  }
  if (!begin(value, pool, slot, side, snapshot.connectionMidstream)) return dropReasonNumber.conntrack_invalid;
  const charged = pool.ingressPort[slot];
  const full = connections.makeRoom(charged, natPlan.zone, snapshot, nowSeconds, ENTRIES_MAX);
  if (full !== 0)
    return full === COMMIT_PORT_LIMIT ? dropReasonNumber.conntrack_port_limit : dropReasonNumber.conntrack_full;
  const mapping = fate === SOURCE_HIDES ? hideSource(machine, slot) : 0;
  if (mapping < 0) return -mapping;
  return insertBoth(machine, slot, hash, mapping);
}

/** The reply's key: from where the packet goes to, to what it comes from there. */
function makeSecondKey(): number {
  const { from, to, newPorts } = natPlan;
  return keyOfTuple(secondKey, to, from, (newPorts << 16) | (newPorts >>> 16), key[KEY_ZONE]);
}

/** Whether the reply's key is free; what is over gives way. */
function isReplyFree({ connections, snapshot, nowSeconds }: Machine): boolean {
  const { table } = connections;
  let isSame = true;
  for (let word = 0; word < CONNECTION_KEY_WORDS; word++) if (secondKey[word] !== key[word]) isSame = false;
  // A hairpin that ends where it began: it would go round for ever.
  if (isSame) return false;
  const there = table.find(table.hashKey(secondKey, 0), secondKey, 0);
  if (there === -1) return true;
  const own = ownEntryOf(there, table.found);
  if (!connections.isOver(own, table.valueWord(own, V_STATE), snapshot.connectionTimeouts, nowSeconds)) return false;
  connections.drop(own);
  return true;
}

/** Inserts the connection; `mapping`: what it uses, 0: none. Returns 0 or a drop reason's number. */
function insertBoth(machine: Machine, slot: number, hash: number, mapping: number): number {
  const { pool, connections, nowSeconds } = machine;
  const { table } = connections;
  const uses = mapping !== 0 ? mapping : natPlan.mapping;
  const replySide = makeSecondKey();
  if (!isReplyFree(machine)) return giveBack(machine, mapping, dropReasonNumber.nat_filtered);
  const group = pool.ingressPort[slot] * GROUPS_PER_PORT;
  secondValue.fill(0);
  secondValue[V_STATE] = IS_TRANSLATED_REPLY | ((replySide & FROM_LOWER) !== 0 ? LOWER_IS_ORIGINAL : 0);
  // An inside mapping may have gone with its last connection since it was looked up without the lock.
  secondValue[T_MAPPING] = uses !== 0 && table.isLive(uses) && isInsideMapping(machine, uses) ? uses : 0;
  const secondHash = table.hashKey(secondKey, 0);
  const isDependent = mapping === 0 && natPlan.newPorts >>> 16 !== natPlan.ports >>> 16;
  const second = table.insert(
    secondHash,
    secondKey,
    secondValue,
    group + (isDependent ? GROUP_MAPPINGS : GROUP_ATTACHED),
    nowSeconds,
  );
  if (second === -1) return giveBack(machine, mapping, dropReasonNumber.conntrack_full);
  value[V_LINK] = second;
  value[V_PORTS] = portsWord(pool.ingressPort[slot], -1);
  const own = table.insert(hash, key, value, group + ((value[V_STATE] & CLASS_MASK) >> CLASS_SHIFT), nowSeconds);
  if (own === -1) {
    table.remove(second);
    return giveBack(machine, mapping, dropReasonNumber.conntrack_full);
  }
  const references = secondValue[T_MAPPING];
  if (references !== 0) table.setValueWord(references, M_REFERENCES, table.valueWord(references, M_REFERENCES) + 1);
  table.setValueWord(second, V_LINK, own);
  connections.networkCounts[natPlan.zone]++;
  connections.count(C_CREATED);
  return 0;
}

function isInsideMapping({ connections }: Machine, entry: number): boolean {
  return (connections.table.keyWord(entry, KEY_ZONE) & KIND_MAPPED_INSIDE) !== 0;
}

/** A mapping that was made for a connection that is not made goes again. */
function giveBack({ connections }: Machine, mapping: number, reason: number): number {
  if (mapping !== 0 && connections.table.valueWord(mapping, M_REFERENCES) === 0) connections.dropMapping(mapping);
  return reason;
}

/** Gives the source its outside endpoint. Returns the inside mapping (0 with endpoint-dependent mapping) or -reason. */
function hideSource(machine: Machine, slot: number): number {
  const { pool, snapshot, connections } = machine;
  const { nat } = snapshot;
  const { table } = connections;
  const charged = pool.ingressPort[slot];
  const isLimited =
    connections.table.groupCount(charged * GROUPS_PER_PORT + GROUP_MAPPINGS) >= nat.routerPerVm[natPlan.router];
  for (let word = 0; word < ADDRESS_WORDS; word++)
    natPlan.from[word] = nat.outsideAddress[outside * ADDRESS_WORDS + word];
  if ((nat.routerFlags[natPlan.router] & NAT_DEPENDENT_MAPPING) !== 0)
    return isLimited ? refuse(machine, C_NAT_LIMIT, dropReasonNumber.nat_limit) : hideDependently(machine, slot);
  const port = natPlan.ports >>> 16;
  setMappingKey(insideKey, natPlan.source, port, pool.protocol[slot], KIND_MAPPED_INSIDE);
  const hash = table.hashKey(insideKey, 0);
  const mapping = table.find(hash, insideKey, 0);
  if (mapping !== -1) {
    for (let word = 0; word < ADDRESS_WORDS; word++) natPlan.from[word] = table.found[M_ADDRESS + word];
    setSourcePort(pool.protocol[slot], table.found[M_PORT]);
    return mapping;
  }
  if (isLimited) return refuse(machine, C_NAT_LIMIT, dropReasonNumber.nat_limit);
  const map = portMapOf(nat.outsideNumber[outside], mapOf(machine, slot));
  const chosen = choosePort(machine, slot, map, port);
  if (chosen < 0) return refuse(machine, C_NAT_EXHAUSTED, dropReasonNumber.nat_exhausted);
  setSourcePort(pool.protocol[slot], chosen);
  return insertMapping(machine, slot, hash, map, chosen);
}

function refuse({ connections }: Machine, what: number, reason: number): number {
  connections.count(what);
  return -reason;
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

/** A number that nobody outside this process can predict, from the table's seed. */
function unpredictable({ connections }: Machine): number {
  searches = (searches + 1) | 0;
  const { hash } = connections.table;
  return hash.words32(key, 0, CONNECTION_KEY_WORDS) ^ hash.pair(searches, key[KEY_ZONE]);
}

/** A port that is free: the same, else one of its parity and range (0-1023 or above), else any. -1: there is none. */
function choosePort(machine: Machine, slot: number, map: number, port: number): number {
  const { snapshot, connections } = machine;
  const { nat } = snapshot;
  const { ports } = connections;
  const place = outside * 3 + mapOf(machine, slot);
  const first = nat.rangeStart[place];
  const count = nat.rangeCount[place];
  if (isInRanges(nat, first, count, port) && !ports.isTaken(map, port)) return port;
  const start = (unpredictable(machine) >>> 8) & 0xffff;
  const isLow = port < 1024;
  for (let parity = 0; parity < 2; parity++) {
    let found = findIn(machine, map, first, count, isLow ? 0 : 1024, isLow ? 1023 : 65_535, port ^ parity, start);
    if (found < 0) found = findIn(machine, map, first, count, 0, 65_535, port ^ parity, start);
    if (found >= 0) return found;
  }
  return -1;
}

function isInRanges({ ranges }: NatTables, first: number, count: number, port: number): boolean {
  for (let index = first; index < first + count; index++)
    if (port >= ranges[index * 2] && port <= ranges[index * 2 + 1]) return true;
  return false;
}

/** The first free port of this parity from `start` on, going round, in what of the ranges lies from `low` to `high`. */
function findIn(
  { snapshot, connections }: Machine,
  map: number,
  first: number,
  count: number,
  low: number,
  high: number,
  like: number,
  start: number,
): number {
  const { ranges } = snapshot.nat;
  for (let step = 0; step < count; step++) {
    // Which range comes first is as random as where in it.
    const index = first + ((start + step) % count);
    const from = Math.max(ranges[index * 2], low);
    const to = Math.min(ranges[index * 2 + 1], high);
    if (from > to) continue;
    const found = connections.ports.find(map, from, to, like, from + (start % (to - from + 1)));
    if (found >= 0) return found;
  }
  return -1;
}

/** Endpoint-dependent mapping: a port of the outside address with which the reply is nobody else's. Returns 0 or -reason. */
function hideDependently(machine: Machine, slot: number): number {
  const { nat } = machine.snapshot;
  const protocol = machine.pool.protocol[slot];
  const place = outside * 3 + mapOf(machine, slot);
  const first = nat.rangeStart[place];
  const count = nat.rangeCount[place];
  let port = natPlan.ports >>> 16;
  for (let attempt = 0; attempt < NAT_TRIES_MAX && count > 0; attempt++) {
    if (isInRanges(nat, first, count, port)) {
      setSourcePort(protocol, port);
      makeSecondKey();
      if (isReplyFree(machine)) return 0;
    }
    const random = unpredictable(machine) >>> 4;
    const range = first + (random % count);
    const size = nat.ranges[range * 2 + 1] - nat.ranges[range * 2] + 1;
    port = nat.ranges[range * 2] + ((random >>> 8) % size);
  }
  return refuse(machine, C_NAT_EXHAUSTED, dropReasonNumber.nat_exhausted);
}
