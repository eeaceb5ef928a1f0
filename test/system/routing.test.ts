/**
 * Routers as machines meet them: the kernel's own stacks in two networks with a router between them, by IPv4 and IPv6, with
 * offloads on and security groups at both ends. The switch is all there is between the namespaces.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/control/shapes.js';
import { virtualMac } from '../../src/control/virtual-mac.js';
import { macText } from '../../src/wire/address.js';
import { Daemon } from './harness/daemon.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const tap = (network: string, more: JsonObject = {}): JsonObject => ({ kind: 'tap', network, ...more });

const interfaces = { red: ['192.0.2.1/24', '2001:db8:a::1/64'], blue: ['198.51.100.1/24', '2001:db8:b::1/64'] };
/** Behind b and c, on their loopbacks: what static routes lead to. */
const FAR = '203.0.113.7';

function config(routes: JsonObject[] = []): JsonObject {
  return {
    version: 1,
    networks: { red: { type: 'local' }, blue: { type: 'local', mtu: 1400 } },
    ports: {
      a: tap('red', { groups: ['client'] }),
      b: tap('blue', { groups: ['server'] }),
      c: tap('blue'),
    },
    groups: {
      client: { rules: [{ direction: 'egress' }] },
      server: {
        rules: [
          { direction: 'ingress', proto: 'tcp', port: '5201-5210' },
          { direction: 'ingress', proto: 'icmp' },
          { direction: 'ingress', proto: 'icmpv6' },
        ],
      },
    },
    routers: { r: { interfaces, routes } },
  };
}

interface Machine {
  readonly ipv4: string;
  readonly ipv6: string;
  readonly gateway4: string;
  readonly gateway6: string;
  readonly mtu: number;
}

const red = { gateway4: '192.0.2.1', gateway6: '2001:db8:a::1', mtu: 1500 };
const blue = { gateway4: '198.51.100.1', gateway6: '2001:db8:b::1', mtu: 1400 };
const machines: Readonly<Record<string, Machine>> = {
  a: { ipv4: '192.0.2.5', ipv6: '2001:db8:a::5', ...red },
  b: { ipv4: '198.51.100.6', ipv6: '2001:db8:b::6', ...blue },
  c: { ipv4: '198.51.100.7', ipv6: '2001:db8:b::7', ...blue },
};

let testbed: Testbed;
let daemon: Daemon;

function place(name: string, { ipv4, ipv6, gateway4, gateway6, mtu }: Machine): void {
  testbed.ip('s', 'link', 'set', 'dev', name, 'netns', testbed.namespace(name), 'name', 'eth0');
  testbed.run(name, 'sysctl', '-qw', 'net.ipv6.conf.eth0.disable_ipv6=0', 'net.ipv6.conf.eth0.accept_dad=0');
  testbed.ip(name, 'link', 'set', 'eth0', 'mtu', String(mtu), 'up');
  testbed.ip(name, 'address', 'add', `${ipv4}/24`, 'dev', 'eth0');
  testbed.ip(name, '-6', 'address', 'add', `${ipv6}/64`, 'dev', 'eth0', 'nodad');
  testbed.ip(name, 'route', 'add', 'default', 'via', gateway4);
  testbed.ip(name, '-6', 'route', 'add', 'default', 'via', gateway6);
}

/** What ping says; its status is not looked at. */
async function ping(from: string, to: string, ...options: string[]): Promise<string> {
  const words = ['ping', '-n', '-c', '3', '-i', '0.1', '-W', '5', ...options, to];
  const { stdout, stderr } = await testbed.start(from, words).end();
  return stdout + stderr;
}

async function transfer(from: string, to: string, ...options: string[]): Promise<number> {
  const server = testbed.start(to, ['iperf3', '-s', '-1', '--forceflush']);
  let listens = false;
  server.onLine((line) => {
    listens ||= line.includes('listening');
  });
  await until('iperf3 listens', () => listens);
  const address = options.includes('-6') ? machines[to]?.ipv6 : machines[to]?.ipv4;
  const client = testbed.start(from, ['iperf3', '-c', address ?? '', '-n', '32M', '-J', ...options]);
  const { stdout } = await client.end();
  await server.end();
  const result = JSON.parse(stdout) as { error?: string; end: { sum_received?: { bytes: number } } };
  expect(result.error).toBeUndefined();
  return result.end.sum_received?.bytes ?? 0;
}

beforeAll(async () => {
  testbed = new Testbed();
  daemon = await Daemon.start(testbed, config());
  for (const [name, machine] of Object.entries(machines)) place(name, machine);
  for (const name of ['b', 'c']) testbed.ip(name, 'address', 'add', `${FAR}/32`, 'dev', 'lo');
  await until('all ports are up', async () =>
    (await Promise.all(Object.keys(machines).map((name) => daemon.port(name)))).every(({ state }) => state === 'up'),
  );
}, 60_000);

afterAll(async () => {
  try {
    await daemon?.expectConservation();
  } finally {
    testbed?.dispose();
  }
});

