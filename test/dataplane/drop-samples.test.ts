/** Kept frames as the main thread reads them: whole, the latest, and readable again after a writer's death. */
import { beforeEach, expect, test } from 'vitest';
import { DROP_REASON_COUNT } from '../../src/dataplane/drop-reason.js';
import { DropSamples } from '../../src/dataplane/drop-samples.js';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { DROP_SAMPLE_SIZE, DROP_SAMPLES_MAX, PORTS_MAX } from '../../src/limits.js';

let pool: FramePool;
let slot: number;
let samples: DropSamples;

beforeEach(() => {
  pool = new FramePool(1);
  pool.octets.fill(0xa5);
  slot = pool.allocate();
  samples = new DropSamples();
});

function take(port: number, reason: number, length: number, first: number, nowMs: number): void {
  pool.receive(slot, port, length);
  pool.octets[pool.frameStart(slot)] = first;
  samples.nowMs = nowMs;
  samples.take(pool, slot, port, reason, 0);
}

test('the latest frame of each port and reason is kept, its head only', () => {
  take(1, 2, 60, 0x11, 10);
  take(1, 2, 1500, 0x22, 11);
  take(2, 2, 60, 0x33, 11);
  const kept = samples.list();
  expect(kept.map(({ port, length, octets }) => [port, length, octets[0], octets.length])).toEqual([
    [1, 1500, 0x22, DROP_SAMPLE_SIZE],
    [2, 60, 0x33, 60],
  ]);
});

test('of a flood within one millisecond the first frame is kept', () => {
  take(1, 2, 60, 0x11, 10);
  take(1, 2, 60, 0x22, 10);
  expect(samples.list()[0].octets[0]).toBe(0x11);
});

test('a row is readable again after its writer died in the middle of it', () => {
  take(1, 2, 60, 0x11, 10);
  // The sequence of the first row, odd as it is while the row is written.
  const words = new Int32Array(samples.buffer);
  words[2] |= 1;
  expect(samples.list()).toEqual([]);
  take(1, 2, 60, 0x22, 11);
  expect(samples.list()[0].octets[0]).toBe(0x22);
  take(1, 2, 60, 0x33, 12);
  expect(samples.list()[0].octets[0]).toBe(0x33);
});

test('more ports than there are rows may come and go, and each is shown while it is there', () => {
  for (let turn = 0; turn < 2 * DROP_SAMPLES_MAX; turn++) {
    const port = turn % PORTS_MAX;
    take(port, 2, 60, turn & 0xff, turn + 1);
    expect(samples.list().map((sample) => [sample.port, sample.octets[0]])).toEqual([[port, turn & 0xff]]);
    samples.forget(port);
    expect(samples.list()).toEqual([]);
  }
});

test('a forgotten port leaves the frames of the others', () => {
  take(1, 2, 60, 0x11, 10);
  take(1, 3, 60, 0x12, 10);
  take(2, 2, 60, 0x21, 10);
  samples.forget(1);
  expect(samples.list().map(({ port, octets }) => [port, octets[0]])).toEqual([[2, 0x21]]);
  take(1, 3, 60, 0x13, 11);
  expect(samples.list().map(({ port, octets }) => [port, octets[0]])).toEqual([
    [2, 0x21],
    [1, 0x13],
  ]);
});

test('when all rows are taken by ports that are still there, the oldest frame gives way, once a millisecond', () => {
  for (let port = 0; port < DROP_SAMPLES_MAX; port++) take(port, 2, 60, 0x11, port === 77 ? 9 : 10);
  take(1, 3, 60, 0x22, 11);
  take(1, 4, 60, 0x33, 11);
  const kept = samples.list();
  expect(kept).toHaveLength(DROP_SAMPLES_MAX);
  expect(kept.some(({ port }) => port === 77)).toBe(false);
  expect(kept.filter(({ port }) => port === 1).map(({ reason }) => reason)).toEqual([2, 3]);
  take(1, 4, 60, 0x33, 12);
  expect(samples.list().filter(({ port }) => port === 1)).toHaveLength(3);
  take(77, 2, 60, 0x44, 13);
  expect(samples.list().find(({ port }) => port === 77)?.octets[0]).toBe(0x44);
});

test('ports that die of everything fill the table, and nothing else', () => {
  for (let port = 0; port < 500; port++)
    for (let reason = 1; reason < DROP_REASON_COUNT; reason++) take(port, reason, 60, port, 10);
  expect(samples.list()).toHaveLength(DROP_SAMPLES_MAX);
});
