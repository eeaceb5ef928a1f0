/**
 * Who looks at devices now and then takes turns here: every second the devices that are absent, and of those that are
 * there at most LOOKS_PER_SECOND, one after the other. A look costs some 50 us (a socket in the device's namespace), so a
 * thousand ports that each looked every second would keep an idle switch busy. Main thread.
 */
const PERIOD_MS = 1000;
const LOOKS_PER_SECOND = 16;

/** Someone who wants to look: `isAbsent` ones get every turn. */
export interface Looker {
  readonly isAbsent: boolean;
  look(): void;
}

class LookRounds {
  private readonly lookers = new Set<Looker>();
  private waiting: Looker[] = [];
  private timer: NodeJS.Timeout | undefined;

  join(looker: Looker): void {
    this.lookers.add(looker);
    this.timer ??= setInterval(() => this.turn(), PERIOD_MS).unref();
  }

  leave(looker: Looker): void {
    this.lookers.delete(looker);
    if (this.lookers.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private turn(): void {
    for (const looker of this.lookers) if (looker.isAbsent) looker.look();
    if (this.waiting.length === 0) this.waiting = [...this.lookers].filter(({ isAbsent }) => !isAbsent);
    for (const looker of this.waiting.splice(0, LOOKS_PER_SECOND)) if (this.lookers.has(looker)) looker.look();
  }
}

export const lookRounds = new LookRounds();
