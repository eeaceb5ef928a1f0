/**
 * The whole switch with the kernel's own programs at its ports: ping, iperf3, tcpdump. What a user would try first, with
 * both I/O engines and several workers. Nothing here depends on how fast the machine is.
 */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/control/shapes.js';
import { connect, type Daemon, type Engine, inside, ip, Machine, Program, Testbed, until } from './testbed.js';

const engines: readonly Engine[] = [
  { io: 'uring', workers: 1 },
  { io: 'poll', workers: 1 },
  { io: 'uring', workers: 2 },
];

const lab = { lab: { type: 'local' } };
/** Around the MTU's edge, frames shorter than Ethernet's least, and datagrams of many fragments. */
const SIZES = [0, 1, 17, 56, 1471, 1472, 1473, 8000, 65507];
const TEST_TIMEOUT_MS = 60_000;

let testbed: Testbed;

beforeEach(() => {
  testbed = new Testbed();
});

afterEach(async () => {
  try {
    expect(testbed.daemons.length).toBeGreaterThan(0);
    for (const daemon of testbed.daemons) expect(await daemon.unbalanced()).toEqual([]);
  } finally {
    await testbed.dispose();
  }
});

function tap(engine: Engine, more: JsonObject = {}): JsonObject {
  return { kind: 'tap', network: 'lab', queues: engine.workers, ...more };
}

async function expectEchoes(from: Machine, to: string, ...options: readonly string[]): Promise<void> {
  const { output } = await from.run('ping', '-n', '-c', '3', '-i', '0.05', '-W', '10', ...options, to);
  expect(output, `${options.join(' ')} ${to}`).toContain(' 3 received, 0% packet loss');
}

async function expectNoEcho(from: Machine, to: string, ...options: readonly string[]): Promise<void> {
  const { output } = await from.run('ping', '-n', '-c', '2', '-i', '0.1', '-W', '1', ...options, to);
  expect(output, `${options.join(' ')} ${to}`).toContain(' 0 received');
}

async function twoMachines(engine: Engine): Promise<{ daemon: Daemon; a: Machine; b: Machine }> {
  const config = { networks: lab, ports: { a: tap(engine), b: tap(engine) } };
  const daemon = await testbed.daemon(testbed.namespace('s'), engine, config);
  return { daemon, a: await testbed.machine(daemon, 'a', 1), b: await testbed.machine(daemon, 'b', 2) };
}

