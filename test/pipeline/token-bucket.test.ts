import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SHARED_METADATA, SHARED_NAMES, TOKEN_BUCKETS_SIZE, TokenBuckets } from '../../src/pipeline/token-bucket.js';

const make = () => new TokenBuckets(new SharedArrayBuffer(TOKEN_BUCKETS_SIZE));

/** How many of `tries` frames a bucket lets pass at once. */
function passed(buckets: TokenBuckets, bucket: number, rate: number, nowMs: number, tries: number): number {
  let count = 0;
  for (let index = 0; index < tries; index++) if (buckets.take(bucket, rate, nowMs)) count++;
  return count;
}

/** The same in exact arithmetic: thousandths of a frame. */
class Reference {
  private level: bigint;
  private last: bigint;
  private readonly rate: bigint;
  private readonly most: bigint;

  constructor(rate: number, nowMs: number) {
    this.rate = BigInt(rate);
    this.most = this.rate * 100n > 1000n ? this.rate * 100n : 1000n;
    this.level = this.most;
    this.last = BigInt(nowMs);
  }

  take(nowMs: number): boolean {
    this.level += this.rate * (BigInt(nowMs) - this.last);
    if (this.level > this.most) this.level = this.most;
    this.last = BigInt(nowMs);
    if (this.level < 1000n) return false;
    this.level -= 1000n;
    return true;
  }
}

describe('a token bucket', () => {
  it('starts full, with 100 ms of its rate', () => {
    expect(passed(make(), 5, 2000, 0, 1000)).toBe(200);
    expect(passed(make(), 5, 2000, 123_456_789, 1000)).toBe(200);
  });

  it('holds at least one frame, and gets it back in its own time', () => {
    const buckets = make();
    expect(passed(buckets, 0, 1, 5000, 10)).toBe(1);
    expect(passed(buckets, 0, 1, 5999, 10)).toBe(0);
    expect(passed(buckets, 0, 1, 6000, 10)).toBe(1);
  });

  it('is one of many that know nothing of each other', () => {
    const buckets = make();
    passed(buckets, 7, 100, 50, 100);
    expect(passed(buckets, 6, 100, 50, 100)).toBe(10);
    expect(passed(buckets, 8, 100, 50, 100)).toBe(10);
  });

  it('gives the same verdicts as exact arithmetic', () => {
    const step = fc.integer({ min: 0, max: 400 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60_000 }), fc.array(step, { maxLength: 300 }), (rate, steps) => {
        const buckets = make();
        const reference = new Reference(rate, 1000);
        let now = 1000;
        for (const [index, ms] of steps.entries()) {
          if (index % 3 === 0) now += ms;
          expect(buckets.take(3, rate, now + 0.9)).toBe(reference.take(now));
        }
      }),
      { numRuns: 200 },
    );
  });

  it('lets exactly its rate pass in the long run', () => {
    const buckets = make();
    let count = 0;
    for (let ms = 0; ms < 100_000; ms++) count += passed(buckets, 0, 333, ms, 2);
    expect(count).toBe(33 + Math.floor((333 * 99_999 + 300) / 1000));
  });

  it.each([1, 999, 5_368_709, 21_474_837, 0x7fffffff])('does not overflow at %i frames a second', (rate) => {
    const buckets = make();
    for (const now of [0, 1, 2, 50, 1000, 1_000_000])
      expect(passed(buckets, 0, rate, now, 1)).toBe(rate === 1 && now > 0 && now < 1000 ? 0 : 1);
    expect(passed(buckets, 0, rate, 2_000_000, 3)).toBe(rate === 1 ? 1 : 3);
  });

  it('goes on when the millisecond no longer fits 32 bits, and after a month without a frame', () => {
    const buckets = make();
    const start = 2 ** 31 - 2;
    expect(passed(buckets, 0, 1000, start, 200)).toBe(100);
    expect(passed(buckets, 0, 1000, start + 10, 200)).toBe(10);
    expect(passed(buckets, 0, 1000, start + 10 + 30 * 86_400_000, 200)).toBe(100);
  });

  it('is not filled twice by a worker whose clock was read a little earlier', () => {
    const buckets = make();
    passed(buckets, 0, 1000, 5000, 200);
    expect(passed(buckets, 0, 1000, 5010, 200)).toBe(10);
    expect(passed(buckets, 0, 1000, 5005, 200)).toBe(0);
    expect(passed(buckets, 0, 1000, 5010, 200)).toBe(0);
  });
});

describe('what all ports share', () => {
  const TOTAL = 1000;

  /** Frames that each port got, of as many as it tried in each of so many milliseconds. */
  function drawn(buckets: TokenBuckets, ports: readonly number[], fromMs: number, forMs: number, tries = 1): number[] {
    const counts = ports.map(() => 0);
    for (let ms = fromMs; ms < fromMs + forMs; ms++)
      for (let turn = 0; turn < tries; turn++)
        for (const [index, port] of ports.entries())
          if (buckets.takeShared(SHARED_METADATA, port, TOTAL, ms)) counts[index] = (counts[index] ?? 0) + 1;
    return counts;
  }

  const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);

  it('is no bound for one port that stays below it', () => {
    expect(drawn(make(), [7], 0, 5000)).toEqual([5000]);
  });

  it('is the same part for each of those who want more, and never more than the total', () => {
    const buckets = make();
    const ports = Array.from({ length: 50 }, (_, index) => index);
    drawn(buckets, ports, 0, 1000);
    const counts = drawn(buckets, ports, 1000, 10_000);
    // Who comes first has the half that is everybody's; of the other one each has its fiftieth, whatever the first one has.
    for (const count of counts.slice(10)) expect(count).toBeGreaterThanOrEqual(99);
    expect(sum(counts)).toBeLessThanOrEqual(10 * TOTAL + 100);
    expect(sum(counts)).toBeGreaterThan(9.9 * TOTAL);
  });

  it('is there for one that asks seldom, however many flood', () => {
    const buckets = make();
    const ports = Array.from({ length: 100 }, (_, index) => index);
    drawn(buckets, ports, 0, 1000);
    for (let ms = 1000; ms < 5000; ms += 250) {
      drawn(buckets, ports, ms, 249);
      expect(buckets.takeShared(SHARED_METADATA, 4095, TOTAL, ms + 249)).toBe(true);
    }
  });

  it('is one port’s again some seconds after the others went, and of each kind apart', () => {
    const buckets = make();
    drawn(buckets, [...Array(100).keys()], 0, 2000);
    expect(buckets.takeShared(SHARED_NAMES, 3, TOTAL, 2000)).toBe(true);
    drawn(buckets, [3], 2000, 10_000);
    expect(sum(drawn(buckets, [3], 12_000, 1000))).toBe(1000);
  });

  it('goes on when the millisecond no longer fits 32 bits', () => {
    const buckets = make();
    const start = 2 ** 31 - 3000;
    const ports = [1, 2, 3, 4, 5];
    drawn(buckets, ports, start, 2000);
    const counts = drawn(buckets, ports, start + 2000, 4000);
    expect(sum(counts)).toBeGreaterThan(3.9 * TOTAL);
    expect(sum(counts)).toBeLessThanOrEqual(4 * TOTAL + 100);
  });
});
