/**
 * The FDB in order of network name and address, a page at a time, for `weft fdb list`. It may have a million entries, and
 * the thread that lists them also answers health checks and watches the workers: so all the work is done in slices of
 * SLICE_MS with the event loop's turn in between, on columns of numbers; rows are made of one page only.
 *
 * A listing is kept for KEPT_MS after it was used, for who asks for the next page: a walk through all pages sees each
 * station once and costs one sorting. One listing is made at a time, so that many clients can't make the memory grow.
 * Main thread.
 */
import { setImmediate } from 'node:timers/promises';
import { monotonicMs } from '../dataplane/clock.js';
import { NETWORKS_MAX } from '../limits.js';
import type { FdbControl } from '../pipeline/fdb-control.js';
import type { Snapshot } from '../pipeline/snapshot.js';
import type { Names } from '../pipeline/stage.js';
import { macText } from '../wire/address.js';
import { writeMac } from '../wire/ethernet.js';
import type { FdbRow } from './shapes.js';

const SLICE_MS = 4;
/** Entries worked on between two looks at the clock: some 0.2 ms. */
const STEP = 1024;
const SORTED_RUN = 64;
const KEPT_MS = 5000;
const STATIC_AGE = -1;
const TWO_32 = 2 ** 32;

/** What is to be listed; ports and networks by index, all if absent. */
export interface FdbQuery {
  readonly network?: number | undefined;
  readonly ports?: readonly number[] | undefined;
  readonly offset: number;
  /** Most rows of the answer. */
  readonly limit: number;
}

export type FdbNames = Names;

type ListedFdb = Pick<FdbControl, 'list' | 'entryLimit'>;

export class FdbListing {
  private readonly fdb: ListedFdb;
  private turn: Promise<unknown> = Promise.resolve();
  private kept: { readonly query: FdbQuery; readonly snapshot: Snapshot; readonly columns: Columns } | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(fdb: ListedFdb) {
    this.fdb = fdb;
  }

  /** The rows of one page. A page that does not begin at 0 is one of the listing before, if that was of the same things. */
  async page(query: FdbQuery, snapshot: Snapshot, names: FdbNames): Promise<FdbRow[]> {
    const answer = this.turn.then(() => this.answer(query, snapshot, names));
    this.turn = answer.catch(() => {});
    return await answer;
  }

  /** Forgets what is kept. */
  close(): void {
    clearTimeout(this.timer);
    this.kept = undefined;
  }

  private async answer(query: FdbQuery, snapshot: Snapshot, names: FdbNames): Promise<FdbRow[]> {
    const { kept } = this;
    const goesOn =
      query.offset > 0 &&
      kept?.snapshot === snapshot &&
      kept.query.network === query.network &&
      kept.query.ports?.join() === query.ports?.join();
    this.close();
    const columns = goesOn ? kept.columns : new Columns(this.fdb.entryLimit);
    if (!goesOn) {
      await inSlices(columns.collect(this.fdb, query, snapshot));
      await inSlices(columns.sort(names));
    }
    const rows: FdbRow[] = [];
    await inSlices(columns.rows(query, names, rows));
    if (query.offset + query.limit < columns.count) {
      this.kept = { query, snapshot, columns };
      this.timer = setTimeout(() => this.close(), KEPT_MS);
      this.timer.unref();
    }
    return rows;
  }
}

/** Does all of the work, leaving the event loop its turn every SLICE_MS. */
async function inSlices(work: Generator<void>): Promise<void> {
  let began = monotonicMs();
  while (work.next().done !== true) {
    if (monotonicMs() - began < SLICE_MS) continue;
    await setImmediate();
    began = monotonicMs();
  }
}

/** Entries as columns, and their order. Its generators yield after every STEP entries. */
class Columns {
  count = 0;
  private readonly mac: Float64Array;
  private readonly network: Uint16Array;
  private readonly port: Uint16Array;
  /** Number of a tunnel; 0: none. */
  private readonly remote: Int32Array;
  /** Seconds; STATIC_AGE for a static entry. */
  private readonly age: Int32Array;
  private order = new Uint32Array(0);
  /** Place of a network's name among those listed, by index. */
  private rank = new Uint16Array(0);

  constructor(capacity: number) {
    this.mac = new Float64Array(capacity);
    this.network = new Uint16Array(capacity);
    this.port = new Uint16Array(capacity);
    this.remote = new Int32Array(capacity);
    this.age = new Int32Array(capacity);
  }

