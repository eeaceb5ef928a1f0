/**
 * One worker's counters, in memory that the main thread reads while the worker writes. Each value is a float64 that
 * counts exactly to 2^53; there is one writer, so plain additions are enough and a reader sees whole values. @hot
 */

import { PORTS_MAX, TUNNELS_MAX } from '../limits.js';
import { DROP_REASON_COUNT } from './drop-reason.js';
import type { IoLosses } from './io-engine.js';
import { touchRows } from './touch.js';

/** Fields of a port. rxFrames = forwarded + consumed + dropped, always: the four are counted when the frame ends. */
export const RX_FRAMES = 0;
export const RX_BYTES = 1;
export const RX_FORWARDED = 2;
export const RX_CONSUMED = 3;
export const RX_DROPPED = 4;
export const TX_FRAMES = 5;
export const TX_BYTES = 6;
/** Frames the switch itself made. */
export const TX_GENERATED = 7;
/** Copies that could not be sent. */
export const TX_DROPPED = 8;
/** Addresses that were not learned because a limit was reached. */
export const NOT_LEARNED = 9;
/** Stations that moved to this port from another one. */
export const STATION_MOVES = 10;
export const PORT_FIELDS = 16;

/** Fields of a worker. */
export const WORKER_BREATHS = 0;
export const WORKER_FRAMES = 1;
/** Nanoseconds spent working (not asleep, not spinning idly). */
export const WORKER_BUSY_NS = 2;
/** Monotonic milliseconds of the last breath: the heartbeat. */
export const WORKER_LAST_BREATH_MS = 3;
export const WORKER_RECEIVED_BATCHES = 4;
export const WORKER_SLOTS_FREE = 5;
export const WORKER_EPOCH = 6;
export const WORKER_FIELDS = 16;

/** Fields of a tunnel: frames in datagrams, and their octets. */
export const TUNNEL_RX_FRAMES = 0;
export const TUNNEL_RX_BYTES = 1;
export const TUNNEL_TX_FRAMES = 2;
export const TUNNEL_TX_BYTES = 3;
const TUNNEL_FIELDS = 4;

/** `of` of a drop: the received frame, or one copy of it on an egress port. */
export const DROP_OF_FRAME = 0;
export const DROP_OF_COPY = 1;

/** Which call failed. */
export const FAILED_RECEIVE = 0;
export const FAILED_SEND = 1;
/** Errnos that are counted one by one, as many as Linux has; 0 stands for any other. */
export const ERRNO_COUNT = 134;

const DROPS_START = WORKER_FIELDS + PORTS_MAX * PORT_FIELDS;
const FAILURES_START = DROPS_START + PORTS_MAX * DROP_REASON_COUNT * 2;
const TUNNELS_START = FAILURES_START + ERRNO_COUNT * 2;
export const COUNTERS_SIZE = (TUNNELS_START + (TUNNELS_MAX + 1) * TUNNEL_FIELDS) * 8;

export class Counters implements IoLosses {
  readonly values: Float64Array;
  /** Those of tunnels, as words to touch. */
  private readonly tunnelWords: Int32Array;

  constructor(buffer: SharedArrayBuffer | ArrayBuffer = new SharedArrayBuffer(COUNTERS_SIZE)) {
    this.values = new Float64Array(buffer);
    this.tunnelWords = new Int32Array(buffer, TUNNELS_START * 8);
  }

  addPort(port: number, field: number, amount: number): void {
    this.values[WORKER_FIELDS + port * PORT_FIELDS + field] += amount;
  }

  addTunnel(tunnel: number, field: number, amount: number): void {
    this.values[TUNNELS_START + tunnel * TUNNEL_FIELDS + field] += amount;
  }

  /** Gets the counters of these tunnels into the cache; see touchRows. */
  touchTunnels(tunnels: Int32Array, count: number): void {
    touchRows(this.tunnelWords, tunnels, count, TUNNEL_FIELDS * 2);
  }

  tunnelValue(tunnel: number, field: number): number {
    return this.values[TUNNELS_START + tunnel * TUNNEL_FIELDS + field];
  }

  addDrop(port: number, reason: number, of: number): void {
    this.values[DROPS_START + (port * DROP_REASON_COUNT + reason) * 2 + of] += 1;
  }

  failed(operation: number, errno: number): void {
    this.values[FAILURES_START + (errno < ERRNO_COUNT ? errno : 0) * 2 + operation] += 1;
  }

  lostFrame(port: number, reason: number): void {
    this.addPort(port, RX_FRAMES, 1);
    this.addPort(port, RX_DROPPED, 1);
    this.addDrop(port, reason, DROP_OF_FRAME);
  }

  lostCopy(port: number, reason: number): void {
    this.addPort(port, TX_DROPPED, 1);
    this.addDrop(port, reason, DROP_OF_COPY);
  }

  failureValue(operation: number, errno: number): number {
    return this.values[FAILURES_START + errno * 2 + operation];
  }

  portValue(port: number, field: number): number {
    return this.values[WORKER_FIELDS + port * PORT_FIELDS + field];
  }

  dropValue(port: number, reason: number, of: number): number {
    return this.values[DROPS_START + (port * DROP_REASON_COUNT + reason) * 2 + of];
  }
}
