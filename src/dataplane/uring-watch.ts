/** Descriptors that an io_uring only watches: those of queues that read by themselves, and the worker's eventfd. @hot */
import type { WatchedQueue } from './io-engine.js';
import * as native from './native.js';
import type { Uring } from './uring.js';

const OP_POLL_ADD = 6;
const OP_ASYNC_CANCEL = 14;
const OP_READ = 22;
const POLL_ADD_MULTI = 1;
const CANCEL_ALL_BY_USER_DATA = 1;
const CQE_MORE = 2;
/** Where in the ring's scratch memory the eventfd is read to. */
const SCRATCH_WAKE = 192;

/** Upper halves of the user data of its requests. */
export interface WatchPurposes {
  readonly watch: number;
  readonly wake: number;
  readonly cancel: number;
}

export class UringWatch {
  private readonly ring: Uring;
  private readonly wakeFd: number;
  private readonly purposes: WatchPurposes;
  private readonly watched: (WatchedQueue | undefined)[] = [];

  constructor(ring: Uring, wakeFd: number, purposes: WatchPurposes) {
    this.ring = ring;
    this.wakeFd = wakeFd;
    this.purposes = purposes;
    this.armWake();
  }

  add(queue: WatchedQueue): void {
    let number = this.watched.indexOf(undefined);
    if (number < 0) number = this.watched.length;
    this.watched[number] = queue;
    this.arm(number, queue.fd);
    queue.readable = true;
  }

  remove(queue: WatchedQueue): void {
    const number = this.watched.indexOf(queue);
    if (number < 0) return;
    this.watched[number] = undefined;
    const entry = this.ring.nextEntry(OP_ASYNC_CANCEL, -1, 0, this.purposes.cancel);
    this.ring.sqes[entry + 5] = this.purposes.watch | number;
    this.ring.sqes[entry + 7] = CANCEL_ALL_BY_USER_DATA;
  }

  /** A completion that is no frame's. */
  complete(purpose: number, number: number, result: number, flags: number): void {
    if (purpose === this.purposes.wake) this.armWake();
    if (purpose !== this.purposes.watch) return;
    const queue = this.watched[number];
    if (queue === undefined) return;
    queue.readable = true;
    if ((flags & CQE_MORE) === 0 && result >= 0) this.arm(number, queue.fd);
  }

  private armWake(): void {
    const entry = this.ring.nextEntry(OP_READ, this.wakeFd, 0, this.purposes.wake);
    this.ring.putAddress(entry + 4, this.ring.scratchAddress + SCRATCH_WAKE);
    this.ring.sqes[entry + 6] = 8;
  }

  private arm(number: number, fd: number): void {
    const entry = this.ring.nextEntry(OP_POLL_ADD, fd, 0, this.purposes.watch | number);
    this.ring.sqes[entry + 6] = POLL_ADD_MULTI;
    this.ring.sqes[entry + 7] = native.POLLIN;
  }
}
