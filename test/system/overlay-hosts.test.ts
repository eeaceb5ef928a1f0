/**
 * weft with weft at the other end: every kind of tunnel over IPv4 and IPv6, entropy of source ports, three hosts in a mesh,
 * hosts that die and come back, machines that move, and an underlay whose ways narrow, vanish and return.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import type { DaemonFlags } from './harness/daemon.js';
import { DEVICE, Machine } from './harness/machine.js';
import { BROADCAST, probeFrame, readProbe } from './harness/probe.js';
import { Station } from './harness/station.js';
import { Testbed } from './harness/testbed.js';
import {
  dropCount,
  expectTooBig,
  expectTraffic,
  pingWhole,
  TRANSFER,
  tunnelFilter,
  tunnelTo,
} from './harness/tunnel-checks.js';
import {
  hostLabel,
  machineLabel,
  machineMtu,
  NETWORK,
  setMachineMtu,
  startWeftHost,
  type Tunnels,
  type WeftHost,
  type WeftHostOptions,
} from './harness/tunnel-hosts.js';
import { Underlay, type UnderlayKind } from './harness/underlay.js';
import { until } from './harness/wait.js';
import { expectSound, tshark, WireCapture } from './harness/wire-judge.js';

const vxlan: Tunnels = { type: 'vxlan', family: 4 };

let testbed: Testbed;

afterEach(() => testbed.dispose());

interface Site {
  readonly underlay: Underlay;
  readonly hosts: readonly WeftHost[];
}

/** That many weft hosts, each with a tunnel to every other. */
async function startHosts(
  count: number,
  tunnels: Tunnels,
  options: WeftHostOptions = {},
  kind: UnderlayKind = {},
): Promise<Site> {
  testbed = new Testbed();
  const underlay = new Underlay(testbed, kind);
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  const hosts: WeftHost[] = [];
  for (const number of numbers) {
    const remotes = numbers.filter((other) => other !== number);
    hosts.push(await startWeftHost(testbed, underlay, tunnels, number, remotes, options));
  }
  return { underlay, hosts };
}

async function startPair(tunnels: Tunnels, options: WeftHostOptions = {}, kind: UnderlayKind = {}) {
  const { underlay, hosts } = await startHosts(2, tunnels, options, kind);
  const [one, two] = hosts as [WeftHost, WeftHost];
  return { underlay, one, two };
}

async function expectConservation(hosts: readonly WeftHost[]): Promise<void> {
  for (const { daemon } of hosts) await daemon.expectConservation();
}

const kinds: readonly { title: string; tunnels: Tunnels; flags: DaemonFlags }[] = [
  { title: 'VXLAN over IPv4', tunnels: vxlan, flags: { io: 'uring' } },
  { title: 'VXLAN over IPv4', tunnels: vxlan, flags: { io: 'poll', workers: 2 } },
  { title: 'VXLAN over IPv6', tunnels: { type: 'vxlan', family: 6 }, flags: { io: 'uring', workers: 2 } },
  { title: 'Geneve over IPv4', tunnels: { type: 'geneve', family: 4 }, flags: { io: 'uring' } },
  { title: 'Geneve over IPv6', tunnels: { type: 'geneve', family: 6 }, flags: { io: 'poll' } },
  { title: 'GRE over IPv4', tunnels: { type: 'gre', family: 4 }, flags: { io: 'uring' } },
  { title: 'GRE over IPv4', tunnels: { type: 'gre', family: 4 }, flags: { io: 'poll', workers: 2 } },
  { title: 'GRE over IPv6', tunnels: { type: 'gre', family: 6 }, flags: { io: 'uring', workers: 2 } },
];

test.each(kinds)(
  '$title, $flags.io engine: echoes of every size, TCP both ways with and without offloads',
  async ({ tunnels, flags }) => {
    const { underlay, one, two } = await startPair(tunnels, { flags });
    const capture = await WireCapture.start(testbed, underlay.middle, underlay.portOf('h1'), tunnelFilter(tunnels));
    await expectTraffic(one.machine, two.machine, TRANSFER / 4);
    expectSound(await capture.stop());
    await expectConservation([one, two]);
  },
  60_000,
);

