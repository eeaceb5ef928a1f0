/**
 * Traffic of real kernels through real TAPs: every size, both families, with and without offloads, on both I/O engines,
 * with one worker and with two. And what must not disturb it: hot-plug, MTU changes, ends that move, configuration
 * changes, restarts.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import type { JsonObject, StatusResult } from '../../src/control/shapes.js';
import { Daemon, type DaemonFlags } from './harness/daemon.js';
import { DEVICE, expectGoodChecksums, Machine } from './harness/machine.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

/** Every size up to one frame and one fragment more, around each further fragment, and some in between. */
const SIZES = [
  '0-1600',
  ...Array.from({ length: 43 }, (_, index) => `${(index + 2) * 1480 - 10}-${(index + 2) * 1480 - 6}`),
  '2000-65000:1499',
  '65400-65507',
].join(',');
const SOME_SIZES = '0-1500:97,1470-1474,4000,65507';
const TRANSFER = 16 * 1024 * 1024;
/** Long enough to see weft's own ticks (200 ms) pass. */
const A_WHILE_MS = 500;

let testbed: Testbed | undefined;

afterEach(() => {
  testbed?.dispose();
  testbed = undefined;
});

const tapPort = (device: string, more: JsonObject = {}): JsonObject => ({
  kind: 'tap',
  device,
  network: 'lab',
  // Echoes of 65,507 octets come as trains of fragments to one station; nothing here is a storm to be held back.
  storm: { broadcast: 'none', multicast: 'none', unknownUnicast: 'none' },
  ...more,
});

interface Lab {
  readonly testbed: Testbed;
  readonly daemon: Daemon;
  readonly config: JsonObject;
  readonly one: Machine;
  readonly two: Machine;
}

/** Two machines on TAP ports `one` and `two` of one network, and further ports as asked. */
async function startLab(more: JsonObject = {}, flags: DaemonFlags = {}, further: JsonObject = {}): Promise<Lab> {
  const bed = new Testbed();
  testbed = bed;
  const config = {
    version: 1,
    networks: { lab: { type: 'local' } },
    ports: { one: tapPort('tap-one', more), two: tapPort('tap-two', more), ...further },
  };
  const daemon = await Daemon.start(bed, config, flags);
  const one = new Machine(bed, 'one', 1).take('tap-one');
  const two = new Machine(bed, 'two', 2).take('tap-two');
  await until('both ports carry frames', async () => {
    const ports = [await daemon.port('one'), await daemon.port('two')];
    return ports.every(({ state, reason }) => state === 'up' && reason === undefined);
  });
  return { testbed: bed, daemon, config, one, two };
}

const engines: DaemonFlags[] = [
  { io: 'uring', workers: 1 },
  { io: 'uring', workers: 2 },
  { io: 'poll', workers: 1 },
  { io: 'poll', workers: 2 },
];

describe.each(engines)('two machines on TAPs, $io engine, $workers workers', (flags) => {
  test('echo each other at every size, IPv4 and IPv6, and exchange TCP both ways with right checksums', async () => {
    const { daemon, one, two, testbed: bed } = await startLab({ queues: flags.workers ?? 1 }, flags);
    expect((await daemon.call<StatusResult>('status')).io).toBe(flags.io);
    const delivered = await expectGoodChecksums(bed, two, async () => {
      await one.expectPings(two.ipv4, SIZES);
      await two.expectPings(one.ipv6, SOME_SIZES);
      await one.expectTransfer(two, two.ipv4, TRANSFER);
      await one.expectTransfer(two, two.ipv6, TRANSFER);
    });
    expect(delivered.right).toBeGreaterThan(100);
    expect(delivered.superFrames).toBeGreaterThan(0);
    await two.expectTransfer(one, one.ipv4, TRANSFER);
    await daemon.expectConservation();
  }, 120_000);

  test('exchange TCP where ports take no offloads, where machines have none, and between both', async () => {
    const lab = await startLab({ queues: flags.workers ?? 1 }, flags);
    const { daemon, config, one, two, testbed: bed } = lab;
    const without = {
      ports: {
        ...(config.ports as JsonObject),
        two: tapPort('tap-two', { offload: 'off', queues: flags.workers ?? 1 }),
      },
    };
    two.withoutOffloads();
    const plainMachine = await expectGoodChecksums(bed, one, () => one.expectTransfer(two, two.ipv4, TRANSFER));
    expect(plainMachine.right).toBeGreaterThan(100);
    await daemon.apply({ ...config, ...without });
    await until('port two is back', async () => (await daemon.port('two')).state === 'up');
    const delivered = await expectGoodChecksums(bed, two, async () => {
      await one.expectTransfer(two, two.ipv4, TRANSFER);
      await one.expectTransfer(two, two.ipv6, TRANSFER);
      await one.expectPings(two.ipv4, SOME_SIZES);
    });
    expect(delivered.right).toBeGreaterThan(100);
    expect({ superFrames: delivered.superFrames, partial: delivered.partial }).toEqual({ superFrames: 0, partial: 0 });
    await expectGoodChecksums(bed, one, () => two.expectTransfer(one, one.ipv6, TRANSFER));
    await daemon.expectConservation();
  }, 120_000);

  test('hear broadcast and multicast of each other', async () => {
    const { daemon, one, two } = await startLab({ queues: flags.workers ?? 1 }, flags, { three: tapPort('tap-three') });
    const three = new Machine(testbed as Testbed, 'three', 3).take('tap-three');
    await one.expectPings(three.ipv4, '56');
    for (const address of ['192.0.2.255', '239.1.2.3']) {
      const listeners = await Promise.all(
        [two, three].map((machine) => machine.peer('listen', address, '40001').ready()),
      );
      await one.peer('shout', address, '40001', '50').end();
      for (const listener of listeners) listener.signal('SIGTERM');
      for (const listener of listeners) expect(await listener.result()).toEqual({ datagrams: 50 });
    }
    await daemon.expectConservation();
  }, 60_000);
});

