/**
 * weft with Open vSwitch's userspace datapath as its peer: VXLAN, GRE with and without key, checksum and sequence numbers,
 * Geneve with and without options.
 */
import { afterEach, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/control/shapes.js';
import { startOpenVswitchHost } from './harness/open-vswitch.js';
import { Testbed } from './harness/testbed.js';
import { dropCount, expectTraffic, TRANSFER, tunnelFilter } from './harness/tunnel-checks.js';
import { machineMtu, setMachineMtu, startWeftHost, type Tunnels } from './harness/tunnel-hosts.js';
import { Underlay } from './harness/underlay.js';
import { until } from './harness/wait.js';
import { expectSound, tshark, WireCapture } from './harness/wire-judge.js';

/** The package is optional; what requireRawSocket says without it has a test beside it. */
const hasRawSocket = await import('raw-socket' as string).then(
  () => true,
  () => false,
);
if (!hasRawSocket) process.stderr.write('left out: GRE by the driver raw-socket, whose optional package is missing\n');

let testbed: Testbed;

afterEach(() => testbed.dispose());

interface Peering {
  readonly title: string;
  readonly tunnels: Tunnels;
  /** Of the network in weft. */
  readonly network?: JsonObject;
  /** Of the underlay in weft. */
  readonly underlay?: JsonObject;
  /** Of the tunnel in Open vSwitch. */
  readonly options?: readonly string[];
  readonly io: 'uring' | 'poll';
  /** What tshark must see in every packet of the tunnel. */
  readonly shown: string;
}

const geneveOption: JsonObject = { class: '0x0102', type: 1, data: '0a0b0c0d' };

const peerings: readonly Peering[] = [
  { title: 'VXLAN', tunnels: { type: 'vxlan', family: 4 }, io: 'uring', shown: 'vxlan.vni == 5010' },
  { title: 'VXLAN over IPv6', tunnels: { type: 'vxlan', family: 6 }, io: 'poll', shown: 'vxlan.vni == 5010' },
  { title: 'Geneve', tunnels: { type: 'geneve', family: 4 }, io: 'uring', shown: 'geneve.vni == 5010' },
  { title: 'Geneve over IPv6', tunnels: { type: 'geneve', family: 6 }, io: 'poll', shown: 'geneve.vni == 5010' },
  { title: 'GRE with a key', tunnels: { type: 'gre', family: 4 }, io: 'uring', shown: 'gre.key == 5010' },
  { title: 'GRE with a key over IPv6', tunnels: { type: 'gre', family: 6 }, io: 'uring', shown: 'gre.key == 5010' },
  {
    title: 'GRE without a key',
    tunnels: { type: 'gre', family: 4, keyless: true },
    io: 'poll',
    shown: 'gre && !gre.key',
  },
  // Not both at once: Open vSwitch 3.1 reckons the checksum before it writes the sequence number.
  {
    title: 'GRE with checksums',
    tunnels: { type: 'gre', family: 4 },
    network: { options: { checksum: true } },
    options: ['options:csum=true'],
    io: 'uring',
    shown: 'gre.key == 5010 && gre.checksum.status == "Good"',
  },
  {
    title: 'GRE with sequence numbers',
    tunnels: { type: 'gre', family: 4 },
    network: { options: { sequence: true } },
    options: ['options:seq=true'],
    io: 'poll',
    shown: 'gre.key == 5010 && gre.sequence_number',
  },
  ...(hasRawSocket
    ? (['uring', 'poll'] as const).map((io) => ({
        title: 'GRE by the driver raw-socket',
        tunnels: { type: 'gre', family: 4 } as const,
        underlay: { driver: 'raw-socket' },
        io,
        shown: 'gre.key == 5010',
      }))
    : []),
];

test.each(peerings)(
  '$title, $io engine: echoes of every size and TCP both ways',
  async (peering) => {
    const { tunnels, io, shown } = peering;
    testbed = new Testbed();
    const underlay = new Underlay(testbed);
    const ovs = await startOpenVswitchHost(testbed, underlay, tunnels, 2, 1, peering.options);
    const { network = {}, underlay: settings = {} } = peering;
    const weft = await startWeftHost(testbed, underlay, tunnels, 1, [2], {
      network,
      underlay: settings,
      flags: { io },
    });
    // It fragments nothing and tells nobody.
    setMachineMtu(ovs.machine, machineMtu(weft.machine));
    const capture = await WireCapture.start(testbed, underlay.middle, underlay.portOf('h1'), tunnelFilter(tunnels));
    await expectTraffic(weft.machine, ovs.machine, TRANSFER / 4);
    const heard = await capture.stop();
    expectSound(heard);
    expect(heard.packets).toBeGreaterThan(1000);
    expect(tshark(heard.file, `!(${shown})`, ['frame.number'])).toEqual([]);
    await weft.daemon.expectConservation();
  },
  60_000,
);

describe('Geneve options', () => {
  const tunnels: Tunnels = { type: 'geneve', family: 4 };

  test('that weft is told to send are found by Open vSwitch, and those that it sends do not disturb', async () => {
    testbed = new Testbed();
    const underlay = new Underlay(testbed);
    const ovs = await startOpenVswitchHost(testbed, underlay, tunnels, 2, 1);
    ovs.ofctl('add-tlv-map', '{class=0x0102,type=0x1,len=4}->tun_metadata0');
    const network = { options: { geneve: [geneveOption] } };
    const weft = await startWeftHost(testbed, underlay, tunnels, 1, [2], { network });
    setMachineMtu(ovs.machine, machineMtu(weft.machine));
    ovs.ofctl('add-flow', 'priority=10,in_port=tun,tun_metadata0=0x0a0b0c0d,actions=output:vm');
    ovs.ofctl('add-flow', 'priority=10,in_port=vm,actions=set_field:0x01020304->tun_metadata0,output:tun');
    ovs.ofctl('add-flow', 'priority=5,actions=drop');
    const capture = await WireCapture.start(testbed, underlay.middle, underlay.portOf('h1'), 'udp port 6081');
    await expectTraffic(weft.machine, ovs.machine, TRANSFER / 4);
    const heard = await capture.stop();
    expectSound(heard);
    expect(tshark(heard.file, '!geneve.options', ['frame.number'])).toEqual([]);
    await weft.daemon.expectConservation();
  }, 60_000);

  test('that weft does not know and that are critical cost the packet', async () => {
    testbed = new Testbed();
    const underlay = new Underlay(testbed);
    const ovs = await startOpenVswitchHost(testbed, underlay, tunnels, 2, 1);
    ovs.ofctl('add-tlv-map', '{class=0x0102,type=0x81,len=4}->tun_metadata0');
    ovs.ofctl('add-flow', 'in_port=vm,actions=set_field:0x01020304->tun_metadata0,output:tun');
    const weft = await startWeftHost(testbed, underlay, tunnels, 1, [2]);
    const before = (await weft.daemon.port('vm')).txFrames;
    await testbed.start(ovs.machine.label, ['ping', '-c', '3', '-i', '0.2', '-W', '1', weft.machine.ipv4]).end();
    await until('the drops are counted', async () => (await dropCount(weft.daemon, 'tunnel_option')) >= 3);
    expect((await weft.daemon.port('vm')).txFrames).toBe(before);
    await weft.daemon.expectConservation();
  }, 60_000);
});

describe('keys that differ', () => {
  test.each([
    { title: 'a GRE network without a key takes none that has one', weft: true, ovs: false },
    { title: 'a GRE network with a key takes none without', weft: false, ovs: true },
  ])(
    '$title',
    async ({ weft: weftKeyless, ovs: ovsKeyless }) => {
      testbed = new Testbed();
      const underlay = new Underlay(testbed);
      const gre = (keyless: boolean): Tunnels => ({ type: 'gre', family: 4, keyless });
      const ovs = await startOpenVswitchHost(testbed, underlay, gre(ovsKeyless), 2, 1);
      const weft = await startWeftHost(testbed, underlay, gre(weftKeyless), 1, [2]);
      const before = (await weft.daemon.port('vm')).txFrames;
      await testbed.start(ovs.machine.label, ['ping', '-c', '3', '-i', '0.2', '-W', '1', weft.machine.ipv4]).end();
      await until('the drops are counted', async () => (await dropCount(weft.daemon, 'tunnel_unknown_id')) >= 3);
      expect((await weft.daemon.port('vm')).txFrames).toBe(before);
      await weft.daemon.expectConservation();
    },
    60_000,
  );
});
