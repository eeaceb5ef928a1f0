import { afterEach, describe, expect, it, vi } from 'vitest';
import { SharedTable } from '../../src/dataplane/shared-table.js';
import { BUSY, fdbSize, LEARNED } from '../../src/pipeline/fdb.js';
import { FdbControl } from '../../src/pipeline/fdb-control.js';
import { testPolicy, whereIs, workerFdb } from './fdb-fixture.js';

const HIGH = 0x0200;
const NETWORK = 1;
const CAPACITY = 6;
const WORKER = 0;

class Death extends Error {}

/** Lets the thread die instead of making store number `at`. */
function dieAtStore(at: number): void {
  let stores = 0;
  vi.spyOn(SharedTable.prototype, 'write').mockImplementation((words, position, value) => {
    if (stores++ === at) throw new Death();
    Atomics.store(words, position, value);
  });
}

afterEach(() => vi.restoreAllMocks());

/** Four stations behind members 1 (three) and 2 (one), after enough coming and going that free lists are in use. */
function populated() {
  const memory = new SharedArrayBuffer(fdbSize(CAPACITY));
  const main = new FdbControl(memory, { capacity: CAPACITY });
  const policy = testPolicy();
  for (let station = 10; station < 16; station++) main.learn(NETWORK, HIGH, station, 1, 100, policy);
  main.flush();
  for (let station = 0; station < 3; station++) main.learn(NETWORK, HIGH, station, 1, 100 + station, policy);
  main.learn(NETWORK, HIGH, 3, 2, 103, policy);
  return { main, worker: workerFdb(memory, CAPACITY, WORKER), policy };
}

type Populated = ReturnType<typeof populated>;

const changes: Record<string, (it: Populated) => void> = {
  'learns a station': ({ worker, policy }) => worker.learn(NETWORK, HIGH, 4, 2, 110, policy),
  'learns the first station of a member': ({ worker, policy }) => worker.learn(NETWORK, HIGH, 4, 3, 110, policy),
  'moves a station': ({ worker, policy }) => worker.learn(NETWORK, HIGH, 3, 1, 110, policy),
  'makes room for a station': ({ worker, policy }) => {
    policy.networkMacLimit[NETWORK] = 4;
    worker.learn(NETWORK, HIGH, 4, 2, 110, policy);
  },
  'moves a station away and back': ({ worker, policy }) => {
    worker.learn(NETWORK, HIGH, 3, 1, 110, policy);
    worker.learn(NETWORK, HIGH, 3, 2, 110, policy);
  },
  'makes room by an expired station of another member': ({ worker, policy }) => {
    policy.networkMacLimit[NETWORK] = 4;
    worker.learn(NETWORK, HIGH, 4, 2, 401, policy);
  },
  'replaces an expired station': ({ worker, policy }) => worker.learn(NETWORK, HIGH, 0, 2, 1000, policy),
  sweeps: ({ worker, policy }) => worker.sweep(402, policy.networkMacAge, 100),
};

/** Everything that may be true of station 0..4 whatever the death interrupted: where it was, where it goes, or unknown. */
function checkStations(fdb: FdbControl, now: number): void {
  const where = [0, 1, 2, 3, 4].map((mac) => whereIs(fdb, NETWORK, mac, now, 10_000));
  expect([1, 2, -1]).toContain(where[0]);
  expect([1, -1]).toContain(where[1]);
  expect([1, -1]).toContain(where[2]);
  expect([2, 1, -1]).toContain(where[3]);
  expect([2, 3, -1]).toContain(where[4]);
  expect(where.filter((member) => member === -1).length).toBeLessThanOrEqual(3);
}

/** Counts agree with the list, and the whole capacity can still be used, and given back. */
function checkSound(fdb: FdbControl): void {
  const policy = testPolicy();
  const ages = new Int32Array(64).fill(0x7fffffff);
  const listed = [...fdb.list(2000, ages)];
  expect(fdb.counts().entries).toBe(listed.length);
  expect(fdb.learnedInNetwork(NETWORK)).toBe(listed.length);
  for (const member of [1, 2, 3]) {
    const count = listed.filter((entry) => entry.member === member).length;
    expect([fdb.learnedByMember(member), fdb.learnedByPort(member)]).toEqual([count, count]);
  }
  for (let station = 50; station < 50 + CAPACITY * 3; station++)
    expect(fdb.learn(NETWORK, HIGH, station, 5, 2000, policy)).toBe(LEARNED);
  expect(fdb.counts().entries).toBe(CAPACITY);
  expect(fdb.flush()).toBe(CAPACITY);
  for (let station = 80; station < 80 + CAPACITY; station++) fdb.learn(NETWORK, HIGH, station, 6, 2000, policy);
  expect(fdb.learnedByMember(6)).toBe(CAPACITY);
}

describe.each(Object.keys(changes))('a worker that %s', (name) => {
  it('may die before any of its stores: the FDB is repaired, no station is somewhere it never was, nothing is lost for good', () => {
    let deaths = 0;
    for (let store = 0; ; store++) {
      const state = populated();
      dieAtStore(store);
      let died = false;
      try {
        changes[name]!(state);
      } catch (error) {
        if (!(error instanceof Death)) throw error;
        died = true;
      }
      vi.restoreAllMocks();
      if (!died) break;
      deaths++;
      checkStations(state.main, 110);
      expect(state.main.learn(NETWORK, HIGH, 99, 2, 110, state.policy)).toBe(BUSY);
      expect(state.main.breakLock(WORKER + 1)).toBe(false);
      expect(state.main.breakLock(WORKER)).toBe(true);
      checkStations(state.main, 110);
      checkSound(state.main);
    }
    expect(deaths).toBeGreaterThan(10);
  });

  it('may die together with the daemon: recovery at the next start does the same', () => {
    for (let store = 0; store < 8; store++) {
      const state = populated();
      dieAtStore(store * 3);
      try {
        changes[name]!(state);
      } catch (error) {
        if (!(error instanceof Death)) throw error;
      }
      vi.restoreAllMocks();
      state.main.recover();
      checkStations(state.main, 110);
      checkSound(state.main);
    }
  });
});
