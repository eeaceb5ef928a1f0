/** The pool with threads that die in every way a thread can. The task here keeps the protocol, and does as it is told. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { WORKER_LAST_BREATH_MS } from '../../src/dataplane/counters.js';
import { WorkerPool } from '../../src/dataplane/worker-pool.js';
import {
  STATE_EPOCH,
  STATE_PENDING,
  STATE_RING_FD,
  STATE_STOP,
  STATE_THREAD,
  type WorkerOrder,
  type WorkerReport,
} from '../../src/dataplane/worker-protocol.js';
import { WORKER_DEATHS_MAX } from '../../src/limits.js';

/** What a worker is told to do next, by its index; STUBBORN is not forgotten once it is done. */
const GO_ON = 0;
const THROW = 1;
const FILL_MEMORY = 2;
const LOOP = 3;
const STUBBORN = 4;
const REFUSE_TO_START = 5;
const RETURN = 6;

const script = `
import koffi from 'koffi';
import { receiveMessageOnPort, threadId } from 'node:worker_threads';
// Not by fs: what that opened in a thread Node closes with it, which is not so with a ring.
const dup = koffi.load('libc.so.6').func('int dup(int fd)');
const now = () => Number(process.hrtime.bigint() / 1000n) / 1000;
export function run({ index, state: page, counters, orders, snapshot, commands, loops }) {
  const state = new Int32Array(page), breath = new Float64Array(counters);
  Atomics.store(state, ${STATE_THREAD}, threadId);
  if (Atomics.load(commands, index) === ${REFUSE_TO_START}) throw new Error('no ring for you');
  Atomics.store(state, ${STATE_EPOCH}, snapshot.epoch);
  orders.postMessage({ type: 'started', io: 'poll', ioReason: 'a test' });
  while (Atomics.load(state, ${STATE_STOP}) === 0) {
    breath[${WORKER_LAST_BREATH_MS}] = now();
    const command = Atomics.load(commands, index);
    if (command === ${STUBBORN}) throw new Error('again');
    Atomics.store(commands, index, ${GO_ON});
    if (command === ${THROW}) throw new Error('a defect');
    if (command === ${RETURN}) return;
    if (command === ${FILL_MEMORY}) for (const hoard = []; ; ) hoard.push(new Array(100000).fill(0.5));
    if (command === ${LOOP}) {
      Atomics.store(state, ${STATE_RING_FD}, dup(2));
      for (;;) Atomics.add(loops, 0, 1);
    }
    if (Atomics.exchange(state, ${STATE_PENDING}, 0) !== 0) {
      for (let order = receiveMessageOnPort(orders); order; order = receiveMessageOnPort(orders)) {
        const { type, snapshot: next, port } = order.message;
        if (type === 'snapshot') Atomics.store(state, ${STATE_EPOCH}, next.epoch);
        if (type === 'detach') orders.postMessage({ type: 'detached', port });
      }
    }
    Atomics.wait(state, ${STATE_THREAD}, threadId, 2);
  }
}
`;

type Config = { readonly epoch: number };

