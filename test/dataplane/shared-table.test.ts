import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { NEVER_AGES, SharedTable, sharedTableSize, type TableShape } from '../../src/dataplane/shared-table.js';
import { findBatch } from './batch-lookup.js';

const OWNER = 1;

function make(shape: Partial<TableShape> = {}) {
  const whole = { capacity: 16, keyWords: 2, valueWords: 2, groupCount: 4, ...shape };
  const memory = new SharedArrayBuffer(sharedTableSize(whole));
  return { table: new SharedTable(memory, 0, whole, [5, 6]), memory, shape: whole };
}

function insert(table: SharedTable, key: number[], value: number[], group = 0, lastSeen = 0): number {
  const words = Int32Array.from(key);
  return table.insert(table.hash.words32(words, 0, key.length), words, Int32Array.from(value), group, lastSeen);
}

function find(table: SharedTable, key: number[]): number {
  const words = Int32Array.from([0x5a5a, ...key]);
  return table.find(table.hash.words32(words, 1, key.length), words, 1);
}

/** The group's entries from the one not seen for longest, found by taking them away. */
function drained(table: SharedTable, group: number): number[] {
  const order: number[] = [];
  for (let entry = table.oldestOf(group); entry !== -1; entry = table.oldestOf(group)) {
    order.push(entry);
    table.remove(entry);
  }
  return order;
}

