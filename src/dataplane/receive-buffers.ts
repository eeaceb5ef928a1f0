/**
 * Which slots the kernel has for receptions: a provided-buffer ring for each queue of an io_uring engine, filled here, and
 * emptied here when a queue goes or when others need what an idle one has. Runs on the worker's thread only. @hot
 *
 * Taking back is moving the ring's tail back over buffers that were not used yet. That is safe between two enters: with
 * DEFER_TASKRUN the kernel chooses a buffer only inside our own io_uring_enter (it refuses to run a multishot on a thread
 * of its own then), and an armed multishot that finds no frame gives the one it looked at back before the enter returns.
 * Which buffers are unused follows from the completions: once all were seen, a queue's last `lent` entries.
 *
 * What a guest can do: send enough to be lent RECEIVE_BUFFERS_MAX buffers, which it keeps as long as it goes on, or as
 * long as nobody needs them. Each queue keeps RECEIVE_BUFFERS_MIN whatever the others do.
 */
import {
  FRAME_SIZE_MAX,
  RECEIVE_BUFFERS_MAX,
  RECEIVE_BUFFERS_MIN,
  RECEIVE_FOOTPRINT,
  RECEIVE_SLOTS_SHARE,
  SLOT_STRIDE,
} from '../limits.js';
import type { FramePool } from './frame-pool.js';
import * as native from './native.js';
import { BUFFER_RING_SIZE, type Uring } from './uring.js';
import type { UringQueue } from './uring-queue.js';

/** Half-words of a ring, and where in an entry the buffer's id lies. */
const RING_HALVES = BUFFER_RING_SIZE / 2;
const ENTRY_HALVES = 8;
const ENTRY_ID = 6;
/** struct io_uring_buf_ring: the tail lies in the reserved half-word of the first entry. */
const TAIL = 7;
const MASK = RECEIVE_BUFFERS_MAX - 1;

export class ReceiveBuffers {
  /** Address of each slot's base, as two words. */
  readonly slotAddressLow: Int32Array;
  readonly slotAddressHigh: Int32Array;
  /** Of all queues together. */
  lentTotal = 0;
  /** A queue was denied what it could use: idle ones are to give some back. */
  isScarce = false;
  private readonly pool: FramePool;
  private readonly ring: Uring;
  private readonly queues: UringQueue[] = [];
  /** Whose turn it is to be looked at, and how many were since anything was denied or found. */
  private turn = 0;
  private looks = 0;

  constructor(pool: FramePool, ring: Uring) {
    this.pool = pool;
    this.ring = ring;
    const arena = native.addressOf(pool.memory.buffer);
    this.slotAddressLow = new Int32Array(pool.slotCount);
    this.slotAddressHigh = new Int32Array(pool.slotCount);
    for (let slot = 0; slot < pool.slotCount; slot++) {
      const address = arena + slot * SLOT_STRIDE;
      this.slotAddressLow[slot] = address | 0;
      this.slotAddressHigh[slot] = Math.floor(address / 2 ** 32);
    }
  }

  /** A queue whose buffer ring was registered. */
  add(queue: UringQueue): void {
    this.queues.push(queue);
  }

  /** Unregisters the ring of a queue that is idle, and frees its buffers. */
  remove(queue: UringQueue): void {
    this.queues.splice(this.queues.indexOf(queue), 1);
    this.ring.unregisterBufferRing(queue.number);
    this.takeBack(queue, 0);
  }

  /**
   * How many buffers a queue should have. Few to begin with; twice as many each time it has used half of them, as far as
   * its frames' sizes (they should stay in the caches) and the other queues' share allow. Growing ends at half of the pool
   * until idle queues have given back what they have.
   */
  targetOf(queue: UringQueue): number {
    const { slotCount } = this.pool;
    const byFootprint = Math.floor(RECEIVE_FOOTPRINT / Math.max(queue.averageSize, 64));
    const byShare = Math.floor((slotCount * RECEIVE_SLOTS_SHARE) / this.queues.length);
    const most = Math.max(1, Math.min(RECEIVE_BUFFERS_MAX, byFootprint, byShare));
    if (this.lentTotal > slotCount * RECEIVE_SLOTS_SHARE) {
      this.deny();
      return 1;
    }
    if (queue.lent > queue.target >> 1) return Math.min(most, queue.target);
    if (this.lentTotal < slotCount >> 1) return Math.min(most, queue.target * 2);
    if (queue.target < most) this.deny();
    return Math.min(most, queue.target);
  }

  /** Lends the queue buffers up to its target, or as many as there are slots. */
  lend(queue: UringQueue): void {
    const { bufferWords, bufferHalves } = this.ring;
    const base = (queue.number * BUFFER_RING_SIZE) >> 2;
    const position = this.pool.frameStart(0) - queue.prefix - queue.headSize;
    const size = FRAME_SIZE_MAX + queue.prefix + queue.headSize;
    while (queue.lent < queue.target) {
      const slot = this.pool.allocate();
      if (slot < 0) break;
      const entry = base + ((queue.tail & MASK) << 2);
      const low = (this.slotAddressLow[slot] + position) | 0;
      bufferWords[entry] = low;
      bufferWords[entry + 1] = this.slotAddressHigh[slot] + carry(this.slotAddressLow[slot], low);
      bufferWords[entry + 2] = size;
      bufferHalves[(entry << 1) + ENTRY_ID] = slot;
      queue.tail = (queue.tail + 1) & 0xffff;
      queue.lent++;
      this.lentTotal++;
    }
    Atomics.store(bufferHalves, (base << 1) + TAIL, queue.tail);
  }

  /**
   * Looks at one queue: if it has not received anything since it was last looked at, it gives back all but the first few
   * buffers. Called between two enters, once each time, so a queue has as many breaths to receive something as there are
   * queues. Ends when there is enough again or all were looked at twice in vain, until somebody is denied once more.
   */
  takeBackOne(): void {
    // Completions that were not seen yet are of buffers that are no longer in the ring.
    if (this.ring.hasCompletions()) return;
    const count = this.queues.length;
    this.turn = this.turn + 1 < count ? this.turn + 1 : 0;
    this.looks++;
    if (this.looks > 2 * count || this.lentTotal < this.pool.slotCount >> 2) this.isScarce = false;
    if (count === 0) return;
    const queue = this.queues[this.turn];
    const isIdle = queue.lent === queue.seenLent && queue.tail === queue.seenTail;
    queue.seenLent = queue.lent;
    queue.seenTail = queue.tail;
    if (!isIdle || queue.lent <= RECEIVE_BUFFERS_MIN || queue.detached) return;
    this.takeBack(queue, RECEIVE_BUFFERS_MIN);
    queue.target = RECEIVE_BUFFERS_MIN;
    Atomics.store(this.ring.bufferHalves, queue.number * RING_HALVES + TAIL, queue.tail);
    this.looks = 0;
  }

  private deny(): void {
    this.isScarce = true;
    this.looks = 0;
  }

  private takeBack(queue: UringQueue, kept: number): void {
    const base = queue.number * RING_HALVES + ENTRY_ID;
    for (; queue.lent > kept; queue.lent--, this.lentTotal--) {
      queue.tail = (queue.tail - 1) & 0xffff;
      this.pool.release(this.ring.bufferHalves[base + (queue.tail & MASK) * ENTRY_HALVES]);
    }
  }
}

/** 1 when adding a non-negative number to `before` wrapped to `after`, both read as unsigned words. */
export function carry(before: number, after: number): number {
  return (after ^ 0x8000_0000) < (before ^ 0x8000_0000) ? 1 : 0;
}
