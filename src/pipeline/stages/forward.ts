/**
 * Decides where a frame goes: the member its destination was learned behind, or all members of its network. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { macHighAt, macLowAt } from '../../wire/ethernet.js';
import type { Machine } from '../machine.js';
import type { Names, Stage } from '../stage.js';

/** In a slot's `destination`: every member of the frame's network but the one it came in by. */
export const FLOOD = -2;

export const forward: Stage = {
  name: 'forward',

  run(machine: Machine, batch: Batch): void {
    const { pool, fdb } = machine;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      let entry = pool.destinationEntry[slot];
      if (entry < 0) entry = findAgain(machine, slot);
      if (entry < 0) {
        pool.destination[slot] = FLOOD;
        continue;
      }
      const member = fdb.memberOf(entry);
      pool.destination[slot] = member;
      if (member === pool.ingressMember[slot]) pool.reason[slot] = dropReasonNumber.hairpin;
    }
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const { pool, snapshot } = machine;
    const destination = pool.destination[slot];
    if (destination !== FLOOD) return `destination is behind ${names.port(snapshot.memberPort[destination])}`;
    const network = pool.network[slot];
    const kind = (pool.octets[pool.offset[slot]] & 1) !== 0 ? 'group address' : 'unknown destination';
    return `${kind}: to all ${snapshot.networkCount[network] - 1} other members of ${names.network(network)}`;
  },
};

/** A unicast destination that was unknown at lookup may have been learned from an earlier frame of the same batch. */
function findAgain(machine: Machine, slot: number): number {
  const { pool, fdb } = machine;
  const at = pool.offset[slot];
  if ((pool.octets[at] & 1) !== 0) return -1;
  const network = pool.network[slot];
  const macHigh = macHighAt(pool.octets, at);
  const macLow = macLowAt(pool.octets, at);
  const age = machine.snapshot.networkMacAge[network];
  return fdb.findHashed(fdb.hash(network, macHigh, macLow), network, macHigh, macLow, machine.nowSeconds, age);
}
