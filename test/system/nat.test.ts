/**
 * A router's NAT as machines meet it: kernels' own stacks inside, and one outside that has no way back to inside addresses, so
 * whatever it answers was translated.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/control/shapes.js';
import { Daemon } from './harness/daemon.js';
import { ping, placeMachines, type RoutedMachine, stream } from './harness/routed-machines.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const OUTSIDE = '203.0.113.10';
const FLOATING = '203.0.113.20';
const WORLD = '203.0.113.1';
const machines: Readonly<Record<string, RoutedMachine>> = {
  a: { addresses: ['192.0.2.5/24'], gateways: ['192.0.2.1'] },
  b: { addresses: ['192.0.2.6/24'], gateways: ['192.0.2.1'] },
  w: { addresses: [`${WORLD}/24`] },
};

const tap = (network: string): JsonObject => ({ kind: 'tap', network });

const config = (floating: JsonObject): JsonObject => ({
  version: 1,
  networks: { red: { type: 'local' }, outside: { type: 'local' } },
  ports: { a: tap('red'), b: tap('red'), w: tap('outside') },
  routers: {
    r: {
      interfaces: { red: '192.0.2.1/24' },
      routes: [{ to: '0.0.0.0/0', via: WORLD }],
      external: { network: 'outside', addresses: [`${OUTSIDE}/24`] },
      floating,
      forwards: [{ proto: 'tcp', port: '5301', to: '192.0.2.5:5201' }],
    },
  },
});

let testbed: Testbed;
let daemon: Daemon;

beforeAll(async () => {
  testbed = new Testbed();
  daemon = await Daemon.start(testbed, config({ [FLOATING]: '192.0.2.6' }));
  await placeMachines(testbed, daemon, machines);
  testbed.run('w', 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
}, 60_000);

afterAll(async () => {
  try {
    await daemon?.expectConservation();
  } finally {
    testbed?.dispose();
  }
});

describe('a machine without an outside address', () => {
  test('pings the world', async () => {
    expect(await ping(testbed, 'a', WORLD)).toContain(' 3 received, 0% packet loss');
  });

  test('sends by TCP as the router, and the list shows the translation', async () => {
    const { host, bytes } = await stream(testbed, 'a', 'w', WORLD);
    expect(host).toBe(OUTSIDE);
    expect(bytes).toBeGreaterThan(1024 * 1024);
    const rows = await daemon.call<{ type: string; internal: string; external: string }[]>('nat.list');
    const mine = rows.filter(({ type }) => type === 'snat');
    expect(mine.length).toBeGreaterThan(0);
    for (const { internal, external } of mine) {
      expect(internal).toMatch(/^192\.0\.2\.5(:\d+)?$/);
      expect(external).toMatch(/^203\.0\.113\.10(:\d+)?$/);
    }
    const [stats] = await daemon.call<{ ports: { proto: string; used: number }[] }[]>('nat.stats');
    expect(stats?.ports.find(({ proto }) => proto === 'tcp')?.used).toBeGreaterThan(0);
    expect(rows).toContainEqual(expect.objectContaining({ type: 'forward', external: `${OUTSIDE}:5301` }));
    expect(rows).toContainEqual(expect.objectContaining({ type: 'floating', external: FLOATING }));
  });

  test('receives by TCP what the world sends over its connection', async () => {
    expect((await stream(testbed, 'a', 'w', WORLD, '-R')).host).toBe(OUTSIDE);
  });

  test('is told what the world says of its packets, with the packet it knows', async () => {
    expect(await ping(testbed, 'a', '198.51.100.9')).toMatch(/From 203\.0\.113\.1 .*Destination Net Unreachable/);
    expect(await ping(testbed, 'a', WORLD, '-t', '1')).toMatch(/From 192\.0\.2\.1 .*Time to live exceeded/);
  });

  test('can send what has to be fragmented', async () => {
    expect(await ping(testbed, 'a', WORLD, '-s', '4000')).toContain(' 3 received, 0% packet loss');
  });

  test('is not reached from outside, but by its forward', async () => {
    const refused = await testbed.start('w', ['iperf3', '-c', OUTSIDE, '-p', '5999', '--connect-timeout', '500']).end();
    expect(refused.stdout + refused.stderr).toMatch(/timed out|refused|unable to connect/i);
    const { host } = await stream(testbed, 'w', 'a', OUTSIDE, '-p', '5301');
    expect(host).toBe(WORLD);
  });
});

describe('a machine with a floating address', () => {
  test('is reached at it, and the world is told by ARP where it is', async () => {
    expect(await ping(testbed, 'w', FLOATING)).toContain(' 3 received, 0% packet loss');
    expect(testbed.ip('w', 'neighbor', 'show', FLOATING)).toMatch(/lladdr/);
    expect((await stream(testbed, 'w', 'b', FLOATING)).host).toBe(WORLD);
  });

  test('goes out by it', async () => {
    expect((await stream(testbed, 'b', 'w', WORLD)).host).toBe(FLOATING);
  });

  test('is reached by its neighbour at it, too, who is seen from outside', async () => {
    expect(await ping(testbed, 'a', FLOATING)).toContain(' 3 received, 0% packet loss');
    expect((await stream(testbed, 'a', 'b', FLOATING)).host).toBe(OUTSIDE);
  });

  test('loses its connections with it', async () => {
    const pings = testbed.start('w', ['ping', '-n', '-i', '0.2', '-c', '200', '-W', '1', FLOATING]);
    let answers = 0;
    pings.onLine((line) => {
      if (line.includes('bytes from')) answers++;
    });
    await until('pings are answered', () => answers > 3);
    await daemon.apply(config({}));
    // What was answered before may be told late; then nothing more is, though five a second are sent.
    await until('pings are answered no more', async () => {
      const before = answers;
      await sleep(1500);
      return answers === before;
    });
    expect(pings.isRunning).toBe(true);
    await pings.stop();
  });
});

describe('when outside ports run out', () => {
  test('new connections are refused, counted, and told in the log once a second at most', async () => {
    const full = config({});
    const { r } = full.routers as { r: JsonObject };
    await daemon.apply({
      ...full,
      routers: { r: { ...r, external: { ...(r.external as JsonObject), pool: '5000' } } },
    });
    expect(await ping(testbed, 'a', WORLD)).toContain(' 3 received, 0% packet loss');
    expect(await ping(testbed, 'b', WORLD, '-W', '1')).toContain(' 0 received');
    const lines = () => daemon.log.split('\n').filter((line) => line.includes('nat_exhausted'));
    await until('the log tells', () => lines().length > 0);
    const said = JSON.parse(lines()[0]!) as Record<string, unknown>;
    expect(said).toMatchObject({ router: 'r', external: OUTSIDE, proto: 'icmp', internal: '192.0.2.6', port: 'b' });
    expect(lines().length).toBeLessThanOrEqual(2);
    const { nat } = await daemon.call<{ nat: { ports: number; refused: { exhausted: number } } }>('status');
    expect(nat.ports).toBeGreaterThan(0);
    expect(nat.refused.exhausted).toBeGreaterThanOrEqual(3);
  });
});
