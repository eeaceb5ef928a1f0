/**
 * The dimensions of a rule set: for each field that rules may ask for, which values of it each rule takes. Where a frame
 * lacks the field, only rules that don't ask for it are left. Pure; main thread.
 */
import {
  METHOD_ADDRESS,
  METHOD_ARP_ADDRESS,
  METHOD_MAC,
  METHOD_NUMBER,
  METHOD_OCTET,
  METHOD_TABLE,
} from '../pipeline/classifier.js';
import {
  KEY_ARP_OPERATION,
  KEY_ARP_SENDER,
  KEY_ARP_TARGET,
  KEY_DESTINATION,
  KEY_DESTINATION_MAC_HIGH,
  KEY_DESTINATION_PORT,
  KEY_DSCP,
  KEY_ETHERTYPE,
  KEY_FRAGMENT,
  KEY_ICMP_CODE,
  KEY_ICMP_TYPE,
  KEY_KIND,
  KEY_PCP,
  KEY_PROTOCOL,
  KEY_SOURCE,
  KEY_SOURCE_MAC_HIGH,
  KEY_SOURCE_PORT,
  KEY_TCP_FLAGS,
  KEY_VLAN,
} from '../pipeline/rule-key.js';
import { IPV4_SIZE, networkOf, type Prefix } from '../wire/address.js';
import { read32 } from '../wire/octets.js';
import { FRAGMENT_FIRST, FRAGMENT_LATER, FRAGMENT_NONE, PACKET_ARP, PACKET_IPV4, PACKET_IPV6 } from '../wire/packet.js';
import type { NumberRange } from './resolved.js';
import type { MaskedMac, RuleConditions } from './rule-conditions.js';
import type { Interval } from './rule-vectors.js';

export type Intervals<Value extends number | bigint = number> = readonly Interval<Value>[];

/** `intervals` gives what the rule takes; undefined: it does not ask. */
export interface Dimension {
  readonly method: number;
  readonly place: number;
  /** Values there are, for tables. */
  readonly values?: number;
  /** Of octets, how far up in the word. */
  readonly shift?: number;
  intervals(rule: RuleConditions): Intervals | undefined;
  /** IPv6 addresses the rule takes, where the dimension has addresses. */
  intervals6?(rule: RuleConditions): Intervals<bigint> | undefined;
}

const kinds = { ipv4: PACKET_IPV4, ipv6: PACKET_IPV6 };
const MAC_ALL = 2 ** 48 - 1;

/** Kinds of packets (bits by PACKET_...) into which a rule looks. */
export function readsKinds(rule: RuleConditions): number {
  const { protocol, source, destination, sourcePorts, destinationPorts, icmpType, icmpCode, tcpFlags } = rule;
  const { dscp, fragment, remoteSet, arpOperation, arpSender, arpTarget } = rule;
  const ofIp = [protocol, source, destination, sourcePorts, destinationPorts, icmpType, icmpCode, tcpFlags];
  const looksAtIp = [...ofIp, dscp, fragment, remoteSet].some((condition) => condition !== undefined);
  const looksAtArp = [arpOperation, arpSender, arpTarget].some((condition) => condition !== undefined);
  return (looksAtIp ? (1 << PACKET_IPV4) | (1 << PACKET_IPV6) : 0) | (looksAtArp ? 1 << PACKET_ARP : 0);
}

const fields: readonly Dimension[] = [
  address(KEY_DESTINATION, (rule) => rule.destination),
  address(KEY_SOURCE, (rule) => rule.source),
  number(KEY_DESTINATION_PORT, (rule) => rule.destinationPorts),
  number(KEY_SOURCE_PORT, (rule) => rule.sourcePorts),
  table(KEY_PROTOCOL, 256, (rule) => rule.protocol),
  table(KEY_KIND, PACKET_IPV6 + 1, (rule) => (rule.family === undefined ? undefined : kinds[rule.family])),
  table(KEY_ICMP_TYPE, 256, (rule) => rule.icmpType),
  table(KEY_ICMP_CODE, 256, (rule) => rule.icmpCode),
  {
    method: METHOD_TABLE,
    place: KEY_TCP_FLAGS,
    values: 256,
    intervals: ({ tcpFlags }) => (tcpFlags === undefined ? undefined : maskedOctets(tcpFlags.set, tcpFlags.mask)),
  },
  table(KEY_DSCP, 64, (rule) => rule.dscp),
  { method: METHOD_TABLE, place: KEY_FRAGMENT, values: FRAGMENT_LATER + 1, intervals: fragmentIntervals },
  number(KEY_ETHERTYPE, ({ ethertype }) => ethertype !== undefined && [{ first: ethertype, last: ethertype }]),
  table(KEY_VLAN, 4096, (rule) => rule.vlan),
  table(KEY_PCP, 8, (rule) => rule.priority),
  table(KEY_ARP_OPERATION, 3, (rule) => rule.arpOperation),
  arpAddress(KEY_ARP_SENDER, (rule) => rule.arpSender),
  arpAddress(KEY_ARP_TARGET, (rule) => rule.arpTarget),
  mac(KEY_DESTINATION_MAC_HIGH, (rule) => rule.destinationMac),
  mac(KEY_SOURCE_MAC_HIGH, (rule) => rule.sourceMac),
  ...macOctets(KEY_DESTINATION_MAC_HIGH, (rule) => rule.destinationMac),
  ...macOctets(KEY_SOURCE_MAC_HIGH, (rule) => rule.sourceMac),
];

