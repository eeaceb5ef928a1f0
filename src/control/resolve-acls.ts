/**
 * ACLs with their words turned into numbers, and what must hold for them beyond the schema: a rule whose conditions
 * contradict each other would match nothing, which its author can't have meant. Pure.
 *
 * `icmp` in a rule that is about IPv6 by its family or addresses means ICMPv6. A rule with ports and without proto is for
 * every protocol that has ports.
 */
import { networkOf, type Prefix, parseMac, parsePrefix } from '../wire/address.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP } from '../wire/ip-protocol.js';
import { TCP_ACK, TCP_CWR, TCP_ECE, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG } from '../wire/tcp.js';
import type { ConfigFault } from './config-path.js';
import { icmpTypes, icmpv6Types, protocolNumbers, protocolsWithPorts } from './protocol-names.js';
import type { AclNames, NumberRange, ResolvedAcl } from './resolved.js';
import type { MaskedMac, RuleConditions } from './rule-conditions.js';
import type { Config } from './schema.js';
import { didYouMean } from './suggest.js';
import { parseRange } from './units.js';

type RuleConfig = Config['acls'][string]['rules'][number];
type Fault = (key: string, message: string) => void;
type Family = 'ipv4' | 'ipv6';

const MAC_ALL = 2 ** 48 - 1;
const ethertypes = { arp: ETHERTYPE_ARP, ipv4: ETHERTYPE_IPV4, ipv6: ETHERTYPE_IPV6 } as const;
const arpOperations = { request: 1, reply: 2 } as const;
/** The letters of tcpFlags. C is CWR, which other tools write W. */
const tcpFlagBits: Readonly<Record<string, number>> = {
  F: TCP_FIN,
  S: TCP_SYN,
  R: TCP_RST,
  P: TCP_PSH,
  A: TCP_ACK,
  U: TCP_URG,
  E: TCP_ECE,
  C: TCP_CWR,
};

export function resolveAcls(config: Config, faults: ConfigFault[]): Map<string, ResolvedAcl> {
  const acls = new Map<string, ResolvedAcl>();
  for (const [name, acl] of Object.entries(config.acls)) {
    const conditions = acl.rules.map((rule, index) => {
      const fault: Fault = (key, message) => void faults.push({ path: ['acls', name, 'rules', index, key], message });
      return conditionsOf(rule, fault);
    });
    const rules = acl.rules.map((rule) => ({ action: rule.action, log: rule.log, text: ruleText(rule) }));
    acls.set(name, {
      default: acl.default,
      rules,
      asksForPorts: conditions.some(needsFirstFragment),
      matching: { conditions },
    });
  }
  return acls;
}

/** Names as they are; references.ts says which are nobody's. */
export function aclNames(
  acl: { readonly ingress?: string | undefined; readonly egress?: string | undefined } | undefined,
  acls: Config['acls'],
): AclNames {
  const known = (name: string | undefined) => name !== undefined && Object.hasOwn(acls, name);
  return {
    ...(known(acl?.ingress) && { ingress: acl?.ingress as string }),
    ...(known(acl?.egress) && { egress: acl?.egress as string }),
  };
}

/**
 * Where rules ask for ports, later fragments need those of their first one. So they do where rules ask for the protocol of
 * IPv6, which may be named by an extension header that only the first one has (RFC 8200 section 4.5).
 */
function needsFirstFragment(conditions: RuleConditions): boolean {
  const { family, protocol, sourcePorts, destinationPorts, icmpType, icmpCode, tcpFlags } = conditions;
  const protocol6 = family === 'ipv4' ? undefined : protocol;
  const asked = [protocol6, sourcePorts, destinationPorts, icmpType, icmpCode, tcpFlags];
  return asked.some((condition) => condition !== undefined);
}

function conditionsOf(rule: RuleConfig, fault: Fault): RuleConditions {
  const source = prefixOf(rule.src);
  const destination = prefixOf(rule.dst);
  const family = familyOf(rule, source, destination, fault);
  const protocol = protocolOf(rule, family, fault);
  const isOfArp = [rule.arpOp, rule.arpSender, rule.arpTarget].some((asked) => asked !== undefined);
  if (isOfArp && (family !== undefined || protocol !== undefined))
    fault('arpOp', 'ARP is no IP: the rule matches nothing');
  const sender = arpPrefix(rule, 'arpSender', fault);
  const target = arpPrefix(rule, 'arpTarget', fault);
  const sourcePorts = portsOf(rule, 'srcPort', protocol, fault);
  const destinationPorts = portsOf(rule, 'dstPort', protocol, fault);
  const icmpType = icmpTypeOf(rule, protocol, family, fault);
  return {
    ...(rule.srcMac !== undefined && { sourceMac: maskedMac(rule.srcMac) }),
    ...(rule.dstMac !== undefined && { destinationMac: maskedMac(rule.dstMac) }),
    ...(rule.ethertype !== undefined && { ethertype: ethertypeOf(rule.ethertype) }),
    ...(rule.vlan !== undefined && { vlan: rule.vlan }),
    ...(rule.pcp !== undefined && { priority: rule.pcp }),
    ...(rule.family !== undefined && { family: rule.family }),
    ...(protocol !== undefined && { protocol }),
    ...(source !== undefined && { source }),
    ...(destination !== undefined && { destination }),
    ...(sourcePorts !== undefined && { sourcePorts }),
    ...(destinationPorts !== undefined && { destinationPorts }),
    ...(icmpType !== undefined && { icmpType }),
    ...(rule.icmpCode !== undefined && { icmpCode: rule.icmpCode }),
    ...(rule.tcpFlags !== undefined && { tcpFlags: tcpFlagsOf(rule.tcpFlags, protocol, fault) }),
    ...(rule.dscp !== undefined && { dscp: rule.dscp }),
    ...(rule.fragment !== undefined && { fragment: rule.fragment }),
    ...(rule.arpOp !== undefined && { arpOperation: arpOperations[rule.arpOp] }),
    ...(sender !== undefined && { arpSender: sender }),
    ...(target !== undefined && { arpTarget: target }),
  };
}

