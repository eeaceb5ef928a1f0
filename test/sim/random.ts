/** A repeatable source of chance for the simulator (mulberry32): equal seeds give equal runs on every machine. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = Math.imul(seed, 0x9e37_79b1) ^ 0x2545_f491;
  }

  /** A 32-bit unsigned number. */
  next(): number {
    this.state = (this.state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
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
