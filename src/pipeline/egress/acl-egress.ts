/**
 * ACLs on the way out: first the one of the network the copy leaves, then the one of the port it leaves by. A copy that is
 * denied is a drop of the copy; the others of its flood go on. VID and PCP that rules ask for are those of the tag the copy
 * leaves with. @hot
 */
import { VID_MASK } from '../../wire/vlan.js';
import { judge, judgement, reject, WAY_OUT } from '../acl.js';
import type { EgressBatch } from '../egress-batch.js';
import { LastMatch } from '../last-match.js';
import type { Machine } from '../machine.js';
import { isOwnWord } from '../router-crossing.js';
import { KEY_VLAN, KEY_WORDS, keyOfSlot } from '../rule-key.js';
import { POLICY_NETWORK_EGRESS_ACL, POLICY_PORT_EGRESS_ACL } from '../snapshot.js';
import type { EgressStage, Names } from '../stage.js';
import { dissectFrame } from '../stages/dissect.js';

const ACLS = POLICY_PORT_EGRESS_ACL | POLICY_NETWORK_EGRESS_ACL;
const NOBODY = -1;

/** One worker is one thread. The key is that of `keyed`: a flood's copies share a slot. */
const key = new Int32Array(KEY_WORDS);
let keyed = NOBODY;
const lastOfNetwork = new LastMatch();
const lastOfPort = new LastMatch();
/** The frame whose sender was told last: a flood has many copies that are rejected. */
let answered = NOBODY;

export const aclEgress: EgressStage = {
  name: 'acl-egress',

  run(machine: Machine, copies: EgressBatch): void {
    const { snapshot } = machine;
    if ((snapshot.policies & ACLS) === 0) return;
    const { slots, members, reasons } = copies;
    keyed = NOBODY;
    answered = NOBODY;
    for (let index = 0; index < copies.count; index++) {
      if (reasons[index] !== 0) continue;
      const policy = policyOf(machine, members[index]);
      if (policy === 0) continue;
      reasons[index] = judgeCopy(machine, copies, index, policy);
      if (reasons[index] === 0 || !judgement.isRejected || slots[index] === answered) continue;
      answered = slots[index];
      reject(machine, answered);
    }
  },

  explain(machine: Machine, copies: EgressBatch, index: number, names: Names): string {
    if (policyOf(machine, copies.members[index]) === 0) return 'no ACL here';
    const rule = copies.rules[index];
    return rule === 0 ? 'permitted' : `permitted by ${names.rule(rule - 1)}`;
  },

  rule(_machine: Machine, copies: EgressBatch, index: number, names: Names): string | undefined {
    return copies.rules[index] === 0 ? undefined : names.rule(copies.rules[index] - 1);
  },
};

function policyOf({ snapshot }: Machine, member: number): number {
  return (
    (snapshot.portPolicy[snapshot.memberPort[member]] | snapshot.networkPolicy[snapshot.memberNetwork[member]]) & ACLS
  );
}

/** Returns the drop reason's number, 0 for none. */
function judgeCopy(machine: Machine, copies: EgressBatch, index: number, policy: number): number {
  const { pool, snapshot } = machine;
  const slot = copies.slots[index];
  const member = copies.members[index];
  const port = snapshot.memberPort[member];
  if (slot !== keyed) {
    // What the switch made itself, or came in where nobody asked.
    if (pool.policy[slot] === 0 || isOwnWord(pool, slot)) dissectFrame(pool, slot);
    keyOfSlot(key, pool, slot, 0);
    keyed = slot;
  }
  key[KEY_VLAN] = snapshot.memberTag[member] & VID_MASK;
  let reason = 0;
  if ((policy & POLICY_NETWORK_EGRESS_ACL) !== 0) {
    const acl = snapshot.acls[snapshot.networkAclEgress[snapshot.memberNetwork[member]]];
    reason = judge(machine, acl, key, slot, port, WAY_OUT, lastOfNetwork);
    copies.rules[index] = judgement.rule;
  }
  if (reason === 0 && (policy & POLICY_PORT_EGRESS_ACL) !== 0) {
    reason = judge(machine, snapshot.acls[snapshot.portAclEgress[port]], key, slot, port, WAY_OUT, lastOfPort);
    copies.rules[index] = judgement.rule;
  }
  return reason;
}
