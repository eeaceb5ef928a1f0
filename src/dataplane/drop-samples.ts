/**
 * The last frame that died of each (port, reason, of), per worker, in memory the main thread reads: `weft drops` shows it.
 * At most one sample a row and millisecond is kept, so that a flood of bad frames costs a comparison each. One writer; a
 * row's sequence is odd while it is written. @hot
 *
 * Rows are given out as reasons first occur, at most DROP_SAMPLES_MAX; then whoever comes gets the row that was not
 * written for the longest time, first of all those of ports that are no more (`forget`). Finding it is a walk through the
 * table, so it is done once a millisecond at most: whatever ports send, 4,096 comparisons in that time.
 */
import { DROP_SAMPLE_SIZE, DROP_SAMPLES_MAX, PORTS_MAX } from '../limits.js';
import { DROP_REASON_COUNT } from './drop-reason.js';
import type { FramePool } from './frame-pool.js';

/** Words of a row: sequence, port, reason, of, length of the frame, rule, milliseconds (float64), then the octets. */
const ROW_SIZE = 32 + DROP_SAMPLE_SIZE;
const ROWS_START = 8;
/** In a row's words: where port and time lie; a port of nobody's. */
const PORT_WORD = 1;
const TIME_OFFSET = 24;
const NOBODY = -1;
const INDEX_START = ROWS_START + DROP_SAMPLES_MAX * ROW_SIZE;
const INDEX_COUNT = PORTS_MAX * DROP_REASON_COUNT * 2;
export const DROP_SAMPLES_SIZE = INDEX_START + INDEX_COUNT * 2;

/** One kept frame. */
export interface DropSample {
  readonly port: number;
  readonly reason: number;
  readonly of: number;
  /** Octets the whole frame had. */
  readonly length: number;
  /** Number of the rule that decided about it last, and one more; 0: none did. */
  readonly rule: number;
  readonly atMs: number;
  /** Its first octets. */
  readonly octets: Uint8Array;
}

export class DropSamples {
  /** The memory, to be shared with the other side. */
  readonly buffer: SharedArrayBuffer | ArrayBuffer;
  /** Monotonic milliseconds, set once a batch: as an argument of `take` it would be a heap number for every drop. */
  nowMs = 0;
  private reusedMs = -1;
  private readonly octets: Uint8Array;
  private readonly words: Int32Array;
  private readonly times: Float64Array;
  /** Row number plus one by (port, reason, of); 0: none yet. */
  private readonly index: Uint16Array;

  constructor(buffer: SharedArrayBuffer | ArrayBuffer = new SharedArrayBuffer(DROP_SAMPLES_SIZE)) {
    this.buffer = buffer;
    this.octets = new Uint8Array(buffer);
    this.words = new Int32Array(buffer, 0, INDEX_START >> 2);
    this.times = new Float64Array(buffer, 0, INDEX_START >> 3);
    this.index = new Uint16Array(buffer, INDEX_START, INDEX_COUNT);
  }

  /** Keeps the head of the frame in `slot` as the latest of its kind. */
  take(pool: FramePool, slot: number, port: number, reason: number, of: number, rule = 0): void {
    const key = (port * DROP_REASON_COUNT + reason) * 2 + of;
    let row = this.index[key] - 1;
    if (row < 0) row = this.newRow(key);
    if (row < 0) return;
    const position = ROWS_START + row * ROW_SIZE;
    if (this.times[(position + TIME_OFFSET) >> 3] === this.nowMs) return;
    const word = position >> 2;
    const words = this.words;
    // Odd from here on, also if the last writer died in the middle of the row.
    const sequence = words[word] | 1;
    Atomics.store(words, word, sequence);
    words[word + PORT_WORD] = port;
    words[word + 2] = reason;
    words[word + 3] = of;
    const length = pool.length[slot];
    words[word + 4] = length;
    words[word + 5] = rule;
    this.times[(position + TIME_OFFSET) >> 3] = this.nowMs;
    const start = pool.offset[slot];
    const kept = Math.min(length, DROP_SAMPLE_SIZE);
    const to = position + 32;
    for (let index = 0; index < kept; index++) this.octets[to + index] = pool.octets[start + index];
    Atomics.store(words, word, (sequence + 1) | 0);
  }

  /** Frees the rows of a port that is no more. Worker only. */
  forget(port: number): void {
    const first = port * DROP_REASON_COUNT * 2;
    for (let key = first; key < first + DROP_REASON_COUNT * 2; key++) {
      const row = this.index[key] - 1;
      if (row < 0) continue;
      this.index[key] = 0;
      this.disown(ROWS_START + row * ROW_SIZE);
    }
  }

  /** All kept frames. For the main thread; a row that is being written is left out. */
  list(): DropSample[] {
    const samples: DropSample[] = [];
    const count = Math.min(Atomics.load(this.words, 0), DROP_SAMPLES_MAX);
    for (let row = 0; row < count; row++) {
      const sample = this.read(ROWS_START + row * ROW_SIZE);
      if (sample !== undefined) samples.push(sample);
    }
    return samples;
  }

  private read(position: number): DropSample | undefined {
    const word = position >> 2;
    const before = Atomics.load(this.words, word);
    if (before === 0 || (before & 1) === 1) return undefined;
    if (this.words[word + PORT_WORD] === NOBODY) return undefined;
    const length = this.words[word + 4];
    const sample: DropSample = {
      port: this.words[word + PORT_WORD],
      reason: this.words[word + 2],
      of: this.words[word + 3],
      length,
      rule: this.words[word + 5],
      atMs: this.times[(position + TIME_OFFSET) >> 3],
      octets: this.octets.slice(position + 32, position + 32 + Math.min(length, DROP_SAMPLE_SIZE)),
    };
    return Atomics.load(this.words, word) === before ? sample : undefined;
  }

  private newRow(key: number): number {
    const row = this.words[0];
    if (row >= DROP_SAMPLES_MAX) return this.reuseRow(key);
    // In this order: a writer that dies in between loses a row, instead of leaving it to two keys.
    Atomics.store(this.words, 0, row + 1);
    this.index[key] = row + 1;
    return row;
  }

  /** Takes the row that was written longest ago from whom it is; -1 when one was taken in this millisecond. */
  private reuseRow(key: number): number {
    if (this.reusedMs === this.nowMs) return -1;
    this.reusedMs = this.nowMs;
    let oldest = 0;
    for (let row = 1; row < DROP_SAMPLES_MAX; row++) if (this.timeOf(row) < this.timeOf(oldest)) oldest = row;
    const position = ROWS_START + oldest * ROW_SIZE;
    const word = position >> 2;
    const port = this.words[word + PORT_WORD];
    const former = (port * DROP_REASON_COUNT + this.words[word + 2]) * 2 + this.words[word + 3];
    // Not its own when a writer died between giving it out and writing it.
    if (port !== NOBODY && this.index[former] === oldest + 1) this.index[former] = 0;
    this.disown(position);
    this.index[key] = oldest + 1;
    return oldest;
  }

  private timeOf(row: number): number {
    return this.times[(ROWS_START + row * ROW_SIZE + TIME_OFFSET) >> 3];
  }

  /** Readers pass the row over, and it is the first to be taken. */
  private disown(position: number): void {
    const word = position >> 2;
    const sequence = this.words[word] | 1;
    Atomics.store(this.words, word, sequence);
    this.words[word + PORT_WORD] = NOBODY;
    this.times[(position + TIME_OFFSET) >> 3] = -1;
    Atomics.store(this.words, word, (sequence + 1) | 0);
  }
}
