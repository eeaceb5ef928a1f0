/**
 * A thread dies before any of its stores while it translates, or removes what was translated: what is left is mended to whole
 * connections, and no entry and no port is lost.
 */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { SharedTable } from '../../src/dataplane/shared-table.js';
import { CONNECTION_LOCK_PAUSES, CONNECTION_LOCK_SPINS } from '../../src/limits.js';
import {
  KEY_PORTS,
  KEY_ZONE,
  KIND_BESIDE,
  KIND_CONTACT,
  KIND_MAPPED_INSIDE,
  KIND_MAPPED_OUTSIDE,
  M_OUTSIDE,
  M_REFERENCES,
} from '../../src/pipeline/connection-entry.js';
import { MAP_UDP, PortMaps, portMapOf } from '../../src/pipeline/nat-ports.js';
import { NEVER } from './connection-fixture.js';
import { OTHER, outFrom, SERVER, udp } from './nat-flows.js';
import { ADDRESSES, NatSwitch, OUTSIDE } from './nat-switch.js';

class Death extends Error {}
const FLOATING = '203.0.113.20';

afterEach(() => vi.restoreAllMocks());

/** Lets the thread die instead of making store number `at`: of the table's writers, of single words, of the maps of ports. */
function dieAtStore(at: number): void {
  let stores = 0;
  const before = () => {
    if (stores++ === at) throw new Death();
  };
  vi.spyOn(SharedTable.prototype, 'write').mockImplementation((words, position, value) => {
    before();
    Atomics.store(words, position, value);
  });
  const { setValueWord } = SharedTable.prototype;
  vi.spyOn(SharedTable.prototype, 'setValueWord').mockImplementation(function (this: SharedTable, entry, word, value) {
    before();
    setValueWord.call(this, entry, word, value);
  });
  for (const name of ['take', 'free'] as const) {
    const real = PortMaps.prototype[name];
    vi.spyOn(PortMaps.prototype, name).mockImplementation(function (this: PortMaps, map, port) {
      before();
      real.call(this, map, port);
    });
  }
}

function open(): NatSwitch {
  const external = { filtering: 'address-dependent', pool: '4000-4003' };
  const tested = new NatSwitch(
    { external, floating: { [FLOATING]: ADDRESSES.b } },
    {},
    { slots: 8, connectionEntries: 64 },
  );
  tested.say('a', outFrom(4000));
  tested.say('a', outFrom(4000, { dport: 81 }));
  tested.say('a', outFrom(4001));
  tested.say('b', outFrom(4000, { src: ADDRESSES.b }));
  return tested;
}

const changes: Record<string, (tested: NatSwitch) => void> = {
  'the first connection of a port inside': (tested) => tested.say('a', outFrom(4002)),
  'another connection of one': (tested) => tested.say('a', outFrom(4000, { dst: OTHER })),
  'one that came in to a mapped port': (tested) => tested.say('o', udp(SERVER, OUTSIDE, 9, 4000)),
  'one by a floating address': (tested) => tested.say('o', udp(SERVER, FLOATING, 9, 80)),
  'a hairpin': (tested) => tested.say('a', outFrom(4003, { dst: FLOATING })),
  'one in the place of one that is over': (tested) => {
    tested.now += 3_600_000;
    tested.introduce();
    tested.say('a', outFrom(4001));
  },
  'a flush': ({ connections }) => void connections.flush(),
  expiry: ({ connections, snapshot }) => void connections.expire(1e6, snapshot.connectionTimeouts, () => 0),
};

