/**
 * How an ACL judges a frame, on its way in as on its way out: the first rule that matches decides, else the ACL's default.
 * What it decides is counted, logged where the rule says so, and answered where the action is reject. @hot
 *
 * A packet whose headers can't be read to their end can't be judged by rules that look into them: it is dropped for what
 * is wrong with it, before a rule that would have denied it could be talked past (CVE-2016-10377).
 *
 * A denial that is a reject is told the sender: TCP gets a reset, other IP packets "administratively prohibited". Never in
 * answer to errors, resets, group addresses, later fragments (wire/reject.ts), nor to the switch's own frames, and at most
 * limits.icmpErrors a port and second. The answer passes the egress stages as other frames of the switch do.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { writeReject } from '../wire/reject.js';
import type { LastMatch } from './last-match.js';
import type { Machine } from './machine.js';
import { openErrorReply, sendReply } from './reply.js';
import { ACTION_DENY, ACTION_LOG, ACTION_MASK, ACTION_PERMIT, ACTION_REJECT, type CompiledAcl } from './snapshot.js';

export const WAY_IN = 0;
export const WAY_OUT = 1;

/** What `judge` found besides the drop reason; one thread judges one frame at a time. */
export const judgement = {
  /** Number of the rule that decided, and one more; 0: it has none. */
  rule: 0,
  /** The sender is to be told. */
  isRejected: false,
  /** The rule's frames are logged. */
  isLogged: false,
};

/**
 * Returns the drop reason's number, 0 for a frame that may pass. `key` is the frame's, `port` the one it came or goes by;
 * `last` the caller's own for this kind of ACL.
 */
export function judge(
  machine: Machine,
  acl: CompiledAcl,
  key: Int32Array,
  slot: number,
  port: number,
  way: number,
  last: LastMatch,
): number {
  const { pool } = machine;
  const { rules, actions, counterBase } = acl;
  judgement.rule = 0;
  judgement.isRejected = false;
  judgement.isLogged = false;
  if (pool.packetFault[slot] !== 0 && ((rules.readsKinds >>> pool.packetKind[slot]) & 1) !== 0)
    return pool.packetFault[slot];
  const match = last.find(rules, key);
  const index = match < 0 ? rules.ruleCount : match;
  const number = counterBase < 0 ? -1 : counterBase + index;
  judgement.rule = number + 1;
  machine.ruleCounters.hit(number, 1, pool.length[slot], machine.nowSeconds);
  const action = actions[index];
  judgement.isLogged = (action & ACTION_LOG) !== 0;
  if (judgement.isLogged) log(machine, slot, number, port, action & ACTION_MASK, way);
  if ((action & ACTION_MASK) === ACTION_PERMIT) return 0;
  if ((action & ACTION_MASK) === ACTION_DENY)
    return index === rules.ruleCount ? dropReasonNumber.acl_default : dropReasonNumber.acl_deny;
  judgement.isRejected = (action & ACTION_MASK) === ACTION_REJECT;
  return dropReasonNumber.acl_deny;
}

function log(machine: Machine, slot: number, number: number, port: number, action: number, way: number): void {
  const { pool, ruleLog, nowSeconds } = machine;
  if (ruleLog === undefined) return;
  const isKept = ruleLog.put(pool.octets, pool.offset[slot], pool.length[slot], number, port, action, way, nowSeconds);
  if (!isKept) machine.ruleCounters.suppress();
}

/** Tells the sender of the frame in `slot` that it may not, where it may be told. */
export function reject(machine: Machine, slot: number): void {
  const { pool } = machine;
  const reply = openErrorReply(machine, slot);
  if (reply < 0) return;
  const frame = pool.offset[slot];
  const to = pool.frameStart(reply);
  const network = pool.networkHeader[slot];
  const end = frame + pool.length[slot];
  const size = writeReject(pool.octets, frame, pool.ethertype[slot], network, end, to, machine.kernels);
  sendReply(machine, slot, reply, size);
}
