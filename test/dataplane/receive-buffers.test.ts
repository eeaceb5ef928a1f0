/** Whom a worker's slots are lent to: a queue that was once busy must not keep what others need. Needs io_uring, no privilege. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import * as native from '../../src/dataplane/native.js';
import type { UringQueue } from '../../src/dataplane/uring-queue.js';
import { RECEIVE_BUFFERS_MAX, RECEIVE_BUFFERS_MIN, SLOT_COUNT } from '../../src/limits.js';
import { BenchWorker } from '../suites/bench-worker.js';
import { testFrame } from '../suites/port-suite.js';

const F_SETFL = 4;
/** A pipe in packet mode: one write is one read. */
const O_DIRECT = 0o40000;
/** A pipe holds sixteen. */
const BURST = 16;
/** Frames after which a queue has just been lent all it may have, having used half of 8, 16, .. 256 buffers. */
const BUSY_FRAMES = 256;

let worker: BenchWorker;
let directory: string;
const opened: number[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-buffers-'));
  worker = new BenchWorker('uring', SLOT_COUNT);
});
afterEach(async () => {
  await worker.close();
  for (const fd of opened.splice(0)) native.close(fd);
  rmSync(directory, { recursive: true, force: true });
  expect(worker.pool.available, 'slots that came back').toBe(SLOT_COUNT);
});

interface Line {
  readonly port: number;
  readonly fd: number;
  readonly queue: UringQueue;
}

function attach(port: number): Line {
  const path = join(directory, String(port));
  execFileSync('mkfifo', [path]);
  const fd = native.check('opening a pipe', native.open(path, native.O_RDWR | native.O_NONBLOCK | native.O_CLOEXEC));
  opened.push(fd);
  native.check('packet mode', native.fcntl(fd, F_SETFL, native.O_NONBLOCK | O_DIRECT));
  return { port, fd, queue: worker.attach(port, { type: 'tap', fd, vnetHeader: false }) as UringQueue };
}

/** Sends so many frames to the line and takes them in; they come whole, in order, and from this line only. */
function carry({ port, fd }: Line, frames: number): void {
  let number = 0;
  while (number < frames) {
    worker.received.length = 0;
    for (let sent = 0; sent < BURST; sent++) writeSync(fd, testFrame(60, number + sent));
    for (let tries = 0; worker.received.length < BURST && tries < 1000; tries++) worker.breathe();
    expect(worker.received.map((frame) => frame.port)).toEqual(new Array(BURST).fill(port));
    for (const { octets } of worker.received) expect(Buffer.compare(octets, testFrame(60, number++))).toBe(0);
  }
}

test('forty queues that were each busy once leave a forty-first all it can use', () => {
  const lines = Array.from({ length: 40 }, (_, port) => attach(port));
  worker.breathe();
  for (const line of lines) carry(line, BUSY_FRAMES);
  const late = attach(40);
  worker.breathe();
  carry(late, 2 * BUSY_FRAMES);
  expect(late.queue.target).toBe(RECEIVE_BUFFERS_MAX);
  expect(worker.pool.available).toBeGreaterThan(SLOT_COUNT / 4);
  // Who gave back goes on receiving, and is lent more again when it is busy again.
  const poorer = lines.filter(({ queue }) => queue.lent <= RECEIVE_BUFFERS_MIN);
  expect(poorer.length).toBeGreaterThan(0);
  for (const line of poorer.slice(0, 4)) {
    carry(line, BUSY_FRAMES);
    expect(line.queue.target).toBe(RECEIVE_BUFFERS_MAX);
  }
  for (const line of lines) carry(line, BURST);
});

test('while there is enough for all, nobody gives anything back', () => {
  const lines = Array.from({ length: 8 }, (_, port) => attach(port));
  worker.breathe();
  for (const line of lines) carry(line, BUSY_FRAMES);
  for (let breath = 0; breath < 200; breath++) worker.breathe();
  for (const { queue } of lines) expect(queue.target).toBe(RECEIVE_BUFFERS_MAX);
});
