/** Both engines at their bounds, on descriptors that need no privilege: pipes, of which one read is one frame if nobody hurries. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import * as native from '../../src/dataplane/native.js';
import type { QueueTransport } from '../../src/dataplane/port.js';
import { BenchWorker, engineKinds, until } from '../suites/bench-worker.js';
import { testFrame } from '../suites/port-suite.js';

let directory: string;
let opened: number[] = [];
let pipes = 0;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-engine-'));
});
afterEach(() => {
  for (const fd of opened) native.close(fd);
  opened = [];
  rmSync(directory, { recursive: true, force: true });
});

/** A named pipe open for both ways: what is written to it comes in by it. */
function pipe(): Extract<QueueTransport, { type: 'tap' }> {
  const path = join(directory, `${pipes++}`);
  execFileSync('mkfifo', [path]);
  const fd = native.check('opening a pipe', native.open(path, native.O_RDWR | native.O_NONBLOCK | native.O_CLOEXEC));
  opened.push(fd);
  return { type: 'tap', fd, vnetHeader: false };
}

describe.each(engineKinds)('the %s engine', (kind) => {
  let worker: BenchWorker;
  beforeEach(() => {
    worker = new BenchWorker(kind);
  });
  afterEach(async () => {
    await worker.close();
    expect(worker.pool.available, 'slots that came back').toBe(worker.pool.slotCount);
  });

  test('gives back the slots of a queue that is detached before anything was handed over', async () => {
    const queue = worker.attach(1, pipe());
    await worker.detach(queue);
    expect(worker.pool.available).toBe(worker.pool.slotCount);
  });

  test('gives the number of a detached queue to the next one, which gets none of the old one’s frames', async () => {
    for (let turn = 1; turn <= 20; turn++) {
      const transport = pipe();
      const queue = worker.attach(turn, transport);
      worker.breathe();
      expect(worker.send(queue, testFrame(60, turn))).toBe(true);
      if (turn % 2 === 0) {
        await until('the frame came round', () => worker.breathe() >= 0 && worker.received.length > 0);
        expect(worker.received.every(({ port }) => port === turn)).toBe(true);
      }
      await worker.detach(queue);
      worker.received.length = 0;
    }
  });

  test('reports a device that is gone once, not once a frame', async () => {
    // A descriptor that can only be read fails every write with EBADF, as a TAP whose device is gone does with EBADFD.
    const fd = native.open('/dev/null', native.O_RDONLY | native.O_CLOEXEC);
    opened.push(fd);
    const queue = worker.attach(3, { type: 'tap', fd, vnetHeader: false }, false);
    let refused = 0;
    for (let frame = 0; frame < 100; frame++) if (!worker.send(queue, testFrame(60, frame))) refused++;
    await until('all are reported', () => worker.breathe() >= 0 && worker.sent.length + refused === 100);
    expect(worker.failed).toHaveLength(1);
    expect(worker.failed[0]).toMatchObject({ port: 3 });
    expect(worker.sent.every(({ reason }) => reason === 'port_down')).toBe(true);
  });

  test('takes more sends in one breath than its submission queue has room for', async () => {
    const fd = native.open('/dev/null', native.O_RDWR | native.O_CLOEXEC);
    opened.push(fd);
    await worker.close();
    worker = new BenchWorker(kind, 5000, 256);
    const queue = worker.attach(1, { type: 'tap', fd, vnetHeader: false }, false);
    for (let frame = 0; frame < 4500; frame++) expect(worker.send(queue, testFrame(60, frame))).toBe(true);
    await until('all are sent', () => worker.breathe() >= 0 && worker.sent.length === 4500);
    expect(worker.sent.every(({ reason }) => reason === 'none')).toBe(true);
  });

  test('a hundred queues that share too few slots get theirs when others give them back', async () => {
    await worker.close();
    worker = new BenchWorker(kind, 40, 64);
    const transports = Array.from({ length: 100 }, pipe);
    const queues = transports.map((transport, port) => worker.attach(port, transport));
    worker.breathe();
    await Promise.all(queues.slice(0, 90).map((queue) => worker.detach(queue)));
    const frame = testFrame(60);
    const send = (fd: number) => writeSync(fd, frame);
    for (const { fd } of transports.slice(90)) send(fd);
    const ports = () => new Set(worker.received.map(({ port }) => port));
    await until('the ten that are left got theirs', () => worker.breathe() >= 0 && ports().size === 10);
  });

  test('closes all it opened', async () => {
    const before = readdirSync('/proc/self/fd').length;
    const other = new BenchWorker(kind);
    other.attach(1, pipe());
    other.breathe();
    await other.close();
    expect(readdirSync('/proc/self/fd').length).toBe(before + 1);
  });
});
