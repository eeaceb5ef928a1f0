/** Real kernels' fragments through guarded ports, whose fragments are followed; with two workers that share the datagrams. */
import { afterEach, expect, test } from 'vitest';
import type { JsonObject } from '../../src/control/shapes.js';
import { Daemon, type DaemonFlags } from './harness/daemon.js';
import { Machine } from './harness/machine.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

/** Octets of echoes: one fragment, two, three, and up to 45. */
const SIZES = '100,1473,4000,4001,20000,65507';

let testbed: Testbed | undefined;

afterEach(() => {
  testbed?.dispose();
  testbed = undefined;
});

const guarded = ({ label, mac, ipv4, ipv6 }: Machine, queues: number): JsonObject => ({
  kind: 'tap',
  device: `tap-${label}`,
  network: 'lab',
  queues,
  mac,
  addresses: [`${ipv4}/24`, `${ipv6}/64`],
  antiSpoof: true,
  storm: { broadcast: 'none', multicast: 'none', unknownUnicast: 'none' },
});

test.each<DaemonFlags>([
  { io: 'uring', workers: 1 },
  { io: 'uring', workers: 2 },
  { io: 'poll', workers: 2 },
])(
  'machines on guarded ports echo fragmented datagrams of both versions, $io engine, $workers workers',
  async (flags) => {
    const bed = new Testbed();
    testbed = bed;
    const one = new Machine(bed, 'one', 1);
    const two = new Machine(bed, 'two', 2);
    const queues = flags.workers ?? 1;
    const ports = { one: guarded(one, queues), two: guarded(two, queues) };
    const daemon = await Daemon.start(bed, { version: 1, networks: { lab: { type: 'local' } }, ports }, flags);
    one.take('tap-one');
    two.take('tap-two');
    await until('both ports carry frames', async () => {
      const both = [await daemon.port('one'), await daemon.port('two')];
      return both.every(({ state, reason }) => state === 'up' && reason === undefined);
    });
    await one.expectPings(two.ipv4, SIZES);
    await one.expectPings(two.ipv6, SIZES);
    await two.expectPings(one.ipv4, SIZES);
    await daemon.expectConservation();
    const drops = await daemon.drops();
    expect(drops.filter(({ reason }) => reason.startsWith('fragment_'))).toEqual([]);
  },
  120_000,
);
