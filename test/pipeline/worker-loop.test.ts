/** Who gets a worker's breath: devices and streams that flood at once must not starve each other. */
import { expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { compile } from '../../src/control/compile.js';
import { documentOf } from '../../src/control/document.js';
import { Indices } from '../../src/control/indices.js';
import type { Batch } from '../../src/dataplane/batch.js';
import { Counters, RX_DROPPED } from '../../src/dataplane/counters.js';
import { DropSamples } from '../../src/dataplane/drop-samples.js';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import type { IoEngine, WatchedQueue } from '../../src/dataplane/io-engine.js';
import { Kernels } from '../../src/kernels/kernels.js';
import { FRAGMENT_SLEEP_MS, SLEEP_MAX_MS } from '../../src/limits.js';
import { ConnectionTable, connectionTableSize } from '../../src/pipeline/connection-table.js';
import { Fdb, fdbSize } from '../../src/pipeline/fdb.js';
import { FragmentTable, fragmentTableSize } from '../../src/pipeline/fragment-table.js';
import { LoopGuard } from '../../src/pipeline/loop-guard.js';
import { Machine } from '../../src/pipeline/machine.js';
import { NeighborTable, neighborTableSize } from '../../src/pipeline/neighbor-table.js';
import { TOKEN_BUCKETS_SIZE, TokenBuckets } from '../../src/pipeline/token-bucket.js';
import { TUNNEL_TABLE_SIZE, TunnelTable } from '../../src/pipeline/tunnel-table.js';
import { WorkerLoop } from '../../src/pipeline/worker-loop.js';

const SLOTS = 600;

function machine(): Machine {
  const pool = new FramePool(SLOTS);
  const snapshot = compile(checkDocument(documentOf({ version: 1 })).resolved, new Indices(), () => undefined, 1);
  const parts = {
    pool,
    kernels: new Kernels(pool.memory),
    counters: new Counters(),
    samples: new DropSamples(),
    fdb: new Fdb(new SharedArrayBuffer(fdbSize(64)), 1, { capacity: 64 }),
    tunnels: new TunnelTable(new SharedArrayBuffer(TUNNEL_TABLE_SIZE), 1),
    neighbors: new NeighborTable(new SharedArrayBuffer(neighborTableSize(64)), 1, { capacity: 64 }),
    connections: new ConnectionTable(new SharedArrayBuffer(connectionTableSize(64)), 1, { capacity: 64 }),
    fragments: new FragmentTable(new SharedArrayBuffer(fragmentTableSize(64)), 1, { capacity: 64 }),
    storm: new TokenBuckets(new SharedArrayBuffer(TOKEN_BUCKETS_SIZE)),
    loops: new LoopGuard(),
  };
  return new Machine(parts, snapshot);
}

/** Puts as many frames of the port into the batch as there is room for, or `most`. */
function flood(pool: FramePool, batch: Batch, port: number, most: number): void {
  for (let taken = 0; taken < most && batch.count < batch.capacity; taken++) {
    const slot = pool.allocate();
    if (slot < 0) return;
    pool.octets.fill(0xa5, pool.frameStart(slot), pool.frameStart(slot) + 60);
    pool.receive(slot, port, 60);
    batch.push(slot);
  }
}

function floodingEngine(pool: FramePool, port: number): IoEngine {
  const unused = () => {
    throw new Error('not in this test');
  };
  return {
    kind: 'poll',
    wakeFd: -1,
    ringFd: -1,
    mappings: [],
    attach: unused,
    detach: unused,
    isIdle: unused,
    watch: unused,
    unwatch: unused,
    receive: (batch) => flood(pool, batch, port, Number.POSITIVE_INFINITY),
    submit: () => {},
    hasWork: () => true,
    close: () => {},
  };
}

function floodingQueue(pool: FramePool, port: number): WatchedQueue {
  return {
    port,
    fd: -1,
    readable: true,
    send: () => false,
    receive: (batch, budget) => flood(pool, batch, port, budget),
    flush: () => {},
    close: () => {},
  };
}

test('devices and nine streams that all flood get their frames in, and no slot is lost', () => {
  const m = machine();
  const loop = new WorkerLoop(
    m,
    floodingEngine(m.pool, 0),
    { isPending: () => false, isMainComputing: () => false, yieldCpu: () => {} },
    () => 0,
  );
  const streams = Array.from({ length: 9 }, (_, index) => floodingQueue(m.pool, index + 1));
  loop.watched.push(...streams);
  for (let breath = 0; breath < 36; breath++) loop.breathe();
  const counts = Array.from({ length: 10 }, (_, port) => m.counters.portValue(port, RX_DROPPED));
  expect(counts[0], 'frames of devices').toBeGreaterThan(36 * 64);
  const [least, most] = [Math.min(...counts.slice(1)), Math.max(...counts.slice(1))];
  expect(least, 'frames of the stream that got least').toBeGreaterThan(0);
  expect(most / least).toBeLessThanOrEqual(2);
  expect(m.pool.available).toBe(SLOTS);
});

test('a worker sleeps as long as it may, but hardly while packets wait for a station that another worker may hear', () => {
  const m = machine();
  const slept: number[] = [];
  const idle = { receive: () => {}, hasWork: () => false, submit: (timeoutMs: number) => void slept.push(timeoutMs) };
  const engine: IoEngine = { ...floodingEngine(m.pool, 0), ...idle };
  let now = 0;
  const loop = new WorkerLoop(
    m,
    engine,
    { isPending: () => false, isMainComputing: () => false, yieldCpu: () => {} },
    () => (now += 1000),
  );
  const sleepOfABreath = (): number => {
    slept.length = 0;
    loop.breathe();
    return Math.max(...slept);
  };
  expect(sleepOfABreath()).toBe(SLEEP_MAX_MS);
  m.pending.packets = 1;
  expect(sleepOfABreath()).toBe(FRAGMENT_SLEEP_MS);
  m.pending.packets = 0;
  expect(sleepOfABreath()).toBe(SLEEP_MAX_MS);
});

/** A loop that has just had a frame, whose CPU others take for as long as `awayMs` says when it is offered. */
function spinning(awayMs: () => number, isMainComputing = () => false) {
  const m = machine();
  const seen = { offers: 0, sleeps: 0, now: 0 };
  const clock = () => (seen.now += 0.004);
  const submit = (timeoutMs: number) => {
    if (timeoutMs > 0) seen.sleeps++;
    seen.now += timeoutMs > 0 ? 0.01 : 0;
  };
  const engine: IoEngine = { ...floodingEngine(m.pool, 0), receive: () => {}, hasWork: () => false, submit };
  const yieldCpu = () => {
    seen.offers++;
    seen.now += awayMs();
  };
  const loop = new WorkerLoop(m, engine, { isPending: () => false, isMainComputing, yieldCpu }, clock);
  // The sleep was short: it spins from now on.
  loop.breathe();
  return { loop, seen };
}

test('a worker offers its CPU again and again while it spins', () => {
  const { loop, seen } = spinning(() => 0.005);
  loop.breathe();
  expect(seen.offers).toBeGreaterThan(2);
  const { offers } = seen;
  loop.breathe();
  expect(seen.offers).toBeGreaterThan(offers);
});

test('it does not spin while the main thread computes, and ends a spin when that begins', () => {
  let isComputing = true;
  const { loop, seen } = spinning(
    () => {
      isComputing = true;
      return 0;
    },
    () => isComputing,
  );
  for (let breath = 0; breath < 10; breath++) loop.breathe();
  expect(seen.offers).toBe(0);
  isComputing = false;
  loop.breathe();
  expect(seen.offers).toBe(1);
});
