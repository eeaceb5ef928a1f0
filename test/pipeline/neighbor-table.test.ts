import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SharedTable } from '../../src/dataplane/shared-table.js';
import { NEIGHBOR_CONTEST_S } from '../../src/limits.js';
import { NeighborControl, type StaticNeighbor } from '../../src/pipeline/neighbor-control.js';
import {
  BUSY,
  CLAIMED,
  CONTESTED,
  NEIGHBOR_ROUTER,
  NEIGHBOR_TOLD,
  NeighborTable,
  neighborTableSize,
  REFUSED_FULL,
  REFUSED_STATIC,
} from '../../src/pipeline/neighbor-table.js';
import { NETWORK_LEARNS, NETWORK_SUPPRESSES_ARP } from '../../src/pipeline/snapshot.js';
import { MAPPED_WORD } from '../../src/wire/ipv6.js';

const NETWORK = 1;
const HIGH = 0x5254;
const AGE = 300;
const PORT = 3;
const OTHER_PORT = 4;
/** By network; the second one's bindings last longest. */
const ages = Int32Array.of(10, AGE, AGE);
const flags = new Int32Array(3).fill(NETWORK_SUPPRESSES_ARP | NETWORK_LEARNS);

interface Tables {
  readonly main: NeighborControl;
  readonly worker: NeighborTable;
}

function tables(capacity: number): Tables {
  const memory = new SharedArrayBuffer(neighborTableSize(capacity));
  const main = new NeighborControl(memory, { capacity, seed: [1, 2] });
  return { main, worker: new NeighborTable(memory, 1, { capacity }) };
}

interface Claim {
  readonly network?: number;
  readonly mac?: number;
  readonly flags?: number;
  readonly port?: number;
  readonly quota?: number;
  readonly now?: number;
}

/** Station number `address` claims that address, as the pipeline has it done; undefined: there was nothing to write. */
function hear({ worker }: Tables, address: number, claim: Claim = {}): number | undefined {
  const { network = NETWORK, mac = address, flags: said = 0, port = PORT, quota = 100, now = 1000 } = claim;
  worker.select(network, 0, 0, MAPPED_WORD, address);
  if (worker.isKnown(HIGH, mac, said, port, now, ages[network])) return undefined;
  return worker.claim(HIGH, mac, said, port, quota, now, ages);
}

/** The MAC the address would be answered with; undefined: nobody is vouched for. */
function answerFor({ worker }: Tables, address: number, now = 1000, network = NETWORK): number | undefined {
  worker.select(network, 0, 0, MAPPED_WORD, address);
  return worker.find(now, ages[network]) ? worker.foundLow : undefined;
}

function binding(address: number, mac = address, network = NETWORK): StaticNeighbor {
  return { network, address: Int32Array.of(0, 0, MAPPED_WORD, address), macHigh: HIGH, macLow: mac };
}

describe('a table of one entry', () => {
  test('knows nothing at first', () => {
    const both = tables(1);
    expect(answerFor(both, 7)).toBeUndefined();
    expect([...both.main.list(1000, ages)]).toEqual([]);
  });

  test('knows one binding, in its own network, until it was unheard for longer than its age', () => {
    const both = tables(1);
    expect(hear(both, 7)).toBe(CLAIMED);
    expect(answerFor(both, 7)).toBe(7);
    expect(answerFor(both, 8)).toBeUndefined();
    expect(answerFor(both, 7, 1000, 2)).toBeUndefined();
    expect(answerFor(both, 7, 1000 + AGE)).toBe(7);
    expect(answerFor(both, 7, 1001 + AGE)).toBeUndefined();
  });

  test('gives a second one of the same port the place of the first', () => {
    const both = tables(1);
    hear(both, 7);
    expect(hear(both, 8)).toBe(CLAIMED);
    expect([7, 8].map((address) => answerFor(both, address))).toEqual([undefined, 8]);
  });

  test('refuses a second one of another port while the first lives', () => {
    const both = tables(1);
    hear(both, 7);
    expect(hear(both, 8, { port: OTHER_PORT })).toBe(REFUSED_FULL);
    expect(answerFor(both, 7)).toBe(7);
    expect(hear(both, 8, { port: OTHER_PORT, now: 1001 + AGE })).toBe(CLAIMED);
  });
});

