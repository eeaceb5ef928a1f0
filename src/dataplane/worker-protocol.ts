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
/**
 * Worker: a descriptor of its eventfd that is the main thread's to write to and to close, so that it never writes to a
 * number that was closed and given out again. -1: none.
 */
export const STATE_WAKE_FD = 2;
/** Worker: its ring and its own descriptor of the eventfd, for the main thread to close after a death. -1: none. */
export const STATE_RING_FD = 3;
export const STATE_ENGINE_FD = 4;
/** Main: 1 asks the worker to end. */
export const STATE_STOP = 5;
/** Worker: number of its thread, 0 before it runs. */
export const STATE_THREAD = 6;
/** Main: not 0 while it, or a thread that works for it, computes for long: a CPU that is offered now is not given back soon. */
export const STATE_COMPUTING = 7;
/** Worker: mappings of its engine, for the main thread to give back after a death: (address, size) as float64, 0: none. */
export const STATE_MAPPINGS = 16;
export const STATE_MAPPINGS_COUNT = 4;
export const STATE_WORDS = STATE_MAPPINGS + STATE_MAPPINGS_COUNT * 4;

/** The part of the state page that says what is mapped. */
export function mappingsOf(state: Int32Array): Float64Array {
  return new Float64Array(state.buffer, state.byteOffset + STATE_MAPPINGS * 4, STATE_MAPPINGS_COUNT * 2);
}

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
  /** The port is no more; its index may be given to another one. */
  | { readonly type: 'forget'; readonly port: number }
  | { readonly type: 'snapshot'; readonly snapshot: Config };

/** Worker to main. */
export type WorkerReport =
  | { readonly type: 'started'; readonly io: 'uring' | 'poll'; readonly ioReason: string }
  /** The worker uses the port's descriptor no more. */
  | { readonly type: 'detached'; readonly port: number }
  /** The port's device failed; the worker stopped receiving from it. */
  | { readonly type: 'failed'; readonly port: number; readonly errno: number };
