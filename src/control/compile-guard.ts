/**
 * The guards of all ports as the table that workers look senders up in (pipeline/guard-table.ts). Prefixes of a station may
 * overlap; they become disjoint ranges, each with the origin of the narrowest prefix over it. Main thread, pure.
 */
import {
  biased,
  GUARD_ORIGIN_ADDRESS,
  GUARD_ORIGIN_BITS,
  GUARD_ORIGIN_LINK_LOCAL,
  GUARD_ORIGIN_PAIR,
  type GuardTable,
  IPV4_RANGE_WORDS,
  IPV6_RANGE_WORDS,
  STATION_WORDS,
} from '../pipeline/guard-table.js';
import { IPV4_SIZE, IPV6_SIZE, macWords } from '../wire/address.js';
import { read32 } from '../wire/octets.js';
import type { Indices } from './indices.js';
import type { GuardPair, GuardStation, ResolvedConfig } from './resolved.js';

/** Addresses from first to last, as numbers. */
interface Range {
  readonly first: bigint;
  readonly last: bigint;
  readonly origin: number;
}

const origins: Readonly<Record<GuardPair['origin'], number>> = {
  address: GUARD_ORIGIN_ADDRESS,
  pair: GUARD_ORIGIN_PAIR,
  'link-local': GUARD_ORIGIN_LINK_LOCAL,
};

/** `portCount`: ports the table has rows for. */
export function compileGuard(config: ResolvedConfig, indices: Indices, portCount: number): GuardTable {
  const byPort = {
    portStations: new Int32Array(portCount),
    portStationCount: new Int32Array(portCount),
    portEthertypes: new Int32Array(portCount),
    portEthertypeCount: new Int32Array(portCount),
  };
  const stations: number[] = [];
  const ipv4: number[] = [];
  const ipv6: number[] = [];
  const ethertypes: number[] = [];
  for (const [name, { guard }] of config.ports) {
    const port = indices.port(name);
    if (guard === undefined || port === undefined) continue;
    byPort.portStations[port] = stations.length / STATION_WORDS;
    byPort.portStationCount[port] = guard.stations.length;
    byPort.portEthertypes[port] = ethertypes.length;
    byPort.portEthertypeCount[port] = guard.ethertypes.length;
    for (const station of [...guard.stations].sort(byMac)) pushStation(station, stations, ipv4, ipv6);
    for (const type of [...guard.ethertypes].sort((left, right) => left - right)) ethertypes.push(type);
  }
  return share({ ...byPort, stations, ipv4, ipv6, ethertypes });
}

function byMac(left: GuardStation, right: GuardStation): number {
  const [one, other] = [macWords(left.mac), macWords(right.mac)];
  return one.high - other.high || one.low - other.low;
}

function pushStation({ mac, pairs }: GuardStation, stations: number[], ipv4: number[], ipv6: number[]): void {
  const { high, low } = macWords(mac);
  const four = disjoint(rangesOf(pairs, IPV4_SIZE));
  const six = disjoint(rangesOf(pairs, IPV6_SIZE));
  stations.push(high, low, ipv4.length / IPV4_RANGE_WORDS, four.length, ipv6.length / IPV6_RANGE_WORDS, six.length);
  for (const range of four) pushRange(ipv4, range, 1);
  for (const range of six) pushRange(ipv6, range, 4);
}

function pushRange(table: number[], { first, last, origin }: Range, words: number): void {
  for (const address of [first, last])
    for (let word = words - 1; word >= 0; word--)
      table.push(biased(Number(BigInt.asIntN(32, address >> BigInt(32 * word)))));
  table.push(origin);
}

/** Of the pairs whose addresses have `size` octets. */
function rangesOf(pairs: readonly GuardPair[], size: number): Range[] {
  return pairs
    .filter(({ prefix }) => prefix.address.length === size)
    .map(({ prefix, origin, index }) => {
      const behind = (1n << BigInt(size * 8 - prefix.length)) - 1n;
      const address = numberOf(prefix.address) & ~behind;
      return { first: address, last: address | behind, origin: (index << GUARD_ORIGIN_BITS) | origins[origin] };
    });
}

function numberOf(address: Uint8Array): bigint {
  let number = 0n;
  for (let at = 0; at < address.length; at += 4) number = (number << 32n) | BigInt(read32(address, at) >>> 0);
  return number;
}

/** Prefixes either nest or have nothing in common: a sweep with the stack of those that are open. */
function disjoint(ranges: readonly Range[]): Range[] {
  const ordered = [...ranges].sort((left, right) => compare(left.first, right.first) || compare(right.last, left.last));
  const found: Range[] = [];
  const open: Range[] = [];
  let next = 0n;
  const emit = (origin: number, last: bigint) => {
    if (next <= last) found.push({ first: next, last, origin });
    next = last + 1n;
  };
  const closeBefore = (address: bigint) => {
    for (let top = open.at(-1); top !== undefined && top.last < address; top = open.at(-1)) {
      emit(top.origin, top.last);
      open.pop();
    }
  };
  for (const range of ordered) {
    closeBefore(range.first);
    const around = open.at(-1);
    // Written twice: the first entry counts.
    if (around?.first === range.first && around.last === range.last) continue;
    if (around !== undefined) emit(around.origin, range.first - 1n);
    next = range.first;
    open.push(range);
  }
  closeBefore(1n << 128n);
  return found;
}

function compare(left: bigint, right: bigint): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** All parts in one piece of shared memory. */
function share(parts: Readonly<Record<keyof GuardTable, ArrayLike<number>>>): GuardTable {
  const words = Object.values(parts).reduce((sum, { length }) => sum + length, 0);
  const buffer = new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT);
  let position = 0;
  const take = (values: ArrayLike<number>) => {
    const part = new Int32Array(buffer, position, values.length);
    part.set(values);
    position += part.byteLength;
    return part;
  };
  return {
    portStations: take(parts.portStations),
    portStationCount: take(parts.portStationCount),
    portEthertypes: take(parts.portEthertypes),
    portEthertypeCount: take(parts.portEthertypeCount),
    stations: take(parts.stations),
    ipv4: take(parts.ipv4),
    ipv6: take(parts.ipv6),
    ethertypes: take(parts.ethertypes),
  };
}
