/**
 * Ends the connections that the policy in force no longer allows. Their next packets would be dropped anyway (group-judge.ts:
 * their epoch is another), so nothing that is forwarded depends on this; but until then they would stand in lists, and count
 * against the share of a port, as long as their timeouts last.
 *
 * Main thread, in turns of some milliseconds, after all workers forward by the policy: one walk through the table for each
 * policy, from wherever the walk for the one before stood. What is allowed is left as it is, for a worker to give it the new
 * epoch when it sees its next packet. An entry that is judged costs 0.1 to 0.4 us, one that is ended 1.5 us more: 0.1 s for
 * 262,144 connections, in turns between which commands are answered. Workers feel the removals alone (CONNECTION_HOLD_MAX in
 * one hold of the lock).
 */
import { CONNECTION_EXPIRY_TURN_MS, CONNECTION_HOLD_MAX, NETWORKS_MAX } from '../limits.js';
import type { ConnectionControl } from './connection-control.js';
import { C_REMOVED, KEY_ZONE, V_EPOCH } from './connection-table.js';
import { isConnectionAllowed } from './group-judge.js';
import type { GroupPolicy } from './group-table.js';

/** Entries that are looked at before the clock is asked again. */
const STRIDE = 256;

export class ConnectionReview {
  private readonly control: ConnectionControl;
  private readonly doomed: number[] = [];
  private epoch = 0;
  private next = 1;
  /** Entries that are still to be looked at. */
  private left = 0;

  constructor(control: ConnectionControl) {
    this.control = control;
  }

  /**
   * Goes on with the walk, or begins one if this is another policy than last time, for `turnMs` of `clock` at most. True: all
   * connections have been looked at; false: there is more, ask again when others had their turn.
   */
  turn(policy: GroupPolicy, clock: () => number, turnMs: number = CONNECTION_EXPIRY_TURN_MS): boolean {
    const { table } = this.control;
    if (policy.epoch !== this.epoch) {
      this.epoch = policy.epoch;
      this.left = table.entryLimit - 1;
    }
    const end = clock() + turnMs;
    while (this.left > 0) {
      if (!this.stride(policy)) return false;
      if (clock() >= end) return this.left === 0;
    }
    return true;
  }

  /** Looks at some entries and removes those that are not allowed. False: the lock was not to be had, and nothing was done. */
  private stride(policy: GroupPolicy): boolean {
    const { control, doomed } = this;
    const { entryLimit } = control.table;
    doomed.length = 0;
    let entry = this.next < entryLimit ? this.next : 1;
    let looked = 0;
    while (looked < Math.min(STRIDE, this.left) && doomed.length < CONNECTION_HOLD_MAX) {
      if (this.isToEnd(entry, policy)) doomed.push(entry);
      entry = entry + 1 < entryLimit ? entry + 1 : 1;
      looked++;
    }
    if (doomed.length > 0 && !this.end(policy)) return false;
    this.next = entry;
    this.left -= looked;
    return true;
  }

  private end(policy: GroupPolicy): boolean {
    const { control } = this;
    // Whatever was waited for in vain before: this turn waits once, too.
    control.beginBreath();
    if (!control.lockPatiently()) return false;
    for (const entry of this.doomed) {
      // A worker may have removed it meanwhile, or have judged it itself.
      if (!this.isToEnd(entry, policy)) continue;
      control.drop(entry);
      control.count(C_REMOVED);
    }
    control.unlock();
    return true;
  }

  /** Connections in the zones of routers have no epoch: what they go through on either side of the router has one. */
  private isToEnd(entry: number, policy: GroupPolicy): boolean {
    const { control } = this;
    const { table } = control;
    if (!table.isLive(entry) || table.valueWord(entry, V_EPOCH) === policy.epoch) return false;
    if (!control.isConnection(entry) || table.keyWord(entry, KEY_ZONE) >>> 16 >= NETWORKS_MAX) return false;
    return !isConnectionAllowed(policy, control, entry);
  }
}
