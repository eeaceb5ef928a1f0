/**
 * Makes a copy fit its port: a frame longer than the MTU is dropped, a super-frame that the port can't take is marked for
 * segmentation by transmit, a partial checksum that it can't take likewise; what a router sends is cut into fragments where
 * IPv4 allows it. MTU counts what is behind the Ethernet header and its tags; of a super-frame, each segment counts. A copy
 * that leaves through a tunnel is held to what the way to that remote lets pass, too: each copy of a flood to its own. @hot
 */
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import type { FramePool } from '../../dataplane/frame-pool.js';
import { writeTooBig } from '../../wire/too-big.js';
import { GSO_TYPE_MASK } from '../../wire/virtio-net.js';
import { type EgressBatch, IN_FRAGMENTS } from '../egress-batch.js';
import type { Machine } from '../machine.js';
import { openErrorReply, sendReply } from '../reply.js';
import { ROUTED } from '../router-crossing.js';
import { cut, mayBeCut } from '../router-fragments.js';
import type { EgressStage } from '../stage.js';

/** The frame that was answered last, or would have been: a flood has many copies that don't fit. */
let answered = -1;

export const fit: EgressStage = {
  name: 'fit',

  run(machine: Machine, copies: EgressBatch): void {
    const { pool } = machine;
    answered = -1;
    if (machine.snapshot.underlayPorts !== 0) machine.tunnels.touch(copies.tunnels, copies.count);
    for (let index = 0; index < copies.count; index++) {
      if (copies.reasons[index] !== 0) continue;
      const mtu = mtuOf(machine, copies, index);
      const slot = copies.slots[index];
      if (packetSize(pool, slot) <= mtu) continue;
      if (pool.ingressMember[slot] === ROUTED && pool.isGenerated[slot] === 0 && mayBeCut(pool, slot))
        copies.reasons[index] = cut(machine, copies, index, mtu);
      else refuse(machine, copies, index, mtu);
    }
  },

  explain(machine: Machine, copies: EgressBatch, index: number): string {
    const mtu = mtuOf(machine, copies, index);
    if (copies.reasons[index] === IN_FRAGMENTS) return `is cut into fragments of at most ${mtu} octets`;
    return `a packet of ${packetSize(machine.pool, copies.slots[index])} octets fits an MTU of ${mtu}`;
  },
};

function mtuOf({ snapshot, tunnels }: Machine, copies: EgressBatch, index: number): number {
  const mtu = snapshot.memberMtu[copies.members[index]];
  const tunnel = copies.tunnels[index];
  return tunnel === 0 ? mtu : tunnels.narrowed(tunnel, mtu);
}

/**
 * What is too long for a network in tunnels is told its sender, whoever it was for: nobody on the way could fragment it, and
 * a guest that took its network's MTU for 1500 would see connections hang, with neighbours on this host, too. So is what is
 * too long for one tunnel's way. Where the port itself takes less, or in other networks, the link has an MTU that all its
 * stations know, so silence is right.
 */
function refuse(machine: Machine, copies: EgressBatch, index: number, mtu: number): void {
  copies.reasons[index] = dropReasonNumber.mtu_exceeded;
  const { pool, snapshot } = machine;
  const member = copies.members[index];
  if (mtu === snapshot.memberMtu[member] && mtu !== snapshot.networkMtu[snapshot.memberNetwork[member]]) return;
  const slot = copies.slots[index];
  if (slot === answered) return;
  answered = slot;
  const reply = openErrorReply(machine, slot);
  if (reply < 0) return;
  const frame = pool.offset[slot];
  const to = pool.frameStart(reply);
  const end = frame + pool.length[slot];
  const network = pool.networkHeader[slot];
  const size = writeTooBig(pool.octets, frame, pool.ethertype[slot], network, end, to, mtu, machine.kernels);
  sendReply(machine, slot, reply, size);
}

/** Octets of the packet, or of the longest segment of a super-frame, behind the Ethernet header and its tags. */
function packetSize(pool: FramePool, slot: number): number {
  const start = pool.networkHeader[slot];
  if ((pool.gsoType[slot] & GSO_TYPE_MASK) !== 0) return pool.headersEnd[slot] - start + pool.gsoSize[slot];
  return pool.offset[slot] + pool.length[slot] - start;
}
