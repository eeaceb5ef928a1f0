/**
 * Finds source and destination of each frame in the FDB. Frames come in runs, and a frame with the addresses of the one
 * before it in the batch shares what that one found. Most others have addresses that were looked up lately: so the entry
 * found last for an address of the same few bits is asked whether it is this one's (without hints 79 ns, with them 32).
 * Neither is a cache: no table changes while the stage runs, and what is used is the table's own entry as it is now. Where
 * they fail for most, they are not asked for some batches: an entry that is not the one costs a cache miss. The rest is looked up for the whole batch at once, so that
 * the cache misses of a large table overlap instead of adding up. A router's MAC is not looked for: it is nobody's here, and
 * stages/route.ts finds where the frame goes. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import type { FramePool } from '../../dataplane/frame-pool.js';
import { BATCH_SIZE, HINT_COUNT, HINT_DISTRUST_BATCHES } from '../../limits.js';
import { isGroup } from '../../wire/ethernet.js';
import { swap16, swap32 } from '../../wire/octets.js';
import type { Fdb } from '../fdb.js';
import type { Machine } from '../machine.js';
import { interfaceOf } from '../router-interface.js';
import type { Snapshot } from '../snapshot.js';
import type { Names, Stage } from '../stage.js';

/** Keys that the hints did not answer, by place: words, hash, candidate; one set a thread, as a batch is finished at once. */
const words0 = new Int32Array(BATCH_SIZE * 2);
const words1 = new Int32Array(BATCH_SIZE * 2);
const hashes = new Int32Array(BATCH_SIZE * 2);
const candidates = new Int32Array(BATCH_SIZE * 2);
/** The slot a key is for, twice, plus one when it is the slot's source. */
const targets = new Int32Array(BATCH_SIZE * 2);
/** By some bits of a key: the entry of the last key with these bits. */
const hints = new Int32Array(HINT_COUNT);
/** Batches that the hints are still not asked for, after one in which they failed for most keys. */
let distrusted = 0;
/** -1 while hints are asked; 0 makes every hint entry 0, which is nobody's, and whose line is in the cache. */
let trust = -1;

export const lookup: Stage = {
  name: 'lookup',

  run(machine: Machine, batch: Batch): void {
    batch.hasUnknown = batch.hasGroup;
    trust = distrusted === 0 ? -1 : 0;
    const count = askHints(machine, batch);
    if (distrusted !== 0) distrusted--;
    else if (count > batch.count) distrusted = HINT_DISTRUST_BATCHES;
    const { fdb } = machine;
    fdb.touchBuckets(hashes, count);
    for (let index = 0; index < count; index++) candidates[index] = fdb.candidate(hashes[index]);
    fdb.touchEntries(candidates, count);
    for (let index = 0; index < count; index++) findTarget(machine, batch, index);
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const { pool, snapshot } = machine;
    const where = (member: number) => (member < 0 ? 'unknown' : `behind ${names.port(snapshot.memberPort[member])}`);
    return `source ${where(pool.sourceMember[slot])}, destination ${where(pool.destinationMember[slot])}`;
  },
};

/** Answers what the frame before or the hints can, lists the other keys; returns how many those are. */
function askHints(machine: Machine, batch: Batch): number {
  const { pool } = machine;
  const { words } = pool;
  let count = 0;
  let before = -1;
  for (let index = 0; index < batch.count; index++) {
    const slot = batch.slots[index];
    if (pool.reason[slot] !== 0) continue;
    if (before >= 0 && isSameConversation(pool, words, before, slot) && isFramedAlike(pool, before, slot)) {
      pool.sourceEntry[slot] = pool.sourceEntry[before];
      pool.sourceMember[slot] = pool.sourceMember[before];
      pool.destinationEntry[slot] = pool.destinationEntry[before];
      pool.destinationMember[slot] = pool.destinationMember[before];
      continue;
    }
    const listed = askHintsOf(machine, slot, count);
    // A frame whose keys are still to be found has nothing to give to the next one.
    before = listed === count ? slot : -1;
    count = listed;
  }
  return count;
}

/** A tag of its own (of 802.1ad tunnel ports) makes a frame nobody's whom it would be without. */
function isFramedAlike(pool: FramePool, before: number, slot: number): boolean {
  return pool.networkHeader[slot] - pool.offset[slot] === pool.networkHeader[before] - pool.offset[before];
}

