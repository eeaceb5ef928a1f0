/**
 * Security groups of the port a frame came from: may the machine send it? What is always blocked comes first, then what is
 * always allowed, then the connection it belongs to, then the egress rules (Neutron's word for what leaves the machine). @hot
 *
 * Frames to group addresses begin no connections: rules alone judge them. Frames that are neither ARP nor IP can't be the
 * subject of any rule and are dropped as Neutron drops them, but for the port's allowEthertypes. What can't be parsed to its
 * end is dropped by the fault that was found: nobody could say which rule it matches.
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { PACKET_OTHER } from '../../wire/packet.js';
import { isAlwaysAllowedFrom } from '../always-allowed.js';
import { alwaysBlocked } from '../always-blocked.js';
import { CONNECTION_INVALID } from '../connection-table.js';
import { ALLOWED_AT_SOURCE, groupKey, isAsJudged, judgeKnown, passesAsJudged } from '../group-judge.js';
import { counterOf, isExtraEthertype, ruleFrom } from '../group-table.js';
import { explainDeniedFrom, explainFrom, ruleThatLetFrom } from '../group-text.js';
import type { Machine } from '../machine.js';
import { keyOfSlot } from '../rule-key.js';
import { POLICY_GROUPS } from '../snapshot.js';
import type { Stage } from '../stage.js';

export const groupsFrom: Stage = {
  name: 'groups-from',

  run(machine: Machine, batch: Batch): void {
    if ((batch.policy & POLICY_GROUPS) === 0) return;
    const { pool, snapshot } = machine;
    const { portStateful } = snapshot.groups;
    // The port of the frame before, and what its groups are.
    let port = -1;
    let isStateful = false;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0 || (pool.policy[slot] & POLICY_GROUPS) === 0) continue;
      if (pool.ingressPort[slot] !== port) {
        port = pool.ingressPort[slot];
        isStateful = portStateful[port] !== 0;
      }
      if (isStateful && passesAsJudged(pool, slot, port, true)) continue;
      pool.reason[slot] = judge(machine, slot);
    }
  },

  explain: explainFrom,
  explainDrop: explainDeniedFrom,
  rule: ruleThatLetFrom,
};

/** Returns the drop reason's number, 0: it passes. */
function judge(machine: Machine, slot: number): number {
  const { pool, snapshot } = machine;
  const { groups } = snapshot;
  const port = pool.ingressPort[slot];
  if (pool.packetFault[slot] !== 0) return pool.packetFault[slot];
  if (pool.packetKind[slot] === PACKET_OTHER)
    return isExtraEthertype(groups, port, pool.ethertype[slot]) ? 0 : dropReasonNumber.group_deny;
  const connection = pool.connection[slot];
  const state = pool.connectionState[slot];
  const blocked = alwaysBlocked(machine, slot);
  if (blocked !== 0) return blocked;
  if (isAlwaysAllowedFrom(pool, slot)) return 0;
  if (groups.portStateful[port] !== 0) {
    if ((state & CONNECTION_INVALID) !== 0) return dropReasonNumber.conntrack_invalid;
    if (connection > 0) return isAsJudged(machine, slot, port, true) ? 0 : judgeKnown(machine, slot, port, true);
  }
  keyOfSlot(groupKey, pool, slot, 0, groups.sets[groups.portFrom[port]].rules.fields);
  const rule = ruleFrom(groups, port, groupKey);
  if (rule < 0) return dropReasonNumber.group_deny;
  machine.ruleCounters.hit(counterOf(groups, groups.portFrom[port], rule), 1, pool.length[slot], machine.nowSeconds);
  if (groups.portStateful[port] !== 0) pool.connectionState[slot] = state | ALLOWED_AT_SOURCE;
  return 0;
}
