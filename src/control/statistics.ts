/**
 * Sums what the workers count: ports, drops and workers as the control socket shows them, and rates over about a second.
 * Reads the workers' counter pages directly, so values are as fresh as the last breath. Main thread.
 *
 * A port's numbers begin at zero when its index is given out (`begin`), although the pages count on: an index that a
 * removed port had is used again.
 *
 * A worker counts one frame in several places, and is read while it does so, or dies between two of them. So the sums
 * are made here, from the parts: what is shown always adds up (rx.frames = forwarded + consumed + dropped).
 */
import { monotonicMs } from '../dataplane/clock.js';
import {
  type Counters,
  DROP_OF_COPY,
  DROP_OF_FRAME,
  ERRNO_COUNT,
  FAILED_RECEIVE,
  FAILED_SEND,
  NOT_LEARNED,
  PORT_FIELDS,
  RX_BYTES,
  RX_CONSUMED,
  RX_DROPPED,
  RX_FORWARDED,
  RX_FRAMES,
  STATION_MOVES,
  TX_BYTES,
  TX_DROPPED,
  TX_FRAMES,
  TX_GENERATED,
  WORKER_BREATHS,
  WORKER_BUSY_NS,
  WORKER_FRAMES,
  WORKER_LAST_BREATH_MS,
  WORKER_RECEIVED_BATCHES,
  WORKER_SLOTS_FREE,
} from '../dataplane/counters.js';
import { DROP_REASON_COUNT, type DropReason, dropReasons, dropReasonText } from '../dataplane/drop-reason.js';
import type { DropSample } from '../dataplane/drop-samples.js';
import { errnoName } from '../dataplane/native.js';
import type { WorkerSeat } from '../dataplane/worker-pool.js';
import { PORTS_MAX } from '../limits.js';
import type { DropRow, IoFailure, PortStats, Rate, WorkerStats, WorkerStatus } from './shapes.js';

/** Counters of one port, by field (counters.ts), and its drops by reason and `of`. */
interface Reading {
  readonly atMs: number;
  readonly fields: Float64Array;
  readonly drops: Float64Array;
}

interface RateSample {
  readonly atMs: number;
  /** RATED fields by port; NaN: the port has none yet. */
  readonly ports: Float64Array;
  readonly workers: readonly { frames: number; busyNs: number }[];
}

/** What a port's rates are made of. */
const RATED = [RX_FRAMES, RX_BYTES, TX_FRAMES, TX_BYTES] as const;
const RATED_COUNT = RATED.length;

const NO_RATE: Rate = { framesPerSecond: 0, bitsPerSecond: 0 };

type RuleName = (number: number, atMs: number) => string | undefined;

export class Statistics {
  private readonly seats: () => readonly WorkerSeat[];
  private readonly ruleName: RuleName;
  private readonly baselines = new Map<number, Reading>();
  private previous: RateSample | undefined;
  private latest: RateSample | undefined;

  /** `ruleName`: what a rule's number stood for at a time. */
  constructor(seats: () => readonly WorkerSeat[], ruleName: RuleName = () => undefined) {
    this.seats = seats;
    this.ruleName = ruleName;
  }

  /** The index is a new port's now: its numbers begin here. */
  begin(index: number): void {
    this.baselines.set(index, this.total(index));
    const at = index * RATED_COUNT;
    this.previous?.ports.fill(Number.NaN, at, at + RATED_COUNT);
    this.latest?.ports.fill(Number.NaN, at, at + RATED_COUNT);
  }

  /** Forgets a removed port. */
  end(index: number): void {
    this.baselines.delete(index);
  }