describe.each(engines)('with $io and workers: $workers', { timeout: TEST_TIMEOUT_MS }, (engine) => {
  test('echoes of every size come back, in fragments too, by IPv4 and IPv6', async () => {
    const { a, b } = await twoMachines(engine);
    for (const size of SIZES) {
      await expectEchoes(a, b.ipv4, '-s', String(size));
      await expectEchoes(b, a.ipv6, '-6', '-s', String(size));
    }
  });

  test('TCP runs both ways between ports with and without offloads, and no checksum is delivered wrong', async () => {
    const ports = { a: tap(engine), b: tap(engine), c: tap(engine, { offload: 'off' }) };
    const daemon = await testbed.daemon(testbed.namespace('s'), engine, { networks: lab, ports });
    const a = await testbed.machine(daemon, 'a', 1);
    const b = await testbed.machine(daemon, 'b', 2);
    const c = await testbed.machine(daemon, 'c', 3);
    await expectTransfer(a, b);
    // What an offload-less port is sent must be whole on the wire: nobody completes it later.
    const file = join('/tmp', `${c.namespace}.pcap`);
    const capture = c.start('tcpdump', '-i', 'c', '-Q', 'in', '-n', '-B', '16384', '-c', '4000', '-w', file, 'ip');
    try {
      await capture.said('listening on');
      await expectTransfer(a, c);
      await capture.stop('SIGINT');
      const { output } = await c.run('tcpdump', '-n', '-vv', '-r', file, 'tcp');
      expect(output.match(/cksum 0x[0-9a-f]+ \(correct\)/g)?.length).toBeGreaterThan(100);
      expect(output).not.toMatch(/incorrect|bad cksum/);
    } finally {
      await capture.stop('SIGKILL');
      inside(c.namespace, 'rm', '-f', file);
    }
    await expectTransfer(c, b);
    for (const machine of [a, b, c]) expect(checksumErrors(machine)).toEqual([]);
  });

  test('VLANs reach the same network of another host through the uplinks, tagged, and no other network', async () => {
    const [hostA, hostB] = [testbed.namespace('s'), testbed.namespace('t')];
    connect(hostA, 'up0', hostB, 'up0');
    const host = async (namespace: string, red: string, blue: string) =>
      await testbed.daemon(namespace, engine, {
        networks: { red: { type: 'vlan', id: 10, uplink: 'up0' }, blue: { type: 'vlan', id: 20, uplink: 'up0' } },
        ports: {
          [red]: tap(engine, { network: 'red' }),
          [blue]: tap(engine, { network: 'blue' }),
          up0: { kind: 'netdev', trunk: 'auto' },
        },
      });
    const daemonA = await host(hostA, 'red1', 'blue1');
    const daemonB = await host(hostB, 'red2', 'blue2');
    await daemonA.untilUp('up0');
    await daemonB.untilUp('up0');
    const redA = await testbed.machine(daemonA, 'red1', 1);
    const blueA = await testbed.machine(daemonA, 'blue1', 2);
    const redB = await testbed.machine(daemonB, 'red2', 3);
    const blueB = await testbed.machine(daemonB, 'blue2', 4);
    const wire = new WireTap(hostB, 'up0');
    await wire.ready();
    await expectEchoes(redA, redB.ipv4);
    await expectEchoes(blueB, blueA.ipv6, '-6', '-s', '8000');
    await expectNoEcho(redA, blueB.ipv4);
    await expectNoEcho(blueA, redB.ipv4);
    await expectTransfer(redA, redB);
    const seen = await wire.lines();
    const vlanOf = (address: string) =>
      new Set(seen.filter((line) => line.includes(`${address} `)).map((line) => /vlan (\d+)/.exec(line)?.[1]));
    expect(seen.filter((line) => !line.includes('vlan '))).toEqual([]);
    expect([...vlanOf(`${redA.ipv4} > ${redB.ipv4}: ICMP`)]).toEqual(['10']);
    expect([...vlanOf(`${blueB.ipv6} > ${blueA.ipv6}: frag`)]).toEqual(['20']);
  });

  test('ports that come and go cost traffic between the others not one frame', async () => {
    const { daemon, a, b } = await twoMachines(engine);
    await expectEchoes(a, b.ipv4);
    const ping = a.start('ping', '-n', '-i', '0.01', b.ipv4);
    for (let round = 0; round < 50; round++) {
      await daemon.call('port.add', { name: 'hot', ...tap(engine) });
      await daemon.call('port.remove', { name: 'hot' });
    }
    const { output } = await ping.stop('SIGINT');
    expectNothingLost(output);
    expect(ip('-n', daemon.namespace, '-br', 'link')).not.toContain('hot');
  });

  test("an interface's MTU is followed, and what is too long for a port dies as mtu_exceeded", async () => {
    const { daemon, a, b } = await twoMachines(engine);
    a.setMtu(9000);
    await until('the MTU of a is seen', async () => (await daemon.port('a')).mtu === 9000);
    expect((await daemon.port('b')).mtu).toBe(1500);
    await expectEchoes(a, b.ipv4, '-M', 'do', '-s', '1472');
    await expectNoEcho(a, b.ipv4, '-M', 'do', '-s', '1473');
    const drop = await until('the drops are counted', async () =>
      (await daemon.drops()).find(({ reason }) => reason === 'mtu_exceeded'),
    );
    expect(drop).toMatchObject({ port: 'a', of: 'frame', count: 2 });
    b.setMtu(9000);
    await until('the MTU of b is seen', async () => (await daemon.port('b')).mtu === 9000);
    await expectEchoes(a, b.ipv4, '-M', 'do', '-s', '8972');
  });

  test('an uplink waits while its interface is away, comes back with it, and the host never answers on it', async () => {
    const [host, far] = [testbed.namespace('s'), testbed.namespace('far')];
    const networks = { lab: { type: 'flat', uplink: 'up0' } };
    const ports = { a: tap(engine), up0: { kind: 'netdev', trunk: 'auto' } };
    const daemon = await testbed.daemon(host, engine, { networks, ports });
    const a = await testbed.machine(daemon, 'a', 1);
    for (let round = 0; round < 2; round++) {
      await until('the port waits', async () => (await daemon.port('up0')).state === 'waiting');
      expect((await daemon.port('up0')).reason).toBe('no interface up0');
      connect(host, 'up0', far, 'wire');
      const outside = new Machine(far, 'wire', 9);
      outside.configure();
      await daemon.untilUp('up0');
      await expectEchoes(a, outside.ipv4);
      await expectEchoes(outside, a.ipv6, '-6');
      ip('-n', host, 'address', 'add', '192.0.2.200/24', 'dev', 'up0');
      await expectNoEcho(outside, '192.0.2.200');
      ip('-n', host, 'link', 'delete', 'up0');
    }
  });

  test('a daemon that was killed leaves TAPs and addresses learned to the next one, and pings go on', async () => {
    const { daemon, a, b } = await twoMachines(engine);
    await expectEchoes(a, b.ipv4);
    // A daemon looks at its TAPs in turns; only what it has seen can it tell its successor.
    for (const { device, mac } of [a, b]) {
      await until('the daemon has seen where the TAP went', async () => (await daemon.port(device)).mac === mac);
    }
    await until('both stations are learned', async () => (await daemon.fdb()).length >= 2);
    const index = (machine: Machine) => inside(machine.namespace, 'cat', `/sys/class/net/${machine.device}/ifindex`);
    const before = [index(a), index(b)];
    const ping = a.start('ping', '-n', '-i', '0.1', b.ipv4);
    await ping.said('icmp_seq=3 ');
    await daemon.kill();
    expect([index(a), index(b)]).toEqual(before);
    await daemon.start();
    expect((await daemon.status()).kept?.fdb).toBeGreaterThanOrEqual(2);
    const heard = ping.output.length;
    await until('pings are answered again', async () => ping.output.slice(heard).includes('bytes from'));
    await ping.stop('SIGINT');
    expect([index(a), index(b)]).toEqual(before);
    await expectEchoes(b, a.ipv4);
  });

  test('a second daemon on the same socket or state directory refuses, and the first goes on unharmed', async () => {
    const { daemon, a, b } = await twoMachines(engine);
    const { pid } = await daemon.status();
    const ping = a.start('ping', '-n', '-i', '0.01', b.ipv4);
    await ping.said('icmp_seq=3 ');
    const sameSocket = await daemon.launch(daemon.socket, `${daemon.state}-2`).ended;
    expect(sameSocket.status, sameSocket.output).toBeGreaterThan(0);
    const sameState = await daemon.launch(`${daemon.socket}-2`, daemon.state).ended;
    expect(sameState.status, sameState.output).toBeGreaterThan(0);
    const { output } = await ping.stop('SIGINT');
    expectNothingLost(output);
    expect(await daemon.status()).toMatchObject({ pid, ready: true });
  });
});

