/**
 * The addresses that are the switch's own: of routers' interfaces, of the address service. A hash table in the snapshot from
 * (network, address) to the MAC that answers for it, made by the main thread, read by workers. Its keys come from the
 * configuration only, at most half of the rows are taken, and the longest run is bounded when it is made: what packets ask
 * for can't make a look-up long. @hot (findOwnAddress)
 *
 *   row: | network + 1, 0: free | address, 4 words in memory's order, IPv4 mapped | macHigh | macLow | flags |
 */
import { MAPPED_WORD } from '../wire/ipv6.js';
import { swap32, wordAt } from '../wire/octets.js';

const ROW_WORDS = 8;
const NETWORK = 0;
const ADDRESS = 1;
const MAC_HIGH = 5;
const MAC_LOW = 6;
const FLAGS = 7;

/** It is a router's: neighbour advertisements say so, or hosts would throw it out of their default routers. */
export const OWN_ROUTER = 1 << 0;
/**
 * Answered for stations of this host only: every host of the network has the address, and answers for it at home. What comes
 * by an uplink or a tunnel was asked elsewhere.
 */
export const OWN_LOCAL = 1 << 1;

export interface OwnAddress {
  /** Index of its network. */
  readonly network: number;
  /** ipWords of it. */
  readonly address: ArrayLike<number>;
  readonly macHigh: number;
  readonly macLow: number;
  /** OWN_... bits. */
  readonly flags: number;
}

/** The table; empty for none. Of two rows with one key the first counts. */
export function makeOwnAddresses(rows: readonly OwnAddress[]): Int32Array {
  if (rows.length === 0) return new Int32Array(new SharedArrayBuffer(0));
  let capacity = 4;
  while (capacity < rows.length * 2) capacity *= 2;
  const table = new Int32Array(new SharedArrayBuffer(capacity * ROW_WORDS * Int32Array.BYTES_PER_ELEMENT));
  for (const row of rows) {
    const [word0 = 0, word1 = 0, word2 = 0, word3 = 0] = Array.from(row.address);
    if (findOwnAddress(table, row.network, word0, word1, word2, word3) >= 0) continue;
    let index = hashOf(row.network, word0, word1, word2, word3) & (capacity - 1);
    while (table[index * ROW_WORDS] !== 0) index = (index + 1) & (capacity - 1);
    const fields = [row.network + 1, word0, word1, word2, word3, row.macHigh, row.macLow, row.flags];
    table.set(fields, index * ROW_WORDS);
  }
  return table;
}

/** Position of the address's row, for the accessors below; -1: it is not the switch's. */
export function findOwnAddress(
  table: Int32Array,
  network: number,
  word0: number,
  word1: number,
  word2: number,
  word3: number,
): number {
  if (table.length === 0) return -1;
  const mask = table.length / ROW_WORDS - 1;
  let index = hashOf(network, word0, word1, word2, word3) & mask;
  for (;;) {
    const at = index * ROW_WORDS;
    if (table[at + NETWORK] === 0) return -1;
    if (
      table[at + NETWORK] === network + 1 &&
      table[at + ADDRESS] === word0 &&
      table[at + ADDRESS + 1] === word1 &&
      table[at + ADDRESS + 2] === word2 &&
      table[at + ADDRESS + 3] === word3
    )
      return at;
    index = (index + 1) & mask;
  }
}

/** As findOwnAddress, of the address of four octets at `position` in frame memory; and of one of sixteen. */
export function findOwnAddress4(table: Int32Array, network: number, octets: Uint8Array, position: number): number {
  return findOwnAddress(table, network, 0, 0, MAPPED_WORD, wordAt(octets, position));
}

export function findOwnAddress6(table: Int32Array, network: number, octets: Uint8Array, position: number): number {
  const word0 = wordAt(octets, position);
  const word1 = wordAt(octets, position + 4);
  const word2 = wordAt(octets, position + 8);
  return findOwnAddress(table, network, word0, word1, word2, wordAt(octets, position + 12));
}

export function ownMacHigh(table: Int32Array, row: number): number {
  return table[row + MAC_HIGH];
}

export function ownMacLow(table: Int32Array, row: number): number {
  return table[row + MAC_LOW];
}

export function ownFlags(table: Int32Array, row: number): number {
  return table[row + FLAGS];
}

/** Words in memory's order have what differs between neighbours in their upper octets. */
function hashOf(network: number, word0: number, word1: number, word2: number, word3: number): number {
  let hash = Math.imul(network + 1, 0x9e3779b1) ^ swap32(word3);
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) ^ swap32(word2);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) ^ swap32(word1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x27d4eb2f) ^ swap32(word0);
  return Math.imul(hash ^ (hash >>> 15), 0x165667b1) >>> 7;
}
