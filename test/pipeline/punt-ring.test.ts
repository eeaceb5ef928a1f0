import { expect, test } from 'vitest';
import { allocateFrameRing } from '../../src/dataplane/frame-ring.js';
import { PUNT_RING_SIZE, PUNT_SIZE_MAX } from '../../src/limits.js';
import { PuntRing } from '../../src/pipeline/punt-ring.js';

const arena = Uint8Array.from({ length: 4096 }, (_, index) => index % 251);

/** Reads until `count` frames came, or nothing comes. */
async function readAll(memory: SharedArrayBuffer, count: number): Promise<[number, number[]][]> {
  const heard: [number, number[]][] = [];
  const stop = new AbortController();
  void new PuntRing(memory).read((octets, tunnel) => heard.push([tunnel, [...octets]]), stop.signal);
  for (let turn = 0; turn < 500 && heard.length < count; turn++) await new Promise((done) => setTimeout(done, 2));
  stop.abort();
  return heard;
}

test('frames come out as they went in, with their tunnels, in order, before and after the reader sleeps', async () => {
  const memory = allocateFrameRing(PUNT_RING_SIZE);
  const writer = new PuntRing(memory);
  expect(writer.put(arena, 100, 66, 7)).toBe(true);
  const reading = readAll(memory, 3);
  await new Promise((done) => setTimeout(done, 20));
  expect(writer.put(arena, 200, 70, 65_535)).toBe(true);
  expect(writer.put(arena, 300, PUNT_SIZE_MAX, 1)).toBe(true);
  expect(await reading).toEqual([
    [7, [...arena.subarray(100, 166)]],
    [65_535, [...arena.subarray(200, 270)]],
    [1, [...arena.subarray(300, 300 + PUNT_SIZE_MAX)]],
  ]);
});

test('a full ring and frames that are too long are refused, and the rest still comes', async () => {
  const memory = allocateFrameRing(PUNT_RING_SIZE);
  const writer = new PuntRing(memory);
  expect(writer.put(arena, 0, PUNT_SIZE_MAX + 1, 1)).toBe(false);
  let count = 0;
  while (writer.put(arena, 0, 66, 3)) count++;
  expect(count).toBeGreaterThan(2000);
  expect(await readAll(memory, count)).toHaveLength(count);
  expect(writer.put(arena, 0, 66, 3)).toBe(true);
});
