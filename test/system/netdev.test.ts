/**
 * Ports on interfaces that others own: veths and a TAP held by another process. They come, go, are renamed and lose their
 * link as their owners like; the host behind them stays silent; super-frames and VLAN tags cross them whole.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import type { JsonObject } from '../../src/control/shapes.js';
import { Daemon } from './harness/daemon.js';
import { DEVICE, expectGoodChecksums, Machine } from './harness/machine.js';
import { probeFrame, readProbe } from './harness/probe.js';
import { Station } from './harness/station.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const TRANSFER = 16 * 1024 * 1024;
const TIMEOUT_MS = 60_000;

let testbed: Testbed;

afterEach(() => testbed?.dispose());

const netdev = (device: string, more: JsonObject = {}): JsonObject => ({
  kind: 'netdev',
  device,
  network: 'lab',
  ...more,
});
const tap = (device: string): JsonObject => ({ kind: 'tap', device, network: 'lab' });

async function startDaemon(ports: JsonObject): Promise<Daemon> {
  return await Daemon.start(testbed, { version: 1, networks: { lab: { type: 'local' } }, ports });
}

/** A machine at the far end of a cable whose near end is `device`, in the switch's namespace. */
function plug(device: string, label: string, number: number): Machine {
  testbed.veth(device, label, DEVICE);
  return new Machine(testbed, label, number).configure();
}

async function untilUp(daemon: Daemon, ...names: string[]): Promise<void> {
  await until(`${names} carry frames`, async () => {
    const rows = await Promise.all(names.map((name) => daemon.port(name)));
    return rows.every(({ state, reason }) => state === 'up' && reason === undefined);
  });
}

test.each(['uring', 'poll'] as const)(
  'super-frames cross between veths, and between a veth and a TAP, with right checksums (%s)',
  async (io) => {
    testbed = new Testbed();
    const one = plug('veth-one', 'one', 1);
    const two = plug('veth-two', 'two', 2);
    const ports = { one: netdev('veth-one'), two: netdev('veth-two'), three: tap('tap-three') };
    const daemon = await Daemon.start(testbed, { version: 1, networks: { lab: { type: 'local' } }, ports }, { io });
    const three = new Machine(testbed, 'three', 3).take('tap-three');
    await untilUp(daemon, 'one', 'two', 'three');
    for (const [from, to] of [
      [one, two],
      [one, three],
      [three, one],
    ] as const) {
      const delivered = await expectGoodChecksums(testbed, to, async () => {
        await from.expectTransfer(to, to.ipv4, TRANSFER);
        await from.expectTransfer(to, to.ipv6, TRANSFER);
        await from.expectPings(to.ipv4, '0-1500:97,65507');
      });
      expect(delivered.superFrames).toBeGreaterThan(0);
      expect(delivered.right).toBeGreaterThan(100);
    }
    two.withoutOffloads();
    await two.expectTransfer(three, three.ipv4, TRANSFER);
    await one.expectTransfer(two, two.ipv4, TRANSFER);
    await daemon.expectConservation();
  },
  TIMEOUT_MS,
);

test(
  'a port follows its interface: deleted, made again, renamed away, renamed back, down, up',
  async () => {
    testbed = new Testbed();
    const daemon = await startDaemon({ one: netdev('veth-one'), two: tap('tap-two') });
    const two = new Machine(testbed, 'two', 2).take('tap-two');
    const waits = () =>
      until('the port waits', async () => {
        const { state, reason } = await daemon.port('one');
        return state === 'waiting' && reason === 'no interface veth-one';
      });
    await waits();
    for (let round = 0; round < 5; round++) {
      const one = plug('veth-one', 'one', 1);
      await untilUp(daemon, 'one', 'two');
      await one.expectPings(two.ipv4, '0,56,4000');
      testbed.ip('s', 'link', 'delete', 'veth-one');
      await waits();
    }
    const one = plug('veth-one', 'one', 1);
    await untilUp(daemon, 'one');
    testbed.ip('s', 'link', 'set', 'veth-one', 'down');
    testbed.ip('s', 'link', 'set', 'veth-one', 'name', 'veth-away');
    await waits();
    testbed.ip('s', 'link', 'set', 'veth-away', 'name', 'veth-one', 'up');
    await untilUp(daemon, 'one');
    // The same with the port long closed when the name goes.
    testbed.ip('s', 'link', 'set', 'veth-one', 'down');
    await until('the port is down', async () => (await daemon.port('one')).reason?.includes('down') === true);
    await sleep(300);
    testbed.ip('s', 'link', 'set', 'veth-one', 'name', 'veth-away');
    await waits();
    testbed.ip('s', 'link', 'set', 'veth-away', 'name', 'veth-one', 'up');
    await untilUp(daemon, 'one');
    await two.expectPings(one.ipv4, '56');
    testbed.ip('s', 'link', 'set', 'veth-one', 'down');
    await until('the port is down', async () => (await daemon.port('one')).state === 'down');
    expect((await daemon.port('one')).reason).toMatch(/down/);
    await until('what was learned behind it is forgotten', async () =>
      (await daemon.fdb()).every(({ port }) => port !== 'one'),
    );
    testbed.ip('s', 'link', 'set', 'veth-one', 'up');
    await untilUp(daemon, 'one');
    await two.expectPings(one.ipv4, '56');
    await daemon.expectConservation();
  },
  TIMEOUT_MS,
);

