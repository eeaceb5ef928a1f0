/**
 * So many turns a second that ports share, for what costs the main thread time on behalf of their machines: one port after the
 * other has one, however many each waits for. Main thread.
 *
 * What a port can do to the others: as many ports as wait, so many turns pass between two of one port, no more. How many
 * one port may wait for is bounded by who asks (connections, requests of a connection).
 */

/** Turns that are late because the thread was busy so long are made up for. */
const LATE_MS = 20;

interface Waiting {
  readonly isOver: () => boolean;
  readonly go: () => void;
}

export class FairTurns {
  private readonly spacingMs: number;
  private readonly clock: () => number;
  /** By port, the one whose turn is next first; of each, the oldest first. */
  private readonly waiting = new Map<string, Waiting[]>();
  private nextMs = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(perSecond: number, clock: () => number) {
    this.spacingMs = 1000 / perSecond;
    this.clock = clock;
  }

  /** Resolves when it is the port's turn. Who is over by then (`isOver`) costs none, and is let go as well. */
  take(port: string, isOver: () => boolean = () => false): Promise<void> {
    return new Promise((go) => {
      const own = this.waiting.get(port);
      if (own === undefined) this.waiting.set(port, [{ isOver, go }]);
      else own.push({ isOver, go });
      if (this.timer === undefined) this.serve();
    });
  }

  private serve(): void {
    this.timer = undefined;
    const now = this.clock();
    // What nobody wanted is lost.
    this.nextMs = Math.max(this.nextMs, now - LATE_MS);
    for (const [port, own] of this.waiting) {
      if (this.nextMs > now) break;
      const first = own.shift();
      this.waiting.delete(port);
      // To the end: this loop comes by it again.
      if (own.length > 0) this.waiting.set(port, own);
      if (first === undefined) continue;
      if (!first.isOver()) this.nextMs += this.spacingMs;
      first.go();
    }
    if (this.waiting.size > 0) this.timer = setTimeout(() => this.serve(), Math.max(1, this.nextMs - now)).unref();
  }
}
