/** Work that must not overlap: each piece begins when the one asked for before it has ended, well or not. */
export class Turns {
  private last: Promise<unknown> = Promise.resolve();

  take<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.last.then(work);
    this.last = result.catch(() => undefined);
    return result;
  }

  /** Resolves when all that was asked for so far has ended. */
  async over(): Promise<void> {
    await this.last;
  }
}