test(
  'its MTU is watched: what is longer than the interface takes dies by reason, until the interface takes it',
  async () => {
    testbed = new Testbed();
    const one = plug('veth-one', 'one', 1);
    const daemon = await startDaemon({ one: netdev('veth-one'), two: tap('tap-two') });
    const two = new Machine(testbed, 'two', 2).take('tap-two');
    await untilUp(daemon, 'one', 'two');
    for (const [label, device] of [
      ['one', DEVICE],
      ['two', DEVICE],
    ] as const)
      testbed.ip(label, 'link', 'set', device, 'mtu', '4000');
    await until('the TAP holds to 4000', async () => (await daemon.port('two')).mtu === 4000);
    expect((await daemon.port('one')).mtu).toBe(1500);
    const tooLong = testbed.start('two', [
      'ping',
      '-n',
      '-c',
      '2',
      '-i',
      '0.2',
      '-W',
      '1',
      '-M',
      'do',
      '-s',
      '3000',
      one.ipv4,
    ]);
    expect((await tooLong.end()).status).toBe(1);
    expect(await daemon.drops()).toContainEqual(
      expect.objectContaining({ reason: 'mtu_exceeded', port: 'one', of: 'copy', count: 2 }),
    );
    testbed.ip('s', 'link', 'set', 'veth-one', 'mtu', '4000');
    await until('the veth holds to 4000', async () => (await daemon.port('one')).mtu === 4000);
    await two.expectPings(one.ipv4, '3000,3972,3973');
    await daemon.expectConservation();
  },
  TIMEOUT_MS,
);

test(
  'the host neither answers on an interface that is a port nor speaks on it',
  async () => {
    testbed = new Testbed();
    const one = plug('veth-one', 'one', 1);
    testbed.ip('s', 'address', 'add', '192.0.2.200/24', 'dev', 'veth-one');
    const echo = (to: string) => testbed.start('one', ['ping', '-n', '-c', '2', '-i', '0.2', '-W', '1', to]).end();
    expect((await echo('192.0.2.200')).status).toBe(0);
    const daemon = await startDaemon({ one: netdev('veth-one'), two: tap('tap-two') });
    const two = new Machine(testbed, 'two', 2).take('tap-two');
    await untilUp(daemon, 'one', 'two');
    await one.expectPings(two.ipv4, '56');
    // The neighbour is known from before, so the host is sent these: its own MAC, its own address.
    expect((await echo('192.0.2.200')).status).toBe(1);
    testbed.ip('one', 'neighbour', 'flush', 'all');
    expect((await echo('192.0.2.200')).status).toBe(1);
    await daemon.expectConservation();
    await daemon.call('port.remove', { name: 'one' });
    await until('the host has its interface back', async () => (await echo('192.0.2.200')).status === 0);
  },
  TIMEOUT_MS,
);

test(
  'tags survive the way in, which the kernel takes them off, and the way out, also under load',
  async () => {
    testbed = new Testbed();
    for (const name of ['left', 'right']) testbed.veth(`veth-${name}`, 'm', name);
    const trunk = {
      trunk: [
        { network: 'lab', vlan: 7 },
        { network: 'lab2', vlan: 4094 },
      ],
      native: 'lab3',
    };
    const daemon = await Daemon.start(testbed, {
      version: 1,
      networks: { lab: { type: 'local' }, lab2: { type: 'local' }, lab3: { type: 'local' } },
      ports: {
        left: { kind: 'netdev', device: 'veth-left', ...trunk },
        right: { kind: 'netdev', device: 'veth-right', ...trunk },
      },
    });
    await untilUp(daemon, 'left', 'right');
    const left = await Station.open(testbed, 'm', 'left');
    const right = await Station.open(testbed, 'm', 'right');
    const tags = ['8100:7p5', '8100:4094d', '', '8100:7 8100:9p3', '8100:4094p7d 88a8:1'];
    const count = 500;
    for (let number = 0; number < count; number++) {
      const frame = probeFrame(number, '02:00:00:00:00:01', '02:00:00:00:00:02', tags[number % tags.length] as string);
      left.send(frame);
      if (number % 50 === 49) await sleep(5);
    }
    await until('all arrived', () => right.frames.length === count);
    const arrived = right.take().map(readProbe);
    expect(arrived.map((probe) => probe?.tags)).toEqual(
      Array.from({ length: count }, (_, number) => tags[number % tags.length]),
    );
    expect(arrived.map((probe) => probe?.number)).toEqual(Array.from({ length: count }, (_, number) => number));
    expect(left.frames).toEqual([]);
    await daemon.expectConservation();
  },
  TIMEOUT_MS,
);
