/**
 * Security groups as workers judge by them (pipeline/group-table.ts). What is expensive is kept from one snapshot to the next
 * and recognised by its content: the compiled rules of each combination of groups, and apart from them the members'
 * addresses, so that a machine that joins or leaves a group costs one new set of addresses and no rule is compiled.
 * Main thread.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { AddressSets } from '../pipeline/address-sets.js';
import type { GroupPolicy, GroupRules } from '../pipeline/group-table.js';
import { POLICY_FRAGMENTS, POLICY_GROUPS, POLICY_READ, POLICY_TRACKED } from '../pipeline/snapshot.js';
import { type Prefix, parsePrefix, prefixText } from '../wire/address.js';
import { compileAddressSets } from './compile-address-sets.js';
import { compileRules } from './compile-rules.js';
import type { Indices } from './indices.js';
import type { ResolvedConfig, ResolvedGroupRule, ResolvedPort } from './resolved.js';
import type { RuleConditions } from './rule-conditions.js';
import { RuleNumbers } from './rule-numbers.js';

type Direction = ResolvedGroupRule['direction'];

/** Where a port's bits go. */
export interface PolicyBits {
  readonly portPolicy: Int32Array;
  readonly networkPolicy: Int32Array;
}

interface Kept<Value> {
  readonly key: string;
  readonly value: Value;
}

/** Rules of a combination of groups in one direction, before they are compiled. */
interface RuleList {
  readonly key: string;
  readonly rules: readonly RuleConditions[];
  readonly origins: readonly number[];
}

/**
 * Makes epochs that nobody outside this process can foresee, and connections that were kept over a restart are judged anew:
 * 31 bits of a hash meet by accident once in two thousand million changes, but a tenant who could compute them would find
 * two policies with the same.
 */
const salt = randomBytes(16);

export class GroupCompiler {
  /** Of the snapshot before; what the next one does not need either is forgotten. */
  private rules = new Map<string, GroupRules>();
  private addresses: Kept<AddressSets> | undefined;
  /** A group keeps its number for as long as it exists: compiled rules know groups by it. */
  private numbers = new Map<string, number>();

  /** `portCount`: ports the tables have rows for. Rules are counted under `numbers`, between its begin() and the next one. */
  compile(
    config: ResolvedConfig,
    indices: Indices,
    portCount: number,
    numbers: RuleNumbers = new RuleNumbers(),
  ): GroupPolicy {
    this.numbers = renumbered(this.numbers, config.groups.keys());
    const row = (initial: number) => sharedWords(new Array<number>(portCount).fill(initial));
    const policy = { portFrom: row(-1), portTo: row(-1), portStateful: row(0) };
    const sets = new Sets(this.rules);
    const facts = createHash('sha256').update(salt);
    const ethertypes = new EthertypeLists(portCount);
    for (const [name, port] of config.ports) {
      const index = indices.port(name);
      if (port.groups === undefined || index === undefined) continue;
      const from = this.ruleList(config, port.groups, 'egress');
      const to = this.ruleList(config, port.groups, 'ingress');
      policy.portFrom[index] = sets.place(from);
      policy.portTo[index] = sets.place(to);
      policy.portStateful[index] = isStateful(config, port) ? 1 : 0;
      ethertypes.add(index, port.allowEthertypes);
      facts.update(JSON.stringify([index, name, policy.portStateful[index], from.key, to.key]));
    }
    this.rules = sets.used;
    const addresses = this.addressSets(config, sets.list);
    facts.update(addresses.key);
    return {
      ...policy,
      ...ethertypes.shared(),
      sets: sets.list,
      addresses: addresses.value,
      names: namesOf(this.numbers),
      counterBase: this.counterBases(config, numbers),
      epoch: facts.digest().readInt32BE(0) & 0x7fff_ffff || 1,
    };
  }

  /** By group. The numbers of an ACL end with its default's; a group has none, and leaves that one unused. */
  private counterBases(config: ResolvedConfig, numbers: RuleNumbers): Int32Array {
    const bases: number[] = [];
    for (const [name, number] of this.numbers) {
      const rules = config.groups.get(name)?.rules ?? [];
      const content = JSON.stringify(rules.map(({ remote, ...rest }) => [rest, remote && prefixText(remote)]));
      bases[number] = numbers.claim(`groups.${name}`, content, rules.length + 1);
    }
    return sharedWords(Array.from(bases, (base) => base ?? -1));
  }

  /** In the order of the groups' names, so that ports that list them otherwise share the result. */
  private ruleList(config: ResolvedConfig, groups: readonly string[], direction: Direction): RuleList {
    const rules: RuleConditions[] = [];
    const origins: number[] = [];
    for (const name of [...groups].sort()) {
      for (const [index, rule] of (config.groups.get(name)?.rules ?? []).entries()) {
        if (rule.direction !== direction) continue;
        rules.push(conditionsOf(rule, rule.remoteGroup === undefined ? undefined : this.numbers.get(rule.remoteGroup)));
        origins.push(this.numbers.get(name) ?? -1, index);
      }
    }
    return { key: keyOf(rules, origins), rules, origins };
  }

