/**
 * Security groups as workers judge by them: for each port the union of its groups' rules, by direction, and which addresses
 * are members of the groups that rules ask for. A part of the snapshot; made by control/compile-groups.ts. @hot
 *
 * Rules only allow. Directions are Neutron's, seen from the machine: egress rules judge what comes **from** it, ingress
 * rules what goes **to** it; the remote side is the other one's address. The cost of a judgement is bounded by the rules
 * alone (classifier.ts): nothing that is sent makes it dearer.
 */

import { REMOTE_GROUPS_MAX } from '../limits.js';
import { PACKET_IPV4 } from '../wire/packet.js';
import { type AddressSets, findSets } from './address-sets.js';
import { type CompiledRules, firstMatch } from './classifier.js';
import { KEY_DESTINATION, KEY_KIND, KEY_SOURCE } from './rule-key.js';

/** One direction of all the groups of a port. Ports with the same groups share it. */
export interface GroupRules {
  readonly rules: CompiledRules;
  /** Two words a rule: the number of its group, and its place in there from 0. */
  readonly origins: Int32Array;
}

export interface GroupPolicy {
  /**
   * Stands for all that groups decide by: the same number, the same decisions. Kept with connections; one whose number is
   * another is judged anew.
   */
  readonly epoch: number;
  /** By port. Place in `sets` of the rules for what comes from it and goes to it; -1: the port has no groups. */
  readonly portFrom: Int32Array;
  readonly portTo: Int32Array;
  /** 1: the port's groups are stateful, so its connections are tracked. */
  readonly portStateful: Int32Array;
  /** Ethertypes besides ARP and IP that may come from and go to the port: its part of `ethertypes`. */
  readonly ethertypeStart: Int32Array;
  readonly ethertypeCount: Int32Array;
  readonly ethertypes: Int32Array;
  readonly sets: readonly GroupRules[];
  readonly addresses: AddressSets;
  /** By number; for explanations. */
  readonly names: readonly string[];
  /** By number: that of the group's first rule in rule-counters.ts; -1: its rules are not counted. */
  readonly counterBase: Int32Array;
}

/** One worker is one thread, and judgements are not nested. */
const found = new Int32Array(REMOTE_GROUPS_MAX + 1);

/** The first of the port's rules that lets the key's packet come from it; -1: none. The port has groups. */
export function ruleFrom(policy: GroupPolicy, port: number, key: Int32Array): number {
  return matchOf(policy, policy.portFrom[port], key, KEY_DESTINATION);
}

/** The same for what goes to it. */
export function ruleTo(policy: GroupPolicy, port: number, key: Int32Array): number {
  return matchOf(policy, policy.portTo[port], key, KEY_SOURCE);
}

/** The same of one of `sets`; `remote`: KEY_... of the other side's address. */
export function matchOf(policy: GroupPolicy, set: number, key: Int32Array, remote: number): number {
  const { rules } = policy.sets[set];
  if (rules.ruleCount === 0 || key[KEY_KIND] < PACKET_IPV4) return -1;
  findSets(policy.addresses, key, remote, rules.remoteSets, found);
  return firstMatch(rules, key, found);
}

/** Whether a frame that is neither ARP nor IP may come from and go to the port: no rule can speak of it. */
export function isExtraEthertype(policy: GroupPolicy, port: number, ethertype: number): boolean {
  const start = policy.ethertypeStart[port];
  const end = start + policy.ethertypeCount[port];
  for (let index = start; index < end; index++) if (policy.ethertypes[index] === ethertype) return true;
  return false;
}

/** Number of a set's rule in rule-counters.ts; -1: it is not counted. */
export function counterOf(policy: GroupPolicy, set: number, rule: number): number {
  const { origins } = policy.sets[set];
  const base = policy.counterBase[origins[rule * 2]];
  return base < 0 ? -1 : base + origins[rule * 2 + 1];
}

/** Names of the groups whose rules are in the set, each once. */
export function groupsOfSet(policy: GroupPolicy, set: number): readonly string[] {
  const { origins } = policy.sets[set];
  const names = new Set<string>();
  for (let index = 0; index < origins.length; index += 2) names.add(policy.names[origins[index]]);
  return [...names];
}

/** As `groups.web.rules[2]`. */
export function groupRuleText(policy: GroupPolicy, set: number, rule: number): string {
  const { origins } = policy.sets[set];
  return `groups.${policy.names[origins[rule * 2]]}.rules[${origins[rule * 2 + 1] + 1}]`;
}
