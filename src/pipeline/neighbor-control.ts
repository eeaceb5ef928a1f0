/**
 * What the main thread does with the neighbours: static bindings, flushing, sweeping, listing, a copy for `weft trace`, and
 * repair after a worker's death. It takes the same lock as the workers do when they learn; they don't wait for it, what they
 * could not learn meanwhile they learn from a later message.
 */

import { NEVER_AGES } from '../dataplane/shared-table.js';
import { PORTS_MAX } from '../limits.js';
import { MAIN_OWNER } from './fdb-control.js';
import {
  NEIGHBOR_CONTESTED,
  NEIGHBOR_KEY_WORDS,
  NEIGHBOR_ROUTER,
  NEIGHBOR_STATIC,
  NEIGHBOR_VALUE_WORDS,
  type NeighborOptions,
  NeighborTable,
  neighborTableSize,
  STATIC_GROUP,
} from './neighbor-table.js';
import { NETWORK_LEARNS_NEIGHBORS } from './snapshot.js';

/** A binding of the configuration. */
export interface StaticNeighbor {
  readonly network: number;
  /** Four words in memory's order, IPv4 mapped. */
  readonly address: Int32Array;
  readonly macHigh: number;
  readonly macLow: number;
}

export interface NeighborEntry extends StaticNeighbor {
  /** Index of the port that taught it; -1 for a static one. */
  readonly port: number;
  readonly isStatic: boolean;
  /** Two stations claimed the address: nobody is vouched for. */
  readonly isContested: boolean;
  readonly isRouter: boolean;
  /** Seconds since it was heard; 0 for a static one. */
  readonly ageSeconds: number;
}

/** Who has an address; `port` -1 or STATIC_GROUP: nobody's. */
export interface NeighborHolder {
  readonly macHigh: number;
  readonly macLow: number;
  readonly port: number;
}

const FLUSH_ROUND = 256;

export class NeighborControl extends NeighborTable {
  private readonly memory: ArrayBufferLike;
  private readonly options: NeighborOptions;

  constructor(memory: ArrayBufferLike, options: NeighborOptions = {}) {
    super(memory, MAIN_OWNER, options);
    this.memory = memory;
    this.options = options;
  }

  private lock(): void {
    this.table.lock(this.owner, 'the neighbours are');
  }

  /** Bindings, static ones included; perhaps some expired ones that were not swept yet. */
  get used(): number {
    return this.table.used;
  }

  learnedByPort(port: number): number {
    return this.table.groupCount(port);
  }

  /**
   * Brings the table to what a snapshot says that every worker forwards by: `statics` are the static bindings, all of them,
   * and networks whose flags don't have NETWORK_LEARNS_NEIGHBORS (any more) have none at all, so that nobody who gets such a
   * network's number inherits them. Returns how many static ones found no room.
   */
  settle(statics: readonly StaticNeighbor[], networkFlags: Int32Array): number {
    if (statics.length === 0 && this.table.used === 0) return 0;
    const wanted = new Map(statics.map((binding) => [textOf(binding.network, binding.address), binding]));
    this.lock();
    try {
      this.dropUnwanted(wanted, networkFlags);
      let left = 0;
      for (const binding of wanted.values()) if (!this.addStatic(binding)) left++;
      return left;
    } finally {
      this.table.unlock(this.owner);
    }
  }

  /** Takes out of `wanted` what is there already. */
  private dropUnwanted(wanted: Map<string, StaticNeighbor>, networkFlags: Int32Array): void {
    const { table } = this;
    for (let entry = 1; entry < table.entryLimit; entry++) {
      if (!table.isLive(entry)) continue;
      const network = table.keyWord(entry, 0);
      if (((networkFlags[network] ?? 0) & NETWORK_LEARNS_NEIGHBORS) === 0) table.remove(entry);
      else if (table.groupOf(entry) === STATIC_GROUP) {
        const words = [1, 2, 3, 4].map((word) => table.keyWord(entry, word));
        const key = textOf(network, words);
        const binding = wanted.get(key);
        const high = table.valueWord(entry, 0) & 0xffff;
        if (binding?.macHigh === high && binding.macLow === table.valueWord(entry, 1)) wanted.delete(key);
        else table.remove(entry);
      }
    }
  }

