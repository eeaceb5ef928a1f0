/**
 * Security groups with their words turned into numbers, and what must hold for them beyond the schema: what Neutron's API
 * refuses is refused here too (../shared/reference/semantics.md 1.4), each with its path. Pure.
 *
 * As in Neutron, `icmp` in a rule for IPv6 means ICMPv6; a rule's family follows from its remote or its protocol if it is
 * not said; and a rule that says nothing of both is for IPv4 and IPv6.
 */
import { REMOTE_GROUPS_MAX } from '../limits.js';
import { networkOf, type Prefix, parsePrefix } from '../wire/address.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from '../wire/ip-protocol.js';
import type { ConfigFault, ConfigPath } from './config-path.js';
import { icmpTypes, icmpv6Types, protocolNumbers, protocolsWithPorts } from './protocol-names.js';
import type { NumberRange, ResolvedGroup, ResolvedGroupRule } from './resolved.js';
import type { Config } from './schema.js';
import { didYouMean } from './suggest.js';
import { parseRange } from './units.js';

type GroupRuleConfig = Config['groups'][string]['rules'][number];
type Family = 'ipv4' | 'ipv6';

const familyNames = { ipv4: 'IPv4', ipv6: 'IPv6' } as const;

export function resolveGroups(config: Config, faults: ConfigFault[]): Map<string, ResolvedGroup> {
  const groups = new Map<string, ResolvedGroup>();
  for (const [name, { stateful, rules }] of Object.entries(config.groups)) {
    const settled = rules.map((rule, index) => resolveRule(rule, ['groups', name, 'rules', index], faults));
    groups.set(name, { stateful, rules: settled });
  }
  checkPorts(config, groups, faults);
  checkRemoteGroups(config, groups, faults);
  return groups;
}

/** A port is judged with the rules of all its groups, and looks a remote address up in all the groups that these name. */
function checkRemoteGroups(config: Config, groups: ReadonlyMap<string, ResolvedGroup>, faults: ConfigFault[]): void {
  for (const [port, { groups: names }] of Object.entries(config.ports)) {
    const rules = (names ?? []).flatMap((name) => groups.get(name)?.rules ?? []);
    const count = new Set(rules.flatMap(({ remoteGroup }) => remoteGroup ?? [])).size;
    if (count <= REMOTE_GROUPS_MAX) continue;
    const message = `their rules ask for ${count} remote groups; at most ${REMOTE_GROUPS_MAX} for one port`;
    faults.push({ path: ['ports', port, 'groups'], code: 'limit', message });
  }
}

/** Neutron answers 409: a port's packets are either tracked or they are not. */
function checkPorts(config: Config, groups: ReadonlyMap<string, ResolvedGroup>, faults: ConfigFault[]): void {
  for (const [port, { groups: names }] of Object.entries(config.ports)) {
    const known = (names ?? []).filter((name) => groups.has(name));
    const stateless = known.find((name) => groups.get(name)?.stateful === false);
    const stateful = known.find((name) => groups.get(name)?.stateful === true);
    if (stateless === undefined || stateful === undefined) continue;
    const message = `${stateful} is stateful and ${stateless} is not; a port's groups are either`;
    faults.push({ path: ['ports', port, 'groups'], message });
  }
}

function resolveRule(rule: GroupRuleConfig, path: ConfigPath, faults: ConfigFault[]): ResolvedGroupRule {
  const fault = (key: string, message: string) => void faults.push({ path: [...path, key], message });
  if (rule.remote !== undefined && rule.remoteGroup !== undefined)
    fault('remoteGroup', 'the rule has remote too; the other side is either a prefix or a group');
  const remote = rule.remote === undefined ? undefined : remotePrefix(rule.remote);
  const { protocol, family } = protocolAndFamily(rule, remote, fault);
  const ports = portsOf(rule, protocol, fault);
  const icmpType = icmpTypeOf(rule, protocol, fault);
  return {
    direction: rule.direction,
    ...(family !== undefined && { family }),
    ...(protocol !== undefined && { protocol }),
    ports,
    ...(icmpType !== undefined && { icmpType }),
    ...(rule.icmpCode !== undefined && { icmpCode: rule.icmpCode }),
    ...(remote !== undefined && { remote }),
    ...(rule.remoteGroup !== undefined && { remoteGroup: rule.remoteGroup }),
  };
}