/** Frames on a wire, as tcpdump prints them with their tags. */
class WireTap {
  private readonly program: Program;
  constructor(namespace: string, device: string) {
    this.program = new Program(namespace, ['tcpdump', '-i', device, '-e', '-n', '-l', '-c', '500']);
  }
  async ready(): Promise<void> {
    await this.program.said('listening on');
  }
  async lines(): Promise<readonly string[]> {
    const { output } = await this.program.stop('SIGINT');
    return output.split('\n').filter((line) => line.includes('ethertype'));
  }
}

/** TCP of a few megabytes, there and back. iperf3 ends with an error if the connection breaks. */
async function expectTransfer(from: Machine, to: Machine): Promise<void> {
  for (const direction of [[], ['-R']]) {
    const server = to.start('iperf3', '-s', '-1', '--forceflush');
    await server.said('Server listening');
    const { status, output } = await from.run('iperf3', '-c', to.ipv4, '-n', '20M', '-J', ...direction);
    await server.stop();
    expect(status, output).toBe(0);
    const { end } = JSON.parse(output) as { end: { sum_received: { bytes: number } } };
    expect(end.sum_received.bytes).toBeGreaterThan(10_000_000);
  }
}

/** Counters of checksums that the machine's own kernel found wrong and that are not zero. */
function checksumErrors(machine: Machine): readonly string[] {
  const lines = inside(machine.namespace, 'nstat', '-asz').split('\n');
  const counters = lines.filter((line) => /^(Tcp|Udp|Icmp|Icmp6|Udp6)\w*Csum/.test(line));
  expect(counters.length).toBeGreaterThan(2);
  return counters.filter((line) => !/^\w+\s+0\s/.test(line));
}

/** Every echo of a ping that was interrupted; the very last may have been on its way. */
function expectNothingLost(output: string): void {
  const answered = [...output.matchAll(/bytes from .*icmp_seq=(\d+) /g)].map((match) => Number(match[1]));
  const sent = Number(/(\d+) packets transmitted/.exec(output)?.[1]);
  expect(answered.length, output.slice(-500)).toBeGreaterThan(10);
  expect(answered).toEqual(answered.map((_, position) => position + 1));
  expect(sent - answered.length).toBeLessThanOrEqual(1);
}