  /** Of the groups that rules in use ask for. */
  private addressSets(config: ResolvedConfig, sets: readonly GroupRules[]): Kept<AddressSets> {
    const wanted = new Set(sets.flatMap(({ rules }) => [...rules.remoteSets]));
    const members: Prefix[][] = [];
    for (const { groups, addresses, allowedPairs } of config.ports.values()) {
      for (const group of groups ?? []) {
        const number = this.numbers.get(group) ?? -1;
        if (!wanted.has(number)) continue;
        members[number] ??= [];
        members[number].push(...addresses.map(hostOf), ...allowedPairs.map(({ prefix }) => prefix));
      }
    }
    const key = JSON.stringify(Array.from(members, (prefixes) => [...new Set(prefixes?.map(prefixText))].sort()));
    if (this.addresses?.key !== key) this.addresses = { key, value: compileAddressSets(members) };
    return this.addresses;
  }
}

/** The bits of what groups ask for: on their ports, and on the networks that frames to those come from. */
export function markGroupPolicy(bits: PolicyBits, config: ResolvedConfig, indices: Indices): void {
  for (const [name, port] of config.ports) {
    const index = indices.port(name);
    if (port.groups === undefined || index === undefined) continue;
    bits.portPolicy[index] |= POLICY_GROUPS | POLICY_READ | POLICY_FRAGMENTS;
    const asked = POLICY_READ | POLICY_FRAGMENTS | (isStateful(config, port) ? POLICY_TRACKED : 0);
    for (const member of port.members) bits.networkPolicy[indices.network(member.network) ?? -1] |= asked;
  }
}

/** With `groups: []` nothing is allowed that could be tracked. */
function isStateful(config: ResolvedConfig, { groups }: ResolvedPort): boolean {
  return groups?.some((name) => config.groups.get(name)?.stateful === true) ?? false;
}

function conditionsOf(rule: ResolvedGroupRule, remoteSet: number | undefined): RuleConditions {
  const { family, protocol, ports, icmpType, icmpCode, remote } = rule;
  return {
    ...(family !== undefined && { family }),
    ...(protocol !== undefined && { protocol }),
    ...(ports.length > 0 && { destinationPorts: ports }),
    ...(icmpType !== undefined && { icmpType }),
    ...(icmpCode !== undefined && { icmpCode }),
    ...(remote !== undefined && (rule.direction === 'ingress' ? { source: remote } : { destination: remote })),
    ...(remoteSet !== undefined && { remoteSet }),
  };
}

function keyOf(rules: readonly RuleConditions[], origins: readonly number[]): string {
  const written = rules.map(({ source, destination, ...rest }) => [
    rest,
    source === undefined ? '' : prefixText(source),
    destination === undefined ? '' : prefixText(destination),
  ]);
  return JSON.stringify([written, origins]);
}

/** Compiled rules of one snapshot, each once; those of the snapshot before are taken over. */
class Sets {
  readonly list: GroupRules[] = [];
  readonly used = new Map<string, GroupRules>();
  private readonly places = new Map<string, number>();
  private readonly kept: ReadonlyMap<string, GroupRules>;

  constructor(kept: ReadonlyMap<string, GroupRules>) {
    this.kept = kept;
  }

  place({ key, rules, origins }: RuleList): number {
    const known = this.places.get(key);
    if (known !== undefined) return known;
    const compiled = this.kept.get(key) ?? { rules: compileRules(rules), origins: sharedWords(origins) };
    this.used.set(key, compiled);
    this.places.set(key, this.list.length);
    return this.list.push(compiled) - 1;
  }
}

/** Sorted lists of numbers by port. */
class EthertypeLists {
  private readonly starts: number[];
  private readonly counts: number[];
  private readonly types: number[] = [];

  constructor(portCount: number) {
    this.starts = new Array<number>(portCount).fill(0);
    this.counts = new Array<number>(portCount).fill(0);
  }

  add(port: number, types: readonly number[]): void {
    this.starts[port] = this.types.length;
    this.counts[port] = types.length;
    this.types.push(...types);
  }

  shared(): Pick<GroupPolicy, 'ethertypeStart' | 'ethertypeCount' | 'ethertypes'> {
    return {
      ethertypeStart: sharedWords(this.starts),
      ethertypeCount: sharedWords(this.counts),
      ethertypes: sharedWords(this.types),
    };
  }
}

function renumbered(before: ReadonlyMap<string, number>, names: Iterable<string>): Map<string, number> {
  const wanted = [...names];
  const numbers = new Map<string, number>();
  for (const name of wanted) {
    const number = before.get(name);
    if (number !== undefined) numbers.set(name, number);
  }
  const taken = new Set(numbers.values());
  let free = 0;
  for (const name of wanted) {
    if (numbers.has(name)) continue;
    while (taken.has(free)) free++;
    numbers.set(name, free++);
  }
  return numbers;
}

function namesOf(numbers: ReadonlyMap<string, number>): string[] {
  const names: string[] = [];
  for (const [name, number] of numbers) names[number] = name;
  return Array.from(names, (name) => name ?? '');
}

/** `10.0.0.5/24` is the machine's address; the prefix only says what it is connected to. */
function hostOf(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new TypeError(`unvalidated address: ${text}`);
  return { address: prefix.address, length: prefix.address.length * 8 };
}

function sharedWords(values: readonly number[]): Int32Array {
  const words = new Int32Array(new SharedArrayBuffer(values.length * Int32Array.BYTES_PER_ELEMENT));
  words.set(values);
  return words;
}
