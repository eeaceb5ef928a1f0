/**
 * The short way through a router that translates: for UDP over IPv4 of connections that stand and stay as they are, whose
 * translation is remembered (nat-translations.ts) with the hop that its packets take. Everything is written at once, as words of
 * little-endian memory: frames begin at multiples of four. 250 ns a frame in the stage `route` became 110. @hot
 *
 * What is remembered decides nothing: it is used under the snapshot and the interface for which the long way (stages/route.ts) has
 * found it, while the connection's entry says that it stands. What a packet must be by itself is asked of each. The way to the
 * next station is that of station-ways.ts, once a batch. Whatever is not so goes the long way, behind the others: nothing that is
 * done here changes anything for it.
 */

import { fold } from '../wire/checksum.js';
import { ETHERNET_HEADER_SIZE } from '../wire/ethernet.js';
import { PROTOCOL_UDP } from '../wire/ip-protocol.js';
import { swap16, swap32 } from '../wire/octets.js';
import { CLASS_UDP_STREAM } from './connection-entry.js';
import { NO_CONNECTION_YET } from './connection-table.js';
import type { Machine } from './machine.js';
import { natPlan, PLAN_KNOWN } from './nat-plan.js';
import { nextAddress, STALE } from './next-hop.js';
import { ROUTED } from './router-crossing.js';
import { ADDRESS_WORDS, HOP_VIA } from './routing-tables.js';
import { setIpv4 } from './rule-key.js';
import { POLICY_READ, POLICY_TRACKED } from './snapshot.js';
import { NO_WAY, WAY_ENTRY, WAY_HEADER, WAY_MEMBER, WAY_MTU, WAY_STATE, ways, wayTo } from './station-ways.js';
import {
  NO_HOP,
  NO_TRANSLATION,
  T_ADDRESSES_CHANGE,
  T_EPOCH,
  T_FROM,
  T_HOP,
  T_NEW_DESTINATION,
  T_NEW_PORTS,
  T_NEW_SOURCE,
  T_OWN,
  T_OWN_STAMP,
  T_PORTS_CHANGE,
} from './translation-rows.js';

/** What one from the TTL does to the sum of a header: -0x100. */
const TTL_CHANGE = 0xfeff;
/** One from the TTL, in the word of memory that it is in. */
const TTL_ONE = 1 << 16;

/** The way that the packet before took, in this batch: the hop, and the address if the hop is no router's. NO_HOP: none yet. */
let knownHop = NO_HOP;
let knownAddress = 0;
let isVia = false;
let way = NO_WAY;
let network = 0;
let policy = 0;

/**
 * Routes those of the packets, which are sound, that need no more; `interfaces`: by which each came in. Lists the places of the
 * others in `left`, and returns how many they are.
 */
export function routeKnown(
  machine: Machine,
  slots: Int32Array,
  interfaces: Int32Array,
  count: number,
  left: Int32Array,
): number {
  const { rows, found } = machine.translations;
  const { epoch } = machine.snapshot;
  knownHop = NO_HOP;
  let leftCount = 0;
  for (let place = 0; place < count; place++) {
    const row = found[place];
    const isRemembered =
      row !== NO_TRANSLATION && rows[row + T_FROM] === interfaces[place] && rows[row + T_EPOCH] === epoch;
    if (!isRemembered || !routeBy(machine, slots[place], row)) left[leftCount++] = place;
  }
  return leftCount;
}

