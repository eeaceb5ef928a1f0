/** What the FDB should do, said as simply as possible: a Map, walked in full. */
import { LEARNED, MOVED, REFUSED_FULL, REFUSED_PORT_LIMIT, REFUSED_STATIC } from '../../src/pipeline/fdb.js';
import type { TestPolicy } from './fdb-fixture.js';

export interface ModelEntry {
  readonly network: number;
  readonly mac: number;
  member: number;
  isStatic: boolean;
  lastSeen: number;
}

export class FdbModel {
  readonly entries = new Map<string, ModelEntry>();
  private readonly capacity: number;
  private readonly policy: TestPolicy;

  constructor(capacity: number, policy: TestPolicy) {
    this.capacity = capacity;
    this.policy = policy;
  }

  static key(network: number, mac: number): string {
    return `${network}/${mac}`;
  }

  isExpired(entry: ModelEntry, now: number): boolean {
    return !entry.isStatic && now - entry.lastSeen > this.policy.networkMacAge[entry.network]!;
  }

  learned(of: (entry: ModelEntry) => boolean): ModelEntry[] {
    return [...this.entries.values()].filter((entry) => !entry.isStatic && of(entry));
  }

  oldest(entries: ModelEntry[]): ModelEntry[] {
    const seen = Math.min(...entries.map((entry) => entry.lastSeen));
    return entries.filter((entry) => entry.lastSeen === seen);
  }

  private portOf(member: number): number {
    return this.policy.memberPort[member]!;
  }

  /**
   * Learns, and returns what `learn` must return. Where several entries may equally give way, `gone` says which did; the
   * model sees to it that it was one of those.
   */
  learn(network: number, mac: number, member: number, now: number, gone: (among: ModelEntry[]) => ModelEntry): number {
    const key = FdbModel.key(network, mac);
    const old = this.entries.get(key);
    if (old?.member === member) {
      if (!old.isStatic) old.lastSeen = now;
      return LEARNED;
    }
    if (old?.isStatic) return REFUSED_STATIC;
    if (old && !this.isExpired(old, now)) {
      if (this.portOf(old.member) !== this.portOf(member) && this.portIsFull(member, now, gone))
        return REFUSED_PORT_LIMIT;
      Object.assign(old, { member, lastSeen: now });
      return MOVED;
    }
    if (old) this.entries.delete(key);
    if (this.portIsFull(member, now, gone)) return REFUSED_PORT_LIMIT;
    const inNetwork = (entry: ModelEntry) => entry.network === network;
    if (this.learned(inNetwork).length >= this.policy.networkMacLimit[network]!) {
      if (!this.makeRoom(inNetwork, member, now, gone)) return REFUSED_FULL;
    }
    if (this.entries.size >= this.capacity && !this.makeRoom(() => true, member, now, gone)) return REFUSED_FULL;
    this.entries.set(key, { network, mac, member, isStatic: false, lastSeen: now });
    return LEARNED;
  }

  private portIsFull(member: number, now: number, gone: (among: ModelEntry[]) => ModelEntry): boolean {
    const port = this.portOf(member);
    const limit = this.policy.portMacLimit[port]!;
    const isBehind = (entry: ModelEntry) => this.portOf(entry.member) === port;
    if (limit === 0 || this.learned(isBehind).length < limit) return false;
    return !this.forgetExpired(isBehind, now, gone);
  }

  /** One that has expired gives way, whosever it is; only without such one of the member that holds most. */
  private makeRoom(
    where: (entry: ModelEntry) => boolean,
    learner: number,
    now: number,
    gone: (among: ModelEntry[]) => ModelEntry,
  ): boolean {
    return this.forgetExpired(where, now, gone) || this.evict(where, learner, gone);
  }

  private forgetExpired(
    where: (entry: ModelEntry) => boolean,
    now: number,
    gone: (among: ModelEntry[]) => ModelEntry,
  ): boolean {
    const expired = this.learned(where).filter((entry) => this.isExpired(entry, now));
    if (expired.length > 0) this.forget(gone(expired));
    return expired.length > 0;
  }

  /** One of the oldest of a member that holds most; of the learner only when it alone holds most. */
  evict(where: (entry: ModelEntry) => boolean, learner: number, gone: (among: ModelEntry[]) => ModelEntry): boolean {
    const counts = new Map<number, number>();
    for (const entry of this.learned(where)) counts.set(entry.member, (counts.get(entry.member) ?? 0) + 1);
    if (counts.size === 0) return false;
    const most = Math.max(...counts.values());
    const holders = [...counts.keys()].filter((member) => counts.get(member) === most);
    const victims = holders.length > 1 ? holders.filter((member) => member !== learner) : holders;
    const among = victims.flatMap((member) =>
      this.oldest(this.learned((entry) => where(entry) && entry.member === member)),
    );
    this.forget(gone(among));
    return true;
  }

  addStatic(
    network: number,
    mac: number,
    member: number,
    now: number,
    gone: (among: ModelEntry[]) => ModelEntry,
  ): boolean {
    this.entries.delete(FdbModel.key(network, mac));
    if (this.entries.size >= this.capacity && !this.makeRoom(() => true, -1, now, gone)) return false;
    this.entries.set(FdbModel.key(network, mac), { network, mac, member, isStatic: true, lastSeen: 0 });
    return true;
  }

  forgetWhere(where: (entry: ModelEntry) => boolean): number {
    const matching = [...this.entries.values()].filter(where);
    for (const entry of matching) this.forget(entry);
    return matching.length;
  }

  private forget(entry: ModelEntry): void {
    this.entries.delete(FdbModel.key(entry.network, entry.mac));
  }
}
