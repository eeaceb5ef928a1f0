/**
 * Finds source and destination of each frame in the FDB. Buckets and entries are touched for the whole batch before any
 * is read, so that the cache misses of a large table overlap instead of adding up. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { BATCH_SIZE } from '../../limits.js';
import { macHighAt, macLowAt } from '../../wire/ethernet.js';
import type { Machine } from '../machine.js';
import type { Names, Stage } from '../stage.js';

const sourceHashes = new Int32Array(BATCH_SIZE);
const destinationHashes = new Int32Array(BATCH_SIZE);
/** Only so that the touching loads have a reader and are not optimised away. */
let touched = 0;

export const lookup: Stage = {
  name: 'lookup',

  run(machine: Machine, batch: Batch): void {
    const { pool, fdb } = machine;
    const octets = pool.octets;
    const count = batch.count;
    for (let index = 0; index < count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      const at = pool.offset[slot];
      const network = pool.network[slot];
      const source = fdb.hash(network, macHighAt(octets, at + 6), macLowAt(octets, at + 6));
      const destination = fdb.hash(network, macHighAt(octets, at), macLowAt(octets, at));
      sourceHashes[index] = source;
      destinationHashes[index] = destination;
      touched ^= fdb.touchBucket(source) ^ fdb.touchBucket(destination);
    }
    for (let index = 0; index < count; index++) {
      if (pool.reason[batch.slots[index]] !== 0) continue;
      touched ^= fdb.touchEntry(sourceHashes[index]) ^ fdb.touchEntry(destinationHashes[index]);
    }
    for (let index = 0; index < count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      const at = pool.offset[slot];
      const network = pool.network[slot];
      const age = machine.snapshot.networkMacAge[network];
      const now = machine.nowSeconds;
      const source = fdb.findHashed(sourceHashes[index], network, macHighAt(octets, at + 6), macLowAt(octets, at + 6), now, age);
      pool.sourceEntry[slot] = source;
      pool.sourceMember[slot] = source < 0 ? -1 : memberInUse(machine, fdb.foundMember);
      // Group addresses are never learned, so they are never found.
      const found = fdb.findHashed(destinationHashes[index], network, macHighAt(octets, at), macLowAt(octets, at), now, age);
      pool.destinationMember[slot] = found < 0 ? -1 : memberInUse(machine, fdb.foundMember);
    }
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const { pool, snapshot } = machine;
    const where = (member: number) => (member < 0 ? 'unknown' : `behind ${names.port(snapshot.memberPort[member])}`);
    return `source ${where(pool.sourceMember[slot])}, destination ${where(pool.destinationMember[slot])}`;
  },
};

/** The member, or -1 when the snapshot does not know it (any more): what was learned behind it is about to be flushed. */
export function memberInUse(machine: Machine, member: number): number {
  const ports = machine.snapshot.memberPort;
  return member < ports.length && ports[member] >= 0 ? member : -1;
}
