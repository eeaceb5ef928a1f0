/**
 * Which rule of an ordered set is the first that matches: a set compiled to numbers (control/compile-rules.ts) and the
 * lookup in it. ACLs and security groups share both. @hot
 *
 * How: each **dimension** (source address, destination port, ...) that some rule of the set asks for is cut into intervals;
 * a search gives the interval a key falls into, and with it the **vector** of rules that this dimension lets match, a bit a
 * rule. The AND of all vectors has the matching rules. A vector is cut into chunks of 1,024 bits: 32 words and in front of
 * them a **summary**, a bit for each word that is not 0, so the AND goes through words only where all summaries have a bit.
 * Equal chunks are kept once, so vectors that differ in one rule share all their other chunks.
 *
 * What a key costs is bounded by the rule set alone: at most one search a dimension, and one pass through its words. There
 * is no cache of past answers, so nothing that is sent makes a later frame's lookup dearer or its answer another one. (Who
 * judges frame after frame spares the searches that the frame before has made: last-match.ts.)
 */

import { PACKET_IPV4, PACKET_IPV6 } from '../wire/packet.js';
import { KEY_ARP_OPERATION, KEY_KIND } from './rule-key.js';

/** A compiled set: plain numbers over shared memory. Never changed once made; any number of threads may look up in it. */
export interface CompiledRules {
  readonly ruleCount: number;
  /** Bits by PACKET_...: kinds of packets into which some rule looks, so a packet of it that can't be read can't be judged. */
  readonly readsKinds: number;
  /** FIELDS_... of rule-key.ts that a key has to have for this set. */
  readonly fields: number;
  /** Dimensions, each DIMENSION_WORDS from the start of `words`. */
  readonly dimensionCount: number;
  /** The caller's numbers of the sets of addresses that rules ask for (remoteSet); rules know them by place here. */
  readonly remoteSets: Int32Array;
  /** In `words`: a record for rules that ask for no set, then one for each of remoteSets. 0: no rule asks for sets. */
  readonly setRecords: number;
  /** In `words`: for each bit of a vector the index of its rule. */
  readonly order: number;
  /** In `words`: the first chunk of each section, and behind the last one's the end. */
  readonly sections: number;
  readonly sectionCount: number;
  readonly words: Int32Array;
}

/** Most dimensions: 19 fields, and the octets of both MACs. */
export const DIMENSIONS_MAX = 32;

/** Words of a dimension. A record is the positions of a vector's chunks. */
export const DIMENSION_METHOD = 0;
/** Where in the key. */
export const DIMENSION_PLACE = 1;
/** Record for keys that lack the field. */
export const DIMENSION_ABSENT = 2;
/** METHOD_TABLE and METHOD_OCTET: the records by value. Otherwise the first value of each interval, ascending. */
export const DIMENSION_BOUNDS = 3;
/** Values of the table; intervals. */
export const DIMENSION_COUNT = 4;
/** Records by interval. */
export const DIMENSION_RECORDS = 5;
/** Last interval that begins at or before the start of each bucket of 1 << DIMENSION_SHIFT values, from DIMENSION_LEAST on. */
export const DIMENSION_INDEX = 6;
export const DIMENSION_INDEX_COUNT = 7;
export const DIMENSION_SHIFT = 8;
export const DIMENSION_LEAST = 9;
/** Of METHOD_ADDRESS, for IPv6: bounds of four words, how many, records. */
export const DIMENSION_BOUNDS6 = 10;
export const DIMENSION_COUNT6 = 11;
export const DIMENSION_RECORDS6 = 12;
export const DIMENSION_WORDS = 13;

/** How a dimension's interval is found: by a small value itself, an octet of the word, a number, an IP address, ARP's, a MAC. */
export const METHOD_TABLE = 0;
export const METHOD_OCTET = 1;
export const METHOD_NUMBER = 2;
export const METHOD_ADDRESS = 3;
export const METHOD_ARP_ADDRESS = 4;
export const METHOD_MAC = 5;

