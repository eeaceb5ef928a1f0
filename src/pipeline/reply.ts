/**
 * Frames that the switch answers a received frame with: all of them are opened and sent here, so that each is within a rate of
 * its port's and within a batch's bound, and leaves by the egress stages to where the frame came from. @hot
 *
 * Who opens a reply writes the whole frame at `pool.frameStart(reply)`, as many octets in front of the packet as the frame has
 * in front of its own, and sends it. What answers another router of the switch goes to that one, which takes it to who asked.
 */
import { BY_ROUTER } from './between-routers.js';
import type { Machine } from './machine.js';
import { ROUTED } from './router-crossing.js';
import { dissectFrame } from './stages/dissect.js';
import { BUCKET_ICMP_ERRORS, BUCKETS_PER_PORT } from './token-bucket.js';

/** A slot for an answer to the frame, drawn from its port's bucket; -1: none may be given now, or there is no slot. */
export function openReply(machine: Machine, slot: number, bucket: number, rate: number): number {
  const { pool, replies, storm, nowTick } = machine;
  if (replies.count === replies.capacity) return -1;
  if (!storm.take(pool.ingressPort[slot] * BUCKETS_PER_PORT + bucket, rate, nowTick)) return -1;
  return pool.allocate();
}

/**
 * As openReply, for telling the frame's sender what became of it. Nobody is told of what the switch made itself; and what a
 * router has brought is a frame of this network now: its sender's own frame is no more, and so is the way back.
 */
export function openErrorReply(machine: Machine, slot: number): number {
  const { pool, snapshot } = machine;
  if (pool.isGenerated[pool.original[slot]] !== 0 || pool.ingressMember[slot] === ROUTED) return -1;
  return openReply(machine, slot, BUCKET_ICMP_ERRORS, snapshot.icmpErrorRate);
}

/** Sends an answer of `size` octets back to where the frame came from. 0: nothing was to be said, and the slot is given back. */
export function sendReply(machine: Machine, slot: number, reply: number, size: number): void {
  const { pool, replies } = machine;
  if (size === 0) {
    pool.release(reply);
    return;
  }
  pool.generate(reply, slot, size);
  pool.ethertype[reply] = pool.ethertype[slot];
  pool.networkHeader[reply] = pool.offset[reply] + (pool.networkHeader[slot] - pool.offset[slot]);
  if (pool.ingressMember[slot] === BY_ROUTER) answerRouter(machine, reply);
  else replies.push(reply, pool.ingressMember[slot], 0, pool.tunnel[slot]);
}

/** Lists the answer, which is a packet like any other to the router that gets it. */
function answerRouter({ pool, betweenRouters }: Machine, reply: number): void {
  if (betweenRouters.isLoop) {
    pool.release(reply);
    return;
  }
  dissectFrame(pool, reply);
  betweenRouters.push(pool, reply);
}
