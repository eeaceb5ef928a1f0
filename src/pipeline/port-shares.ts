/**
 * How many of a number of places each port has, and how many the port with most: who has taken what the others need is found
 * without looking for him. Of one worker. @hot
 *
 * Whoever is about to take a place where none is free may have one of the port with most, if he has fewer than that would be
 * left with: so a few ports together keep nobody out, and no two take from each other in turns. The counterpart on the main
 * thread is control/fair-places.ts.
 */
import { PORTS_MAX } from '../limits.js';

export class PortShares {
  /** What the port with most has; 0: nobody has any. */
  most = 0;
  private readonly counts = new Int32Array(PORTS_MAX);
  /** By count: ports that have so many. */
  private readonly portsWith: Int32Array;

  /** `perPort`: the most that any may have. */
  constructor(perPort: number) {
    this.portsWith = new Int32Array(perPort + 1);
  }

  of(port: number): number {
    return this.counts[port];
  }

  /** Whether a place of the port with most would rather be this one's. */
  mayTakeFromMost(port: number): boolean {
    return this.counts[port] + 1 < this.most;
  }

  take(port: number): void {
    const count = ++this.counts[port];
    this.portsWith[count - 1]--;
    this.portsWith[count]++;
    if (count > this.most) this.most = count;
  }

  leave(port: number): void {
    const count = --this.counts[port];
    this.portsWith[count + 1]--;
    this.portsWith[count]++;
    if (this.portsWith[this.most] === 0) this.most = count;
  }
}
