/**
 * Which outside port an inside one gets: the same where it is free, else another of its parity and range from a place that
 * nobody can predict (RFC 6056; RFC 4787 REQ-3, 4). How long that takes does not depend on how many are taken (nat-ports.ts).
 * The connections' lock is held. @hot
 */
import { CONNECTION_KEY_WORDS, KEY_ZONE } from './connection-entry.js';
import type { Machine } from './machine.js';
import { newKey } from './nat-reply.js';
import type { NatTables } from './nat-tables.js';

/** A number that nobody outside this process can predict, from the table's seed. */
export function unpredictable(machine: Machine): number {
  machine.portSearches = (machine.portSearches + 1) | 0;
  const { hash } = machine.connections.table;
  return hash.words32(newKey, 0, CONNECTION_KEY_WORDS) ^ hash.pair(machine.portSearches, newKey[KEY_ZONE]);
}

/**
 * A port that is free in the map: the same, else one of its parity and range (0-1023 or above), else any. -1: there is none.
 * `place`: of the outside address and protocol in `rangeStart`.
 */
export function choosePort(machine: Machine, place: number, map: number, port: number): number {
  const { snapshot, connections } = machine;
  const { nat } = snapshot;
  const { ports } = connections;
  const first = nat.rangeStart[place];
  const count = nat.rangeCount[place];
  if (isInRanges(nat, first, count, port) && !ports.isTaken(map, port)) return port;
  const start = (unpredictable(machine) >>> 8) & 0xffff;
  const isLow = port < 1024;
  for (let parity = 0; parity < 2; parity++) {
    let found = findIn(machine, map, first, count, isLow ? 0 : 1024, isLow ? 1023 : 65_535, port ^ parity, start);
    if (found < 0) found = findIn(machine, map, first, count, 0, 65_535, port ^ parity, start);
    if (found >= 0) return found;
  }
  return -1;
}

export function isInRanges({ ranges }: NatTables, first: number, count: number, port: number): boolean {
  for (let index = first; index < first + count; index++)
    if (port >= ranges[index * 2] && port <= ranges[index * 2 + 1]) return true;
  return false;
}

/** The first free port of this parity from `start` on, going round, in what of the ranges lies from `low` to `high`. */
function findIn(
  { snapshot, connections }: Machine,
  map: number,
  first: number,
  count: number,
  low: number,
  high: number,
  like: number,
  start: number,
): number {
  const { ranges } = snapshot.nat;
  for (let step = 0; step < count; step++) {
    // Which range comes first is as random as where in it.
    const index = first + ((start + step) % count);
    const from = Math.max(ranges[index * 2], low);
    const to = Math.min(ranges[index * 2 + 1], high);
    if (from > to) continue;
    const found = connections.ports.find(map, from, to, like, from + (start % (to - from + 1)));
    if (found >= 0) return found;
  }
  return -1;
}
