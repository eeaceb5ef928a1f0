/**
 * The hops that packets to an address were sent to last, by some bits of it. One set a thread. @hot
 *
 * A hop is what the trees of this very configuration say of this very address, which nothing changes before the next one, with
 * which all are forgotten. That spares the steps down a tree.
 *
 * What an attacker can do: have others' hops replaced by his own, which costs them what a search costs, one for each packet of
 * his.
 */
import { ROUTE_HINT_COUNT } from '../limits.js';
import { NO_ROUTING, type RoutingTables } from './routing-tables.js';

/** A row: the router, twice, and whether the address is of IPv4, plus one; the address; its hop. */
const ROW_WORDS = 8;
const ROUTER = 0;
const ADDRESS = 1;
/** Hop of the address's longest prefix; NOT_ASKED. */
export const HINT_HOP = 5;
export const NOT_ASKED = -2;

export const routeHints = new Int32Array(ROUTE_HINT_COUNT * ROW_WORDS);
let described: RoutingTables = NO_ROUTING;

/** Forgets what was said of other routers than these. */
export function hintsOf(routing: RoutingTables): void {
  if (routing === described) return;
  routeHints.fill(0);
  described = routing;
}

/** Position in `routeHints` of the row of the address, which is made its own. */
export function hintRow(router: number, isIpv4: boolean, address: Int32Array): number {
  const word0 = address[0];
  const word1 = address[1];
  const word2 = address[2];
  const word3 = address[3];
  const mixed = word3 ^ (word3 >>> 13) ^ word2 ^ (word1 << 1) ^ router;
  const row = ((mixed ^ (mixed >>> 21)) & (ROUTE_HINT_COUNT - 1)) * ROW_WORDS;
  const owner = ((router << 1) | (isIpv4 ? 1 : 0)) + 1;
  if (
    routeHints[row + ROUTER] !== owner ||
    routeHints[row + ADDRESS + 3] !== word3 ||
    routeHints[row + ADDRESS + 2] !== word2 ||
    routeHints[row + ADDRESS + 1] !== word1 ||
    routeHints[row + ADDRESS] !== word0
  ) {
    routeHints[row + ROUTER] = owner;
    routeHints[row + ADDRESS] = word0;
    routeHints[row + ADDRESS + 1] = word1;
    routeHints[row + ADDRESS + 2] = word2;
    routeHints[row + ADDRESS + 3] = word3;
    routeHints[row + HINT_HOP] = NOT_ASKED;
  }
  return row;
}
