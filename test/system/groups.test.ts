/**
 * Security groups as machines meet them: real kernels at TAPs. A server that admits its clients' group, clients that may
 * speak to anybody, a stranger in neither, and a machine whose groups allow nothing.
 */
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { ConntrackRow, GroupDetail, JsonObject } from '../../src/control/shapes.js';
import { Conversation, holdOpen, PATIENCE_MS, serve, stream, tryTcp, tryUdp } from './harness/conversation.js';
import { Daemon } from './harness/daemon.js';
import { DEVICE, Machine } from './harness/machine.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const ALLOWED = 1000;
const NEVER = 1001;

const fromClients = (rule: JsonObject): JsonObject => ({ direction: 'ingress', remoteGroup: 'clients', ...rule });
const tcpRule = fromClients({ proto: 'tcp', port: ALLOWED });
const otherRules = [
  fromClients({ proto: 'udp', port: ALLOWED }),
  fromClients({ proto: 'icmp' }),
  fromClients({ proto: 'icmpv6' }),
];

let testbed: Testbed;
let daemon: Daemon;
let client: Machine;
let server: Machine;
let stranger: Machine;

function config(serverRules: readonly JsonObject[] = [tcpRule, ...otherRules]): JsonObject {
  const port = ({ label, mac, ipv4, ipv6 }: Machine, groups: readonly string[]) => ({
    kind: 'tap',
    device: `tap-${label}`,
    network: 'lab',
    mac,
    addresses: [`${ipv4}/24`, `${ipv6}/64`],
    storm: { broadcast: 'none', multicast: 'none', unknownUnicast: 'none' },
    groups,
  });
  return {
    version: 1,
    networks: { lab: { type: 'local' } },
    groups: {
      servers: { rules: serverRules },
      clients: { rules: [{ direction: 'egress' }] },
      speakers: { rules: [{ direction: 'egress' }] },
    },
    ports: {
      client: port(client, ['clients']),
      server: port(server, ['servers']),
      stranger: port(stranger, ['speakers']),
      mute: { kind: 'tap', device: 'tap-mute', network: 'lab', mac: '02:00:00:00:00:77', groups: [] },
    },
    subnets: {
      lab4: { network: 'lab', cidr: '192.0.2.0/24', gateway: '192.0.2.254', dhcp: { pool: '192.0.2.100-192.0.2.110' } },
    },
  };
}

beforeAll(async () => {
  testbed = new Testbed();
  client = new Machine(testbed, 'client', 1);
  server = new Machine(testbed, 'server', 2);
  stranger = new Machine(testbed, 'stranger', 3);
  daemon = await Daemon.start(testbed, config());
  for (const machine of [client, server, stranger]) machine.take(`tap-${machine.label}`);
  testbed.ip('s', 'link', 'set', 'tap-mute', 'netns', testbed.namespace('mute'), 'name', DEVICE);
  testbed.ip('mute', 'link', 'set', DEVICE, 'address', '02:00:00:00:00:77', 'up');
  await until('all ports carry frames', async () => {
    const rows = await Promise.all(['client', 'server', 'stranger', 'mute'].map((port) => daemon.port(port)));
    return rows.every(({ state, reason }) => state === 'up' && reason === undefined);
  });
  await serve(testbed, 'server', ALLOWED, NEVER);
  await serve(testbed, 'client', ALLOWED);
}, 60_000);

afterAll(() => testbed?.dispose());
beforeEach(async () => {
  await daemon.apply(config());
});

/** Echoes of this size come back, or none does. */
async function echoes(from: Machine, to: string, size = 56): Promise<boolean> {
  const words = ['ping', '-c', '3', '-i', '0.1', '-W', '1', '-s', String(size), to];
  const { stdout } = await testbed.start(from.label, words).end();
  if (stdout.includes(' 0% packet loss')) return true;
  expect(stdout).toContain('100% packet loss');
  return false;
}

const connections = (port: string) => daemon.call<ConntrackRow[]>('conntrack.list', { port });

/** How many TCP connections it has open. */
const established = async (port: string) =>
  (await connections(port)).filter(({ proto, state }) => proto === 'tcp' && state === 'established').length;

