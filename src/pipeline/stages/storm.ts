/**
 * Storm control: a token bucket per port for broadcast, multicast and unknown unicast, so that what must be flooded from
 * one port can't take the others' time. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { isBroadcastAt } from '../../wire/ethernet.js';
import type { Machine } from '../machine.js';
import { interfaceOf } from '../router-interface.js';
import { STORM_BROADCAST, STORM_MULTICAST, STORM_UNKNOWN_UNICAST } from '../snapshot.js';
import type { Stage } from '../stage.js';
import { BUCKETS_PER_PORT } from '../token-bucket.js';

export const storm: Stage = {
  name: 'storm',

  run(machine: Machine, batch: Batch): void {
    if (batch.hasUnknown === 0) return;
    const pool = machine.pool;
    const octets = pool.octets;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      const at = pool.offset[slot];
      const isGroup = (octets[at] & 1) !== 0;
      if (!isGroup && (pool.destinationMember[slot] >= 0 || isForRouter(machine, slot))) continue;
      const kind = !isGroup ? STORM_UNKNOWN_UNICAST : isBroadcastAt(octets, at) ? STORM_BROADCAST : STORM_MULTICAST;
      const port = pool.ingressPort[slot];
      const rate = machine.snapshot.portStormRate[port * 3 + kind];
      if (rate !== 0 && !machine.storm.take(port * BUCKETS_PER_PORT + kind, rate, machine.nowTick))
        pool.reason[slot] = dropReasonNumber.storm;
    }
  },

  explain(machine: Machine, slot: number): string {
    const pool = machine.pool;
    if (isForRouter(machine, slot)) return 'for a router: no limit applies';
    const isGroup = (pool.octets[pool.offset[slot]] & 1) !== 0;
    if (!isGroup && pool.destinationMember[slot] >= 0) return 'known unicast: no limit applies';
    return `${isGroup ? 'group' : 'unknown unicast'} frame within the port's limits`;
  },
};

/** A router's MAC is nobody's in the FDB, and yet nothing is flooded to find it. */
function isForRouter(machine: Machine, slot: number): boolean {
  return machine.snapshot.routing.interfaceCount !== 0 && interfaceOf(machine, slot) >= 0;
}
