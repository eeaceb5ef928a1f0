/**
 * What most frames of a batch are that have connections: UDP and TCP over IPv4 between two hosts (`plain` of frame-pool.ts), in
 * columns, so that their keys are made and compared in loops that know where their arrays lie: V8 takes constants of a module for
 * what they are, but looks at the fields of an object, and at each array in them, anew for each frame. The stage `connections`
 * took 75 ns a datagram, so it takes 28; a segment, whose windows move, took 130 and takes 60. One set a thread. @hot
 *
 * Only what needs no second look is listed: whole keys, of packets that nothing but rules may have a say in. All else is left
 * to the long way (stages/connections.ts), as is what is listed and has no connection that stands and goes on. Frames of one
 * connection are taken in their order: where segments that are not plain (fragments, options) are in the batch, none is listed.
 */
import type { Batch } from '../dataplane/batch.js';
import type { FramePool } from '../dataplane/frame-pool.js';
import { KEY, LAST_SEEN, STAMP, type TableReader } from '../dataplane/shared-table-reader.js';
import { BATCH_SIZE, HINT_COUNT } from '../limits.js';
import { DHCP6_SERVER_PORT } from '../wire/dhcp.js';
import { ETHERNET_HEADER_SIZE } from '../wire/ethernet.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import { IPV4_DESTINATION, IPV4_SOURCE } from '../wire/ipv4.js';
import { PACKET_IPV4 } from '../wire/packet.js';
import {
  AS_JUDGED,
  CLASS_MASK,
  CLASS_SHIFT,
  CLASS_UDP_STREAM,
  CONNECTION_ESTABLISHED,
  CONNECTION_KEY_WORDS,
  CONNECTION_REPLY,
  KEY_HIGHER,
  KEY_LOWER,
  KEY_PORTS,
  KEY_ZONE,
  LOWER_IS_ORIGINAL,
  SEEN_REPLY,
  V_EPOCH,
  V_PORTS,
  V_STATE,
} from './connection-entry.js';
import { FROM_LOWER, MAPPED } from './connection-key.js';
import { DNS_PORT, METADATA_PORT } from './guest-service.js';
import { POLICY_TRACKED } from './snapshot.js';
import { moveSteady } from './tcp-tracking.js';

/** Where an entry's value begins. */
const VALUE = KEY + CONNECTION_KEY_WORDS;
/** Of a state: both directions were seen, and the class is the last that UDP comes to. Then nothing changes it any more. */
export const UNCHANGING_MASK = SEEN_REPLY | CLASS_MASK;
export const UNCHANGING = SEEN_REPLY | (CLASS_UDP_STREAM << CLASS_SHIFT);
/** In a key's word of zone, protocol and kind. */
const PROTOCOL_MASK = 0xff << 8;
const UDP_IN_ZONE = PROTOCOL_UDP << 8;

/** By place: the slot; the words of the key that can differ between two of IPv4, and FROM_LOWER or 0, as connection-key.ts has them. */
const slots = new Int32Array(BATCH_SIZE);
const lower = new Int32Array(BATCH_SIZE);
const higher = new Int32Array(BATCH_SIZE);
const ports = new Int32Array(BATCH_SIZE);
const zones = new Int32Array(BATCH_SIZE);
const sides = new Int32Array(BATCH_SIZE);
/** Hashes of the keys, and the entries that they are most likely in. */
const hashes = new Int32Array(BATCH_SIZE);
const candidates = new Int32Array(BATCH_SIZE);
let count = 0;
/** Some of these are segments of TCP, whose connections have words in an entry's second cache line. */
let hasSegments = false;
/** Slots of tracked frames that are none of these. */
const others = new Int32Array(BATCH_SIZE);
let otherCount = 0;
/** Some of the others are segments whose connections plain ones may have, too. */
let hasOddSegments = false;

