/**
 * From a routed packet to the frame it leaves as: who is at the next hop's address, in the network of the interface it
 * leaves by. The bindings are those that stations teach (neighbor-table.ts); who is not known is asked. @hot
 *
 * Where two stations claim an address, the one heard last has it (RFC 826), as on any router: on guarded ports nobody can
 * claim what is not his.
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import { NEIGHBOR_STALE_S } from '../limits.js';
import { ARP_REQUEST_FRAME_SIZE, writeArpRequest } from '../wire/arp.js';
import { ETHERNET_HEADER_SIZE, ETHERTYPE_ARP, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { NEIGHBOR_SOLICITATION_FRAME_SIZE, writeNeighborSolicitation } from '../wire/nd.js';
import { swap32 } from '../wire/octets.js';
import type { BetweenRouters } from './between-routers.js';
import { type EgressBatch, TO_NETWORK } from './egress-batch.js';
import type { NeighborTable } from './neighbor-table.js';
import { ADDRESS_WORDS } from './routing-tables.js';
import { MAPPED_PREFIX_WORD } from './rule-key.js';
import type { Snapshot } from './snapshot.js';

/** What is needed of the machine, which has PendingHops in it. */
export interface HopHost {
  readonly pool: FramePool;
  readonly snapshot: Snapshot;
  readonly neighbors: NeighborTable;
  readonly replies: EgressBatch;
  readonly betweenRouters: BetweenRouters;
  readonly nowTick: number;
  readonly nowSeconds: number;
  letGo(slot: number): void;
}

/** The address that a packet in hand goes to next, in network order; who asks fills it. One a thread. */
export const nextAddress = new Int32Array(ADDRESS_WORDS);

/** What `findStation` found. */
export const KNOWN = 0;
/** Known, but not heard for a while: to be asked whether it is still there. */
export const STALE = 1;
export const UNKNOWN = 2;

/** Looks up who is at `nextAddress`; sets `machine.neighbors.foundHigh` and `foundLow`. `hint`: see NeighborTable.findLatest. */
export function findStation(machine: HopHost, network: number, hint: number): number {
  const { neighbors, snapshot, nowSeconds } = machine;
  const address = nextAddress;
  neighbors.select(network, swap32(address[0]), swap32(address[1]), swap32(address[2]), swap32(address[3]));
  if (!neighbors.findLatest(hint, nowSeconds, snapshot.networkMacAge[network])) return UNKNOWN;
  neighbors.noteUse(nowSeconds);
  return neighbors.foundAge > NEIGHBOR_STALE_S ? STALE : KNOWN;
}

/**
 * Asks the interface's network who is at `nextAddress`: ARP (RFC 826) or a neighbour solicitation (RFC 4861 7.2.2). `hop`
 * says which of the interface's addresses asks; -1: its first. Without a free slot nobody is asked, and the next packet asks.
 */
export function askWhoHas(machine: HopHost, routerInterface: number, hop: number): void {
  const { pool, snapshot, replies } = machine;
  const { routing } = snapshot;
  if (replies.count === replies.capacity) return;
  const slot = pool.allocate();
  if (slot < 0) return;
  const to = pool.frameStart(slot);
  const high = routing.interfaceMacHigh[routerInterface];
  const low = routing.interfaceMacLow[routerInterface];
  const isIpv4 = nextAddress[2] === MAPPED_PREFIX_WORD && (nextAddress[0] | nextAddress[1]) === 0;
  const sources = isIpv4 ? routing.interfaceAddress4 : routing.interfaceLinkLocal;
  let source = sources;
  let at = routerInterface * ADDRESS_WORDS;
  if (isIpv4 && hop >= 0 && routing.hopSource[hop * ADDRESS_WORDS + 2] === MAPPED_PREFIX_WORD) {
    source = routing.hopSource;
    at = hop * ADDRESS_WORDS;
  }
  if (isIpv4) writeArpRequest(pool.octets, to, high, low, source[at + 3], nextAddress[3]);
  else writeNeighborSolicitation(pool.octets, to, high, low, source, at, nextAddress);
  const size = isIpv4 ? ARP_REQUEST_FRAME_SIZE : NEIGHBOR_SOLICITATION_FRAME_SIZE;
  pool.originate(slot, routing.interfaceNetwork[routerInterface], size);
  pool.ethertype[slot] = isIpv4 ? ETHERTYPE_ARP : ETHERTYPE_IPV6;
  pool.networkHeader[slot] = to + ETHERNET_HEADER_SIZE;
  replies.push(slot, TO_NETWORK, 0, 0);
}
