/**
 * Decides where a frame goes: the member its destination was learned behind, or all members of its network. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { macHighAt, macLowAt } from '../../wire/ethernet.js';
import type { Machine } from '../machine.js';
import { PORT_UNDERLAY, type Snapshot } from '../snapshot.js';
import type { Names, Stage } from '../stage.js';
import { memberInUse } from './lookup.js';

/** In a slot's `destination`: every member of the frame's network but the one it came in by. */
export const FLOOD = -2;

export const forward: Stage = {
  name: 'forward',

  run(machine: Machine, batch: Batch): void {
    const pool = machine.pool;
    const { underlayPorts } = machine.snapshot;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      let member = pool.destinationMember[slot];
      if (member < 0) member = findAgain(machine, slot);
      if (underlayPorts !== 0 && member >= 0) {
        pool.destinationTunnel[slot] = machine.fdb.remoteOf(pool.destinationEntry[slot]);
        if (pool.destinationTunnel[slot] === 0 && isUnderlayMember(machine.snapshot, member))
          member = followStation(machine, slot);
      }
      pool.destination[slot] = member < 0 ? FLOOD : member;
      if (member >= 0 && member === pool.ingressMember[slot]) pool.reason[slot] = dropReasonNumber.hairpin;
    }
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const { pool, snapshot } = machine;
    const destination = pool.destination[slot];
    if (destination !== FLOOD) {
      const port = snapshot.memberPort[destination];
      const remote =
        snapshot.portMode[port] === PORT_UNDERLAY ? ` at ${names.remote(pool.destinationTunnel[slot])}` : '';
      return `destination is behind ${names.port(port)}${remote}`;
    }
    const network = pool.network[slot];
    const kind = (pool.octets[pool.offset[slot]] & 1) !== 0 ? 'group address' : 'unknown destination';
    return `${kind}: to everyone else in ${names.network(network)}`;
  },
};

function isUnderlayMember(snapshot: Snapshot, member: number): boolean {
  return snapshot.portMode[snapshot.memberPort[member]] === PORT_UNDERLAY;
}

/** A station that was behind a remote at lookup came to a port of this host in the same batch. Returns its member. */
function followStation(machine: Machine, slot: number): number {
  const member = findAgain(machine, slot);
  if (member >= 0) machine.pool.destinationTunnel[slot] = machine.fdb.remoteOf(machine.pool.destinationEntry[slot]);
  return member;
}

/**
 * A unicast destination that was unknown at lookup may have been learned from an earlier frame of the same batch.
 * Returns its member, -1 when it is still unknown.
 */
function findAgain(machine: Machine, slot: number): number {
  const { pool, fdb } = machine;
  const at = pool.offset[slot];
  if ((pool.octets[at] & 1) !== 0) return -1;
  const network = pool.network[slot];
  const age = machine.snapshot.networkMacAge[network];
  const macHigh = macHighAt(pool.octets, at);
  const found = fdb.find(network, macHigh, macLowAt(pool.octets, at), machine.nowSeconds, age);
  pool.destinationEntry[slot] = found;
  return found < 0 ? -1 : memberInUse(machine.snapshot, fdb.foundMember);
}
