/**
 * What the main thread does with the connections: expiry, flushing, listing, counts, a copy for `weft trace`, and repair
 * after a worker's death or a crash. It holds the workers' lock for CONNECTION_HOLD_MAX removals at a time (some 30 us).
 */
import { CONNECTION_EXPIRY_TURN_MS, CONNECTION_HOLD_MAX, NETWORKS_MAX, PORTS_MAX, ROUTERS_MAX } from '../limits.js';
import {
  C_CREATED,
  C_EVICTED,
  C_EXPIRED,
  C_REFUSED_BUSY,
  C_REFUSED_FULL,
  C_REFUSED_NETWORK,
  C_REFUSED_PORT,
  C_REMOVED,
  CLASS_COUNT,
  CONNECTION_KEY_WORDS,
  CONNECTION_VALUE_WORDS,
  type ConnectionOptions,
  ConnectionTable,
  chargedPortOf,
  destinationPortOf,
  GROUPS_PER_PORT,
  IS_TRANSLATED_REPLY,
  KEY_ZONE,
  KIND_BESIDE,
  KIND_MAPPED_INSIDE,
  sourcePortOf,
  T_CONTACT,
  T_MAPPING,
  V_EPOCH,
  V_LINK,
  V_PORTS,
  V_STATE,
} from './connection-table.js';
import { classOf } from './connection-tracking.js';
import { MAIN_OWNER } from './fdb-control.js';
import { mendTranslations } from './nat-repair.js';

/** Which connections; all of those named must fit. */
export interface ConnectionSelector {
  /** Charged to the port, or running by it. */
  readonly port?: number;
  readonly network?: number;
}

/** Of a translated connection: the key and state of its reply as it arrives, the mapping and the contact it uses, 0: none. */
interface SecondEntry {
  readonly translated: Int32Array | undefined;
  readonly translatedState: number;
  readonly mapping: number;
  readonly contact: number;
}

/** A translated connection: its own key and state, and the second's. */
export interface ConnectionTranslation extends SecondEntry {
  readonly key: Int32Array;
  readonly state: number;
  readonly translated: Int32Array;
}

/** One connection as it was at one moment: its words, the port that is charged, and the seconds it still has. */
export interface ConnectionRow extends SecondEntry {
  readonly key: Int32Array;
  readonly value: Int32Array;
  readonly port: number;
  readonly timeoutSeconds: number;
}

export interface ConnectionCounts {
  readonly capacity: number;
  readonly used: number;
  /** By CLASS_.... */
  readonly byClass: readonly number[];
  /** Since the memory was made, modulo 2^32. */
  readonly created: number;
  readonly expired: number;
  /** Half-open ones that gave way to others. */
  readonly evicted: number;
  /** By `weft conntrack flush`, by policy, or with their port or network. */
  readonly removed: number;
  readonly refused: { readonly full: number; readonly port: number; readonly network: number; readonly busy: number };
  /** Repairs after a worker died while it was writing. */
  readonly rebuilds: number;
}

/** Entries on each list that are looked at for one that is due. */
const LOOKS_MAX = 256;

export class ConnectionControl extends ConnectionTable {
  private readonly memory: ArrayBufferLike;
  private readonly byteOffset: number;
  /** Where the last turn of expiry ended. */
  private nextGroup = 0;

  constructor(memory: ArrayBufferLike, options: ConnectionOptions) {
    super(memory, MAIN_OWNER, options);
    this.memory = memory;
    this.byteOffset = options.byteOffset ?? 0;
  }

  private lock(): void {
    this.table.lock(this.owner, 'the connections are');
  }

  get used(): number {
    return this.table.used;
  }

  /**
   * Removes what is due, for `turnMs` of `clock` at most. True: all of it; false: there is more, ask again when others had
   * their turn. A worker that keeps the lock ends the turn.
   */
  expire(
    nowSeconds: number,
    timeouts: Int32Array,
    clock: () => number,
    turnMs: number = CONNECTION_EXPIRY_TURN_MS,
  ): boolean {
    if (this.table.used === 0) return true;
    const end = clock() + turnMs;
    const groups = PORTS_MAX * GROUPS_PER_PORT;
    for (let looked = 0; looked < groups; looked++) {
      const group = this.nextGroup;
      // What NAT keeps beside connections goes with them.
      const isOfConnections = group % GROUPS_PER_PORT < CLASS_COUNT;
      while (isOfConnections && this.isDue(group, nowSeconds, timeouts)) {
        if (!this.expireSome(group, nowSeconds, timeouts)) break;
        if (clock() >= end) return false;
      }
      this.nextGroup = group + 1 === groups ? 0 : group + 1;
    }
    return true;
  }

