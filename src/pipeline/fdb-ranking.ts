/**
 * Which member holds most: for each network, and for the whole FDB. A flood of addresses asks that for every frame, so
 * the answer must not cost a walk over the members: members with equal counts hang on one *level*, a domain's levels are
 * in order of their count, and since counts change by one, a member only ever moves to a neighbouring level. Each
 * operation is a dozen stores, however many members there are.
 *
 * Zeroed memory is an empty ranking; members and levels are numbered from 1 inside, 0 is none. Changed only under the
 * table's lock, through the table's `write`; after a writer's death it is cleared and counted again.
 */
import type { SharedTable } from '../dataplane/shared-table.js';

const FREE = 0;
const FRESH = 1;
const HEADER = 16;

/** Words of a ranking of so many members in so many domains. */
export function rankingWords(members: number, domains: number): number {
  return HEADER + (members + 1) * 3 + (members + 2) * 4 + domains * 2;
}

export class FdbRanking {
  private readonly table: SharedTable;
  private readonly header: Int32Array;
  private readonly memberLevel: Int32Array;
  private readonly memberBefore: Int32Array;
  private readonly memberAfter: Int32Array;
  private readonly levelCount: Int32Array;
  private readonly levelLower: Int32Array;
  private readonly levelHigher: Int32Array;
  private readonly levelFirst: Int32Array;
  private readonly lowest: Int32Array;
  private readonly highest: Int32Array;

  /** `words` are as many as rankingWords says. */
  constructor(table: SharedTable, words: Int32Array, members: number, domains: number) {
    let start = 0;
    const take = (count: number) => {
      start += count;
      return words.subarray(start - count, start);
    };
    this.table = table;
    this.header = take(HEADER);
    this.memberLevel = take(members + 1);
    this.memberBefore = take(members + 1);
    this.memberAfter = take(members + 1);
    this.levelCount = take(members + 2);
    this.levelLower = take(members + 2);
    this.levelHigher = take(members + 2);
    this.levelFirst = take(members + 2);
    this.lowest = take(domains);
    this.highest = take(domains);
  }

  /** The member holds one more. Returns how many that are. */
  increment(domain: number, member: number): number {
    const level = this.memberLevel[member + 1]!;
    const count = level === 0 ? 1 : this.levelCount[level]! + 1;
    const higher = level === 0 ? this.lowest[domain]! : this.levelHigher[level]!;
    const target = this.levelCount[higher] === count ? higher : this.addLevel(domain, count, level, higher);
    this.move(domain, member, level, target);
    return count;
  }

  /** The member holds one less; it held at least one. Returns how many are left. */
  decrement(domain: number, member: number): number {
    const level = this.memberLevel[member + 1]!;
    const count = this.levelCount[level]! - 1;
    const lower = this.levelLower[level]!;
    const isThere = count === 0 || this.levelCount[lower] === count;
    const target = count === 0 ? 0 : isThere ? lower : this.addLevel(domain, count, lower, level);
    this.move(domain, member, level, target);
    return count;
  }

  /**
   * The member that holds most, or -1 when none holds any. Among equals one other than `unless`: who wants room gets it
   * from another that holds as much, and from itself only when it alone holds most.
   */
  top(domain: number, unless: number): number {
    const first = this.levelFirst[this.highest[domain]!]!;
    if (first !== unless + 1) return first - 1;
    const second = this.memberAfter[first]!;
    return (second !== 0 ? second : first) - 1;
  }

  clear(): void {
    for (const words of [this.header, this.memberLevel, this.levelCount, this.lowest, this.highest]) words.fill(0);
  }

  private move(domain: number, member: number, from: number, to: number): void {
    const number = member + 1;
    if (from !== 0) this.leave(domain, number, from);
    this.table.write(this.memberLevel, number, to);
    if (to === 0) return;
    const first = this.levelFirst[to]!;
    this.table.write(this.memberBefore, number, 0);
    this.table.write(this.memberAfter, number, first);
    if (first !== 0) this.table.write(this.memberBefore, first, number);
    this.table.write(this.levelFirst, to, number);
  }

  /** Takes a member off its level, and the level away when it was the last there. */
  private leave(domain: number, number: number, level: number): void {
    const before = this.memberBefore[number]!;
    const after = this.memberAfter[number]!;
    if (after !== 0) this.table.write(this.memberBefore, after, before);
    if (before !== 0) this.table.write(this.memberAfter, before, after);
    else this.table.write(this.levelFirst, level, after);
    if (this.levelFirst[level] === 0) this.removeLevel(domain, level);
  }

  private addLevel(domain: number, count: number, lower: number, higher: number): number {
    const table = this.table;
    let level = this.header[FREE]!;
    if (level !== 0) table.write(this.header, FREE, this.levelHigher[level]!);
    else {
      level = this.header[FRESH]! + 1;
      table.write(this.header, FRESH, level);
    }
    table.write(this.levelCount, level, count);
    table.write(this.levelFirst, level, 0);
    this.join(domain, lower, level);
    this.join(domain, level, higher);
    return level;
  }

  private removeLevel(domain: number, level: number): void {
    this.join(domain, this.levelLower[level]!, this.levelHigher[level]!);
    this.table.write(this.levelCount, level, 0);
    this.table.write(this.levelHigher, level, this.header[FREE]!);
    this.table.write(this.header, FREE, level);
  }

  /** Makes two levels neighbours; 0 stands for the end of the domain's row. */
  private join(domain: number, lower: number, higher: number): void {
    if (lower === 0) this.table.write(this.lowest, domain, higher);
    else this.table.write(this.levelHigher, lower, higher);
    if (higher === 0) this.table.write(this.highest, domain, lower);
    else this.table.write(this.levelLower, higher, lower);
  }
}
