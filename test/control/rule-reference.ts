/** Rule matching as one would say it, slow and without any of the classifier's numbers: what it is tested against. */
import type { NumberRange } from '../../src/control/resolved.js';
import type { MaskedMac, RuleConditions } from '../../src/control/rule-conditions.js';
import { type Prefix, prefixContains } from '../../src/wire/address.js';

/** What a frame has; absent: its kind of packet has no such thing, or a fragment's is not known. */
export interface Subject {
  readonly sourceMac: number;
  readonly destinationMac: number;
  readonly ethertype: number;
  readonly vlan: number;
  readonly priority: number;
  readonly kind: 'other' | 'arp' | 'ipv4' | 'ipv6';
  readonly protocol?: number;
  readonly source?: Uint8Array;
  readonly destination?: Uint8Array;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  readonly tcpFlags?: number;
  readonly dscp?: number;
  readonly fragment?: 'none' | 'first' | 'later';
  readonly arpOperation?: number;
  readonly arpSender?: Uint8Array;
  readonly arpTarget?: Uint8Array;
  /** Sets of addresses that the remote one is in. */
  readonly remoteSets?: readonly number[];
}

export function referenceMatch(rules: readonly RuleConditions[], subject: Subject): number {
  return rules.findIndex((rule) => matches(rule, subject));
}

function matches(rule: RuleConditions, subject: Subject): boolean {
  return (
    hasMac(rule.sourceMac, subject.sourceMac) &&
    hasMac(rule.destinationMac, subject.destinationMac) &&
    isSame(rule.ethertype, subject.ethertype) &&
    isSame(rule.vlan, subject.vlan) &&
    isSame(rule.priority, subject.priority) &&
    isSame(rule.family, subject.kind) &&
    isSame(rule.protocol, subject.protocol) &&
    hasAddress(rule.source, subject.source) &&
    hasAddress(rule.destination, subject.destination) &&
    hasPort(rule.sourcePorts, subject.sourcePort) &&
    hasPort(rule.destinationPorts, subject.destinationPort) &&
    isSame(rule.icmpType, subject.icmpType) &&
    isSame(rule.icmpCode, subject.icmpCode) &&
    hasFlags(rule.tcpFlags, subject.tcpFlags) &&
    isSame(rule.dscp, subject.dscp) &&
    isFragment(rule.fragment, subject.fragment) &&
    isSame(rule.arpOperation, subject.arpOperation) &&
    hasAddress(rule.arpSender, subject.arpSender) &&
    hasAddress(rule.arpTarget, subject.arpTarget) &&
    (rule.remoteSet === undefined || (subject.remoteSets ?? []).includes(rule.remoteSet))
  );
}

function isSame<Value>(asked: Value | undefined, value: Value | undefined): boolean {
  return asked === undefined || asked === value;
}

function hasAddress(prefix: Prefix | undefined, address: Uint8Array | undefined): boolean {
  return prefix === undefined || (address !== undefined && prefixContains(prefix, address));
}

function hasPort(ranges: readonly NumberRange[] | undefined, port: number | undefined): boolean {
  return (
    ranges === undefined || (port !== undefined && ranges.some(({ first, last }) => port >= first && port <= last))
  );
}

function hasFlags(asked: RuleConditions['tcpFlags'], flags: number | undefined): boolean {
  return asked === undefined || (flags !== undefined && (flags & asked.mask) === (asked.set & asked.mask));
}

function isFragment(asked: RuleConditions['fragment'], fragment: Subject['fragment']): boolean {
  if (asked === undefined) return true;
  return asked === 'any' ? fragment === 'first' || fragment === 'later' : fragment === asked;
}

function hasMac(asked: MaskedMac | undefined, mac: number): boolean {
  if (asked === undefined) return true;
  const mask = BigInt(asked.mask);
  return (BigInt(mac) & mask) === (BigInt(asked.value) & mask);
}