function prefixOf(text: string | undefined): Prefix | undefined {
  if (text === undefined) return undefined;
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new TypeError(`unvalidated prefix: ${text}`);
  return networkOf(prefix);
}

const versionOf = (prefix: Prefix | undefined): Family | undefined =>
  prefix && (prefix.address.length === 4 ? 'ipv4' : 'ipv6');

/** What the rule's family, addresses and ethertype say together. */
function familyOf(
  rule: RuleConfig,
  source: Prefix | undefined,
  destination: Prefix | undefined,
  fault: Fault,
): Family | undefined {
  let family = rule.family;
  const ofEthertype = { [ETHERTYPE_IPV4]: 'ipv4', [ETHERTYPE_IPV6]: 'ipv6' } as Record<number, Family | undefined>;
  const said: [string, Family | undefined][] = [
    ['src', versionOf(source)],
    ['dst', versionOf(destination)],
    ['ethertype', rule.ethertype === undefined ? undefined : ofEthertype[ethertypeOf(rule.ethertype)]],
  ];
  for (const [key, version] of said) {
    if (version === undefined) continue;
    if (family !== undefined && family !== version) fault(key, `is of ${version}, the rest of the rule of ${family}`);
    family ??= version;
  }
  return family;
}

function protocolOf({ proto }: RuleConfig, family: Family | undefined, fault: Fault): number | undefined {
  if (proto === undefined) return undefined;
  const number = typeof proto === 'number' ? proto : protocolNumbers.get(proto);
  if (number === undefined) {
    fault(
      'proto',
      `no protocol is called ${proto}${didYouMean(String(proto), [...protocolNumbers.keys()])}; write its number`,
    );
    return undefined;
  }
  if (proto === 'icmp' && family === 'ipv6') return PROTOCOL_ICMPV6;
  if (proto === 'icmpv6' && family === 'ipv4') fault('proto', "is IPv6's, the rest of the rule is of ipv4");
  return number;
}

function portsOf(
  rule: RuleConfig,
  key: 'srcPort' | 'dstPort',
  protocol: number | undefined,
  fault: Fault,
): NumberRange[] | undefined {
  const written = rule[key];
  if (written === undefined) return undefined;
  if (protocol !== undefined && !protocolsWithPorts.has(protocol))
    fault(key, `${rule.proto} has no ports; they are for tcp, udp, sctp, dccp and udplite`);
  return [written].flat().flatMap((text) => parseRange(text) ?? []);
}

function icmpTypeOf(
  { icmpType, icmpCode, proto }: RuleConfig,
  protocol: number | undefined,
  family: Family | undefined,
  fault: Fault,
): number | undefined {
  const isOther = protocol !== undefined && protocol !== PROTOCOL_ICMP && protocol !== PROTOCOL_ICMPV6;
  if (isOther && (icmpType !== undefined || icmpCode !== undefined))
    fault(icmpType === undefined ? 'icmpCode' : 'icmpType', `${proto} has no such thing; it is for icmp and icmpv6`);
  if (icmpType === undefined || typeof icmpType === 'number') return icmpType;
  if (protocol === undefined && family === undefined) {
    fault('icmpType', 'ICMP and ICMPv6 number their types differently: the rule needs proto or family, or a number');
    return undefined;
  }
  const names = protocol === PROTOCOL_ICMPV6 || (protocol === undefined && family === 'ipv6') ? icmpv6Types : icmpTypes;
  const number = names.get(icmpType);
  if (number === undefined)
    fault('icmpType', `no type is called ${icmpType}${didYouMean(icmpType, [...names.keys()])}; write its number`);
  return number;
}

function tcpFlagsOf(text: string, protocol: number | undefined, fault: Fault): { set: number; mask: number } {
  const [set, mask] = text.split('/').map((letters) => [...letters].reduce((bits, one) => bits | tcpFlagBits[one], 0));
  if (protocol !== undefined && protocol !== PROTOCOL_TCP) fault('tcpFlags', 'are for proto: tcp');
  if ((set & ~mask) !== 0) fault('tcpFlags', 'asks for a flag that it does not look at');
  return { set, mask };
}

function arpPrefix(rule: RuleConfig, key: 'arpSender' | 'arpTarget', fault: Fault): Prefix | undefined {
  const prefix = prefixOf(rule[key]);
  if (versionOf(prefix) === 'ipv6') fault(key, 'is IPv6; ARP is for IPv4');
  return prefix;
}

function ethertypeOf(ethertype: string | number): number {
  return ethertype in ethertypes ? ethertypes[ethertype as keyof typeof ethertypes] : Number(ethertype);
}

function maskedMac(text: string): MaskedMac {
  const [value, mask] = text.split('/').map((part) => {
    const octets = parseMac(part);
    if (octets === undefined) throw new TypeError(`unvalidated MAC address: ${part}`);
    return octets.reduce((sum, octet) => sum * 256 + octet, 0);
  });
  return { value, mask: mask ?? MAC_ALL };
}

/** The rule in one line, its keys in the order of the configuration reference. */
function ruleText(rule: RuleConfig): string {
  const { action, log, ...conditions } = rule;
  const parts = Object.entries(conditions).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key} ${Array.isArray(value) ? value.join(',') : value}`],
  );
  return [action, ...(parts.length === 0 ? ['everything'] : parts), ...(log ? ['log'] : [])].join(' ');
}
