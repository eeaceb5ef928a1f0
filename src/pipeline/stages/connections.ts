/**
 * Finds each frame's connection, in networks that are tracked, and moves it on: which state it is in, how far its windows
 * go, when it was last seen. Drops nothing: who has stateful groups drops what is CONNECTION_INVALID. @hot
 *
 * Frames to group addresses have no connection (0): rules alone judge them. So has what a link needs to work (neighbour
 * discovery, IGMP), and what asks the switch's own services (guest-service.ts). A packet that is not sound, that contradicts its connection, or that could not begin one is INVALID. What
 * may begin one is NEW (-1) until the group stages have judged it and committed it.
 *
 * The batch's keys are made first, then entries are touched, so that the cache misses of a large table overlap. Most frames'
 * connections had one lately: hints say where. Where they fail for many (a table far larger than they are, or a flood), they
 * are not asked for some batches, and buckets are touched, too. A batch moves its connections on in the frames' order.
 * No lock is taken while connections stay in the class of timeouts they are in.
 */
import type { Batch } from '../../dataplane/batch.js';
import type { FramePool } from '../../dataplane/frame-pool.js';
import { BATCH_SIZE, HINT_COUNT, HINT_DISTRUST_BATCHES } from '../../limits.js';
import { isGroupAt } from '../../wire/ethernet.js';
import { IPV4_DESTINATION } from '../../wire/ipv4.js';
import { IPV6_DESTINATION } from '../../wire/ipv6.js';
import { PACKET_IPV4, PACKET_IPV6 } from '../../wire/packet.js';
import { isOrdinary } from '../always-blocked.js';
import { type ConnectionEntries, hasTail } from '../connection-entries.js';
import { FROM_LOWER, IS_ANSWER, KEY_ERROR, KEY_NONE, keyOfError, keyOfPacket } from '../connection-key.js';
import {
  AS_JUDGED,
  CONNECTION_ESTABLISHED,
  CONNECTION_INVALID,
  CONNECTION_KEY_WORDS,
  CONNECTION_NEW,
  CONNECTION_RELATED,
  CONNECTION_REPLY,
  type ConnectionTable,
  KEY_HIGHER,
  KEY_LOWER,
  KEY_PORTS,
  KEY_ZONE,
  NO_CONNECTION_YET,
  UNTRACKED,
  V_EPOCH,
  V_STATE,
} from '../connection-table.js';
import {
  canBegin,
  classOf,
  isReplyOf,
  isUnchanging,
  TRACK_INVALID,
  TRACK_REUSE,
  track,
} from '../connection-tracking.js';
import { DNS_PORT, guestServiceOf, METADATA_PORT } from '../guest-service.js';
import type { Machine } from '../machine.js';
import {
  askBuckets,
  askHints,
  candidateAt,
  hashAt,
  hintPlace,
  listPlain,
  otherFrames,
  sideAt,
  slotAt,
  writeKey,
} from '../plain-keys.js';
import { POLICY_TRACKED, type Snapshot } from '../snapshot.js';
import type { Stage } from '../stage.js';

/** By place: the slot, its key, what the key's maker said (and that it is an error), hash and candidate. One set a thread. */
const slots = new Int32Array(BATCH_SIZE);
const keys = new Int32Array(BATCH_SIZE * CONNECTION_KEY_WORDS);
const sides = new Int32Array(BATCH_SIZE);
const hashes = new Int32Array(BATCH_SIZE);
const candidates = new Int32Array(BATCH_SIZE);
/** Entries that are in another class now. */
const moved = new Int32Array(BATCH_SIZE);
const movedStamps = new Int32Array(BATCH_SIZE);
let movedCount = 0;

/**
 * By some bits of a key: the entry of the last connection with these bits. As in stages/lookup.ts: what is used is the
 * table's own entry as it is now, if its whole key is the frame's; this spares the hash and the bucket's cache line.
 */
const hints = new Int32Array(HINT_COUNT);
/** Batches that the hints are still not asked for, after one in which they failed for many. */
let distrusted = 0;
/** Whether the candidates of this batch are hints, and how many were not the key's. */
let isHinted = false;
let missed = 0;
/** Some frame's connection has windows or tags: words in the entry's second cache line. */
let hasWindows = false;

/** In `sides`, beside the bits of connection-key.ts: the key is of what an ICMP error is about. */
const IS_ERROR = 1 << 8;

/** Slots of frames that are not plain. */
const frames = new Int32Array(BATCH_SIZE);

