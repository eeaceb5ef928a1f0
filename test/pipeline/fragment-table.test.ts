/** What is remembered of fragmented datagrams: whose it is, when it goes, and what it costs. */
import { expect, test } from 'vitest';
import { FRAGMENT_DATAGRAMS_MAX } from '../../src/limits.js';
import {
  FRAGMENT_BROKEN,
  FRAGMENT_BUSY,
  FRAGMENT_EXPIRED,
  FRAGMENT_LIMITED,
  FRAGMENT_PASSES,
  FRAGMENT_WAITS,
  FragmentTable,
  fragmentTableSize,
  openFragmentTable,
} from '../../src/pipeline/fragment-table.js';
import { FragmentReader } from '../../src/wire/fragment.js';
import { type FragmentRecipe, fragmentFrame } from '../wire/fragment-frames.js';

const limits = { fragmentDatagrams: 1024, fragmentsPerPort: 128, fragmentTimeout: 15 };
const ETHERNET = 14;

function tableOf(capacity = 1024, memory = new SharedArrayBuffer(fragmentTableSize(capacity))) {
  return { memory, table: new FragmentTable(memory, 1, { capacity }) };
}

interface Asked extends FragmentRecipe {
  readonly port?: number;
  readonly tcpFlags?: number;
  readonly network?: number;
  readonly now?: number;
  readonly bounds?: typeof limits;
}

const reader = new FragmentReader();

function select(table: FragmentTable, asked: Asked): void {
  const octets = fragmentFrame(asked);
  reader.read(octets, asked.isIpv6 ?? false, ETHERNET, octets.length, octets.length);
  table.select(asked.network ?? 0, asked.port ?? 1, octets, reader);
}

function take(table: FragmentTable, asked: Asked): number {
  select(table, asked);
  const [source, destination] = asked.ports ?? [1000, 2000];
  const ports = asked.start === 0 ? (source << 16) | destination : 0;
  return table.take(reader, ports, asked.protocol ?? 17, asked.tcpFlags ?? 0, asked.bounds ?? limits, asked.now ?? 100);
}

test("a later fragment finds what the first said in another thread's table over the same memory", () => {
  const { memory, table } = tableOf();
  const other = new FragmentTable(memory, 2, { capacity: 1024 });
  expect(take(table, { start: 0, size: 8, ports: [5, 6] })).toBe(FRAGMENT_PASSES);
  expect(take(other, { start: 8, size: 8 })).toBe(FRAGMENT_PASSES);
  expect([other.foundPorts, other.foundProtocol]).toEqual([(5 << 16) | 6, 17]);
});

test('one that waits in one thread is told by the change counter that another has the first', () => {
  const { memory, table } = tableOf();
  const other = new FragmentTable(memory, 2, { capacity: 1024 });
  expect(take(table, { start: 8, size: 8, isLast: true })).toBe(FRAGMENT_WAITS);
  const { entry, serial, created, changes } = table;
  expect(take(other, { start: 0, size: 8, ports: [5, 6] })).toBe(FRAGMENT_PASSES);
  expect(table.changes).not.toBe(changes);
  expect(table.used).toBe(1);
  expect(table.tryLock()).toBe(true);
  expect(table.ask(entry, serial, created, 100, 15)).toBe(FRAGMENT_PASSES);
  table.unlock();
  expect(table.foundPorts).toBe((5 << 16) | 6);
  expect(table.used).toBe(0);
});

test.each<[string, Partial<Asked>]>([
  ['network', { network: 1 }],
  ['port', { port: 2 }],
  ['source', { source: '192.0.2.9' }],
  ['destination', { destination: '192.0.2.9' }],
  ['id', { id: 2 }],
  ['IPv4 protocol', { protocol: 6 }],
  ['IP version', { isIpv6: true, source: '::ffff:192.0.2.1', destination: '::ffff:192.0.2.2' }],
])('another %s is another datagram', (_, different) => {
  const { table } = tableOf();
  take(table, { start: 0, size: 8 });
  expect(take(table, { start: 8, size: 8, ...different })).toBe(FRAGMENT_WAITS);
});

test("what became of a datagram that is no more depends on its age, also when its entry is another's now", () => {
  const { table } = tableOf(1);
  expect(take(table, { start: 8, size: 8, now: 100 })).toBe(FRAGMENT_WAITS);
  const { entry, serial, created } = table;
  expect(take(table, { id: 2, start: 8, size: 8, now: 101 })).toBe(FRAGMENT_WAITS);
  expect(table.entry).toBe(entry);
  expect(table.tryLock()).toBe(true);
  expect(table.ask(entry, serial, created, 101, 15)).toBe(FRAGMENT_LIMITED);
  expect(table.ask(entry, serial, created, 116, 15)).toBe(FRAGMENT_EXPIRED);
  expect(table.ask(table.entry, table.serial, table.created, 116, 15)).toBe(FRAGMENT_WAITS);
  table.unlock();
});

test('an expired datagram is a new one to its next fragment, broken or not', () => {
  const { table } = tableOf();
  take(table, { start: 0, size: 16 });
  expect(take(table, { start: 8, size: 16 })).toBe(FRAGMENT_BROKEN);
  expect(take(table, { start: 16, size: 16, now: 115 })).toBe(FRAGMENT_BROKEN);
  expect(take(table, { start: 16, size: 16, now: 116 })).toBe(FRAGMENT_WAITS);
});