/** Lists the tracked frames of the batch. Returns how many of them are plain. `isServing`: some machines are served by the switch. */
export function listPlain(batch: Batch, pool: FramePool, isServing: boolean): number {
  list(batch, pool, isServing, true);
  if (hasOddSegments && hasSegments) list(batch, pool, isServing, false);
  return count;
}

function list(batch: Batch, pool: FramePool, isServing: boolean, takesSegments: boolean): void {
  const { view } = pool;
  let listed = 0;
  let left = 0;
  let segments = 0;
  hasOddSegments = false;
  for (let index = 0; index < batch.count; index++) {
    const slot = batch.slots[index];
    if (pool.reason[slot] !== 0 || (pool.policy[slot] & POLICY_TRACKED) === 0) continue;
    const packet = pool.offset[slot] + ETHERNET_HEADER_SIZE;
    const destination = view.getInt32(packet + IPV4_DESTINATION);
    const both = pool.ports[slot];
    const protocol = pool.plain[slot];
    const isSegment = protocol === PROTOCOL_TCP ? 1 : 0;
    // To a host; of DHCP, and of names and metadata, stages/connections.ts asks who is meant.
    if (
      protocol === 0 ||
      (isSegment !== 0 && !takesSegments) ||
      mayBeService(both & 0xffff, isSegment, isServing) ||
      destination >>> 28 >= 14 ||
      (pool.octets[pool.offset[slot]] & 1) !== 0
    ) {
      others[left++] = slot;
      hasOddSegments ||=
        protocol === 0 && pool.protocol[slot] === PROTOCOL_TCP && pool.packetKind[slot] === PACKET_IPV4;
      continue;
    }
    segments |= isSegment;
    const source = view.getInt32(packet + IPV4_SOURCE);
    const isLower = source < destination || (source === destination && both >>> 16 <= (both & 0xffff));
    slots[listed] = slot;
    lower[listed] = isLower ? source : destination;
    higher[listed] = isLower ? destination : source;
    ports[listed] = isLower ? both : (both << 16) | (both >>> 16);
    zones[listed] = (pool.network[slot] << 16) | (protocol << 8);
    sides[listed++] = isLower ? FROM_LOWER : 0;
  }
  count = listed;
  otherCount = left;
  hasSegments = segments !== 0;
}

function mayBeService(port: number, isSegment: number, isServing: boolean): boolean {
  if (isSegment === 0) return port <= DHCP6_SERVER_PORT;
  return isServing && (port === DNS_PORT || port === METADATA_PORT);
}

/** Slots of the tracked frames that are not plain, in `into`. Returns how many they are. */
export function otherFrames(into: Int32Array): number {
  for (let place = 0; place < otherCount; place++) into[place] = others[place];
  return otherCount;
}

/** Candidates are the entries that `hints` has by some bits of the keys. */
export function askHints(hints: Int32Array, table: TableReader): void {
  for (let place = 0; place < count; place++)
    candidates[place] = hints[hintPlace(ports[place], lower[place], higher[place])];
  table.touchEntries(candidates, count);
  if (hasSegments) table.touchTails(candidates, count);
}

/** Candidates are what the buckets of the keys' hashes have; `hints` get to know them. */
export function askBuckets(hints: Int32Array, table: TableReader): void {
  const { hash } = table;
  for (let place = 0; place < count; place++)
    hashes[place] = hash.quad(lower[place], higher[place], ports[place], zones[place]);
  table.touchBuckets(hashes, count);
  for (let place = 0; place < count; place++) {
    candidates[place] = table.candidate(hashes[place]);
    hints[hintPlace(ports[place], lower[place], higher[place])] = candidates[place];
  }
  table.touchEntries(candidates, count);
  // The rest of the key and the value lie in the next line of every other entry, and the windows of TCP in that of all.
  if (hasSegments) table.touchTails(candidates, count);
  else table.touchWords(candidates, count, KEY + KEY_ZONE);
}

