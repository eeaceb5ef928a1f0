/**
 * Security groups of the port a copy is to leave by: may the machine be sent it? What is always allowed comes first, then the
 * connection it belongs to, then the ingress rules (Neutron's word for what goes to the machine). Both ends are asked when
 * both machines are on this host: groups-from has asked the other one. @hot
 *
 * Here connections begin: a frame that would begin one, and that all ends with stateful groups have allowed by their rules, is
 * committed before its copy leaves, so its answer is known whenever it comes. All of a batch are committed together. One that
 * can't be, because the table or the port's share is full, does not leave. A flood's copies have one connection; the first
 * that passes gives its destination port.
 *
 * Frames that the switch made itself pass: they answer for it, not for another machine. Those that came through a router
 * (between-routers.ts) are judged: who had them made may not be who gets them.
 */
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { EGRESS_BATCH_SIZE } from '../../limits.js';
import { PACKET_OTHER } from '../../wire/packet.js';
import { isAlwaysAllowedTo } from '../always-allowed.js';
import { commitReasons } from '../commit-reasons.js';
import { CONNECTION_INVALID, NO_CONNECTION_YET } from '../connection-table.js';
import type { EgressBatch } from '../egress-batch.js';
import { ALLOWED_AT_SOURCE, groupKey, HAS_BEGUN, isAsJudged, judgeKnown, passesAsJudged } from '../group-judge.js';
import { counterOf, isExtraEthertype, ruleTo } from '../group-table.js';
import { explainDeniedTo, explainTo, ruleThatLetTo } from '../group-text.js';
import type { Machine } from '../machine.js';
import { isOwnWord } from '../router-crossing.js';
import { keyOfSlot } from '../rule-key.js';
import { POLICY_GROUPS, PORT_FACES_VM } from '../snapshot.js';
import type { EgressStage } from '../stage.js';

/** Not a drop reason: the copy passes, and its frame begins a connection. */
const BEGINS = -1;

/** By copy: its connection's place in machine.newConnections, -1: it begins none. One worker is one thread. */
const places = new Int32Array(EGRESS_BATCH_SIZE);

export const groupsTo: EgressStage = {
  name: 'groups-to',

  run(machine: Machine, copies: EgressBatch): void {
    if ((machine.snapshot.policies & POLICY_GROUPS) === 0) return;
    const { snapshot, pool, newConnections } = machine;
    const { slots, members, reasons } = copies;
    // The member of the copy before, its port, and what that one's groups are.
    let member = -1;
    let port = -1;
    let isStateful = false;
    for (let index = 0; index < copies.count; index++) {
      const slot = slots[index];
      // What has passed no stage of policy has nothing to be judged by: its network has no port with groups.
      if (reasons[index] !== 0 || pool.policy[slot] === 0) continue;
      if (members[index] !== member) {
        member = members[index];
        port = snapshot.memberPort[member];
        isStateful = snapshot.groups.portStateful[port] !== 0;
      }
      if ((isStateful && passesAsJudged(pool, slot, port, false)) || isOwnWord(pool, slot)) continue;
      const verdict = judge(machine, slot, port);
      if (verdict > 0) reasons[index] = verdict;
      else if (verdict === BEGINS) {
        if (newConnections.count === 0) places.fill(-1, 0, copies.count);
        places[index] = begin(machine, slot, port);
      }
    }
    if (newConnections.count !== 0) commit(machine, copies);
  },

  explain: explainTo,
  explainDrop: explainDeniedTo,
  rule: ruleThatLetTo,
};

/** Returns the drop reason's number, 0: it passes; or BEGINS. */
function judge(machine: Machine, slot: number, port: number): number {
  const { pool, snapshot } = machine;
  const { groups } = snapshot;
  const state = pool.connectionState[slot];
  const isAllowedAtSource = pool.connection[slot] === NO_CONNECTION_YET && (state & ALLOWED_AT_SOURCE) !== 0;
  if ((snapshot.portPolicy[port] & POLICY_GROUPS) === 0) return isAllowedAtSource ? BEGINS : 0;
  if (pool.packetFault[slot] !== 0) return pool.packetFault[slot];
  if (pool.packetKind[slot] === PACKET_OTHER)
    return isExtraEthertype(groups, port, pool.ethertype[slot]) ? 0 : dropReasonNumber.group_deny;
  // What a router has brought is of another link: nothing there is needed on this one.
  if (
    pool.ingressMember[slot] >= 0 &&
    isAlwaysAllowedTo(pool, slot, (snapshot.portFlags[pool.ingressPort[slot]] & PORT_FACES_VM) !== 0)
  )
    return isAllowedAtSource ? BEGINS : 0;
  const isStateful = groups.portStateful[port] !== 0;
  if (isStateful) {
    if ((state & CONNECTION_INVALID) !== 0) return dropReasonNumber.conntrack_invalid;
    if (pool.connection[slot] > 0)
      return isAsJudged(machine, slot, port, false) ? 0 : judgeKnown(machine, slot, port, false);
  }
  keyOfSlot(groupKey, pool, slot, 0, groups.sets[groups.portTo[port]].rules.fields);
  const rule = ruleTo(groups, port, groupKey);
  if (rule < 0) return dropReasonNumber.group_deny;
  machine.ruleCounters.hit(counterOf(groups, groups.portTo[port], rule), 1, pool.length[slot], machine.nowSeconds);
  return isAllowedAtSource || (isStateful && pool.connection[slot] === NO_CONNECTION_YET) ? BEGINS : 0;
}

/** Lists the frame's connection, if no other copy of it has. Returns its place. */
function begin({ pool, snapshot, newConnections }: Machine, slot: number, port: number): number {
  const last = newConnections.count - 1;
  if (last >= 0 && newConnections.slots[last] === slot) return last;
  const initiator = pool.ingressPort[slot];
  const charged = (snapshot.portPolicy[initiator] & POLICY_GROUPS) !== 0 ? initiator : port;
  return newConnections.push(slot, charged, port);
}

function commit(machine: Machine, copies: EgressBatch): void {
  const { connections, newConnections, pool, snapshot, nowSeconds } = machine;
  const { count } = newConnections;
  connections.commit(pool, newConnections, snapshot, snapshot.groups.epoch, nowSeconds);
  for (let place = 0; place < count; place++) pool.connectionState[newConnections.slots[place]] |= HAS_BEGUN;
  for (let index = 0; index < copies.count; index++) {
    if (places[index] >= 0) copies.reasons[index] = commitReasons[newConnections.results[places[index]]];
  }
}
