/**
 * Random configurations for the policy oracle: two networks, some machines in each, an uplink that carries both, and ACLs,
 * groups and guards over the few addresses, ports and types that the random frames use, so that rules often match.
 */
import {
  type Acl,
  type AclNames,
  type AclRule,
  chance,
  type Group,
  type GroupRule,
  macWritten,
  type PolicyDocument,
  type PolicyPort,
  type Ranges,
} from './policy-model.js';
import type { Random } from './random.js';

/** What of policy may be in a configuration. */
export interface Features {
  readonly guard: boolean;
  readonly acl: boolean;
  readonly groups: boolean;
}

/** A machine; the one behind the uplink is in both networks. The first of each network has the same IPv4 address. */
export interface Station {
  readonly port: string;
  readonly network: 'red' | 'blue';
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

const station = (port: string, network: 'red' | 'blue', number: number, ipv4 = number): Station => ({
  port,
  network,
  mac: `5254000000${number.toString(16).padStart(2, '0')}`,
  ipv4: `10.0.0.${ipv4}`,
  ipv6: `2001:db8::${number.toString(16)}`,
});

export const STATIONS: readonly Station[] = [
  station('p1', 'red', 1),
  station('p2', 'red', 2),
  station('p3', 'red', 3),
  station('p4', 'blue', 4, 1),
  station('p5', 'blue', 5),
  station('up', 'red', 0xf0),
  station('up', 'blue', 0xf1),
];
export const VIDS = { red: 10, blue: 20 };

/** An address of a pair: `10.0.1.4` of p4, or anything in 10.0.2.64/26; and a MAC that only pairs have. */
export const PAIR_IPV4 = '10.0.1.';
export const PAIR_PREFIXES = ['10.0.2.64/26', '2001:db8:1::/64'];
export const PAIR_MAC = '5254000000ee';
export const ETHERTYPES = [0x88b5, 0x88b6, 0x8847];

export const TRAFFIC_PORTS = [22, 53, 80, 443, 1234, 8000, 8050, 8101];
export const ICMP_TYPES = [0, 8, 3, 11];
export const ICMPV6_TYPES = [128, 129, 1, 3, 135, 136, 143];
export const PROTOCOLS = [47, 50, 89, 112, 253];

export function randomDocument(random: Random, features: Features): PolicyDocument {
  const acls = Object.fromEntries(['a1', 'a2', 'a3', 'a4'].map((name) => [name, randomAcl(random)]));
  const isStateful = random.oneIn(3) ? undefined : chance(random, 75);
  const groups = Object.fromEntries(
    ['g1', 'g2', 'g3', 'g4'].map((name, index) => [name, randomGroup(random, isStateful ?? index < 2)]),
  );
  const aclNames = (): { acl?: AclNames } => (features.acl ? randomAclNames(random) : {});
  const ports: Record<string, PolicyPort> = {};
  for (const { port, network, mac, ipv4, ipv6 } of STATIONS) {
    if (port === 'up') continue;
    ports[port] = {
      kind: 'tap',
      network,
      storm: { broadcast: 'none', multicast: 'none', unknownUnicast: 'none' },
      mac: macWritten(mac),
      addresses: [`${ipv4}/24`, `${ipv6}/64`],
      ...(random.oneIn(20) && { isolated: true }),
      ...(features.guard ? randomGuard(random, port) : {}),
      ...aclNames(),
      ...(features.groups ? randomGroupNames(random, isStateful === undefined) : {}),
    };
  }
  ports.up = {
    kind: 'netdev',
    trunk: Object.entries(VIDS).map(([network, vlan]) => ({ network, vlan })),
    ...(random.oneIn(3) && aclNames()),
  };
  const networkAcls = (): { acl?: AclNames } => (random.oneIn(3) ? aclNames() : {});
  return {
    version: 1,
    networks: { red: { type: 'local', ...networkAcls() }, blue: { type: 'local', ...networkAcls() } },
    ports,
    acls: features.acl ? acls : {},
    groups: features.groups ? groups : {},
  };
}

/** Another configuration of the same ports: what an operator changes while traffic flows. */
export function changedDocument(random: Random, before: PolicyDocument, features: Features): PolicyDocument {
  const document = structuredClone(before);
  const other = randomDocument(random, features);
  const some = <Value>(target: Record<string, Value>, source: Record<string, Value>) => {
    for (const name of Object.keys(target))
      if (random.oneIn(3) && source[name] !== undefined) target[name] = source[name];
  };
  some(document.acls, other.acls);
  for (const [name, group] of Object.entries(document.groups))
    if (random.oneIn(2)) document.groups[name] = randomGroup(random, group.stateful);
  for (const [name, port] of Object.entries(document.ports)) {
    if (!random.oneIn(4)) continue;
    const { acl, antiSpoof, allowedPairs, allowEthertypes } = other.ports[name];
    for (const key of ['acl', 'antiSpoof', 'allowedPairs', 'allowEthertypes'] as const) delete port[key];
    Object.assign(port, definedOnly({ acl, antiSpoof, allowedPairs, allowEthertypes }));
  }
  return document;
}

const definedOnly = (values: object) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));