/** Bounds are kept with this bit turned over: then signed comparison orders them as unsigned numbers. */
export const ORDER_BIT = 1 << 31;

export const CHUNK_SHIFT = 10;
export const CHUNK_WORDS = 32;

/** In the list of sets that an address is in: it is in none. Lists begin with their count. */
export const NO_SETS = new Int32Array(1);

const NONE = 0x7fff_ffff;

/** One thread has one of each, and no lookup is nested. */
const records = new Int32Array(DIMENSIONS_MAX);
const chunks = new Int32Array(DIMENSIONS_MAX);

/**
 * Index of the first rule that matches the key (rule-key.ts), -1 when none does. `sets`: how many of rules.remoteSets the
 * remote address is in, then their places there.
 */
export function firstMatch(rules: CompiledRules, key: Int32Array, sets: Int32Array = NO_SETS): number {
  const { words, dimensionCount } = rules;
  for (let index = 0; index < dimensionCount; index++)
    records[index] = findRecord(words, index * DIMENSION_WORDS, key) | 0;
  return firstOfRecords(rules, records, sets);
}

/** The rest of it, once the record of every dimension is known. */
export function firstOfRecords(rules: CompiledRules, records: Int32Array, sets: Int32Array): number {
  const { words, dimensionCount, order } = rules;
  let best = NONE;
  for (let section = 0; section < rules.sectionCount; section++) {
    const end = words[rules.sections + section + 1];
    for (let chunk = words[rules.sections + section]; chunk < end; chunk++) {
      const first = order + (chunk << CHUNK_SHIFT);
      if (words[first] >= best) break;
      const bit =
        rules.setRecords === 0
          ? firstInChunk(words, records, dimensionCount, chunk)
          : firstInChunkOfSets(words, records, dimensionCount, chunk, rules.setRecords, sets);
      if (bit < 0) continue;
      if (words[first + bit] < best) best = words[first + bit];
      break;
    }
  }
  return best === NONE ? -1 : best;
}

/** First bit of the chunk that is set in every dimension's vector; -1: none. */
function firstInChunk(words: Int32Array, records: Int32Array, dimensionCount: number, chunk: number): number {
  let summary = -1;
  for (let index = 0; index < dimensionCount; index++) {
    const at = words[records[index] + chunk];
    chunks[index] = at;
    summary &= words[at];
    if (summary === 0) return -1;
  }
  while (summary !== 0) {
    const place = 31 - Math.clz32(summary & -summary);
    summary &= summary - 1;
    let word = -1;
    for (let index = 0; index < dimensionCount; index++) word &= words[chunks[index] + 1 + place];
    if (word !== 0) return (place << 5) + 31 - Math.clz32(word & -word);
  }
  return -1;
}

/** The same with one more vector: the rules that ask for no set, and those that ask for one of `sets`. */
function firstInChunkOfSets(
  words: Int32Array,
  records: Int32Array,
  dimensionCount: number,
  chunk: number,
  setRecords: number,
  sets: Int32Array,
): number {
  let summary = words[words[words[setRecords] + chunk]];
  for (let index = 1; index <= sets[0]; index++) summary |= words[words[words[setRecords + 1 + sets[index]] + chunk]];
  for (let index = 0; index < dimensionCount; index++) {
    const at = words[records[index] + chunk];
    chunks[index] = at;
    summary &= words[at];
    if (summary === 0) return -1;
  }
  while (summary !== 0) {
    const place = 31 - Math.clz32(summary & -summary);
    summary &= summary - 1;
    const at = 1 + place;
    let word = words[words[words[setRecords] + chunk] + at];
    for (let index = 1; index <= sets[0]; index++)
      word |= words[words[words[setRecords + 1 + sets[index]] + chunk] + at];
    for (let index = 0; index < dimensionCount; index++) word &= words[chunks[index] + at];
    if (word !== 0) return (place << 5) + 31 - Math.clz32(word & -word);
  }
  return -1;
}

