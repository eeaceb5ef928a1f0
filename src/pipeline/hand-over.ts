/** How stages hand frames for the switch itself to the main thread, which answers them. @hot */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import { CONSUMED, type Machine } from './machine.js';

/**
 * Hands the slot's frame over as PUNT_..., with a number that goes with it (punt-ring.ts). Returns what becomes of it: CONSUMED
 * or the drop reason's number. Where there is no main thread it is taken and forgotten.
 */
export function handOver({ pool, punt }: Machine, slot: number, kind: number, detail: number): number {
  if (punt === undefined) return CONSUMED;
  const { octets, offset, length, ingressMember } = pool;
  const isTaken = punt.put(octets, offset[slot], length[slot], kind, ingressMember[slot], detail);
  return isTaken ? CONSUMED : dropReasonNumber.punt_limit;
}
