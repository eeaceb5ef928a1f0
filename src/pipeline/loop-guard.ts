/**
 * Finds loops without a protocol: a station that moves between two ports more than LOOP_MOVES_PER_SECOND times a second.
 * The port that came later is blocked for LOOP_BLOCK_MS.
 *
 * Which of two ports came later, the FDB knows (fdb.ts, `movedBack`): a station that goes back to where it was before,
 * within its network's macAge, says that the port it goes back from came later; in any other move that is the port it
 * goes to. So who forges the source address of a station gets his own port blocked and never the station's, also when the
 * station was silent for a while, when it had moved there a moment ago, or came back. If he was at it already
 * (LOOP_SUSPICION_MOVES within a second or two) when the station moved to a third port, the moves go on counting
 * against him. Moves are counted for each station and later port by themselves: nobody can add to another's.
 *
 * What can't be told apart: one frame with the address of a station that is silent, and the station's own move. Who has
 * held an address for longer than macAge while its owner said nothing, or was there first because the entry had
 * expired, or has two ports at his disposal to take it in turn, passes for its owner. `antiSpoof` and static entries
 * prevent all of it.
 *
 * Shared by all workers, without a lock, and read by the main thread. Counts live in a small direct-mapped table: a
 * collision forgets one and so delays the finding of a loop; it can't lay it to another port. @hot
 */
import { LOOP_BLOCK_MS, LOOP_MOVES_PER_SECOND, LOOP_SUSPICION_MOVES, PORTS_MAX } from '../limits.js';

const SUSPECTS = 256;
/** Words of a suspect: network and macHigh, macLow, the later port, moves in this second, moves in the one before. */
const WORDS = 5;
const PORT = 2;
const COUNT = 3;
const BEFORE = 4;
const WINDOW_MS = 1000;
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

  /** Milliseconds until which the port is blocked; 0 or past when it is not. */
  blockedUntil(port: number): number {
    return this.times[SUSPECTS + port];
  }

  /** The port is another one now: neither blocked nor suspected of anything. */
  unblock(port: number): void {
    this.times[SUSPECTS + port] = 0;
    for (let suspect = 0; suspect < SUSPECTS; suspect++)
      if (this.words[suspect * WORDS + PORT] === port) this.words[suspect * WORDS + PORT] = -1;
  }

  /**
   * A station moved from one of these ports to the other; `earlier` had it first, -1: a port that is no more. Returns
   * the port that is blocked for it now, else -1.
   */
  noteMove(networkAndMacHigh: number, macLow: number, earlier: number, later: number, nowMs: number): number {
    if (earlier === later) return -1;
    const isSuspected = this.movesBy(networkAndMacHigh, macLow, earlier, nowMs) >= LOOP_SUSPICION_MOVES;
    const isNew = this.movesBy(networkAndMacHigh, macLow, later, nowMs) < LOOP_SUSPICION_MOVES;
    const port = isSuspected && isNew ? earlier : later;
    if (port < 0 || this.count(networkAndMacHigh, macLow, port, nowMs) <= LOOP_MOVES_PER_SECOND) return -1;
    this.times[SUSPECTS + port] = nowMs + LOOP_BLOCK_MS;
    return port;
  }

  /** Counts one more move against the port; returns how many those are in this second. */
  private count(networkAndMacHigh: number, macLow: number, port: number, nowMs: number): number {
    const { words } = this;
    const suspect = suspectOf(networkAndMacHigh, macLow, port);
    const word = suspect * WORDS;
    const lately = this.movesBy(networkAndMacHigh, macLow, port, nowMs);
    if (!this.isAbout(word, networkAndMacHigh, macLow, port) || nowMs - this.times[suspect] >= WINDOW_MS) {
      words[word] = networkAndMacHigh;
      words[word + 1] = macLow;
      words[word + PORT] = port;
      words[word + COUNT] = 0;
      words[word + BEFORE] = lately;
      this.times[suspect] = nowMs;
    }
    return ++words[word + COUNT];
  }

  /** Moves of the station that were counted against the port in this second and the one before. */
  private movesBy(networkAndMacHigh: number, macLow: number, port: number, nowMs: number): number {
    const { words } = this;
    const suspect = suspectOf(networkAndMacHigh, macLow, port);
    const word = suspect * WORDS;
    const elapsed = nowMs - this.times[suspect];
    if (elapsed >= 2 * WINDOW_MS || !this.isAbout(word, networkAndMacHigh, macLow, port)) return 0;
    return words[word + COUNT] + (elapsed < WINDOW_MS ? words[word + BEFORE] : 0);
  }

  private isAbout(word: number, networkAndMacHigh: number, macLow: number, port: number): boolean {
    const { words } = this;
    return words[word] === networkAndMacHigh && words[word + 1] === macLow && words[word + PORT] === port;
  }
}

/** The ports of one station don't meet in one place. */
function suspectOf(networkAndMacHigh: number, macLow: number, port: number): number {
  return ((Math.imul(macLow ^ networkAndMacHigh, 0x9e37_79b1) >>> 24) + port) & (SUSPECTS - 1);
}
