/**
 * Threats row 31 (Neutron CVE-2015-3221, 2019-9735, 2019-10876): one tenant's odd rule must not break what others have.
 * Every rule set is refused with the place of each fault, all in that set, or it is in force; nothing else can happen.
 */
import { expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { UserError } from '../../src/errors.js';
import { parseFrame } from '../../src/wire/frame-text.js';
import { type TestDocument, TestSwitch, vm } from '../pipeline/test-switch.js';
import { Random } from '../sim/random.js';

const SETS = 10_000;

const odd: Readonly<Record<string, readonly unknown[]>> = {
  proto: ['tcp', 'udp', 'icmp', 'icmpv6', 'vrrp', 'sctp', 112, 0, 255, 6, 58, 256, -1, 'tpc', '', null],
  family: ['ipv4', 'ipv6', 'ipv5'],
  src: [
    '0.0.0.0/0',
    '::/0',
    '10.0.0.1/0',
    '10.0.0.0/33',
    '2001:db8::/128',
    '0.0.0.0/32',
    '10.0.0.1',
    '::ffff:0:0/96',
    '',
  ],
  remote: ['0.0.0.0/0', '::/0', '203.0.113.9/0', '10.0.0.0/8', '::/129', '255.255.255.255/32', 'any'],
  port: [0, 80, 65_535, 65_536, '0-65535', '80-22', '22-25', [80, '80-90', '85-8000'], [], '1-', -1, 1.5],
  icmpType: [0, 8, 255, 256, 'echo-request', 'echo', 128],
  icmpCode: [0, 255, 256],
  tcpFlags: ['S/SA', '/A', 'SA/S', 'X/X', '', 'FSRPAUEC/FSRPAUEC'],
  dscp: [0, 63, 64],
  fragment: ['any', 'first', 'later', 'none', 'all'],
  mac: ['52:54:00:00:00:01', '00:00:00:00:00:00/00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff/01:00:00:00:00:00', '52:54', 1],
  ethertype: ['arp', 'ipv4', 'ipv6', 0x88b5, 0x5ff, 65_536],
  vlan: [0, 1, 4094, 4095],
  pcp: [0, 7, 8],
  arpOp: ['request', 'reply', 'both'],
  remoteGroup: ['other', 'odd', 'nobody'],
};
const aclKeys: Readonly<Record<string, string>> = {
  ...{ proto: 'proto', family: 'family', src: 'src', dst: 'src', srcPort: 'port', dstPort: 'port' },
  ...{ icmpType: 'icmpType', icmpCode: 'icmpCode', tcpFlags: 'tcpFlags', dscp: 'dscp', fragment: 'fragment' },
  ...{ srcMac: 'mac', dstMac: 'mac', ethertype: 'ethertype', vlan: 'vlan', pcp: 'pcp' },
  ...{ arpOp: 'arpOp', arpSender: 'src', arpTarget: 'src' },
};
const groupKeys: Readonly<Record<string, string>> = {
  ...{ proto: 'proto', family: 'family', port: 'port', icmpType: 'icmpType', icmpCode: 'icmpCode' },
  ...{ remote: 'remote', remoteGroup: 'remoteGroup' },
};

/** One to three conditions; a quarter of the sets take only the first few values of each, which are sound by themselves. */
function oddRule(random: Random, keys: Readonly<Record<string, string>>, isTame: boolean): Record<string, unknown> {
  const rule: Record<string, unknown> = {};
  for (let count = random.between(0, 3); count > 0; count--) {
    const name = random.pick(Object.keys(keys));
    const values = odd[keys[name] as string] as readonly unknown[];
    rule[name] = random.pick(isTame ? values.slice(0, 2) : values);
  }
  return rule;
}

function oddDocument(random: Random): TestDocument {
  const isTame = random.below(4) !== 0;
  const acl = Array.from({ length: random.below(5) }, () => ({
    action: random.pick(['permit', 'deny', 'reject']),
    ...oddRule(random, aclKeys, isTame),
  }));
  const group = Array.from({ length: random.below(5) }, () => ({
    direction: random.pick(['ingress', 'egress']),
    ...oddRule(random, groupKeys, isTame),
  }));
  const acls = { odd: { default: random.pick(['permit', 'deny']), rules: acl } };
  return documentWith(acls, { stateful: random.oneIn(2), rules: group });
}

function documentWith(acls: object, group: object): TestDocument {
  return {
    networks: { red: { type: 'local' }, blue: { type: 'local' } },
    acls,
    groups: { odd: group, other: { rules: [] } },
    ports: {
      a: vm({ network: 'red', ...{ groups: ['odd'], acl: { ingress: 'odd', egress: 'odd' } } }),
      b: vm({ network: 'red', ...{ groups: ['odd'] } }),
      victim: vm({ network: 'blue' }),
      friend: vm({ network: 'blue' }),
    },
  } as unknown as TestDocument;
}

/** What is wrong with it; undefined: nothing. Anything but a refusal with places is thrown on. */
function faultsOf(document: TestDocument): readonly { path?: string; message: string }[] | undefined {
  try {
    checkDocument(documentOf({ version: 1, ...document } as unknown as JsonValue));
    return undefined;
  } catch (error) {
    if (error instanceof UserError) return error.faults;
    throw error;
  }
}

const traffic = [
  'tcp 10.0.0.1:1234 > 10.0.0.2:80 flags S',
  'udp [2001:db8::1]:53 > [2001:db8::2]:53 length 8',
  'icmp 10.0.0.1 > 10.0.0.2 echo',
  'ip 10.0.0.1 > 10.0.0.2 proto 112 length 8',
  'arp who-has 10.0.0.2 tell 10.0.0.1',
].map((text) => parseFrame(text));

test('ten thousand odd rule sets are refused at their place or applied, and others forward as before', () => {
  const random = new Random(31);
  let accepted = 0;
  const tested = new TestSwitch(documentWith({ odd: { default: 'permit' } }, { rules: [] }));
  for (let set = 0; set < SETS; set++) {
    const document = oddDocument(random);
    const faults = faultsOf(document);
    if (faults !== undefined) {
      for (const { path, message } of faults) expect(`${path}`, message).toMatch(/^(acls|groups)\.odd\./);
      continue;
    }
    accepted++;
    tested.configure(document);
    tested.run(...traffic.flatMap((octets) => ['a', 'b'].map((port) => ({ port, octets }))));
    const sent = tested.run(...traffic.map((octets) => ({ port: 'victim', octets })));
    expect(sent.map(({ port }) => port)).toEqual(traffic.map(() => 'friend'));
  }
  // Both ends were met.
  expect(accepted).toBeGreaterThan(SETS / 10);
  expect(SETS - accepted).toBeGreaterThan(SETS / 10);
}, 120_000);
