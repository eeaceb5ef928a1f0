/**
 * What guarded ports may send from, compiled (control/compile-guard.ts) into flat arrays of the snapshot: read-only, in
 * shared memory, by every worker. @hot
 *
 * A **station** is one MAC at one port. It owns exact pairs: ranges of IPv4 and of IPv6 addresses that are valid with this
 * MAC and no other. Ranges of a station are disjoint and sorted, however the prefixes they come from overlap, so whether an
 * address is its own takes one binary search: its cost grows with the logarithm of what the operator wrote and with nothing
 * that anybody sends.
 *
 * Addresses are words of network order with the sign bit turned over (`biased`), so that signed comparison orders them as
 * unsigned. Each range ends with its origin (GUARD_ORIGIN_...): where in the configuration it comes from.
 */
import { read32 } from '../wire/octets.js';

/** Words of a row of `stations`: macHigh, macLow, and its rows in `ipv4` and `ipv6`. */
export const STATION_WORDS = 6;
export const STATION_HIGH = 0;
export const STATION_LOW = 1;
export const STATION_IPV4 = 2;
export const STATION_IPV4_COUNT = 3;
export const STATION_IPV6 = 4;
export const STATION_IPV6_COUNT = 5;
/** First address, last address, origin. */
export const IPV4_RANGE_WORDS = 3;
export const IPV6_RANGE_WORDS = 9;

/** Origins: the kind in the lowest two bits, above them the place in its list, from 0. */
export const GUARD_ORIGIN_ADDRESS = 0;
export const GUARD_ORIGIN_PAIR = 1;
/** fe80:: with the MAC's own interface identifier (RFC 4291 appendix A). */
export const GUARD_ORIGIN_LINK_LOCAL = 2;
export const GUARD_ORIGIN_BITS = 2;

const SIGN = 0x8000_0000 | 0;

export interface GuardTable {
  /** By port: its stations, sorted by MAC (macHigh unsigned, macLow signed); its extra ethertypes, sorted. */
  readonly portStations: Int32Array;
  readonly portStationCount: Int32Array;
  readonly portEthertypes: Int32Array;
  readonly portEthertypeCount: Int32Array;
  readonly stations: Int32Array;
  readonly ipv4: Int32Array;
  readonly ipv6: Int32Array;
  readonly ethertypes: Int32Array;
}

/** A word of an address as the table has it. */
export function biased(word: number): number {
  return word ^ SIGN;
}

/** Number of the port's station with this MAC; -1: it has none. */
export function findStation(guard: GuardTable, port: number, macHigh: number, macLow: number): number {
  const { stations } = guard;
  let low = guard.portStations[port];
  let high = low + guard.portStationCount[port];
  while (low < high) {
    const middle = (low + high) >> 1;
    const at = middle * STATION_WORDS;
    const order = stations[at + STATION_HIGH] - macHigh;
    if (order === 0 && stations[at + STATION_LOW] === macLow) return middle;
    if (order < 0 || (order === 0 && stations[at + STATION_LOW] < macLow)) low = middle + 1;
    else high = middle;
  }
  return -1;
}

/** Origin of the range of the station's that the IPv4 address (one word, network order) lies in; -1: it isn't its own. */
export function findIpv4(guard: GuardTable, station: number, address: number): number {
  const { ipv4, stations } = guard;
  const wanted = biased(address);
  const start = stations[station * STATION_WORDS + STATION_IPV4];
  let low = start;
  let high = start + stations[station * STATION_WORDS + STATION_IPV4_COUNT];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ipv4[middle * IPV4_RANGE_WORDS] <= wanted) low = middle + 1;
    else high = middle;
  }
  // The last range that does not begin behind the address.
  if (low === start) return -1;
  const at = (low - 1) * IPV4_RANGE_WORDS;
  return wanted <= ipv4[at + 1] ? ipv4[at + 2] : -1;
}

/** The same for the IPv6 address at `position`. */
export function findIpv6(guard: GuardTable, station: number, octets: Uint8Array, position: number): number {
  const { ipv6, stations } = guard;
  const word0 = biased(read32(octets, position));
  const word1 = biased(read32(octets, position + 4));
  const word2 = biased(read32(octets, position + 8));
  const word3 = biased(read32(octets, position + 12));
  const start = stations[station * STATION_WORDS + STATION_IPV6];
  let low = start;
  let high = start + stations[station * STATION_WORDS + STATION_IPV6_COUNT];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isAfter(ipv6, middle * IPV6_RANGE_WORDS, word0, word1, word2, word3)) high = middle;
    else low = middle + 1;
  }
  if (low === start) return -1;
  const at = (low - 1) * IPV6_RANGE_WORDS;
  return isBefore(ipv6, at + 4, word0, word1, word2, word3) ? -1 : ipv6[at + 8];
}

/** Whether the address at `at` in the table is greater than the given one. */
function isAfter(table: Int32Array, at: number, word0: number, word1: number, word2: number, word3: number): boolean {
  if (table[at] !== word0) return table[at] > word0;
  if (table[at + 1] !== word1) return table[at + 1] > word1;
  if (table[at + 2] !== word2) return table[at + 2] > word2;
  return table[at + 3] > word3;
}

function isBefore(table: Int32Array, at: number, word0: number, word1: number, word2: number, word3: number): boolean {
  if (table[at] !== word0) return table[at] < word0;
  if (table[at + 1] !== word1) return table[at + 1] < word1;
  if (table[at + 2] !== word2) return table[at + 2] < word2;
  return table[at + 3] < word3;
}

/** Whether the configuration lets the port send frames of this ethertype besides ARP and IP. */
export function isExtraEthertype(guard: GuardTable, port: number, ethertype: number): boolean {
  let low = guard.portEthertypes[port];
  let high = low + guard.portEthertypeCount[port];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (guard.ethertypes[middle] === ethertype) return true;
    if (guard.ethertypes[middle] < ethertype) low = middle + 1;
    else high = middle;
  }
  return false;
}

/** Whether the port has the MAC. */
export function isOwnMac(guard: GuardTable, port: number, macHigh: number, macLow: number): boolean {
  return findStation(guard, port, macHigh, macLow) >= 0;
}

/** Whether MAC and IPv4 address, from memory, are a pair of the port's. */
export function isPair4(guard: GuardTable, port: number, macHigh: number, macLow: number, address: number): boolean {
  const station = findStation(guard, port, macHigh, macLow);
  return station >= 0 && findIpv4(guard, station, address) >= 0;
}

/** Whether the MAC and the IPv6 address at `position` are a pair of the port's. */
export function isPair6(
  guard: GuardTable,
  port: number,
  macHigh: number,
  macLow: number,
  octets: Uint8Array,
  position: number,
): boolean {
  const station = findStation(guard, port, macHigh, macLow);
  return station >= 0 && findIpv6(guard, station, octets, position) >= 0;
}