describe('while traffic runs', () => {
  test('an MTU that changes on both machines changes what fits, at once', async () => {
    const { daemon, one, two, testbed: bed } = await startLab();
    for (const mtu of [9000, 1280, 65_521, 1500]) {
      for (const label of ['one', 'two']) bed.ip(label, 'link', 'set', DEVICE, 'mtu', String(mtu));
      await until(`both ports hold to ${mtu}`, async () => {
        return (await daemon.port('one')).mtu === mtu && (await daemon.port('two')).mtu === mtu;
      });
      await one.expectPings(two.ipv4, `0,${mtu - 29},${mtu - 28},${Math.min(mtu - 27, 65_507)},65507`);
      await one.expectTransfer(two, two.ipv4, TRANSFER);
    }
    await daemon.expectConservation();
  }, 60_000);

  test('a machine with a larger MTU than its peer is refused by reason, and the peer lives on', async () => {
    const { daemon, one, two, testbed: bed } = await startLab();
    bed.ip('one', 'link', 'set', DEVICE, 'mtu', '4000');
    await until('port one holds to 4000', async () => (await daemon.port('one')).mtu === 4000);
    const { lost } = await one.train(two.ipv4, () => sleep(A_WHILE_MS));
    expect(lost).toBe(0);
    const ping = bed.start('one', [
      'ping',
      '-n',
      '-c',
      '3',
      '-i',
      '0.2',
      '-W',
      '1',
      '-M',
      'do',
      '-s',
      '3000',
      two.ipv4,
    ]);
    expect((await ping.end()).status).toBe(1);
    // The one copy could not be sent; and so the frame itself was not forwarded.
    const rows = (await daemon.drops()).filter(({ reason }) => reason === 'mtu_exceeded');
    expect(rows.map(({ port, of, count }) => ({ port, of, count }))).toEqual([
      { port: 'one', of: 'frame', count: 3 },
      { port: 'two', of: 'copy', count: 3 },
    ]);
    await daemon.expectConservation();
  }, 60_000);

  test('a TAP end that moves to another namespace keeps its port and its traffic', async () => {
    const { daemon, one, two, testbed: bed } = await startLab();
    await one.expectPings(two.ipv4, '56');
    for (const [from, to] of [
      ['two', 'elsewhere'],
      ['elsewhere', 's'],
      ['s', 'two'],
    ] as const) {
      const there = new Machine(bed, to, 2);
      bed.ip(from, 'link', 'set', DEVICE, 'netns', there.namespace);
      there.configure();
      await one.expectPings(two.ipv4, SOME_SIZES);
    }
    const train = await one.train(two.ipv4, async () => {
      await sleep(A_WHILE_MS);
      expect((await daemon.port('two')).state).toBe('up');
    });
    expect(train.lost).toBe(0);
    await daemon.expectConservation();
  }, 60_000);

  test('50 ports that come and go cost the others no frame', async () => {
    const { daemon, one, two, testbed: bed } = await startLab();
    const train = await one.train(two.ipv4, async () => {
      for (let round = 0; round < 50; round++) {
        await daemon.call('port.add', { name: 'guest', ...tapPort('tap-guest') });
        const guest = new Machine(bed, 'guest', 9).take('tap-guest');
        await guest.expectPings(one.ipv4, '0,56,3000');
        await daemon.call('port.remove', { name: 'guest' });
        expect(bed.ip('guest', '-o', 'link')).not.toContain(DEVICE);
      }
    });
    expect(train).toEqual({ sent: train.sent, lost: 0, firstLost: train.sent });
    expect((await daemon.call<StatusResult>('status')).ports).toEqual({ up: 2, down: 0, waiting: 0 });
    await daemon.expectConservation();
  }, 120_000);

  test('applying a file with differences elsewhere costs untouched ports no frame', async () => {
    const { daemon, config, one, two, testbed: bed } = await startLab();
    const variants: JsonObject[] = Array.from({ length: 12 }, (_, round) => ({
      ...config,
      networks: { lab: { type: 'local' }, [`net${round}`]: { type: 'local', macAge: `${round + 1}s` } },
      ports: {
        ...(config.ports as JsonObject),
        extra: tapPort('tap-extra', { network: round % 3 === 0 ? `net${round}` : 'lab', isolated: round % 2 === 0 }),
        ...(round % 4 === 0 ? { [`late${round}`]: tapPort(`tap-late${round}`) } : {}),
      },
    }));
    const train = await one.train(two.ipv4, async () => {
      for (const variant of variants) {
        const { applied, changes } = await daemon.apply(variant);
        expect(applied).toBe(true);
        expect(changes.length).toBeGreaterThan(0);
        expect(changes.filter(({ path }) => /^ports\.(one|two)\b/.test(path))).toEqual([]);
        await sleep(20);
      }
      await daemon.apply(config);
    });
    expect(train).toEqual({ sent: train.sent, lost: 0, firstLost: train.sent });
    expect(bed.ip('s', '-o', 'link')).not.toMatch(/tap-(extra|late)/);
    await daemon.expectConservation();
  }, 60_000);

  test('a refused file changes nothing and costs nothing', async () => {
    const { daemon, config, one, two } = await startLab();
    const before = await daemon.call('config.show');
    const broken = {
      ...config,
      ports: { ...(config.ports as JsonObject), two: tapPort('tap-two', { network: 'nowhere' }) },
    };
    const train = await one.train(two.ipv4, async () => {
      await expect(daemon.apply(broken)).rejects.toThrow(/no network named nowhere/);
    });
    expect(train.lost).toBe(0);
    expect(await daemon.call('config.show')).toEqual(before);
    await daemon.expectConservation();
  }, 60_000);
});

