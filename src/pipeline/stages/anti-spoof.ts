/**
 * Anti-spoof: what a guarded port sends is dropped unless all of it can be parsed. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import type { Machine } from '../machine.js';
import { POLICY_GUARD } from '../snapshot.js';
import type { Stage } from '../stage.js';

export const antiSpoof: Stage = {
  name: 'anti-spoof',

  run(machine: Machine, batch: Batch): void {
    if ((batch.policy & POLICY_GUARD) === 0) return;
    const { pool } = machine;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0 || (pool.policy[slot] & POLICY_GUARD) === 0) continue;
      pool.reason[slot] = pool.packetFault[slot];
    }
  },

  explain(machine: Machine, slot: number): string {
    return (machine.pool.policy[slot] & POLICY_GUARD) === 0 ? 'the port is not guarded' : 'well-formed';
  },
};
