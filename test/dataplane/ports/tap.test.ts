import { execFileSync } from 'node:child_process';
import { describe, expect, onTestFinished, test } from 'vitest';
import { HERE, namespaceInode, queryInterface, setInterfaceUp } from '../../../src/dataplane/interface.js';
import * as native from '../../../src/dataplane/native.js';
import { lookRounds } from '../../../src/dataplane/ports/look-rounds.js';
import { tap } from '../../../src/dataplane/ports/tap.js';
import { openTapQueues } from '../../../src/dataplane/ports/tap-device.js';
import { BenchWorker, engineKinds, until } from '../../suites/bench-worker.js';
import { ownInterface } from '../../suites/leftovers.js';
import { ip, ipIfThere, RawStation, TestNamespace } from '../../suites/namespace.js';
import { PortDouble, type PortRig, portSuite, testFrame } from '../../suites/port-suite.js';

/** A TAP whose kernel end lies in a namespace of its own, where a raw socket plays the guest. */
function makeRig(): PortRig {
  const namespace = new TestNamespace();
  const device = ownInterface('wpt');
  let station: RawStation | undefined;
  return {
    intent: { device },
    connect() {
      station?.close();
      ip('link', 'set', device, 'netns', namespace.name);
      namespace.silence(device);
      setInterfaceUp(device, true, namespace.fd);
      station = new RawStation(device, namespace.fd);
    },
    send: (octets) => station!.send(octets),
    receive: () => station!.receive(),
    vanish: () => namespace.ip('link', 'del', device),
    absence: { state: 'down', reason: new RegExp(`^${device} was deleted$|device failed`) },
    appear() {},
    setMtu: (mtu) => namespace.ip('link', 'set', device, 'mtu', String(mtu)),
    setLink: (up) => setInterfaceUp(device, up, namespace.fd),
    canFill: false,
    sizes: [14, 15, 59, 60, 1513, 1514],
    close() {
      station?.close();
      namespace.close();
      ipIfThere('link', 'del', device);
    },
  };
}

/** A worker and a port that are cleaned up after the test, whatever happens. */
function scene(): { worker: BenchWorker; port: PortDouble; device: string; namespace: TestNamespace } {
  const device = ownInterface('wpt');
  const namespace = new TestNamespace();
  const worker = new BenchWorker('poll', 64);
  const port = new PortDouble(worker);
  onTestFinished(async () => {
    await port.close();
    await worker.close();
    namespace.close();
    ipIfThere('link', 'del', device);
  });
  return { worker, port, device, namespace };
}

/** What kill -9 does to a port: its descriptors close, nothing is undone. Returns the memory it leaves. */
async function kill(worker: BenchWorker, port: PortDouble): Promise<Map<string, string>> {
  const memory = new Map(port.memory);
  for (const queue of port.queues.splice(0)) await worker.detach(queue);
  const fds = port.open?.queues.map((queue) => (queue.type === 'tap' ? queue.fd : -1)) ?? [];
  port.handle = undefined;
  for (const fd of fds) native.close(fd);
  return memory;
}

/** A minute's worth of others whose turn to look comes before that of ports that are started afterwards. */
function crowd(): void {
  const others = Array.from({ length: 1000 }, () => ({ isAbsent: false, look: () => undefined }));
  for (const other of others) lookRounds.join(other);
  onTestFinished(() => {
    for (const other of others) lookRounds.leave(other);
  });
}

