import { execFileSync } from 'node:child_process';
import { readFileSync, writeSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { DROP_OF_FRAME, FAILED_RECEIVE, RX_DROPPED, RX_FRAMES } from '../../../src/dataplane/counters.js';
import { dropReasonNumber } from '../../../src/dataplane/drop-reason.js';
import { inNamespace, queryInterface, setInterfaceUp } from '../../../src/dataplane/interface.js';
import * as native from '../../../src/dataplane/native.js';
import { netdev } from '../../../src/dataplane/ports/netdev.js';
import { openPacketSockets } from '../../../src/dataplane/ports/packet-socket.js';
import { openTapQueues, setTapOffload } from '../../../src/dataplane/ports/tap-device.js';
import { BenchWorker, type EngineKind, engineKinds, sleep, until } from '../../suites/bench-worker.js';
import { ownInterface } from '../../suites/leftovers.js';
import { ip, ipIfThere, RawStation, TestNamespace } from '../../suites/namespace.js';
import { PortDouble, type PortRig, portSuite, testFrame } from '../../suites/port-suite.js';
import { addVeth, carrier, FAR } from '../../suites/veth.js';

function makeRig(): PortRig {
  const namespace = new TestNamespace();
  const device = ownInterface('wpn');
  let station: RawStation | undefined;
  addVeth(device, namespace);
  return {
    intent: { device },
    async connect() {
      station?.close();
      await carrier(device, namespace);
      station = new RawStation(FAR, namespace.fd);
    },
    send: (octets) => station!.send(octets),
    receive: () => station!.receive(),
    vanish: () => ip('link', 'del', device),
    absence: { state: 'waiting', reason: new RegExp(`^no interface ${device}$`) },
    appear: () => addVeth(device, namespace),
    setMtu: (mtu) => ip('link', 'set', device, 'mtu', String(mtu)),
    setLink: (up) => setInterfaceUp(FAR, up, namespace.fd),
    canFill: false,
    sizes: [14, 15, 59, 60, 1513, 1514],
    close() {
      station?.close();
      ipIfThere('link', 'del', device);
      namespace.close();
    },
  };
}

function scene(engine: EngineKind = 'poll'): {
  worker: BenchWorker;
  port: PortDouble;
  device: string;
  namespace: TestNamespace;
} {
  const device = ownInterface('wpn');
  const namespace = new TestNamespace();
  const worker = new BenchWorker(engine, 64);
  const port = new PortDouble(worker);
  onTestFinished(async () => {
    await port.close();
    await worker.close();
    ipIfThere('link', 'del', device);
    namespace.close();
  });
  return { worker, port, device, namespace };
}

/** A packet socket at the far end of the veth; closed after the test. */
function farSocket(namespace: TestNamespace): number {
  const index = queryInterface(FAR, namespace.fd)!.index;
  const [fd] = inNamespace(namespace.fd, () => openPacketSockets(FAR, index, 1, 'auto')).fds;
  onTestFinished(() => {
    native.close(fd);
  });
  return fd;
}

/** Frames of the test's own; the host may say something when its interface comes up. */
const framesOf = (worker: BenchWorker) => worker.received.filter(({ octets }) => octets[12] === 0x88);

/** What a guest writes to its TAP for a UDP datagram to be fragmented for it: no vnet header of a receiver can say that. */
function udpSuperFrame(): Buffer {
  const size = 3000;
  const header = Buffer.from([1, 3, 42, 0, 0xc8, 5, 34, 0, 6, 0]);
  const frame = Buffer.from(testFrame(size));
  frame.set(
    [0x08, 0, 0x45, 0, (size - 14) >> 8, (size - 14) & 0xff, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2],
    12,
  );
  frame.set([0x10, 0, 0x20, 0, (size - 34) >> 8, (size - 34) & 0xff, 0, 0], 34);
  return Buffer.concat([header, frame]);
}

const ipv6Disabled = (device: string) => readFileSync(`/proc/sys/net/ipv6/conf/${device}/disable_ipv6`, 'utf8').trim();
const ingressFilters = (device: string) =>
  execFileSync('tc', ['filter', 'show', 'dev', device, 'ingress'], { encoding: 'utf8' });
const qdiscs = (device: string) => execFileSync('tc', ['qdisc', 'show', 'dev', device], { encoding: 'utf8' });

describe('a netdev port', () => {
  portSuite(netdev, makeRig, engineKinds);

  test('waits for an interface that is not there, and opens within a second of its coming', async () => {
    const { port, device, namespace } = scene();
    await port.start(netdev, { intent: { device } });
    expect(port.absence).toEqual({ state: 'waiting', reason: `no interface ${device}` });
    addVeth(device, namespace);
    await until('it is open', () => port.open !== undefined, 1000);
  });

  test('follows an interface that is renamed to its name, and lets go of one that is renamed away', async () => {
    const { port, device, namespace } = scene();
    const other = ownInterface('wpo');
    addVeth(other, namespace);
    onTestFinished(() => ipIfThere('link', 'del', other));
    await port.start(netdev, { intent: { device } });
    ip('link', 'set', other, 'name', device);
    await until('it is open', () => port.open !== undefined);
    ip('link', 'set', device, 'down');
    ip('link', 'set', device, 'name', other);
    await until('it waits', () => port.absence?.reason === `no interface ${device}`);
  });

  test('survives its interface coming and going 20 times', async () => {
    const { worker, port, device, namespace } = scene();
    await port.start(netdev, { intent: { device } });
    for (let round = 0; round < 20; round++) {
      addVeth(device, namespace);
      await until('it is open', () => worker.breathe() >= 0 && port.open !== undefined);
      ip('link', 'del', device);
      await until('it waits', () => worker.breathe() >= 0 && port.absence?.state === 'waiting');
    }
    expect(worker.pool.available).toBe(worker.pool.slotCount);
  });

  test('sets a new interface up, but not one that its owner sets down later', async () => {
    const { port, device, namespace } = scene();
    addVeth(device, namespace);
    expect(queryInterface(device)?.isUp).toBe(false);
    await port.start(netdev, { intent: { device } });
    expect(queryInterface(device)?.isUp).toBe(true);
    ip('link', 'set', device, 'down');
    await until('it is down', () => port.absence?.reason === `${device} is administratively down`);
    await sleep(50);
    expect(queryInterface(device)?.isUp).toBe(false);
    ip('link', 'set', device, 'up');
    await until('it is open', () => port.open !== undefined);
  });

  test('the host does not answer on the interface, and is given back what it had', async () => {
    const { worker, port, device, namespace } = scene();
    addVeth(device, namespace);
    setInterfaceUp(device, true);
    ip('addr', 'add', '198.51.100.1/24', 'dev', device);
    namespace.ip('addr', 'add', '198.51.100.2/24', 'dev', FAR);
    const ping = () => {
      try {
        execFileSync('ip', ['netns', 'exec', namespace.name, 'ping', '-c1', '-W1', '198.51.100.1'], {
          stdio: 'ignore',
        });
        return true;
      } catch {
        return false;
      }
    };
    await carrier(device, namespace);
    expect(ping(), 'before').toBe(true);
    const before = qdiscs(device);
    await port.start(netdev, { intent: { device } });
    namespace.ip('neigh', 'flush', 'all');
    expect(ping(), 'while the port is open').toBe(false);
    worker.breathe();
    expect(worker.received.length, 'the switch sees what the host does not').toBeGreaterThan(0);
    await port.close();
    expect(qdiscs(device)).toBe(before);
    namespace.ip('neigh', 'flush', 'all');
    await until('the host answers again', ping);
  });

  test('an interface that it set up speaks no IPv6, and is as it was after closing', async () => {
    const { port, device, namespace } = scene();
    addVeth(device, namespace);
    await port.start(netdev, { intent: { device } });
    expect(ipv6Disabled(device)).toBe('1');
    expect(ingressFilters(device)).toMatch(/bpf/);
    await port.close();
    expect(ipv6Disabled(device)).toBe('0');
    expect(queryInterface(device)?.isUp).toBe(false);
    expect(ingressFilters(device)).toBe('');
  });

  test('undoes after a restart what the killed daemon had done', async () => {
    const { worker, port, device, namespace } = scene();
    addVeth(device, namespace);
    await port.start(netdev, { intent: { device } });
    const second = new PortDouble(worker);
    for (const [key, value] of port.memory) second.memory.set(key, value);
    await second.start(netdev, { intent: { device } });
    await second.close();
    expect(queryInterface(device)?.isUp).toBe(false);
    expect(ingressFilters(device)).toBe('');
    expect(qdiscs(device)).not.toMatch(/clsact/);
  });

  test('a VLAN tag, which the kernel takes out of the frame, is in it: in what comes and in what is sent', async () => {
    const { worker, port, device, namespace } = scene();
    addVeth(device, namespace);
    await port.start(netdev, { intent: { device } });
    await carrier(device, namespace);
    const plain = testFrame(100);
    const tagged = new Uint8Array([...plain.slice(0, 12), 0x88, 0xa8, 0x60, 7, ...plain.slice(12)]);
    const far = farSocket(namespace);
    const farQueue = worker.attach(2, { type: 'packet', fd: far, vnetHeader: true });
    const seenBy = (index: number) =>
      worker.received.filter((frame) => frame.port === index && frame.octets[12] === 0x88);
    expect(worker.send(farQueue, tagged)).toBe(true);
    await until('it has come', () => worker.breathe() >= 0 && seenBy(1).length === 1);
    expect(seenBy(1)[0].octets).toEqual(tagged);
    expect(worker.send(port.queues[0], tagged)).toBe(true);
    await until('it has arrived', () => worker.breathe() >= 0 && seenBy(2).length === 1);
    expect(seenBy(2)[0].octets).toEqual(tagged);
    await worker.detach(farQueue);
  });

  test('shares an interface among queues by flow, each frame to one of them', async () => {
    const { worker, port, device, namespace } = scene();
    addVeth(device, namespace);
    await port.start(netdev, { intent: { device, queues: 3 } });
    expect(port.open?.queues).toHaveLength(3);
    await carrier(device, namespace);
    const station = new RawStation(FAR, namespace.fd);
    onTestFinished(() => station.close());
    for (let index = 0; index < 30; index++) station.send(testFrame(60, index));
    await until('all are there', () => worker.breathe() >= 0 && worker.received.length >= 30);
    await sleep(20);
    worker.breathe();
    expect(worker.received).toHaveLength(30);
  });

  test.each(engineKinds)(
    'counts a frame whose vnet header the kernel can’t pass on (%s engine), and hears the next',
    async (engine) => {
      const { worker, port, device } = scene(engine);
      const [guest] = openTapQueues(device, 1);
      onTestFinished(() => {
        native.close(guest);
      });
      setTapOffload(guest, 'auto');
      await port.start(netdev, { intent: { device } });
      worker.breathe();
      const { counters } = worker;
      for (let count = 1; count <= 3; count++) {
        writeSync(guest, udpSuperFrame());
        writeSync(guest, Buffer.concat([Buffer.alloc(10), testFrame(60, count)]));
        await until('the good frame is there', () => worker.breathe(1) >= 0 && framesOf(worker).length === count);
        expect(counters.dropValue(1, dropReasonNumber.bad_vnet_header, DROP_OF_FRAME)).toBe(count);
        expect(counters.failureValue(FAILED_RECEIVE, native.EINVAL)).toBe(count);
      }
      expect([counters.portValue(1, RX_FRAMES), counters.portValue(1, RX_DROPPED)]).toEqual([3, 3]);
      expect(worker.failed, 'the port goes on').toEqual([]);
    },
  );

  test('caps its MTU by what is asked for, and leaves the interface alone', async () => {
    const { port, device, namespace } = scene();
    addVeth(device, namespace);
    await port.start(netdev, { intent: { device, mtu: 1300 } });
    expect(port.open?.mtu).toBe(1300);
    expect(queryInterface(device)?.mtu).toBe(1500);
  });

  test('says that an interface without Ethernet is of no use', async () => {
    const { port, device } = scene();
    ip('tuntap', 'add', device, 'mode', 'tun');
    await port.start(netdev, { intent: { device } });
    expect(port.absence).toEqual({ state: 'down', reason: `${device} carries no Ethernet frames` });
  });

  test("refuses a device name that is no interface's", async () => {
    const { port } = scene();
    await expect(port.start(netdev, { intent: { device: 'much-too-long-a-name' } })).rejects.toThrow(
      /can't be the name/,
    );
  });
});