let directory: string;
let pool: WorkerPool<Config> | undefined;
beforeAll(() => {
  // Below node_modules, so that packages are found.
  const cache = join(import.meta.dirname, '../../node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  directory = mkdtempSync(join(cache, 'weft-pool-'));
  writeFileSync(join(directory, 'task.mjs'), script);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));
afterEach(async () => {
  await pool?.stop();
  pool = undefined;
});

interface Rig {
  readonly pool: WorkerPool<Config>;
  readonly commands: Int32Array;
  readonly loops: Int32Array;
  readonly deaths: string[];
  readonly reports: { index: number; report: WorkerReport }[];
  /** What the loop counter was when the death was told. */
  loopsAtDeath: number;
  epoch: number;
  begin: readonly WorkerOrder<Config>[];
}

function start(count: number, commands: readonly number[] = []): Rig {
  const rig = {
    commands: new Int32Array(new SharedArrayBuffer(64)),
    loops: new Int32Array(new SharedArrayBuffer(4)),
    deaths: [] as string[],
    reports: [] as { index: number; report: WorkerReport }[],
    loopsAtDeath: 0,
    epoch: 1,
    begin: [] as readonly WorkerOrder<Config>[],
  };
  rig.commands.set(commands);
  pool = new WorkerPool<Config>({
    count,
    io: 'auto',
    filename: join(directory, 'task.mjs'),
    task: 'run',
    shared: { commands: rig.commands, loops: rig.loops },
    current: () => ({ snapshot: { epoch: rig.epoch }, orders: rig.begin }),
    onReport: (index, report) => rig.reports.push({ index, report }),
    onDeath: (index, reason) => {
      rig.loopsAtDeath = Atomics.load(rig.loops, 0);
      rig.deaths.push(`${index}: ${reason}`);
    },
  });
  return Object.assign(rig, { pool });
}

async function until(what: string, condition: () => boolean, timeoutMs = 20_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const isBack = (rig: Rig, restarts: number) => () =>
  rig.pool.seats[0]?.restarts === restarts && rig.pool.seats[0].state === 'running';

test('a worker that throws is replaced, with what is in force by then, and the other one goes on', async () => {
  const rig = start(2);
  await rig.pool.started();
  rig.epoch = 5;
  Atomics.store(rig.commands, 0, THROW);
  await until('it is back', isBack(rig, 1));
  expect(rig.pool.seats[0]).toMatchObject({ restarts: 1, lastExit: 'a defect', io: 'poll', ioReason: 'a test' });
  expect(rig.pool.seats[1]).toMatchObject({ restarts: 0, state: 'running' });
  expect(rig.deaths).toEqual(['0: a defect']);
  rig.pool.order(1, { type: 'snapshot', snapshot: { epoch: 5 } });
  await rig.pool.reached(5);
});

test('a worker that returns without being asked to is replaced', async () => {
  const rig = start(1);
  await rig.pool.started();
  Atomics.store(rig.commands, 0, RETURN);
  await until('it is back', isBack(rig, 1));
  expect(rig.deaths).toEqual(['0: ended without being asked to']);
});

test('a worker that fills its memory is replaced, and the process lives', async () => {
  const rig = start(1);
  await rig.pool.started();
  Atomics.store(rig.commands, 0, FILL_MEMORY);
  await until('it is back', isBack(rig, 1));
  expect(rig.pool.seats[0]?.lastExit).toMatch(/memory/);
});

test('a worker in an endless loop is ended and replaced, and is gone for certain before its death is told', async () => {
  const rig = start(1);
  await rig.pool.started();
  const before = readdirSync('/proc/self/fd').length;
  Atomics.store(rig.commands, 0, LOOP);
  await until('it is back', isBack(rig, 1));
  expect(rig.pool.seats[0]?.lastExit).toMatch(/^did not breathe for \d+ ms$/);
  expect(rig.loopsAtDeath).toBeGreaterThan(0);
  expect(Atomics.load(rig.loops, 0)).toBe(rig.loopsAtDeath);
  expect(readdirSync('/proc/self/fd').length, 'descriptors with the dead ring closed').toBeLessThanOrEqual(before);
});

test('a worker that dies again and again is restarted ever more slowly, and holds up no change meanwhile', async () => {
  const rig = start(2);
  await rig.pool.started();
  Atomics.store(rig.commands, 0, STUBBORN);
  await until('it has died too often', () => rig.deaths.length > WORKER_DEATHS_MAX);
  expect(rig.pool.order(0, { type: 'detach', port: 1 })).toBe(false);
  expect(rig.pool.order(1, { type: 'snapshot', snapshot: { epoch: 2 } })).toBe(true);
  await rig.pool.reached(2);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(rig.deaths).toHaveLength(WORKER_DEATHS_MAX + 1);
  expect(rig.pool.seats[0]).toMatchObject({ state: 'failed', restarts: WORKER_DEATHS_MAX + 1, lastExit: 'again' });
});

test('a worker that hangs holds up a change only until it is ended', async () => {
  const rig = start(1);
  await rig.pool.started();
  Atomics.store(rig.commands, 0, LOOP);
  await until('it hangs', () => Atomics.load(rig.loops, 0) > 0);
  rig.epoch = 2;
  rig.pool.orderAll({ type: 'snapshot', snapshot: { epoch: 2 } });
  await rig.pool.reached(2);
  expect(rig.deaths).toHaveLength(1);
});

test('a worker that can not start is an error that says why, and is not tried for ever', async () => {
  const rig = start(2, [GO_ON, REFUSE_TO_START]);
  await expect(rig.pool.started()).rejects.toThrow("worker 1 can't start: no ring for you");
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(rig.deaths).toEqual([]);
  expect(rig.pool.seats[1]).toMatchObject({ state: 'failed', restarts: 0 });
});

test('what a dead worker said last is not taken for its successor’s word', async () => {
  const rig = start(1);
  await rig.pool.started();
  Atomics.store(rig.commands, 0, THROW);
  await until('it is back', isBack(rig, 1));
  rig.pool.order(0, { type: 'detach', port: 9 });
  await until('the successor answers', () => rig.reports.some(({ report }) => report.type === 'detached'));
  expect(rig.reports.filter(({ report }) => report.type === 'detached')).toHaveLength(1);
});

test('stopping ends every thread, also one that is dead and one that hangs', async () => {
  const rig = start(3);
  await rig.pool.started();
  Atomics.store(rig.commands, 0, STUBBORN);
  Atomics.store(rig.commands, 1, LOOP);
  await until('one hangs, one is dead for long', () => rig.deaths.length > WORKER_DEATHS_MAX && rig.loops[0] > 0);
  await rig.pool.stop();
  const loops = Atomics.load(rig.loops, 0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(Atomics.load(rig.loops, 0)).toBe(loops);
});
