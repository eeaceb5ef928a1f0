/**
 * Takes what machines ask the switch's own services (guest-service.ts says which frames) and hands it to the main thread,
 * which answers (control/guest-services.ts). Comes behind all policy of the port, as the address service does. @hot
 *
 * What one port can do to others: nothing. It is held to limits.dns for names, to METADATA_SEGMENTS_PER_SECOND and to
 * TCP_OPENINGS_PER_SECOND, and beyond that its frames are `rate_limited`. So are those of many ports together that ask for more
 * than the main thread has time for; each is left an equal part of that (token-bucket.ts).
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import {
  METADATA_SEGMENTS_PER_SECOND,
  METADATA_SEGMENTS_TOTAL_PER_SECOND,
  NAMES_TOTAL_PER_SECOND,
  TCP_OPENINGS_PER_SECOND,
  TCP_OPENINGS_TOTAL_PER_SECOND,
} from '../../limits.js';
import { guestServiceOf, isOpening, SERVICE_NAMES } from '../guest-service.js';
import { handOver } from '../hand-over.js';
import { CONSUMED, type Machine } from '../machine.js';
import { PUNT_GUEST_SERVICE } from '../punt-ring.js';
import type { Stage } from '../stage.js';
import {
  BUCKET_DNS,
  BUCKET_METADATA,
  BUCKET_OPENINGS,
  BUCKETS_PER_PORT,
  SHARED_METADATA,
  SHARED_NAMES,
  SHARED_OPENINGS,
} from '../token-bucket.js';

/** Of the frame that was taken last, for explanations. */
let taken = 0;

export const guestServices: Stage = {
  name: 'guest-services',

  run(machine: Machine, batch: Batch): void {
    const { pool, snapshot } = machine;
    taken = 0;
    if (snapshot.guestServices.length === 0) return;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      const service = guestServiceOf(pool, snapshot, slot);
      if (service !== 0) pool.reason[slot] = take(machine, slot, service);
    }
  },

  explain(machine: Machine, slot: number): string {
    if (machine.snapshot.guestServices.length === 0) return 'the switch has no services for machines';
    if (machine.pool.reason[slot] !== CONSUMED || taken === 0) return 'nothing a service of the switch is asked';
    return `goes to the ${taken === SERVICE_NAMES ? 'names' : 'metadata'} service`;
  },
};

/** Returns CONSUMED or the drop reason's number. */
function take(machine: Machine, slot: number, service: number): number {
  if (!isWithinRates(machine, slot, service)) return dropReasonNumber.rate_limited;
  taken = service;
  // A guest on this host leaves checksums to its device: then there is none to be verified.
  const isPartial = machine.pool.checksumStart[slot] === 0 ? 0 : 1;
  return handOver(machine, slot, PUNT_GUEST_SERVICE, isPartial);
}

/** Draws for the frame: the port's own rates first, so that what it may not ask costs nobody. */
function isWithinRates({ pool, snapshot, storm, nowTick }: Machine, slot: number, service: number): boolean {
  const port = pool.ingressPort[slot];
  const buckets = port * BUCKETS_PER_PORT;
  if (isOpening(pool, slot)) {
    if (!storm.take(buckets + BUCKET_OPENINGS, TCP_OPENINGS_PER_SECOND, nowTick)) return false;
    if (!storm.takeShared(SHARED_OPENINGS, port, TCP_OPENINGS_TOTAL_PER_SECOND, nowTick)) return false;
  }
  if (service === SERVICE_NAMES) {
    const rate = snapshot.dnsRate;
    if (!storm.take(buckets + BUCKET_DNS, rate, nowTick)) return false;
    // What the configuration lets one port have, it has while others don't ask.
    return storm.takeShared(SHARED_NAMES, port, Math.max(NAMES_TOTAL_PER_SECOND, 2 * rate), nowTick);
  }
  if (!storm.take(buckets + BUCKET_METADATA, METADATA_SEGMENTS_PER_SECOND, nowTick)) return false;
  return storm.takeShared(SHARED_METADATA, port, METADATA_SEGMENTS_TOTAL_PER_SECOND, nowTick);
}