export const connections: Stage = {
  name: 'connections',

  run(machine: Machine, batch: Batch): void {
    if ((batch.policy & POLICY_TRACKED) === 0) return;
    const { pool, connections, snapshot } = machine;
    const { table } = connections;
    isHinted = distrusted === 0;
    const plain = listPlain(batch, pool, snapshot.guestServices.length !== 0);
    const others = makeKeys(machine);
    if (isHinted) askHints(hints, table);
    else {
      distrusted--;
      askBuckets(hints, table);
      findCandidates(table, others);
    }
    if (others !== 0) table.touchEntries(candidates, others);
    if (hasWindows) table.touchTails(candidates, others);
    missed = 0;
    movedCount = 0;
    for (let place = 0; place < others; place++) settle(machine, place);
    settlePlain(machine, plain);
    if (isHinted && missed > (plain + others) >> 2) distrusted = HINT_DISTRUST_BATCHES;
    if (movedCount !== 0) connections.regroup(moved, movedStamps, movedCount);
  },

  explain(machine: Machine, slot: number): string {
    const { pool } = machine;
    if ((pool.policy[slot] & POLICY_TRACKED) === 0) return 'connections of this network are not tracked';
    const state = pool.connectionState[slot];
    const way = (state & CONNECTION_REPLY) !== 0 ? 'reply' : 'original';
    if ((state & CONNECTION_INVALID) !== 0) return 'belongs to no connection and can begin none: invalid';
    if ((state & CONNECTION_NEW) !== 0) return 'would begin a new connection';
    if (pool.connection[slot] === UNTRACKED) return 'not tracked: rules alone judge it';
    if ((state & CONNECTION_RELATED) !== 0)
      return `an error about connection ${pool.connection[slot]}, ${way} direction`;
    const seen = (state & CONNECTION_ESTABLISHED) !== 0 ? 'established' : 'no reply seen yet';
    return `connection ${pool.connection[slot]}, ${way} direction, ${seen}`;
  },
};

/** As the stage, for one frame that a router has brought into another network: it has another connection there. */
export function findConnection(machine: Machine, slot: number): void {
  if (!listFrame(machine.pool, machine.snapshot, slot, 0)) return;
  isHinted = true;
  candidates[0] = hints[placeOfHint(0)];
  movedCount = 0;
  settle(machine, 0);
  if (movedCount !== 0) machine.connections.regroup(moved, movedStamps, movedCount);
}

/** Lists the frames that are not plain, and have a key, with what the hints say. Returns how many they are. */
function makeKeys({ pool, snapshot }: Machine): number {
  hasWindows = false;
  let count = 0;
  const frameCount = otherFrames(frames);
  for (let index = 0; index < frameCount; index++) {
    if (!listFrame(pool, snapshot, frames[index], count)) continue;
    if (isHinted) candidates[count] = hints[placeOfHint(count)];
    count++;
  }
  return count;
}

/** Of the keys of those that are not plain. */
function findCandidates(table: ConnectionEntries, count: number): void {
  for (let place = 0; place < count; place++) hashes[place] = table.hashKey(keys, place * CONNECTION_KEY_WORDS);
  table.touchBuckets(hashes, count);
  for (let place = 0; place < count; place++) candidates[place] = table.candidate(hashes[place]);
}

/** The plain frames, in their order. Those whose connections don't simply go on take the long way. */
function settlePlain(machine: Machine, count: number): void {
  const { pool, snapshot, nowSeconds } = machine;
  const { table } = machine.connections;
  const { connectionTimeouts, groups } = snapshot;
  for (let next = 0; ; next++) {
    next = table.showStanding(pool, connectionTimeouts, groups.epoch, nowSeconds, next);
    if (next >= count) return;
    slots[0] = slotAt(next);
    sides[0] = sideAt(next);
    hashes[0] = hashAt(next);
    candidates[0] = candidateAt(next);
    writeKey(next, keys, 0);
    settle(machine, 0);
  }
}

/** Puts the frame at this place of the list, if it has a key; otherwise says what it is. */
function listFrame(pool: FramePool, snapshot: Snapshot, slot: number, place: number): boolean {
  if ((pool.policy[slot] & POLICY_TRACKED) === 0) return false;
  pool.connection[slot] = UNTRACKED;
  pool.connectionState[slot] = 0;
  const kind = pool.packetKind[slot];
  if (kind !== PACKET_IPV4 && kind !== PACKET_IPV6) return false;
  if (pool.packetFault[slot] !== 0) {
    pool.connectionState[slot] = CONNECTION_INVALID;
    return false;
  }
  if (isToGroup(pool, slot, kind) || isToService(pool, snapshot, slot) || !makeKey(pool, slot, place)) return false;
  slots[place] = slot;
  return true;
}

function makeKey(pool: FramePool, slot: number, place: number): boolean {
  const at = place * CONNECTION_KEY_WORDS;
  const zone = pool.network[slot];
  let side = keyOfPacket(keys, at, pool, slot, zone);
  if (side === KEY_NONE) return false;
  if (side === KEY_ERROR) {
    // A later fragment of an error has nothing that says what it is about.
    side = pool.transport[slot] === 0 ? -1 : keyOfError(keys, at, pool, slot, zone);
    if (side >= 0) side |= IS_ERROR;
  }
  sides[place] = side;
  hasWindows ||= hasTail((keys[at + KEY_ZONE] >>> 8) & 0xff);
  if (side >= 0) return true;
  pool.connectionState[slot] = CONNECTION_INVALID;
  return false;
}

