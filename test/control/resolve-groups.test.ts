import { describe, expect, test } from 'vitest';
import { formatPath } from '../../src/control/config-path.js';
import { documentOf } from '../../src/control/document.js';
import { settle } from '../../src/control/resolve.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { matchSchema } from '../../src/control/validate.js';

function settled(document: object) {
  const matched = matchSchema(documentOf({ version: 1, ...document } as unknown as JsonValue).value);
  if ('faults' in matched) throw new Error(JSON.stringify(matched.faults));
  const { resolved, faults } = settle(matched.config);
  return { resolved, faults: faults.map(({ path, message }) => `${formatPath(path)}: ${message}`) };
}

const faultsOf = (rule: object) => settled({ groups: { web: { rules: [rule] } } }).faults;
const ruleOf = (rule: object) => {
  const { resolved, faults } = settled({ groups: { web: { rules: [rule] } } });
  expect(faults).toEqual([]);
  return resolved.groups.get('web')?.rules[0];
};
const ingress = { direction: 'ingress' };

describe('what a rule says', () => {
  test('without anything but a direction it is for everything of both families', () => {
    expect(ruleOf({ direction: 'egress' })).toEqual({ direction: 'egress', ports: [] });
  });

  test('the family follows from the remote', () => {
    expect(ruleOf({ ...ingress, remote: '192.0.2.7/24' })).toMatchObject({
      family: 'ipv4',
      remote: { address: Uint8Array.of(192, 0, 2, 0), length: 24 },
    });
    expect(ruleOf({ ...ingress, remote: '2001:db8::/32' })).toMatchObject({ family: 'ipv6' });
  });

  test('icmp for IPv6 is ICMPv6, as Neutron has it', () => {
    expect(ruleOf({ ...ingress, proto: 'icmp' })).toMatchObject({ family: 'ipv4', protocol: 1 });
    expect(ruleOf({ ...ingress, family: 'ipv6', proto: 'icmp' })).toMatchObject({ family: 'ipv6', protocol: 58 });
    expect(ruleOf({ ...ingress, remote: '::/0', proto: 'icmp' })).toMatchObject({ protocol: 58 });
    expect(ruleOf({ ...ingress, proto: 'icmpv6', icmpType: 'echo-request' })).toMatchObject({ icmpType: 128 });
    expect(ruleOf({ ...ingress, proto: 'icmp', icmpType: 'echo-request', icmpCode: 0 })).toMatchObject({
      icmpType: 8,
      icmpCode: 0,
    });
  });

  test('ports are numbers, ranges and lists of those', () => {
    const ports = (port: unknown) => ruleOf({ ...ingress, proto: 'tcp', port })?.ports;
    expect(ports(80)).toEqual([{ first: 80, last: 80 }]);
    expect(ports('22-25')).toEqual([{ first: 22, last: 25 }]);
    expect(ports([80, '8000-8100'])).toEqual([
      { first: 80, last: 80 },
      { first: 8000, last: 8100 },
    ]);
    for (const proto of ['udp', 'sctp', 'dccp', 'udplite', 6, 17])
      expect(ruleOf({ ...ingress, proto, port: 1 })).toMatchObject({ ports: [{ first: 1, last: 1 }] });
  });
});