/** The dimensions that some rule asks for. */
export function dimensionsOf(rules: readonly RuleConditions[]): Dimension[] {
  return fields.filter((field) =>
    rules.some((rule) => field.intervals(rule) !== undefined || field.intervals6?.(rule) !== undefined),
  );
}

function table(place: number, values: number, askedValue: (rule: RuleConditions) => number | undefined): Dimension {
  return {
    method: METHOD_TABLE,
    place,
    values,
    intervals(rule) {
      const value = askedValue(rule);
      return value === undefined ? undefined : [{ from: value, to: value + 1 }];
    },
  };
}

function number(
  place: number,
  rangesOf: (rule: RuleConditions) => readonly NumberRange[] | undefined | false,
): Dimension {
  return {
    method: METHOD_NUMBER,
    place,
    intervals(rule) {
      const ranges = rangesOf(rule);
      return ranges ? ranges.map(({ first, last }) => ({ from: first, to: last + 1 })) : undefined;
    },
  };
}

/** A rule with an address of one version takes none of the other. */
function address(place: number, prefixOf: (rule: RuleConditions) => Prefix | undefined): Dimension {
  return {
    method: METHOD_ADDRESS,
    place,
    intervals(rule) {
      const prefix = prefixOf(rule);
      return prefix && (isIpv4(prefix) ? [ipv4Interval(prefix)] : []);
    },
    intervals6(rule) {
      const prefix = prefixOf(rule);
      return prefix && (isIpv4(prefix) ? [] : [ipv6Interval(prefix)]);
    },
  };
}

function arpAddress(place: number, prefixOf: (rule: RuleConditions) => Prefix | undefined): Dimension {
  return {
    method: METHOD_ARP_ADDRESS,
    place,
    intervals(rule) {
      const prefix = prefixOf(rule);
      return prefix && (isIpv4(prefix) ? [ipv4Interval(prefix)] : []);
    },
  };
}

const isIpv4 = (prefix: Prefix) => prefix.address.length === IPV4_SIZE;

function ipv4Interval(prefix: Prefix): Interval<number> {
  const from = read32(networkOf(prefix).address, 0) >>> 0;
  return { from, to: from + 2 ** (32 - prefix.length) };
}

function ipv6Interval(prefix: Prefix): Interval<bigint> {
  let from = 0n;
  for (const octet of networkOf(prefix).address) from = (from << 8n) | BigInt(octet);
  return { from, to: from + (1n << BigInt(128 - prefix.length)) };
}

function fragmentIntervals({ fragment }: RuleConditions): Intervals | undefined {
  switch (fragment) {
    case undefined:
      return undefined;
    case 'none':
      return [{ from: FRAGMENT_NONE, to: FRAGMENT_NONE + 1 }];
    case 'first':
      return [{ from: FRAGMENT_FIRST, to: FRAGMENT_FIRST + 1 }];
    case 'later':
      return [{ from: FRAGMENT_LATER, to: FRAGMENT_LATER + 1 }];
    case 'any':
      return [{ from: FRAGMENT_FIRST, to: FRAGMENT_LATER + 1 }];
  }
}

/** Addresses whose mask is a prefix are an interval of 48-bit numbers... */
function mac(place: number, macOf: (rule: RuleConditions) => MaskedMac | undefined): Dimension {
  return {
    method: METHOD_MAC,
    place,
    intervals(rule) {
      const masked = macOf(rule);
      if (masked === undefined || !isPrefix(masked.mask)) return undefined;
      const from = maskedNumber(masked);
      return [{ from, to: from + (MAC_ALL - masked.mask) + 1 }];
    },
  };
}

/** ... and of other masks, which are rare, each octet is a dimension: however many masks there are, these are six. */
function macOctets(place: number, macOf: (rule: RuleConditions) => MaskedMac | undefined): Dimension[] {
  return Array.from({ length: 6 }, (_, octet) => ({
    method: METHOD_OCTET,
    place: place + (octet < 2 ? 0 : 1),
    values: 256,
    shift: octet < 2 ? 8 * (1 - octet) : 8 * (5 - octet),
    intervals(rule: RuleConditions) {
      const masked = macOf(rule);
      if (masked === undefined || isPrefix(masked.mask)) return undefined;
      const mask = octetOf(masked.mask, octet);
      return mask === 0 ? undefined : maskedOctets(octetOf(masked.value, octet), mask);
    },
  }));
}

const octetOf = (mac48: number, octet: number) => Math.floor(mac48 / 256 ** (5 - octet)) & 0xff;

/** Ones, then zeros. */
function isPrefix(mask: number): boolean {
  const hostPart = MAC_ALL - mask + 1;
  return Number.isInteger(Math.log2(hostPart));
}

function maskedNumber({ value, mask }: MaskedMac): number {
  let result = 0;
  for (let octet = 0; octet < 6; octet++) result = result * 256 + (octetOf(value, octet) & octetOf(mask, octet));
  return result;
}

/** Octets that have `set` where the mask has bits, as intervals. */
function maskedOctets(set: number, mask: number): Interval<number>[] {
  const found: Interval<number>[] = [];
  for (let value = 0; value < 256; value++)
    if ((value & mask) === (set & mask)) found.push({ from: value, to: value + 1 });
  return found;
}