/** Frames begin at multiples of four, so both addresses are three whole words. */
function isSameConversation(pool: FramePool, words: Int32Array, before: number, slot: number): boolean {
  const at = pool.offset[slot] >> 2;
  const other = pool.offset[before] >> 2;
  return (
    words[at] === words[other] &&
    words[at + 1] === words[other + 1] &&
    words[at + 2] === words[other + 2] &&
    pool.ingressMember[slot] === pool.ingressMember[before]
  );
}

/** Returns `count`, raised by the keys that were listed. */
function askHintsOf(machine: Machine, slot: number, count: number): number {
  const { fdb, pool, snapshot, nowSeconds } = machine;
  // The addresses as whole words of little-endian memory: 3 loads instead of 12.
  const at = pool.offset[slot] >> 2;
  const first = pool.words[at];
  const second = pool.words[at + 1];
  const network = pool.network[slot];
  const age = snapshot.networkMacAge[network];
  let listed = count;
  const source0 = fdb.keyWord0(network, swap16(second >>> 16));
  const source1 = swap32(pool.words[at + 2]);
  const hint = hintOf(source0, source1);
  const source = memberInUse(snapshot, fdb.memberAt(hint, source0, source1, nowSeconds, age));
  pool.sourceEntry[slot] = hint;
  pool.sourceMember[slot] = source;
  if (source < 0) list(fdb, listed++, source0, source1, (slot << 1) | 1);
  if (snapshot.routing.interfaceCount !== 0 && interfaceOf(machine, slot) >= 0) {
    pool.destinationEntry[slot] = -1;
    pool.destinationMember[slot] = -1;
    return listed;
  }
  const high = swap16(first & 0xffff);
  const word0 = fdb.keyWord0(network, high);
  const word1 = swap32((first >>> 16) | (second << 16));
  const other = hintOf(word0, word1);
  const member = memberInUse(snapshot, fdb.memberAt(other, word0, word1, nowSeconds, age));
  pool.destinationEntry[slot] = other;
  pool.destinationMember[slot] = member;
  // Group addresses are never learned, so they are never found.
  if (member < 0 && !isGroup(high)) list(fdb, listed++, word0, word1, slot << 1);
  return listed;
}

/** The network's low bits and the address's last octet and a half: stations beside each other have different ones. */
function hintPlace(word0: number, word1: number): number {
  return (word1 ^ (word1 >>> 20) ^ (word0 >>> 10)) & (HINT_COUNT - 1);
}

function hintOf(word0: number, word1: number): number {
  return hints[hintPlace(word0, word1)] & trust;
}

function list(fdb: Fdb, place: number, word0: number, word1: number, target: number): void {
  words0[place] = word0;
  words1[place] = word1;
  targets[place] = target;
  hashes[place] = fdb.hashKey(word0, word1);
}

/** Puts down what a key was looked up for. */
function findTarget(machine: Machine, batch: Batch, place: number): void {
  const { fdb, pool, snapshot, nowSeconds } = machine;
  const slot = targets[place] >> 1;
  const age = snapshot.networkMacAge[pool.network[slot]];
  let entry = candidates[place];
  let member = fdb.memberAt(entry, words0[place], words1[place], nowSeconds, age);
  if (member < 0) {
    entry = fdb.findKey(hashes[place], words0[place], words1[place], nowSeconds, age);
    member = entry < 0 ? -1 : fdb.foundMember;
  }
  member = memberInUse(snapshot, member);
  // Also while nobody asks: the next who does is to find what is in use.
  if (member >= 0) hints[hintPlace(words0[place], words1[place])] = entry;
  if ((targets[place] & 1) === 0) {
    pool.destinationEntry[slot] = entry;
    pool.destinationMember[slot] = member;
    if (member < 0) batch.hasUnknown = 1;
  } else {
    pool.sourceEntry[slot] = entry;
    pool.sourceMember[slot] = member;
  }
}

/** The member, or -1 when the snapshot does not know it (any more): what was learned behind it is about to be flushed. */
export function memberInUse(snapshot: Snapshot, member: number): number {
  const ports = snapshot.memberPort;
  return member >= 0 && member < ports.length && ports[member] >= 0 ? member : -1;
}
