import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allocateFrameRing, FrameRing } from '../../src/dataplane/frame-ring.js';
import { FRAME_SIZE_MAX } from '../../src/limits.js';

const SIZE = 256 * 1024;

interface Frame {
  readonly octets: Uint8Array;
  readonly meta: readonly [number, number, number, number, number];
}

function frameOf(size: number, seed: number): Frame {
  const octets = new Uint8Array(size);
  for (let index = 0; index < size; index++) octets[index] = index * 3 + seed;
  return { octets, meta: [seed & 1, seed, seed & 3, 16, seed + 1] };
}

function put(ring: FrameRing, frame: Frame): boolean {
  // Not at the start of its memory, so that positions can't be confused.
  const source = new Uint8Array(frame.octets.length + 5).fill(0xa5);
  source.set(frame.octets, 5);
  return ring.put(source, 5, frame.octets.length, ...frame.meta);
}

function take(ring: FrameRing): Frame | undefined {
  if (!ring.next()) return undefined;
  const octets = new Uint8Array(ring.length);
  ring.copyTo(octets, 0);
  const meta = [ring.gsoType, ring.gsoSize, ring.checksumStart, ring.checksumOffset, ring.headersEnd] as const;
  ring.advance();
  return { octets, meta };
}

const same = (one: Frame | undefined, other: Frame | undefined) =>
  one !== undefined &&
  other !== undefined &&
  Buffer.compare(one.octets, other.octets) === 0 &&
  JSON.stringify(one.meta) === JSON.stringify(other.meta);

describe('a frame ring', () => {
  test('is a queue: any order of putting and taking gives the frames back in order, and refuses only when full', () => {
    const step = fc.oneof(
      fc.record({ put: fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: FRAME_SIZE_MAX })) }),
      fc.record({ take: fc.integer({ min: 1, max: 10 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const memory = allocateFrameRing(SIZE);
        const producer = new FrameRing(memory);
        const consumer = new FrameRing(memory);
        const model: Frame[] = [];
        let octets = 0;
        for (const [index, one] of steps.entries()) {
          if ('put' in one) {
            const frame = frameOf(one.put, index);
            const taken = put(producer, frame);
            if (taken) model.push(frame);
            // With this little in it there is room, wherever in the ring it lies.
            else expect(octets).toBeGreaterThan(SIZE - 2 * (FRAME_SIZE_MAX + 24));
            if (taken) octets += one.put + 32;
          } else {
            for (let count = 0; count < one.take; count++) {
              const expected = model.shift();
              const frame = take(consumer);
              if (expected === undefined) expect(frame).toBeUndefined();
              else expect(same(frame, expected)).toBe(true);
              if (expected !== undefined) octets -= expected.octets.length + 32;
            }
          }
        }
        for (const expected of model) expect(same(take(consumer), expected)).toBe(true);
        expect(take(consumer)).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  });

  test('goes on working when its counters pass 2^31 and 2^32', () => {
    const memory = allocateFrameRing(SIZE);
    const words = new Int32Array(memory);
    for (const start of [0x7fff_0000, -0x1_0000]) {
      words[0] = start;
      words[16] = start;
      const ring = new FrameRing(memory);
      for (let index = 0; index < 40; index++) {
        const frame = frameOf(9000, index);
        expect(put(ring, frame)).toBe(true);
        expect(same(take(ring), frame)).toBe(true);
      }
    }
  });

  test('refuses a frame longer than a slot, and a size that is no power of two or too small', () => {
    const ring = new FrameRing(allocateFrameRing(SIZE));
    expect(ring.put(new Uint8Array(FRAME_SIZE_MAX + 1), 0, FRAME_SIZE_MAX + 1, 0, 0, 0, 0, 0)).toBe(false);
    expect(() => allocateFrameRing(200_000)).toThrow(RangeError);
    expect(() => allocateFrameRing(65_536)).toThrow(RangeError);
  });

  test('a consumer does not sleep over a frame, and is told of once a sleep', () => {
    const memory = allocateFrameRing(SIZE);
    const [producer, consumer] = [new FrameRing(memory), new FrameRing(memory)];
    expect(producer.takeSleeper(), 'nobody sleeps').toBe(false);
    expect(consumer.sleep()).toBe(true);
    put(producer, frameOf(60, 1));
    expect(producer.takeSleeper()).toBe(true);
    expect(producer.takeSleeper()).toBe(false);
    expect(consumer.sleep(), 'a frame is there').toBe(false);
    expect(producer.takeSleeper()).toBe(false);
  });

  test('a waiting consumer is woken by another thread', async () => {
    const memory = allocateFrameRing(SIZE);
    const ring = new FrameRing(memory);
    // The other thread does what wakeWaiter does; workers can't load TypeScript.
    const waker = new Worker(
      `const { workerData } = require('node:worker_threads');
       setTimeout(() => { const words = new Int32Array(workerData); Atomics.store(words, 32, 0); Atomics.notify(words, 32); }, 50);`,
      { eval: true, workerData: memory },
    );
    const started = performance.now();
    await ring.wait(20_000);
    expect(performance.now() - started).toBeLessThan(10_000);
    await waker.terminate();
  });
});