  /** Takes a sample for the rates; called about once a second, so it makes no garbage of a thousand ports. */
  sample(): void {
    const ports = this.previous?.ports ?? new Float64Array(PORTS_MAX * RATED_COUNT).fill(Number.NaN);
    const seats = this.seats();
    for (const index of this.baselines.keys()) {
      for (let place = 0; place < RATED_COUNT; place++) {
        let sum = 0;
        for (const { counters } of seats) sum += counters.portValue(index, RATED[place]);
        ports[index * RATED_COUNT + place] = sum;
      }
    }
    const workers = seats.map(({ counters }) => ({
      frames: counters.values[WORKER_FRAMES],
      busyNs: counters.values[WORKER_BUSY_NS],
    }));
    this.previous = this.latest;
    this.latest = { atMs: monotonicMs(), ports, workers };
  }

  port(index: number, name: string): PortStats {
    const { fields } = this.since(index);
    return {
      name,
      rx: {
        frames: fields[RX_FRAMES],
        bytes: fields[RX_BYTES],
        forwarded: fields[RX_FORWARDED],
        consumed: fields[RX_CONSUMED],
        dropped: fields[RX_DROPPED],
      },
      tx: {
        frames: fields[TX_FRAMES],
        bytes: fields[TX_BYTES],
        generated: fields[TX_GENERATED],
        dropped: fields[TX_DROPPED],
      },
      notLearned: fields[NOT_LEARNED],
      stationMoves: fields[STATION_MOVES],
    };
  }

  /** Rows of one port whose count is not zero. */
  drops(index: number, name: string, samples: ReadonlyMap<number, DropSample>): DropRow[] {
    const { drops } = this.since(index);
    const beganMs = this.baselines.get(index)?.atMs ?? 0;
    const rows: DropRow[] = [];
    for (let reason = 1; reason < DROP_REASON_COUNT; reason++) {
      for (const of of [DROP_OF_FRAME, DROP_OF_COPY]) {
        const count = drops[reason * 2 + of];
        if (count === 0) continue;
        const sample = samples.get(sampleKey(index, reason, of));
        // An older one is of the port that had the index before.
        rows.push(
          dropRow(
            name,
            reason,
            of,
            count,
            sample !== undefined && sample.atMs >= beganMs ? sample : undefined,
            this.ruleName,
          ),
        );
      }
    }
    return rows;
  }

  /** The latest sample of each (port, reason, of) over all workers. */
  dropSamples(): Map<number, DropSample> {
    const latest = new Map<number, DropSample>();
    for (const { samples } of this.seats()) {
      for (const sample of samples.list()) {
        const key = sampleKey(sample.port, sample.reason, sample.of);
        const known = latest.get(key);
        if (known === undefined || known.atMs < sample.atMs) latest.set(key, sample);
      }
    }
    return latest;
  }

  portRates(index: number): { rx: Rate; tx: Rate } {
    const now = this.latest?.ports;
    const then = this.previous?.ports;
    const seconds = this.sampleSeconds();
    const at = index * RATED_COUNT;
    if (now === undefined || then === undefined || seconds === 0 || Number.isNaN(now[at] - then[at]))
      return { rx: NO_RATE, tx: NO_RATE };
    const grown = (place: number) => (now[at + place] - then[at + place]) / seconds;
    return {
      rx: { framesPerSecond: grown(0), bitsPerSecond: grown(1) * 8 },
      tx: { framesPerSecond: grown(2), bitsPerSecond: grown(3) * 8 },
    };
  }

  workerStatus(): WorkerStatus[] {
    const seconds = this.sampleSeconds();
    return this.seats().map((seat) => {
      const now = this.latest?.workers[seat.index];
      const then = this.previous?.workers[seat.index];
      const isMeasured = now !== undefined && then !== undefined && seconds > 0;
      return {
        index: seat.index,
        state: seat.state,
        restarts: seat.restarts,
        ...(seat.lastExit === undefined ? {} : { lastExit: seat.lastExit }),
        framesPerSecond: isMeasured ? Math.max(0, (now.frames - then.frames) / seconds) : 0,
        busyShare: isMeasured ? Math.min(1, Math.max(0, (now.busyNs - then.busyNs) / 1e9 / seconds)) : 0,
        lastBreathSeconds: breathAge(seat.counters),
        ioFailures: ioFailures(seat.counters),
      };
    });
  }

