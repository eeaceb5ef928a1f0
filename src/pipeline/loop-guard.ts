/**
 * Finds loops without a protocol: a station that moves between two ports more than LOOP_MOVES_PER_SECOND times a second.
 * The port that came later (not the one the station was first seen behind) is blocked for LOOP_BLOCK_MS.
 *
 * Shared by all workers and read by the main thread. Suspects live in a small direct-mapped table: a collision forgets a
 * suspect and so delays the finding of a loop; nobody can block a port that is not itself the source of the moves. @hot
 */
import { LOOP_BLOCK_MS, LOOP_MOVES_PER_SECOND, PORTS_MAX } from '../limits.js';

const SUSPECTS = 256;
/** Words of a suspect: network and macHigh, macLow, home port, count. */
const WORDS = 4;
const TIMES_START = SUSPECTS * WORDS * 4;
export const LOOP_GUARD_SIZE = TIMES_START + (SUSPECTS + PORTS_MAX) * 8;

export class LoopGuard {
  /** Of the worker's batch in hand, for `isBlockedNow`. */
  nowMs = 0;
  private readonly words: Int32Array;
  /** Milliseconds at which each suspect's second began, then until when each port is blocked. */
  private readonly times: Float64Array;

  constructor(buffer: SharedArrayBuffer | ArrayBuffer = new SharedArrayBuffer(LOOP_GUARD_SIZE)) {
    this.words = new Int32Array(buffer, 0, SUSPECTS * WORDS);
    this.times = new Float64Array(buffer, TIMES_START, SUSPECTS + PORTS_MAX);
  }

  /** Whether the port is blocked while the batch in hand is worked on. */
  isBlockedNow(port: number): boolean {
    return this.times[SUSPECTS + port] > this.nowMs;
  }

  isBlocked(port: number, nowMs: number): boolean {
    return this.times[SUSPECTS + port] > nowMs;
  }

  /** Milliseconds until which the port is blocked; 0 or past when it is not. */
  blockedUntil(port: number): number {
    return this.times[SUSPECTS + port];
  }

  unblock(port: number): void {
    this.times[SUSPECTS + port] = 0;
  }

  /** A station moved from one port to another. Returns true when that made a loop of it and `to` is now blocked. */
  noteMove(networkAndMacHigh: number, macLow: number, from: number, to: number, nowMs: number): boolean {
    const suspect = Math.imul(macLow ^ networkAndMacHigh, 0x9e37_79b1) >>> 24;
    const word = suspect * WORDS;
    const words = this.words;
    const isKnown = words[word] === networkAndMacHigh && words[word + 1] === macLow;
    if (!isKnown || nowMs - this.times[suspect] >= 1000) {
      // A second window of one and the same trouble keeps the home that the first one found.
      const keepsHome = isKnown && nowMs - this.times[suspect] < 2000;
      words[word] = networkAndMacHigh;
      words[word + 1] = macLow;
      if (!keepsHome) words[word + 2] = from;
      words[word + 3] = 1;
      this.times[suspect] = nowMs;
      return false;
    }
    words[word + 3]++;
    if (words[word + 3] <= LOOP_MOVES_PER_SECOND || to === words[word + 2]) return false;
    this.times[SUSPECTS + to] = nowMs + LOOP_BLOCK_MS;
    words[word + 3] = 0;
    return true;
  }
}
