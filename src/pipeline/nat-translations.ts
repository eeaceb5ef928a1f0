/**
 * The translations that packets had lately, by some bits of their addresses and ports: what is written into the next packet with
 * the same ones, and the entry of the connection that says so. IPv4 with ports; of one table, one worker's. @hot
 *
 * A row is no memory of its own. It holds while the connection's own entry has the stamp that it had when the row was made: an
 * entry that was removed, and perhaps given to another connection, has another one; keys and links never change under one
 * stamp, and the second entry goes with the first. So a row says what the entries say, and spares reading them: making the key,
 * its hash and bucket, and comparing two keys. What changes with every packet (state, windows, when it was last seen) is read
 * from the entry. Where loads may pass each other there are no rows.
 *
 * What an attacker can do: have others' rows replaced by his own, which costs them what a search costs, one for each packet of
 * his. Where rows fail for many, nat-keys.ts does not ask for them.
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import { LOADS_KEEP_ORDER } from '../dataplane/shared-table-reader.js';
import { touchRows } from '../dataplane/touch.js';
import { BATCH_SIZE, TRANSLATION_SETS } from '../limits.js';
import { IPV4_DESTINATION, IPV4_SOURCE } from '../wire/ipv4.js';
import { read32 } from '../wire/octets.js';
import { hasPorts, PACKET_IPV4 } from '../wire/packet.js';
import type { Machine } from './machine.js';
import { addressesChange, portsChange } from './nat-rewrite.js';
import {
  KIND,
  MADE_IN,
  NO_HOP,
  NO_INTERFACE,
  NO_TRANSLATION,
  ROW_WORDS,
  T_ADDRESSES_CHANGE,
  T_DESTINATION,
  T_FROM,
  T_HOP,
  T_IS_REPLY,
  T_NEW_DESTINATION,
  T_NEW_PORTS,
  T_NEW_SOURCE,
  T_OWN,
  T_OWN_STAMP,
  T_PORTS,
  T_PORTS_CHANGE,
  T_SOURCE,
  type Translations,
} from './translation-rows.js';

const SET_SHIFT = Math.clz32(TRANSLATION_SETS - 1);

const sets = new Int32Array(BATCH_SIZE);

/**
 * Finds the rows of these packets before the first is routed, so that the cache misses overlap; `interfaces`: by which each of
 * them came in.
 */
export function findTranslations(machine: Machine, slots: Int32Array, interfaces: Int32Array, count: number): void {
  const { pool, snapshot, connections, translations } = machine;
  const { nat, routing } = snapshot;
  const { rows, found, entries } = translations;
  for (let place = 0; place < count; place++) {
    const zone = nat.routerZone[routing.interfaceRouter[interfaces[place]]];
    sets[place] = setOfPacket(pool, slots[place], zone);
  }
  touchRows(rows, sets, count, 1);
  for (let place = 0; place < count; place++) {
    const zone = nat.routerZone[routing.interfaceRouter[interfaces[place]]];
    const row = rowOfPacket(rows, pool, slots[place], zone, sets[place]);
    found[place] = row;
    entries[place] = row === NO_TRANSLATION ? 0 : rows[row + T_OWN];
  }
  connections.table.touchEntries(entries, count);
  translations.batch = (translations.batch + 1) | 0;
}

function setOfPacket(pool: FramePool, slot: number, zone: number): number {
  const packet = pool.networkHeader[slot];
  const source = read32(pool.octets, packet + IPV4_SOURCE);
  const destination = read32(pool.octets, packet + IPV4_DESTINATION);
  return setOf(kindOf(zone, pool.protocol[slot]), source, destination, pool.ports[slot]);
}

