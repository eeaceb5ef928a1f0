/**
 * What must not get in, or out: datagrams from elsewhere, headers that lie, tunnels within themselves. Nothing of it is
 * delivered, each is counted under its reason, and who floods costs no more than who may send.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import type { DaemonFlags } from './harness/daemon.js';
import { probeFrame } from './harness/probe.js';
import { Testbed } from './harness/testbed.js';
import { cpuTime, dropCount } from './harness/tunnel-checks.js';
import { hostLabel, NETWORK_ID, startWeftHost, type Tunnels, type WeftHost } from './harness/tunnel-hosts.js';
import { Underlay } from './harness/underlay.js';
import { until } from './harness/wait.js';

const LISTED = 3;
const UNLISTED = 66;
const FLOOD = 100_000;
const COST_TURNS = 3;

let testbed: Testbed;

afterEach(() => testbed.dispose());

/** A weft host 1 that listens to host 3; there, and at host 66, are programs that send what they like. */
async function startVictim(
  tunnels: Tunnels,
  flags: DaemonFlags = {},
): Promise<{ underlay: Underlay; victim: WeftHost }> {
  testbed = new Testbed();
  const underlay = new Underlay(testbed);
  for (const number of [LISTED, UNLISTED]) underlay.attach(hostLabel(number), number);
  return { underlay, victim: await startWeftHost(testbed, underlay, tunnels, 1, [LISTED], { flags }) };
}

/** `flags` and reserved octets as they stand in the header. */
function vxlanHeader(id: number, flags = 0x08, reserved = 0): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(((flags << 24) | (reserved & 0xff_ffff)) >>> 0, 0);
  header.writeUInt32BE(((id << 8) | (reserved & 0xff)) >>> 0, 4);
  return header;
}

/** `options`: length in words, as the header says it. */
function geneveHeader(first: number, protocol: number, id: number, options: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(first, 0);
  header.writeUInt16BE(protocol, 2);
  header.writeUInt32BE((id << 8) >>> 0, 4);
  return Buffer.concat([header, options]);
}

const frameTo = (mac: string, tags = ''): Buffer => probeFrame(1, '02:00:00:00:00:03', mac, tags);

async function spray(from: number, to: string, port: number, payload: Buffer, count: number): Promise<void> {
  await testbed.peer(hostLabel(from), 'spray', to, String(port), payload.toString('hex'), String(count)).result();
}

const engines: readonly DaemonFlags[] = [{ io: 'uring' }, { io: 'poll' }];

test.each(engines)(
  '$io engine: 100,000 datagrams from elsewhere are counted, delivered to nobody, and cost less than good ones',
  async (flags) => {
    const { underlay, victim } = await startVictim({ type: 'vxlan', family: 4 }, flags);
    const { daemon, machine } = victim;
    const good = Buffer.concat([vxlanHeader(NETWORK_ID), frameTo(machine.mac)]);
    const delivered = async () => (await daemon.port('vm')).txFrames;
    const cost = async (from: number, count: () => Promise<number>): Promise<number> => {
      const [before, begin] = [await count(), cpuTime(daemon.pid)];
      await spray(from, underlay.address(1), 4789, good, FLOOD);
      await until('all are counted', async () => (await count()) - before >= FLOOD);
      return cpuTime(daemon.pid) - begin;
    };
    const refused = () => dropCount(daemon, 'tunnel_unknown_source');
    await spray(LISTED, underlay.address(1), 4789, good, 1000);
    // By turns, the least of each: the machine's noise only adds.
    const accepted: number[] = [];
    const rejected: number[] = [];
    for (let turn = 1; turn <= COST_TURNS; turn++) {
      accepted.push(await cost(LISTED, delivered));
      const before = await delivered();
      rejected.push(await cost(UNLISTED, refused));
      expect(await refused()).toBe(turn * FLOOD);
      expect(await delivered()).toBe(before);
    }
    expect(Math.min(...rejected)).toBeLessThan(Math.min(...accepted) * 1.2);
    const drops = await daemon.drops();
    expect(drops.filter(({ reason }) => reason === 'tunnel_unknown_source').map(({ port }) => port)).toEqual(['u0']);
    await daemon.expectConservation();
  },
  60_000,
);

const broadcast = frameTo('ff:ff:ff:ff:ff:ff');
const optionsOf = (...octets: number[]) => Buffer.from(octets);
const geneve = 0x6558;

