/**
 * Frames on their way from one worker to the main thread: those that tunnels brought for the switch itself, each with the
 * number of its tunnel. A bounded ring in shared memory; what does not fit is dropped (punt_limit), so whoever floods it
 * costs himself his liveness and nobody else anything. One writer, the worker; one reader, the main thread. @hot
 */
import { FrameRing } from '../dataplane/frame-ring.js';
import { PUNT_SIZE_MAX } from '../limits.js';

/** Frames read before the event loop gets its turn, and for how long at least. */
const FRAMES_MAX = 256;
const PAUSE_MS = 1;

export class PuntRing {
  private readonly ring: FrameRing;

  /** Over memory of `allocateFrameRing(PUNT_RING_SIZE)`. */
  constructor(memory: SharedArrayBuffer) {
    this.ring = new FrameRing(memory);
  }

  /** False: it is too long, or there is no room. */
  put(octets: Uint8Array, start: number, length: number, tunnel: number): boolean {
    // The ring's frames have offloads, these have a tunnel: the first of those fields carries it.
    if (length > PUNT_SIZE_MAX || !this.ring.put(octets, start, length, tunnel, 0, 0, 0, 0)) return false;
    this.ring.wakeWaiter();
    return true;
  }

  /** Reads frames until the signal; `hear` gets octets that are good until it returns. */
  async read(hear: (octets: Uint8Array, tunnel: number) => void, signal: AbortSignal): Promise<void> {
    const { ring } = this;
    const octets = new Uint8Array(PUNT_SIZE_MAX);
    while (!signal.aborted) {
      for (let count = 0; count < FRAMES_MAX && !signal.aborted && ring.next(); count++) {
        const { length, gsoType: tunnel } = ring;
        ring.copyTo(octets, 0);
        ring.advance();
        hear(octets.subarray(0, length), tunnel);
      }
      // However fast they come, the thread has other things to do.
      await ring.wait();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS).unref());
    }
  }
}
