/**
 * Finds source and destination of each frame in the FDB, for the whole batch at once, so that the cache misses of a large
 * table overlap instead of adding up. Frames of one conversation come in runs: a frame with the addresses and the network
 * of the one before shares its two look-ups. That is no cache: it lasts one batch, and no table changes meanwhile. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { BATCH_SIZE } from '../../limits.js';
import { macHighAt, macLowAt } from '../../wire/ethernet.js';
import { FdbKeys } from '../fdb.js';
import type { Machine } from '../machine.js';
import type { Names, Stage } from '../stage.js';

/** Two keys a run: the source's, then the destination's. One set a thread is enough, as a batch is finished at once. */
const keys = new FdbKeys(BATCH_SIZE * 2);
/** By place in the batch: the first of the frame's two keys. */
const keyOfFrame = new Int32Array(BATCH_SIZE);

export const lookup: Stage = {
  name: 'lookup',

  run(machine: Machine, batch: Batch): void {
    const count = collectKeys(machine, batch);
    machine.fdb.findAll(keys, count, machine.nowSeconds, machine.snapshot.networkMacAge);
    forgetUnknownMembers(machine, count);
    const { pool } = machine;
    const { entries, members } = keys;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      const key = keyOfFrame[index];
      pool.sourceEntry[slot] = entries[key];
      pool.sourceMember[slot] = members[key];
      // Group addresses are never learned, so they are never found.
      pool.destinationMember[slot] = members[key + 1];
    }
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const { pool, snapshot } = machine;
    const where = (member: number) => (member < 0 ? 'unknown' : `behind ${names.port(snapshot.memberPort[member])}`);
    return `source ${where(pool.sourceMember[slot])}, destination ${where(pool.destinationMember[slot])}`;
  },
};

/** Sets `keys` and `keyOfFrame`; returns the number of keys. */
function collectKeys(machine: Machine, batch: Batch): number {
  const pool = machine.pool;
  const { octets, words } = pool;
  let count = 0;
  let lastNetwork = -1;
  let last0 = 0;
  let last1 = 0;
  let last2 = 0;
  for (let index = 0; index < batch.count; index++) {
    const slot = batch.slots[index];
    if (pool.reason[slot] !== 0) continue;
    const at = pool.offset[slot];
    const network = pool.network[slot];
    // Frames begin at multiples of four, so both addresses are three whole words.
    const word0 = words[at >> 2];
    const word1 = words[(at >> 2) + 1];
    const word2 = words[(at >> 2) + 2];
    if (word0 !== last0 || word1 !== last1 || word2 !== last2 || network !== lastNetwork) {
      keys.set(count, network, macHighAt(octets, at + 6), macLowAt(octets, at + 6));
      keys.set(count + 1, network, macHighAt(octets, at), macLowAt(octets, at));
      count += 2;
      last0 = word0;
      last1 = word1;
      last2 = word2;
      lastNetwork = network;
    }
    keyOfFrame[index] = count - 2;
  }
  return count;
}

/** What was learned behind a member that the snapshot does not know (any more) is about to be flushed: it is unknown. */
function forgetUnknownMembers(machine: Machine, count: number): void {
  const ports = machine.snapshot.memberPort;
  const members = keys.members;
  for (let index = 0; index < count; index++) {
    const member = members[index];
    if (member >= 0 && (member >= ports.length || ports[member] < 0)) members[index] = -1;
  }
}

/** The member, or -1 when the snapshot does not know it (any more). */
export function memberInUse(machine: Machine, member: number): number {
  const ports = machine.snapshot.memberPort;
  return member < ports.length && ports[member] >= 0 ? member : -1;
}
