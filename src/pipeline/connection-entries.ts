/**
 * The shared table of connection-table.ts as far as its keys' shape lets it do better than any table could: of two keys of
 * IPv4 four words can differ, so no more are hashed and compared (a key's word of zone, protocol and kind says which it is);
 * and what has no windows lies in an entry's first cache line. Any thread; any worker may read without the lock. @hot
 *
 * Measured on one core for UDP over IPv4, 1,000 connections: the stage took 226 ns a frame with all ten words hashed by
 * HalfSipHash and eleven words of value copied and compared.
 */

import type { FramePool } from '../dataplane/frame-pool.js';
import { SharedTable } from '../dataplane/shared-table.js';
import { KEY, LAST_SEEN, LOADS_KEEP_ORDER, STAMP } from '../dataplane/shared-table-reader.js';
import { NETWORKS_MAX } from '../limits.js';
import { PROTOCOL_SCTP, PROTOCOL_TCP } from '../wire/ip-protocol.js';
import {
  CLASS_TCP_ESTABLISHED,
  CLASS_UDP_STREAM,
  CONNECTION_KEY_WORDS,
  CONNECTION_VALUE_WORDS,
  KEY_HIGHER,
  KEY_LOWER,
  KEY_PORTS,
  KEY_ZONE,
  KIND_IPV6,
  V_EPOCH,
  V_ORIGINAL,
  V_PORTS,
  V_STATE,
  V_WINDOWS,
} from './connection-entry.js';
import { showStanding, UNCHANGING, UNCHANGING_MASK } from './plain-keys.js';

/** Where an entry's value begins. */
const VALUE = KEY + CONNECTION_KEY_WORDS;

/** Whether connections of the protocol have words behind V_PORTS. */
export function hasTail(protocol: number): boolean {
  return protocol === PROTOCOL_TCP || protocol === PROTOCOL_SCTP;
}

/** In `found`, the words from V_ORIGINAL on mean nothing in networks for protocols that do not have them. */
export class ConnectionEntries extends SharedTable {
  override hashKey(key: Int32Array, start: number): number {
    const zone = key[start + KEY_ZONE];
    if ((zone & KIND_IPV6) !== 0) return this.hash.words32(key, start, CONNECTION_KEY_WORDS);
    return this.hash.quad(key[start + KEY_LOWER + 3], key[start + KEY_HIGHER + 3], key[start + KEY_PORTS], zone);
  }

  /** Whether the entry (0: none) lives and has this key; its value is then in `found`. */
  holdsKey(entry: number, key: Int32Array, start: number): boolean {
    return this.holds(entry, key, start);
  }

  protected override holds(entry: number, key: Int32Array, start: number): boolean {
    if (!LOADS_KEEP_ORDER) return this.holdsOrdered(entry, key, start);
    const { hot, hotAgain, found } = this;
    const at = entry * this.entryWords;
    const zone = key[start + KEY_ZONE];
    const stamp = hot[at + STAMP];
    if (
      hot[at + KEY + KEY_PORTS] !== key[start + KEY_PORTS] ||
      hot[at + KEY + KEY_ZONE] !== zone ||
      hot[at + KEY + KEY_LOWER + 3] !== key[start + KEY_LOWER + 3] ||
      hot[at + KEY + KEY_HIGHER + 3] !== key[start + KEY_HIGHER + 3] ||
      ((zone & KIND_IPV6) !== 0 && !isRestSame(hot, at + KEY, key, start))
    )
      return false;
    found[V_STATE] = hotAgain[at + VALUE + V_STATE];
    found[V_EPOCH] = hotAgain[at + VALUE + V_EPOCH];
    found[V_PORTS] = hotAgain[at + VALUE + V_PORTS];
    // What routers translate has links and mappings there, whatever the protocol.
    if (hasTail((zone >>> 8) & 0xff) || zone >>> 16 >= NETWORKS_MAX) {
      for (let word = V_ORIGINAL; word < CONNECTION_VALUE_WORDS; word++) found[word] = hotAgain[at + VALUE + word];
    }
    return (stamp & 1) === 1 && hotAgain[at + STAMP] === stamp;
  }