describe('a gateway', () => {
  test('answers ARP and ND with its MAC, and pings of both its addresses', async () => {
    expect(await ping('a', '192.0.2.1')).toContain(' 3 received, 0% packet loss');
    expect(await ping('a', '2001:db8:a::1')).toContain(' 3 received, 0% packet loss');
    expect(await ping('a', '198.51.100.1')).toContain(' 3 received, 0% packet loss');
    expect(await ping('a', '2001:db8:b::1')).toContain(' 3 received, 0% packet loss');
    const neighbors = testbed.ip('a', 'neighbor', 'show', 'dev', 'eth0');
    const mac = macText(virtualMac('red'));
    expect(neighbors).toMatch(new RegExp(`192\\.0\\.2\\.1 .*lladdr ${mac}`));
    expect(neighbors).toMatch(new RegExp(`2001:db8:a::1 .*lladdr ${mac} router`));
  });

  test('is seen as a hop: what ends there is told its sender', async () => {
    expect(await ping('a', '198.51.100.6', '-t', '1')).toMatch(/From 192\.0\.2\.1 .*Time to live exceeded/);
    expect(await ping('a', '2001:db8:b::6', '-t', '1')).toMatch(/From 2001:db8:a::1 .*Time exceeded: Hop limit/);
    expect(await ping('a', '198.51.100.6', '-t', '2')).toContain(' ttl=63 ');
  });

  test('says that a station does not answer, that there is no route, and that nobody listens at its own ports', async () => {
    const unreachable = await ping('a', '198.51.100.99', '-c', '1', '-W', '8');
    expect(unreachable).toMatch(/From 192\.0\.2\.1 .*Destination Host Unreachable/);
    expect(await ping('a', '2001:db8:b::99', '-c', '1', '-W', '8')).toMatch(/Address unreachable/);
    expect(await ping('a', '203.0.113.200')).toMatch(/From 192\.0\.2\.1 .*Destination Net Unreachable/);
    expect(await ping('a', '2001:db8:c::1')).toMatch(/From 2001:db8:a::1 .*No route/);
    const refused = await testbed.start('a', ['iperf3', '-c', '192.0.2.1', '--connect-timeout', '3000']).end();
    expect(refused.stdout + refused.stderr).toMatch(/refused/i);
  }, 40_000);
});

describe('between two networks', () => {
  test('the first packet arrives, too, by both IP versions', async () => {
    expect(await ping('a', '198.51.100.6')).toContain(' 3 received, 0% packet loss');
    expect(await ping('a', '2001:db8:b::6')).toContain(' 3 received, 0% packet loss');
  });

  test.each([['-4'], ['-6']])('TCP with offloads runs both ways (%s), and no checksum is wrong', async (version) => {
    expect(await transfer('a', 'b', version)).toBeGreaterThan(30e6);
    expect(await transfer('a', 'b', version, '-R')).toBeGreaterThan(30e6);
    const errors = (name: string) => testbed.run(name, 'nstat', '-az', 'TcpInCsumErrors');
    for (const name of ['a', 'b']) expect(errors(name)).toMatch(/TcpInCsumErrors +0 /);
  });

  test('security groups judge at both ends, and replies pass by their connection', async () => {
    // The server's own group lets nothing begin from its side, and nothing but its ports begin towards it.
    expect(await ping('b', '192.0.2.5', '-W', '1')).toContain(' 0 received');
    const shut = testbed.start('a', ['iperf3', '-c', '198.51.100.6', '-p', '80', '--connect-timeout', '1000']);
    expect((await shut.end()).status).not.toBe(0);
    const reasons = (await daemon.drops()).map(({ reason, port }) => `${port} ${reason}`);
    expect(reasons).toContain('b group_deny');
    const rows = await daemon.call<{ zone: string; original: { src: string } }[]>('conntrack.list');
    const zones = rows.filter(({ original }) => original.src === '192.0.2.5').map(({ zone }) => zone);
    expect(new Set(zones)).toEqual(new Set(['red', 'blue']));
  });

  test('what may be fragmented is, and put together again by its receiver', async () => {
    const options = ['-M', 'dont', '-s', '1472'];
    expect(await ping('a', '198.51.100.6', ...options)).toContain(' 3 received, 0% packet loss');
    // More fragments than wait for a station that is not known: it is made known first.
    await ping('a', '198.51.100.7');
    expect(await ping('a', '198.51.100.7', '-M', 'dont', '-s', '20000')).toContain(' 3 received, 0% packet loss');
    expect(testbed.run('b', 'nstat', '-az', 'IpReasmOKs')).toMatch(/IpReasmOKs +3 /);
  });

  test('the path MTU is found by IPv4 and IPv6', async () => {
    expect(await ping('a', '198.51.100.6', '-M', 'do', '-s', '1472')).toMatch(
      /From 192\.0\.2\.1 .*Frag needed and DF set \(mtu = 1400\)|message too long, mtu=1400/,
    );
    expect(testbed.ip('a', 'route', 'get', '198.51.100.6')).toContain('mtu 1400');
    expect(await ping('a', '2001:db8:b::6', '-M', 'do', '-s', '1452')).toMatch(/Packet too big: mtu=1400|mtu=1400/);
    expect(testbed.ip('a', '-6', 'route', 'get', '2001:db8:b::6')).toContain('mtu 1400');
  });
});

test('a change of routes under traffic takes effect as one, and other traffic loses nothing', async () => {
  const routes = (via: string) => [{ to: `${FAR}/32`, via }];
  await daemon.apply(config(routes('198.51.100.7')));
  const steady = testbed.start('a', ['ping', '-n', '-i', '0.02', '198.51.100.6']);
  const routed = testbed.start('a', ['ping', '-n', '-i', '0.02', FAR]);
  for (let round = 0; round < 5; round++) {
    await daemon.apply(config(routes('198.51.100.6')));
    await daemon.apply(config(routes('198.51.100.7')));
  }
  for (const child of [steady, routed]) child.signal('SIGINT');
  for (const child of [steady, routed]) expect((await child.end()).stdout).toMatch(/[ ,]0% packet loss/);
  await daemon.apply(config([{ to: `${FAR}/32`, via: 'blackhole' }]));
  expect(await ping('a', FAR, '-W', '1')).toContain(' 0 received');
  expect((await daemon.drops()).map(({ reason }) => reason)).toContain('blackhole');
});
