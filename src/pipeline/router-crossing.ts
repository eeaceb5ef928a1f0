/**
 * What a packet is when a router brings it from one network into another: there it has another connection, and other policy.
 * The connection that its own network tracks has found its other end, the router, and begins. @hot
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import { commitReasons } from './commit-reasons.js';
import { NO_CONNECTION_YET, UNTRACKED } from './connection-table.js';
import { ALLOWED_AT_SOURCE } from './group-judge.js';
import type { Machine } from './machine.js';
import { POLICY_READ, POLICY_TRACKED, PORT_GUARDED } from './snapshot.js';
import { findConnection } from './stages/connections.js';

/** In a slot's `ingressMember`: a router brought it into the network it is in now. */
export const ROUTED = -1;

/**
 * Port whose share a connection counts against that the slot's packet begins, which came by the interface `from` and leaves by
 * `member` (-1: unknown). Behind a port towards the outside is everybody: what one of them begins is at the expense of whom he
 * sends to, or a flood to one floating address would keep the whole world from all others. Who can only speak for himself pays
 * himself, there too.
 */
export function payerOf({ pool, snapshot }: Machine, slot: number, from: number, member: number): number {
  const port = pool.ingressPort[slot];
  if (member < 0 || snapshot.routing.interfaceExternal[from] === 0) return port;
  return (snapshot.portFlags[port] & PORT_GUARDED) !== 0 ? port : snapshot.memberPort[member];
}

/**
 * Makes the connection that the packet begins in the network it came in by; `from` and `member` as `payerOf` has them. Returns
 * the drop reason's number, 0: it may go on.
 */
export function leaveNetwork(machine: Machine, slot: number, from: number, member: number): number {
  const { pool, snapshot, connections, newConnections, nowSeconds } = machine;
  const begins = pool.connection[slot] === NO_CONNECTION_YET && (pool.connectionState[slot] & ALLOWED_AT_SOURCE) !== 0;
  if (!begins) return 0;
  newConnections.push(slot, payerOf(machine, slot, from, member), -1);
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

/** Whether the switch says this to who asked it, or of itself: no router has brought it from somewhere. */
export function isOwnWord(pool: FramePool, slot: number): boolean {
  return pool.isGenerated[slot] !== 0 && pool.ingressMember[slot] !== ROUTED;
}
