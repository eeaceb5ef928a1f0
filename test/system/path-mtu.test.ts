/**
 * Path MTU discovery (RFC 1191) all the way: a machine's packets go through its router's SNAT and a VXLAN network to another
 * host, from there by a kernel's router over a link that lets less pass to a server. Each narrow place says so itself, and
 * what the outside says of translated packets reaches the machine as of its own.
 *
 *   guest --1500-- [ r, SNAT ] ==VXLAN, 1450== edge --1300-- core --1500-- server
 *        host 1                    host 2
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/control/shapes.js';
import { Daemon } from './harness/daemon.js';
import { ping, placeMachines, stream } from './harness/routed-machines.js';
import { Testbed } from './harness/testbed.js';
import { Underlay } from './harness/underlay.js';

const OUTSIDE = '203.0.113.10';
const FLOATING = '203.0.113.20';
const EDGE = '203.0.113.1';
const SERVER = '198.18.2.80';
const OVERLAY_MTU = 1450;
const NARROW_MTU = 1300;
/** Of the network of the machine with the floating address. */
const SMALL_MTU = 1200;

const tap = (network: string): JsonObject => ({ kind: 'tap', network });

const outside = (remote: string): JsonObject => ({ type: 'vxlan', id: 7, underlay: 'u0', remotes: [remote] });

let testbed: Testbed;
const daemons: Daemon[] = [];

async function startHosts(): Promise<void> {
  const underlay = new Underlay(testbed);
  const [one, two] = [underlay.address(1), underlay.address(2)];
  for (const [host, number] of [
    ['h1', 1],
    ['h2', 2],
  ] as const)
    underlay.attach(host, number);
  const first = {
    version: 1,
    networks: { red: { type: 'local' }, small: { type: 'local', mtu: SMALL_MTU }, outside: outside(two) },
    underlays: { u0: { local: one } },
    ports: { guest: tap('red'), floater: tap('small') },
    routers: {
      r: {
        interfaces: { red: '192.0.2.1/25', small: '192.0.2.129/25' },
        routes: [{ to: '0.0.0.0/0', via: EDGE }],
        external: { network: 'outside', addresses: [`${OUTSIDE}/24`] },
        floating: { [FLOATING]: '192.0.2.130' },
      },
    },
  };
  const second = {
    version: 1,
    networks: { outside: outside(one) },
    underlays: { u0: { local: two } },
    ports: { edge: tap('outside') },
  };
  daemons.push(await Daemon.start(testbed, first, { host: 'h1' }), await Daemon.start(testbed, second, { host: 'h2' }));
}

/** A veth of this MTU between two hosts' namespaces. */
function link(one: string, other: string, mtu: number, [near, far]: readonly [string, string]): void {
  testbed.ip(one, 'link', 'add', other, 'type', 'veth', 'peer', 'name', one, 'netns', testbed.namespace(other));
  for (const [label, device, address] of [
    [one, other, near],
    [other, one, far],
  ] as const) {
    testbed.ip(label, 'address', 'add', `${address}/24`, 'dev', device);
    testbed.ip(label, 'link', 'set', device, 'mtu', String(mtu), 'up');
  }
}