/** The packet has this row. False: it needs more, and nothing was changed. */
function routeBy(machine: Machine, slot: number, row: number): boolean {
  const { pool, connections, snapshot, nowSeconds } = machine;
  const { rows } = machine.translations;
  const hop = rows[row + T_HOP];
  const destination = rows[row + T_NEW_DESTINATION];
  if (hop === NO_HOP || pool.plain[slot] !== PROTOCOL_UDP) return false;
  if ((hop !== knownHop || (destination !== knownAddress && !isVia)) && !findWay(machine, hop, destination))
    return false;
  const at = pool.offset[slot] >> 2;
  const isLong = pool.packetEnd[slot] - pool.offset[slot] - ETHERNET_HEADER_SIZE > ways[way + WAY_MTU];
  if (isLong || (pool.gsoType[slot] | pool.checksumStart[slot]) !== 0) return false;
  if (((pool.words[at + 5] >>> 16) & 0xff) <= 1 || pool.connection[slot] === NO_CONNECTION_YET) return false;
  const timeout = snapshot.connectionTimeouts[CLASS_UDP_STREAM];
  if (!connections.table.noteUnchanging(rows[row + T_OWN], rows[row + T_OWN_STAMP], timeout, nowSeconds)) return false;
  rewrite(pool.words, at, rows, row);
  pool.ports[slot] = rows[row + T_NEW_PORTS];
  // As enterNetwork does it (router-crossing.ts).
  pool.network[slot] = network;
  pool.ingressMember[slot] = ROUTED;
  pool.policy[slot] = policy;
  pool.connection[slot] = 0;
  pool.connectionState[slot] = 0;
  pool.destinationMember[slot] = ways[way + WAY_MEMBER];
  pool.destinationEntry[slot] = ways[way + WAY_ENTRY];
  return true;
}

/** Finds the way to the hop's station, or to the address itself. False: there is none, or it is none for this. */
function findWay(machine: Machine, hop: number, destination: number): boolean {
  const { snapshot } = machine;
  const { routing } = snapshot;
  const to = routing.hopInterface[hop];
  knownHop = NO_HOP;
  isVia = routing.hopKind[hop] === HOP_VIA;
  if (isVia)
    for (let word = 0; word < ADDRESS_WORDS; word++) nextAddress[word] = routing.hopAddress[hop * ADDRESS_WORDS + word];
  else setIpv4(nextAddress, 0, destination);
  network = routing.interfaceNetwork[to];
  policy = snapshot.networkPolicy[network] | POLICY_READ;
  way = wayTo(machine, to);
  if (way === NO_WAY || ways[way + WAY_STATE] === STALE || ways[way + WAY_MEMBER] < 0) return false;
  if ((policy & POLICY_TRACKED) !== 0) return false;
  knownHop = hop;
  knownAddress = destination;
  return true;
}

/** Writes the frame at this word of memory: Ethernet header, TTL, addresses, ports and checksums. */
function rewrite(words: Int32Array, at: number, rows: Int32Array, row: number): void {
  const source = swap32(rows[row + T_NEW_SOURCE]);
  const destination = swap32(rows[row + T_NEW_DESTINATION]);
  const ports = swap32(rows[row + T_NEW_PORTS]);
  const ofAddresses = rows[row + T_ADDRESSES_CHANGE];
  const checksum = changed(words[at + 6], ofAddresses + TTL_CHANGE);
  words[at] = ways[way + WAY_HEADER];
  words[at + 1] = ways[way + WAY_HEADER + 1];
  words[at + 2] = ways[way + WAY_HEADER + 2];
  words[at + 5] -= TTL_ONE;
  words[at + 6] = checksum | (source << 16);
  words[at + 7] = (source >>> 16) | (destination << 16);
  words[at + 8] = (destination >>> 16) | (ports << 16);
  words[at + 9] = (words[at + 9] & ~0xffff) | (ports >>> 16);
  const before = words[at + 10];
  // RFC 768: there is none; and one that comes out as 0 is written as all ones.
  if ((before & 0xffff) === 0) return;
  words[at + 10] = (before & ~0xffff) | (changed(before, ofAddresses + rows[row + T_PORTS_CHANGE]) || 0xffff);
}

/** The checksum in the first half of a word of memory, as it lies there, after its sum changed (RFC 1624). */
function changed(word: number, change: number): number {
  return swap16(~fold((~swap16(word & 0xffff) & 0xffff) + change) & 0xffff);
}

/** The packet in hand has gone by this hop, from this interface: others of its direction will while the snapshot is the same. */
export function keepHop({ translations, snapshot }: Machine, from: number, hop: number): void {
  const { kind, translation } = natPlan;
  // Of hops that share a way each flow takes one that answers.
  if (kind !== PLAN_KNOWN || translation === NO_TRANSLATION || snapshot.routing.hopGroup[hop] >= 0) return;
  const { rows } = translations;
  rows[translation + T_FROM] = from;
  rows[translation + T_EPOCH] = snapshot.epoch;
  rows[translation + T_HOP] = hop;
}