  /** Static bindings come before learned ones: a full table makes room. */
  private addStatic({ network, address, macHigh, macLow }: StaticNeighbor): boolean {
    const { table } = this;
    this.select(network, address[0], address[1], address[2], address[3]);
    const learned = table.find(this.selectedHash(), this.key, 0);
    if (learned !== -1) table.remove(learned);
    if (table.full && !this.dropOldest(this.fullestPort())) return false;
    this.value[0] = macHigh | NEIGHBOR_STATIC;
    this.value[1] = macLow;
    return table.insert(this.selectedHash(), this.key, this.value, STATIC_GROUP, NEVER_AGES) !== -1;
  }

  private fullestPort(): number {
    let fullest = 0;
    for (let port = 1; port < PORTS_MAX; port++)
      if (this.table.groupCount(port) > this.table.groupCount(fullest)) fullest = port;
    return fullest;
  }

  /** Forgets what the port taught. Returns how many bindings that was. */
  flushPort(port: number): number {
    let forgotten = 0;
    for (let left = this.table.groupCount(port); left > 0; left -= FLUSH_ROUND) {
      this.lock();
      for (let round = 0; round < FLUSH_ROUND && round < left; round++) if (this.dropFirst(port)) forgotten++;
      this.table.unlock(this.owner);
    }
    return forgotten;
  }

  private dropFirst(port: number): boolean {
    const entry = this.table.firstOf(port);
    if (entry === -1) return false;
    this.table.remove(entry);
    return true;
  }

  /** Forgets what expired among the next `budget` entries. `ages`: by network, in seconds. Stops where a worker is learning. */
  sweep(nowSeconds: number, ages: Int32Array, budget: number): number {
    const { table } = this;
    if (table.used === 0) return 0;
    let forgotten = 0;
    for (let left = budget; left > 0; left -= table.swept) {
      const entry = table.nextExpired(nowSeconds, ages, 0, left);
      if (entry === -1 || !table.tryLock(this.owner)) break;
      if (table.isExpired(entry, nowSeconds, ages, 0)) {
        table.remove(entry);
        forgotten++;
      }
      table.unlock(this.owner);
    }
    return forgotten;
  }

  /** Who was last heard to have the address (as ipWords has it), in the last `age` seconds. */
  at(network: number, address: Int32Array, nowSeconds: number, age: number): NeighborHolder | undefined {
    this.select(network, address[0], address[1], address[2], address[3]);
    if (!this.findLatest(0, nowSeconds, age)) return undefined;
    return { macHigh: this.foundHigh, macLow: this.foundLow, port: this.table.groupOf(this.foundEntry) };
  }

  /** Every binding that has not expired, in no order; one that changes meanwhile may be left out. */
  *list(nowSeconds: number, ages: Int32Array, network?: number): Generator<NeighborEntry> {
    const words = new Int32Array(NEIGHBOR_KEY_WORDS + NEIGHBOR_VALUE_WORDS);
    for (let entry = 1; entry < this.table.entryLimit; entry++) {
      if (!this.table.read(entry, words) || (network !== undefined && words[0] !== network)) continue;
      if (this.table.isExpired(entry, nowSeconds, ages, 0)) continue;
      const value = words[NEIGHBOR_KEY_WORDS];
      const isStatic = (value & NEIGHBOR_STATIC) !== 0;
      yield {
        network: words[0],
        address: words.slice(1, NEIGHBOR_KEY_WORDS),
        macHigh: value & 0xffff,
        macLow: words[NEIGHBOR_KEY_WORDS + 1],
        port: isStatic ? -1 : this.table.groupOf(entry),
        isStatic,
        isContested: (value & NEIGHBOR_CONTESTED) !== 0,
        isRouter: (value & NEIGHBOR_ROUTER) !== 0,
        ageSeconds: isStatic ? 0 : Math.max(0, nowSeconds - this.table.lastSeen(entry)),
      };
    }
  }

  /** A table over a copy of the memory, for `weft trace` to learn into. */
  copy(): NeighborControl {
    const { capacity } = this;
    const { byteOffset = 0 } = this.options;
    this.lock();
    const copied = this.memory.slice(byteOffset, byteOffset + neighborTableSize(capacity));
    this.table.unlock(this.owner);
    const copy = new NeighborControl(copied, { capacity });
    copy.table.unlock(this.owner);
    return copy;
  }

  /** A worker died. If it was learning, what it may have left half done is derived again from the entries. */
  breakLock(workerIndex: number): boolean {
    if (!this.table.breakLock(workerIndex + 1, this.owner)) return false;
    this.table.unlock(this.owner);
    return true;
  }
}

function textOf(network: number, address: ArrayLike<number>): string {
  return `${network} ${address[0]} ${address[1]} ${address[2]} ${address[3]}`;
}
