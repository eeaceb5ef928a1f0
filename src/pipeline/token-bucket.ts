/**
 * Token buckets that several workers draw from: three a port for storm control (STORM_... of snapshot.ts),
 * and those of the answers the switch gives. A bucket is
 * two words: what it holds in thousandths of a frame, and the millisecond it was filled up to. A rate in frames a second
 * is thousandths of a frame a millisecond, so filling is exact in integers and nothing drifts. @hot
 *
 * A bucket holds STORM_BURST_MS of its rate, at least one frame, and starts full. Who advances the millisecond (one
 * compare-exchange) fills; drawing is one subtraction, taken back when there was not enough. Two workers may see each
 * other's subtraction before it is taken back: then a frame too many is refused, never one too many let through.
 */
import { PORTS_MAX, STORM_BURST_MS } from '../limits.js';

const FRAME = 1000;
/** Holds no more than this, so that sums stay below 2^31: 100 ms of 5.3 million frames a second, beyond any worker. */
const LEVEL_MAX = 2 ** 29;
/** A clock this far behind a bucket's own is not another worker's older reading, but milliseconds that wrapped (25 days). */
const CLOCK_BEHIND_MAX_MS = 1000;
const BUCKET_WORDS = 2;

/** Buckets a port has: index `port * BUCKETS_PER_PORT + STORM_...`, or one of those below. */
export const BUCKETS_PER_PORT = 16;
/** Answers to what the port sends: ICMP errors, ARP replies and neighbour advertisements. */
export const BUCKET_ICMP_ERRORS = 3;
export const BUCKET_ARP = 4;
/** Bindings of addresses that the port teaches (neighbor-table.ts). */
export const BUCKET_NEIGHBORS = 5;
/** Stations that are said to be behind a remote now and were known elsewhere. */
export const BUCKET_MOVES = 6;
/** Frames handed to the address service. */
export const BUCKET_DHCP = 7;
/** Echo requests that routers answer. */
export const BUCKET_ECHO = 8;
/** Frames handed to the services for machines. */
export const BUCKET_DNS = 9;
export const BUCKET_METADATA = 10;
/** Octets of memory for the buckets of all ports. */
export const TOKEN_BUCKETS_SIZE = PORTS_MAX * BUCKETS_PER_PORT * BUCKET_WORDS * 4;

export class TokenBuckets {
  private readonly words: Int32Array;

  /** Over zeroed memory, shared by all workers. */
  constructor(memory: SharedArrayBuffer | ArrayBuffer) {
    this.words = new Int32Array(memory);
  }

  /** Draws one frame. `rate` in frames a second, at least 1; `nowMs` monotonic. False: the frame is over the rate. */
  take(bucket: number, rate: number, nowMs: number): boolean {
    const at = bucket * BUCKET_WORDS;
    const words = this.words;
    // 0 is a bucket that was never used, so time begins at 1.
    const now = (Math.floor(nowMs) + 1) | 0;
    if (words[at + 1] !== now) this.fill(at, rate, now);
    if (Atomics.sub(words, at, FRAME) >= FRAME) return true;
    Atomics.add(words, at, FRAME);
    return false;
  }

  /** The port is no more: whoever gets its number starts with full buckets. */
  forgetPort(port: number): void {
    const start = port * BUCKETS_PER_PORT * BUCKET_WORDS;
    this.words.fill(0, start, start + BUCKETS_PER_PORT * BUCKET_WORDS);
  }

  private fill(at: number, rate: number, now: number): void {
    const words = this.words;
    const last = Atomics.load(words, at + 1);
    let elapsed = (now - last) | 0;
    if (elapsed < -CLOCK_BEHIND_MAX_MS || last === 0) elapsed = LEVEL_MAX;
    if (elapsed <= 0 || Atomics.compareExchange(words, at + 1, last, now) !== last) return;
    const most = Math.min(Math.max(rate * STORM_BURST_MS, FRAME), LEVEL_MAX);
    const added = Math.min(rate * elapsed, most);
    const level = Atomics.add(words, at, added) + added;
    if (level > most) Atomics.sub(words, at, level - most);
  }
}
