/**
 * The compiled routers, a part of the snapshot: their interfaces by network, and for each router the trees that give an
 * address its hop. Made by the main thread (control/compile-routers.ts), read by stages/route.ts.
 *
 * An **interface** is a router's place in a network: a MAC and addresses of its own. A **hop** is what a route leads to.
 * Addresses are four words in network order, IPv4 mapped, as rule-key.ts has them.
 */
import type { PrefixTrees } from './prefix-tree.js';

/** What a hop is. The router's own address: the packet has arrived. */
export const HOP_LOCAL = 0;
/** The destination is a station of the interface's network. */
export const HOP_CONNECTED = 1;
/** Another router's address in the interface's network. */
export const HOP_VIA = 2;
/** Packets end here without a word. */
export const HOP_BLACKHOLE = 3;
/** Several hops, of which each flow takes one: `hopInterface` is the first of their numbers, `hopCount` how many they are. */
export const HOP_SHARED = 4;

/** Words of an address. */
export const ADDRESS_WORDS = 4;

export interface RoutingTables {
  /** Interfaces; 0: there is no router, and nothing need be looked at. */
  readonly interfaceCount: number;
  /** By network: its interfaces, in the order of their numbers. */
  readonly networkInterfaces: Int32Array;
  readonly networkInterfaceCount: Int32Array;

  /** By interface. */
  readonly interfaceRouter: Int32Array;
  readonly interfaceNetwork: Int32Array;
  readonly interfaceMacHigh: Int32Array;
  readonly interfaceMacLow: Int32Array;
  /** 1: the side towards the outside. */
  readonly interfaceExternal: Int32Array;
  /** Largest packet that leaves by it, in octets. */
  readonly interfaceMtu: Int32Array;
  /** ADDRESS_WORDS each: what ICMP errors are sent from; all 0: it has none of that version. */
  readonly interfaceAddress4: Int32Array;
  readonly interfaceAddress6: Int32Array;
  /** ADDRESS_WORDS each: its link-local address. */
  readonly interfaceLinkLocal: Int32Array;

  /** By router: roots in `trees`, whose values are hops. */
  readonly routerTree4: Int32Array;
  readonly routerTree6: Int32Array;
  readonly trees: PrefixTrees;

  /** By hop: HOP_..., its interface, and of HOP_SHARED how many. */
  readonly hopKind: Int32Array;
  readonly hopInterface: Int32Array;
  readonly hopCount: Int32Array;
  /** Of a hop that shares its way with others: the HOP_SHARED that stands for them; -1 of all others. */
  readonly hopGroup: Int32Array;
  /** ADDRESS_WORDS each: the next router's address; and the interface's own in the same prefix, which ARP asks from. */
  readonly hopAddress: Int32Array;
  readonly hopSource: Int32Array;
}

const none = new Int32Array(new SharedArrayBuffer(0));

export const NO_ROUTING: RoutingTables = {
  interfaceCount: 0,
  networkInterfaces: none,
  networkInterfaceCount: none,
  interfaceRouter: none,
  interfaceNetwork: none,
  interfaceMacHigh: none,
  interfaceMacLow: none,
  interfaceExternal: none,
  interfaceMtu: none,
  interfaceAddress4: none,
  interfaceAddress6: none,
  interfaceLinkLocal: none,
  routerTree4: none,
  routerTree6: none,
  trees: { nodes: none, values: none },
  hopKind: none,
  hopInterface: none,
  hopCount: none,
  hopGroup: none,
  hopAddress: none,
  hopSource: none,
};