  /** Whether the head of the list may be due; without the lock, so perhaps wrongly. */
  private isDue(group: number, nowSeconds: number, timeouts: Int32Array): boolean {
    const first = this.table.firstOf(group);
    return first !== -1 && nowSeconds - this.table.listedAt(first) > timeouts[group % GROUPS_PER_PORT];
  }

  /** One hold of the lock. False: nothing of the list is due, or the lock is not to be had. */
  private expireSome(group: number, nowSeconds: number, timeouts: Int32Array): boolean {
    const { table } = this;
    if (!table.tryLock(this.owner)) return false;
    const age = timeouts[group % GROUPS_PER_PORT];
    let done = 0;
    for (; done < CONNECTION_HOLD_MAX; done++) {
      const entry = table.expiredOf(group, nowSeconds, age, LOOKS_MAX);
      if (entry === -1) break;
      if (this.place(entry)) continue;
      this.drop(entry);
      this.count(C_EXPIRED);
    }
    table.unlock(this.owner);
    return done > 0;
  }

  /** Removes the connections that fit. Returns how many those were. */
  flush({ port, network }: ConnectionSelector = {}): number {
    return this.removeWhere(
      (entry) =>
        (port === undefined || this.runsBy(entry, port)) &&
        (network === undefined || this.table.keyWord(entry, KEY_ZONE) >>> 16 === network),
    );
  }

  /**
   * Drops what belongs to networks or ports that are no more, so that who gets their numbers inherits neither a connection
   * nor a share that is used up.
   */
  keepOnly(isPort: (index: number) => boolean, isNetwork: (index: number) => boolean): number {
    const isThere = (index: number) => index < 0 || isPort(index);
    for (let router = 0; router < ROUTERS_MAX; router++)
      if (!isNetwork(NETWORKS_MAX + router)) this.refusals.forget(router);
    return this.removeWhere((entry) => {
      const ports = this.table.valueWord(entry, V_PORTS);
      const charged = chargedPortOf(this.table.groupOf(entry));
      const runs = isThere(sourcePortOf(ports)) && isThere(destinationPortOf(ports)) && isPort(charged);
      return !runs || !isNetwork(this.table.keyWord(entry, KEY_ZONE) >>> 16);
    });
  }

  private runsBy(entry: number, port: number): boolean {
    const ports = this.table.valueWord(entry, V_PORTS);
    return (
      sourcePortOf(ports) === port ||
      destinationPortOf(ports) === port ||
      chargedPortOf(this.table.groupOf(entry)) === port
    );
  }

  private isLiveConnection(entry: number): boolean {
    return this.table.isLive(entry) && this.isConnection(entry);
  }

  /** Removes the connections that `isMeant` says; returns how many those were. */
  removeWhere(isMeant: (entry: number) => boolean): number {
    const { table } = this;
    let removed = 0;
    let entry = 1;
    while (table.used > 0 && entry < table.entryLimit) {
      while (entry < table.entryLimit && !(this.isLiveConnection(entry) && isMeant(entry))) entry++;
      if (entry >= table.entryLimit) break;
      this.lock();
      for (let held = 0; held < CONNECTION_HOLD_MAX && entry < table.entryLimit; held++, entry++) {
        if (!this.isLiveConnection(entry) || !isMeant(entry)) continue;
        this.drop(entry);
        this.count(C_REMOVED);
        removed++;
      }
      table.unlock(this.owner);
    }
    return removed;
  }

  /** The connections that fit and are not over, at most `limit`, in no order; one that changes meanwhile may be left out. */
  *list(
    nowSeconds: number,
    timeouts: Int32Array,
    { port, network }: ConnectionSelector = {},
    limit = Number.POSITIVE_INFINITY,
  ): Generator<ConnectionRow> {
    const { table } = this;
    const words = new Int32Array(CONNECTION_KEY_WORDS + CONNECTION_VALUE_WORDS);
    let listed = 0;
    for (let entry = 1; entry < table.entryLimit && listed < limit; entry++) {
      if (!table.read(entry, words)) continue;
      if (port !== undefined && !this.runsBy(entry, port)) continue;
      if (network !== undefined && words[KEY_ZONE] >>> 16 !== network) continue;
      const state = words[CONNECTION_KEY_WORDS + V_STATE];
      if ((words[KEY_ZONE] & KIND_BESIDE) !== 0 || (state & IS_TRANSLATED_REPLY) !== 0) continue;
      const timeoutSeconds = timeouts[classOf(state)] - (nowSeconds - table.lastSeen(entry));
      if (timeoutSeconds < 0) continue;
      listed++;
      yield {
        key: words.slice(0, CONNECTION_KEY_WORDS),
        value: words.slice(CONNECTION_KEY_WORDS),
        ...this.secondOf(entry, words[CONNECTION_KEY_WORDS + V_LINK]),
        port: chargedPortOf(table.groupOf(entry)),
        timeoutSeconds,
      };
    }
  }

