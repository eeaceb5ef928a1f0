/**
 * Keys of packets in the zones of the routers that they go through, and the entries that have them. @hot
 *
 * Most packets need none: nat-translations.ts knows what becomes of them. Where that fails for many (connections by the
 * hundred thousand, or a flood), it is not asked for some batches, and keys are made for a whole batch before the first packet
 * is routed, so that the cache misses of a large table overlap. What is found so is a candidate: an entry is only used once the
 * table has said that it is the key's now, since what becomes of one packet may change what the next one finds.
 */
import { BATCH_SIZE, HINT_DISTRUST_BATCHES } from '../limits.js';
import type { ConnectionEntries } from './connection-entries.js';
import { CONNECTION_KEY_WORDS, V_LINK } from './connection-entry.js';
import { KEY_NONE, keyOfPacket } from './connection-key.js';
import type { Machine } from './machine.js';
import { NAT_ON } from './nat-tables.js';
import { findTranslations } from './nat-translations.js';

/** By place in the list: the key, and what its maker said: bits, or a number below 0 for what has none. One set a thread. */
export const natKeys = new Int32Array(BATCH_SIZE * CONNECTION_KEY_WORDS);
export const natSides = new Int32Array(BATCH_SIZE);
const hashes = new Int32Array(BATCH_SIZE);
const candidates = new Int32Array(BATCH_SIZE);
const links = new Int32Array(BATCH_SIZE);

/** Packets of this batch whose translation was asked for and not known, of how many; batches in which none is asked for. */
let missed = 0;
let asked = 0;
let distrusted = 0;
/** Of fewer packets no batch says what the next ones will be. */
const ASKED_MIN = 32;
/** The keys of this batch are made. */
let isMade = false;

/** Before the first of these packets, which are sound, is routed; `interfaces`: by which each of them came in. */
export function beginKeys(machine: Machine, slots: Int32Array, interfaces: Int32Array, count: number): void {
  if (asked >= ASKED_MIN && missed > asked >> 2) distrusted = HINT_DISTRUST_BATCHES;
  missed = 0;
  asked = 0;
  isMade = distrusted !== 0;
  if (!isMade) {
    findTranslations(machine, slots, interfaces, count);
    return;
  }
  distrusted--;
  findCandidates(machine, slots, interfaces, count);
}

function findCandidates(machine: Machine, slots: Int32Array, interfaces: Int32Array, count: number): void {
  const { connections, snapshot } = machine;
  const { nat, routing } = snapshot;
  const { table } = connections;
  for (let place = 0; place < count; place++) {
    const router = routing.interfaceRouter[interfaces[place]];
    natSides[place] = KEY_NONE;
    if ((nat.routerFlags[router] & NAT_ON) !== 0) makeKey(machine, slots[place], nat.routerZone[router], place);
    hashes[place] = table.hashKey(natKeys, place * CONNECTION_KEY_WORDS);
  }
  table.touchBuckets(hashes, count);
  for (let place = 0; place < count; place++) candidates[place] = table.candidate(hashes[place]);
  table.touchEntries(candidates, count);
  table.touchTails(candidates, count);
  for (let place = 0; place < count; place++) links[place] = table.valueWord(candidates[place], V_LINK);
  table.touchEntries(links, count);
  table.touchTails(links, count);
}

function makeKey({ pool }: Machine, slot: number, zone: number, place: number): void {
  natSides[place] = keyOfPacket(natKeys, place * CONNECTION_KEY_WORDS, pool, slot, zone);
}

/** Whether translations are to be asked for. */
export function asksTranslations(): boolean {
  return !isMade;
}

/** Notes that a packet's translation was asked for, and whether it was known. */
export function noteAsked(isKnown: boolean): void {
  asked++;
  if (!isKnown) missed++;
}

/** The same of packets that were known. */
export function noteKnown(count: number): void {
  asked += count;
}

/** What the maker of the packet's key, which is at this place, says. */
export function sideOf(machine: Machine, slot: number, zone: number, place: number): number {
  if (!isMade) makeKey(machine, slot, zone, place);
  return natSides[place];
}

/** The entry of the key at this place, its value in `table.found`; -1: it has none. */
export function entryOfKey(table: ConnectionEntries, place: number): number {
  const at = place * CONNECTION_KEY_WORDS;
  if (!isMade) return table.find(table.hashKey(natKeys, at), natKeys, at);
  return table.holdsKey(candidates[place], natKeys, at) ? candidates[place] : table.find(hashes[place], natKeys, at);
}
