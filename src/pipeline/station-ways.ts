/**
 * How packets get to the stations that they go to next: the member and tunnel, the largest packet, the Ethernet header. One set a
 * thread. @hot
 *
 * A way is found out once a batch: while routers work on one, this thread changes nothing of what it is made of, and what
 * others change counts from the next one on. Beyond that only the numbers of the entries are kept, in the neighbour table and
 * in the FDB, which spare a hash and a bucket where the tables say that they still are the key's.
 */
import { WAY_COUNT } from '../limits.js';
import { swap32 } from '../wire/octets.js';
import type { Machine } from './machine.js';
import { findStation, KNOWN, nextAddress, UNKNOWN } from './next-hop.js';
import { findOwnAddress, OWN_ROUTER, ownFlags, ownMacHigh, ownMacLow } from './own-addresses.js';
import { interfaceAt } from './router-interface.js';
import { memberInUse } from './stages/lookup.js';

/** A row: the interface, plus one; the address; the batch for which the rest holds. */
const ROW_WORDS = 16;
const INTERFACE = 0;
const ADDRESS = 1;
const BATCH = 5;
/** KNOWN or STALE, of next-hop.ts. */
export const WAY_STATE = 6;
/** Destination and source address as three words of memory. */
export const WAY_HEADER = 7;
/** Member that the station is behind, -1: unknown, OF_ROUTER; its entry in the FDB. */
export const WAY_MEMBER = 10;
export const WAY_ENTRY = 11;
export const WAY_MTU = 12;
/** Entries that were the station's last; 0: none. */
const NEIGHBOR_HINT = 13;
const STATION_HINT = 14;

/** In place of a member: another router of the switch has the address. */
export const OF_ROUTER = -2;

/** Nobody knows who is at the address. */
export const NO_WAY = -1;

export const ways = new Int32Array(WAY_COUNT * ROW_WORDS);
let batch = 0;

/** Routers begin with another batch: nothing is known any more. */
export function beginWays(): void {
  batch = (batch + 1) | 0;
}

/** Position in `ways` of the way to `nextAddress` by the interface; or NO_WAY. */
export function wayTo(machine: Machine, routerInterface: number): number {
  const word3 = nextAddress[3];
  const mixed = word3 ^ (word3 >>> 13) ^ Math.imul(routerInterface, 0x9e3779b1);
  const row = ((mixed ^ (mixed >>> 21)) & (WAY_COUNT - 1)) * ROW_WORDS;
  if (
    ways[row + INTERFACE] !== routerInterface + 1 ||
    ways[row + ADDRESS + 3] !== word3 ||
    ways[row + ADDRESS + 2] !== nextAddress[2] ||
    ways[row + ADDRESS + 1] !== nextAddress[1] ||
    ways[row + ADDRESS] !== nextAddress[0]
  ) {
    ways[row + INTERFACE] = routerInterface + 1;
    for (let word = 0; word < 4; word++) ways[row + ADDRESS + word] = nextAddress[word];
    ways[row + NEIGHBOR_HINT] = 0;
    ways[row + STATION_HINT] = 0;
  } else if (ways[row + BATCH] === batch) return row;
  return find(machine, routerInterface, row);
}

function find(machine: Machine, routerInterface: number, row: number): number {
  const { neighbors } = machine;
  const { routing } = machine.snapshot;
  const network = routing.interfaceNetwork[routerInterface];
  if (routing.networkInterfaceCount[network] > 1) {
    const other = routerAt(machine, network);
    if (other >= 0 && other !== routerInterface) return leadTo(machine, routerInterface, other, row);
  }
  const state = findStation(machine, network, ways[row + NEIGHBOR_HINT]);
  ways[row + BATCH] = batch - 1;
  if (state === UNKNOWN) return NO_WAY;
  const { foundHigh, foundLow } = neighbors;
  ways[row + NEIGHBOR_HINT] = neighbors.foundEntry;
  ways[row + WAY_STATE] = state;
  setHeader(machine, routerInterface, foundHigh, foundLow, row);
  ways[row + WAY_MEMBER] = memberOf(machine, network, row);
  ways[row + WAY_MTU] = mtuOf(machine, ways[row + WAY_MEMBER], ways[row + WAY_ENTRY], routerInterface);
  ways[row + BATCH] = batch;
  return row;
}

/** The interface of a router that has `nextAddress` in the network; -1: none has. */
function routerAt({ snapshot }: Machine, network: number): number {
  const { ownAddresses, routing } = snapshot;
  const own = findOwnAddress(
    ownAddresses,
    network,
    swap32(nextAddress[0]),
    swap32(nextAddress[1]),
    swap32(nextAddress[2]),
    swap32(nextAddress[3]),
  );
  if (own < 0 || (ownFlags(ownAddresses, own) & OWN_ROUTER) === 0) return -1;
  return interfaceAt(routing, network, ownMacHigh(ownAddresses, own), ownMacLow(ownAddresses, own));
}

/** Makes the row the way to another router's interface in the same network. */
function leadTo(machine: Machine, routerInterface: number, other: number, row: number): number {
  const { routing } = machine.snapshot;
  ways[row + WAY_STATE] = KNOWN;
  setHeader(machine, routerInterface, routing.interfaceMacHigh[other], routing.interfaceMacLow[other], row);
  ways[row + WAY_MEMBER] = OF_ROUTER;
  ways[row + WAY_ENTRY] = -1;
  ways[row + WAY_MTU] = routing.interfaceMtu[routerInterface];
  ways[row + BATCH] = batch;
  return row;
}

function setHeader({ snapshot }: Machine, routerInterface: number, high: number, low: number, row: number): void {
  const { interfaceMacHigh, interfaceMacLow } = snapshot.routing;
  ways[row + WAY_HEADER] = swap32((high << 16) | (low >>> 16));
  ways[row + WAY_HEADER + 1] = swap32((low << 16) | interfaceMacHigh[routerInterface]);
  ways[row + WAY_HEADER + 2] = swap32(interfaceMacLow[routerInterface]);
}

/** The member behind which the station found last is, -1: unknown; its FDB entry says by which tunnel. */
function memberOf({ fdb, neighbors, snapshot, nowSeconds }: Machine, network: number, row: number): number {
  const { foundHigh, foundLow } = neighbors;
  const age = snapshot.networkMacAge[network];
  let entry = ways[row + STATION_HINT];
  let member = fdb.memberAt(entry, fdb.keyWord0(network, foundHigh), foundLow, nowSeconds, age);
  if (member < 0) {
    entry = fdb.find(network, foundHigh, foundLow, nowSeconds, age);
    if (entry >= 0) member = fdb.foundMember;
    ways[row + STATION_HINT] = Math.max(entry, 0);
  }
  ways[row + WAY_ENTRY] = entry;
  return memberInUse(snapshot, member);
}

/**
 * Of the way to the station that is behind this member (-1: unknown), perhaps by a tunnel, which its FDB entry says. A port that
 * is down has no MTU, and is not the packet's fault.
 */
function mtuOf({ snapshot, tunnels, fdb }: Machine, member: number, entry: number, to: number): number {
  const most = snapshot.routing.interfaceMtu[to];
  if (member < 0 || snapshot.memberMtu[member] === 0) return most;
  const mtu = Math.min(snapshot.memberMtu[member], most);
  if (snapshot.underlayPorts === 0) return mtu;
  const remote = fdb.remoteOf(entry);
  return remote === 0 ? mtu : tunnels.narrowed(remote, mtu);
}
