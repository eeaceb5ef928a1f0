/** A thread dies before any of its stores into the connection table, or two write at once: what is left is sound. */
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { SharedTable } from '../../src/dataplane/shared-table.js';
import { ConnectionControl } from '../../src/pipeline/connection-control.js';
import { COMMITTED, connectionTableSize } from '../../src/pipeline/connection-table.js';
import { compiled } from '../dataplane/compiled.js';
import { answer, NEVER, segment, TrackedSwitch, udp } from './connection-fixture.js';

class Death extends Error {}

/** Lets the thread die instead of making store number `at`; returns how many were made. */
function dieAtStore(at: number): () => number {
  let stores = 0;
  vi.spyOn(SharedTable.prototype, 'write').mockImplementation((words, position, value) => {
    if (stores++ === at) throw new Death();
    Atomics.store(words, position, value);
  });
  return () => stores;
}

afterEach(() => vi.restoreAllMocks());

const syn = (port: number) => segment({ flags: 'S', seq: 100, ports: [port, 80] });

function checkCounts({ table, tested }: TrackedSwitch): void {
  const rows = [...table.list(0, NEVER)];
  expect(table.used).toBe(rows.length);
  expect(table.usedIn(tested.network('red'))).toBe(rows.length);
  const byPort = ['a', 'b', 'c'].map((name) => table.usedBy(tested.index(name)));
  expect(byPort.reduce((sum, used) => sum + used, 0)).toBe(rows.length);
}

const changes: Record<string, (tracked: TrackedSwitch) => void> = {
  'a new connection': (tracked) => tracked.one('a', syn(9)),
  'a new connection in the place of a half-open one': (tracked) => {
    Object.assign(tracked.tested.snapshot, { connectionsPerPort: 3 });
    tracked.one('a', syn(9));
  },
  'a move to another class': (tracked) => {
    tracked.one('b', answer({ flags: 'SA', seq: 500, ack: 101, ports: [2, 80] }));
    tracked.one('a', segment({ flags: 'A', seq: 101, ack: 501, ports: [2, 80] }));
  },
  'a port reused after a reset': (tracked) => {
    tracked.one('b', answer({ flags: 'RA', seq: 0, ack: 101, ports: [2, 80] }));
    tracked.one('a', syn(2));
  },
  expiry: ({ table, tested }) => void table.expire(1e6, tested.snapshot.connectionTimeouts, () => 0),
  'a flush': ({ table }) => void table.flush(),
};

describe.each(Object.entries(changes))('a death during %s', (_, change) => {
  test('before any of its stores leaves a table whose counts are exact, and in which everything can go on', () => {
    for (let at = 0; ; at++) {
      const tracked = new TrackedSwitch({}, 8);
      for (const port of [1, 2, 3]) tracked.one('a', syn(port));
      tracked.one('b', udp('192.0.2.2', '192.0.2.1', [5, 6]));
      dieAtStore(at);
      let isDead = false;
      try {
        change(tracked);
      } catch (error) {
        expect(error).toBeInstanceOf(Death);
        isDead = true;
      }
      vi.restoreAllMocks();
      if (!isDead) {
        expect(at).toBeGreaterThan(0);
        return;
      }
      tracked.tested.machine.newConnections.count = 0;
      tracked.table.recover();
      checkCounts(tracked);
      expect(tracked.table.table.lockOwner).toBe(0);
      const row = [...tracked.table.list(0, NEVER)].length;
      tracked.table.flush();
      expect(tracked.table.used).toBe(0);
      expect(row).toBeLessThanOrEqual(5);
    }
  });
});

// ---- two threads --------------------------------------------------------------------------------------------------

