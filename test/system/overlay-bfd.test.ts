/**
 * BFD with real peers: FRR's bfdd beside the tunnels, Open vSwitch inside them, weft itself, and a router between that must
 * not be believed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import type { BfdView, TunnelRow } from '../../src/control/shapes.js';
import type { Daemon } from './harness/daemon.js';
import { FrrHost } from './harness/frr.js';
import { startOpenVswitchHost } from './harness/open-vswitch.js';
import { Testbed } from './harness/testbed.js';
import { dropCount, tunnelTo } from './harness/tunnel-checks.js';
import { startKernelHost, startWeftHost, type Tunnels, type WeftHost, weftConfig } from './harness/tunnel-hosts.js';
import { type Family, Underlay } from './harness/underlay.js';
import { until } from './harness/wait.js';

let testbed: Testbed;

afterEach(() => testbed.dispose());

const bfd = { interval: '100ms', multiplier: 5 };
const FRR_INTERVAL_MS = 150;
const FRR_MULTIPLIER = 4;
const vxlan = (family: Family): Tunnels => ({ type: 'vxlan', family });

/** A kernel with a VXLAN device, and FRR that says that it lives. */
async function startFrrHost(underlay: Underlay, family: Family, number: number): Promise<FrrHost> {
  startKernelHost(testbed, underlay, family, number, 1);
  const [local, remote] = [underlay.address(number, family), underlay.address(1, family)];
  const timing = { intervalMs: FRR_INTERVAL_MS, multiplier: FRR_MULTIPLIER };
  return await FrrHost.start(testbed, `h${number}`, [{ local, remote, ...timing }]);
}

async function bfdOf(daemon: Daemon, remote: string): Promise<BfdView> {
  const { bfd: view } = await tunnelTo(daemon, remote);
  if (view === undefined) throw new Error(`nobody watches ${remote}`);
  return view;
}

async function untilState(daemon: Daemon, remote: string, state: BfdView['state']): Promise<void> {
  await until(`BFD to ${remote} is ${state}`, async () => (await bfdOf(daemon, remote)).state === state);
}

/** Milliseconds from then to when the daemon found the remote down, by what it logs: the test itself may look late. */
function downAfter(daemon: Daemon, then: number): number {
  const entry = daemon.log.split('\n').findLast((line) => line.includes('BFD: the remote is down'));
  if (entry === undefined) throw new Error('nobody was found down');
  return (JSON.parse(entry) as { time: number }).time - then;
}

/** How many frames of a broadcast storm in small each tunnel was sent. */
async function flooded({ daemon, machine }: WeftHost): Promise<Map<string, number>> {
  const rows = () => daemon.call<readonly TunnelRow[]>('tunnel.list');
  const before = new Map((await rows()).map(({ remote, txFrames }) => [remote, txFrames]));
  // Nobody has the address: questions only, all of them broadcast.
  await testbed.start(machine.label, ['ping', '-c', '3', '-i', '0.3', '-W', '1', '192.0.2.250']).end();
  return new Map((await rows()).map(({ remote, txFrames }) => [remote, txFrames - (before.get(remote) ?? 0)]));
}

describe.each([4, 6] as const)('FRR over IPv%i', (family) => {
  test('agrees on intervals, is missed within the detection time when it dies, gets no floods then, and comes back', async () => {
    testbed = new Testbed();
    const underlay = new Underlay(testbed);
    const peer = await startFrrHost(underlay, family, 2);
    await startFrrHost(underlay, family, 3);
    const weft = await startWeftHost(testbed, underlay, vxlan(family), 1, [2, 3], { underlay: { bfd } });
    const { daemon } = weft;
    const [own, dying, living] = [1, 2, 3].map((number) => underlay.address(number, family)) as [
      string,
      string,
      string,
    ];
    await untilState(daemon, dying, 'up');
    await untilState(daemon, living, 'up');
    await until('both have agreed', () => peer.session(own)['remote-transmit-interval'] === 100);
    expect(peer.session(own)).toMatchObject({ status: 'up', 'remote-detect-multiplier': 5 });
    expect(await tunnelTo(daemon, dying)).toMatchObject({ state: 'up', bfd: { state: 'up', remoteState: 'up' } });
    expect((await bfdOf(daemon, dying)).detectionMs).toBe(FRR_INTERVAL_MS * FRR_MULTIPLIER);

    await peer.kill();
    const killed = Date.now();
    await untilState(daemon, dying, 'down');
    expect(downAfter(daemon, killed)).toBeLessThan(FRR_INTERVAL_MS * FRR_MULTIPLIER + 500);
    expect(await tunnelTo(daemon, dying)).toMatchObject({
      state: 'down',
      reason: 'BFD: control detection time expired',
    });
    expect(daemon.log).toContain('BFD: the remote is down');
    const floods = await flooded(weft);
    expect(floods.get(dying)).toBe(0);
    expect(floods.get(living)).toBeGreaterThan(0);

    peer.restart();
    await untilState(daemon, dying, 'up');
    expect((await flooded(weft)).get(dying)).toBeGreaterThan(0);
    await daemon.expectConservation();
  }, 60_000);
});

