/** The search for a free outside port: what it finds, and how little it looks at for that, however full the range is. */
import { describe, expect, test, vi } from 'vitest';
import { SharedTable } from '../../src/dataplane/shared-table.js';
import { MAP_UDP, PORT_MAPS_WORDS, PortMaps, portMapOf } from '../../src/pipeline/nat-ports.js';
import { NEVER } from './connection-fixture.js';
import { outFrom } from './nat-flows.js';
import { ADDRESSES, type Flow, NatSwitch, OUTSIDE } from './nat-switch.js';

/** Words that one search may look at: of both parts of the range two of ports, two of 32 such, one of all. */
const LOOKS_MAX = 10;
const MAP = portMapOf(1, MAP_UDP);
const memory = new SharedArrayBuffer(PORT_MAPS_WORDS * 4);
const maps = new PortMaps(memory, 0, false);

let state = 7;
function below(count: number): number {
  state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
  return (state >>> 8) % count;
}

function fill(first: number, last: number, ...free: readonly number[]): void {
  maps.clear();
  for (let port = first; port <= last; port++) if (!free.includes(port)) maps.take(MAP, port);
}

/** The plainest search: every port in turn, going round. */
function reference(first: number, last: number, like: number, start: number): number {
  const from = Math.min(Math.max(((start ^ like) & 1) === 0 ? start : start - 1, first), last);
  const size = last - first + 1;
  for (let step = 0; step < size; step++) {
    const port = first + ((from - first + step) % size);
    if (((port ^ like) & 1) === 0 && !maps.isTaken(MAP, port)) return port;
  }
  return -1;
}

describe('a search for a free port', () => {
  test('looks at a few words for the last free one, wherever it is, and to see that there is none', () => {
    maps.clear();
    expect(maps.find(MAP, 1024, 65_535, 0, 30_000)).toBe(30_000);
    expect(maps.looked).toBe(1);
    for (const free of [1024, 1026, 29_998, 30_002, 32_768, 65_534]) {
      fill(1024, 65_535, free);
      for (const start of [1024, 30_000, 65_535]) {
        expect(maps.find(MAP, 1024, 65_535, 0, start)).toBe(free);
        expect(maps.looked).toBeLessThanOrEqual(LOOKS_MAX);
      }
      expect(maps.find(MAP, 1024, 65_535, 1, 30_000)).toBe(-1);
      expect(maps.looked).toBeLessThanOrEqual(LOOKS_MAX);
    }
  });

  test('finds what looking at every port in turn would find', () => {
    for (let round = 0; round < 40; round++) {
      maps.clear();
      const first = below(65_536);
      const last = first + below(Math.min(4096, 65_536 - first));
      const percent = [0, 50, 95, 100][below(4)]!;
      for (let port = first; port <= last; port++) if (below(100) < percent) maps.take(MAP, port);
      for (let search = 0; search < 20; search++) {
        const [like, start] = [below(2), first + below(last - first + 1)];
        const found = maps.find(MAP, first, last, like, start);
        expect([first, last, like, start, found]).toEqual([
          first,
          last,
          like,
          start,
          reference(first, last, like, start),
        ]);
      }
    }
  });

  test('sees a port again that was freed, and touches no other map', () => {
    fill(0, 65_535);
    maps.free(MAP, 40_001);
    expect(maps.find(MAP, 0, 65_535, 1, 5)).toBe(40_001);
    expect(maps.countTaken(MAP)).toBe(65_535);
    for (const other of [MAP - 1, MAP + 1]) expect(maps.countTaken(other)).toBe(0);
  });
});

/** Packets that leave for the outside when a says this. */
const leavesOf = (tested: NatSwitch, flow: Flow) => tested.say('a', flow).filter(({ port }) => port === 'o').length;

test('the connection that gets the last free port costs as many stores as the first', () => {
  const external = { pool: '4096-5119', perVm: 4096 };
  const settings = { conntrack: { perPort: '100%' } };
  const tested = new NatSwitch({ external }, { settings }, { connectionEntries: 8192 });
  const write = vi.spyOn(SharedTable.prototype, 'write');
  const cost = (sport: number) => {
    write.mockClear();
    const heard = tested.say('a', outFrom(sport));
    expect(heard).toHaveLength(1);
    return { stores: write.mock.calls.length, looked: tested.connections.ports.looked };
  };
  const first = cost(1);
  for (let sport = 2; sport < 1024; sport++) tested.say('a', outFrom(sport));
  const last = cost(1024);
  write.mockRestore();
  expect(tested.connections.ports.countTaken(portMapOf(0, MAP_UDP))).toBe(1024);
  expect(last.stores).toBeLessThan(first.stores * 1.5);
  expect(last.looked).toBeLessThanOrEqual(LOOKS_MAX);
  expect(leavesOf(tested, outFrom(1025))).toBe(0);
  expect(tested.dropped('a', 'nat_exhausted')).toBe(1);
});

describe.each(['endpoint-independent', 'endpoint-dependent'])('with %s mapping', (mapping) => {
  test('a machine gets external.perVm mappings, not one more, and another when one ends', () => {
    const tested = new NatSwitch({ external: { mapping, perVm: 3 } });
    for (const sport of [1, 2, 3]) expect(tested.say('a', outFrom(sport))).toHaveLength(1);
    expect(leavesOf(tested, outFrom(4))).toBe(0);
    expect(tested.dropped('a', 'nat_limit')).toBe(1);
    expect(tested.say('b', outFrom(4, { src: ADDRESSES.b }))).toMatchObject([{ src: OUTSIDE }]);
    expect(tested.say('a', outFrom(3))).toHaveLength(1);
    const [row] = [...tested.connections.list(0, NEVER)];
    expect(tested.connections.removeWhere((entry) => tested.connections.table.keyWord(entry, 8) === row!.key[8])).toBe(
      1,
    );
    expect(tested.say('a', outFrom(4))).toHaveLength(1);
    expect(leavesOf(tested, outFrom(5))).toBe(0);
  });
});

test('further connections of a mapped port are no further mappings', () => {
  const tested = new NatSwitch({ external: { perVm: 1 } });
  for (let dport = 1; dport < 20; dport++) expect(tested.say('a', outFrom(9, { dport }))).toHaveLength(1);
});