describe.each([{ io: 'uring', workers: 1 } as const, { io: 'poll', workers: 2 } as const])(
  'with the $io engine',
  (flags) => {
    test('a thousand flows leave by more than a hundred source ports, each flow always by the same', async () => {
      const { underlay, one, two } = await startPair(vxlan, { flags, underlay: { sourcePorts: 256 } });
      await one.machine.expectPings(two.machine.ipv4, '56');
      const listener = await two.machine.peer('listen', two.machine.ipv4, '40001').ready();
      const capture = await WireCapture.start(testbed, underlay.middle, underlay.portOf('h1'), 'udp port 4789');
      await one.machine.peer('flows', two.machine.ipv4, '40001', '1000', '4').result();
      listener.signal('SIGTERM');
      // Queues of the kernel may lose some on a machine with other things to do.
      expect((await listener.result<{ datagrams: number }>()).datagrams).toBeGreaterThan(3000);
      const { file } = await capture.stop();
      const outerOf = new Map<string, Set<string>>();
      for (const line of tshark(file, 'vxlan && udp.dstport == 40001', ['udp.srcport'])) {
        const [outer, inner] = line.split(',') as [string, string];
        outerOf.set(inner, (outerOf.get(inner) ?? new Set()).add(outer));
      }
      expect(outerOf.size).toBe(1000);
      expect([...outerOf.values()].filter(({ size }) => size !== 1)).toEqual([]);
      const outers = new Set([...outerOf.values()].flatMap((ports) => [...ports]));
      expect(outers.size).toBeGreaterThanOrEqual(100);
      await expectConservation([one, two]);
    }, 60_000);

    test('three hosts in a mesh: one copy of each broadcast and unknown unicast at each, none returned', async () => {
      const { underlay, hosts } = await startHosts(3, vxlan, { flags });
      const stations: Station[] = [];
      const captures: WireCapture[] = [];
      for (const number of [1, 2, 3]) {
        stations.push(await Station.open(testbed, machineLabel(number), DEVICE));
        captures.push(
          await WireCapture.start(testbed, underlay.middle, underlay.portOf(hostLabel(number)), 'udp port 4789'),
        );
      }
      const each = 100;
      const numberOf = (station: number, index: number) => station * each + index;
      for (let index = 0; index < each; index++) {
        stations.forEach((station, from) => {
          const to = index % 2 === 0 ? BROADCAST : '02:00:00:00:99:99';
          station.send(probeFrame(numberOf(from, index), `02:00:00:00:77:0${from}`, to, ''));
        });
      }
      const heardBy = (station: Station) => station.frames.flatMap((frame) => readProbe(frame)?.number ?? []);
      await until('every station heard all others', () =>
        stations.every((station) => heardBy(station).length >= 2 * each),
      );
      // What would come back would come now.
      await sleep(300);
      stations.forEach((station, at) => {
        const others = [0, 1, 2].filter((from) => from !== at);
        const expected = others.flatMap((from) => Array.from({ length: each }, (_, index) => numberOf(from, index)));
        expect(heardBy(station).sort((a, b) => a - b)).toEqual(expected.sort((a, b) => a - b));
      });
      for (const capture of captures) {
        const { file } = await capture.stop();
        // Two copies of each of its own, and one of each of the two others'.
        expect(tshark(file, 'eth.type == 0x88b5', ['frame.number']).length).toBe(4 * each);
      }
      await expectConservation(hosts);
    }, 60_000);
  },
);

