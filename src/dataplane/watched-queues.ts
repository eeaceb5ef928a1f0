/** Which class serves a queue that moves its octets itself. One line a transport. Runs on the worker's thread. */
import type { FramePool } from './frame-pool.js';
import type { SendReport, WatchedQueue } from './io-engine.js';
import type { QueueTransport } from './port.js';
import { RingQueue } from './ring-queue.js';
import { StreamQueue } from './stream-queue.js';

/** Transports that no engine knows: their queue reads and writes by itself when the engine says so. */
export type WatchedTransport = Extract<QueueTransport, { type: 'stream' | 'ring' }>;

/** `failed` is called at most once, when the far side is of no more use. Throws an OperatingError. */
export function makeWatchedQueue(
  port: number,
  transport: WatchedTransport,
  pool: FramePool,
  report: SendReport,
  failed: (errno: number) => void,
): WatchedQueue {
  if (transport.type === 'stream') return new StreamQueue(port, transport.fd, pool, report, failed);
  return new RingQueue(port, transport, pool, report);
}
