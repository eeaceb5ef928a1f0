/**
 * Which security groups an address is a member of: addresses and allowed pairs of all ports in a group, by IP alone, as
 * Neutron has it. A part of the snapshot of its own, so that a port that joins or leaves a group changes this and no
 * compiled rule. @hot
 *
 * How: all prefixes of all sets cut each family's addresses into intervals; a search gives the interval, and that names a
 * row of bits, one for each set. One search finds single addresses and every prefix around them at once, and its cost
 * depends on how many there are in the configuration, not on what is asked for.
 */

import { PACKET_IPV4 } from '../wire/packet.js';
import { ORDER_BIT } from './classifier.js';
import { KEY_KIND } from './rule-key.js';

export interface AddressSets {
  /** First address of each interval, ascending, with ORDER_BIT turned over in each word: one word each, and four. */
  readonly bounds4: Int32Array;
  readonly bounds6: Int32Array;
  /** Row of the interval. Row 0 is in no set. */
  readonly rows4: Int32Array;
  readonly rows6: Int32Array;
  /** Rows of `rowWords` words: bit n is set n. */
  readonly rowWords: number;
  readonly bits: Int32Array;
}

/**
 * Writes into `found` how many of the sets in `wanted` have the key's address at `at`, and then their places in `wanted`:
 * what firstMatch takes. `found` has room for all of them.
 */
export function findSets(sets: AddressSets, key: Int32Array, at: number, wanted: Int32Array, found: Int32Array): void {
  found[0] = 0;
  if (wanted.length === 0) return;
  const { bits } = sets;
  const row = (key[KEY_KIND] === PACKET_IPV4 ? findRow4(sets, key[at + 3]) : findRow6(sets, key, at)) * sets.rowWords;
  let count = 0;
  for (let place = 0; place < wanted.length; place++) {
    const set = wanted[place];
    if ((bits[row + (set >>> 5)] & (1 << (set & 31))) !== 0) found[++count] = place;
  }
  found[0] = count;
}

function findRow4({ bounds4, rows4 }: AddressSets, address: number): number {
  const value = address ^ ORDER_BIT;
  let low = 0;
  let high = bounds4.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (bounds4[middle] <= value) low = middle;
    else high = middle - 1;
  }
  return rows4[low];
}

function findRow6({ bounds6, rows6 }: AddressSets, key: Int32Array, at: number): number {
  let low = 0;
  let high = rows6.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (isAtOrBehind(bounds6, middle * 4, key, at)) low = middle;
    else high = middle - 1;
  }
  return rows6[low];
}

function isAtOrBehind(bounds: Int32Array, bound: number, key: Int32Array, at: number): boolean {
  for (let word = 0; word < 4; word++) {
    const value = key[at + word] ^ ORDER_BIT;
    if (value !== bounds[bound + word]) return value > bounds[bound + word];
  }
  return true;
}
