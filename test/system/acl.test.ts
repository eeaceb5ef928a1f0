/**
 * ACLs as machines meet them: real kernels at TAPs, on both ways and for whole networks. What a client is told of a reject
 * is what its kernel makes of the answer; what is denied is told nobody but the operator.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AclRuleRow, JsonObject } from '../../src/control/shapes.js';
import type { Child } from './harness/child.js';
import { PATIENCE_MS, serve, stream, tryTcp, tryUdp } from './harness/conversation.js';
import { Daemon } from './harness/daemon.js';
import { Machine } from './harness/machine.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const PERMITTED = 1000;
const DENIED = 1001;
const REJECTED = 1002;

/** The same rules wherever they hang: what they ask for, only the client's packets have. */
const rules: JsonObject[] = [
  { action: 'deny', proto: 'tcp', dstPort: DENIED },
  { action: 'deny', proto: 'udp', dstPort: DENIED },
  { action: 'reject', proto: 'tcp', dstPort: REJECTED },
  { action: 'reject', proto: 'udp', dstPort: REJECTED, log: true },
  { action: 'deny', proto: 'icmp', icmpType: 'echo-request', dscp: 8 },
  { action: 'reject', proto: 'icmp', icmpType: 'echo-request', dscp: 10 },
  { action: 'reject', proto: 'icmpv6', icmpType: 'echo-request', dscp: 10 },
];

interface Places {
  readonly one?: JsonObject;
  readonly two?: JsonObject;
  readonly network?: JsonObject;
}

function config(places: Places, acls: JsonObject = { a1: { default: 'permit', rules } }): JsonObject {
  const port = (name: string, acl: JsonObject | undefined) => ({
    kind: 'tap',
    device: `tap-${name}`,
    network: 'lab',
    storm: { broadcast: 'none', multicast: 'none', unknownUnicast: 'none' },
    ...(acl && { acl }),
  });
  return {
    version: 1,
    networks: { lab: { type: 'local', ...(places.network && { acl: places.network }) } },
    ports: { one: port('one', places.one), two: port('two', places.two) },
    acls,
  };
}

let testbed: Testbed;
let daemon: Daemon;
let one: Machine;
let two: Machine;
const servers: Child[] = [];

beforeAll(async () => {
  testbed = new Testbed();
  one = new Machine(testbed, 'one', 1);
  two = new Machine(testbed, 'two', 2);
  daemon = await Daemon.start(testbed, config({}));
  one.take('tap-one');
  two.take('tap-two');
  await until('both ports carry frames', async () => {
    const both = [await daemon.port('one'), await daemon.port('two')];
    return both.every(({ state, reason }) => state === 'up' && reason === undefined);
  });
  servers.push(await serve(testbed, 'two', PERMITTED, DENIED, REJECTED));
  await one.expectPings(two.ipv4, '56');
  await one.expectPings(two.ipv6, '56');
}, 60_000);

afterAll(() => testbed?.dispose());

async function ping(to: string, ...options: readonly string[]): Promise<string> {
  const { stdout } = await testbed.start('one', ['ping', '-c', '2', '-i', '0.2', '-W', '1', ...options, to]).end();
  return stdout;
}

async function frames(): Promise<number[]> {
  const { stdout } = await daemon.weft('acl', 'show', 'a1', '--json');
  return (JSON.parse(stdout) as { rules: AclRuleRow[] }).rules.map((rule) => rule.frames);
}

const places: [where: string, Places][] = [
  ["the client's port, from the machine", { one: { ingress: 'a1' } }],
  ["the server's port, towards the machine", { two: { egress: 'a1' } }],
  ['the network, from its machines', { network: { ingress: 'a1' } }],
  ['the network, towards its machines', { network: { egress: 'a1' } }],
];

