/** Security groups as `weft group show` has them. */
import { expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import { groupDetail } from '../../src/control/group-rows.js';
import { protocolName, protocolNumbers } from '../../src/control/protocol-names.js';
import { RuleNumbers } from '../../src/control/rule-numbers.js';

const textsOf = (...rules: object[]) => {
  const document = { version: 1, groups: { web: { rules } } } as unknown as Parameters<typeof documentOf>[0];
  const { resolved } = checkDocument(documentOf(document));
  return groupDetail(resolved, new RuleNumbers(), 'web')?.rules.map(({ text }) => text);
};
const ingress = { direction: 'ingress' };

test('a rule is shown with the name of its protocol, whether it was written by name or number', () => {
  expect(
    textsOf(
      { ...ingress, proto: 'tcp', port: 80 },
      { ...ingress, proto: 17, port: '53-54' },
      { ...ingress, proto: 'icmp', family: 'ipv6', icmpType: 128 },
      { ...ingress, proto: 'icmp', family: 'ipv4', remote: '192.0.2.0/24' },
      { ...ingress, proto: 47 },
      { ...ingress, proto: 253, remoteGroup: 'web' },
      { direction: 'egress' },
    ),
  ).toEqual([
    'proto tcp port 80',
    'proto udp port 53-54',
    'ipv6 proto icmpv6 icmpType 128',
    'ipv4 proto icmp remote 192.0.2.0/24',
    'proto gre',
    'proto 253 remoteGroup web',
    'anything',
  ]);
});

test('the name of a protocol is one that rules may use; of two the usual one; a protocol without a name is its number', () => {
  for (const number of protocolNumbers.values()) expect(protocolNumbers.get(protocolName(number))).toBe(number);
  expect(protocolName(58)).toBe('icmpv6');
  expect(protocolName(0)).toBe('0');
  expect(protocolName(255)).toBe('255');
});
