/**
 * What rules with `log` matched, on its way from one worker to the main thread: the rule, the port, the verdict and the
 * frame's first octets. A sample: at most RULE_LOG_PER_SECOND a second, the rest is counted (rule-counters.ts), so whoever
 * sends what is logged costs a comparison a frame and the log a bounded number of lines. One writer, the worker; one
 * reader, the main thread. @hot
 */
import { FrameRing } from '../dataplane/frame-ring.js';
import { RULE_LOG_OCTETS, RULE_LOG_PER_SECOND } from '../limits.js';

/** Records read before the event loop gets its turn, and for how long at least. */
const RECORDS_MAX = 64;
const PAUSE_MS = 10;

/** One match. Its octets are good until the reader returns. */
export interface RuleMatch {
  readonly rule: number;
  readonly port: number;
  /** ACTION_... of acl.ts. */
  readonly action: number;
  /** 1: on the way out by the port. */
  readonly isEgress: boolean;
  /** Octets the whole frame had. */
  readonly length: number;
  readonly octets: Uint8Array;
}

export class RuleLog {
  private readonly ring: FrameRing;
  private second = -1;
  private count = 0;

  /** Over memory of `allocateFrameRing(RULE_LOG_RING_SIZE)`. */
  constructor(memory: SharedArrayBuffer) {
    this.ring = new FrameRing(memory);
  }

  /** False: there were enough in this second, or the reader is behind. */
  put(
    octets: Uint8Array,
    start: number,
    length: number,
    rule: number,
    port: number,
    action: number,
    isEgress: number,
    nowSeconds: number,
  ): boolean {
    if (nowSeconds !== this.second) {
      this.second = nowSeconds;
      this.count = 0;
    }
    if (this.count >= RULE_LOG_PER_SECOND) return false;
    // The ring's frames have offloads, these have a rule: those fields carry it.
    const kept = Math.min(length, RULE_LOG_OCTETS);
    if (!this.ring.put(octets, start, kept, rule, port, action, isEgress, length)) return false;
    this.count++;
    this.ring.wakeWaiter();
    return true;
  }

  /** Reads matches until the signal. */
  async read(hear: (match: RuleMatch) => void, signal: AbortSignal): Promise<void> {
    const { ring } = this;
    const octets = new Uint8Array(RULE_LOG_OCTETS);
    while (!signal.aborted) {
      for (let count = 0; count < RECORDS_MAX && !signal.aborted && ring.next(); count++) {
        const { gsoType: rule, gsoSize: port, checksumStart: action, headersEnd: length } = ring;
        const isEgress = ring.checksumOffset === 1;
        ring.copyTo(octets, 0);
        const kept = octets.subarray(0, ring.length);
        ring.advance();
        hear({ rule, port, action, isEgress, length, octets: kept });
      }
      await ring.wait();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS).unref());
    }
  }
}
