/**
 * How often each rule decided: frames, octets and when last, in memory that the main thread reads while the worker writes.
 * One writer a memory, so plain additions are enough. A rule's number is its compiled set's base and its place in the set
 * (control/rule-numbers.ts gives out the bases). @hot
 */
import { RULE_NUMBERS } from '../limits.js';

const FRAMES = 0;
const BYTES = 1;
/** Monotonic seconds, and one more: 0 is never. */
const LAST = 2;
const FIELDS = 3;
/** In front: matches of rules with `log` that were not logged. */
const HEADER = 1;
export const RULE_COUNTERS_SIZE = (HEADER + RULE_NUMBERS * FIELDS) * 8;

export interface RuleCount {
  readonly frames: number;
  readonly bytes: number;
  /** Monotonic seconds of the last hit; -1: there was none. */
  readonly lastSeconds: number;
}

export class RuleCounters {
  private readonly values: Float64Array;
  private readonly count: number;

  /** Without memory it counts nothing: where nobody asks. */
  constructor(memory: SharedArrayBuffer | ArrayBuffer = new ArrayBuffer(8)) {
    this.values = new Float64Array(memory);
    this.count = Math.floor((this.values.length - HEADER) / FIELDS);
  }

  /** A number that is none, -1 say, is not counted. */
  hit(number: number, frames: number, octets: number, nowSeconds: number): void {
    if (number < 0 || number >= this.count) return;
    const at = HEADER + number * FIELDS;
    this.values[at + FRAMES] += frames;
    this.values[at + BYTES] += octets;
    this.values[at + LAST] = nowSeconds + 1;
  }

  suppress(): void {
    this.values[0] += 1;
  }

  get suppressed(): number {
    return this.values[0];
  }

  read(number: number): RuleCount {
    const at = HEADER + number * FIELDS;
    return {
      frames: this.values[at + FRAMES],
      bytes: this.values[at + BYTES],
      lastSeconds: this.values[at + LAST] - 1,
    };
  }
}
