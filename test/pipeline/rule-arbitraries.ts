/** Random rules and frames for tests of the classifier: few values of each field, near each other, so that rules and frames meet. */
import fc from 'fast-check';
import type { RuleConditions } from '../../src/control/rule-conditions.js';
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
  KEY_WORDS,
  setIpv4,
} from '../../src/pipeline/rule-key.js';
import { parseIp, parsePrefix } from '../../src/wire/address.js';
import { read32 } from '../../src/wire/octets.js';
import type { Subject } from '../control/rule-reference.js';

const kinds = { other: 0, arp: 1, ipv4: 2, ipv6: 3 };
const fragments = { none: 0, first: 1, later: 2 };

/** The key as the stages make it: all of it. */
export function keyOf(subject: Subject): Int32Array {
  const key = new Int32Array(KEY_WORDS).fill(0);
  const setMac = (at: number, mac: number) => {
    key[at] = Math.floor(mac / 2 ** 32);
    key[at + 1] = mac | 0;
  };
  setMac(KEY_SOURCE_MAC_HIGH, subject.sourceMac);
  setMac(KEY_DESTINATION_MAC_HIGH, subject.destinationMac);
  key[KEY_ETHERTYPE] = subject.ethertype;
  key[KEY_VLAN] = subject.vlan;
  key[KEY_PCP] = subject.priority;
  key[KEY_KIND] = kinds[subject.kind];
  key[KEY_PROTOCOL] = subject.protocol ?? -1;
  setAddress(key, KEY_SOURCE, subject.source);
  setAddress(key, KEY_DESTINATION, subject.destination);
  key[KEY_SOURCE_PORT] = subject.sourcePort ?? -1;
  key[KEY_DESTINATION_PORT] = subject.destinationPort ?? -1;
  key[KEY_ICMP_TYPE] = subject.icmpType ?? -1;
  key[KEY_ICMP_CODE] = subject.icmpCode ?? -1;
  key[KEY_TCP_FLAGS] = subject.tcpFlags ?? -1;
  key[KEY_DSCP] = subject.dscp ?? -1;
  key[KEY_FRAGMENT] = subject.fragment === undefined ? -1 : fragments[subject.fragment];
  key[KEY_ARP_OPERATION] = subject.arpOperation ?? -1;
  if (subject.arpSender !== undefined) key[KEY_ARP_SENDER] = read32(subject.arpSender, 0);
  if (subject.arpTarget !== undefined) key[KEY_ARP_TARGET] = read32(subject.arpTarget, 0);
  return key;
}

function setAddress(key: Int32Array, at: number, address: Uint8Array | undefined): void {
  if (address === undefined) return;
  if (address.length === 4) setIpv4(key, at, read32(address, 0));
  else for (let word = 0; word < 4; word++) key[at + word] = read32(address, word * 4);
}

const ip = (text: string) => parseIp(text) ?? new Uint8Array(4);
const prefix = (text: string) => {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
};

// Few values of each, near each other and at the ends, so that random rules and keys meet.
const ipv4s = [
  '0.0.0.0',
  '10.0.0.1',
  '10.0.0.2',
  '10.0.1.0',
  '10.255.255.255',
  '127.255.255.255',
  '128.0.0.0',
  '255.255.255.255',
];
const ipv6s = [
  '::',
  '2001:db8::1',
  '2001:db8::2',
  '2001:db8:0:1::',
  '7fff::',
  '8000::',
  'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
  '::ffff:10.0.0.1',
];
const prefix4s = [
  '0.0.0.0/0',
  '10.0.0.0/8',
  '10.0.0.0/24',
  '10.0.0.1/32',
  '128.0.0.0/1',
  '255.255.255.255/32',
  '0.0.0.0/32',
  '10.0.0.2/31',
].map(prefix);
const prefix6s = [
  '::/0',
  '2001:db8::/32',
  '2001:db8::1/128',
  '8000::/1',
  'ffff::/16',
  '::/96',
  'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128',
].map(prefix);
const macs = [0, 0x525400000001, 0x525400000002, 0xffffffffffff, 0x52540000ff01, 0x00010203_0405, 0x7fff80000000];
const masks = [
  0, 0xffffffffffff, 0xffffff000000, 0x0000000000ff, 0x010000000000, 0xff00ff00ff00, 0xfffffffffffe, 0x800000000000,
];
const ports = [0, 1, 22, 23, 25, 80, 443, 1023, 1024, 32767, 32768, 65535];
const range = fc
  .tuple(fc.constantFrom(...ports), fc.constantFrom(...ports))
  .map(([one, other]) => ({ first: Math.min(one, other), last: Math.max(one, other) }));