test('a host that is killed and started again goes on with its connections, and a machine that moves is found within a second', async () => {
  const { underlay, hosts } = await startHosts(3, vxlan);
  const [one, two, three] = hosts as [WeftHost, WeftHost, WeftHost];
  const server = testbed.start(two.machine.label, ['iperf3', '-s', '-1', '--forceflush']);
  await until('iperf3 listens', () => testbed.run(two.machine.label, 'ss', '-tln').includes(':5201'));
  const words = ['-c', two.machine.ipv4, '-b', '100M', '-n', '40M', '-J', '--connect-timeout', '5000'];
  const client = testbed.start(one.machine.label, ['iperf3', ...words]);
  await sleep(500);
  await two.daemon.killHard();
  await two.daemon.start();
  await sleep(300);
  await one.daemon.killHard();
  await one.daemon.start();
  const { status, stdout } = await client.end();
  expect(status, stdout).toBe(0);
  await server.end();
  const { end } = JSON.parse(stdout) as { end: { sum_received: { bytes: number } } };
  expect(end.sum_received.bytes).toBeGreaterThan(39_000_000);

  const moved = two.machine.mac;
  const place = async () => (await one.daemon.fdb()).find(({ mac }) => mac === moved)?.remote;
  expect(await place(), JSON.stringify(await one.daemon.fdb())).toBe(underlay.address(2));
  await two.daemon.killHard();
  testbed.ip(two.machine.label, 'link', 'set', DEVICE, 'down');
  testbed.ip(machineLabel(3), 'link', 'set', DEVICE, 'down');
  testbed.ip(machineLabel(3), 'link', 'set', DEVICE, 'name', 'moving');
  const again = new Machine(testbed, 'vm2again', 2);
  testbed.ip(machineLabel(3), 'link', 'set', 'moving', 'netns', again.namespace, 'name', DEVICE);
  again.configure();
  await until('its port carries frames', async () => (await three.daemon.port('vm')).reason === undefined);
  // Its first word to the network; a hypervisor would announce it so. The answer comes to where it is known to be.
  const { stdout: pinged } = await testbed.start(again.label, ['ping', '-c', '1', one.machine.ipv4]).end();
  expect(await place()).toBe(underlay.address(3));
  expect(Number(/ time=([\d.]+) ms/.exec(pinged)?.[1]), pinged).toBeLessThan(1000);
  await one.machine.expectPings(again.ipv4, '56,1400,4000');
  await two.daemon.start();
  await one.machine.expectPings(again.ipv4, '56,1400,4000');
  expect(await place()).toBe(underlay.address(3));
  await expectConservation([one, two, three]);
}, 90_000);

