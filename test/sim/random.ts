/** Repeatable sources of chance: equal seeds give equal runs on every machine. */

/** mulberry32: 32-bit unsigned numbers. */
export function numbersFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** What simulators draw from it. */
export class Random {
  /** A 32-bit unsigned number. */
  readonly next: () => number;

  constructor(seed: number) {
    this.next = numbersFrom(Math.imul(seed, 0x9e37_79b1) ^ 0x2545_f491);
  }

  /** 0 to count - 1. */
  below(count: number): number {
    return this.next() % count;
  }

  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** True once in so many times. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<Value>(values: readonly Value[]): Value {
    return values[this.below(values.length)];
  }

  /** Each value with even odds, in their order. */
  some<Value>(values: readonly Value[]): Value[] {
    return values.filter(() => this.oneIn(2));
  }

  fill(octets: Uint8Array): void {
    for (let index = 0; index < octets.length; index++) octets[index] = this.next();
  }
}