describe('the shared table', () => {
  it.each([2, 3, 10, 12])('finds keys of %i words by every word of them', (keyWords) => {
    const { table } = make({ keyWords, valueWords: 3 });
    const key = Array.from({ length: keyWords }, (_, word) => word - 1);
    const entry = insert(table, key, [7, -8, 9]);
    expect(find(table, key)).toBe(entry);
    expect([...table.found]).toEqual([7, -8, 9]);
    for (let word = 0; word < keyWords; word++) expect(find(table, key.with(word, 77))).toBe(-1);
  });

  it('does what a Map does, at any capacity, over inserts, changes and removals', () => {
    const step = fc.record({
      kind: fc.constantFrom('insert', 'insert', 'change', 'remove', 'rebuild'),
      key: fc.integer({ min: -3, max: 30 }),
      value: fc.integer(),
      group: fc.integer({ min: 0, max: 3 }),
    });
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 3, 5, 40), fc.array(step, { maxLength: 120 }), (capacity, steps) => {
        const { table } = make({ capacity });
        const model = new Map<number, { value: number; group: number }>();
        for (const { kind, key, value, group } of steps) {
          const entry = find(table, [key, 0]);
          expect(entry !== -1).toBe(model.has(key));
          if (kind === 'rebuild') {
            table.recover(OWNER);
            table.unlock(OWNER);
          } else if (entry === -1) {
            const isFull = model.size === capacity;
            expect(table.full).toBe(isFull);
            expect(insert(table, [key, 0], [value, key], group) !== -1).toBe(!isFull);
            if (!isFull) model.set(key, { value, group });
          } else if (kind === 'remove') {
            table.remove(entry);
            model.delete(key);
          } else {
            table.change(entry, Int32Array.of(value, key), group, 3);
            model.set(key, { value, group });
          }
          expect(table.used).toBe(model.size);
        }
        for (const [key, { value, group }] of model) {
          const entry = find(table, [key, 0]);
          expect([table.found[0], table.found[1], table.groupOf(entry)]).toEqual([value, key, group]);
        }
        for (let group = 0; group < 4; group++)
          expect(table.groupCount(group)).toBe([...model.values()].filter((entry) => entry.group === group).length);
      }),
      { numRuns: 150 },
    );
  });

  it('finds a batch of keys as it finds them one by one', () => {
    const { table } = make({ capacity: 300 });
    for (let key = 0; key < 300; key++) insert(table, [key, -key], [key * 3, 0], 0, key);
    const keys = Array.from({ length: 400 }, (_, key) => [key, -key] as const);
    findBatch(table, keys).forEach(({ entry, value }, key) => {
      expect(entry).toBe(find(table, [key, -key]));
      if (entry !== -1) expect(value).toBe(key * 3);
    });
  });

  it.each(['is being changed', 'was changed during the search'])('misses an entry that %s', (what) => {
    const { table } = make();
    const entry = insert(table, [1, 2], [3, 4]);
    const inside = table as unknown as { hot: Int32Array; hotAgain: Int32Array };
    const changed = inside.hot.slice();
    changed[entry * 8]! += 1;
    if (what === 'is being changed') inside.hot = changed;
    inside.hotAgain = changed;
    expect([findBatch(table, [[1, 2]])[0].entry, find(table, [1, 2])]).toEqual([-1, -1]);
  });

  it('gives the entries of a group by when they were seen last, whatever the order they came in', () => {
    const seen = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(
        seen,
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 20, max: 40 })), { maxLength: 60 }),
        (times, refreshes) => {
          const { table } = make({ capacity: 40 });
          times.sort((a, b) => a - b);
          const entries = times.map((time, key) => insert(table, [key, 0], [0, 0], 1, time));
          refreshes.sort((a, b) => a[1] - b[1]);
          for (const [which, time] of refreshes) {
            table.refresh(entries[which % entries.length]!, time);
            if (which % 3 === 0) table.oldestOf(1);
          }
          const order = drained(table, 1).map((entry) => table.lastSeen(entry));
          expect(order).toEqual([...order].sort((a, b) => a - b));
          expect(order.length).toBe(times.length);
        },
      ),
    );
  });

  it('finds the oldest of a large group in bounded steps after all of it was seen again', () => {
    const { table } = make({ capacity: 5000 });
    for (let key = 0; key < 5000; key++) insert(table, [key, 0], [0, 0], 1, 10);
    for (let key = 1; key < 5000; key++) table.refresh(find(table, [key, 0]), 20);
    const write = table.write.bind(table);
    let stores = 0;
    table.write = (words, at, value) => {
      stores++;
      write(words, at, value);
    };
    expect(table.oldestOf(1)).toBe(find(table, [0, 0]));
    expect(stores).toBeLessThan(64 * 10);
  });

  it('sweeps what expired, a budget at a time, and never what does not age', () => {
    const { table } = make({ capacity: 100 });
    for (let key = 0; key < 100; key++) insert(table, [(key % 2) << 16, key], [0, 0], 0, key === 7 ? NEVER_AGES : key);
    const ages = Int32Array.of(10, 20);
    const expired: number[] = [];
    let calls = 0;
    for (let left = 100; left > 0; calls++) {
      const entry = table.nextExpired(50, ages, 16, Math.min(left, 9));
      left -= table.swept;
      expect(table.swept).toBeLessThanOrEqual(9);
      if (entry !== -1) expired.push(table.keyWord(entry, 1));
    }
    const wanted = Array.from({ length: 50 }, (_, key) => key).filter(
      (key) => key !== 7 && 50 - key > (key % 2 === 1 ? 20 : 10),
    );
    expect(expired.sort((a, b) => a - b)).toEqual(wanted);
    expect(calls).toBeGreaterThan(11);
  });

  it('refuses memory of another shape, and takes up a table that is there', () => {
    const { table, memory, shape } = make();
    const entry = insert(table, [1, 2], [3, 4]);
    const second = new SharedTable(memory, 0, shape);
    expect(second.findPair(second.hash.pair(1, 2), 1, 2)).toBe(entry);
    expect(() => new SharedTable(memory, 0, { ...shape, valueWords: 1 })).toThrow(/another shape/);
    for (const capacity of [0, 4_194_304])
      expect(() => new SharedTable(new ArrayBuffer(0), 0, { ...shape, capacity })).toThrow(/impossible capacity/);
  });

  it('takes its seed from the operating system', () => {
    const { shape } = make();
    const hashes = Array.from({ length: 4 }, () =>
      new SharedTable(new ArrayBuffer(sharedTableSize(shape)), 0, shape).hash.pair(1, 2),
    );
    expect(new Set(hashes).size).toBe(4);
  });

  it('gives the lock to one at a time, and only its holder can let it go', () => {
    const { table } = make();
    expect([table.tryLock(1), table.tryLock(2), table.lockOwner]).toEqual([true, false, 1]);
    table.unlock(2);
    expect(table.tryLock(2)).toBe(false);
    expect(table.breakLock(2, 9)).toBe(false);
    expect(table.breakLock(1, 9)).toBe(true);
    expect(table.lockOwner).toBe(9);
    table.unlock(9);
    expect(table.tryLock(2)).toBe(true);
  });

  it('is waited for by the clock, however long the pauses turn out to be', () => {
    const { table } = make();
    const clock = vi.spyOn(performance, 'now');
    for (const [pauseMs, tries] of [
      [0.5, 8],
      [3, 2],
      [50, 1],
    ] as const) {
      let now = 1000;
      let pauses = 0;
      clock.mockImplementation(() => now);
      const pause = () => {
        pauses++;
        now += pauseMs;
      };
      expect(table.tryLock(7)).toBe(true);
      expect(table.lockPatiently(1, 10, 10_000, pause, 4)).toBe(false);
      expect(pauses).toBe(tries);
      table.unlock(7);
      expect(table.lockPatiently(1, 10, 10_000, pause, 4)).toBe(true);
      expect(pauses, 'what is free is not waited for').toBe(tries);
      table.unlock(1);
    }
    clock.mockRestore();
  });

  it('writes only inside its own memory, and is full at its capacity', () => {
    const whole = { capacity: 3, keyWords: 2, valueWords: 2, groupCount: 4 };
    const size = sharedTableSize(whole);
    const memory = new ArrayBuffer(size + 128);
    const around = [new Uint8Array(memory, 0, 64).fill(0xa5), new Uint8Array(memory, 64 + size).fill(0xa5)];
    const table = new SharedTable(memory, 64, whole);
    for (let key = 0; key < 5; key++) expect(insert(table, [key, key], [-1, -1], 3, -1) !== -1).toBe(key < 3);
    for (const octets of around) expect(octets.every((octet) => octet === 0xa5)).toBe(true);
  });

  it('gives up an entry whose group is impossible when it is rebuilt', () => {
    const { table } = make();
    const entry = insert(table, [1, 1], [1, 1]);
    insert(table, [2, 2], [2, 2], 3);
    const cold = (table as unknown as { cold: Int32Array }).cold;
    cold[entry * 4] = 4;
    table.recover(OWNER);
    expect([find(table, [1, 1]), table.used, table.groupCount(3), table.rebuilds]).toEqual([-1, 1, 1, 1]);
    expect(find(table, [2, 2])).toBe(2);
  });
});