describe('a TAP port', () => {
  portSuite(tap, makeRig, engineKinds);

  test('makes its device and removes it', async () => {
    const { port, device } = scene();
    await port.start(tap, { intent: { device } });
    expect(queryInterface(device)).toBeDefined();
    await port.close();
    expect(queryInterface(device)).toBeUndefined();
    expect([...port.memory]).toEqual([]);
  });

  test('removes a device it made also when its end was moved and renamed', async () => {
    const { port, device, namespace } = scene();
    await port.start(tap, { intent: { device } });
    ip('link', 'set', device, 'netns', namespace.name, 'name', 'eth0');
    expect(queryInterface('eth0', namespace.fd)).toBeDefined();
    await port.close();
    expect(queryInterface('eth0', namespace.fd)).toBeUndefined();
  });

  test('leaves a device that was there before', async () => {
    const { port, device } = scene();
    ip('tuntap', 'add', device, 'mode', 'tap');
    await port.start(tap, { intent: { device } });
    expect(port.open).toBeDefined();
    await port.close();
    expect(queryInterface(device)).toBeDefined();
  });

  test('sets the MTU that is asked for, and opens as many queues', async () => {
    const { port, device } = scene();
    await port.start(tap, { intent: { device, mtu: 9000, queues: 3 } });
    expect(port.open).toMatchObject({ mtu: 9000, linkDown: `${device} is administratively down` });
    expect(port.open?.queues).toHaveLength(3);
    expect(queryInterface(device)?.mtu).toBe(9000);
  });

  test('has the MTU that its network lets pass, wherever its end is, until its owner or the configuration says another', async () => {
    const { port, device, namespace } = scene();
    await port.start(tap, { intent: { device } });
    port.handle?.setMtu?.(1450);
    expect(queryInterface(device)?.mtu).toBe(1450);
    ip('link', 'set', device, 'netns', namespace.name);
    port.handle?.setMtu?.(1430);
    expect(queryInterface(device, namespace.fd)?.mtu).toBe(1430);
    await until('the port has noticed', () => port.open?.mtu === 1430, 3000);
    namespace.ip('link', 'set', device, 'mtu', '1300');
    await until('the port has noticed that', () => port.open?.mtu === 1300, 3000);
    port.handle?.setMtu?.(1430);
    expect(queryInterface(device, namespace.fd)?.mtu).toBe(1300);
    port.handle?.setMtu?.(undefined);
    expect(queryInterface(device, namespace.fd)?.mtu).toBe(1500);
    await port.close();
    await port.start(tap, { intent: { device, mtu: 1400 } });
    port.handle?.setMtu?.(1450);
    expect(queryInterface(device)?.mtu).toBe(1400);
  });

  test('takes offloads unless told not to, and says so to the kernel', async () => {
    const { port, device } = scene();
    await port.start(tap, { intent: { device } });
    expect(port.open?.features).toMatchObject({ checksum: true, tcp4: true, tcp6: true });
    expect(features(device)).toMatch(/tcp-segmentation-offload: on/);
    await port.close();
    await port.start(tap, { intent: { device, offload: 'off' } });
    expect(port.open?.features).toEqual({ checksum: false, tcp4: false, tcp6: false, udp: false });
    expect(features(device)).toMatch(/tcp-segmentation-offload: off/);
  });

  test('is found again inside the namespace its end was moved to, under its new name', async () => {
    const { worker, port, device, namespace } = scene();
    await port.start(tap, { intent: { device } });
    ip('link', 'set', device, 'netns', namespace.name, 'name', 'eth7');
    await until('the port has noticed', () => port.memory.get('name') === 'eth7', 3000);
    const memory = await kill(worker, port);
    for (const [key, value] of memory) port.memory.set(key, value);
    await port.start(tap, { intent: { device } });
    expect(port.open).toBeDefined();
    expect(queryInterface(device, HERE), 'a second device at home').toBeUndefined();
    await port.close();
    expect(queryInterface('eth7', namespace.fd)).toBeUndefined();
  });

  test('is found again although it was moved just before the daemon was killed', async () => {
    const { worker, port, device, namespace } = scene();
    await port.start(tap, { intent: { device } });
    const memory = await kill(worker, port);
    ip('link', 'set', device, 'netns', namespace.name);
    for (const [key, value] of memory) port.memory.set(key, value);
    await port.start(tap, { intent: { device } });
    expect(port.open).toBeDefined();
    expect(queryInterface(device), 'a second device at home').toBeUndefined();
  });

  test('that leaves home is located at once, not in its turn, and so found again whatever becomes of it there', async () => {
    crowd();
    const { worker, port, device, namespace } = scene();
    await port.start(tap, { intent: { device } });
    ip('link', 'set', device, 'name', `${device}x`);
    await until('its new name is known', () => port.memory.get('name') === `${device}x`);
    ip('link', 'set', `${device}x`, 'netns', namespace.name);
    await until('where it went is known', () => port.memory.get('namespace') === String(namespaceInode(namespace.fd)));
    namespace.ip('link', 'set', `${device}x`, 'address', '02:00:00:00:00:01');
    const memory = await kill(worker, port);
    for (const [key, value] of memory) port.memory.set(key, value);
    await port.start(tap, { intent: { device } });
    expect(port.open?.mac).toBe('02:00:00:00:00:01');
    expect(queryInterface(device), 'a second device at home').toBeUndefined();
  });

  test('that is deleted at home is made again at once', async () => {
    crowd();
    const { worker, port, device } = scene();
    await port.start(tap, { intent: { device } });
    ip('link', 'del', device);
    await until('it is back', () => worker.breathe() >= 0 && port.told.at(-1) === 'opened' && port.told.length === 3);
    expect(queryInterface(device)).toBeDefined();
  });

  test('is made anew when the namespace its end was in is gone', async () => {
    const { worker, port, device, namespace } = scene();
    await port.start(tap, { intent: { device } });
    ip('link', 'set', device, 'netns', namespace.name);
    await until(
      'the port has noticed',
      () => port.memory.get('namespace') !== undefined && queryInterface(device) === undefined,
    );
    const memory = await kill(worker, port);
    namespace.close();
    for (const [key, value] of memory) port.memory.set(key, value);
    await port.start(tap, { intent: { device } });
    await until('it is at home', () => queryInterface(device) !== undefined);
    expect(port.open).toBeDefined();
  });

  test('does not believe what was remembered in an earlier boot', async () => {
    const { port, device } = scene();
    ip('tuntap', 'add', device, 'mode', 'tap');
    for (const [key, value] of [
      ['boot', 'another'],
      ['made', 'yes'],
      ['name', device],
      ['namespace', '1'],
    ])
      port.memory.set(key, value);
    await port.start(tap, { intent: { device } });
    await port.close();
    expect(queryInterface(device), "somebody else's device").toBeDefined();
  });

  test('a write to a device that is administratively down is a copy drop, not a lost port', async () => {
    const { worker, port, device } = scene();
    await port.start(tap, { intent: { device } });
    expect(worker.send(port.queues[0], testFrame(60))).toBe(true);
    await until('it is reported', () => worker.breathe() >= 0 && worker.sent.length === 1);
    expect(worker.sent[0].reason).toBe('port_down');
    expect(worker.failed).toEqual([]);
    expect(port.told).toEqual(['opened']);
  });

  test('says that another process holds the device, and takes it when it is free', async () => {
    const { port, device } = scene();
    ip('tuntap', 'add', device, 'mode', 'tap');
    const holder = openTapQueues(device, 1);
    await port.start(tap, { intent: { device } });
    expect(port.absence).toEqual({ state: 'down', reason: `${device} is held by another process` });
    native.close(holder[0]);
    await until('it is open', () => port.open !== undefined, 2500);
  });

  test.each([
    ['of another type', ['link', 'add', 'DEVICE', 'type', 'bridge'], 1, /is no TAP \(driver bridge\)/],
    ['that is a TUN', ['tuntap', 'add', 'DEVICE', 'mode', 'tun'], 1, /is a TUN device, which carries no Ethernet/],
    [
      'with a single queue where two are asked for',
      ['tuntap', 'add', 'DEVICE', 'mode', 'tap'],
      2,
      /single queue.* asks for 2/,
    ],
  ])('says what is wrong with a device %s', async (_, words, queues, reason) => {
    const { port, device } = scene();
    ip(...words.map((word) => (word === 'DEVICE' ? device : word)));
    await port.start(tap, { intent: { device, queues } });
    expect(port.absence?.reason).toMatch(reason);
    expect(port.open).toBeUndefined();
  });

  test('attaches with one queue to a device that was made for several', async () => {
    const { port, device } = scene();
    ip('tuntap', 'add', device, 'mode', 'tap', 'multi_queue');
    await port.start(tap, { intent: { device } });
    expect(port.open?.queues).toHaveLength(1);
  });

  test('refuses an impossible MTU with the reason', async () => {
    const { port, device } = scene();
    await port.start(tap, { intent: { device, mtu: 70_000 } });
    expect(port.absence?.reason).toMatch(/setting the MTU of .* to 70000: EINVAL/);
  });

  test('refuses more queues than there may be', async () => {
    const { port, device } = scene();
    await expect(port.start(tap, { intent: { device, queues: 17 } })).rejects.toThrow(/at most 16 queues/);
  });
});

function features(device: string): string {
  return execFileSync('ethtool', ['-k', device], { encoding: 'utf8' });
}
