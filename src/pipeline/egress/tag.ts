/**
 * Puts the member's tag on: IEEE 802.1Q 8.8. A copy that shares its slot with others gets octets of its own first;
 * consecutive copies of one frame with the same tag share that clone. @hot
 */
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { pushTag, VID_MASK, VLAN_TAG_SIZE } from '../../wire/vlan.js';
import type { EgressBatch } from '../egress-batch.js';
import type { Machine } from '../machine.js';
import type { EgressStage } from '../stage.js';

export const tag: EgressStage = {
  name: 'tag',

  run(machine: Machine, copies: EgressBatch): void {
    const { pool, snapshot } = machine;
    let clonedFrom = -1;
    let clonedTag = 0;
    let clone = -1;
    for (let index = 0; index < copies.count; index++) {
      if (copies.reasons[index] !== 0) continue;
      const wanted = snapshot.memberTag[copies.members[index]];
      if (wanted === 0) continue;
      const slot = copies.slots[index];
      if (copies.shared[index] === 0) {
        pushMemberTag(machine, slot, wanted);
        continue;
      }
      if (clonedFrom === slot && clonedTag === wanted) {
        pool.holds[clone]++;
      } else {
        clone = pool.clone(slot);
        clonedFrom = clone < 0 ? -1 : slot;
        clonedTag = wanted;
        if (clone >= 0) pushMemberTag(machine, clone, wanted);
      }
      if (clone < 0) {
        copies.reasons[index] = dropReasonNumber.no_slot;
        continue;
      }
      copies.slots[index] = clone;
      // The clone holds the original, so the copy's own hold on it is not needed any more.
      machine.letGo(slot);
    }
  },

  explain(machine: Machine, copies: EgressBatch, index: number): string {
    const wanted = machine.snapshot.memberTag[copies.members[index]];
    return wanted === 0
      ? 'leaves untagged'
      : `leaves with VID ${wanted & VID_MASK}, TPID 0x${(wanted >>> 16).toString(16)}`;
  },
};

function pushMemberTag(machine: Machine, slot: number, wanted: number): void {
  const pool = machine.pool;
  pool.offset[slot] = pushTag(pool.words, pool.offset[slot], wanted >>> 16, (wanted & VID_MASK) | pool.priority[slot]);
  pool.length[slot] += VLAN_TAG_SIZE;
}