describe('FRR', () => {
  test('that switches BFD off is not taken for dead, and floods go on', async () => {
    testbed = new Testbed();
    const underlay = new Underlay(testbed);
    const peer = await startFrrHost(underlay, 4, 2);
    const weft = await startWeftHost(testbed, underlay, vxlan(4), 1, [2], { underlay: { bfd } });
    const [own, remote] = [underlay.address(1), underlay.address(2)];
    await untilState(weft.daemon, remote, 'up');
    peer.configure('bfd', `peer ${own} local-address ${remote}`, 'shutdown');
    await untilState(weft.daemon, remote, 'down');
    await sleep(1000);
    expect(await bfdOf(weft.daemon, remote)).toMatchObject({ remoteState: 'admin-down', isDown: false });
    expect((await flooded(weft)).get(remote)).toBeGreaterThan(0);
    peer.configure('bfd', `peer ${own} local-address ${remote}`, 'no shutdown');
    await untilState(weft.daemon, remote, 'up');
  }, 60_000);

  test('hears at once that weft ends, and that it was meant so', async () => {
    testbed = new Testbed();
    const underlay = new Underlay(testbed);
    const peer = await startFrrHost(underlay, 4, 2);
    const slow = { interval: '1s', multiplier: 60 };
    const { daemon } = await startWeftHost(testbed, underlay, vxlan(4), 1, [2], { underlay: { bfd: slow } });
    const own = underlay.address(1);
    await until('FRR is up', () => peer.session(own).status === 'up');
    await daemon.stop();
    // Its patience is a minute.
    await until('FRR is down', () => peer.session(own).status === 'down');
    expect(peer.session(own)['remote-diagnostic']).toBe('administratively down');
  }, 60_000);

  test('is not taken for dead when it was weft that stood still', async () => {
    testbed = new Testbed();
    const underlay = new Underlay(testbed);
    const peer = await startFrrHost(underlay, 4, 2);
    const patient = { interval: '100ms', multiplier: 100 };
    const { daemon } = await startWeftHost(testbed, underlay, vxlan(4), 1, [2], { underlay: { bfd: patient } });
    const remote = underlay.address(2);
    await untilState(daemon, remote, 'up');
    await until('both have agreed', () => peer.session(underlay.address(1))['remote-transmit-interval'] === 100);
    process.kill(daemon.pid, 'SIGSTOP');
    await sleep(4 * FRR_INTERVAL_MS * FRR_MULTIPLIER);
    process.kill(daemon.pid, 'SIGCONT');
    await sleep(2 * FRR_INTERVAL_MS * FRR_MULTIPLIER);
    expect(await bfdOf(daemon, remote)).toMatchObject({ state: 'up' });
    expect(daemon.log).not.toContain('BFD: the remote is down');
  }, 60_000);
});

describe('two wefts', () => {
  test('see each other, and a tunnel that is watched no more is as any other', async () => {
    testbed = new Testbed();
    const underlay = new Underlay(testbed);
    const one = await startWeftHost(testbed, underlay, vxlan(4), 1, [2], { underlay: { bfd } });
    const two = await startWeftHost(testbed, underlay, vxlan(4), 2, [1], { underlay: { bfd } });
    await untilState(one.daemon, underlay.address(2), 'up');
    await untilState(two.daemon, underlay.address(1), 'up');
    await one.machine.expectPings(two.machine.ipv4, '64,1400');

    await two.daemon.killHard();
    await untilState(one.daemon, underlay.address(2), 'down');
    expect((await flooded(one)).get(underlay.address(2))).toBe(0);
    await one.daemon.apply(weftConfig(underlay, vxlan(4), 1, [2]));
    expect((await tunnelTo(one.daemon, underlay.address(2))).bfd).toBeUndefined();
    expect((await flooded(one)).get(underlay.address(2))).toBeGreaterThan(0);
  }, 60_000);

  test.each([4, 6] as const)(
    'do not believe packets over IPv%i that came through a router',
    async (family) => {
      testbed = new Testbed();
      const underlay = new Underlay(testbed, { routed: true });
      const one = await startWeftHost(testbed, underlay, vxlan(family), 1, [2], { underlay: { bfd } });
      const two = await startWeftHost(testbed, underlay, vxlan(family), 2, [1], { underlay: { bfd } });
      await sleep(2500);
      for (const [{ daemon }, remote] of [[one, 2] as const, [two, 1] as const])
        expect(await tunnelTo(daemon, underlay.address(remote, family))).toMatchObject({
          state: 'down',
          reason: 'BFD: not up yet',
          bfd: { state: 'down', detectionMs: 0 },
        });
    },
    60_000,
  );
});