describe('what Neutron refuses is refused with its path', () => {
  test('a prefix and a group as the other side', () => {
    expect(faultsOf({ ...ingress, remote: '192.0.2.0/24', remoteGroup: 'web' })).toEqual([
      'groups.web.rules[1].remoteGroup: the rule has remote too; the other side is either a prefix or a group',
    ]);
  });

  test('a code without a type, and a type without ICMP', () => {
    expect(faultsOf({ ...ingress, proto: 'icmp', icmpCode: 1 })).toEqual([
      'groups.web.rules[1].icmpCode: needs icmpType beside it',
    ]);
    expect(faultsOf({ ...ingress, proto: 'tcp', icmpType: 8 })).toEqual([
      'groups.web.rules[1].icmpType: needs proto: icmp or icmpv6 beside it',
    ]);
    expect(faultsOf({ ...ingress, proto: 'icmp', icmpType: 'echo-requets' })).toEqual([
      'groups.web.rules[1].icmpType: no type of ICMP is called echo-requets (did you mean echo-request?)',
    ]);
  });

  test('ports where there are none, and port 0', () => {
    const noPorts = 'has no ports; they are for tcp, udp, sctp, dccp and udplite';
    expect(faultsOf({ ...ingress, port: 80 })).toEqual([`groups.web.rules[1].port: a rule without proto ${noPorts}`]);
    expect(faultsOf({ ...ingress, proto: 'icmp', port: 80 })).toEqual([`groups.web.rules[1].port: icmp ${noPorts}`]);
    expect(faultsOf({ ...ingress, proto: 112, port: 80 })).toEqual([`groups.web.rules[1].port: 112 ${noPorts}`]);
    expect(faultsOf({ ...ingress, proto: 'tcp', port: '0-80' })).toEqual([
      'groups.web.rules[1].port: port 0 is not one that can be allowed',
    ]);
  });

  test('families that contradict each other', () => {
    expect(faultsOf({ ...ingress, family: 'ipv6', remote: '192.0.2.0/24' })).toEqual([
      'groups.web.rules[1].remote: is IPv4, the rule is for IPv6',
    ]);
    expect(faultsOf({ ...ingress, family: 'ipv4', proto: 'icmpv6' })).toEqual([
      "groups.web.rules[1].proto: icmpv6 is IPv6's, the rule is for IPv4",
    ]);
    expect(faultsOf({ ...ingress, remote: '192.0.2.0/24', proto: 58 })).toEqual([
      "groups.web.rules[1].proto: 58 is IPv6's, the rule is for IPv4",
    ]);
    expect(faultsOf({ ...ingress, family: 'ipv6', proto: 1 })).toEqual([
      "groups.web.rules[1].proto: 1 is IPv4's, the rule is for IPv6",
    ]);
  });

  test('a protocol nobody knows', () => {
    expect(faultsOf({ ...ingress, proto: 'tpc' })).toEqual([
      'groups.web.rules[1].proto: no protocol is called tpc (did you mean tcp?); write its number',
    ]);
  });

  test('stateful and stateless groups on one port', () => {
    const groups = { a: {}, b: { stateful: false } };
    const ports = { vm1: { kind: 'tap', network: 'red', groups: ['a', 'b'] } };
    const { faults } = settled({ networks: { red: { type: 'local' } }, groups, ports });
    expect(faults).toEqual(["ports.vm1.groups: a is stateful and b is not; a port's groups are either"]);
  });
});

test('ports keep whether they have groups at all', () => {
  const port = { kind: 'tap', network: 'red' };
  const ports = { none: port, empty: { ...port, groups: [] }, twice: { ...port, groups: ['a', 'a'] } };
  const { resolved } = settled({ networks: { red: { type: 'local' } }, groups: { a: {} }, ports });
  expect(resolved.ports.get('none')?.groups).toBeUndefined();
  expect(resolved.ports.get('empty')?.groups).toEqual([]);
  expect(resolved.ports.get('twice')?.groups).toEqual(['a']);
});

describe('limits', () => {
  /** That many groups, and a port with two groups whose rules ask for all of them. */
  const asking = (count: number) => {
    const names = Array.from({ length: count }, (_, index) => `g${index}`);
    const rules = names.map((remoteGroup) => ({ ...ingress, remoteGroup }));
    const half = Math.ceil(count / 2);
    return {
      networks: { red: { type: 'local' } },
      groups: {
        ...Object.fromEntries(names.map((name) => [name, { rules: [] }])),
        one: { rules: rules.slice(0, half) },
        two: { rules: [...rules.slice(half), ...rules.slice(0, 5)] },
      },
      ports: { vm1: { kind: 'tap', network: 'red', groups: ['one', 'two'] } },
    };
  };

  test('1024 remote groups of one port are possible, one more is not', () => {
    expect(settled(asking(1024)).faults).toEqual([]);
    expect(settled(asking(1025)).faults).toEqual([
      'ports.vm1.groups: their rules ask for 1025 remote groups; at most 1024 for one port',
    ]);
  });

  test("rules of ACLs and of groups are counted together, with one more for each ACL's default and each group", () => {
    const acl = (count: number) => ({
      default: 'permit',
      rules: Array.from({ length: count }, (_, index) => ({ action: 'deny', proto: index & 255 })),
    });
    const group = (count: number) => ({
      rules: Array.from({ length: count }, (_, index) => ({ ...ingress, proto: index & 255 })),
    });
    const both = (ofAcl: number, ofGroup: number) =>
      settled({ acls: { a1: acl(ofAcl) }, groups: { web: group(ofGroup) } }).faults;
    expect(both(32_000, 65_536 - 32_000 - 2)).toEqual([]);
    expect(both(32_000, 65_536 - 32_000 - 1)).toEqual([
      'groups: 32001 rules of ACLs and 33536 of groups, one more for each of these; at most 65536 fit',
    ]);
    expect(both(65_536, 0)[0]).toContain('acls: ');
  });
});
