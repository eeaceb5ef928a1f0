/** Frames on their way from one worker to another: each is counted once, also those that never arrive. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Batch } from '../../src/dataplane/batch.js';
import { Counters, DROP_OF_COPY, TX_DROPPED } from '../../src/dataplane/counters.js';
import { dropReasonNumber, dropReasons } from '../../src/dataplane/drop-reason.js';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { allocateFrameRing } from '../../src/dataplane/frame-ring.js';
import * as native from '../../src/dataplane/native.js';
import { RelaySink, RelaySource } from '../../src/dataplane/relay-queue.js';

const PORT = 4;
const SLOTS = 8;
let pool: FramePool;
let counters: Counters;
let wakeFd: number;
let source: RelaySource;
let sink: RelaySink;
let arrived: number[];
let refused: string[];

beforeEach(() => {
  pool = new FramePool(SLOTS);
  pool.octets.fill(0xa5);
  counters = new Counters();
  wakeFd = native.check('eventfd', native.eventfd());
  arrived = [];
  refused = [];
  const transport = { type: 'relay', ring: allocateFrameRing(), wakeFd } as const;
  const counts = {
    handedOver: (slot: number) => pool.release(slot),
    refused: (slot: number, port: number, reason: number) => {
      refused.push(`${port} ${dropReasons[reason]} ${pool.octets[pool.offset[slot]]}`);
      pool.release(slot);
    },
  };
  const port = {
    port: PORT,
    send: (slot: number) => {
      arrived.push(pool.octets[pool.offset[slot]]);
      pool.release(slot);
      return true;
    },
  };
  source = new RelaySource(PORT, { ...transport, end: 'from' }, pool, counts);
  sink = new RelaySink({ ...transport, end: 'to' }, port, pool, counts, counters);
});
afterEach(() => {
  native.close(wakeFd);
  expect(pool.available, 'slots that came back').toBe(SLOTS);
});

/** Frames whose first octets are these. */
function relay(...firsts: number[]): void {
  for (const first of firsts) {
    const slot = pool.allocate();
    pool.receive(slot, 0, 60);
    pool.octets[pool.frameStart(slot)] = first;
    expect(source.send(slot)).toBe(true);
  }
}

test('frames arrive in order', () => {
  relay(1, 2, 3);
  sink.receive(new Batch(16), 16);
  expect(arrived).toEqual([1, 2, 3]);
});

test('frames that are left when the port is detached are copies dropped because it is down', () => {
  relay(1, 2, 3);
  sink.receive(new Batch(16), 1);
  sink.close(true);
  expect(arrived).toEqual([1]);
  expect(refused).toEqual([`${PORT} port_down 2`, `${PORT} port_down 3`]);
});

test('frames that are left are counted also when no slot is free to show them', () => {
  relay(1, 2);
  const held = Array.from({ length: SLOTS }, () => pool.allocate());
  sink.close(true);
  for (const slot of held) pool.release(slot);
  expect(refused).toEqual([]);
  expect(counters.dropValue(PORT, dropReasonNumber.port_down, DROP_OF_COPY)).toBe(2);
  expect(counters.portValue(PORT, TX_DROPPED)).toBe(2);
});

test('a worker that ends leaves the frames for its successor', () => {
  relay(1, 2);
  sink.close(false);
  expect(refused).toEqual([]);
  sink.receive(new Batch(16), 16);
  expect(arrived).toEqual([1, 2]);
});
