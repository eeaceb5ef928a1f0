/**
 * What the group stages decided, in words for `weft trace`. Judges again what they judged, from the same state and without
 * counting: they keep no record of what nobody asks for.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { PACKET_OTHER } from '../wire/packet.js';
import { isAlwaysAllowedFrom, isAlwaysAllowedTo } from './always-allowed.js';
import { CONNECTION_RELATED } from './connection-table.js';
import type { EgressBatch } from './egress-batch.js';
import { HAS_BEGUN } from './group-judge.js';
import { type GroupPolicy, groupRuleText, matchOf } from './group-table.js';
import type { Machine } from './machine.js';
import { KEY_DESTINATION, KEY_SOURCE, KEY_WORDS, keyOfSlot } from './rule-key.js';
import { POLICY_GROUPS, PORT_FACES_VM } from './snapshot.js';
import type { Names } from './stage.js';

const key = new Int32Array(KEY_WORDS);

/** Of a frame that may come from its port. */
export function explainFrom(machine: Machine, slot: number, names: Names): string {
  const { pool, snapshot } = machine;
  const port = pool.ingressPort[slot];
  if ((snapshot.portPolicy[port] & POLICY_GROUPS) === 0) return `${names.port(port)} has no security groups`;
  if (pool.packetKind[slot] === PACKET_OTHER) return 'the port allows its ethertype';
  if (isAlwaysAllowedFrom(pool, slot)) return 'always allowed from machines';
  return byConnection(machine, slot, port) ?? byRule(machine, slot, snapshot.groups.portFrom[port], KEY_DESTINATION);
}

/** Of a copy that may leave by its port. */
export function explainTo(machine: Machine, copies: EgressBatch, index: number, names: Names): string {
  const { pool, snapshot } = machine;
  const slot = copies.slots[index];
  const port = snapshot.memberPort[copies.members[index]];
  if ((snapshot.portPolicy[port] & POLICY_GROUPS) === 0) return `${names.port(port)} has no security groups`;
  if (pool.isGenerated[slot] !== 0) return 'the switch itself says it';
  if (pool.packetKind[slot] === PACKET_OTHER) return 'the port allows its ethertype';
  const isFromVm = (snapshot.portFlags[pool.ingressPort[slot]] & PORT_FACES_VM) !== 0;
  if (isAlwaysAllowedTo(pool, slot, isFromVm)) return 'always allowed to machines';
  return byConnection(machine, slot, port) ?? byRule(machine, slot, snapshot.groups.portTo[port], KEY_SOURCE);
}

/** Why a frame was stopped by its port's groups. */
export function explainDeniedFrom(machine: Machine, slot: number, names: Names): string {
  const { pool, snapshot } = machine;
  const port = pool.ingressPort[slot];
  if (pool.reason[slot] !== dropReasonNumber.group_deny) return `${names.port(port)} has security groups.`;
  if (pool.packetKind[slot] === PACKET_OTHER)
    return `No rule can speak of its ethertype, and ${names.port(port)} does not list it.`;
  return denial(snapshot.groups, snapshot.groups.portFrom[port], `egress rules of ${names.port(port)}`);
}

function denial({ sets }: GroupPolicy, set: number, which: string): string {
  const count = set < 0 ? 0 : sets[set].rules.ruleCount;
  return count === 0 ? `There are no ${which}.` : `None of the ${count} ${which} allows it.`;
}

/** Of a frame of a connection that was there before it. */
function byConnection({ pool, snapshot }: Machine, slot: number, port: number): string | undefined {
  const state = pool.connectionState[slot];
  const connection = pool.connection[slot];
  if (snapshot.groups.portStateful[port] === 0 || connection <= 0 || (state & HAS_BEGUN) !== 0) return undefined;
  return (state & CONNECTION_RELATED) !== 0
    ? `an error about connection ${connection}, which is allowed`
    : `connection ${connection} is allowed`;
}

/** Of a frame that was judged by rules, or began its connection by them. */
function byRule({ pool, snapshot }: Machine, slot: number, set: number, remote: number): string {
  keyOfSlot(key, pool, slot, 0);
  const rule = matchOf(snapshot.groups, set, key, remote);
  const allowed =
    rule < 0 ? 'allowed when its connection began' : `allowed by ${groupRuleText(snapshot.groups, set, rule)}`;
  const isFirst = (pool.connectionState[slot] & HAS_BEGUN) !== 0 && pool.connection[slot] > 0;
  return isFirst ? `${allowed}; begins connection ${pool.connection[slot]}` : allowed;
}
