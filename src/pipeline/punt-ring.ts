/**
 * Frames on their way from one worker to the main thread, which runs the slow protocols: BFD that tunnels brought, and what
 * stations ask the address service and the services for machines. Each comes with its kind, the member it came in by and its
 * tunnel. A bounded ring in shared memory; what does not fit is dropped (punt_limit). One writer, the worker; one reader, the
 * main thread. @hot
 *
 * Who floods costs himself his protocol and nobody else anything: each sender is held to its port's rate in front of this.
 * What stations send may fill half of the ring, so that tunnels are heard whatever machines do; what they ask the services a
 * quarter, so that they get their addresses whatever others ask.
 */
import { FrameRing } from '../dataplane/frame-ring.js';
import { PUNT_RING_SIZE, PUNT_SIZE_MAX } from '../limits.js';

/** Whose frame it is. */
export const PUNT_BFD = 1;
export const PUNT_ADDRESS_SERVICE = 2;
/** `tunnel` is 1 where the checksum is one that the machine left to its device. */
export const PUNT_GUEST_SERVICE = 3;

/** Frames read before the event loop gets its turn, and for how long at least. */
const FRAMES_MAX = 256;
const PAUSE_MS = 1;

/** A frame that was handed over; `octets` are good until the listener returns. */
export interface PuntedFrame {
  readonly octets: Uint8Array;
  readonly kind: number;
  /** Where it came in, by the indices of the snapshot that the worker had. */
  readonly member: number;
  readonly tunnel: number;
}

/** Octets of the ring from which on such frames find no room. */
function roomOf(kind: number): number {
  if (kind === PUNT_BFD) return PUNT_RING_SIZE;
  return kind === PUNT_ADDRESS_SERVICE ? PUNT_RING_SIZE / 2 : PUNT_RING_SIZE / 4;
}

/** Where stages put such frames. False: it is too long, or there is no room. */
export interface Punt {
  put(octets: Uint8Array, start: number, length: number, kind: number, member: number, tunnel: number): boolean;
}

export class PuntRing implements Punt {
  private readonly ring: FrameRing;

  /** Over memory of `allocateFrameRing(PUNT_RING_SIZE)`. */
  constructor(memory: SharedArrayBuffer) {
    this.ring = new FrameRing(memory);
  }

  put(octets: Uint8Array, start: number, length: number, kind: number, member: number, tunnel: number): boolean {
    if (length > PUNT_SIZE_MAX) return false;
    if (this.ring.used() > roomOf(kind)) return false;
    // The ring's frames have offloads, these have none: those fields carry what goes with them.
    if (!this.ring.put(octets, start, length, kind, member, tunnel, 0, 0)) return false;
    this.ring.wakeWaiter();
    return true;
  }

  /** Reads frames until the signal. */
  async read(hear: (frame: PuntedFrame) => void, signal: AbortSignal): Promise<void> {
    const { ring } = this;
    const octets = new Uint8Array(PUNT_SIZE_MAX);
    while (!signal.aborted) {
      for (let count = 0; count < FRAMES_MAX && !signal.aborted && ring.next(); count++) {
        const { length, gsoType: kind, gsoSize: member, checksumStart: tunnel } = ring;
        ring.copyTo(octets, 0);
        ring.advance();
        hear({ octets: octets.subarray(0, length), kind, member, tunnel });
      }
      // However fast they come, the thread has other things to do.
      await ring.wait();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS).unref());
    }
  }
}
