/**
 * weft with the kernel's own VXLAN device as its peer, over IPv4 and IPv6, on both I/O engines: every size of packet, TCP
 * with offloads on and off at each place that has them, and tcpdump and tshark as judges of what stands on the wire.
 */
import { afterEach, describe, expect, test } from 'vitest';
import type { JsonObject, StatusResult } from '../../src/control/shapes.js';
import type { DaemonFlags } from './harness/daemon.js';
import { DEVICE, type Machine } from './harness/machine.js';
import { Testbed } from './harness/testbed.js';
import { expectTooBig, expectTraffic, PING_SIZES, TRANSFER, tunnelTo } from './harness/tunnel-checks.js';
import { machineMtu, setMachineMtu, startKernelHost, startWeftHost, type WeftHost } from './harness/tunnel-hosts.js';
import { type Family, setOffloads, UNDERLAY_DEVICE, Underlay } from './harness/underlay.js';
import { expectSound, tshark, WireCapture } from './harness/wire-judge.js';

const VXLAN = 'udp port 4789';
/** Octets in front of a packet in VXLAN: IP, UDP, VXLAN and Ethernet header. */
const HEADERS: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

let testbed: Testbed;

afterEach(() => testbed.dispose());

interface Pair {
  readonly underlay: Underlay;
  readonly weft: WeftHost;
  readonly kernel: Machine;
}

/** weft is host 1, the kernel host 2. */
async function startPair(
  family: Family,
  flags: DaemonFlags,
  { offloads = false, underlay: settings = {}, device = [] }: PairOptions = {},
): Promise<Pair> {
  testbed = new Testbed();
  const underlay = new Underlay(testbed, { offloads });
  const kernel = startKernelHost(testbed, underlay, family, 2, 1, device);
  const weft = await startWeftHost(testbed, underlay, { type: 'vxlan', family }, 1, [2], { flags, underlay: settings });
  return { underlay, weft, kernel };
}

interface PairOptions {
  readonly offloads?: boolean;
  readonly underlay?: JsonObject;
  /** Of the kernel's VXLAN device. */
  readonly device?: readonly string[];
}

const cases = ([4, 6] as const).flatMap((family) => [
  { family, io: 'uring', workers: 1 } as const,
  { family, io: 'poll', workers: 2 } as const,
]);

describe.each(cases)('over IPv$family, $io engine, $workers workers', ({ family, io, workers }) => {
  test('machines echo each other at every size and exchange TCP, and every packet on the wire is sound', async () => {
    const { underlay, weft, kernel } = await startPair(family, { io, workers });
    expect((await weft.daemon.call<StatusResult>('status')).io).toBe(io);
    expect(machineMtu(weft.machine)).toBe(1500 - HEADERS[family]);
    const capture = await WireCapture.start(testbed, underlay.middle, underlay.portOf('h1'), VXLAN);
    await expectTraffic(weft.machine, kernel, TRANSFER / 2);
    expectSound(await capture.stop());
    expect(await tunnelTo(weft.daemon, underlay.address(2, family))).toMatchObject({ state: 'up', id: 5010 });
    await weft.daemon.expectConservation();
  }, 60_000);

  test('TCP runs both ways with offloads on and off in the machine, at the peer and on the wire', async () => {
    const { weft, kernel } = await startPair(family, { io, workers }, { offloads: true });
    const places = [
      [kernel.label, DEVICE],
      ['h2', UNDERLAY_DEVICE],
      ['h1', UNDERLAY_DEVICE],
      [weft.machine.label, DEVICE],
    ] as const;
    // Everything on; then one place after the other off; then on again in another order.
    for (const state of ['off', 'on'] as const) {
      for (const [label, device] of places) {
        await weft.machine.expectTransfer(kernel, kernel.ipv4, TRANSFER);
        await kernel.expectTransfer(weft.machine, weft.machine.ipv6, TRANSFER);
        setOffloads(testbed, label, device, state);
      }
    }
    await weft.machine.expectPings(kernel.ipv4, '56,1400,4000');
    await weft.daemon.expectConservation();
  }, 60_000);
});

describe.each([4, 6] as const)('over IPv%i', (family) => {
  test('a packet that does not fit the tunnel is answered with the size that does', async () => {
    const { weft, kernel } = await startPair(family, {});
    const mtu = 1500 - HEADERS[family];
    setMachineMtu(weft.machine, 1500);
    await expectTooBig(testbed, weft.machine, kernel.ipv4, 1500, mtu);
    await expectTooBig(testbed, weft.machine, kernel.ipv6, 1500, mtu);
    await weft.machine.expectTransfer(kernel, kernel.ipv4, TRANSFER);
    await weft.machine.expectPings(kernel.ipv4, PING_SIZES);
    await weft.daemon.expectConservation();
  }, 60_000);

  test.each([false, true])(
    'outer UDP checksums are there as told (%j), and are taken either way',
    async (checksum) => {
      const ofDevice = family === 4 ? (checksum ? 'noudpcsum' : 'udpcsum') : `${checksum ? '' : 'no'}udp6zerocsumtx`;
      const device = [ofDevice, ...(family === 6 ? ['udp6zerocsumrx'] : [])];
      const { underlay, weft, kernel } = await startPair(family, {}, { underlay: { checksum }, device });
      const capture = await WireCapture.start(testbed, underlay.middle, underlay.portOf('h1'), VXLAN);
      await weft.machine.expectPings(kernel.ipv4, '0,56,1400,4000');
      const heard = await capture.stop();
      expectSound(heard);
      // The first of each line is the outer one.
      const sums = tshark(heard.file, `vxlan && eth.src == ${weft.machine.mac}`, ['udp.checksum']);
      expect(sums.length).toBeGreaterThan(5);
      expect(sums.filter((sum) => sum.startsWith('0x0000') === checksum)).toEqual([]);
      await kernel.expectTransfer(weft.machine, weft.machine.ipv4, TRANSFER / 4);
      await weft.daemon.expectConservation();
    },
    60_000,
  );
});
