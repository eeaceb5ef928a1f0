/**
 * What the main thread and a worker say to each other. Messages go over a MessagePort that the worker reads between two
 * breaths; the main thread sets PENDING and writes the worker's eventfd so that a sleeping worker looks. Positions in the
 * shared state page are written by the side named.
 */
import type { QueueTransport } from './port.js';

/** Words of a worker's shared state. */
/** Main: 1 when messages wait. The worker clears it before it reads them. */
export const STATE_PENDING = 0;
/** Worker: epoch of the snapshot it forwards by. */
export const STATE_EPOCH = 1;
/** Worker: its eventfd and its ring, for the main thread to wake it and to close what a dead worker left. -1: none. */
export const STATE_WAKE_FD = 2;
export const STATE_RING_FD = 3;
/** Main: 1 asks the worker to end. */
export const STATE_STOP = 4;
export const STATE_WORDS = 16;

export type IoChoice = 'auto' | 'uring' | 'poll';

/** Main to worker. `Config` is what the pipeline forwards by. */
export type WorkerOrder<Config> =
  /** The queues of a port that are this worker's; it sends by the first. Without `receives` it only sends. */
  | {
      readonly type: 'attach';
      readonly port: number;
      readonly transports: readonly QueueTransport[];
      readonly receives: boolean;
    }
  | { readonly type: 'detach'; readonly port: number }
  | { readonly type: 'snapshot'; readonly snapshot: Config };

/** Worker to main. */
export type WorkerReport =
  | { readonly type: 'started'; readonly io: 'uring' | 'poll'; readonly ioReason: string }
  /** The worker uses the port's descriptor no more. */
  | { readonly type: 'detached'; readonly port: number }
  /** The port's device failed; the worker stopped receiving from it. */
  | { readonly type: 'failed'; readonly port: number; readonly errno: number };