  /** What the second entry of a translated connection says; of others nothing. */
  private secondOf(entry: number, second: number): SecondEntry {
    const none = { translated: undefined, translatedState: 0, mapping: 0, contact: 0 };
    if (second === 0) return none;
    const words = new Int32Array(CONNECTION_KEY_WORDS + CONNECTION_VALUE_WORDS);
    if (!this.table.read(second, words) || words[CONNECTION_KEY_WORDS + V_LINK] !== entry) return none;
    const translatedState = words[CONNECTION_KEY_WORDS + V_STATE];
    const mapping = words[CONNECTION_KEY_WORDS + T_MAPPING];
    const contact = words[CONNECTION_KEY_WORDS + T_CONTACT];
    return { translated: words.slice(0, CONNECTION_KEY_WORDS), translatedState, mapping, contact };
  }

  /** Removes the translated connections that `isAllowed` refuses. */
  keepTranslations(isAllowed: (one: ConnectionTranslation) => boolean): number {
    const { table } = this;
    return this.removeWhere((entry) => {
      const link = table.valueWord(entry, V_LINK);
      if (link === 0 || table.keyWord(entry, KEY_ZONE) >>> 16 < NETWORKS_MAX) return false;
      const { translated, ...second } = this.secondOf(entry, link);
      if (translated === undefined) return false;
      const key = Int32Array.from({ length: CONNECTION_KEY_WORDS }, (_, word) => table.keyWord(entry, word));
      return !isAllowed({ key, state: table.valueWord(entry, V_STATE), translated, ...second });
    });
  }

  /** The mappings of inside endpoints: key and value words of each. */
  *mappings(): Generator<{ readonly key: Int32Array; readonly value: Int32Array }> {
    const { table } = this;
    const words = new Int32Array(CONNECTION_KEY_WORDS + CONNECTION_VALUE_WORDS);
    for (let entry = 1; entry < table.entryLimit; entry++) {
      if (!table.read(entry, words) || (words[KEY_ZONE] & KIND_MAPPED_INSIDE) === 0) continue;
      yield { key: words.slice(0, CONNECTION_KEY_WORDS), value: words.slice(CONNECTION_KEY_WORDS) };
    }
  }

  totals(): ConnectionCounts {
    const { counts, table } = this;
    const byClass = new Array<number>(CLASS_COUNT).fill(0);
    for (let port = 0; port < PORTS_MAX; port++)
      for (let one = 0; one < CLASS_COUNT; one++) byClass[one] += table.groupCount(port * GROUPS_PER_PORT + one);
    return {
      capacity: this.capacity,
      used: table.used,
      byClass,
      created: counts[C_CREATED] >>> 0,
      expired: counts[C_EXPIRED] >>> 0,
      evicted: counts[C_EVICTED] >>> 0,
      removed: counts[C_REMOVED] >>> 0,
      refused: {
        full: counts[C_REFUSED_FULL] >>> 0,
        port: counts[C_REFUSED_PORT] >>> 0,
        network: counts[C_REFUSED_NETWORK] >>> 0,
        busy: counts[C_REFUSED_BUSY] >>> 0,
      },
      rebuilds: table.rebuilds,
    };
  }

  /** The same table, in which nothing that is written is kept: for `weft trace`. */
  frozen(): ConnectionTable {
    return new ConnectionTable(this.memory, this.owner, {
      byteOffset: this.byteOffset,
      capacity: this.capacity,
      isFrozen: true,
    });
  }

  /** A worker died. If it was writing, what it may have left half done is derived again from the entries. */
  breakLock(workerIndex: number): boolean {
    if (!this.table.breakLock(workerIndex + 1, this.owner)) return false;
    this.recount();
    this.table.unlock(this.owner);
    return true;
  }

  /**
   * For memory that an earlier daemon left, before any worker uses it. Its policy epochs are not this daemon's, so every
   * connection is judged again by its next frame: epochs are numbered from 1.
   */
  recover(): void {
    this.table.recover(this.owner);
    this.recount();
    for (let entry = 1; entry < this.table.entryLimit; entry++)
      if (this.isLiveConnection(entry)) this.table.setValueWord(entry, V_EPOCH, 0);
    this.table.unlock(this.owner);
  }

  /** Entries by network, and what NAT keeps, from the entries. */
  private recount(): void {
    mendTranslations(this);
    this.networkCounts.fill(0);
    for (let entry = 1; entry < this.table.entryLimit; entry++)
      if (this.isLiveConnection(entry)) this.networkCounts[this.table.keyWord(entry, KEY_ZONE) >>> 16]++;
  }
}