describe.each(places)('rules of %s', (_, where) => {
  beforeAll(async () => {
    await daemon.apply(config(where));
  });

  test.each([4, 6])(
    'judge TCP and UDP over IPv%d: permitted, denied in silence, rejected with a word',
    async (version) => {
      const to = version === 4 ? two.ipv4 : two.ipv6;
      expect(await tryTcp(testbed, 'one', to, PERMITTED, PATIENCE_MS)).toBe('connected');
      expect(await tryTcp(testbed, 'one', to, DENIED)).toBe('silence');
      expect(await tryTcp(testbed, 'one', to, REJECTED, PATIENCE_MS)).toBe('ECONNREFUSED');
      expect(await tryUdp(testbed, 'one', to, PERMITTED, PATIENCE_MS)).toBe('connected');
      expect(await tryUdp(testbed, 'one', to, DENIED)).toBe('silence');
      // What Linux makes of "administratively prohibited" (icmp_err_convert, icmpv6_err_convert).
      expect(await tryUdp(testbed, 'one', to, REJECTED, PATIENCE_MS)).toBe(version === 4 ? 'EHOSTUNREACH' : 'EACCES');
    },
  );

  test('judge ICMP by type and DSCP', async () => {
    expect(await ping(two.ipv4)).toContain(' 0% packet loss');
    expect(await ping(two.ipv4, '-Q', '32')).toMatch(/100% packet loss/);
    expect(await ping(two.ipv4, '-Q', '40')).toContain('Packet filtered');
    expect(await ping(two.ipv6, '-Q', '40')).toContain('Administratively prohibited');
  });

  test('are counted one by one, and named by the drops they made', async () => {
    const before = await frames();
    expect(before).toHaveLength(rules.length);
    for (const count of before) expect(count).toBeGreaterThan(0);
    await tryTcp(testbed, 'one', two.ipv4, DENIED, 300);
    await until('the denial is counted', async () => (await frames())[0] > before[0]);
    const after = await frames();
    expect(after.slice(1)).toEqual(before.slice(1));
    await until('the drops name the rule', async () => {
      const { stdout } = await daemon.weft('drops', '--json');
      const rows = JSON.parse(stdout) as { reason: string; rule?: string }[];
      return rows.some(({ reason, rule }) => reason === 'acl_deny' && rule === 'acls.a1.rules[1]');
    });
    await daemon.expectConservation();
  });
});

test('a rule with log says in the log what it matched', async () => {
  await daemon.apply(config({ one: { ingress: 'a1' } }));
  await tryUdp(testbed, 'one', two.ipv4, REJECTED);
  const wanted = ['"acls.a1.rules[4]"', '"port":"one"', 'a rule matched', `> ${two.ipv4}:${REJECTED}`];
  const isOurs = (line: string) => wanted.every((part) => line.includes(part));
  await until('the rule is in the log', () => daemon.log.split('\n').some(isOurs));
});

test('of packets that both the old and the new rules deny not one passes while they change, and of those that both permit none is lost', async () => {
  const deny = (port: number, ...more: JsonObject[]) => ({
    default: 'permit',
    rules: [...more, { action: 'deny', proto: 'udp', dstPort: port }],
  });
  // Neither a rule nor its number nor where it hangs is the same; only the verdict.
  const policies = [
    config({ one: { ingress: 'a1' } }, { a1: deny(DENIED) }),
    config({ two: { egress: 'b1' } }, { b1: deny(DENIED, { action: 'permit', proto: 'udp', dstPort: 5000 }) }),
    config(
      { network: { ingress: 'c1' } },
      {
        c1: {
          default: 'deny',
          rules: [
            { action: 'permit', proto: 'udp', dstPort: 5000 },
            { action: 'permit', ethertype: 'arp' },
          ],
        },
      },
    ),
    config({ one: { ingress: 'a1' }, network: { egress: 'a1' } }, { a1: deny(DENIED) }),
  ];
  for (const server of servers.splice(0)) server.kill();
  await daemon.apply(policies[0] as JsonObject);
  const { sent, received } = await stream(testbed, 'one', two, [DENIED, 5000], async () => {
    for (let round = 0; round < 24; round++) await daemon.apply(policies[round % policies.length] as JsonObject);
  });
  expect(sent[0]).toBeGreaterThan(500);
  expect(received).toEqual([0, sent[1]]);
  await daemon.expectConservation();
}, 60_000);
