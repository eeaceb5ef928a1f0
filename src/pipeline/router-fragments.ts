/**
 * What a router does with an IPv4 packet that is too long for the link it leaves by and that may be fragmented (RFC 1812
 * 5.2.6): its copy becomes fragments. Comes behind the policy of the port, which judged the whole packet; the fragments go on
 * from `tag`, in a batch of their own (machine.madeFragments). Of a super-frame each segment is cut. @hot
 *
 * All of a packet's fragments leave, or none: a part is of no use to its receiver.
 */
import { dropReasonNumber } from '../dataplane/drop-reason.js';
import type { FramePool } from '../dataplane/frame-pool.js';
import { IPV4_DONT_FRAGMENT, IPV4_FRAGMENT } from '../wire/ipv4.js';
import { read16 } from '../wire/octets.js';
import { PACKET_IPV4 } from '../wire/packet.js';
import { GSO_TYPE_MASK } from '../wire/virtio-net.js';
import { type EgressBatch, IN_FRAGMENTS } from './egress-batch.js';
import type { Machine } from './machine.js';

/** Whether the slot's packet, if a router sends it, may be cut on the way. */
export function mayBeCut(pool: FramePool, slot: number): boolean {
  if (pool.packetKind[slot] !== PACKET_IPV4) return false;
  return (read16(pool.octets, pool.networkHeader[slot] + IPV4_FRAGMENT) & IPV4_DONT_FRAGMENT) === 0;
}

/** Makes the copy fragments of at most `mtu` octets. Returns IN_FRAGMENTS, the copy's hold then used up, or the drop reason's number. */
export function cut(machine: Machine, copies: EgressBatch, index: number, mtu: number): number {
  const { pool, segmenter } = machine;
  const slot = copies.slots[index];
  const whole = wholeSlot(machine, copies, index);
  if (whole < 0) return dropReasonNumber.no_slot;
  if (whole === 0) return cutSegments(machine, copies, index, mtu);
  if (pool.checksumStart[slot] !== 0) segmenter.completeChecksum(copies.slots[index]);
  const reason = cutPacket(machine, copies.slots[index], copies.members[index], copies.tunnels[index], mtu);
  if (reason !== 0) return reason;
  machine.letGo(copies.slots[index]);
  return IN_FRAGMENTS;
}

/** 0: a super-frame; 1: a packet whose checksum may be completed in its slot, which may be a clone now; -1: no slot is free. */
function wholeSlot(machine: Machine, copies: EgressBatch, index: number): number {
  const { pool } = machine;
  const slot = copies.slots[index];
  if ((pool.gsoType[slot] & GSO_TYPE_MASK) !== 0) return 0;
  if (pool.checksumStart[slot] === 0 || copies.shared[index] === 0) return 1;
  const own = pool.clone(slot);
  if (own < 0) return -1;
  copies.slots[index] = own;
  copies.shared[index] = 0;
  machine.letGo(slot);
  return 1;
}

/** As the transmit stage does for a port that takes no super-frames: the first that fails tells, the rest is counted. */
function cutSegments(machine: Machine, copies: EgressBatch, index: number, mtu: number): number {
  const { pool, segmenter, snapshot } = machine;
  const slot = copies.slots[index];
  const count = segmenter.begin(slot);
  for (let segment = 0; segment < count; segment++) {
    const own = pool.allocate();
    let reason: number = dropReasonNumber.no_slot;
    if (own >= 0) {
      segmenter.segment(segment, own);
      pool.follow(own, slot);
      reason = cutPacket(machine, own, copies.members[index], copies.tunnels[index], mtu);
      machine.letGo(own);
    }
    if (reason === 0) continue;
    if (segment === 0) return reason;
    machine.failCopy(slot, snapshot.memberPort[copies.members[index]], reason);
  }
  machine.letGo(slot);
  return IN_FRAGMENTS;
}

/** Lists the fragments of the packet in `slot`. Returns 0 or the drop reason's number. */
function cutPacket(machine: Machine, slot: number, member: number, tunnel: number, mtu: number): number {
  const { pool, fragmenter, madeFragments } = machine;
  const count = fragmenter.begin(slot, mtu);
  if (count === 0) return dropReasonNumber.mtu_exceeded;
  if (madeFragments.count + count > madeFragments.capacity || pool.available < count) return dropReasonNumber.no_slot;
  for (let index = 0; index < count; index++) {
    const own = pool.allocate();
    fragmenter.write(index, own);
    pool.follow(own, slot);
    madeFragments.push(own, member, 0, tunnel);
  }
  return 0;
}