/** What stands beside the connections is what they use: no more, no less. */
function expectWhole({ connections }: NatSwitch): void {
  const { table, ports } = connections;
  const rows = [...connections.list(0, NEVER)];
  const uses = new Map<number, number>();
  for (const { translated, mapping, contact } of rows) {
    expect(translated).toBeDefined();
    for (const entry of [mapping, contact]) if (entry !== 0) uses.set(entry, (uses.get(entry) ?? 0) + 1);
  }
  let beside = 0;
  let taken = 0;
  for (let entry = 1; entry < table.entryLimit; entry++) {
    const kind = table.isLive(entry) ? table.keyWord(entry, KEY_ZONE) & KIND_BESIDE : 0;
    if (kind === 0) continue;
    beside++;
    if ((kind & (KIND_MAPPED_INSIDE | KIND_CONTACT)) !== 0)
      expect(table.valueWord(entry, M_REFERENCES)).toBe(uses.get(entry));
    if (kind !== KIND_MAPPED_OUTSIDE) continue;
    taken++;
    expect(ports.isTaken(table.valueWord(entry, M_OUTSIDE), table.keyWord(entry, KEY_PORTS) >>> 16)).toBe(true);
  }
  expect(ports.countTaken(portMapOf(0, MAP_UDP))).toBe(taken);
  expect(table.used).toBe(rows.length * 2 + beside);
  expect(connections.usedIn(16_384)).toBe(rows.length);
}

describe.each(Object.entries(changes))('a death during %s', (_, change) => {
  test('before one of its stores leaves whole connections, and nothing that is lost', () => {
    // Every third: what one change does not meet of an insertion or removal another does.
    for (let at = 0; ; at += 3) {
      const tested = open();
      dieAtStore(at);
      let isDead = false;
      try {
        change(tested);
      } catch (error) {
        expect(error).toBeInstanceOf(Death);
        isDead = true;
      }
      vi.restoreAllMocks();
      tested.connections.recover();
      expectWhole(tested);
      tested.connections.flush();
      expect(tested.connections.used).toBe(0);
      expect(tested.connections.ports.countTaken(portMapOf(0, MAP_UDP))).toBe(0);
      if (isDead) continue;
      expect(at).toBeGreaterThan(3);
      return;
    }
  });
});

test('a worker that dies with the lock leaves it to be broken, and others translate again', () => {
  const tested = open();
  // Worker 0 holds it: a new connection has to wait, and is given up.
  expect(tested.connections.table.tryLock(1)).toBe(true);
  expect(tested.say('a', outFrom(4002)).filter(({ port }) => port === 'o')).toEqual([]);
  expect(tested.dropped('a', 'conntrack_full')).toBe(1);
  expect(tested.connections.breakLock(1)).toBe(false);
  expect(tested.connections.breakLock(0)).toBe(true);
  expect(tested.say('a', outFrom(4002))).toMatchObject([{ src: OUTSIDE, sport: 4002 }]);
  expectWhole(tested);
});

test('a lock that is not let go of is waited for once a breath, not for each packet, and what stands goes on', () => {
  const tested = new NatSwitch();
  tested.say('a', outFrom(4001));
  const { machine } = tested;
  let pauses = 0;
  Object.assign(machine.connections, { pause: () => pauses++ });
  const frames = Array.from({ length: 12 }, (_, index) => ({
    port: 'a',
    octets: tested.frame('a', outFrom(5000 + index)),
  }));
  expect(tested.connections.table.tryLock(9)).toBe(true);
  const tryLock = vi.spyOn(SharedTable.prototype, 'tryLock');
  for (let breath = 1; breath <= 2; breath++) {
    pauses = 0;
    tryLock.mockClear();
    tested.run(...frames);
    expect(tested.dropped('a', 'conntrack_full')).toBe(12 * breath);
    expect(pauses, 'once').toBeGreaterThan(0);
    expect(pauses).toBeLessThanOrEqual(CONNECTION_LOCK_PAUSES);
    expect(tryLock.mock.calls.length).toBeLessThanOrEqual(CONNECTION_LOCK_SPINS + pauses + frames.length);
  }
  expect(tested.say('a', outFrom(4001)), 'what stands').toMatchObject([{ src: OUTSIDE }]);
  tryLock.mockRestore();
  tested.connections.table.unlock(9);
  tested.run(...frames);
  expect(tested.dropped('a', 'conntrack_full')).toBe(24);
  expectWhole(tested);
});
