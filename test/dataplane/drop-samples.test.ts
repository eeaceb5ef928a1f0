/** Kept frames as the main thread reads them: whole, the latest, and readable again after a writer's death. */
import { beforeEach, expect, test } from 'vitest';
import { DROP_REASON_COUNT } from '../../src/dataplane/drop-reason.js';
import { DropSamples } from '../../src/dataplane/drop-samples.js';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { DROP_SAMPLE_SIZE, DROP_SAMPLES_MAX } from '../../src/limits.js';

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

test('ports that die of everything fill the table, and nothing else', () => {
  for (let port = 0; port < 500; port++)
    for (let reason = 1; reason < DROP_REASON_COUNT; reason++) take(port, reason, 60, port, 10);
  expect(samples.list()).toHaveLength(DROP_SAMPLES_MAX);
});