/** Record of the interval of the dimension at `at` that the key falls into. */
export function findRecord(words: Int32Array, at: number, key: Int32Array): number {
  const place = words[at + DIMENSION_PLACE];
  switch (words[at + DIMENSION_METHOD]) {
    case METHOD_TABLE: {
      const value = key[place];
      if (value < 0 || value >= words[at + DIMENSION_COUNT]) return words[at + DIMENSION_ABSENT];
      return words[words[at + DIMENSION_BOUNDS] + value];
    }
    case METHOD_OCTET:
      return words[words[at + DIMENSION_BOUNDS] + ((key[place] >>> words[at + DIMENSION_SHIFT]) & 0xff)];
    case METHOD_NUMBER:
      if (key[place] < 0) return words[at + DIMENSION_ABSENT];
      return words[words[at + DIMENSION_RECORDS] + findInterval(words, at, key[place] ^ ORDER_BIT)];
    case METHOD_ADDRESS:
      if (key[KEY_KIND] === PACKET_IPV4)
        return words[words[at + DIMENSION_RECORDS] + findInterval(words, at, key[place + 3] ^ ORDER_BIT)];
      if (key[KEY_KIND] === PACKET_IPV6) return findIpv6(words, at, key, place);
      return words[at + DIMENSION_ABSENT];
    case METHOD_ARP_ADDRESS:
      if (key[KEY_ARP_OPERATION] < 0) return words[at + DIMENSION_ABSENT];
      return words[words[at + DIMENSION_RECORDS] + findInterval(words, at, key[place] ^ ORDER_BIT)];
    default:
      return findMac(words, at, key, place);
  }
}

/** The first value of the interval of the dimension at `at`, with ORDER_BIT turned over. */
export function firstOfInterval(words: Int32Array, at: number, interval: number): number {
  return words[words[at + DIMENSION_BOUNDS] + interval];
}

/** Number of the interval that `value` is in; both it and the bounds with ORDER_BIT turned over. */
export function findInterval(words: Int32Array, at: number, value: number): number {
  const least = words[at + DIMENSION_LEAST];
  if (value < least) return 0;
  const bucket = ((value - least) | 0) >>> words[at + DIMENSION_SHIFT];
  if (bucket >= words[at + DIMENSION_INDEX_COUNT]) return words[at + DIMENSION_COUNT] - 1;
  const bounds = words[at + DIMENSION_BOUNDS];
  const index = words[at + DIMENSION_INDEX] + bucket;
  let low = words[index];
  let high = words[index + 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (words[bounds + middle] <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

function findIpv6(words: Int32Array, at: number, key: Int32Array, place: number): number {
  const bounds = words[at + DIMENSION_BOUNDS6];
  let low = 0;
  let high = words[at + DIMENSION_COUNT6] - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (isAtOrBehind(words, bounds + middle * 4, key, place)) low = middle;
    else high = middle - 1;
  }
  return words[words[at + DIMENSION_RECORDS6] + low];
}

/** Whether the key's address is the bound or behind it. */
function isAtOrBehind(words: Int32Array, bound: number, key: Int32Array, place: number): boolean {
  for (let word = 0; word < 4; word++) {
    const value = key[place + word] ^ ORDER_BIT;
    const other = words[bound + word];
    if (value !== other) return value > other;
  }
  return true;
}

function findMac(words: Int32Array, at: number, key: Int32Array, place: number): number {
  const bounds = words[at + DIMENSION_BOUNDS];
  const macHigh = key[place] ^ ORDER_BIT;
  const macLow = key[place + 1] ^ ORDER_BIT;
  let low = 0;
  let high = words[at + DIMENSION_COUNT] - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    const bound = words[bounds + middle * 2];
    if (macHigh > bound || (macHigh === bound && macLow >= words[bounds + middle * 2 + 1])) low = middle;
    else high = middle - 1;
  }
  return words[words[at + DIMENSION_RECORDS] + low];
}