describe.each([4, 6] as const)('over a router, IPv%i', (family) => {
  const tunnels: Tunnels = { type: 'vxlan', family };
  const headers = family === 4 ? 50 : 70;

  test('a way that narrows: TCP goes on, and what is too long is answered with the size that fits', async () => {
    const { underlay, one, two } = await startPair(tunnels, {}, { routed: true });
    await one.machine.expectPings(two.machine.ipv4, '56,1400');
    expect((await tunnelTo(one.daemon, underlay.address(2, family))).mtu).toBe(1500 - headers);
    underlay.narrow(2, 1400);
    await one.machine.expectTransfer(two.machine, two.machine.ipv4, TRANSFER);
    await two.machine.expectTransfer(one.machine, one.machine.ipv6, TRANSFER);
    await until(
      'the tunnel shows what fits',
      async () => (await tunnelTo(one.daemon, underlay.address(2, family))).mtu === 1400 - headers,
    );
    setMachineMtu(one.machine, 1500);
    await expectTooBig(testbed, one.machine, two.machine.ipv4, 1450, 1400 - headers);
    await expectTooBig(testbed, one.machine, two.machine.ipv6, 1450, 1400 - headers);
    await one.machine.expectPings(two.machine.ipv4, '56,1400,4000');
    // Less than IPv6 demands of a link: shorter packets pass all the same.
    underlay.narrow(2, 1300);
    await pingWhole(testbed, one.machine, two.machine.ipv4, 1330);
    await until(
      'the tunnel shows how little fits',
      async () => (await tunnelTo(one.daemon, underlay.address(2, family))).mtu === 1300 - headers,
    );
    expect(machineMtu(one.machine), 'one way is no reason to change a device').toBe(1500);
    await one.machine.expectPings(two.machine.ipv6, '56,1100');
    await one.machine.expectPings(two.machine.ipv4, '56,1100');
    await expectConservation([one, two]);
  }, 60_000);

  test('a way that narrows costs other ways nothing, also where the far end was learned', async () => {
    testbed = new Testbed();
    const underlay = new Underlay(testbed, { routed: true });
    const allowFrom = [family === 4 ? '198.51.100.0/24' : '2001:db8:51::/64'];
    const start = (number: number, remote: number) =>
      startWeftHost(testbed, underlay, tunnels, number, [remote], { underlay: { allowFrom } });
    const [one, two, three] = [await start(1, 3), await start(2, 1), await start(3, 1)];
    const most = 1500 - headers;
    await two.machine.expectPings(one.machine.ipv4, '56,1400');
    await two.machine.expectPings(one.machine.ipv6, '56');
    await one.machine.expectPings(three.machine.ipv4, '56,1400');
    expect((await tunnelTo(one.daemon, underlay.address(2, family))).learned).toBe(true);
    underlay.narrow(2, 1400);
    setMachineMtu(one.machine, 1500);
    await pingWhole(testbed, one.machine, two.machine.ipv4, most);
    await until('the learned tunnel shows what fits', async () => {
      const row = await tunnelTo(one.daemon, underlay.address(2, family));
      return row.mtu === 1400 - headers && row.pathMtu === 1400;
    });
    expect((await tunnelTo(one.daemon, underlay.address(3, family))).mtu).toBe(most);
    await expectTooBig(testbed, one.machine, two.machine.ipv4, most, 1400 - headers);
    await expectTooBig(testbed, one.machine, two.machine.ipv6, most, 1400 - headers);
    expect(await pingWhole(testbed, one.machine, three.machine.ipv4, most)).toContain(' 0% packet loss');
    expect(machineMtu(one.machine)).toBe(1500);
    const { stdout } = await one.daemon.weft('tunnel', 'show', NETWORK);
    expect(stdout).toContain(`${1400 - headers}  to ${underlay.address(2, family)}: MTU of the path 1400`);
    await expectConservation([one, two, three]);
  }, 60_000);

  test('a route that is removed and restored is a tunnel that goes down and comes up', async () => {
    const { underlay, one, two } = await startPair(tunnels, {}, { routed: true });
    const remote = underlay.address(2, family);
    const state = async () => (await tunnelTo(one.daemon, remote)).state;
    const route = ['default', 'via', underlay.address(254, family), 'dev', 'under0'];
    await one.machine.expectPings(two.machine.ipv4, '56');
    await until('the tunnel is up', async () => (await state()) === 'up');
    testbed.ip('h1', `-${family}`, 'route', 'del', ...route);
    await testbed.start(one.machine.label, ['ping', '-c', '3', '-i', '0.2', '-W', '1', two.machine.ipv4]).end();
    await until('the tunnel is down', async () => (await state()) === 'down');
    expect((await tunnelTo(one.daemon, remote)).reason).toMatch(/route|unreachable/);
    const { stdout } = await one.daemon.weft('tunnel', 'list');
    expect(stdout.split('\n').find((line) => line.includes(remote))).toContain('down');
    expect(await dropCount(one.daemon, 'tunnel_down')).toBeGreaterThan(0);
    testbed.ip('h1', `-${family}`, 'route', 'add', ...route);
    await until('machines hear each other again', async () => {
      return (await one.machine.train(two.machine.ipv4, () => sleep(50))).lost === 0;
    });
    await until('the tunnel is up again', async () => (await state()) === 'up');
    await expectConservation([one, two]);
  }, 60_000);
});
