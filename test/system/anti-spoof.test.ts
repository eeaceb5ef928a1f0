/**
 * A guarded port with a real kernel behind it: what that does by itself (duplicate address detection, ARP, neighbour
 * discovery, ping, a DHCP client's discovery) gets out, and what a machine forges does not.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { advertisement, arp, FOREIGN4, frameOf, routerAdvertisementPacket, udp4 } from '../pipeline/guard-frames.js';
import { Daemon } from './harness/daemon.js';
import { DEVICE, Machine } from './harness/machine.js';
import { Station } from './harness/station.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const ports = (from: Machine, to: Machine) => ({
  vm1: {
    kind: 'tap',
    network: 'red',
    mac: from.mac,
    addresses: [`${from.ipv4}/24`, `${from.ipv6}/64`],
    antiSpoof: true,
    allowedPairs: [{ ip: '192.0.2.77' }],
  },
  vm2: { kind: 'tap', network: 'red', mac: to.mac },
  seen: { kind: 'tap', network: 'red' },
});

let testbed: Testbed;
let daemon: Daemon;
let guarded: Machine;
let other: Machine;
let station: Station;
let canary: Station;

beforeAll(async () => {
  testbed = new Testbed();
  guarded = new Machine(testbed, 'g', 1);
  other = new Machine(testbed, 'o', 2);
  daemon = await Daemon.start(testbed, {
    version: 1,
    networks: { red: { type: 'local' } },
    ports: ports(guarded, other),
  });
  testbed.ip('s', 'link', 'set', 'seen', 'netns', testbed.namespace('c'), 'up');
  canary = await Station.open(testbed, 'c', 'seen');
  other.take('vm2');
  guarded.take('vm1');
  station = await Station.open(testbed, 'g', DEVICE);
  await until('all ports carry frames', async () => {
    const rows = await Promise.all(['vm1', 'vm2', 'seen'].map((port) => daemon.port(port)));
    return rows.every(({ state }) => state === 'up');
  });
}, 60_000);

afterAll(() => testbed?.dispose());

const drops = async () =>
  new Map<string, number>(
    (await daemon.drops())
      .filter(({ port, of }) => port === 'vm1' && of === 'frame')
      .map((row) => [row.reason, row.count]),
  );

test('pings in both families pass both ways, with the ARP and neighbour discovery they need', async () => {
  for (const [from, to] of [
    [guarded, other],
    [other, guarded],
  ] as const) {
    await from.expectPings(to.ipv4, '0-200:50');
    await from.expectPings(to.ipv6, '0-200:50');
  }
});

test('the kernel detects duplicates of an own address, and is not let out to ask for another', async () => {
  canary.take();
  testbed.ip('g', 'address', 'del', `${guarded.ipv6}/64`, 'dev', DEVICE);
  testbed.ip('g', 'address', 'add', `${guarded.ipv6}/64`, 'dev', DEVICE);
  const target = Buffer.from('20010db8000000000000000000000001', 'hex');
  await until('the solicitation from :: is seen', async () =>
    canary.frames.some((frame) => frame[54] === 135 && frame.subarray(62, 78).equals(target)),
  );
  const before = (await drops()).get('spoof_nd') ?? 0;
  testbed.ip('g', 'address', 'add', '2001:db8::99/64', 'dev', DEVICE);
  await until(
    'the solicitation for a foreign one is dropped',
    async () => ((await drops()).get('spoof_nd') ?? 0) > before,
  );
  testbed.ip('g', 'address', 'del', '2001:db8::99/64', 'dev', DEVICE);
});

test('a DHCP client that has no address yet is heard', async () => {
  canary.take();
  const client = testbed.start('g', ['udhcpc', '-i', DEVICE, '-f', '-n', '-t', '2', '-T', '1', '-s', '/bin/true']);
  await until('its discovery is seen', async () =>
    canary.frames.some((frame) => frame.readUInt16BE(12) === 0x0800 && frame.readUInt16BE(36) === 67),
  );
  client.kill();
});

test('an address of allowedPairs may be used, one that is not may not', async () => {
  testbed.ip('g', 'address', 'add', '192.0.2.77/32', 'dev', DEVICE);
  testbed.ip('g', 'address', 'add', '192.0.2.78/32', 'dev', DEVICE);
  expect(testbed.run('g', 'ping', '-c', '1', '-W', '5', '-I', '192.0.2.77', other.ipv4)).toContain('1 received');
  expect(() => testbed.run('g', 'ping', '-c', '1', '-W', '1', '-I', '192.0.2.78', other.ipv4)).toThrow();
  expect((await drops()).get('spoof_ip')).toBeGreaterThan(0);
});

test('what is forged dies at the port, each for its reason', async () => {
  const from = guarded.mac;
  const own = { from, senderMac: from };
  const linkLocal = 'fe80::ff:fe00:1';
  const forged = {
    spoof_mac: udp4({ from: '02:00:00:00:00:02' }),
    spoof_ip: udp4({ from, source: FOREIGN4 }),
    spoof_arp: arp({ ...own, sender: other.ipv4 }),
    spoof_nd: advertisement({ from, mac: from, source: guarded.ipv6, target: other.ipv6 }),
    router_advertisement: frameOf(routerAdvertisementPacket({ from, source: linkLocal })),
    dhcp_server: udp4({ from, source: guarded.ipv4, ports: [67, 68] }),
  };
  canary.take();
  for (const [reason, octets] of Object.entries(forged)) {
    const before = (await drops()).get(reason) ?? 0;
    station.send(octets);
    await until(`${reason} is counted`, async () => ((await drops()).get(reason) ?? 0) > before);
  }
  const seen = canary.take().map((frame) => frame.toString('hex'));
  for (const octets of Object.values(forged)) expect(seen).not.toContain(Buffer.from(octets).toString('hex'));
  await daemon.expectConservation();
});