  workerStats(): WorkerStats[] {
    return this.seats().map(({ index, counters }) => ({
      index,
      breaths: counters.values[WORKER_BREATHS],
      frames: counters.values[WORKER_FRAMES],
      batches: counters.values[WORKER_RECEIVED_BATCHES],
      busySeconds: counters.values[WORKER_BUSY_NS] / 1e9,
      slotsFree: counters.values[WORKER_SLOTS_FREE],
      lastBreathSeconds: breathAge(counters),
    }));
  }

  private sampleSeconds(): number {
    if (this.previous === undefined || this.latest === undefined) return 0;
    return (this.latest.atMs - this.previous.atMs) / 1000;
  }

  private since(index: number): Reading {
    const now = this.total(index);
    const base = this.baselines.get(index);
    if (base === undefined) return now;
    return {
      atMs: now.atMs,
      fields: now.fields.map((value, field) => value - base.fields[field]),
      drops: now.drops.map((value, at) => value - base.drops[at]),
    };
  }

  private total(index: number): Reading {
    const fields = new Float64Array(PORT_FIELDS);
    const drops = new Float64Array(DROP_REASON_COUNT * 2);
    for (const { counters } of this.seats()) {
      for (let field = 0; field < PORT_FIELDS; field++) fields[field] += counters.portValue(index, field);
      for (let reason = 0; reason < DROP_REASON_COUNT; reason++) {
        drops[reason * 2 + DROP_OF_FRAME] += counters.dropValue(index, reason, DROP_OF_FRAME);
        drops[reason * 2 + DROP_OF_COPY] += counters.dropValue(index, reason, DROP_OF_COPY);
      }
    }
    fields[RX_DROPPED] = 0;
    fields[TX_DROPPED] = 0;
    for (let reason = 0; reason < DROP_REASON_COUNT; reason++) {
      fields[RX_DROPPED] += drops[reason * 2 + DROP_OF_FRAME];
      fields[TX_DROPPED] += drops[reason * 2 + DROP_OF_COPY];
    }
    fields[RX_FRAMES] = fields[RX_FORWARDED] + fields[RX_CONSUMED] + fields[RX_DROPPED];
    return { atMs: monotonicMs(), fields, drops };
  }
}

function sampleKey(port: number, reason: number, of: number): number {
  return (port * DROP_REASON_COUNT + reason) * 2 + of;
}

/** Reasons that rules are behind. */
const RULE_REASONS: ReadonlySet<DropReason> = new Set<DropReason>(['acl_deny', 'acl_default']);

function dropRow(
  port: string,
  reason: number,
  of: number,
  count: number,
  sample: DropSample | undefined,
  ruleName: RuleName,
): DropRow {
  const name = dropReasons[reason];
  const isByRule = sample !== undefined && sample.rule > 0 && RULE_REASONS.has(name);
  const rule = isByRule ? ruleName(sample.rule - 1, sample.atMs) : undefined;
  return {
    reason: name,
    port,
    of: of === DROP_OF_FRAME ? 'frame' : 'copy',
    count,
    text: dropReasonText(name),
    ...(rule === undefined ? {} : { rule }),
    ...(sample === undefined
      ? {}
      : {
          lastFrame: {
            hex: Buffer.from(sample.octets).toString('hex'),
            atSeconds: Math.max(0, (monotonicMs() - sample.atMs) / 1000),
          },
        }),
  };
}

function ioFailures(counters: Counters): IoFailure[] {
  const failures: IoFailure[] = [];
  for (const [operation, number] of [['receive', FAILED_RECEIVE] as const, ['send', FAILED_SEND] as const]) {
    for (let errno = 0; errno < ERRNO_COUNT; errno++) {
      const count = counters.failureValue(number, errno);
      if (count !== 0) failures.push({ operation, errno: errno === 0 ? 'other' : errnoName(errno), count });
    }
  }
  return failures;
}

function breathAge(counters: Counters): number {
  return Math.max(0, (monotonicMs() - counters.values[WORKER_LAST_BREATH_MS]) / 1000);
}
