/**
 * New connections that routers refused to translate because no outside port was free or a machine's share was used up: counts
 * by router, and of each kind the last one, for the log. In the memory of the connections. Workers write under the
 * connections' lock; the main thread reads without it. @hot
 */
import { NETWORKS_MAX, ROUTERS_MAX } from '../limits.js';
import { ADDRESS_WORDS } from './routing-tables.js';

/** No outside port was free (nat_exhausted); the port's share of mappings was used up (nat_limit). */
export const REFUSED_EXHAUSTED = 0;
export const REFUSED_LIMIT = 1;
const KINDS = 2;

/** Words of what is known of the last one: a stamp, odd while it is written, and the fields of NatRefusal. */
const R_ZONE = 1;
const R_PROTOCOL = 2;
const R_PORT = 3;
const R_INSIDE_PORT = 4;
const R_INSIDE = 5;
const R_OUTSIDE = R_INSIDE + ADDRESS_WORDS;
const RECORD_WORDS = 16;
const RECORDS = ROUTERS_MAX * KINDS;

export const NAT_REFUSALS_WORDS = RECORDS + KINDS * RECORD_WORDS;

/** Addresses are four words in network order, IPv4 mapped. */
export interface NatRefusal {
  /** Number of the router. */
  readonly router: number;
  readonly protocol: number;
  /** Switch port that the packet came by. */
  readonly port: number;
  readonly inside: Int32Array;
  /** Source port; of ICMP the identifier. */
  readonly insidePort: number;
  /** The outside address that was to hide it. */
  readonly outside: Int32Array;
}

export class NatRefusals {
  private readonly words: Int32Array;
  private readonly isFrozen: boolean;

  constructor(memory: ArrayBufferLike, byteOffset: number, isFrozen: boolean) {
    this.words = new Int32Array(memory, byteOffset, NAT_REFUSALS_WORDS);
    this.isFrozen = isFrozen;
  }

  /** `kind`: REFUSED_...; `outsideAt`: where in `outside` the address is. */
  add(
    kind: number,
    zone: number,
    protocol: number,
    port: number,
    inside: Int32Array,
    insidePort: number,
    outside: Int32Array,
    outsideAt: number,
  ): void {
    if (this.isFrozen) return;
    const { words } = this;
    words[(zone - NETWORKS_MAX) * KINDS + kind]++;
    const at = RECORDS + kind * RECORD_WORDS;
    const stamp = words[at] | 1;
    Atomics.store(words, at, stamp);
    words[at + R_ZONE] = zone;
    words[at + R_PROTOCOL] = protocol;
    words[at + R_PORT] = port;
    words[at + R_INSIDE_PORT] = insidePort;
    for (let word = 0; word < ADDRESS_WORDS; word++) {
      words[at + R_INSIDE + word] = inside[word];
      words[at + R_OUTSIDE + word] = outside[outsideAt + word];
    }
    Atomics.store(words, at, (stamp + 1) | 0);
  }

  /** Connections of the router refused since the memory was made, or the router's number given out, modulo 2^32. */
  count(router: number, kind: number): number {
    return this.words[router * KINDS + kind] >>> 0;
  }

  /** The last one of the kind; undefined: there was none, or it is just being written. */
  last(kind: number): NatRefusal | undefined {
    const at = RECORDS + kind * RECORD_WORDS;
    const stamp = Atomics.load(this.words, at);
    const copy = this.words.slice(at, at + RECORD_WORDS);
    if (stamp === 0 || (stamp & 1) === 1 || Atomics.load(this.words, at) !== stamp) return undefined;
    return {
      router: copy[R_ZONE] - NETWORKS_MAX,
      protocol: copy[R_PROTOCOL],
      port: copy[R_PORT],
      inside: copy.slice(R_INSIDE, R_INSIDE + ADDRESS_WORDS),
      insidePort: copy[R_INSIDE_PORT],
      outside: copy.slice(R_OUTSIDE, R_OUTSIDE + ADDRESS_WORDS),
    };
  }

  /** Whoever gets the router's number begins at 0. */
  forget(router: number): void {
    for (let kind = 0; kind < KINDS; kind++) this.words[router * KINDS + kind] = 0;
  }
}
