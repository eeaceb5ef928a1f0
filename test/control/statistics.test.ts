/** What is shown of the workers' counters: sums over workers, from an index's beginning on, that always add up. */
import { beforeEach, expect, test } from 'vitest';
import { Statistics } from '../../src/control/statistics.js';
import { monotonicMs } from '../../src/dataplane/clock.js';
import {
  Counters,
  DROP_OF_COPY,
  DROP_OF_FRAME,
  FAILED_RECEIVE,
  FAILED_SEND,
  RX_BYTES,
  RX_CONSUMED,
  RX_DROPPED,
  RX_FORWARDED,
  RX_FRAMES,
  TX_DROPPED,
  TX_FRAMES,
} from '../../src/dataplane/counters.js';
import { dropReasonNumber } from '../../src/dataplane/drop-reason.js';
import { DropSamples } from '../../src/dataplane/drop-samples.js';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import type { WorkerSeat } from '../../src/dataplane/worker-pool.js';

const PORT = 3;
let seats: WorkerSeat[];
let statistics: Statistics;

beforeEach(() => {
  seats = [0, 1].map((index) => ({
    index,
    counters: new Counters(),
    samples: new DropSamples(),
    state: 'running',
    restarts: 0,
    io: 'poll',
    ioReason: '',
  }));
  statistics = new Statistics(() => seats);
});

/** As a worker counts a frame that it forwards, one that it consumes, or drops. */
function count(worker: number, outcome: number, frames = 1): void {
  const { counters } = seats[worker];
  counters.addPort(PORT, RX_FRAMES, frames);
  counters.addPort(PORT, RX_BYTES, 60 * frames);
  counters.addPort(PORT, outcome, frames);
  if (outcome === RX_DROPPED)
    for (let frame = 0; frame < frames; frame++) counters.addDrop(PORT, dropReasonNumber.runt, DROP_OF_FRAME);
}

/** A dropped frame's sample, taken so many milliseconds from now. */
function sample(worker: number, fromNowMs: number): void {
  const pool = new FramePool(1);
  const slot = pool.allocate();
  pool.receive(slot, PORT, 20);
  seats[worker].samples.nowMs = monotonicMs() + fromNowMs;
  seats[worker].samples.take(pool, slot, PORT, dropReasonNumber.runt, DROP_OF_FRAME);
}

const rx = () => statistics.port(PORT, 'vm1').rx;

test('a port’s numbers are the sum over the workers', () => {
  statistics.begin(PORT);
  count(0, RX_FORWARDED, 5);
  count(1, RX_FORWARDED, 2);
  count(1, RX_CONSUMED);
  count(0, RX_DROPPED, 3);
  seats[1].counters.addPort(PORT, TX_FRAMES, 4);
  expect(rx()).toEqual({ frames: 11, bytes: 660, forwarded: 7, consumed: 1, dropped: 3 });
  expect(statistics.port(PORT, 'vm1').tx.frames).toBe(4);
  expect(statistics.drops(PORT, 'vm1', new Map())).toMatchObject([{ reason: 'runt', of: 'frame', count: 3 }]);
});

test('frames that the kernel lost count as received and dropped, and failed calls are told by errno', () => {
  statistics.begin(PORT);
  seats[0].counters.lostFrame(PORT, dropReasonNumber.bad_vnet_header);
  seats[0].counters.lostCopy(PORT, dropReasonNumber.port_down);
  for (let call = 0; call < 2; call++) seats[1].counters.failed(FAILED_RECEIVE, 22);
  seats[1].counters.failed(FAILED_SEND, 105);
  seats[1].counters.failed(FAILED_SEND, 9999);
  expect(rx()).toMatchObject({ frames: 1, forwarded: 0, consumed: 0, dropped: 1 });
  expect(statistics.port(PORT, 'vm1').tx.dropped).toBe(1);
  expect(statistics.drops(PORT, 'vm1', new Map())).toMatchObject([
    { reason: 'bad_vnet_header', of: 'frame', count: 1 },
    { reason: 'port_down', of: 'copy', count: 1 },
  ]);
  expect(statistics.workerStatus().map(({ ioFailures }) => ioFailures)).toEqual([
    [],
    [
      { operation: 'receive', errno: 'EINVAL', count: 2 },
      { operation: 'send', errno: 'other', count: 1 },
      { operation: 'send', errno: 'ENOBUFS', count: 1 },
    ],
  ]);
});

test('an index that is given out again begins at zero', () => {
  statistics.begin(PORT);
  count(0, RX_DROPPED, 9);
  statistics.end(PORT);
  statistics.begin(PORT);
  expect(rx()).toEqual({ frames: 0, bytes: 0, forwarded: 0, consumed: 0, dropped: 0 });
  expect(statistics.drops(PORT, 'vm1', new Map())).toEqual([]);
  count(1, RX_DROPPED);
  expect(rx()).toMatchObject({ frames: 1, dropped: 1 });
});

test('a reading in the middle of a frame adds up', () => {
  statistics.begin(PORT);
  const { counters } = seats[0];
  const addsUp = () => expect(rx().frames).toBe(rx().forwarded + rx().consumed + rx().dropped);
  counters.addPort(PORT, RX_FRAMES, 1);
  addsUp();
  counters.addPort(PORT, RX_DROPPED, 1);
  addsUp();
  expect(rx().dropped).toBe(0);
  counters.addDrop(PORT, dropReasonNumber.runt, DROP_OF_FRAME);
  addsUp();
  expect(rx().dropped).toBe(1);
  counters.addDrop(PORT, dropReasonNumber.tx_full, DROP_OF_COPY);
  counters.addPort(PORT, TX_DROPPED, 1);
  expect(statistics.port(PORT, 'vm1').tx.dropped).toBe(1);
});

test('the last frame that died is shown, over all workers, but none of the port that had the index before', () => {
  count(0, RX_DROPPED);
  sample(0, -1000);
  statistics.begin(PORT);
  count(1, RX_DROPPED);
  const shown = () => statistics.drops(PORT, 'vm1', statistics.dropSamples())[0];
  expect(shown().lastFrame).toBeUndefined();
  sample(1, 1);
  expect(shown().lastFrame?.hex).toHaveLength(40);
});

test('rates are between the last two samples, and a new port has none of its predecessor’s', () => {
  statistics.begin(PORT);
  statistics.sample();
  count(0, RX_FORWARDED, 1000);
  const until = performance.now() + 5;
  while (performance.now() < until);
  statistics.sample();
  const { rx: rate } = statistics.portRates(PORT);
  expect(rate.framesPerSecond).toBeGreaterThan(0);
  expect(rate.bitsPerSecond / rate.framesPerSecond).toBeCloseTo(480);
  statistics.end(PORT);
  statistics.begin(PORT);
  expect(statistics.portRates(PORT).rx.framesPerSecond).toBe(0);
});
