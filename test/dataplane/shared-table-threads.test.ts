/**
 * Real threads on one table: two write and read, this one reads all the time. Every value says which key it belongs to,
 * and the keys are more than the table holds, so entries are given to other keys all the time.
 */

import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SharedTable, sharedTableSize } from '../../src/dataplane/shared-table.js';
import { findBatch } from './batch-lookup.js';
import { compiled } from './compiled.js';

const SHAPE = { capacity: 48, keyWords: 2, valueWords: 2, groupCount: 4 };
const KEYS = 128;
const TURNS = 150_000;
const FILES = [
  'errors.ts',
  ...['seeded-hash', 'shared-table-reader', 'shared-table'].map((name) => `dataplane/${name}.ts`),
];

const script = `
import { parentPort, workerData } from 'node:worker_threads';
import { SharedTable } from './dataplane/shared-table.js';
const { memory, shape, owner, turns, keys } = workerData;
const table = new SharedTable(memory, 0, shape);
const key = new Int32Array(2), value = new Int32Array(2);
let state = owner * 7919, wrong = 0, busy = 0, written = 0, found = 0;
for (let turn = 0; turn < turns; turn++) {
  state = Math.imul(state, 1103515245) + 12345 | 0;
  const word = (state >>> 16) % keys;
  key[0] = word; key[1] = ~word;
  const hash = table.hash.pair(key[0], key[1]);
  const seen = table.findPair(hash, key[0], key[1]);
  if (seen !== -1) {
    found++;
    if (table.found[0] >>> 8 !== word || table.found[1] !== ~table.found[0]) wrong++;
    table.refresh(seen, turn);
  }
  if ((turn & 3) !== 0) continue;
  if (!table.tryLock(owner)) { busy++; continue; }
  written++;
  value[0] = word << 8 | (turn & 255); value[1] = ~value[0];
  const entry = table.findPair(hash, key[0], key[1]);
  if (entry !== -1 && (turn & 4) !== 0) table.remove(entry);
  else if (entry !== -1) table.change(entry, value, word & 3, turn);
  else {
    if (table.full) table.remove(table.oldestOf([0, 1, 2, 3].find((group) => table.groupCount(group) > 0)));
    table.insert(hash, key, value, word & 3, turn);
  }
  table.unlock(owner);
}
parentPort.postMessage({ wrong, busy, written, found });
`;

let program: ReturnType<typeof compiled>;
beforeAll(() => {
  program = compiled(FILES, script);
});
afterAll(() => program.remove());

interface Outcome {
  readonly wrong: number;
  readonly busy: number;
  readonly written: number;
  readonly found: number;
}

function run(memory: SharedArrayBuffer, owner: number): Promise<Outcome> {
  const worker = new Worker(program.script, { workerData: { memory, shape: SHAPE, owner, turns: TURNS, keys: KEYS } });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

const allKeys = Array.from({ length: KEYS }, (_, key) => [key, ~key] as const);

/** Reads all keys once, alone and in a batch; returns how many values were another key's, and how many were found. */
function readAll(table: SharedTable): { wrong: number; found: number } {
  let wrong = 0;
  let found = 0;
  for (let key = 0; key < KEYS; key++) {
    if (table.findPair(table.hash.pair(key, ~key), key, ~key) === -1) continue;
    found++;
    if (table.found[0]! >>> 8 !== key || table.found[1] !== ~table.found[0]!) wrong++;
  }
  findBatch(table, allKeys).forEach(({ entry, value }, key) => {
    if (entry !== -1 && value >>> 8 !== key) wrong++;
  });
  return { wrong, found };
}

it('readers never see the value of another key while two threads write, and the table is sound afterwards', async () => {
  const memory = new SharedArrayBuffer(sharedTableSize(SHAPE));
  const table = new SharedTable(memory, 0, SHAPE);
  let isDone = false;
  const workers = Promise.all([run(memory, 1), run(memory, 2)]).finally(() => {
    isDone = true;
  });
  const seen = { wrong: 0, found: 0 };
  while (!isDone) {
    for (let round = 0; round < 100; round++) {
      const { wrong, found } = readAll(table);
      seen.wrong += wrong;
      seen.found += found;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  const outcomes = await workers;
  expect([seen.wrong, ...outcomes.map((outcome) => outcome.wrong)]).toEqual([0, 0, 0]);
  expect(seen.found).toBeGreaterThan(0);
  for (const outcome of outcomes) expect(outcome.written + outcome.busy).toBe(Math.ceil(TURNS / 4));
  const counts = [0, 1, 2, 3].map((group) => table.groupCount(group));
  expect(counts.reduce((sum, count) => sum + count)).toBe(table.used);
  const { found, wrong } = readAll(table);
  expect([found, wrong]).toEqual([table.used, 0]);
});