describe('limits', () => {
  test('a table is filled to its capacity, and one more takes the place of its own port only', () => {
    const both = tables(8);
    for (let address = 1; address <= 4; address++) expect(hear(both, address, { now: 1000 + address })).toBe(CLAIMED);
    for (let address = 5; address <= 8; address++) hear(both, address, { port: OTHER_PORT, now: 1000 + address });
    expect(both.main.used).toBe(8);
    expect(hear(both, 9, { port: OTHER_PORT, now: 1010 })).toBe(CLAIMED);
    expect(both.main.used).toBe(8);
    const known = Array.from({ length: 9 }, (_, index) => answerFor(both, index + 1, 1010));
    expect(known).toEqual([1, 2, 3, 4, undefined, 6, 7, 8, 9]);
  });

  test('what has expired gives way first, whosever it is', () => {
    const both = tables(2);
    hear(both, 1, { network: 0 });
    hear(both, 2, { port: OTHER_PORT, now: 1011 });
    expect(hear(both, 3, { port: OTHER_PORT, now: 1011 })).toBe(CLAIMED);
    expect([2, 3].map((address) => answerFor(both, address, 1011))).toEqual([2, 3]);
    expect(both.main.learnedByPort(PORT)).toBe(0);
  });

  test('a port that has its quota loses its longest unheard, and no other port anything', () => {
    const both = tables(16);
    hear(both, 1, { port: OTHER_PORT, now: 900 });
    for (let address = 2; address <= 4; address++) hear(both, address, { quota: 3, now: 1000 + address });
    expect(hear(both, 2, { quota: 3, now: 1010 })).toBeUndefined();
    expect(hear(both, 5, { quota: 3, now: 1011 })).toBe(CLAIMED);
    expect(both.main.learnedByPort(PORT)).toBe(3);
    expect([1, 2, 3, 4, 5].map((address) => answerFor(both, address, 1011))).toEqual([1, 2, undefined, 4, 5]);
  });

  test('a binding that comes to a port with its quota full counts there, in place of another', () => {
    const both = tables(16);
    hear(both, 1, { port: OTHER_PORT });
    for (let address = 2; address <= 4; address++) hear(both, address, { quota: 3, now: 1000 + address });
    expect(hear(both, 1, { quota: 3, now: 1010 })).toBe(CLAIMED);
    expect([both.main.learnedByPort(PORT), both.main.learnedByPort(OTHER_PORT)]).toEqual([3, 0]);
    expect([1, 2, 3, 4].map((address) => answerFor(both, address, 1010))).toEqual([1, undefined, 3, 4]);
  });

  test('whatever ports claim, none has more than its quota and the table never more than its capacity', () => {
    const step = fc.record({
      address: fc.integer({ min: 1, max: 12 }),
      mac: fc.integer({ min: 1, max: 3 }),
      port: fc.integer({ min: 0, max: 3 }),
      wait: fc.integer({ min: 0, max: 40 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const both = tables(8);
        both.main.settle([binding(1, 99)], flags);
        let now = 1000;
        for (const { address, mac, port, wait } of steps) {
          now += wait;
          hear(both, address, { mac, port, quota: 3, now });
          for (let each = 0; each < 4; each++) expect(both.main.learnedByPort(each)).toBeLessThanOrEqual(3);
          expect(both.main.used).toBeLessThanOrEqual(8);
          expect(answerFor(both, 1, now)).toBe(99);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('hearing again', () => {
  test('keeps a binding and writes nothing but the time', () => {
    const both = tables(4);
    hear(both, 7);
    expect(hear(both, 7, { now: 1200 })).toBeUndefined();
    expect(answerFor(both, 7, 1200 + AGE)).toBe(7);
  });

  test('whether the station is a router is as the last one that told', () => {
    const both = tables(4);
    hear(both, 7);
    expect(answerFor(both, 7)).toBe(7);
    expect(both.worker.foundFlags).toBe(0);
    expect(hear(both, 7, { flags: NEIGHBOR_TOLD | NEIGHBOR_ROUTER })).toBe(CLAIMED);
    expect(hear(both, 7, { flags: 0 })).toBeUndefined();
    expect(hear(both, 7, { flags: 0, port: OTHER_PORT })).toBe(CLAIMED);
    answerFor(both, 7);
    expect(both.worker.foundFlags).toBe(NEIGHBOR_TOLD | NEIGHBOR_ROUTER);
    hear(both, 7, { flags: NEIGHBOR_TOLD });
    answerFor(both, 7);
    expect(both.worker.foundFlags).toBe(NEIGHBOR_TOLD);
  });

  test('is put off while another thread writes', () => {
    const both = tables(4);
    vi.spyOn(SharedTable.prototype, 'tryLock').mockReturnValue(false);
    expect(hear(both, 7)).toBe(BUSY);
    vi.restoreAllMocks();
    expect(hear(both, 7)).toBe(CLAIMED);
  });
});

describe('an address that two MACs claim', () => {
  test('is answered with neither, until one of them was alone for long enough', () => {
    const both = tables(4);
    hear(both, 7);
    expect(hear(both, 7, { mac: 66, port: OTHER_PORT })).toBe(CONTESTED);
    expect(answerFor(both, 7)).toBeUndefined();
    expect([...both.main.list(1000, ages)]).toMatchObject([{ macLow: 66, isContested: true, port: OTHER_PORT }]);
    expect(hear(both, 7, { mac: 66, port: OTHER_PORT, now: 1000 + NEIGHBOR_CONTEST_S })).toBeUndefined();
    expect(answerFor(both, 7, 1000 + NEIGHBOR_CONTEST_S)).toBeUndefined();
    expect(hear(both, 7, { mac: 66, port: OTHER_PORT, now: 1001 + NEIGHBOR_CONTEST_S })).toBe(CLAIMED);
    expect(answerFor(both, 7, 1001 + NEIGHBOR_CONTEST_S)).toBe(66);
  });

  test('stays unanswered while its owner objects', () => {
    const both = tables(4);
    hear(both, 7);
    for (let now = 1001; now < 1200; now += 20) {
      expect(hear(both, 7, { mac: 66, port: OTHER_PORT, now })).toBe(CONTESTED);
      expect(hear(both, 7, { now: now + 10 })).toBe(CONTESTED);
      expect(answerFor(both, 7, now + 10)).toBeUndefined();
    }
  });

  test('is answered with the newcomer at once when the other one has expired', () => {
    const both = tables(4);
    hear(both, 7);
    expect(hear(both, 7, { mac: 66, port: OTHER_PORT, now: 1001 + AGE })).toBe(CLAIMED);
    expect(answerFor(both, 7, 1001 + AGE)).toBe(66);
  });
});

describe('static bindings', () => {
  test('are never overridden and never age', () => {
    const both = tables(4);
    expect(both.main.settle([binding(7)], flags)).toBe(0);
    expect(hear(both, 7, { mac: 66 })).toBeUndefined();
    both.worker.select(NETWORK, 0, 0, MAPPED_WORD, 7);
    expect(both.worker.claim(HIGH, 66, 0, PORT, 100, 1000, ages)).toBe(REFUSED_STATIC);
    expect(answerFor(both, 7, 2_000_000_000)).toBe(7);
    expect(both.main.sweep(2_000_000_000, ages, 100)).toBe(0);
    expect(both.main.learnedByPort(PORT)).toBe(0);
  });

  test('learn from their own station whether it is a router', () => {
    const both = tables(4);
    both.main.settle([binding(7)], flags);
    expect(hear(both, 7, { flags: NEIGHBOR_TOLD | NEIGHBOR_ROUTER })).toBe(CLAIMED);
    expect([...both.main.list(1000, ages)]).toMatchObject([{ isStatic: true, isRouter: true, port: -1, macLow: 7 }]);
    expect(hear(both, 7, { mac: 66, flags: NEIGHBOR_TOLD })).toBeUndefined();
    expect(answerFor(both, 7, 2_000_000_000)).toBe(7);
  });

  test('replace what was learned, and make room in a full table at the cost of the port that holds most', () => {
    const both = tables(4);
    hear(both, 1, { port: OTHER_PORT });
    hear(both, 2, { port: OTHER_PORT, mac: 66 });
    hear(both, 3, { now: 1001 });
    hear(both, 5, { now: 1002 });
    expect(both.main.settle([binding(2), binding(4)], flags)).toBe(0);
    expect([1, 2, 4].map((address) => answerFor(both, address))).toEqual([1, 2, 4]);
    expect([3, 5].map((address) => answerFor(both, address, 1002))).toEqual([undefined, 5]);
    expect(both.main.used).toBe(4);
  });

  test('that find no room are counted', () => {
    const both = tables(2);
    expect(both.main.settle([binding(1), binding(2), binding(3)], flags)).toBe(1);
    expect(hear(both, 9)).toBe(REFUSED_FULL);
  });

  test('are what the last call says: others go, those that stay are not touched', () => {
    const both = tables(4);
    both.main.settle([binding(1), binding(2)], flags);
    hear(both, 2, { flags: NEIGHBOR_TOLD | NEIGHBOR_ROUTER });
    both.main.settle([binding(2), binding(3)], flags);
    expect([1, 2, 3].map((address) => answerFor(both, address))).toEqual([undefined, 2, 3]);
    answerFor(both, 2);
    expect(both.worker.foundFlags & NEIGHBOR_ROUTER).not.toBe(0);
    both.main.settle([binding(2, 66)], flags);
    expect([2, 3].map((address) => answerFor(both, address))).toEqual([66, undefined]);
  });
});

describe('the main thread', () => {
  test('forgets networks that suppress nothing any more', () => {
    const both = tables(4);
    hear(both, 7);
    hear(both, 7, { network: 2 });
    both.main.settle([], Int32Array.of(0, NETWORK_LEARNS, NETWORK_SUPPRESSES_ARP));
    expect([1, 2].map((network) => answerFor(both, 7, 1000, network))).toEqual([undefined, 7]);
    both.main.settle([], new Int32Array(1));
    expect(both.main.used).toBe(0);
  });

  test('flushes what one port taught', () => {
    const both = tables(1000);
    for (let address = 0; address < 600; address++) hear(both, address, { quota: 1000 });
    hear(both, 1000, { port: OTHER_PORT });
    expect(both.main.flushPort(PORT)).toBe(600);
    expect(both.main.used).toBe(1);
    expect(answerFor(both, 1000)).toBe(1000);
  });

  test('sweeps what has expired', () => {
    const both = tables(8);
    hear(both, 1, { network: 0 });
    hear(both, 2);
    expect(both.main.sweep(1010, ages, 100)).toBe(0);
    expect(both.main.sweep(1011, ages, 100)).toBe(1);
    expect(both.main.sweep(1001 + AGE, ages, 100)).toBe(1);
    expect(both.main.used).toBe(0);
  });

  test('lists bindings with where they came from, without expired ones', () => {
    const both = tables(8);
    hear(both, 1, { network: 0 });
    hear(both, 2, { now: 1005 });
    expect([...both.main.list(1011, ages)]).toEqual([
      { ...binding(2), port: PORT, isStatic: false, isContested: false, isRouter: false, ageSeconds: 6 },
    ]);
    expect([...both.main.list(1005, ages, 0)]).toMatchObject([{ network: 0, ageSeconds: 5 }]);
  });

  test('copies the table, and what happens to the copy stays there', () => {
    const both = tables(4);
    hear(both, 1);
    const copy = both.main.copy();
    const other = { main: copy, worker: copy };
    expect(answerFor(other, 1)).toBe(1);
    hear(other, 2);
    expect([answerFor(other, 2), answerFor(both, 2)]).toEqual([2, undefined]);
  });
});

describe('a worker that dies while it learns', () => {
  afterEach(() => vi.restoreAllMocks());

  class Death extends Error {}

  /** Lets the thread die instead of making store number `at`. */
  function dieAtStore(at: number): void {
    let stores = 0;
    vi.spyOn(SharedTable.prototype, 'write').mockImplementation((words, position, value) => {
      if (stores++ === at) throw new Death();
      Atomics.store(words, position, value);
    });
  }

  const writes: Record<string, (both: Tables) => void> = {
    'a new binding': (both) => hear(both, 5, { now: 1010 }),
    'a claim of another MAC': (both) => hear(both, 1, { mac: 66, port: OTHER_PORT, now: 1010 }),
    'one more than the quota': (both) => hear(both, 5, { quota: 2, now: 1010 }),
    'in place of an expired one': (both) => hear(both, 1, { mac: 66, now: 1002 + AGE }),
  };

  test.each(Object.entries(writes))('leaves a table that can be repaired: %s', (_, write) => {
    let died = true;
    let stores = 0;
    for (; died; stores++) {
      const both = tables(4);
      both.main.settle([binding(9)], flags);
      hear(both, 1);
      hear(both, 2, { now: 1001 });
      dieAtStore(stores);
      try {
        write(both);
        died = false;
      } catch (error) {
        expect(error).toBeInstanceOf(Death);
      }
      vi.restoreAllMocks();
      expect(both.main.breakLock(0)).toBe(died);
      expect(answerFor(both, 9)).toBe(9);
      expect([1, 66, undefined]).toContain(answerFor(both, 1, 1010));
      expect([...both.main.list(1010, ages)]).toHaveLength(both.main.used);
      expect(hear(both, 3, { now: 1003 + AGE })).toBe(CLAIMED);
    }
    expect(stores).toBeGreaterThan(5);
  });
});