describe('a daemon that ends', () => {
  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'by %s keeps its TAPs in the machines and what it learned, and goes on when it is back',
    async (signal) => {
      const { daemon, one, two, testbed: bed } = await startLab();
      await one.expectPings(two.ipv4, '56');
      await daemon.call('fdb.add', { network: 'lab', mac: '02:00:00:00:00:77', port: 'two' });
      const known = (await daemon.fdb()).map(({ mac, port }) => `${mac} ${port}`);
      expect(known).toContain(`${one.mac} one`);
      const before = bed.ip('two', '-o', 'link', 'show', DEVICE).split(':')[0];
      if (signal === 'SIGKILL') await daemon.killHard();
      else expect((await daemon.stop()).status).toBe(0);
      expect(bed.ip('two', '-o', 'link', 'show', DEVICE).split(':')[0]).toBe(before);
      await daemon.start();
      expect((await daemon.fdb()).map(({ mac, port }) => `${mac} ${port}`)).toEqual(expect.arrayContaining(known));
      expect((await daemon.call<StatusResult>('status')).kept?.fdb).toBeGreaterThanOrEqual(known.length);
      await one.expectPings(two.ipv4, SOME_SIZES);
      await one.expectTransfer(two, two.ipv6, TRANSFER);
      expect(bed.ip('s', '-o', 'link')).not.toContain('tap-');
      await daemon.expectConservation();
    },
    60_000,
  );

  test('by kill -9 right after a TAP was moved and given another address finds it again, among a hundred', async () => {
    const bed = new Testbed();
    testbed = bed;
    const names = Array.from({ length: 100 }, (_, index) => `port${index}`);
    const ports = Object.fromEntries(names.map((name) => [name, tapPort(`tap-${name}`)]));
    const daemon = await Daemon.start(bed, { version: 1, networks: { lab: { type: 'local' } }, ports });
    const record = () => readFileSync(join(daemon.stateDirectory, 'ports', 'port99.json'), 'utf8');
    const before = record();
    // The last one: its turn to be looked at is seconds away.
    const machine = new Machine(bed, 'late', 1).take('tap-port99');
    await until('the daemon knows where it went', () => record() !== before);
    bed.ip('late', 'link', 'set', DEVICE, 'address', '02:00:00:00:00:99');
    await daemon.killHard();
    await daemon.start();
    expect(await daemon.port('port99')).toMatchObject({ state: 'up', mac: '02:00:00:00:00:99' });
    expect(bed.ip('s', '-o', 'link')).not.toContain('tap-port99');
    const other = new Machine(bed, 'other', 2).take('tap-port0');
    await until('they hear each other', async () => (await machine.train(other.ipv4, () => sleep(50))).lost === 0);
    await daemon.expectConservation();
  }, 60_000);

  test('by kill -9 after changes comes back with them', async () => {
    const { daemon, one, two } = await startLab();
    await daemon.call('port.set', { name: 'two', isolated: true });
    await daemon.call('port.set', { name: 'one', isolated: true });
    await daemon.killHard();
    await daemon.start();
    expect(await daemon.call('port.show', { name: 'two' })).toMatchObject({ config: { isolated: true } });
    expect((await one.train(two.ipv4, () => sleep(100))).lost).toBeGreaterThan(0);
    expect((await daemon.drops()).some(({ reason }) => reason === 'isolated')).toBe(true);
    await daemon.expectConservation();
  }, 60_000);
});