describe('Open vSwitch, inside the tunnel', () => {
  const inside = { ...bfd, inside: true };
  const options = ['bfd:enable=true', 'bfd:min_tx=100', 'bfd:min_rx=100'];

  const peerings: readonly (Tunnels & { readonly title: string; readonly io: 'uring' | 'poll' })[] = [
    { title: 'VXLAN', type: 'vxlan', family: 4, io: 'uring' },
    { title: 'Geneve over IPv6', type: 'geneve', family: 6, io: 'poll' },
    { title: 'GRE with a key', type: 'gre', family: 4, io: 'uring' },
    { title: 'GRE without a key', type: 'gre', family: 4, keyless: true, io: 'poll' },
    { title: 'GRE over IPv6', type: 'gre', family: 6, io: 'uring' },
  ];

  test.each(peerings)(
    '$title: comes up, a cut is seen within the detection time, floods stop, all mends',
    async (peering) => {
      testbed = new Testbed();
      const underlay = new Underlay(testbed);
      const ovs = await startOpenVswitchHost(testbed, underlay, peering, 2, 1, options);
      const weft = await startWeftHost(testbed, underlay, peering, 1, [2], {
        underlay: { bfd: inside },
        flags: { io: peering.io, workers: 2 },
      });
      const { daemon } = weft;
      const remote = underlay.address(2, peering.family);
      await untilState(daemon, remote, 'up');
      await until('Open vSwitch is up', () => ovs.appctl('bfd/show', 'tun').includes('Local Session State: up'));
      await until('intervals are agreed on', async () => (await bfdOf(daemon, remote)).detectionMs === 300);
      expect(await tunnelTo(daemon, remote)).toMatchObject({ state: 'up' });
      expect(await daemon.fdb()).not.toContainEqual(expect.objectContaining({ mac: '00:23:20:00:00:01' }));

      testbed.ip(underlay.middle, 'link', 'set', underlay.portOf('h2'), 'down');
      const cut = Date.now();
      await untilState(daemon, remote, 'down');
      expect(downAfter(daemon, cut)).toBeLessThan(300 + 500);
      expect(await bfdOf(daemon, remote)).toMatchObject({ isDown: true, reason: 'control detection time expired' });
      expect((await flooded(weft)).get(remote)).toBe(0);
      testbed.ip(underlay.middle, 'link', 'set', underlay.portOf('h2'), 'up');
      await untilState(daemon, remote, 'up');
      await weft.machine.expectPings(ovs.machine.ipv4, '64');
      await daemon.expectConservation();
    },
    60_000,
  );

  test('a machine that sends BFD reaches neither end of the session', async () => {
    testbed = new Testbed();
    const underlay = new Underlay(testbed);
    const ovs = await startOpenVswitchHost(testbed, underlay, vxlan(4), 2, 1, options);
    const { daemon, machine } = await startWeftHost(testbed, underlay, vxlan(4), 1, [2], { underlay: { bfd: inside } });
    await untilState(daemon, underlay.address(2), 'up');
    await machine.expectPings(ovs.machine.ipv4, '64');
    const down = '20400318010203040000000000000064000000640000000000000000';
    const forge = [
      'import socket, time',
      's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(0, 2, 255)',
      `for i in range(20): s.sendto(bytes.fromhex('${down}')[:24], ('${ovs.machine.ipv4}', 3784)); time.sleep(0.05)`,
    ];
    testbed.run(machine.label, 'python3', '-c', forge.join('\n'));
    // Each as the copy that was not sent, and as the frame of which no copy was.
    expect(await dropCount(daemon, 'control_frame')).toBe(40);
    expect(daemon.log).not.toContain('BFD: the remote is down');
    expect(ovs.appctl('bfd/show', 'tun')).toContain('Local Session State: up');
  }, 60_000);
});
