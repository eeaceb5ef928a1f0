/**
 * Carries out what nat-plan.ts planned, when the packet is about to leave: a connection that stands is moved on, a new one is
 * made, with the outside endpoint of its source if it leaves for the outside (nat-source.ts), and the packet is rewritten. @hot
 *
 * A new connection is made under one hold of the connections' lock: its own entry (the packet as it came), the second (the
 * reply as it will come), and the mappings of its inside endpoint and its contact (nat-contacts.ts), unless they are there.
 *
 * What an attacker can do: use up his port's share of the connections; then his own are refused. From outside, the share of the
 * machine that he sends to and that answers him (`payerOf`), nobody else's.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { PROTOCOL_ICMP } from '../wire/ip-protocol.js';
import { PACKET_IPV4 } from '../wire/packet.js';
import {
  CONNECTION_VALUE_WORDS,
  ENTERED_BY_MAPPING,
  GROUP_ATTACHED,
  GROUP_MAPPINGS,
  GROUPS_PER_PORT,
  IS_TRANSLATED_REPLY,
  LOWER_IS_ORIGINAL,
  M_REFERENCES,
  portsWord,
  T_CONTACT,
  T_MAPPING,
  V_LINK,
  V_PORTS,
  V_STATE,
} from './connection-entry.js';
import { FROM_LOWER, keyOfPacket } from './connection-key.js';
import { C_CREATED, C_REFUSED_BUSY, COMMIT_PORT_LIMIT } from './connection-table.js';
import { begin, classOf } from './connection-tracking.js';
import type { Machine } from './machine.js';
import { contactOf } from './nat-contacts.js';
import { rewriteError } from './nat-errors.js';
import {
  BEGINS,
  natPlan,
  ownEntryOf,
  PLAN_ERROR,
  PLAN_FOREIGN,
  PLAN_KNOWN,
  PLAN_NEW,
  planKnown,
  planMapped,
} from './nat-plan.js';
import { isReplyFree, makeReplyKey, newKey, replyKey } from './nat-reply.js';
import { rewritePacket, writeTranslation } from './nat-rewrite.js';
import { hideSource, hides, SOURCE_HIDES, SOURCE_STAYS, sourceFate } from './nat-source.js';
import { NAT_FILTERS_ADDRESSES } from './nat-tables.js';
import { payerOf } from './router-crossing.js';
import { ADDRESS_WORDS } from './routing-tables.js';
import {
  NO_TRANSLATION,
  T_ADDRESSES_CHANGE,
  T_NEW_DESTINATION,
  T_NEW_PORTS,
  T_NEW_SOURCE,
  T_PORTS_CHANGE,
} from './translation-rows.js';

const value = new Int32Array(CONNECTION_VALUE_WORDS);
const secondValue = new Int32Array(CONNECTION_VALUE_WORDS);
const moved = new Int32Array(1);
const movedStamp = new Int32Array(1);

/**
 * Translates the slot's packet, which goes from one interface to another, and there to the member (-1: unknown). Returns 0 or
 * the drop reason's number: then nothing was changed.
 */
