/**
 * Routers as machines meet them: the kernel's own stacks in two networks with a router between them, by IPv4 and IPv6, with
 * offloads on and security groups at both ends. The switch is all there is between the namespaces.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/control/shapes.js';
import { virtualMac } from '../../src/control/virtual-mac.js';
import { macText } from '../../src/wire/address.js';
import { Daemon } from './harness/daemon.js';
import { meet, ping, placeMachines, type RoutedMachine, serveName, stream } from './harness/routed-machines.js';
import { Testbed } from './harness/testbed.js';

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

const red = { gateways: ['192.0.2.1', '2001:db8:a::1'] };
const blue = { gateways: ['198.51.100.1', '2001:db8:b::1'], mtu: 1400 };
const machines: Readonly<Record<string, RoutedMachine>> = {
  a: { addresses: ['192.0.2.5/24', '2001:db8:a::5/64'], ...red },
  b: { addresses: ['198.51.100.6/24', '2001:db8:b::6/64'], ...blue },
  c: { addresses: ['198.51.100.7/24', '2001:db8:b::7/64'], ...blue },
};

let testbed: Testbed;
let daemon: Daemon;

beforeAll(async () => {
  testbed = new Testbed();
  daemon = await Daemon.start(testbed, config());
  await placeMachines(testbed, daemon, machines);
  for (const name of ['b', 'c']) testbed.ip(name, 'address', 'add', `${FAR}/32`, 'dev', 'lo');
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
    expect(await ping(testbed, 'a', '192.0.2.1')).toContain(' 3 received, 0% packet loss');
    expect(await ping(testbed, 'a', '2001:db8:a::1')).toContain(' 3 received, 0% packet loss');
    expect(await ping(testbed, 'a', '198.51.100.1')).toContain(' 3 received, 0% packet loss');
    expect(await ping(testbed, 'a', '2001:db8:b::1')).toContain(' 3 received, 0% packet loss');
    const neighbors = testbed.ip('a', 'neighbor', 'show', 'dev', 'eth0');
    const mac = macText(virtualMac('red'));
    expect(neighbors).toMatch(new RegExp(`192\\.0\\.2\\.1 .*lladdr ${mac}`));
    expect(neighbors).toMatch(new RegExp(`2001:db8:a::1 .*lladdr ${mac} router`));
  });

  test('is seen as a hop: what ends there is told its sender', async () => {
    expect(await ping(testbed, 'a', '198.51.100.6', '-t', '1')).toMatch(/From 192\.0\.2\.1 .*Time to live exceeded/);
    expect(await ping(testbed, 'a', '2001:db8:b::6', '-t', '1')).toMatch(
      /From 2001:db8:a::1 .*Time exceeded: Hop limit/,
    );
    expect(await ping(testbed, 'a', '198.51.100.6', '-t', '2')).toContain(' ttl=63 ');
  });

  test('says that a station does not answer, that there is no route, and that nobody listens at its own ports', async () => {
    const unreachable = await ping(testbed, 'a', '198.51.100.99', '-c', '1', '-W', '8');
    expect(unreachable).toMatch(/From 192\.0\.2\.1 .*Destination Host Unreachable/);
    expect(await ping(testbed, 'a', '2001:db8:b::99', '-c', '1', '-W', '8')).toMatch(/Address unreachable/);
    expect(await ping(testbed, 'a', '203.0.113.200')).toMatch(/From 192\.0\.2\.1 .*Destination Net Unreachable/);
    expect(await ping(testbed, 'a', '2001:db8:c::1')).toMatch(/From 2001:db8:a::1 .*No route/);
    const refused = await testbed.start('a', ['iperf3', '-c', '192.0.2.1', '--connect-timeout', '3000']).end();
    expect(refused.stdout + refused.stderr).toMatch(/refused/i);
  }, 40_000);
});

describe('between two networks', () => {
  test('the first packet arrives, too, by both IP versions', async () => {
    expect(await ping(testbed, 'a', '198.51.100.6')).toContain(' 3 received, 0% packet loss');
    expect(await ping(testbed, 'a', '2001:db8:b::6')).toContain(' 3 received, 0% packet loss');
  });

  test.each([
    ['IPv4', '198.51.100.6'],
    ['IPv6', '2001:db8:b::6'],
  ])('TCP with offloads runs both ways by %s, and no checksum is wrong', async (_, address) => {
    for (const options of [[], ['-R']]) {
      const { bytes } = await stream(testbed, 'a', 'b', address, '-n', '32M', ...options);
      expect(bytes).toBeGreaterThan(30e6);
    }
    const errors = (name: string) => testbed.run(name, 'nstat', '-az', 'TcpInCsumErrors');
    for (const name of ['a', 'b']) expect(errors(name)).toMatch(/TcpInCsumErrors +0 /);
  });

  test('security groups judge at both ends, and replies pass by their connection', async () => {
    // The server's own group lets nothing begin from its side, and nothing but its ports begin towards it.
    expect(await ping(testbed, 'b', '192.0.2.5', '-W', '1')).toContain(' 0 received');
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
    expect(await ping(testbed, 'a', '198.51.100.6', ...options)).toContain(' 3 received, 0% packet loss');
    // More fragments than wait for a station that is not known: it is made known first.
    await ping(testbed, 'a', '198.51.100.7');
    expect(await ping(testbed, 'a', '198.51.100.7', '-M', 'dont', '-s', '20000')).toContain(
      ' 3 received, 0% packet loss',
    );
    expect(testbed.run('b', 'nstat', '-az', 'IpReasmOKs')).toMatch(/IpReasmOKs +3 /);
  });

  test('the path MTU is found by IPv4 and IPv6', async () => {
    expect(await ping(testbed, 'a', '198.51.100.6', '-M', 'do', '-s', '1472')).toMatch(
      /From 192\.0\.2\.1 .*Frag needed and DF set \(mtu = 1400\)|message too long, mtu=1400/,
    );
    expect(testbed.ip('a', 'route', 'get', '198.51.100.6')).toContain('mtu 1400');
    expect(await ping(testbed, 'a', '2001:db8:b::6', '-M', 'do', '-s', '1452')).toMatch(
      /Packet too big: mtu=1400|mtu=1400/,
    );
    expect(testbed.ip('a', '-6', 'route', 'get', '2001:db8:b::6')).toContain('mtu 1400');
  });
});

describe('of two next hops that have the same address behind them', () => {
  beforeAll(async () => {
    await daemon.apply(config([{ to: `${FAR}/32`, via: ['198.51.100.6', '198.51.100.7'] }]));
  });

  test('both are taken, and each flow stays with its own', async () => {
    const servers = await Promise.all(['b', 'c'].map((name) => serveName(testbed, name, FAR, 5202)));
    const met = await meet(testbed, 'a', FAR, 5202, 40);
    expect(new Set(met.flat())).toEqual(new Set(['b', 'c']));
    // All that one connection hears is from one of them; the other would have reset it.
    for (const names of met) expect([names.length, new Set(names).size]).toEqual([5, 1]);
    for (const server of servers) await server.stop();
  });

  test('one that is not there leaves its flows to the other', async () => {
    await daemon.apply(config([{ to: `${FAR}/32`, via: ['198.51.100.99', '198.51.100.7'] }]));
    const server = await serveName(testbed, 'c', FAR, 5203);
    const met = await meet(testbed, 'a', FAR, 5203, 20);
    expect(met.map((names) => [names.length, ...new Set(names)])).toEqual(Array.from(met, () => [5, 'c']));
    await server.stop();
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
  expect(await ping(testbed, 'a', FAR, '-W', '1')).toContain(' 0 received');
  expect((await daemon.drops()).map(({ reason }) => reason)).toContain('blackhole');
});