test.each([0, 1, 127, 128, 129])(
  'after %i datagrams from one port at most its quota are remembered, the newest',
  (count) => {
    const { table } = tableOf();
    take(table, { port: 2, start: 0, size: 8 });
    for (let id = 0; id < count; id++) expect(take(table, { id, start: 0, size: 8 })).toBe(FRAGMENT_PASSES);
    expect(table.usedByPort(1)).toBe(Math.min(count, 128));
    expect(table.usedByPort(2)).toBe(1);
    if (count > 0) expect(take(table, { id: count - 1, start: 8, size: 8 })).toBe(FRAGMENT_PASSES);
    if (count === 129) expect(take(table, { id: 0, start: 8, size: 8 })).toBe(FRAGMENT_WAITS);
  },
);

test('bounds that are lowered are reached as new datagrams come', () => {
  const { table } = tableOf();
  for (let id = 0; id < 100; id++) take(table, { id, start: 0, size: 8 });
  const bounds = { ...limits, fragmentsPerPort: 10 };
  for (let id = 100; id < 300; id++) take(table, { id, start: 0, size: 8, bounds });
  expect(table.usedByPort(1)).toBe(10);
  const fewer = { ...limits, fragmentDatagrams: 5 };
  for (let id = 300; id < 320; id++) take(table, { id, start: 0, size: 8, bounds: fewer });
  expect(table.used).toBe(5);
});

test('a table of the smallest size goes on when it is full', () => {
  const { table } = tableOf(1);
  for (let id = 0; id < 10; id++) expect(take(table, { id, port: id, start: 0, size: 8 })).toBe(FRAGMENT_PASSES);
  expect(table.used).toBe(1);
});

test('a sweep forgets what is older than the timeout, and nothing else', () => {
  const { table } = tableOf();
  for (let id = 0; id < 50; id++) take(table, { id, start: 0, size: 8, now: id < 20 ? 100 : 101 });
  const before = table.changes;
  table.sweep(116, 15, 4096);
  expect(table.used).toBe(30);
  expect(table.changes).toBe(before);
  take(table, { id: 99, start: 8, size: 8, now: 101 });
  table.sweep(117, 15, 4096);
  expect(table.used).toBe(0);
  expect(table.changes).not.toBe(before);
});

test('who does not get the lock is told so, and has changed nothing', () => {
  const { memory, table } = tableOf();
  const other = new FragmentTable(memory, 2, { capacity: 1024 });
  expect(other.tryLock()).toBe(true);
  expect(take(table, { start: 0, size: 8 })).toBe(FRAGMENT_BUSY);
  table.sweep(1000, 15, 4096);
  other.unlock();
  expect(table.used).toBe(0);
});

test('after the death of a worker that was writing, nothing is remembered; of another, all', () => {
  const { memory, table } = tableOf();
  const main = new FragmentTable(memory, 17, { capacity: 1024 });
  take(table, { start: 8, size: 8 });
  main.breakLock(0);
  expect(table.used).toBe(1);
  expect(table.tryLock()).toBe(true);
  const { changes } = table;
  main.breakLock(0);
  expect(table.used).toBe(0);
  expect(table.changes).not.toBe(changes);
  expect(take(table, { start: 0, size: 8 })).toBe(FRAGMENT_PASSES);
});

test('a copy knows what the table knows, and leaves it alone', () => {
  const { table } = tableOf();
  take(table, { start: 0, size: 8 });
  const copy = table.copy();
  expect(take(copy, { start: 8, size: 8, isLast: true })).toBe(FRAGMENT_PASSES);
  expect([copy.used, table.used]).toEqual([0, 1]);
});

test('a worker opens the memory that the main thread made', () => {
  const buffer = new SharedArrayBuffer(fragmentTableSize(FRAGMENT_DATAGRAMS_MAX));
  const main = new FragmentTable(buffer, 17);
  const worker = openFragmentTable({ type: 'anonymous', buffer }, 0);
  take(worker, { start: 0, size: 8 });
  expect(main.used).toBe(1);
});

test('the rows of 1,024 datagrams take less than the 4 MiB that fragments may', () => {
  expect(fragmentTableSize(1024)).toBeLessThan(2 * 1024 * 1024);
});

test('crafted keys lie as well apart as random ones', () => {
  const crafted = (index: number): Partial<Asked> => ({ id: (index & 15) << 12, source: `192.0.${index >>> 4}.0` });
  const random = (index: number): Partial<Asked> => ({
    id: Math.imul(index, 40_503) & 0xffff,
    source: `192.0.${(Math.imul(index, 2_654_435_761) >>> 24) & 255}.${(Math.imul(index, 2_246_822_519) >>> 24) & 255}`,
  });
  const cost = (keyOf: (index: number) => Partial<Asked>) => {
    const { table } = tableOf(1024);
    const bounds = { ...limits, fragmentsPerPort: 1024 };
    let looks = 0;
    for (let index = 0; index < 1024; index++) {
      take(table, { start: 0, size: 8, bounds, ...keyOf(index) });
      looks += table.bucketLength;
    }
    return looks;
  };
  expect(cost(crafted)).toBeLessThanOrEqual(1.5 * cost(random));
});
