/**
 * Which queue has which of a ring's numbers, under which the ring knows a descriptor: one a queue, and one for each further
 * socket it sends by. Worker's thread.
 */
import { OperatingError } from '../errors.js';
import type { Uring } from './uring.js';
import type { UringQueue } from './uring-queue.js';

export class QueueNumbers {
  /** By number. */
  readonly queues: (UringQueue | undefined)[] = [];
  private readonly ring: Uring;

  constructor(ring: Uring) {
    this.ring = ring;
  }

  /** Makes a descriptor of the queue known to the ring; returns its number. Throws an OperatingError. */
  register(queue: UringQueue, fd: number): number {
    const { queues, ring } = this;
    let number = queues.indexOf(undefined);
    if (number < 0) number = queues.length;
    if (number >= ring.numbersMax) {
      throw new OperatingError(`a worker has at most ${ring.numbersMax} queues`, {
        code: 'limit',
        errno: 'EMFILE',
        fix: 'raise the limit of open files',
      });
    }
    ring.registerFile(number, fd);
    queues[number] = queue;
    queue.numbers.push(number);
    return number;
  }

  /** Frees all numbers of the queue. */
  unregister(queue: UringQueue): void {
    for (const number of queue.numbers.splice(0)) {
      this.queues[number] = undefined;
      this.ring.registerFile(number, -1);
    }
  }
}
