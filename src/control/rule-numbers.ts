/**
 * The numbers of rules in the counters, in drop samples and in the log: each set of rules (`acls.a1`) has a run of them
 * for as long as its content stays the same, over however many snapshots, so its counts survive changes elsewhere. A run
 * is given out again only when no worker forwards by a snapshot that has it, and its counts begin at zero then, although
 * the workers' memory counts on. Main thread.
 */
import { monotonicMs } from '../dataplane/clock.js';
import { RULE_NUMBERS } from '../limits.js';
import type { RuleCount, RuleCounters } from '../pipeline/rule-counters.js';

interface Run {
  readonly owner: string;
  readonly content: string;
  readonly base: number;
  readonly count: number;
  readonly sinceMs: number;
  /** What the workers had counted before it. */
  readonly before: readonly RuleCount[];
}

export class RuleNumbers {
  /** Of all workers. */
  private readonly counters: readonly RuleCounters[];
  private runs: Run[] = [];
  /** Of the snapshot that is being compiled. */
  private claimed: Run[] = [];

  constructor(counters: readonly RuleCounters[] = []) {
    this.counters = counters;
  }

  /**
   * Before the claims of a new snapshot. Workers forward by the last one, so runs that it did not claim are free; those it
   * had stay taken while this one is compiled and published.
   */
  begin(): void {
    this.runs = this.claimed;
    this.claimed = [];
  }

  /** The first of `count` numbers for the owner's rules; -1: none are left that lie together, and they go uncounted. */
  claim(owner: string, content: string, count: number): number {
    const known = this.runs.find((run) => run.owner === owner && run.count === count && run.content === content);
    if (known !== undefined) {
      if (!this.claimed.includes(known)) this.claimed.push(known);
      return known.base;
    }
    const base = this.freeBase(count);
    if (base < 0) return -1;
    const before = Array.from({ length: count }, (_, index) => this.total(base + index));
    const run = { owner, content, base, count, sinceMs: monotonicMs(), before };
    this.runs.push(run);
    this.claimed.push(run);
    return base;
  }

  /** Counts of the owner's rules, its default last; undefined: it has no numbers. */
  counts(owner: string): RuleCount[] | undefined {
    const run = this.claimed.find((one) => one.owner === owner);
    return run?.before.map(({ frames, bytes }, index) => {
      const now = this.total(run.base + index);
      const grown = now.frames - frames;
      return { frames: grown, bytes: now.bytes - bytes, lastSeconds: grown === 0 ? -1 : now.lastSeconds };
    });
  }

  /** `acls.a1.rules[3]`, `acls.a1.default`; undefined: nobody's, or of somebody else at that time (monotonic). */
  nameOf(number: number, atMs = Number.POSITIVE_INFINITY): string | undefined {
    const run = this.runs.find(({ base, count }) => number >= base && number < base + count);
    if (run === undefined || atMs < run.sinceMs) return undefined;
    const index = number - run.base;
    return index === run.count - 1 ? `${run.owner}.default` : `${run.owner}.rules[${index + 1}]`;
  }

  private total(number: number): RuleCount {
    let frames = 0;
    let bytes = 0;
    let lastSeconds = -1;
    for (const counters of this.counters) {
      const one = counters.read(number);
      frames += one.frames;
      bytes += one.bytes;
      lastSeconds = Math.max(lastSeconds, one.lastSeconds);
    }
    return { frames, bytes, lastSeconds };
  }

  /** The lowest gap between runs that is long enough. */
  private freeBase(count: number): number {
    let base = 0;
    for (const run of [...this.runs].sort((one, other) => one.base - other.base)) {
      if (run.base - base >= count) return base;
      base = Math.max(base, run.base + run.count);
    }
    return RULE_NUMBERS - base >= count ? base : -1;
  }
}
