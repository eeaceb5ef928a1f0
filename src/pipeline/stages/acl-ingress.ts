/**
 * ACLs on the way in: first the one of the port the frame came by, then the one of the network it enters. Before learning,
 * so a denied frame teaches the FDB nothing. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { VID_MASK } from '../../wire/vlan.js';
import { judge, judgement, reject, WAY_IN } from '../acl.js';
import { LastMatch } from '../last-match.js';
import type { Machine } from '../machine.js';
import { FIELDS_LINK, KEY_WORDS, keyOfSlot } from '../rule-key.js';
import { POLICY_NETWORK_ACL, POLICY_PORT_ACL } from '../snapshot.js';
import type { Names, Stage } from '../stage.js';

const ACLS = POLICY_PORT_ACL | POLICY_NETWORK_ACL;

/** One worker is one thread. */
const key = new Int32Array(KEY_WORDS);
const lastOfPort = new LastMatch();
const lastOfNetwork = new LastMatch();

export const aclIngress: Stage = {
  name: 'acl-ingress',

  run(machine: Machine, batch: Batch): void {
    if ((batch.policy & ACLS) === 0) return;
    const { pool } = machine;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0 || (pool.policy[slot] & ACLS) === 0) continue;
      const reason = judgeFrame(machine, slot);
      if (reason === 0) continue;
      pool.reason[slot] = reason;
      if (judgement.isRejected) reject(machine, slot);
    }
  },

  explain({ pool }: Machine, slot: number, names: Names): string {
    if ((pool.policy[slot] & ACLS) === 0) return 'no ACL here';
    return pool.rule[slot] === 0 ? 'permitted' : `permitted by ${names.rule(pool.rule[slot] - 1)}`;
  },

  rule({ pool }: Machine, slot: number, names: Names): string | undefined {
    const isJudged = (pool.policy[slot] & ACLS) !== 0 && pool.rule[slot] !== 0;
    return isJudged ? names.rule(pool.rule[slot] - 1) : undefined;
  },
};

function makeKey({ pool, snapshot }: Machine, slot: number, fields: number): void {
  const isTagAsked = (fields & FIELDS_LINK) !== 0;
  const vid = isTagAsked ? snapshot.memberTag[pool.ingressMember[slot]] & VID_MASK : 0;
  keyOfSlot(key, pool, slot, vid, fields);
}

/** Returns the drop reason's number, 0 for none. */
function judgeFrame(machine: Machine, slot: number): number {
  const { pool, snapshot } = machine;
  const port = pool.ingressPort[slot];
  const policy = pool.policy[slot];
  let reason = 0;
  if ((policy & POLICY_PORT_ACL) !== 0) {
    const acl = snapshot.acls[snapshot.portAclIngress[port]];
    makeKey(machine, slot, acl.rules.fields);
    reason = judge(machine, acl, key, slot, port, WAY_IN, lastOfPort);
    pool.rule[slot] = judgement.rule;
  }
  if (reason === 0 && (policy & POLICY_NETWORK_ACL) !== 0) {
    const acl = snapshot.acls[snapshot.networkAclIngress[pool.network[slot]]];
    makeKey(machine, slot, acl.rules.fields);
    reason = judge(machine, acl, key, slot, port, WAY_IN, lastOfNetwork);
    pool.rule[slot] = judgement.rule;
  }
  return reason;
}
