/**
 * Packets on their way from one router of the switch to another in the same network: two tenants' routers in one network
 * outside, or a route `via` another router. No port is between them, so no question (ARP, ND) would be heard and no frame would
 * arrive: the next router is found in the configuration, and what is for it is routed by it in a batch of its own, behind
 * the batch in hand (Pipeline.goOn). One list a worker; empty between two batches of received frames. @hot
 *
 * A listed slot has one hold, which is this list's; its `reason` is TO_ROUTER, so nobody counts it. It is a frame like any
 * other, in the routers' network, from the one's MAC to the other's; so is what a router answers another one, which brings it
 * back to who asked.
 *
 * What an attacker can do: have his packet go round between routers whose routes lead to each other, as often as its TTL and
 * ROUTERS_PER_PACKET_MAX allow; it becomes no more packets.
 */
import type { Batch } from '../dataplane/batch.js';
import type { FramePool } from '../dataplane/frame-pool.js';
import { BATCH_SIZE, ROUTERS_PER_PACKET_MAX } from '../limits.js';

/** In a slot's `reason`: the packet has not ended. Another router of the switch is to route it. */
export const TO_ROUTER = -4;
/** In a slot's `ingressMember`: a router of the switch has sent it to another one, by which it was not routed yet. */
export const BY_ROUTER = -2;

export class BetweenRouters {
  count = 0;
  private readonly slots = new Int32Array(BATCH_SIZE);
  /** Batches of these that were made since frames were received. */
  private rounds = 0;

  get full(): boolean {
    return this.count === BATCH_SIZE;
  }

  /** Whether what is routed now has been to so many routers that it may go to no other. */
  get isLoop(): boolean {
    return this.rounds === ROUTERS_PER_PACKET_MAX;
  }

  /** Lists a frame to another router; a hold of its slot becomes the list's. There is room for one of each frame of a batch. */
  push(pool: FramePool, slot: number): void {
    pool.reason[slot] = TO_ROUTER;
    pool.ingressMember[slot] = BY_ROUTER;
    this.slots[this.count++] = slot;
  }

  /** Moves all into the empty batch, to be routed. False: there are none. */
  next(pool: FramePool, batch: Batch): boolean {
    if (this.count === 0) {
      this.rounds = 0;
      return false;
    }
    this.rounds++;
    for (let index = 0; index < this.count; index++) {
      const slot = this.slots[index];
      pool.reason[slot] = 0;
      batch.push(slot);
    }
    this.count = 0;
    return true;
  }
}
