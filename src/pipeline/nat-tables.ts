/**
 * What workers know of routers that translate addresses: a part of the snapshot. Made by the main thread
 * (control/compile-nat.ts), by what the configuration says only; looking up costs nothing that packets could make longer. @hot
 *
 * Addresses are four words in network order, IPv4 mapped. An **outside address** is one that a router answers for towards the
 * outside: of its own (SNAT takes its ports), floating, or of a forward.
 */
import { ADDRESS_WORDS } from './routing-tables.js';

/** Bits of routerFlags: it translates at all; it hides inside addresses behind its own. */
export const NAT_ON = 1 << 0;
export const NAT_SNAT = 1 << 1;
/** RFC 4787 mapping: endpoint-dependent, otherwise endpoint-independent. */
export const NAT_DEPENDENT_MAPPING = 1 << 2;
/** RFC 4787 filtering: none of both is endpoint-dependent. */
export const NAT_FILTERS_NOT = 1 << 3;
export const NAT_FILTERS_ADDRESSES = 1 << 4;

/** A row of `addresses`. */
export const ADDRESS_ROW_WORDS = 10;
/** Position of the router, and one more; 0: the row is free. Behind it the address. */
export const A_ROUTER = 0;
export const A_ADDRESS = 1;
/** Which of these it is. */
export const A_KIND = 5;
/** Place in `peers` of the inside address behind a floating one, or of the floating one before an inside address. */
export const A_PEER = 6;
export const A_FORWARDS = 7;
export const A_FORWARD_COUNT = 8;
/** Bits of A_KIND. */
export const IS_FLOATING = 1 << 0;
export const HAS_FLOATING = 1 << 1;
/** SNAT takes its ports. */
export const IS_OWN = 1 << 2;

/** A row of `forwards`, in order of protocol and first port; the last word is 1 where inside ports follow the outside ones. */
export const FORWARD_WORDS = 6;
export const F_PROTOCOL = 0;
export const F_FIRST = 1;
export const F_LAST = 2;
export const F_PEER = 3;
export const F_PORT = 4;
export const F_STEP = 5;

export interface NatTables {
  /** By router, as in RoutingTables; empty: no router translates. */
  readonly routerFlags: Int32Array;
  readonly routerZone: Int32Array;
  /** Most mappings of one port. */
  readonly routerPerVm: Int32Array;
  /** Its own outside addresses, for SNAT: its part of `outsides`. */
  readonly routerOutsides: Int32Array;
  readonly routerOutsideCount: Int32Array;
  /** By outside address: ADDRESS_WORDS each; its number in the maps of ports. */
  readonly outsideAddress: Int32Array;
  readonly outsideNumber: Int32Array;
  /** By outside address and MAP_...: its part of `ranges`, which are pairs of first and last port, forwards left out. */
  readonly rangeStart: Int32Array;
  readonly rangeCount: Int32Array;
  readonly ranges: Int32Array;
  /** Hash table by router and address. */
  readonly addresses: Int32Array;
  /** ADDRESS_WORDS each. */
  readonly peers: Int32Array;
  readonly forwards: Int32Array;
}

const none = new Int32Array(new SharedArrayBuffer(0));

export const NO_NAT: NatTables = {
  routerFlags: none,
  routerZone: none,
  routerPerVm: none,
  routerOutsides: none,
  routerOutsideCount: none,
  outsideAddress: none,
  outsideNumber: none,
  rangeStart: none,
  rangeCount: none,
  ranges: none,
  addresses: none,
  peers: none,
  forwards: none,
};

/** Position of the row of the router's address, `words`, in `addresses`; -1: there is none. */
export function findNatAddress(addresses: Int32Array, router: number, words: Int32Array): number {
  if (addresses.length === 0) return -1;
  const mask = addresses.length / ADDRESS_ROW_WORDS - 1;
  let index = natAddressHash(router, words) & mask;
  for (;;) {
    const at = index * ADDRESS_ROW_WORDS;
    if (addresses[at] === 0) return -1;
    if (addresses[at] === router + 1 && isAddressAt(addresses, at + A_ADDRESS, words)) return at;
    index = (index + 1) & mask;
  }
}

function isAddressAt(table: Int32Array, at: number, words: Int32Array): boolean {
  for (let word = 0; word < ADDRESS_WORDS; word++) if (table[at + word] !== words[word]) return false;
  return true;
}

export function natAddressHash(router: number, words: Int32Array): number {
  let hash = Math.imul(router + 1, 0x9e3779b1);
  for (let word = ADDRESS_WORDS - 1; word >= 0; word--) {
    hash = Math.imul(hash ^ words[word] ^ (hash >>> 15), 0x85ebca6b);
    hash ^= hash >>> 13;
  }
  return hash >>> 1;
}

/** Position of the forward of the address's row that takes the port; -1: none does. */
export function findForward(nat: NatTables, row: number, protocol: number, port: number): number {
  const { addresses, forwards } = nat;
  let low = addresses[row + A_FORWARDS];
  let high = low + addresses[row + A_FORWARD_COUNT] - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const at = middle * FORWARD_WORDS;
    const order = forwards[at + F_PROTOCOL] - protocol;
    if (order > 0 || (order === 0 && forwards[at + F_FIRST] > port)) high = middle - 1;
    else if (order < 0 || forwards[at + F_LAST] < port) low = middle + 1;
    else return at;
  }
  return -1;
}