function randomGuard(random: Random, port: string): Partial<PolicyPort> {
  if (!chance(random, 60)) return {};
  const number = port.slice(1);
  const pairs = random.some([
    { ip: `${PAIR_IPV4}${number}` },
    { ip: PAIR_PREFIXES[0], mac: macWritten(PAIR_MAC) },
    { ip: PAIR_PREFIXES[1] },
  ]);
  return {
    antiSpoof: true,
    ...(random.oneIn(2) && { allowedPairs: pairs }),
    ...(random.oneIn(3) && { allowEthertypes: [random.pick(ETHERTYPES)] }),
  };
}

function randomAclNames(random: Random): { acl?: AclNames } {
  const acl: AclNames = {};
  if (random.oneIn(3)) acl.ingress = random.pick(['a1', 'a2', 'a3', 'a4']);
  if (random.oneIn(3)) acl.egress = random.pick(['a1', 'a2', 'a3', 'a4']);
  return Object.keys(acl).length === 0 ? {} : { acl };
}

/** Stateful and stateless groups on one port are an error: the first two are stateful, if any. */
function randomGroupNames(random: Random, isMixed: boolean): { groups?: string[] } {
  const kind = random.below(10);
  if (kind < 4) return {};
  if (kind === 4) return { groups: [] };
  const names = !isMixed
    ? ['g1', 'g2', 'g3', 'g4']
    : random.pick([
        ['g1', 'g2'],
        ['g3', 'g4'],
      ]);
  return { groups: [...new Set([random.pick(names), random.pick(names)])] };
}

// ---- rules ----------------------------------------------------------------------------------------------------------

function randomAcl(random: Random): Acl {
  const rules = Array.from({ length: random.pick([0, 1, 3, 6, 12]) }, () => randomAclRule(random));
  return { default: chance(random, 70) ? 'permit' : 'deny', rules };
}

const PREFIXES_4 = [
  '10.0.0.0/24',
  '10.0.0.1/32',
  '10.0.0.2/31',
  '10.0.0.4/30',
  '10.0.0.0/16',
  '0.0.0.0/0',
  '10.0.1.0/24',
];
const PREFIXES_6 = ['2001:db8::/64', '2001:db8::1/128', '2001:db8::4/126', '::/0', 'fe80::/10', '2001:db8:1::/65'];

function randomPorts(random: Random): Ranges {
  return random.pick<Ranges>([80, '22', '8000-8100', [53, 443], [22, '1000-2000'], '1-65535', 1234, '81-65535']);
}

/** Conditions that may stand together. */
function randomAclRule(random: Random): AclRule {
  const rule: AclRule = { action: random.pick(['permit', 'permit', 'deny', 'deny', 'deny', 'reject']) };
  const kind = random.below(20);
  if (kind < 3) Object.assign(rule, randomArpMatch(random));
  else if (kind < 6) Object.assign(rule, randomLinkMatch(random));
  else Object.assign(rule, randomIpMatch(random), random.oneIn(8) ? randomLinkMatch(random) : {});
  return rule;
}

function randomArpMatch(random: Random): Partial<AclRule> {
  const match: Partial<AclRule> = {};
  if (random.oneIn(2)) match.arpOp = random.pick(['request', 'reply']);
  if (random.oneIn(2)) match.arpSender = random.pick(PREFIXES_4);
  if (random.oneIn(2)) match.arpTarget = random.pick(PREFIXES_4);
  return Object.keys(match).length === 0 ? { ethertype: 'arp' } : match;
}

