/**
 * Makes a copy fit its port: a frame longer than the MTU is dropped, a super-frame that the port can't take is marked for
 * segmentation by transmit, a partial checksum that it can't take likewise. MTU counts what is behind the Ethernet header
 * and its tags; of a super-frame, each segment counts. @hot
 */
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import type { FramePool } from '../../dataplane/frame-pool.js';
import { GSO_TYPE_MASK } from '../../wire/virtio-net.js';
import type { EgressBatch } from '../egress-batch.js';
import type { Machine } from '../machine.js';
import type { EgressStage } from '../stage.js';

export const fit: EgressStage = {
  name: 'fit',

  run(machine: Machine, copies: EgressBatch): void {
    const { pool, snapshot } = machine;
    for (let index = 0; index < copies.count; index++) {
      if (copies.reasons[index] !== 0) continue;
      const mtu = snapshot.memberMtu[copies.members[index]];
      if (packetSize(pool, copies.slots[index]) > mtu) copies.reasons[index] = dropReasonNumber.mtu_exceeded;
    }
  },

  explain(machine: Machine, copies: EgressBatch, index: number): string {
    const mtu = machine.snapshot.memberMtu[copies.members[index]];
    return `a packet of ${packetSize(machine.pool, copies.slots[index])} octets fits an MTU of ${mtu}`;
  },
};

/** Octets of the packet, or of the longest segment of a super-frame, behind the Ethernet header and its tags. */
function packetSize(pool: FramePool, slot: number): number {
  const start = pool.networkHeader[slot];
  if ((pool.gsoType[slot] & GSO_TYPE_MASK) !== 0) return pool.headersEnd[slot] - start + pool.gsoSize[slot];
  return pool.offset[slot] + pool.length[slot] - start;
}