test('a second daemon on a living socket or state directory refuses and leaves the first alone', async () => {
  const { daemon, one, two } = await startLab();
  const elsewhere = `${daemon.stateDirectory}-2`;
  const train = await one.train(two.ipv4, async () => {
    const sameSocket = await daemon.second(['--state-dir', elsewhere]);
    expect({ status: sameSocket.status, stderr: sameSocket.stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/weft: .*(daemon|answers|living|runs)/),
    });
    const sameState = await daemon.second(['--socket', `${daemon.socket}-2`]);
    expect(sameState.status).toBe(1);
    expect(sameState.stderr).toMatch(/weft: .*state/);
  });
  expect(train.lost).toBe(0);
  expect((await daemon.call<StatusResult>('status')).ready).toBe(true);
  await daemon.expectConservation();
}, 60_000);

test('a worker that hangs is replaced, and traffic goes on', async () => {
  const { daemon, one, two, testbed: bed } = await startLab({ queues: 2 }, { io: 'uring', workers: 2 });
  await one.expectPings(two.ipv4, '56');
  const before = await daemon.call<StatusResult>('status');
  expect(before.workers.map(({ state }) => state)).toEqual(['running', 'running']);
  const hung = await bed.peer('s', 'freeze', String(await workerThread(daemon.pid))).ready();
  await until('a worker was replaced', async () => {
    const { workers } = await daemon.call<StatusResult>('status');
    return workers.some(({ restarts, lastExit }) => restarts === 1 && /did not breathe/.test(lastExit ?? ''));
  });
  await hung.stop();
  await until('both workers run', async () => {
    const { workers, ready } = await daemon.call<StatusResult>('status');
    return ready && workers.every(({ state, lastBreathSeconds }) => state === 'running' && lastBreathSeconds < 1);
  });
  await until(
    'both machines hear each other again',
    async () => (await one.train(two.ipv4, () => sleep(50))).lost === 0,
  );
  await one.expectTransfer(two, two.ipv4, TRANSFER);
  const known = (await daemon.fdb()).map(({ mac, port }) => `${mac} ${port}`);
  expect(known).toEqual(expect.arrayContaining([`${one.mac} one`, `${two.mac} two`]));
  await daemon.expectConservation();
}, 60_000);

/** A thread that sleeps in its ring, as only dataplane workers do: io_uring_enter is the same number on every architecture. */
async function workerThread(pid: number): Promise<number> {
  let found: number | undefined;
  await until('a worker sleeps in its ring', () => {
    const threads = readdirSync(`/proc/${pid}/task`);
    const name = threads.find((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/syscall`, 'utf8').startsWith('426 '),
    );
    found = name === undefined ? undefined : Number(name);
    return found !== undefined;
  });
  return found as number;
}
