/**
 * Carries out what nat-plan.ts planned, when the packet is about to leave: a connection that stands is moved on, a new one is
 * made, with the outside endpoint of its source if it leaves for the outside (nat-source.ts), and the packet is rewritten. @hot
 *
 * A new connection is made under one hold of the connections' lock: its own entry (the packet as it came), the second (the
 * reply as it will come), and the mappings of its inside endpoint, unless that has them.
 *
 * What an attacker can do: use up his port's share of the connections; then his own are refused.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { PACKET_IPV4 } from '../wire/packet.js';
import {
  CLASS_MASK,
  CLASS_SHIFT,
  CONNECTION_VALUE_WORDS,
  GROUP_ATTACHED,
  GROUP_MAPPINGS,
  GROUPS_PER_PORT,
  IS_TRANSLATED_REPLY,
  KEY_ZONE,
  KIND_MAPPED_INSIDE,
  LOWER_IS_ORIGINAL,
  M_REFERENCES,
  portsWord,
  T_MAPPING,
  V_LINK,
  V_PORTS,
  V_STATE,
} from './connection-entry.js';
import { FROM_LOWER, keyOfPacket } from './connection-key.js';
import { C_CREATED, C_REFUSED_BUSY, COMMIT_PORT_LIMIT } from './connection-table.js';
import { begin, classOf } from './connection-tracking.js';
import type { Machine } from './machine.js';
import { rewriteError } from './nat-errors.js';
import { natPlan, ownEntryOf, PLAN_ERROR, PLAN_FOREIGN, PLAN_KNOWN, PLAN_NEW, planKnown } from './nat-plan.js';
import { isReplyFree, makeReplyKey, newKey, replyKey } from './nat-reply.js';
import { rewritePacket } from './nat-rewrite.js';
import {
  chooseOutside,
  hideSource,
  hides,
  isSourceInside,
  SOURCE_HIDES,
  SOURCE_STAYS,
  sourceFate,
} from './nat-source.js';

/** Entries that one connection may need. */
const ENTRIES_MAX = 4;

const value = new Int32Array(CONNECTION_VALUE_WORDS);
const secondValue = new Int32Array(CONNECTION_VALUE_WORDS);
const moved = new Int32Array(1);
const movedStamp = new Int32Array(1);

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

/** What is of no connection and can begin none stays on its side of a router that hides the inside. */
function foreign(machine: Machine, slot: number, from: number, to: number): number {
  const { interfaceExternal } = machine.snapshot.routing;
  if (interfaceExternal[from] === interfaceExternal[to]) return 0;
  if (interfaceExternal[from] !== 0) return hides(machine, slot) ? dropReasonNumber.nat_filtered : 0;
  if (sourceFate(machine, slot) === SOURCE_STAYS) return 0;
  return dropReasonNumber.nat_protocol;
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
  if (fate === SOURCE_HIDES && !chooseOutside(machine, slot)) return dropReasonNumber.nat_protocol;
  if (fate !== SOURCE_STAYS && !isSourceInside(machine, slot)) return dropReasonNumber.martian;
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

/** Inserts the connection; `mapping`: what it uses, 0: none. Returns 0 or a drop reason's number. */
function insertBoth(machine: Machine, slot: number, hash: number, mapping: number): number {
  const { pool, connections, nowSeconds } = machine;
  const { table } = connections;
  const uses = mapping !== 0 ? mapping : natPlan.mapping;
  const replySide = makeReplyKey();
  if (!isReplyFree(machine)) return giveBack(machine, mapping, dropReasonNumber.nat_filtered);
  const group = pool.ingressPort[slot] * GROUPS_PER_PORT;
  secondValue.fill(0);
  secondValue[V_STATE] = IS_TRANSLATED_REPLY | ((replySide & FROM_LOWER) !== 0 ? LOWER_IS_ORIGINAL : 0);
  // An inside mapping may have gone with its last connection since it was looked up without the lock.
  secondValue[T_MAPPING] = uses !== 0 && table.isLive(uses) && isInsideMapping(machine, uses) ? uses : 0;
  const secondHash = table.hashKey(replyKey, 0);
  const isDependent = mapping === 0 && natPlan.newPorts >>> 16 !== natPlan.ports >>> 16;
  const second = table.insert(
    secondHash,
    replyKey,
    secondValue,
    group + (isDependent ? GROUP_MAPPINGS : GROUP_ATTACHED),
    nowSeconds,
  );
  if (second === -1) return giveBack(machine, mapping, dropReasonNumber.conntrack_full);
  value[V_LINK] = second;
  value[V_PORTS] = portsWord(pool.ingressPort[slot], -1);
  const own = table.insert(hash, newKey, value, group + ((value[V_STATE] & CLASS_MASK) >> CLASS_SHIFT), nowSeconds);
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