  *collect(fdb: ListedFdb, { network, ports }: FdbQuery, snapshot: Snapshot): Generator<void> {
    const end = this.mac.length;
    for (let from = 1; from < end; from += STEP) {
      const now = Math.floor(monotonicMs() / 1000);
      for (const entry of fdb.list(now, snapshot.networkMacAge, network, from, Math.min(from + STEP, end))) {
        const owner = snapshot.memberPort[entry.member] ?? -1;
        if (owner < 0 || ports?.includes(owner) === false) continue;
        this.mac[this.count] = entry.macHigh * TWO_32 + (entry.macLow >>> 0);
        this.network[this.count] = entry.network;
        this.port[this.count] = owner;
        this.remote[this.count] = entry.remote;
        this.age[this.count++] = entry.isStatic ? STATIC_AGE : entry.ageSeconds;
      }
      yield;
    }
  }

  /** By network name, then address: short runs first, then merged. What moved meanwhile and is there twice is made one. */
  *sort(names: FdbNames): Generator<void> {
    yield* this.rankNetworks(names);
    const { count } = this;
    let order = new Uint32Array(count);
    for (let start = 0; start < count; start += SORTED_RUN) {
      const run = order.subarray(start, Math.min(start + SORTED_RUN, count));
      for (let index = 0; index < run.length; index++) run[index] = start + index;
      run.sort((left, right) => this.compare(left, right));
      if (start % STEP === 0) yield;
    }
    let other = new Uint32Array(count);
    for (let width = SORTED_RUN; width < count; width *= 2) {
      for (let start = 0; start < count; start += width * 2) yield* this.merge(order, other, start, width);
      [order, other] = [other, order];
    }
    yield* this.keepOneOfEach(order);
  }

  private *rankNetworks(names: FdbNames): Generator<void> {
    const found = new Set<number>();
    for (let index = 0; index < this.count; index++) {
      found.add(this.network[index]!);
      if (index % STEP === 0) yield;
    }
    const named = [...found].map((index) => ({ index, name: names.network(index) }));
    named.sort((left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0));
    this.rank = new Uint16Array(NETWORKS_MAX);
    for (const [rank, { index }] of named.entries()) this.rank[index] = rank;
  }

  private compare(left: number, right: number): number {
    const byNetwork = this.rank[this.network[left]!]! - this.rank[this.network[right]!]!;
    return byNetwork !== 0 ? byNetwork : this.mac[left]! - this.mac[right]!;
  }

  /** Merges the two runs of `width` from `start` on. */
  private *merge(from: Uint32Array, to: Uint32Array, start: number, width: number): Generator<void> {
    const middle = Math.min(start + width, from.length);
    const end = Math.min(middle + width, from.length);
    let left = start;
    let right = middle;
    for (let at = start; at < end; at++) {
      const takesLeft = right >= end || (left < middle && this.compare(from[left]!, from[right]!) <= 0);
      to[at] = takesLeft ? from[left++]! : from[right++]!;
      if (at % STEP === 0) yield;
    }
  }

  /** Of entries with the same key the youngest; an entry is in two places when its station was forgotten and came back. */
  private *keepOneOfEach(sorted: Uint32Array<ArrayBuffer>): Generator<void> {
    let kept = 0;
    for (let at = 0; at < sorted.length; at++) {
      const isAgain = kept > 0 && this.compare(sorted[kept - 1]!, sorted[at]!) === 0;
      if (!isAgain) sorted[kept++] = sorted[at]!;
      else if (this.age[sorted[at]!]! < this.age[sorted[kept - 1]!]!) sorted[kept - 1] = sorted[at]!;
      if (at % STEP === 0) yield;
    }
    this.order = sorted;
    this.count = kept;
  }

  *rows({ offset, limit }: FdbQuery, names: FdbNames, into: FdbRow[]): Generator<void> {
    const octets = new Uint8Array(6);
    for (let at = offset; at < this.count && at - offset < limit; at++) {
      const entry = this.order[at]!;
      const age = this.age[entry]!;
      writeMac(octets, 0, Math.floor(this.mac[entry]! / TWO_32), this.mac[entry]! | 0);
      into.push({
        network: names.network(this.network[entry]!),
        mac: macText(octets),
        port: names.port(this.port[entry]!),
        ...(this.remote[entry] === 0 ? {} : { remote: names.remote(this.remote[entry]!) }),
        static: age === STATIC_AGE,
        ageSeconds: Math.max(0, age),
      });
      if (at % STEP === 0) yield;
    }
  }
}
