/** An engine that can't be made leaves nothing behind: each step of making it is failed in turn. */
import { readdirSync, readFileSync } from 'node:fs';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { Counters } from '../../src/dataplane/counters.js';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { PollEngine } from '../../src/dataplane/io-poll.js';
import { UringEngine } from '../../src/dataplane/io-uring.js';

/** Calls of each function until the one that fails; a function that is not here works. */
const fuse = vi.hoisted(() => ({ left: new Map<string, number>() }));

vi.mock(import('../../src/dataplane/native.js'), async (original) => {
  const real = await original();
  const fails = (name: string): boolean => {
    const left = fuse.left.get(name);
    if (left === undefined) return false;
    fuse.left.set(name, left - 1);
    return left === 0;
  };
  return {
    ...real,
    map: (...words: Parameters<typeof real.map>) => {
      if (fails('map')) throw real.failure('mmap', 12);
      return real.map(...words);
    },
    eventfd: () => (fails('eventfd') ? -1 : real.eventfd()),
    ioUringRegister: (...words: Parameters<typeof real.ioUringRegister>) =>
      fails(`register ${words[1]}`) ? -1 : real.ioUringRegister(...words),
  };
});

const REGISTER_PROBE = 8;
const REGISTER_FILES2 = 13;
const report = { sent: () => undefined };
let pool: FramePool;

beforeEach(() => {
  pool = new FramePool(8);
});

/** Open descriptors, and octets of what engines map: rings and shared anonymous memory. */
function held(): { descriptors: number; rings: number } {
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    rings: maps.filter((line) => /anon_inode:\[io_uring\]|\/dev\/zero/.test(line)).length,
  };
}

/** Makes the engine fail there, after everything was made once, so that what is loaded lazily is loaded. */
function failAt(Engine: typeof UringEngine | typeof PollEngine, name: string, calls: number): void {
  const make = () => new Engine(pool, report, new Counters(), () => undefined);
  make().close();
  const before = held();
  fuse.left.set(name, calls);
  expect(make).toThrow();
  fuse.left.clear();
  expect(held()).toEqual(before);
  const engine = make();
  expect(held().rings, 'what is counted here is what engines map').toBeGreaterThan(before.rings);
  engine.close();
  expect(held()).toEqual(before);
}

describe('the io_uring engine that fails', () => {
  test.each([0, 1, 2, 3])('at mapping %i leaves no descriptor and no mapping', (calls) => {
    failAt(UringEngine, 'map', calls);
  });

  test('for want of a kernel feature leaves nothing', () => failAt(UringEngine, `register ${REGISTER_PROBE}`, 0));

  test('at its eventfd leaves nothing', () => failAt(UringEngine, 'eventfd', 0));

  test('to register descriptors, however few, leaves nothing', () => {
    const before = held();
    // Every size that is tried is refused.
    const refuse = vi
      .spyOn(fuse.left, 'get')
      .mockImplementation((name) => (name === `register ${REGISTER_FILES2}` ? 0 : undefined));
    expect(() => new UringEngine(pool, report, new Counters(), () => undefined)).toThrow('registering descriptors');
    refuse.mockRestore();
    fuse.left.clear();
    expect(held()).toEqual(before);
  });
});

describe('the poll engine that fails', () => {
  test('at its mapping leaves nothing', () => failAt(PollEngine, 'map', 0));

  test('at its eventfd leaves nothing', () => failAt(PollEngine, 'eventfd', 0));
});
