/**
 * Real virtual machines through the switch: QEMU guests with a kernel of their own, on TAPs that QEMU makes (with the
 * guest's checksum and segmentation offloads) and on stream sockets (without), and from one kind to the other.
 */
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { PortStats } from '../../src/control/shapes.js';
import { type Attachment, buildGuestImage, type Guest, kitIsThere, Lab, until } from './lab.js';

const DOWNLOAD_MB = 4;
const STREAM_BYTES = 8_000_000;

/** A guest with an address of its own. */
interface Addressed extends Guest {
  readonly address: string;
}

async function bootAt(inside: Lab, name: string, attachment: Attachment, number: number): Promise<Addressed> {
  const address = `192.0.2.${number}`;
  return { ...(await inside.boot(name, attachment, { number, net: `${address}/24` })), address };
}

let lab: Lab | undefined;

async function ping(from: Addressed, to: Addressed): Promise<void> {
  expect(await from.run(`ping -c 3 -W 5 ${to.address}`)).toContain('3 packets received');
}

/** What arrives is what was sent: checksums left to an offload would not show a switch that mixes octets up. */
async function download(from: Addressed, to: Addressed): Promise<void> {
  await from.run(`dd if=/dev/urandom of=/tmp/sample bs=1M count=${DOWNLOAD_MB} 2>/dev/null`);
  const sent = await from.run('md5sum < /tmp/sample');
  await from.run('nc -l -p 8000 < /tmp/sample > /dev/null 2>&1 & sleep 0.5');
  // Not wget: the guest's, linked statically, crashes when it looks an address up. An input that stays open, because nc
  // closes its side when that ends, and the other nc then gives up in the middle.
  const receive = `nc -w 10 ${from.address} 8000 0<> /tmp/open | md5sum`;
  expect(await to.run(`rm -f /tmp/open; mkfifo /tmp/open; ${receive}`)).toBe(sent);
}

async function streamTcp(from: Addressed, to: Addressed): Promise<void> {
  await to.run('iperf3 -s -1 -D; sleep 0.5');
  const report = await from.run(`iperf3 -c ${to.address} --connect-timeout 5000 -n ${STREAM_BYTES} -J`);
  expect(JSON.parse(report).end.sum_received.bytes).toBeGreaterThan(STREAM_BYTES * 0.9);
}

const isBalanced = ({ rx }: PortStats) => rx.frames === rx.forwarded + rx.consumed + rx.dropped;

/** Counters may be caught in the middle of a frame's way, so they balance in the end. */
async function expectConservation(from: Lab): Promise<void> {
  let ports: readonly PortStats[] = [];
  const look = async () => {
    ports = await from.stats();
    return ports.every(isBalanced);
  };
  await until('every frame is accounted for', look).catch((error: Error) => {
    throw new Error(`${error.message}: ${JSON.stringify(ports)}`);
  });
  // Both guests' downloads and streams went through, at most 64 KiB a frame.
  const least = (2 * (DOWNLOAD_MB * 1_000_000 + STREAM_BYTES)) / 65_536 / 2;
  expect(ports.map(({ name }) => name)).toEqual(['vm1', 'vm2']);
  for (const { rx, tx } of ports) {
    expect(rx.forwarded).toBeGreaterThan(least);
    expect(tx.frames).toBeGreaterThan(least);
  }
}

/** From before the guests are there until after they are gone. */
async function expectWorkingPair(inside: Lab, first: Attachment, second: Attachment): Promise<void> {
  const absent = [first, second].map(({ before }) => before);
  await inside.startDaemon({ vm1: first.port, vm2: second.port });
  expect(await inside.ports()).toMatchObject(absent);

  const [vm1, vm2] = await Promise.all([bootAt(inside, 'vm1', first, 1), bootAt(inside, 'vm2', second, 2)]);
  await until('both ports are up', async () => (await inside.ports()).every(({ state }) => state === 'up'));
  for (const [from, to] of [
    [vm1, vm2],
    [vm2, vm1],
  ] as const) {
    await ping(from, to);
    await download(from, to);
    await streamTcp(from, to);
  }
  await expectConservation(inside);

  await Promise.all([vm1.powerOff(), vm2.powerOff()]);
  await until('both ports notice that QEMU ended', async () =>
    (await inside.ports()).every(({ state }, index) => state === absent[index]?.state),
  );
  expect(await inside.ports()).toMatchObject(absent);
  expect(await inside.stopDaemon()).toBe(0);
}

afterEach(async () => {
  await lab?.close();
  lab = undefined;
});

if (kitIsThere) {
  describe('two virtual machines reach each other with ping and TCP, both ways', { timeout: 80_000 }, () => {
    beforeAll(buildGuestImage, 120_000);

    test('on TAPs that QEMU makes', async () => {
      lab = new Lab('taps');
      await expectWorkingPair(lab, lab.tap('vmtap1'), lab.tap('vmtap2'));
    });

    test('on QEMU stream sockets', async () => {
      lab = new Lab('streams');
      await expectWorkingPair(lab, lab.stream('vm1'), lab.stream('vm2'));
    });

    test('one on a TAP that QEMU makes, one on a QEMU stream socket', async () => {
      lab = new Lab('mixed');
      await expectWorkingPair(lab, lab.tap('vmtap1'), lab.stream('vm2'));
    });
  });
} else {
  test('tests with virtual machines are left out: ../shared/vm, which has the guests, is not there', () => {
    expect(process.env.CI, 'with CI=true the virtual machines of ../shared/vm are required').not.toBe('true');
  });
}
