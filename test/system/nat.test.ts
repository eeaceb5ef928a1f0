/**
 * A router's NAT as machines meet it: kernels' own stacks inside, and one outside that has no way back to inside addresses, so
 * whatever it answers was translated.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/control/shapes.js';
import { Daemon } from './harness/daemon.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const OUTSIDE = '203.0.113.10';
const FLOATING = '203.0.113.20';
const WORLD = '203.0.113.1';
const machines: Readonly<Record<string, { readonly address: string; readonly gateway?: string }>> = {
  a: { address: '192.0.2.5', gateway: '192.0.2.1' },
  b: { address: '192.0.2.6', gateway: '192.0.2.1' },
  w: { address: WORLD },
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

function place(name: string, address: string, gateway: string | undefined): void {
  testbed.ip('s', 'link', 'set', 'dev', name, 'netns', testbed.namespace(name), 'name', 'eth0');
  testbed.ip(name, 'link', 'set', 'eth0', 'up');
  testbed.ip(name, 'address', 'add', `${address}/24`, 'dev', 'eth0');
  if (gateway !== undefined) testbed.ip(name, 'route', 'add', 'default', 'via', gateway);
}

async function ping(from: string, to: string, ...options: string[]): Promise<string> {
  const words = ['ping', '-n', '-c', '3', '-i', '0.1', '-W', '5', ...options, to];
  const { stdout, stderr } = await testbed.start(from, words).end();
  return stdout + stderr;
}

/** Sends to a server at `to` by `address`; returns the octets that arrived, and whom the server saw. */
async function transfer(from: string, to: string, address: string, ...options: string[]) {
  const server = testbed.start(to, ['iperf3', '-s', '-1', '-J', '-p', '5201']);
  const listens = () => testbed.run(to, 'ss', '-Hltn').includes(':5201');
  await until('iperf3 listens', () => listens());
  const client = await testbed.start(from, ['iperf3', '-c', address, '-n', '8M', '-J', ...options]).end();
  const { stdout } = await server.end();
  const said = JSON.parse(client.stdout) as { error?: string };
  expect(said.error).toBeUndefined();
  const heard = JSON.parse(stdout) as {
    start: { accepted_connection: { host: string } };
    end: { sum_received?: { bytes: number }; sum?: { bytes: number } };
  };
  return { host: heard.start.accepted_connection.host, bytes: (heard.end.sum_received ?? heard.end.sum)?.bytes ?? 0 };
}

beforeAll(async () => {
  testbed = new Testbed();
  daemon = await Daemon.start(testbed, config({ [FLOATING]: '192.0.2.6' }));
  for (const [name, { address, gateway }] of Object.entries(machines)) place(name, address, gateway);
  testbed.run('w', 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
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

describe('a machine without an outside address', () => {
  test('pings the world', async () => {
    expect(await ping('a', WORLD)).toContain(' 3 received, 0% packet loss');
  });

  test('sends by TCP as the router, and the list shows the translation', async () => {
    const { host, bytes } = await transfer('a', 'w', WORLD);
    expect(host).toBe(OUTSIDE);
    expect(bytes).toBeGreaterThan(1024 * 1024);
    const rows = await daemon.call<{ type: string; internal: string; external: string }[]>('nat.list');
    const mine = rows.filter(({ type }) => type === 'snat');
    expect(mine.length).toBeGreaterThan(0);
    for (const { internal, external } of mine) {
      expect(internal).toMatch(/^192\.0\.2\.5(:\d+)?$/);
      expect(external).toMatch(/^203\.0\.113\.10(:\d+)?$/);
    }
    expect(rows).toContainEqual(expect.objectContaining({ type: 'forward', external: `${OUTSIDE}:5301` }));
    expect(rows).toContainEqual(expect.objectContaining({ type: 'floating', external: FLOATING }));
  });

  test('receives by TCP what the world sends over its connection', async () => {
    expect((await transfer('a', 'w', WORLD, '-R')).host).toBe(OUTSIDE);
  });

  test('is told what the world says of its packets, with the packet it knows', async () => {
    expect(await ping('a', '198.51.100.9')).toMatch(/From 203\.0\.113\.1 .*Destination Net Unreachable/);
    expect(await ping('a', WORLD, '-t', '1')).toMatch(/From 192\.0\.2\.1 .*Time to live exceeded/);
  });

  test('can send what has to be fragmented', async () => {
    expect(await ping('a', WORLD, '-s', '4000')).toContain(' 3 received, 0% packet loss');
  });

  test('is not reached from outside, but by its forward', async () => {
    const refused = await testbed.start('w', ['iperf3', '-c', OUTSIDE, '-p', '5999', '--connect-timeout', '500']).end();
    expect(refused.stdout + refused.stderr).toMatch(/timed out|refused|unable to connect/i);
    const { host } = await transfer('w', 'a', OUTSIDE, '-p', '5301');
    expect(host).toBe(WORLD);
  });
});

describe('a machine with a floating address', () => {
  test('is reached at it, and the world is told by ARP where it is', async () => {
    expect(await ping('w', FLOATING)).toContain(' 3 received, 0% packet loss');
    expect(testbed.ip('w', 'neighbor', 'show', FLOATING)).toMatch(/lladdr/);
    expect((await transfer('w', 'b', FLOATING)).host).toBe(WORLD);
  });

  test('goes out by it', async () => {
    expect((await transfer('b', 'w', WORLD)).host).toBe(FLOATING);
  });

  test('is reached by its neighbour at it, too, who is seen from outside', async () => {
    expect(await ping('a', FLOATING)).toContain(' 3 received, 0% packet loss');
    expect((await transfer('a', 'b', FLOATING)).host).toBe(OUTSIDE);
  });

  test('loses its connections with it', async () => {
    const pings = testbed.start('w', ['ping', '-n', '-i', '0.2', '-c', '200', '-W', '1', FLOATING]);
    let answers = 0;
    pings.onLine((line) => {
      if (line.includes('bytes from')) answers++;
    });
    await until('pings are answered', () => answers > 3);
    await daemon.apply(config({}));
    const before = answers;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(answers - before).toBeLessThanOrEqual(1);
    await pings.stop();
  });
});