/** Position of the packet's row, which is in this set; or NO_TRANSLATION. */
function rowOfPacket(rows: Int32Array, pool: FramePool, slot: number, zone: number, set: number): number {
  const protocol = pool.protocol[slot];
  if (pool.packetKind[slot] !== PACKET_IPV4 || !hasPorts(protocol) || !LOADS_KEEP_ORDER) return NO_TRANSLATION;
  const packet = pool.networkHeader[slot];
  const source = read32(pool.octets, packet + IPV4_SOURCE);
  const destination = read32(pool.octets, packet + IPV4_DESTINATION);
  const ports = pool.ports[slot];
  const kind = kindOf(zone, protocol);
  if (isRow(rows, set, kind, source, destination, ports)) return set;
  const second = set + ROW_WORDS;
  return isRow(rows, second, kind, source, destination, ports) ? second : NO_TRANSLATION;
}

function setOf(kind: number, source: number, destination: number, ports: number): number {
  const addresses = Math.imul(source, 0x85ebca6b) ^ destination ^ kind;
  const mixed = Math.imul(Math.imul(addresses, 0xc2b2ae35) ^ ports, 0x9e3779b1);
  return (mixed >>> SET_SHIFT) * (2 * ROW_WORDS);
}

function kindOf(zone: number, protocol: number): number {
  return (zone << 16) | (protocol << 8) | 1;
}

/** Position of the row that says how the packet at this place is translated; or NO_TRANSLATION. */
export function translationOf(machine: Machine, place: number): number {
  const { connections, translations } = machine;
  const { rows, found, batch } = translations;
  const row = found[place];
  if (row === NO_TRANSLATION || rows[row + MADE_IN] === batch) return NO_TRANSLATION;
  return connections.table.stampOf(rows[row + T_OWN]) === rows[row + T_OWN_STAMP] ? row : NO_TRANSLATION;
}

function isRow(
  rows: Int32Array,
  row: number,
  kind: number,
  source: number,
  destination: number,
  ports: number,
): boolean {
  return (
    rows[row + T_PORTS] === ports &&
    rows[row + T_SOURCE] === source &&
    rows[row + T_DESTINATION] === destination &&
    rows[row + KIND] === kind
  );
}

/** Keeps how the slot's packet is translated: the connection's own entry had this stamp while all that was read. */
export function keepTranslation(
  { pool, translations }: Machine,
  slot: number,
  zone: number,
  own: number,
  ownStamp: number,
  isReply: boolean,
  newSource: number,
  newDestination: number,
  newPorts: number,
): void {
  const protocol = pool.protocol[slot];
  if (pool.packetKind[slot] !== PACKET_IPV4 || !hasPorts(protocol)) return;
  const packet = pool.networkHeader[slot];
  const source = read32(pool.octets, packet + IPV4_SOURCE);
  const destination = read32(pool.octets, packet + IPV4_DESTINATION);
  const ports = pool.ports[slot];
  const kind = kindOf(zone, protocol);
  const { rows } = translations;
  const row = rowFor(translations, kind, source, destination, ports);
  rows[row + KIND] = kind;
  rows[row + MADE_IN] = translations.batch;
  rows[row + T_SOURCE] = source;
  rows[row + T_DESTINATION] = destination;
  rows[row + T_PORTS] = ports;
  rows[row + T_OWN] = own;
  rows[row + T_OWN_STAMP] = ownStamp;
  rows[row + T_IS_REPLY] = isReply ? 1 : 0;
  rows[row + T_NEW_SOURCE] = newSource;
  rows[row + T_NEW_DESTINATION] = newDestination;
  rows[row + T_NEW_PORTS] = newPorts;
  rows[row + T_ADDRESSES_CHANGE] = addressesChange(source, newSource, destination, newDestination);
  rows[row + T_PORTS_CHANGE] = portsChange(ports, newPorts);
  rows[row + T_FROM] = NO_INTERFACE;
  rows[row + T_HOP] = NO_HOP;
}

/** The packet's own row, or the one of its set that gives way. */
function rowFor(translations: Translations, kind: number, source: number, destination: number, ports: number): number {
  const { rows } = translations;
  const first = setOf(kind, source, destination, ports);
  const second = first + ROW_WORDS;
  if (rows[first + KIND] === 0 || isRow(rows, first, kind, source, destination, ports)) return first;
  if (rows[second + KIND] === 0 || isRow(rows, second, kind, source, destination, ports)) return second;
  translations.turn ^= 1;
  return translations.turn === 0 ? first : second;
}