function remotePrefix(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new TypeError(`unvalidated prefix: ${text}`);
  return networkOf(prefix);
}

type Fault = (key: string, message: string) => void;

function protocolAndFamily(
  rule: GroupRuleConfig,
  remote: Prefix | undefined,
  fault: Fault,
): { protocol?: number; family?: Family } {
  const ofRemote: Family | undefined = remote && (remote.address.length === 4 ? 'ipv4' : 'ipv6');
  if (rule.family !== undefined && ofRemote !== undefined && rule.family !== ofRemote)
    fault('remote', `is ${familyNames[ofRemote]}, the rule is for ${familyNames[rule.family]}`);
  const family = rule.family ?? ofRemote;
  if (rule.proto === undefined) return family === undefined ? {} : { family };
  const named = protocolOf(rule.proto, fault);
  if (named === undefined) return family === undefined ? {} : { family };
  const protocol = rule.proto === 'icmp' && family === 'ipv6' ? PROTOCOL_ICMPV6 : named;
  const ofProtocol = protocol === PROTOCOL_ICMP ? 'ipv4' : protocol === PROTOCOL_ICMPV6 ? 'ipv6' : undefined;
  if (family !== undefined && ofProtocol !== undefined && family !== ofProtocol)
    fault('proto', `${rule.proto} is ${familyNames[ofProtocol]}'s, the rule is for ${familyNames[family]}`);
  const settled = family ?? ofProtocol;
  return { protocol, ...(settled !== undefined && { family: settled }) };
}

function protocolOf(proto: string | number, fault: Fault): number | undefined {
  if (typeof proto === 'number') return proto;
  const number = protocolNumbers.get(proto);
  if (number === undefined)
    fault('proto', `no protocol is called ${proto}${didYouMean(proto, [...protocolNumbers.keys()])}; write its number`);
  return number;
}

function portsOf(rule: GroupRuleConfig, protocol: number | undefined, fault: Fault): NumberRange[] {
  if (rule.port === undefined) return [];
  if (protocol === undefined || !protocolsWithPorts.has(protocol)) {
    const which = rule.proto === undefined ? 'a rule without proto' : `${rule.proto}`;
    fault('port', `${which} has no ports; they are for tcp, udp, sctp, dccp and udplite`);
    return [];
  }
  const written = Array.isArray(rule.port) ? rule.port : [rule.port];
  const ports = written.flatMap((text) => parseRange(text) ?? []);
  if (ports.some(({ first }) => first === 0)) fault('port', 'port 0 is not one that can be allowed');
  return ports;
}

function icmpTypeOf(rule: GroupRuleConfig, protocol: number | undefined, fault: Fault): number | undefined {
  const { icmpType, icmpCode } = rule;
  if (icmpCode !== undefined && icmpType === undefined) fault('icmpCode', 'needs icmpType beside it');
  if (icmpType === undefined) return undefined;
  if (protocol !== PROTOCOL_ICMP && protocol !== PROTOCOL_ICMPV6) {
    fault('icmpType', 'needs proto: icmp or icmpv6 beside it');
    return undefined;
  }
  if (typeof icmpType === 'number') return icmpType;
  const names = protocol === PROTOCOL_ICMP ? icmpTypes : icmpv6Types;
  const number = names.get(icmpType);
  if (number === undefined) {
    const of = protocol === PROTOCOL_ICMP ? 'ICMP' : 'ICMPv6';
    fault('icmpType', `no type of ${of} is called ${icmpType}${didYouMean(icmpType, [...names.keys()])}`);
  }
  return number;
}
