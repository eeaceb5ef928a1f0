/** One suite for both engines, on a real TAP whose kernel end lies in a namespace of its own. Needs root. */

import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { setInterfaceUp } from '../../src/dataplane/interface.js';
import type { PortQueue } from '../../src/dataplane/io-engine.js';
import * as native from '../../src/dataplane/native.js';
import { openTapQueues, setTapOffload } from '../../src/dataplane/ports/tap-device.js';
import { RECEIVE_BUFFERS_MAX } from '../../src/limits.js';
import { BenchWorker, engineKinds, sleep, until } from '../suites/bench-worker.js';
import { ownInterface } from '../suites/leftovers.js';
import { ipIfThere, RawStation, TestNamespace } from '../suites/namespace.js';
import { testFrame } from '../suites/port-suite.js';

const MTU_MAX = 65_000;

describe.each(engineKinds)('the %s engine', (kind) => {
  let namespace: TestNamespace;
  let worker: BenchWorker;
  let device: string;
  let fd: number;
  let station: RawStation;
  let queue: PortQueue;
  let slots: number;

  beforeEach(() => {
    namespace = new TestNamespace();
    worker = new BenchWorker(kind, 600, 64);
    slots = worker.pool.available;
    device = ownInterface('wpe');
    [fd] = openTapQueues(device, 1, namespace.fd);
    setTapOffload(fd, 'auto');
    namespace.silence(device);
    namespace.ip('link', 'set', device, 'mtu', String(MTU_MAX));
    setInterfaceUp(device, true, namespace.fd);
    station = new RawStation(device, namespace.fd);
    queue = worker.attach(1, { type: 'tap', fd, vnetHeader: true });
    worker.breathe();
  });
  afterEach(async () => {
    await worker.close();
    expect(worker.pool.available, 'slots that came back').toBe(slots);
    station.close();
    native.close(fd);
    ipIfThere('-n', namespace.name, 'link', 'del', device);
    namespace.close();
  });

  const framesIn = () => worker.received.filter((frame) => frame.octets[12] === 0x88);
  const same = (one: Uint8Array, other: Uint8Array) => Buffer.compare(one, other) === 0;

  test('frames of every size from 14 to 65,000 octets come in whole', async () => {
    for (const size of [
      14, 15, 16, 59, 60, 61, 63, 64, 65, 127, 128, 1513, 1514, 1518, 4095, 4096, 9014, 32_768, 65_000,
    ]) {
      worker.received.length = 0;
      station.send(testFrame(size, size));
      await until(`${size} octets`, () => worker.breathe(1) >= 0 && framesIn().length === 1);
      expect(same(framesIn()[0].octets, testFrame(size, size)), `${size} octets`).toBe(true);
      expect(framesIn()[0].hasOffload).toBe(false);
    }
  });

  test('frames of every size go out whole, each reported once', async () => {
    const sizes = [14, 15, 60, 64, 65, 1514, 9014, 65_000];
    for (const size of sizes) {
      expect(worker.send(queue, testFrame(size, size))).toBe(true);
      let seen: Uint8Array | undefined;
      await until(`${size} octets`, () => {
        worker.breathe();
        seen ??= station.receive();
        return seen !== undefined;
      });
      expect(same(seen!, testFrame(size, size)), `${size} octets`).toBe(true);
    }
    await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length === sizes.length);
    expect(worker.sent.map((one) => [one.octets, one.reason])).toEqual(sizes.map((size) => [size, 'none']));
  });

  test("what a vnet header asks for comes in with the frame, and goes out rebuilt from the pool's fields", async () => {
    // An IPv4 TCP super-frame: 14 + 20 + 20 octets of headers, checksum to be made from octet 34, at 16.
    const frame = superFrame(4054);
    const header = new Uint8Array([1, 1, 54, 0, 0xe8, 0x03, 34, 0, 16, 0]);
    station.send(frame, header);
    await until('it is there', () => worker.breathe(1) >= 0 && worker.received.length === 1);
    expect(worker.received[0]).toMatchObject({ hasOffload: true, gsoType: 1, gsoSize: 1000, checksumStart: 34 });
    expect(same(worker.received[0].octets, frame)).toBe(true);

    const slot = worker.frame(frame);
    const { pool } = worker;
    const start = pool.offset[slot];
    pool.gsoType[slot] = 1;
    pool.gsoSize[slot] = 1000;
    pool.checksumStart[slot] = start + 34;
    pool.checksumOffset[slot] = 16;
    pool.headersEnd[slot] = start + 54;
    expect(queue.send(slot)).toBe(true);
    let seen: Uint8Array | undefined;
    await until('it arrived', () => {
      worker.breathe();
      seen ??= station.receive();
      return seen !== undefined;
    });
    expect(seen?.length, 'still one super-frame').toBe(4054);
  });

  test('one queue hands over a bounded number of frames a breath, and the rest afterwards in order', async () => {
    for (let index = 0; index < 900; index++) station.send(testFrame(60, index));
    let most = 0;
    await until('all are there', () => {
      most = Math.max(most, worker.breathe(1));
      return framesIn().length === 900;
    });
    expect(most).toBeLessThanOrEqual(Math.min(worker.batch.capacity, RECEIVE_BUFFERS_MAX));
    expect(framesIn().map((frame) => frame.octets[14])).toEqual(
      Array.from({ length: 900 }, (_, index) => testFrame(60, index)[14]),
    );
  });

  test('a port that floods does not keep a second one from being heard', async () => {
    const other = ownInterface('wpe');
    const [otherFd] = openTapQueues(other, 1, namespace.fd);
    namespace.silence(other);
    setInterfaceUp(other, true, namespace.fd);
    const otherStation = new RawStation(other, namespace.fd);
    const otherQueue = worker.attach(2, { type: 'tap', fd: otherFd, vnetHeader: true });
    worker.breathe();
    for (let index = 0; index < 900; index++) station.send(testFrame(60, index));
    otherStation.send(testFrame(60));
    let breaths = 0;
    await until('the second is heard', () => {
      worker.breathe(1);
      breaths++;
      return framesIn().some((frame) => frame.port === 2);
    });
    expect(breaths).toBeLessThan(16);
    await until('the flood is through', () => worker.breathe(1) >= 0 && framesIn().length === 901);
    await worker.detach(otherQueue);
    otherStation.close();
    native.close(otherFd);
  });

  test('detaching while frames wait and while frames are on their way out gives every slot back', async () => {
    for (let index = 0; index < 300; index++) station.send(testFrame(1000, index));
    worker.breathe(1);
    let given = 0;
    for (let index = 0; index < 100; index++) if (worker.send(queue, testFrame(1000, index))) given++;
    await worker.detach(queue);
    await until('all that was given is reported', () => worker.breathe() >= 0 && worker.sent.length === given);
    expect(worker.pool.available).toBe(slots);
    expect(worker.send(queue, testFrame(60)), 'a detached queue takes nothing').toBe(false);
  });

  test('attaching and detaching 200 times leaks nothing', async () => {
    for (let round = 0; round < 200; round++) {
      await worker.detach(queue);
      queue = worker.attach(1, { type: 'tap', fd, vnetHeader: true });
      worker.breathe();
    }
    station.send(testFrame(60));
    await until('it still hears', () => worker.breathe(1) >= 0 && framesIn().length === 1);
  });

  test('a device deleted under it is told once, and its slots come back', async () => {
    expect(worker.send(queue, testFrame(60))).toBe(true);
    namespace.ip('link', 'del', device);
    await until('the failure is told', () => {
      worker.breathe(1);
      // Like the pipeline: whatever is sent meanwhile gets its report.
      worker.send(queue, testFrame(60));
      return worker.failed.length > 0;
    });
    for (let round = 0; round < 20; round++) worker.breathe(1);
    expect(worker.failed).toHaveLength(1);
    expect(worker.failed[0].port).toBe(1);
    await worker.detach(queue);
    expect(worker.pool.available).toBe(slots);
  });

  test('devices that are deleted all at once are told one by one', async () => {
    const more = [2, 3].map((port) => {
      const name = ownInterface('wpe');
      const [other] = openTapQueues(name, 1, namespace.fd);
      setInterfaceUp(name, true, namespace.fd);
      return { name, other, queue: worker.attach(port, { type: 'tap', fd: other, vnetHeader: true }) };
    });
    worker.breathe();
    for (const name of [device, ...more.map(({ name }) => name)]) namespace.ip('link', 'del', name);
    await until('all are told', () => worker.breathe(1) >= 0 && worker.failed.length === 3);
    expect(worker.failed.map(({ port }) => port).sort()).toEqual([1, 2, 3]);
    for (const { other, queue: one } of more) {
      await worker.detach(one);
      native.close(other);
    }
  });

  test('a send to a device that is down is a copy drop, and the queue goes on when it is up', async () => {
    setInterfaceUp(device, false, namespace.fd);
    expect(worker.send(queue, testFrame(60))).toBe(true);
    await until('it is reported', () => worker.breathe() >= 0 && worker.sent.length === 1);
    expect(worker.sent[0].reason).toBe('port_down');
    expect(worker.failed).toEqual([]);
    setInterfaceUp(device, true, namespace.fd);
    // A packet socket fails once for an interface that went down.
    station.close();
    station = new RawStation(device, namespace.fd);
    station.send(testFrame(60));
    await until('it hears again', () => worker.breathe(1) >= 0 && framesIn().length === 1);
  });

  test('another thread wakes it out of its sleep', async () => {
    worker.breathe();
    const waker = new Worker(
      `const { workerData } = require('node:worker_threads');
       setTimeout(() => require('node:fs').writeSync(workerData, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])), 100);`,
      { eval: true, workerData: worker.engine.wakeFd },
    );
    await sleep(50);
    const started = performance.now();
    worker.engine.submit(20_000);
    expect(performance.now() - started).toBeLessThan(10_000);
    worker.breathe();
    await waker.terminate();
    const again = performance.now();
    worker.engine.submit(50);
    expect(performance.now() - again, 'the signal is used up').toBeGreaterThan(40);
  });

  test('a frame wakes it out of its sleep', async () => {
    worker.breathe();
    station.send(testFrame(60));
    const started = performance.now();
    await until('it is there', () => worker.breathe(5000) >= 0 && framesIn().length === 1);
    expect(performance.now() - started).toBeLessThan(4000);
  });

  test('with no free slot it waits, and goes on when slots are back', async () => {
    const held: number[] = [];
    for (let slot = worker.pool.allocate(); slot >= 0; slot = worker.pool.allocate()) held.push(slot);
    for (let index = 0; index < 50; index++) station.send(testFrame(60, index));
    for (let round = 0; round < 20; round++) worker.breathe();
    for (const slot of held) worker.pool.release(slot);
    await until('all are there', () => worker.breathe(1) >= 0 && framesIn().length === 50);
  });
});

/** A TCP segment over IPv4 whose checksum field holds only the pseudo-header's sum. */
function superFrame(size: number): Uint8Array {
  const frame = testFrame(size);
  frame.set([0x08, 0x00, 0x45, 0], 12);
  frame.set([(size - 14) >> 8, (size - 14) & 0xff, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2], 16);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += (frame[at] << 8) | frame[at + 1];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.set([(~sum >> 8) & 0xff, ~sum & 0xff], 24);
  frame.set([0x10, 0, 0x20, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0], 34);
  return frame;
}
