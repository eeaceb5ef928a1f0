/**
 * Token buckets that several workers draw from: three a port for storm control (STORM_... of snapshot.ts),
 * and those of the answers the switch gives. A bucket is
 * two words: what it holds in thousandths of a frame, and the millisecond it was filled up to. A rate in frames a second
 * is thousandths of a frame a millisecond, so filling is exact in integers and nothing drifts. @hot
 *
 * A bucket holds STORM_BURST_MS of its rate, at least one frame, and starts full. Who advances the millisecond (one
 * compare-exchange) fills; drawing is one subtraction, taken back when there was not enough. Two workers may see each
 * other's subtraction before it is taken back: then a frame too many is refused, never one too many let through.
 *
 * What costs the main thread time has a bound for all ports together, too (`takeShared`): half of it is for whoever comes
 * first; where that is used up, each port has an equal part of the other half, in a bucket of its own. So while a hundred
 * flood, each other one still gets its part, and while few ask much, nobody feels the bound.
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
/** Of those, TCP connections that are asked for. */
export const BUCKET_OPENINGS = 11;
/** What all ports share, one bucket a port for its part of each: `takeShared`. */
const BUCKET_SHARES = 12;
export const SHARED_NAMES = 0;
export const SHARED_METADATA = 1;
export const SHARED_OPENINGS = 2;
export const SHARED_DHCP = 3;
const SHARED_COUNT = 4;
/** Behind the ports' buckets: one for each that is shared, then of each who came for his part. */
const COMMON_BUCKETS = PORTS_MAX * BUCKETS_PER_PORT;
const SHARERS_START = (COMMON_BUCKETS + SHARED_COUNT) * BUCKET_WORDS;
/** When the period began, ports that came in it, and in the one before. */
const SHARERS_WORDS = 3;
const PERIOD_MS = 1000;
/** Octets of memory for all of them. */
export const TOKEN_BUCKETS_SIZE = (SHARERS_START + SHARED_COUNT * SHARERS_WORDS) * 4;

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

  /**
   * Draws one frame of what all ports share (SHARED_...), `total` a second. False: that is used up, and the port's part of it.
   * Each port is held to a rate of its own before: this says nothing about how much one port may take while others don't ask.
   */
  takeShared(shared: number, port: number, total: number, nowMs: number): boolean {
    const half = Math.max(total >> 1, 1);
    if (this.take(COMMON_BUCKETS + shared, half, nowMs)) return true;
    const bucket = port * BUCKETS_PER_PORT + BUCKET_SHARES + shared;
    const part = Math.floor(half / this.countSharers(shared, bucket, (Math.floor(nowMs) + 1) | 0));
    return this.take(bucket, Math.max(part, 1), nowMs);
  }

  /** Ports that come for their parts lately, that with this bucket among them. After many it goes down by halves. */
  private countSharers(shared: number, bucket: number, now: number): number {
    const words = this.words;
    const at = SHARERS_START + shared * SHARERS_WORDS;
    const began = Atomics.load(words, at);
    const elapsed = (now - began) | 0;
    const isOver = elapsed >= PERIOD_MS || elapsed < -CLOCK_BEHIND_MAX_MS;
    if (isOver && Atomics.compareExchange(words, at, began, now) === began) {
      const came = Atomics.exchange(words, at + 1, 0);
      Atomics.store(words, at + 2, Math.max(came, Atomics.load(words, at + 2) >> 1));
    }
    // A bucket is filled when it is drawn from.
    const filled = Atomics.load(words, bucket * BUCKET_WORDS + 1);
    if (filled === 0 || ((filled - Atomics.load(words, at)) | 0) < 0) Atomics.add(words, at + 1, 1);
    return Math.max(Atomics.load(words, at + 1), Atomics.load(words, at + 2), 1);
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
