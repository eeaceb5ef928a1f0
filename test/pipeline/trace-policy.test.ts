/** `weft trace` names what decided in each stage of policy, as a path of the configuration: guard, ACL, group, connection. */
import { describe, expect, test } from 'vitest';
import type { TracedStage, TraceOutcome } from '../../src/pipeline/tracer.js';
import { connect, frameOf, GroupSwitch, ip, mac } from './group-switch.js';
import { traced } from './traced.js';

const port = (letter: string, more: object) => ({ mac: mac(letter), addresses: [`${ip(letter)}/24`], ...more });
const document = {
  acls: { a1: { default: 'permit', rules: [{ action: 'deny', proto: 'udp', dstPort: '7' }] } },
  groups: {
    web: { rules: [{ direction: 'egress' }, { direction: 'ingress', proto: 'tcp', port: 80 }] },
    ssh: { rules: [{ direction: 'ingress', proto: 'tcp', port: 22 }] },
    loose: { stateful: false, rules: [{ direction: 'ingress', proto: 'udp' }] },
  },
  ports: {
    a: port('a', { antiSpoof: true, allowedPairs: [{ ip: '10.0.0.77' }], groups: ['web'], acl: { ingress: 'a1' } }),
    b: port('b', { groups: ['web', 'ssh'] }),
    c: port('c', { groups: ['loose'] }),
    d: {},
  },
} as ConstructorParameters<typeof GroupSwitch>[0];

function trace(tested: GroupSwitch, text: string, from: string, options = ''): TraceOutcome {
  return traced(tested, from, frameOf(text, options), {
    port: (index) => 'abcd'.charAt(index),
    network: () => 'red',
    remote: () => '',
    rule: (number) => tested.rules.nameOf(number) ?? '?',
  });
}

const stageOf = ({ stages }: TraceOutcome, name: string): TracedStage | undefined =>
  stages.find(({ stage }) => stage === name);

describe('the guard', () => {
  const tested = new GroupSwitch(document);
  test.each([
    ['udp a:1 > d:2', '', 'ports.a.addresses[1]'],
    ['udp 10.0.0.77:1 > d:2', `src ${mac('a')}`, 'ports.a.allowedPairs[1]'],
    ['udp 10.0.0.9:1 > d:2', `src ${mac('a')}`, 'ports.a.antiSpoof'],
    ['udp a:1 > d:2', `src ${mac('d')}`, 'ports.a.antiSpoof'],
  ])('decides %s %s by %s', (text, options, rule) => {
    const outcome = trace(tested, text, 'a', options);
    expect(stageOf(outcome, 'anti-spoof')?.rule).toBe(rule);
    if (rule.endsWith('antiSpoof')) expect(outcome).toMatchObject({ verdict: 'drop', rule });
  });

  test('decides nothing at a port that is not guarded, nor by a link-local address that nobody has written down', () => {
    expect(stageOf(trace(tested, 'udp d:1 > c:2', 'd'), 'anti-spoof')).not.toHaveProperty('rule');
    const text = 'udp [fe80::5054:ff:fe00:1]:1 > [fe80::9]:2';
    const { rule, decision } = stageOf(trace(tested, text, 'a', `src ${mac('a')}`), 'anti-spoof') as TracedStage;
    expect([rule, decision]).toEqual([undefined, 'continue']);
  });
});

describe('an ACL', () => {
  const tested = new GroupSwitch(document);
  test('decides by its rule or its default', () => {
    const denied = trace(tested, 'udp a:1 > d:7', 'a');
    expect(denied).toMatchObject({ verdict: 'drop', reason: 'acl_deny', rule: 'acls.a1.rules[1]' });
    expect(stageOf(denied, 'acl-ingress')?.rule).toBe('acls.a1.rules[1]');
    expect(stageOf(trace(tested, 'udp a:1 > d:8', 'a'), 'acl-ingress')?.rule).toBe('acls.a1.default');
  });
});

describe('security groups', () => {
  test('let a connection begin by a rule at each end', () => {
    const outcome = trace(new GroupSwitch(document), 'tcp a:1024 > b:22 flags S', 'a');
    expect(stageOf(outcome, 'groups-from')).toMatchObject({ rule: 'groups.web.rules[1]' });
    expect(stageOf(outcome, 'groups-to')).toMatchObject({ rule: 'groups.ssh.rules[1]', decision: 'continue' });
    expect(stageOf(outcome, 'groups-to')?.text).toContain('begins connection');
  });

  test('name the connection of a reply, and the rules that had let it begin', () => {
    const tested = new GroupSwitch(document);
    connect(tested, 'a:1024', 'b:80');
    const reply = trace(tested, 'tcp b:80 > a:1024 flags A seq 501 ack 101', 'b');
    expect(stageOf(reply, 'groups-from')).toMatchObject({
      rule: 'groups.web.rules[2]',
      text: expect.stringMatching(/^connection \d+ is allowed by groups\.web\.rules\[2\]$/),
    });
    expect(stageOf(reply, 'groups-to')).toMatchObject({
      rule: 'groups.web.rules[1]',
      text: expect.stringMatching(/^a: connection \d+ is allowed by groups\.web\.rules\[1\]$/),
    });
    const forth = trace(tested, 'tcp a:1024 > b:80 flags A seq 101 ack 501', 'a');
    expect(stageOf(forth, 'groups-from')?.rule).toBe('groups.web.rules[1]');
    expect(stageOf(forth, 'groups-to')?.rule).toBe('groups.web.rules[2]');
  });

  test('name the rule of each packet where they are not stateful', () => {
    expect(stageOf(trace(new GroupSwitch(document), 'udp d:1 > c:2', 'd'), 'groups-to')).toMatchObject({
      rule: 'groups.loose.rules[1]',
      text: 'c: allowed by groups.loose.rules[1]',
    });
  });

  test('have no rule to name where none allows: they say which were asked', () => {
    const tested = new GroupSwitch(document);
    const stopped = trace(tested, 'tcp a:1 > b:25 flags S', 'a');
    expect(stopped).toMatchObject({ verdict: 'drop', reason: 'group_deny' });
    expect(stopped).not.toHaveProperty('rule');
    expect(stageOf(stopped, 'groups-to')?.text).toContain(
      'None of the 2 ingress rules of b allows it (groups: ssh, web).',
    );
    expect(stageOf(trace(tested, 'udp c:1 > a:2', 'c'), 'groups-from')?.text).toContain(
      'There are no egress rules of c.',
    );
  });

  test('name no rule for what is always allowed', () => {
    const arp = trace(new GroupSwitch(document), `arp who-has ${ip('b')} tell ${ip('a')} src ${mac('a')}`, 'a');
    expect(stageOf(arp, 'groups-from')).toMatchObject({ text: 'always allowed from machines' });
    expect(stageOf(arp, 'groups-from')).not.toHaveProperty('rule');
  });
});
