/**
 * Takes what machines ask the switch's own services (guest-service.ts says which frames) and hands it to the main thread,
 * which answers (control/guest-services.ts). Comes behind all policy of the port, as the address service does. @hot
 *
 * What one port can do to others: nothing. It is held to limits.dns for names and to METADATA_SEGMENTS_PER_SECOND, and beyond
 * that its frames are `rate_limited`.
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { METADATA_SEGMENTS_PER_SECOND } from '../../limits.js';
import { guestServiceOf, SERVICE_NAMES } from '../guest-service.js';
import { CONSUMED, type Machine } from '../machine.js';
import { PUNT_GUEST_SERVICE } from '../punt-ring.js';
import type { Stage } from '../stage.js';
import { BUCKET_DNS, BUCKET_METADATA, BUCKETS_PER_PORT } from '../token-bucket.js';

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
  const { pool, snapshot, punt } = machine;
  const isNames = service === SERVICE_NAMES;
  const bucket = pool.ingressPort[slot] * BUCKETS_PER_PORT + (isNames ? BUCKET_DNS : BUCKET_METADATA);
  const rate = isNames ? snapshot.dnsRate : METADATA_SEGMENTS_PER_SECOND;
  if (!machine.storm.take(bucket, rate, machine.nowTick)) return dropReasonNumber.rate_limited;
  taken = service;
  if (punt === undefined) return CONSUMED;
  // A guest on this host leaves checksums to its device: then there is none to be verified.
  const isPartial = pool.checksumStart[slot] === 0 ? 0 : 1;
  const { octets, offset, length, ingressMember } = pool;
  const isTaken = punt.put(octets, offset[slot], length[slot], PUNT_GUEST_SERVICE, ingressMember[slot], isPartial);
  return isTaken ? CONSUMED : dropReasonNumber.punt_limit;
}
