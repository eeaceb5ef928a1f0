import { expect, test } from 'vitest';
import { allocateFrameRing } from '../../src/dataplane/frame-ring.js';
import { PUNT_RING_SIZE, PUNT_SIZE_MAX } from '../../src/limits.js';
import { PUNT_ADDRESS_SERVICE, PUNT_BFD, PuntRing } from '../../src/pipeline/punt-ring.js';
import { until } from '../system/harness/wait.js';

const arena = Uint8Array.from({ length: 4096 }, (_, index) => index % 251);

/** Reads until `count` frames came. */
async function readAll(memory: SharedArrayBuffer, count: number): Promise<[number, number[]][]> {
  const heard: [number, number[]][] = [];
  const stop = new AbortController();
  void new PuntRing(memory).read(({ octets, tunnel }) => {
    heard.push([tunnel, [...octets]]);
  }, stop.signal);
  await until(`${count} frames came`, () => heard.length >= count);
  stop.abort();
  return heard;
}

test('frames come out as they went in, with their tunnels, in order, before and after the reader sleeps', async () => {
  const memory = allocateFrameRing(PUNT_RING_SIZE);
  const writer = new PuntRing(memory);
  expect(writer.put(arena, 100, 66, PUNT_BFD, 3, 7)).toBe(true);
  const reading = readAll(memory, 3);
  await new Promise((done) => setTimeout(done, 20));
  expect(writer.put(arena, 200, 70, PUNT_BFD, 3, 65_535)).toBe(true);
  expect(writer.put(arena, 300, PUNT_SIZE_MAX, PUNT_BFD, 3, 1)).toBe(true);
  expect(await reading).toEqual([
    [7, [...arena.subarray(100, 166)]],
    [65_535, [...arena.subarray(200, 270)]],
    [1, [...arena.subarray(300, 300 + PUNT_SIZE_MAX)]],
  ]);
});

test('a full ring and frames that are too long are refused, and the rest still comes', async () => {
  const memory = allocateFrameRing(PUNT_RING_SIZE);
  const writer = new PuntRing(memory);
  expect(writer.put(arena, 0, PUNT_SIZE_MAX + 1, PUNT_BFD, 0, 1)).toBe(false);
  let count = 0;
  while (writer.put(arena, 0, 66, PUNT_BFD, 0, 3)) count++;
  expect(count).toBeGreaterThan(2000);
  expect(await readAll(memory, count)).toHaveLength(count);
  expect(writer.put(arena, 0, 66, PUNT_BFD, 0, 3)).toBe(true);
});

test('what stations send fills half of the ring at most, and what tunnels bring still has room', () => {
  const writer = new PuntRing(allocateFrameRing(PUNT_RING_SIZE));
  let octets = 0;
  while (writer.put(arena, 0, 400, PUNT_ADDRESS_SERVICE, 5, 0)) octets += 400;
  expect(octets).toBeGreaterThan(PUNT_RING_SIZE / 4);
  expect(octets).toBeLessThanOrEqual(PUNT_RING_SIZE / 2 + 400);
  expect(writer.put(arena, 0, 66, PUNT_BFD, 0, 3)).toBe(true);
});

test('each frame comes with its kind and the member it came in by', async () => {
  const memory = allocateFrameRing(PUNT_RING_SIZE);
  new PuntRing(memory).put(arena, 0, 60, PUNT_ADDRESS_SERVICE, 17, 0);
  const stop = new AbortController();
  const heard = await new Promise((resolve) => {
    void new PuntRing(memory).read(({ kind, member, tunnel }) => resolve({ kind, member, tunnel }), stop.signal);
  });
  stop.abort();
  expect(heard).toEqual({ kind: PUNT_ADDRESS_SERVICE, member: 17, tunnel: 0 });
});
