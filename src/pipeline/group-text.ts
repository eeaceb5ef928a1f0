/**
 * What the group stages decided, in words for `weft trace`. Judges again what they judged, from the same state and without
 * counting: they keep no record of what nobody asks for. Main thread.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { PACKET_OTHER } from '../wire/packet.js';
import { isAlwaysAllowedFrom, isAlwaysAllowedTo } from './always-allowed.js';
import { CONNECTION_RELATED, CONNECTION_REPLY } from './connection-table.js';
import type { EgressBatch } from './egress-batch.js';
import { HAS_BEGUN, keyOfConnection } from './group-judge.js';
import { type GroupPolicy, groupRuleText, groupsOfSet, matchOf } from './group-table.js';
import type { Machine } from './machine.js';
import { KEY_DESTINATION, KEY_SOURCE, KEY_WORDS, keyOfSlot } from './rule-key.js';
import { POLICY_GROUPS, PORT_FACES_VM } from './snapshot.js';
import type { Names } from './stage.js';

const key = new Int32Array(KEY_WORDS);

/** Why a packet passes at one end. `rule`: of the group whose rule allows it, or had let its connection begin. */
interface Decision {
  readonly text: string;
  readonly rule?: string;
}

/** Of a frame that may come from its port. */
export function explainFrom(machine: Machine, slot: number, names: Names): string {
  return decisionFrom(machine, slot, names).text;
}

/** `groups.web.rules[2]`; undefined: no rule let the frame come from its port. */
export function ruleThatLetFrom(machine: Machine, slot: number, names: Names): string | undefined {
  return machine.pool.reason[slot] !== 0 ? undefined : decisionFrom(machine, slot, names).rule;
}

/** Of a copy that may leave by its port. */
export function explainTo(machine: Machine, copies: EgressBatch, index: number, names: Names): string {
  return decisionTo(machine, copies, index, names).text;
}

export function ruleThatLetTo(machine: Machine, copies: EgressBatch, index: number, names: Names): string | undefined {
  return copies.reasons[index] !== 0 ? undefined : decisionTo(machine, copies, index, names).rule;
}

function decisionFrom(machine: Machine, slot: number, names: Names): Decision {
  const { pool, snapshot } = machine;
  const port = pool.ingressPort[slot];
  if ((snapshot.portPolicy[port] & POLICY_GROUPS) === 0) return { text: `${names.port(port)} has no security groups` };
  if (pool.packetKind[slot] === PACKET_OTHER) return { text: 'the port allows its ethertype' };
  if (isAlwaysAllowedFrom(pool, slot)) return { text: 'always allowed from machines' };
  return byConnection(machine, slot, port, true) ?? byRule(machine, slot, port, true);
}

function decisionTo(machine: Machine, copies: EgressBatch, index: number, names: Names): Decision {
  const { pool, snapshot } = machine;
  const slot = copies.slots[index];
  const port = snapshot.memberPort[copies.members[index]];
  if ((snapshot.portPolicy[port] & POLICY_GROUPS) === 0) return { text: `${names.port(port)} has no security groups` };
  if (pool.isGenerated[slot] !== 0) return { text: 'the switch itself says it' };
  if (pool.packetKind[slot] === PACKET_OTHER) return { text: 'the port allows its ethertype' };
  const isFromVm = (snapshot.portFlags[pool.ingressPort[slot]] & PORT_FACES_VM) !== 0;
  if (isAlwaysAllowedTo(pool, slot, isFromVm)) return { text: 'always allowed to machines' };
  return byConnection(machine, slot, port, false) ?? byRule(machine, slot, port, false);
}

/** Why a frame was stopped by its port's groups. */
export function explainDeniedFrom(machine: Machine, slot: number, names: Names): string {
  const { pool, snapshot } = machine;
  const port = pool.ingressPort[slot];
  return denial(machine, slot, pool.reason[slot], port, snapshot.groups.portFrom[port], 'egress', names);
}

/** Why a copy was. */
export function explainDeniedTo(machine: Machine, copies: EgressBatch, index: number, names: Names): string {
  const { snapshot } = machine;
  const port = snapshot.memberPort[copies.members[index]];
  const set = snapshot.groups.portTo[port];
  return denial(machine, copies.slots[index], copies.reasons[index], port, set, 'ingress', names);
}

function denial(
  { pool, snapshot }: Machine,
  slot: number,
  reason: number,
  port: number,
  set: number,
  direction: string,
  names: Names,
): string {
  const name = names.port(port);
  if (reason !== dropReasonNumber.group_deny) return `${name} has security groups.`;
  if (pool.packetKind[slot] === PACKET_OTHER)
    return `No rule can speak of its ethertype, and ${name} does not list it.`;
  const count = set < 0 ? 0 : snapshot.groups.sets[set].rules.ruleCount;
  if (count === 0) return `There are no ${direction} rules of ${name}.`;
  const groups = groupsOfSet(snapshot.groups, set).join(', ');
  return `None of the ${count} ${direction} rules of ${name} allows it (groups: ${groups}).`;
}

/** Of a frame of a connection that was there before it: with the rule that would let the connection begin at this end. */
function byConnection(machine: Machine, slot: number, port: number, isSource: boolean): Decision | undefined {
  const { pool, snapshot, connections } = machine;
  const { groups } = snapshot;
  const state = pool.connectionState[slot];
  const connection = pool.connection[slot];
  if (groups.portStateful[port] === 0 || connection <= 0 || (state & HAS_BEGUN) !== 0) return undefined;
  const what =
    (state & CONNECTION_RELATED) !== 0
      ? `an error about connection ${connection}, which is allowed`
      : `connection ${connection} is allowed`;
  keyOfConnection(key, connections, connection);
  const rule = ruleOf(groups, port, ((state & CONNECTION_REPLY) !== 0) !== isSource);
  return rule === undefined ? { text: what } : { text: `${what} by ${rule}`, rule };
}

/** Of a frame that was judged by rules, or began its connection by them. */
function byRule({ pool, snapshot }: Machine, slot: number, port: number, isSource: boolean): Decision {
  keyOfSlot(key, pool, slot, 0);
  const rule = ruleOf(snapshot.groups, port, isSource);
  const allowed = rule === undefined ? 'allowed when its connection began' : `allowed by ${rule}`;
  const isFirst = (pool.connectionState[slot] & HAS_BEGUN) !== 0 && pool.connection[slot] > 0;
  const text = isFirst ? `${allowed}; begins connection ${pool.connection[slot]}` : allowed;
  return { text, ...(rule !== undefined && { rule }) };
}

/** The rule that lets the packet of `key` come from the port, or go to it; undefined: there is none. */
function ruleOf(groups: GroupPolicy, port: number, isSource: boolean): string | undefined {
  const set = isSource ? groups.portFrom[port] : groups.portTo[port];
  const rule = set < 0 ? -1 : matchOf(groups, set, key, isSource ? KEY_DESTINATION : KEY_SOURCE);
  return rule < 0 ? undefined : groupRuleText(groups, set, rule);
}