  /** As showStanding of plain-keys.ts. */
  showStanding(pool: FramePool, timeouts: Int32Array, epoch: number, nowSeconds: number, first: number): number {
    // Where loads may pass each other all go the long way.
    if (!LOADS_KEEP_ORDER) return first;
    const udp = timeouts[CLASS_UDP_STREAM];
    const tcp = timeouts[CLASS_TCP_ESTABLISHED];
    return showStanding(this.hot, this.hotAgain, this.entryWords, pool, udp, tcp, epoch, nowSeconds, first);
  }

  /**
   * Whether the entry, of a connection of UDP, still has this stamp and no packet changes more of it than when it was seen, which is
   * noted then. `timeout`: of the class that such connections are in.
   */
  noteUnchanging(entry: number, stamp: number, timeout: number, nowSeconds: number): boolean {
    const { hot } = this;
    const at = entry * this.entryWords;
    const changes = (hot[at + VALUE + V_STATE] & UNCHANGING_MASK) ^ UNCHANGING;
    const seen = hot[at + LAST_SEEN];
    if ((changes | (hot[at + STAMP] ^ stamp)) !== 0 || nowSeconds - seen > timeout) return false;
    if (seen < nowSeconds) hot[at + LAST_SEEN] = nowSeconds;
    return true;
  }

  /** Copies what a packet of the protocol may change of the entry's value, as it is now, without asking whose the entry is. */
  readState(entry: number, value: Int32Array, protocol: number): void {
    const { hot } = this;
    const at = entry * this.entryWords + VALUE;
    value[V_STATE] = hot[at + V_STATE];
    if (hasTail(protocol)) for (let word = V_ORIGINAL; word <= V_WINDOWS; word++) value[word] = hot[at + word];
  }

  /** Writes back the words of `found`, or another copy of the value, that a packet has changed, if the stamp is still the entry's. */
  storeFound(entry: number, stamp: number, found: Int32Array = this.found): void {
    const { hot } = this;
    const at = entry * this.entryWords;
    if (hot[at + STAMP] !== stamp) return;
    if (hot[at + VALUE + V_STATE] !== found[V_STATE]) this.setValueWord(entry, V_STATE, found[V_STATE]);
    if (!hasTail((hot[at + KEY + KEY_ZONE] >>> 8) & 0xff)) return;
    for (let word = V_ORIGINAL; word <= V_WINDOWS; word++) {
      if (hot[at + VALUE + word] !== found[word]) this.setValueWord(entry, word, found[word]);
    }
  }
}

/** The words that are the same in all keys of IPv4. */
function isRestSame(hot: Int32Array, at: number, key: Int32Array, start: number): boolean {
  for (let word = 0; word < 3; word++) {
    if (hot[at + KEY_LOWER + word] !== key[start + KEY_LOWER + word]) return false;
    if (hot[at + KEY_HIGHER + word] !== key[start + KEY_HIGHER + word]) return false;
  }
  return true;
}

/**
 * A table whose writers write nothing. `weft trace` runs the stages on it: a copy of a table of four million entries would
 * take half a second, and the lock meanwhile.
 */
export class FrozenEntries extends ConnectionEntries {
  override tryLock(): boolean {
    return true;
  }

  override unlock(): void {}
  override write(): void {}
  override setValueWord(): void {}
  override refresh(): void {}

  override noteUnchanging(): boolean {
    return false;
  }

  /** All go the long way, where all stores are. */
  override showStanding(
    _pool: FramePool,
    _timeouts: Int32Array,
    _epoch: number,
    _nowSeconds: number,
    first: number,
  ): number {
    return first;
  }
}
