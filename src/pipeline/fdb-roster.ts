/**
 * Which members hold learned entries, for each domain (a port, a network, the whole FDB): a ring of members that is gone
 * round a few at a time, by whoever looks for an entry that expired before the sweep came to it. Joining, leaving and
 * turning are a few stores each, however many members there are.
 *
 * Zeroed memory is an empty roster; members are numbered from 1 inside, 0 is none. Changed only under the table's lock,
 * through the table's `write`; after a writer's death it is cleared and made again.
 */
import type { SharedTable } from '../dataplane/shared-table.js';

/** Words of a roster of so many members in so many domains. */
export function rosterWords(members: number, domains: number): number {
  return (members + 1) * 2 + domains;
}

export class FdbRoster {
  private readonly table: SharedTable;
  private readonly before: Int32Array;
  private readonly after: Int32Array;
  /** The member whose turn is next, by domain. */
  private readonly turn: Int32Array;
  /** This thread's own: in which domain and second it went all round the ring and found nothing. */
  private emptyDomain = -1;
  private emptySecond = 0;

  /** `words` are as many as rosterWords says. */
  constructor(table: SharedTable, words: Int32Array, members: number, domains: number) {
    this.table = table;
    this.before = words.subarray(0, members + 1);
    this.after = words.subarray(members + 1, (members + 1) * 2);
    this.turn = words.subarray((members + 1) * 2, (members + 1) * 2 + domains);
  }

  /** Nothing in the domain has expired in this second: nor will it in the rest of it. */
  noteNothingExpired(domain: number, second: number): void {
    this.emptyDomain = domain;
    this.emptySecond = second;
  }

  hasNothingExpired(domain: number, second: number): boolean {
    return this.emptyDomain === domain && this.emptySecond === second;
  }

  /** The member whose turn it is; -1 when the domain has none. */
  current(domain: number): number {
    return this.turn[domain]! - 1;
  }

  /** The member after this one; the same when it is alone. */
  next(member: number): number {
    return this.after[member + 1]! - 1;
  }

  /** It is the turn of this member of the domain. */
  turnTo(domain: number, member: number): void {
    if (this.turn[domain] !== member + 1) this.table.write(this.turn, domain, member + 1);
  }

  /** The member, which is in no domain, has its turn when all others have had theirs. */
  join(domain: number, member: number): void {
    const { table, before, after, turn } = this;
    const number = member + 1;
    const next = turn[domain]!;
    const last = next === 0 ? number : before[next]!;
    table.write(before, number, last);
    table.write(after, number, next === 0 ? number : next);
    table.write(after, last, number);
    if (next === 0) table.write(turn, domain, number);
    else table.write(before, next, number);
  }

  leave(domain: number, member: number): void {
    const { table, before, after, turn } = this;
    const number = member + 1;
    const next = after[number]!;
    table.write(after, before[number]!, next);
    table.write(before, next, before[number]!);
    if (turn[domain] === number) table.write(turn, domain, next === number ? 0 : next);
  }

  clear(): void {
    this.turn.fill(0);
  }
}