/** Ports of a client follow each other, as addresses do: they fall into different places. */
export function hintPlace(portsWord: number, lowerWord: number, higherWord: number): number {
  const mixed = portsWord ^ lowerWord ^ higherWord;
  return (mixed ^ (mixed >>> 16)) & (HINT_COUNT - 1);
}

/**
 * From the place `first` on, shows each slot the connection that its key's candidate is, if that is the key's own, stands, and goes
 * on; notes that it was seen, and how far the windows of TCP are. Returns the first place where it is not so, whose frame is to take
 * the long way before the next one's turn, or how many are listed. `hot` and `hotAgain` are the table's words, by two arrays (shared-table-reader.ts); `epoch` is of the policy in force, under which
 * AS_JUDGED says something; the timeouts are of the classes of such connections.
 */
export function showStanding(
  hot: Int32Array,
  hotAgain: Int32Array,
  entryWords: number,
  pool: FramePool,
  udpTimeout: number,
  tcpTimeout: number,
  epoch: number,
  nowSeconds: number,
  first: number,
): number {
  for (let place = first; place < count; place++) {
    const entry = candidates[place];
    const at = entry * entryWords;
    const zone = zones[place];
    const stamp = hot[at + STAMP];
    const difference =
      (hot[at + KEY + KEY_PORTS] ^ ports[place]) |
      (hot[at + KEY + KEY_LOWER + 3] ^ lower[place]) |
      (hot[at + KEY + KEY_HIGHER + 3] ^ higher[place]) |
      (hot[at + KEY + KEY_ZONE] ^ zone);
    const state = hotAgain[at + VALUE + V_STATE];
    const judged = hotAgain[at + VALUE + V_EPOCH];
    const connectionPorts = hotAgain[at + VALUE + V_PORTS];
    const idle = nowSeconds - hotAgain[at + LAST_SEEN];
    const isTorn = (hotAgain[at + STAMP] ^ stamp) | (~stamp & 1);
    const isOriginal = (sides[place] !== 0) === ((state & LOWER_IS_ORIGINAL) !== 0);
    const slot = slots[place];
    if ((difference | isTorn) !== 0) return place;
    if ((zone & PROTOCOL_MASK) === UDP_IN_ZONE) {
      if ((state & UNCHANGING_MASK) !== UNCHANGING || idle > udpTimeout) return place;
    } else if (idle > tcpTimeout || !moveSteady(hot, at + VALUE, pool, slot, !isOriginal)) return place;
    if (idle > 0) hot[at + LAST_SEEN] = nowSeconds;
    const bits = (judged === epoch ? AS_JUDGED : 0) | (isOriginal ? 0 : CONNECTION_REPLY);
    pool.connection[slot] = entry;
    pool.connectionState[slot] = bits | CONNECTION_ESTABLISHED;
    pool.connectionEpoch[slot] = judged;
    pool.connectionPorts[slot] = connectionPorts;
    pool.connectionStamp[slot] = stamp;
  }
  return count;
}

export function slotAt(place: number): number {
  return slots[place];
}

export function sideAt(place: number): number {
  return sides[place];
}

export function candidateAt(place: number): number {
  return candidates[place];
}

export function hashAt(place: number): number {
  return hashes[place];
}

/** The key at `place`, as the table has keys, at `key[at..]`. */
export function writeKey(place: number, key: Int32Array, at: number): void {
  for (let word = 0; word < 2; word++) {
    key[at + KEY_LOWER + word] = 0;
    key[at + KEY_HIGHER + word] = 0;
  }
  key[at + KEY_LOWER + 2] = MAPPED;
  key[at + KEY_HIGHER + 2] = MAPPED;
  key[at + KEY_LOWER + 3] = lower[place];
  key[at + KEY_HIGHER + 3] = higher[place];
  key[at + KEY_PORTS] = ports[place];
  key[at + KEY_ZONE] = zones[place];
}
