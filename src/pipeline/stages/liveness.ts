/**
 * BFD that comes out of tunnels which are watched by it: handed to the main thread, whose sessions it is for. Only what a
 * configured remote sent through its own tunnel counts; the sources of other datagrams are not known well enough, and what
 * machines send never gets here. In front of the look-up and learning: such frames are no station's. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { isBfdFrame } from '../../wire/bfd-frame.js';
import { handOver } from '../hand-over.js';
import { CONSUMED, type Machine } from '../machine.js';
import { PUNT_BFD } from '../punt-ring.js';
import { PORT_BFD_INSIDE } from '../snapshot.js';
import type { Stage } from '../stage.js';

export const liveness: Stage = {
  name: 'liveness',

  run(machine: Machine, batch: Batch): void {
    const { pool, snapshot } = machine;
    if (snapshot.watchingUnderlays === 0) return;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0 || (snapshot.portFlags[pool.ingressPort[slot]] & PORT_BFD_INSIDE) === 0) continue;
      if (isForSwitch(machine, slot)) pool.reason[slot] = take(machine, slot);
    }
  },

  explain(machine: Machine, slot: number): string {
    return machine.pool.reason[slot] === CONSUMED
      ? 'BFD: goes to the session of its tunnel'
      : 'not for the switch itself';
  },
};

function isForSwitch({ pool }: Machine, slot: number): boolean {
  const frame = pool.offset[slot];
  const end = frame + pool.length[slot];
  return isBfdFrame(pool.octets, frame, pool.ethertype[slot], pool.networkHeader[slot], end);
}

/** Returns CONSUMED or the drop reason's number. */
function take(machine: Machine, slot: number): number {
  const { pool, tunnels } = machine;
  const tunnel = pool.tunnel[slot];
  if (tunnel === 0 || !tunnels.isConfigured(tunnel)) return dropReasonNumber.control_frame;
  return handOver(machine, slot, PUNT_BFD, tunnel);
}
