/**
 * Reads the Ethernet header, proves its bounds once, and checks what a virtio-net header promised. Later stages trust
 * `ethertype`, `networkHeader` and the offload fields. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import type { FramePool } from '../../dataplane/frame-pool.js';
import { FRAME_SIZE_MAX, FRAME_SIZE_MIN } from '../../limits.js';
import { checkOffload } from '../../wire/offload.js';
import { tagOctets } from '../../wire/vlan.js';
import type { Machine } from '../machine.js';
import type { Stage } from '../stage.js';

export const parse: Stage = {
  name: 'parse',

  run(machine: Machine, batch: Batch): void {
    const pool = machine.pool;
    let groups = 0;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      // What was unpacked may have a reason already.
      if (pool.reason[slot] !== 0) continue;
      const length = pool.length[slot];
      if (length < FRAME_SIZE_MIN) pool.reason[slot] = dropReasonNumber.runt;
      else if (length >= FRAME_SIZE_MAX) pool.reason[slot] = dropReasonNumber.too_long;
      else pool.reason[slot] = parseEthernet(pool, slot, pool.offset[slot], length);
      groups |= pool.words[pool.offset[slot] >> 2];
    }
    batch.hasGroup = groups & 1;
  },

  explain(machine: Machine, slot: number): string {
    const pool = machine.pool;
    const type = pool.ethertype[slot].toString(16).padStart(4, '0');
    const offload = pool.gsoType[slot] !== 0 ? `, super-frame in segments of ${pool.gsoSize[slot]}` : '';
    return `${pool.length[slot]} octets, ethertype 0x${type}${offload}`;
  },
};

/** Returns the drop reason's number, 0 for a frame that may go on. */
function parseEthernet(pool: FramePool, slot: number, start: number, length: number): number {
  const { octets, words } = pool;
  // Frames begin at multiples of four, and memory is little-endian: octet 6 is the third of the second word.
  const source = words[(start >> 2) + 1] >>> 16;
  if ((source & 1) !== 0) return dropReasonNumber.group_source;
  if ((source | words[(start >> 2) + 2]) === 0) return dropReasonNumber.zero_source;

  // At most two tags; the second one is a tunnel's or payload. A frame too short for its first has none that counts.
  let at = start + 12;
  at += tagOctets((octets[at] << 8) | octets[at + 1]);
  at += tagOctets((octets[at] << 8) | octets[at + 1]);
  if (length < at - start + 2) return dropReasonNumber.runt;
  const ethertype = (octets[at] << 8) | octets[at + 1];
  pool.ethertype[slot] = ethertype;
  pool.networkHeader[slot] = at + 2;
  if (pool.offloadUnchecked[slot] === 0) return 0;
  pool.offloadUnchecked[slot] = 0;
  return checkOffload(pool, slot) ? 0 : dropReasonNumber.bad_vnet_header;
}