const octet = fc.constantFrom(0, 1, 2, 6, 8, 17, 58, 127, 128, 255);

const field = <Value>(arbitrary: fc.Arbitrary<Value>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const maskedMac = fc.record({ value: fc.constantFrom(...macs), mask: fc.constantFrom(...masks) });
export const conditions: fc.Arbitrary<RuleConditions> = fc
  .record({
    sourceMac: field(maskedMac),
    destinationMac: field(maskedMac),
    ethertype: field(fc.constantFrom(0x800, 0x806, 0x86dd, 0x88b5)),
    vlan: field(fc.constantFrom(0, 1, 4094)),
    priority: field(fc.constantFrom(0, 7)),
    family: field(fc.constantFrom('ipv4' as const, 'ipv6' as const)),
    protocol: field(octet),
    source: field(fc.constantFrom(...prefix4s, ...prefix6s)),
    destination: field(fc.constantFrom(...prefix4s, ...prefix6s)),
    sourcePorts: field(fc.array(range, { minLength: 1, maxLength: 3 })),
    destinationPorts: field(fc.array(range, { minLength: 1, maxLength: 3 })),
    icmpType: field(octet),
    icmpCode: field(octet),
    tcpFlags: field(
      fc.record({ set: fc.constantFrom(0, 2, 0x12, 0xff), mask: fc.constantFrom(0, 2, 0x12, 0x3f, 0xff) }),
    ),
    dscp: field(fc.constantFrom(0, 46, 63)),
    fragment: field(fc.constantFrom('any' as const, 'first' as const, 'later' as const, 'none' as const)),
    arpOperation: field(fc.constantFrom(1, 2)),
    arpSender: field(fc.constantFrom(...prefix4s)),
    arpTarget: field(fc.constantFrom(...prefix4s)),
    remoteSet: field(fc.constantFrom(3, 500, 70_000)),
  })
  .chain((all) => keepSome(all as RuleConditions));

/** Rules that ask for everything match nothing: most conditions go, so that some match. */
function keepSome(all: RuleConditions): fc.Arbitrary<RuleConditions> {
  const names = Object.keys(all).filter((name) => all[name as keyof RuleConditions] !== undefined);
  return fc
    .subarray(names, { maxLength: Math.min(3, names.length) })
    .map((kept) => Object.fromEntries(kept.map((name) => [name, all[name as keyof RuleConditions]])) as RuleConditions);
}

const link = {
  sourceMac: fc.constantFrom(...macs),
  destinationMac: fc.constantFrom(...macs),
  ethertype: fc.constantFrom(0x800, 0x806, 0x86dd, 0x88b5, 0x5dc),
  vlan: fc.constantFrom(0, 1, 4094, 4095),
  priority: fc.constantFrom(0, 3, 7),
  remoteSets: fc.uniqueArray(fc.constantFrom(3, 500, 70_000, 9)),
};
const upper = fc.oneof(
  fc.record({ sourcePort: fc.constantFrom(...ports), destinationPort: fc.constantFrom(...ports) }),
  fc.record({ sourcePort: fc.constantFrom(...ports), destinationPort: fc.constantFrom(...ports), tcpFlags: octet }),
  fc.record({ icmpType: octet, icmpCode: octet }),
  fc.constant({}),
);
const packet = (kind: 'ipv4' | 'ipv6', addresses: readonly string[]) =>
  fc
    .tuple(
      fc.record({
        ...link,
        kind: fc.constant(kind),
        protocol: octet,
        source: fc.constantFrom(...addresses).map(ip),
        destination: fc.constantFrom(...addresses).map(ip),
        dscp: fc.constantFrom(0, 46, 63),
        fragment: fc.constantFrom('none' as const, 'first' as const, 'later' as const),
      }),
      upper,
    )
    .map(([below, above]) => ({ ...below, ...above }));
const arp = fc.record({
  ...link,
  kind: fc.constant('arp' as const),
  arpOperation: fc.constantFrom(1, 2, 3, 0xffff),
  arpSender: fc.constantFrom(...ipv4s).map(ip),
  arpTarget: fc.constantFrom(...ipv4s).map(ip),
});
const other = fc.record({ ...link, kind: fc.constantFrom('other' as const, 'arp' as const) });
export const subject: fc.Arbitrary<Subject> = fc.oneof(packet('ipv4', ipv4s), packet('ipv6', ipv6s), arp, other);