/** Each is sent five times from a listed source. */
const lies: readonly { title: string; tunnels: Tunnels; payload: Buffer; reason: string }[] = [
  ...(
    [
      ['a single octet', Buffer.alloc(1), 'tunnel_bad_header'],
      ['a VXLAN header that ends early', vxlanHeader(NETWORK_ID).subarray(0, 7), 'tunnel_bad_header'],
      [
        'a VXLAN header that says it has no VNI',
        Buffer.concat([vxlanHeader(NETWORK_ID, 0), broadcast]),
        'tunnel_bad_header',
      ],
      ['a VNI that is no network', Buffer.concat([vxlanHeader(NETWORK_ID + 1), broadcast]), 'tunnel_unknown_id'],
      ['a frame too short to be one', Buffer.concat([vxlanHeader(NETWORK_ID), broadcast.subarray(0, 13)]), 'runt'],
      [
        'a frame with a tag',
        Buffer.concat([vxlanHeader(NETWORK_ID), frameTo('ff:ff:ff:ff:ff:ff', '8100:7')]),
        'tunnel_inner_vlan',
      ],
    ] as const
  ).map(([title, payload, reason]) => ({ title, payload, reason, tunnels: { type: 'vxlan', family: 4 } as const })),
  ...(
    [
      ['a Geneve version of the future', geneveHeader(0x4000, geneve, NETWORK_ID), 'tunnel_bad_header'],
      ['a Geneve control packet', geneveHeader(0x0080, geneve, NETWORK_ID), 'tunnel_bad_header'],
      ['a Geneve payload that is not Ethernet', geneveHeader(0, 0x0800, NETWORK_ID), 'tunnel_bad_header'],
      ['options that end behind the datagram', geneveHeader(0x3f00, geneve, NETWORK_ID), 'tunnel_bad_header'],
      [
        'an option that ends behind the options',
        geneveHeader(0x0100, geneve, NETWORK_ID, optionsOf(1, 2, 1, 31)),
        'tunnel_bad_header',
      ],
      [
        'a critical option that nobody knows',
        geneveHeader(0x0140, geneve, NETWORK_ID, optionsOf(1, 2, 0x81, 0)),
        'tunnel_option',
      ],
      ['a VNI that is no network, by Geneve', geneveHeader(0, geneve, 7), 'tunnel_unknown_id'],
    ] as const
  ).map(([title, header, reason]) => ({
    title,
    payload: Buffer.concat([header, broadcast]),
    reason,
    tunnels: { type: 'geneve', family: 6 } as const,
  })),
];

describe('from a listed source', () => {
  test.each([{ type: 'vxlan', family: 4 } as const, { type: 'geneve', family: 6 } as const])(
    '$type headers and frames that lie are dropped, each under its reason',
    async (tunnels) => {
      const { underlay, victim } = await startVictim(tunnels);
      const { daemon } = victim;
      const mine = lies.filter((lie) => lie.tunnels.type === tunnels.type);
      const port = tunnels.type === 'vxlan' ? 4789 : 6081;
      const before = (await daemon.port('vm')).txFrames;
      const expected = new Map<string, number>();
      for (const { title, payload, reason } of mine) {
        expected.set(reason, (expected.get(reason) ?? 0) + 5);
        await spray(LISTED, underlay.address(1, tunnels.family), port, payload, 5);
        await until(`${title} is counted`, async () => (await dropCount(daemon, reason)) === expected.get(reason));
      }
      const counts = await Promise.all(
        [...expected.keys()].map(async (reason) => [reason, await dropCount(daemon, reason)]),
      );
      expect(Object.fromEntries(counts)).toEqual(Object.fromEntries(expected));
      expect((await daemon.port('vm')).txFrames).toBe(before);
      await daemon.expectConservation();
    },
    60_000,
  );

  test('bits that are reserved are ignored', async () => {
    const { underlay, victim } = await startVictim({ type: 'vxlan', family: 4 });
    const { daemon } = victim;
    const before = (await daemon.port('vm')).txFrames;
    await spray(
      LISTED,
      underlay.address(1),
      4789,
      Buffer.concat([vxlanHeader(NETWORK_ID, 0xff, 0xff_ffff), broadcast]),
      5,
    );
    await until('they are delivered', async () => (await daemon.port('vm')).txFrames - before >= 5);
    await daemon.expectConservation();
  }, 60_000);
});

test('a tunnel whose route leads through its own network is cut at once', async () => {
  testbed = new Testbed();
  const underlay = new Underlay(testbed);
  underlay.attach(hostLabel(2), 2);
  const ports = { loop: { kind: 'tap', device: 'tap-loop', network: 'lab' } };
  const { daemon, machine } = await startWeftHost(testbed, underlay, { type: 'vxlan', family: 4 }, 1, [2], { ports });
  // The host's own way to the remote is now a port of the network that the tunnel carries.
  const [near, far] = [underlay.address(1), underlay.address(2)];
  testbed.ip('h1', 'link', 'set', 'tap-loop', 'up');
  testbed.ip('h1', 'neighbor', 'add', far, 'lladdr', '02:00:00:00:00:99', 'dev', 'tap-loop');
  testbed.ip('h1', 'route', 'add', `${far}/32`, 'dev', 'tap-loop', 'src', near);
  await testbed.start(machine.label, ['ping', '-c', '3', '-i', '0.2', '-W', '1', '192.0.2.77']).end();
  await until('they are counted', async () => (await dropCount(daemon, 'tunnel_nested')) > 0);
  // Were they sent again, they would still be on their way around.
  await sleep(300);
  const returned = (await daemon.port('loop')).rxFrames;
  expect(returned).toBeLessThan(50);
  expect(await dropCount(daemon, 'tunnel_nested')).toBe(returned);
  await daemon.expectConservation();
}, 60_000);
