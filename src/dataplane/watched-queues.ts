/** Which class serves a queue that moves its octets itself. One line a transport. Runs on the worker's thread. */
import type { FramePool } from './frame-pool.js';
import type { IoLosses, PortQueue, SendReport, WatchedQueue } from './io-engine.js';
import type { QueueTransport } from './port.js';
import { RawPacketQueue } from './raw-packet-queue.js';
import { type RelayCounts, RelaySink, RelaySource } from './relay-queue.js';
import { RingQueue } from './ring-queue.js';
import { StreamQueue } from './stream-queue.js';

/** Transports that no engine knows: their queue reads and writes by itself when the engine says so. */
export type WatchedTransport = Extract<QueueTransport, { type: 'stream' | 'ring' | 'relay' | 'rawStream' }>;

/** `failed` is called at most once, when the far side is of no more use. Throws an OperatingError. */
export function makeWatchedQueue(
  port: number,
  transport: WatchedTransport,
  pool: FramePool,
  report: SendReport & RelayCounts,
  losses: IoLosses,
  /** The port's first queue, which a relay's far end empties into. */
  first: PortQueue | undefined,
  failed: (errno: number) => void,
): WatchedQueue {
  if (transport.type === 'stream') return new StreamQueue(port, transport.fd, pool, report, failed);
  if (transport.type === 'rawStream') return new RawPacketQueue(port, transport, pool, report, failed);
  if (transport.type === 'relay') {
    if (transport.end === 'from') return new RelaySource(port, transport, pool, report);
    if (first === undefined) throw new TypeError('a relay comes after the queue it leads to');
    return new RelaySink(transport, first, pool, report, losses);
  }
  return new RingQueue(port, transport, pool, report);
}