function randomLinkMatch(random: Random): Partial<AclRule> {
  const mac = () => `${macWritten(random.pick(STATIONS).mac)}${random.oneIn(3) ? '/ff:ff:ff:ff:ff:fe' : ''}`;
  return random.pick<() => Partial<AclRule>>([
    () => ({ srcMac: mac() }),
    () => ({ dstMac: mac() }),
    () => ({ dstMac: '01:00:00:00:00:00/01:00:00:00:00:00' }),
    () => ({ vlan: random.pick([0, VIDS.red, VIDS.blue]) }),
    () => ({ pcp: random.below(8) }),
    () => ({ srcMac: mac(), dstMac: mac() }),
    () => ({ ethertype: random.pick([0x88b5, 0x88b6]) }),
  ])();
}

function randomIpMatch(random: Random): Partial<AclRule> {
  const isV4 = random.oneIn(2);
  const prefix = () => random.pick(isV4 ? PREFIXES_4 : PREFIXES_6);
  const match: Partial<AclRule> = {};
  if (random.oneIn(3)) match.src = prefix();
  if (random.oneIn(3)) match.dst = prefix();
  if (random.oneIn(4)) match.family = isV4 ? 'ipv4' : 'ipv6';
  if (random.oneIn(12)) match.dscp = random.pick([0, 46]);
  if (random.oneIn(12)) match.fragment = random.pick(['any', 'first', 'later', 'none']);
  if (chance(random, 70) || Object.keys(match).length === 0) Object.assign(match, randomProtocolMatch(random, isV4));
  return match;
}

function randomProtocolMatch(random: Random, isV4: boolean): Partial<AclRule> {
  const kind = random.below(10);
  if (kind < 7) {
    const match: Partial<AclRule> = { proto: random.pick<string | number>(['tcp', 'tcp', 'udp', 'udp', 6, 17]) };
    if (random.oneIn(2)) match.dstPort = randomPorts(random);
    if (random.oneIn(4)) match.srcPort = randomPorts(random);
    const isTcp = match.proto === 'tcp' || match.proto === 6;
    if (isTcp && random.oneIn(4)) match.tcpFlags = random.pick(['S/SA', 'SA/SA', '/SAFR', 'A/A', 'R/R']);
    return match;
  }
  if (kind === 7) return { proto: random.pick(PROTOCOLS) };
  const match: Partial<AclRule> = isV4 ? { proto: 'icmp', family: 'ipv4' } : { proto: 'icmpv6', family: 'ipv6' };
  if (random.oneIn(2)) match.icmpType = random.pick(isV4 ? ICMP_TYPES : ICMPV6_TYPES);
  if (match.icmpType !== undefined && random.oneIn(3)) match.icmpCode = random.below(2);
  return match;
}

function randomGroup(random: Random, stateful: boolean): Group {
  return { stateful, rules: Array.from({ length: random.below(6) }, () => randomGroupRule(random)) };
}

function randomGroupRule(random: Random): GroupRule {
  const isV4 = random.oneIn(2);
  const rule: GroupRule = { direction: random.pick(['ingress', 'egress']) };
  const far = random.below(4);
  if (far === 0) rule.remote = random.pick(isV4 ? PREFIXES_4 : PREFIXES_6);
  else if (far === 1) rule.remoteGroup = random.pick(['g1', 'g2', 'g3', 'g4']);
  if (random.oneIn(3)) rule.family = isV4 ? 'ipv4' : 'ipv6';
  const kind = random.below(10);
  if (kind < 6) {
    rule.proto = random.pick(['tcp', 'udp']);
    if (random.oneIn(2)) rule.port = randomPorts(random);
  } else if (kind < 8) {
    rule.proto = isV4 ? 'icmp' : 'icmpv6';
    rule.family = isV4 ? 'ipv4' : 'ipv6';
    if (random.oneIn(2)) rule.icmpType = random.pick(isV4 ? ICMP_TYPES : ICMPV6_TYPES);
  } else if (kind === 8) rule.proto = random.pick(PROTOCOLS);
  return rule;
}
