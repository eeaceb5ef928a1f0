/**
 * Which ports (of ICMP: identifiers) of routers' outside addresses are mapped: a map of bits for each outside address and
 * protocol, in the memory of the connections and written under their lock. The entries of the mappings are the truth; after a
 * crash the maps are made from them (nat-repair.ts). @hot
 *
 *   map     even ports | odd ports          a port keeps its parity where possible (RFC 4787 REQ-4)
 *   parity  1024 words of ports | 32 words, a bit each for a full one of those | 1 word, a bit each for a full one of those
 *
 * So the search for a free port looks at five words or less for each range of ports, however many are taken: the last free
 * one is found as fast as the first, and who fills a range costs nobody time.
 */
import { OUTSIDES_MAX } from '../limits.js';

/** Maps of one outside address. */
export const MAP_TCP = 0;
export const MAP_UDP = 1;
export const MAP_ICMP = 2;
export const MAPS_PER_OUTSIDE = 3;

const BITS = 32_768;
const LEAVES = BITS / 32;
const BRANCHES = LEAVES / 32;
const PARITY_WORDS = LEAVES + BRANCHES + 1;
const MAP_WORDS = PARITY_WORDS * 2;
/** Words of memory that all maps take. */
export const PORT_MAPS_WORDS = OUTSIDES_MAX * MAPS_PER_OUTSIDE * MAP_WORDS;

const FULL = -1;
const NO_PORT = -1;

/** Number of a map: of an outside address's number and MAP_.... */
export function portMapOf(outside: number, map: number): number {
  return outside * MAPS_PER_OUTSIDE + map;
}

export class PortMaps {
  /** Words that the last search looked at; for tests. */
  looked = 0;
  private readonly words: Int32Array;
  private readonly isFrozen: boolean;

  constructor(memory: ArrayBufferLike, byteOffset: number, isFrozen: boolean) {
    this.words = new Int32Array(memory, byteOffset, PORT_MAPS_WORDS);
    this.isFrozen = isFrozen;
  }

  isTaken(map: number, port: number): boolean {
    return ((this.words[this.leafOf(map, port)] >>> ((port >>> 1) & 31)) & 1) !== 0;
  }

  take(map: number, port: number): void {
    if (this.isFrozen) return;
    const { words } = this;
    const base = parityBase(map, port);
    const leaf = port >>> 6;
    words[base + leaf] |= 1 << ((port >>> 1) & 31);
    if (words[base + leaf] !== FULL) return;
    words[base + LEAVES + (leaf >>> 5)] |= 1 << (leaf & 31);
    if (words[base + LEAVES + (leaf >>> 5)] === FULL) words[base + LEAVES + BRANCHES] |= 1 << (leaf >>> 5);
  }

  free(map: number, port: number): void {
    if (this.isFrozen) return;
    const { words } = this;
    const base = parityBase(map, port);
    const leaf = port >>> 6;
    words[base + leaf] &= ~(1 << ((port >>> 1) & 31));
    words[base + LEAVES + (leaf >>> 5)] &= ~(1 << (leaf & 31));
    words[base + LEAVES + BRANCHES] &= ~(1 << (leaf >>> 5));
  }

  /** Ports of the map that are taken. For people: it looks at all of it. */
  countTaken(map: number): number {
    let taken = 0;
    for (const base of [parityBase(map, 0), parityBase(map, 1)])
      for (let leaf = base; leaf < base + LEAVES; leaf++) taken += bitCount(this.words[leaf]);
    return taken;
  }

  /** All ports of all maps are free. */
  clear(): void {
    if (!this.isFrozen) this.words.fill(0);
  }

  /**
   * A free port from `first` to `last` of the parity of `like`: the first one from `start` on, or of the other parity from the
   * port before it on, going round. -1: there is none.
   */
  find(map: number, first: number, last: number, like: number, start: number): number {
    const odd = like & 1;
    // In ports of one parity: from the first that is not below `first` to the last that is not above `last`.
    const low = (first + 1 - odd) >> 1;
    const high = (last - odd) >> 1;
    if (high < low) return NO_PORT;
    const middle = Math.min(Math.max((start - odd) >> 1, low), high);
    const base = parityBase(map, odd);
    this.looked = 0;
    let found = this.nextFree(base, middle, high);
    if (found === NO_PORT && middle > low) found = this.nextFree(base, low, middle - 1);
    return found === NO_PORT ? NO_PORT : (found << 1) | odd;
  }

  /** The first bit that is 0 from `from` to `to`; -1: there is none. */
  private nextFree(base: number, from: number, to: number): number {
    const leaf = from >>> 5;
    let free = ~this.look(base + leaf) & (-1 << (from & 31));
    if (free !== 0) return within((leaf << 5) + lowestBit(free), to);
    const next = this.nextLeaf(base, leaf + 1);
    if (next === NO_PORT) return NO_PORT;
    free = ~this.look(base + next);
    return within((next << 5) + lowestBit(free), to);
  }

  /** The first word of ports from `leaf` on that is not full. */
  private nextLeaf(base: number, leaf: number): number {
    if (leaf >= LEAVES) return NO_PORT;
    const branch = leaf >>> 5;
    let open = ~this.look(base + LEAVES + branch) & (-1 << (leaf & 31));
    if (open !== 0) return (branch << 5) + lowestBit(open);
    if (branch + 1 >= BRANCHES) return NO_PORT;
    open = ~this.look(base + LEAVES + BRANCHES) & (-1 << (branch + 1));
    if (open === 0) return NO_PORT;
    const next = lowestBit(open);
    return (next << 5) + lowestBit(~this.look(base + LEAVES + next));
  }

  private look(at: number): number {
    this.looked++;
    return this.words[at];
  }

  private leafOf(map: number, port: number): number {
    return parityBase(map, port) + (port >>> 6);
  }
}

function parityBase(map: number, port: number): number {
  return map * MAP_WORDS + (port & 1) * PARITY_WORDS;
}

function within(bit: number, to: number): number {
  return bit <= to ? bit : NO_PORT;
}

function bitCount(word: number): number {
  let count = 0;
  for (let left = word; left !== 0; left &= left - 1) count++;
  return count;
}

/** Number of the lowest bit that is set; of a word that is not 0. */
function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