/** Connections to the switch's own services are none of the network's. */
function isToService(pool: FramePool, snapshot: Snapshot, slot: number): boolean {
  const port = pool.ports[slot] & 0xffff;
  return (port === DNS_PORT || port === METADATA_PORT) && guestServiceOf(pool, snapshot, slot) !== 0;
}

function isToGroup(pool: FramePool, slot: number, kind: number): boolean {
  const { octets } = pool;
  if (isGroupAt(octets, pool.offset[slot])) return true;
  const packet = pool.networkHeader[slot];
  if (kind === PACKET_IPV6) return octets[packet + IPV6_DESTINATION] === 0xff;
  const first = octets[packet + IPV4_DESTINATION];
  return first >= 224 && (first < 240 || isLimitedBroadcast(octets, packet + IPV4_DESTINATION));
}

function isLimitedBroadcast(octets: Uint8Array, at: number): boolean {
  return (octets[at] & octets[at + 1] & octets[at + 2] & octets[at + 3]) === 0xff;
}

function placeOfHint(place: number): number {
  const at = place * CONNECTION_KEY_WORDS;
  return hintPlace(keys[at + KEY_PORTS], keys[at + KEY_LOWER + 3], keys[at + KEY_HIGHER + 3]);
}

/** The entry of the key at this place, its value in `table.found`; -1: it has none. */
function findEntry(table: ConnectionEntries, place: number): number {
  const at = place * CONNECTION_KEY_WORDS;
  const candidate = candidates[place];
  let entry = candidate;
  if (!table.holdsKey(candidate, keys, at)) {
    missed++;
    entry = table.find(isHinted ? table.hashKey(keys, at) : hashes[place], keys, at);
  } else if (isHinted) return entry;
  // Also while nobody asks: the next who does is to find what is in use.
  if (entry !== -1) hints[placeOfHint(place)] = entry;
  return entry;
}

/** Looks the frame's key up and puts down what that says of the frame. */
function settle(machine: Machine, place: number): void {
  const { pool, snapshot, nowSeconds, connections } = machine;
  const { table } = connections;
  const slot = slots[place];
  const side = sides[place];
  const entry = findEntry(table, place);
  if (entry === -1 || connections.isOver(entry, table.found[V_STATE], snapshot.connectionTimeouts, nowSeconds)) {
    if ((side & IS_ERROR) !== 0) pool.connectionState[slot] = CONNECTION_INVALID;
    else beNew(machine, slot, side);
    return;
  }
  if ((side & IS_ERROR) !== 0) relate(connections, pool, slot, entry, side);
  else move(machine, slot, entry, side);
}

function beNew(machine: Machine, slot: number, side: number): void {
  const { pool, snapshot } = machine;
  const may = (side & IS_ANSWER) === 0 && canBegin(pool, slot, snapshot.connectionMidstream);
  pool.connection[slot] = may ? NO_CONNECTION_YET : UNTRACKED;
  pool.connectionState[slot] = may ? CONNECTION_NEW : CONNECTION_INVALID;
}

/** The error travels against the packet that it is about. */
function relate(connections: ConnectionTable, pool: FramePool, slot: number, entry: number, side: number): void {
  const { found } = connections.table;
  connections.show(pool, slot, entry, found, side ^ FROM_LOWER);
  pool.connectionState[slot] = (pool.connectionState[slot] & CONNECTION_REPLY) | CONNECTION_RELATED;
}

function move(machine: Machine, slot: number, entry: number, side: number): void {
  const { pool, snapshot, nowSeconds, connections } = machine;
  const { table } = connections;
  const { found } = table;
  const isJudged = found[V_EPOCH] === snapshot.groups.epoch && isOrdinary(pool.protocol[slot], pool.ports[slot]);
  const bits = isJudged ? AS_JUDGED : 0;
  const stamp = table.stampOf(entry);
  const before = found[V_STATE];
  if (isUnchanging(before, pool.protocol[slot])) {
    connections.show(pool, slot, entry, found, side, bits);
    table.refresh(entry, nowSeconds);
    return;
  }
  const verdict = track(found, pool, slot, isReplyOf(before, side));
  if (verdict === TRACK_REUSE) {
    beNew(machine, slot, side);
    return;
  }
  connections.show(pool, slot, entry, found, side, bits);
  if (verdict === TRACK_INVALID) {
    pool.connectionState[slot] = (pool.connectionState[slot] & ~AS_JUDGED) | CONNECTION_INVALID;
    return;
  }
  table.storeFound(entry, stamp);
  table.refresh(entry, nowSeconds);
  if (classOf(before) !== classOf(found[V_STATE])) {
    moved[movedCount] = entry;
    movedStamps[movedCount++] = stamp;
  }
}