beforeAll(async () => {
  testbed = new Testbed();
  await startHosts();
  const [one, two] = daemons;
  if (one === undefined || two === undefined) throw new Error('there are two hosts');
  const guest = { addresses: ['192.0.2.5/25'], gateways: ['192.0.2.1'] };
  const floater = { addresses: ['192.0.2.130/25'], gateways: ['192.0.2.129'], mtu: SMALL_MTU };
  await placeMachines(testbed, one, { guest, floater }, 'h1');
  await placeMachines(testbed, two, { edge: { addresses: [`${EDGE}/24`], mtu: OVERLAY_MTU } }, 'h2');
  link('edge', 'core', NARROW_MTU, ['198.18.1.1', '198.18.1.2']);
  link('core', 'server', 1500, ['198.18.2.1', SERVER]);
  for (const label of ['edge', 'core']) testbed.run(label, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
  testbed.ip('edge', 'route', 'add', '198.18.2.0/24', 'via', '198.18.1.2');
  testbed.ip('core', 'route', 'add', '203.0.113.0/24', 'via', '198.18.1.1');
  testbed.ip('server', 'route', 'add', 'default', 'via', '198.18.2.1');
}, 60_000);

afterAll(async () => {
  try {
    for (const daemon of daemons) await daemon.expectConservation();
  } finally {
    testbed?.dispose();
  }
});

/** What iperf3 is to send by TCP, and what must arrive of it at least. */
const MUCH = ['-n', '32M'];
const MOST = 24e6;
/** Datagrams that fit the VXLAN network, and nothing behind it. */
const LONG_DATAGRAMS = ['-u', '-l', '1400', '-b', '20M', '-n', '4M'];

const reassembled = (label: string) =>
  Number(/IpReasmOKs +(\d+)/.exec(testbed.run(label, 'nstat', '-az', 'IpReasmOKs'))?.[1]);

/** What the machine's kernel has been told of the way. */
const route = (label: string, to: string) => testbed.ip(label, 'route', 'get', to);

beforeEach(() => {
  for (const label of ['guest', 'floater', 'server']) testbed.ip(label, 'route', 'flush', 'cache');
});

describe('a machine behind SNAT', () => {
  test('is told by its router what the VXLAN network lets pass, and by the world what the way behind it does', async () => {
    expect(await ping(testbed, 'guest', SERVER)).toContain(' 3 received, 0% packet loss');
    expect(route('guest', SERVER)).not.toContain('mtu');
    const tooLong = await ping(testbed, 'guest', SERVER, '-c', '1', '-W', '1', '-M', 'do', '-s', '1472');
    expect(tooLong).toMatch(/From 192\.0\.2\.1 .*Frag needed and DF set \(mtu = 1450\)/);
    expect(route('guest', SERVER)).toContain(`mtu ${OVERLAY_MTU}`);
    const narrower = await ping(testbed, 'guest', SERVER, '-c', '1', '-W', '1', '-M', 'do', '-s', '1400');
    expect(narrower).toMatch(/From 203\.0\.113\.1 .*Frag needed and DF set \(mtu = 1300\)/);
    expect(route('guest', SERVER)).toContain(`mtu ${NARROW_MTU}`);
    const fits = await ping(testbed, 'guest', SERVER, '-M', 'do', '-s', String(NARROW_MTU - 28));
    expect(fits).toContain(' 3 received, 0% packet loss');
  });

  // One direction a test: who knows the way asks for no longer segments himself.
  test.each([
    ['sends', [], 'guest', SERVER],
    ['is sent', ['-R'], 'server', OUTSIDE],
  ] as const)('%s by TCP what fits', async (_, options, sender, receiver) => {
    const { host, bytes } = await stream(testbed, 'guest', 'server', SERVER, ...MUCH, ...options);
    expect(host).toBe(OUTSIDE);
    expect(bytes).toBeGreaterThan(MOST);
    expect(route(sender, receiver)).toContain(`mtu ${NARROW_MTU}`);
  });

  test('sends by UDP: is told of a datagram that is too long, and sends it in fragments from then on', async () => {
    // The kernel tells the sender's own socket (EMSGSIZE): the error names his datagram as he sent it.
    await expect(stream(testbed, 'guest', 'server', SERVER, ...LONG_DATAGRAMS)).rejects.toThrow('Message too long');
    expect(route('guest', SERVER)).toContain(`mtu ${NARROW_MTU}`);
    const { host, bytes } = await stream(testbed, 'guest', 'server', SERVER, ...LONG_DATAGRAMS);
    expect(host).toBe(OUTSIDE);
    expect(bytes).toBeGreaterThan(3e6);
    expect(reassembled('server')).toBeGreaterThan(2000);
  });
});

describe('a machine with a floating address in a network of a smaller MTU', () => {
  test('is reached through all of it: its router tells the server, by the address the server knows', async () => {
    const tooLong = await ping(testbed, 'server', FLOATING, '-c', '1', '-W', '1', '-M', 'do', '-s', '1260');
    expect(tooLong).toMatch(/From 203\.0\.113\.10 .*Frag needed and DF set \(mtu = 1200\)/);
    expect(route('server', FLOATING)).toContain(`mtu ${SMALL_MTU}`);
    const fits = await ping(testbed, 'server', FLOATING, '-M', 'do', '-s', String(SMALL_MTU - 28));
    expect(fits).toContain(' 3 received, 0% packet loss');
  });

  test('is sent what TCP and UDP have, whichever side began', async () => {
    expect((await stream(testbed, 'server', 'floater', FLOATING, ...MUCH)).bytes).toBeGreaterThan(MOST);
    const { host, bytes } = await stream(testbed, 'floater', 'server', SERVER, ...MUCH);
    expect(host).toBe(FLOATING);
    expect(bytes).toBeGreaterThan(MOST);
    await ping(testbed, 'server', FLOATING, '-c', '1', '-W', '1', '-M', 'do', '-s', '1270');
    expect(route('server', FLOATING)).toContain(`mtu ${SMALL_MTU}`);
    const datagrams = await stream(testbed, 'server', 'floater', FLOATING, ...LONG_DATAGRAMS);
    expect(datagrams.bytes).toBeGreaterThan(3e6);
    expect(reassembled('floater')).toBeGreaterThan(2000);
  });
});
