/**
 * Frames that waited, for their first fragment or for an answer, come back under whatever configuration is in force by then.
 * What they were found to be when they arrived still holds if this says so; policy judges them anew all the same. @hot
 */
import type { FramePool } from '../dataplane/frame-pool.js';
import { PORT_CLOSED, type Snapshot } from './snapshot.js';

/** Whether the frame's way in is what it was: numbers of ports, members and networks may be others' by now. */
export function isStillThere(snapshot: Snapshot, pool: FramePool, slot: number): boolean {
  const port = pool.ingressPort[slot];
  const member = pool.ingressMember[slot];
  return (
    isPortOpen(snapshot, pool, slot) &&
    snapshot.memberPort[member] === port &&
    snapshot.memberNetwork[member] === pool.network[slot]
  );
}

/** Whether the port that the frame came in by still has a say in anything. */
export function isPortOpen(snapshot: Snapshot, pool: FramePool, slot: number): boolean {
  return snapshot.portMode[pool.ingressPort[slot]] !== PORT_CLOSED;
}