export function translate(machine: Machine, slot: number, from: number, to: number, member: number): number {
  switch (natPlan.kind) {
    case PLAN_KNOWN:
      moveOn(machine);
      if (natPlan.translation === NO_TRANSLATION) break;
      writeKnown(machine, slot, natPlan.translation);
      return 0;
    case PLAN_ERROR:
      rewriteError(machine, slot);
      return 0;
    case PLAN_FOREIGN:
      return foreign(machine, slot, from, to);
    case PLAN_NEW: {
      const refusal = translateNew(machine, slot, from, to, member);
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

function writeKnown(machine: Machine, slot: number, row: number): void {
  const { rows } = machine.translations;
  writeTranslation(
    machine,
    slot,
    rows[row + T_NEW_SOURCE],
    rows[row + T_NEW_DESTINATION],
    rows[row + T_NEW_PORTS],
    rows[row + T_ADDRESSES_CHANGE],
    rows[row + T_PORTS_CHANGE],
  );
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

/** What is of no connection and can begin none stays on its side of a router that hides the inside. */
function foreign(machine: Machine, slot: number, from: number, to: number): number {
  const { interfaceExternal } = machine.snapshot.routing;
  if (interfaceExternal[from] === interfaceExternal[to]) return 0;
  if (interfaceExternal[from] !== 0) return hides(machine, slot) ? dropReasonNumber.nat_filtered : 0;
  if (sourceFate(machine, slot) === SOURCE_STAYS) return 0;
  return dropReasonNumber.nat_protocol;
}

function translateNew(machine: Machine, slot: number, from: number, to: number, member: number): number {
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
  natPlan.payer = payerOf(machine, slot, from, member);
  return commit(machine, slot, from, fate);
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
  const side = keyOfPacket(newKey, 0, pool, slot, natPlan.zone);
  const hash = table.hashKey(newKey, 0);
  const there = table.find(hash, newKey, 0);
  if (there !== -1) {
    const own = ownEntryOf(there, table.found);
    const refusal = planKnown(machine, slot, there, side);
    if (refusal !== BEGINS) return refusal;
    // What was there is over, or its ports are used anew.
    connections.drop(own);
  }
  if (!begin(value, pool, slot, side, snapshot.connectionMidstream)) return dropReasonNumber.conntrack_invalid;
  const full = connections.makeRoom(natPlan.payer, natPlan.zone, snapshot, nowSeconds, entriesMax(machine));
  if (full !== 0)
    return full === COMMIT_PORT_LIMIT ? dropReasonNumber.conntrack_port_limit : dropReasonNumber.conntrack_full;
  if (!isStillMapped(machine, slot, from)) return dropReasonNumber.nat_filtered;
  const mapping = fate === SOURCE_HIDES ? hideSource(machine, slot) : 0;
  if (mapping < 0) return -mapping;
  const contact = contactFor(machine, slot, from, mapping);
  if (contact < 0) return giveBack(machine, mapping, 0, dropReasonNumber.conntrack_full);
  // What is hidden for one remote end only counts as a mapping.
  const group = fate === SOURCE_HIDES && mapping === 0 ? GROUP_MAPPINGS : GROUP_ATTACHED;
  const refusal = insertBoth(machine, slot, hash, mapping !== 0 ? mapping : natPlan.mapping, contact, group);
  return refusal === 0 ? 0 : giveBack(machine, mapping, contact, refusal);
}

/** Most entries that one connection of the router takes: two, a pair of mappings, a contact. */
function entriesMax({ snapshot }: Machine): number {
  return (snapshot.nat.routerFlags[natPlan.router] & NAT_FILTERS_ADDRESSES) === 0 ? 4 : 5;
}

const toBefore = new Int32Array(ADDRESS_WORDS);

/**
 * Whether the mapping by which the packet gets in, which was looked up without the lock, still leads to where the packet is
 * being sent. Also when none does that.
 */
function isStillMapped(machine: Machine, slot: number, from: number): boolean {
  if (natPlan.mapping === 0) return true;
  const port = natPlan.newPorts & 0xffff;
  toBefore.set(natPlan.to);
  natPlan.mapping = 0;
  if (planMapped(machine, machine.pool.protocol[slot], from) !== 0 || natPlan.mapping === 0) return false;
  for (let word = 0; word < ADDRESS_WORDS; word++) if (natPlan.to[word] !== toBefore[word]) return false;
  return (natPlan.newPorts & 0xffff) === port;
}

/** The contact that the connection holds, of a router that filters by addresses; 0: none, -1: there is no room for it. */
function contactFor({ pool, snapshot, connections, nowSeconds }: Machine, slot: number, from: number, mapping: number) {
  if ((snapshot.nat.routerFlags[natPlan.router] & NAT_FILTERS_ADDRESSES) === 0) return 0;
  const { zone, ports, newPorts, movesDestination, payer } = natPlan;
  const protocol = pool.protocol[slot];
  if (snapshot.routing.interfaceExternal[from] !== 0) {
    if (natPlan.mapping === 0) return 0;
    const { destination, source } = natPlan;
    return contactOf(connections, zone, protocol, destination, ports & 0xffff, source, payer, nowSeconds);
  }
  // A hairpin stays inside.
  if (mapping === 0 || movesDestination || protocol === PROTOCOL_ICMP) return 0;
  return contactOf(connections, zone, protocol, natPlan.from, newPorts >>> 16, natPlan.to, payer, nowSeconds);
}

/** Inserts the connection, which uses this mapping and contact (0: none). Returns 0 or a drop reason's number. */
function insertBoth(
  machine: Machine,
  slot: number,
  hash: number,
  mapping: number,
  contact: number,
  group: number,
): number {
  const { pool, connections, nowSeconds } = machine;
  const { table } = connections;
  const replySide = makeReplyKey();
  const stamp = table.stampOf(mapping);
  if (!isReplyFree(machine)) return dropReasonNumber.nat_filtered;
  // What gave way may have been the last that used it.
  if (table.stampOf(mapping) !== stamp) return dropReasonNumber.conntrack_invalid;
  const groups = natPlan.payer * GROUPS_PER_PORT;
  secondValue.fill(0);
  secondValue[V_STATE] =
    IS_TRANSLATED_REPLY |
    ((replySide & FROM_LOWER) !== 0 ? LOWER_IS_ORIGINAL : 0) |
    (natPlan.mapping !== 0 ? ENTERED_BY_MAPPING : 0);
  secondValue[T_MAPPING] = mapping;
  secondValue[T_CONTACT] = contact;
  const second = table.insert(table.hashKey(replyKey, 0), replyKey, secondValue, groups + group, nowSeconds);
  if (second === -1) return dropReasonNumber.conntrack_full;
  value[V_LINK] = second;
  value[V_PORTS] = portsWord(pool.ingressPort[slot], -1);
  const own = table.insert(hash, newKey, value, groups + classOf(value[V_STATE]), nowSeconds);
  if (own === -1) {
    table.remove(second);
    return dropReasonNumber.conntrack_full;
  }
  addUser(machine, mapping);
  addUser(machine, contact);
  table.setValueWord(second, V_LINK, own);
  connections.networkCounts[natPlan.zone]++;
  connections.count(C_CREATED);
  return 0;
}

/** One connection more uses the mapping or contact; 0: there is none. */
function addUser({ connections }: Machine, entry: number): void {
  const { table } = connections;
  if (entry !== 0) table.setValueWord(entry, M_REFERENCES, table.valueWord(entry, M_REFERENCES) + 1);
}

/** What was made for a connection that is not made goes again. */
function giveBack({ connections }: Machine, mapping: number, contact: number, reason: number): number {
  const { table } = connections;
  if (mapping !== 0 && table.isLive(mapping) && table.valueWord(mapping, M_REFERENCES) === 0)
    connections.dropMapping(mapping);
  if (contact !== 0 && table.isLive(contact) && table.valueWord(contact, M_REFERENCES) === 0) table.remove(contact);
  return reason;
}
