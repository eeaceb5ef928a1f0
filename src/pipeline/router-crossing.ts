/**
 * What a packet is when a router brings it from one network into another: there it has another connection, and other policy.
 * The connection that its own network tracks has found its other end, the router, and begins. @hot
 */
import { commitReasons } from './commit-reasons.js';
import { NO_CONNECTION_YET, UNTRACKED } from './connection-table.js';
import { ALLOWED_AT_SOURCE } from './group-judge.js';
import type { Machine } from './machine.js';
import { POLICY_READ, POLICY_TRACKED } from './snapshot.js';
import { findConnection } from './stages/connections.js';

/** In a slot's `ingressMember`: a router brought it into the network it is in now. */
export const ROUTED = -1;

/** Makes the connection that the packet begins in the network it came in by. Returns the drop reason's number, 0: it may go on. */
export function leaveNetwork(machine: Machine, slot: number): number {
  const { pool, snapshot, connections, newConnections, nowSeconds } = machine;
  const begins = pool.connection[slot] === NO_CONNECTION_YET && (pool.connectionState[slot] & ALLOWED_AT_SOURCE) !== 0;
  if (!begins) return 0;
  newConnections.push(slot, pool.ingressPort[slot], -1);
  connections.commit(pool, newConnections, snapshot, snapshot.groups.epoch, nowSeconds);
  return commitReasons[newConnections.results[0]];
}

/** The packet is in `network` from here on, addresses and ports as they are there. */
export function enterNetwork(machine: Machine, slot: number, network: number): void {
  const { pool, snapshot } = machine;
  pool.network[slot] = network;
  pool.ingressMember[slot] = ROUTED;
  pool.policy[slot] = snapshot.networkPolicy[network] | POLICY_READ;
  pool.connection[slot] = UNTRACKED;
  pool.connectionState[slot] = 0;
  if ((pool.policy[slot] & POLICY_TRACKED) !== 0) findConnection(machine, slot);
}