const CAPACITY = 4096;
const script = `
import { parentPort, workerData } from 'node:worker_threads';
import { FramePool } from './dataplane/frame-pool.js';
import { COMMIT_FULL, ConnectionTable, NewConnections } from './pipeline/connection-table.js';
const { memory, capacity, owner, flows, gate } = workerData;
const table = new ConnectionTable(memory, owner, { capacity });
const pool = new FramePool(64), list = new NewConnections();
const snapshot = { connectionTimeouts: new Int32Array(9).fill(1000), connectionsPerPort: capacity, connectionsPerNetwork: capacity, connectionMidstream: 0 };
const words = new Int32Array(gate), entries = new Int32Array(flows);
const results = new Set();
Atomics.add(words, 0, 1);
while (Atomics.load(words, 0) < 2);
for (let flow = 0; flow < flows; flow++) {
  const slot = pool.allocate(), at = pool.frameStart(slot);
  pool.receive(slot, owner, 60);
  pool.network[slot] = 3; pool.networkHeader[slot] = at + 14; pool.packetKind[slot] = 2; pool.protocol[slot] = 17;
  pool.transport[slot] = at + 34; pool.packetEnd[slot] = at + 60; pool.connection[slot] = -1;
  pool.octets.fill(0, at, at + 64);
  // The two threads see the two directions.
  const low = owner === 1;
  pool.octets.set(low ? [192, 0, 2, 1, 192, 0, 2, 2] : [192, 0, 2, 2, 192, 0, 2, 1], at + 26);
  pool.ports[slot] = low ? flow << 16 | 7 : 7 << 16 | flow;
  // The system may stop the thread that has the lock for longer than a worker waits.
  do {
    list.push(slot, owner, 9);
    table.commit(pool, list, snapshot, 1, 100);
  } while (list.results[0] === COMMIT_FULL);
  results.add(list.results[0]);
  entries[flow] = pool.connection[slot];
  pool.release(slot);
}
parentPort.postMessage({ entries, results: [...results] });
`;

let program: ReturnType<typeof compiled>;
beforeAll(() => {
  program = compiled(sources(), script);
}, 60_000);
afterAll(() => program.remove());

function sources(): string[] {
  const dataplane = ['seeded-hash', 'shared-table-reader', 'shared-table', 'shared-memory', 'frame-pool', 'native'];
  const pipeline = [
    'connection-table',
    'connection-entries',
    'connection-entry',
    'connection-key',
    'connection-tracking',
    'guest-service',
    'own-addresses',
    'plain-keys',
    'nat-ports',
    'nat-refusals',
    'routing-tables',
    'tcp-tracking',
    'tcp-windows',
  ];
  const wire = ['icmp', 'ip-protocol', 'ipv4', 'ipv6', 'octets', 'packet', 'tcp', 'arp', 'dhcp', 'ethernet', 'udp'];
  return [
    'errors.ts',
    'limits.ts',
    ...dataplane.map((name) => `dataplane/${name}.ts`),
    ...[...pipeline, 'sctp-tracking', 'track-verdict', 'snapshot'].map((name) => `pipeline/${name}.ts`),
    ...wire.map((name) => `wire/${name}.ts`),
    'tunnels/tunnel.ts',
  ];
}

interface Made {
  readonly entries: Int32Array;
  readonly results: readonly number[];
}

test('two threads that see the two directions of each flow at once make one connection of it', async () => {
  const memory = new SharedArrayBuffer(connectionTableSize(CAPACITY));
  const control = new ConnectionControl(memory, { capacity: CAPACITY });
  const gate = new SharedArrayBuffer(8);
  const run = (owner: number) => {
    const worker = new Worker(program.script, { workerData: { memory, capacity: CAPACITY, owner, flows: 3000, gate } });
    return new Promise<Made>((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  };
  const [one, two] = await Promise.all([run(1), run(2)]);
  expect([one.results, two.results]).toEqual([[COMMITTED], [COMMITTED]]);
  expect(one.entries).toEqual(two.entries);
  expect(control.used).toBe(3000);
  expect(control.usedBy(1) + control.usedBy(2)).toBe(3000);
  expect(control.usedIn(3)).toBe(3000);
  expect(control.table.lockOwner).toBe(0);
});
