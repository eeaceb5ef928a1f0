/**
 * What moves frames between a worker's slots and the kernel. Two engines implement it (io-uring.ts, io-poll.ts) and pass
 * one test suite; a worker has one and is its only user. @hot
 *
 * Slots: a received slot passes to whoever calls `receive`. A slot given to `PortQueue.send` is lent until the engine
 * reports the copy through `SendReport.sent`; it is reported exactly once, also when the queue is detached meanwhile.
 */
import type { Batch } from './batch.js';
import type { Mapping } from './native.js';
import type { QueueTransport } from './port.js';

/** Told of every copy given to a queue, once. */
export interface SendReport {
  /** `reason` is 0 when the frame of `octets` octets left by `port`, else the drop reason's number. */
  sent(slot: number, port: number, octets: number, reason: number): void;
}

/** Told of what no slot stands for: calls that failed, and frames that were lost before or after they had a slot. */
export interface IoLosses {
  /** A call failed; `operation` is FAILED_RECEIVE or FAILED_SEND (counters.ts). Shown by `weft status`. */
  failed(operation: number, errno: number): void;
  /** A frame that came to `port` was lost by the kernel: it counts as received there and dropped. */
  lostFrame(port: number, reason: number): void;
  /** A copy that was to leave by `port` is lost. */
  lostCopy(port: number, reason: number): void;
}

/** One queue of one port in one worker. */
export interface PortQueue {
  readonly port: number;
  /** Lends a slot for sending. False when the queue takes no more now: nothing was lent and nothing will be reported. */
  send(slot: number): boolean;
}

/** A queue of datagrams, each with an address of its own: a tunnel underlay's. `send` is not for it. */
export interface DatagramQueue extends PortQueue {
  /** Sockets to choose from. */
  readonly senderCount: number;
  /**
   * Lends a slot as `send` does. Its octets go out as datagrams of `segmentSize` octets (0: as one) to the address in the
   * four words, which are as they lie in memory, IPv4 mapped (::ffff:0:0/96); by socket number `sender`, with
   * `trafficClass` as IPv4's TOS or IPv6's traffic class. One slot may be lent several times at once, to different addresses.
   */
  sendTo(
    slot: number,
    segmentSize: number,
    sender: number,
    trafficClass: number,
    address0: number,
    address1: number,
    address2: number,
    address3: number,
  ): boolean;
}

/** A queue that moves its octets itself; the worker calls `receive` when `readable` is set. */
export interface WatchedQueue extends PortQueue {
  readonly fd: number;
  readable: boolean;
  /** Pushes at most `budget` frames into the batch. */
  receive(batch: Batch, budget: number): void;
  /** Pushes out what is buffered; called once a breath. */
  flush(): void;
  /**
   * Gives up what the queue itself opened; its `fd` may be closed then. Called once, after it is unwatched. `isDetached`:
   * the port is gone; otherwise only the worker ends, and its successor goes on with what lies in shared memory.
   */
  close(isDetached: boolean): void;
}

export interface IoEngine {
  readonly kind: 'uring' | 'poll';
  /** Starts a queue. With `receives` false it only sends (another worker reads the same descriptor). */
  attach(port: number, transport: QueueTransport, receives: boolean): PortQueue;
  /**
   * Stops a queue. It is idle, and its descriptor may be closed, once `isIdle` says so after some later `receive`s;
   * frames that arrive until then are dropped by the engine uncounted, for the port is gone.
   */
  detach(queue: PortQueue): void;
  isIdle(queue: PortQueue): boolean;
  /**
   * Watches a descriptor that its queue reads and writes by itself (a stream): sets `readable` when octets may be there.
   * The queue clears it when a read finds nothing.
   */
  watch(queue: WatchedQueue): void;
  unwatch(queue: WatchedQueue): void;
  /** Takes what the kernel has finished: received frames into `batch` until it is full, reports for sent copies. */
  receive(batch: Batch): void;
  /** Hands lent slots to the kernel. With `waitMs` > 0 sleeps until something happens, `wake` is called, or so long. */
  submit(waitMs: number): void;
  /** Whether `receive` would find something; cheap enough to spin on. */
  hasWork(): boolean;
  /** Descriptor that wakes the worker out of `submit`: any thread writes eight octets to it (an eventfd). */
  readonly wakeFd: number;
  /** The ring's descriptor, -1 without one, and what is mapped: to be given back by the main thread if the worker dies. */
  readonly ringFd: number;
  readonly mappings: readonly Mapping[];
  /** Gives back descriptors and mappings. Nothing of the engine or its queues may be used afterwards. */
  close(): void;
}

/** Called by an engine when a queue's device fails for good (ENETDOWN, EBADFD): the main thread is to look after the port. */
export type QueueFailure = (port: number, errno: number) => void;