async function millisecondsOf(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

test("what a rule allows passes with its replies, and nothing else does in either family: not the other way, not another port's, not a stranger's", async () => {
  for (const family of ['ipv4', 'ipv6'] as const) {
    expect(await tryTcp(testbed, 'client', server[family], ALLOWED, PATIENCE_MS)).toBe('connected');
    expect(await tryUdp(testbed, 'client', server[family], ALLOWED, PATIENCE_MS)).toBe('connected');
    expect(await echoes(client, server[family])).toBe(true);
    expect(await tryTcp(testbed, 'client', server[family], NEVER)).toBe('silence');
    expect(await tryUdp(testbed, 'client', server[family], NEVER)).toBe('silence');
    expect(await tryTcp(testbed, 'server', client[family], ALLOWED)).toBe('silence');
    expect(await tryTcp(testbed, 'stranger', server[family], ALLOWED)).toBe('silence');
    expect(await tryUdp(testbed, 'stranger', server[family], ALLOWED)).toBe('silence');
    expect(await echoes(stranger, server[family])).toBe(false);
    expect(await echoes(server, client[family])).toBe(false);
  }
  const drops = await daemon.drops();
  expect(drops.filter(({ reason }) => reason === 'group_deny').length).toBeGreaterThan(0);
  await daemon.expectConservation();
}, 60_000);

test('an open connection is in conntrack list, and the rules that let it begin were hit', async () => {
  const hits = async (name: string) =>
    (await daemon.call<GroupDetail>('group.show', { name })).rules.map(({ frames }) => frames);
  const [toServer, fromClient] = [await hits('servers'), await hits('clients')];
  const conversation = await Conversation.begin(testbed, 'client', server.ipv4, ALLOWED);
  const rows = (await connections('client')).filter(({ original }) => original.dstPort === ALLOWED);
  expect(rows).toContainEqual(
    expect.objectContaining({
      zone: 'lab',
      proto: 'tcp',
      state: 'established',
      port: 'client',
      original: expect.objectContaining({ src: client.ipv4, dst: server.ipv4, dstPort: ALLOWED }),
      reply: expect.objectContaining({ src: server.ipv4, dst: client.ipv4, srcPort: ALLOWED }),
    }),
  );
  await until('the hits are counted', async () => (await hits('servers'))[0] > toServer[0]);
  expect((await hits('clients'))[0]).toBeGreaterThan(fromClient[0]);
  const { stdout } = await daemon.weft('group', 'show', 'servers');
  expect(stdout).toContain('ingress');
  conversation.end();
});

test('a rule that goes cuts the connections that only it allowed, when apply returns; others go on', async () => {
  const cut = await Conversation.begin(testbed, 'client', server.ipv4, ALLOWED);
  const echo = testbed.start('client', ['ping', '-c', '50', '-i', '0.05', server.ipv4]);
  const times = [await millisecondsOf(() => daemon.apply(config(otherRules)))];
  expect(await established('client')).toBe(0);
  await cut.expectSilent();
  const { stdout } = await echo.end();
  expect(stdout).toMatch(/ 0% packet loss/);
  cut.end();
  // Others have the machine, too: the least of three turns is what it takes.
  for (const next of [config(), config(otherRules)]) times.push(await millisecondsOf(() => daemon.apply(next)));
  expect(Math.min(...times)).toBeLessThan(1000);
});

test('a connection that a rule no longer allows is out of conntrack list when apply returns, though nobody says anything in it', async () => {
  const open = () => established('client');
  await until('what earlier tests had open is closed', async () => (await open()) === 0);
  const silent = await holdOpen(testbed, 'client', server.ipv4, ALLOWED);
  await until('the connection is in the list', async () => (await open()) === 1);
  await daemon.apply(config(otherRules));
  expect(await open()).toBe(0);
  silent.kill();
});

test('a rule that is replaced by one that allows the same cuts nothing', async () => {
  const conversation = await Conversation.begin(testbed, 'client', server.ipv6, ALLOWED);
  await daemon.apply(config([{ direction: 'ingress', proto: 'tcp', port: '900-1100', remote: '2001:db8::/64' }]));
  await conversation.expectLiving();
  conversation.end();
});

test('who joins the remote group is admitted, and who leaves it is cut', async () => {
  expect(await tryTcp(testbed, 'stranger', server.ipv4, ALLOWED)).toBe('silence');
  expect((await daemon.weft('port', 'set', 'stranger', 'groups=clients')).status).toBe(0);
  const conversation = await Conversation.begin(testbed, 'stranger', server.ipv4, ALLOWED);
  const kept = await Conversation.begin(testbed, 'client', server.ipv4, ALLOWED);
  expect((await daemon.weft('port', 'set', 'stranger', 'groups=speakers')).status).toBe(0);
  expect(await established('stranger')).toBe(0);
  await conversation.expectSilent();
  await kept.expectLiving();
  conversation.end();
  kept.end();
});

test('fragments pass where their whole would, and do not where it would not', async () => {
  for (const family of ['ipv4', 'ipv6'] as const) {
    expect(await echoes(client, server[family], 4000)).toBe(true);
    expect(await echoes(stranger, server[family], 4000)).toBe(false);
  }
  // ICMP alone is allowed: UDP's fragments are not.
  await daemon.apply(config([fromClients({ proto: 'icmp' })]));
  expect(await echoes(client, server.ipv4, 20_000)).toBe(true);
  await daemon.apply(config([fromClients({ proto: 'udp' })]));
  expect(await echoes(client, server.ipv4, 4000)).toBe(false);
  await daemon.expectConservation();
}, 60_000);

test('a machine whose groups allow nothing gets an address by DHCP, and nothing else', async () => {
  const words = ['udhcpc', '-i', DEVICE, '-f', '-q', '-n', '-t', '5', '-T', '1', '-s', '/bin/true'];
  const { stderr, stdout } = await testbed.start('mute', words).end();
  const [, address] = /lease of (192\.0\.2\.1\d\d) obtained/.exec(stderr + stdout) ?? [];
  expect(address, stderr + stdout).toBeDefined();
  testbed.ip('mute', 'address', 'replace', `${address}/24`, 'dev', DEVICE);
  await daemon.weft('port', 'set', 'mute', `addresses=${address}/24`);
  const { stdout: lost } = await testbed.start('mute', ['ping', '-c', '2', '-i', '0.2', '-W', '1', server.ipv4]).end();
  expect(lost).toContain('100% packet loss');
  // That there is somebody at the address, ARP may say.
  expect(testbed.ip('mute', 'neighbor', 'show', server.ipv4)).toContain(server.mac);
});

test('a hundred changes of policy under a flood let not one frame through that none of them allows', async () => {
  const policies = [
    config(),
    config([{ direction: 'ingress', proto: 'udp', port: 2000, remote: `${client.ipv4}/32` }, ...otherRules]),
    config(otherRules),
  ];
  const { sent, received } = await stream(testbed, 'client', server, [NEVER + 1], async () => {
    for (let round = 0; round < 100; round++) await daemon.apply(policies[round % policies.length] as JsonObject);
  });
  expect(sent[0]).toBeGreaterThan(500);
  expect(received).toEqual([0]);
  await daemon.expectConservation();
}, 120_000);

test('a daemon that is killed and started again goes on with the connections it had', async () => {
  const conversation = await Conversation.begin(testbed, 'client', server.ipv4, ALLOWED);
  const [before] = (await connections('client')).filter(({ state }) => state === 'established');
  await daemon.killHard();
  writeFileSync(daemon.configFile, JSON.stringify(config()));
  await daemon.start();
  // Mid-stream pickup is off: without its entry no segment of it would pass.
  await conversation.expectLiving();
  expect(await connections('client')).toContainEqual(
    expect.objectContaining({ original: before?.original, state: 'established' }),
  );
  expect(await tryTcp(testbed, 'stranger', server.ipv4, ALLOWED)).toBe('silence');
  conversation.end();
}, 60_000);

test('a port that goes takes its connections along, and inherits none when it comes again', async () => {
  const conversation = await Conversation.begin(testbed, 'client', server.ipv4, ALLOWED);
  const { client: gone, ...ports } = config().ports as JsonObject;
  await daemon.apply({ ...config(), ports });
  const rows = await daemon.call<ConntrackRow[]>('conntrack.list');
  expect(rows.filter(({ original, reply }) => [original.src, reply.src].includes(client.ipv4))).toEqual([]);
  expect(gone).toBeDefined();
  await daemon.apply(config());
  client.take('tap-client');
  await until('the port carries frames again', async () => {
    const { state, reason } = await daemon.port('client');
    return state === 'up' && reason === undefined;
  });
  expect(await tryTcp(testbed, 'client', server.ipv4, ALLOWED, 3000)).toBe('connected');
  // Its segments are of no connection that there is, and mid-stream pickup is off.
  await conversation.expectSilent();
  conversation.end();
}, 60_000);
