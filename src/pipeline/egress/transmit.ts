/**
 * Gives copies to their ports' queues. A super-frame that a port can't take is cut into segments here, a partial checksum
 * completed: the one place where software does what the port's device can't. Each copy's hold passes to the queue, which
 * reports it sent or not; what the queue refuses keeps its hold and gets a reason. @hot
 */
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import type { PortQueue } from '../../dataplane/io-engine.js';
import { GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_TYPE_MASK } from '../../wire/virtio-net.js';
import type { EgressBatch } from '../egress-batch.js';
import type { Machine } from '../machine.js';
import { PORT_TAKES_CHECKSUM, PORT_TAKES_TCP4, PORT_TAKES_TCP6, PORT_TAKES_UDP } from '../snapshot.js';
import type { EgressStage, Names } from '../stage.js';

export const transmit: EgressStage = {
  name: 'transmit',

  run(machine: Machine, copies: EgressBatch): void {
    const { pool, snapshot, queues } = machine;
    for (let index = 0; index < copies.count; index++) {
      // Dropped, or on its way through a tunnel already.
      if (copies.reasons[index] !== 0) continue;
      const port = snapshot.memberPort[copies.members[index]];
      const slot = copies.slots[index];
      const queue = queues[port];
      if (queue === undefined) copies.reasons[index] = dropReasonNumber.port_down;
      else if (pool.checksumStart[slot] === 0 || takesOffload(machine, port, slot)) {
        if (!queue.send(slot)) copies.reasons[index] = dropReasonNumber.tx_full;
      } else copies.reasons[index] = sendInSoftware(machine, copies, index, queue);
    }
  },

  explain(machine: Machine, copies: EgressBatch, index: number, names: Names): string {
    const port = machine.snapshot.memberPort[copies.members[index]];
    const slot = copies.slots[index];
    const isWhole = machine.pool.checksumStart[slot] === 0 || takesOffload(machine, port, slot);
    return `to ${names.port(port)}${isWhole ? '' : ', segmented and summed in software'}`;
  },
};

function takesOffload(machine: Machine, port: number, slot: number): boolean {
  const type = machine.pool.gsoType[slot] & GSO_TYPE_MASK;
  const feature =
    type === GSO_NONE
      ? PORT_TAKES_CHECKSUM
      : type === GSO_TCP4
        ? PORT_TAKES_TCP4
        : type === GSO_TCP6
          ? PORT_TAKES_TCP6
          : PORT_TAKES_UDP;
  return (machine.snapshot.portFlags[port] & feature) !== 0;
}

/** Returns the copy's drop reason, 0 when it was given to the queue (its hold is then used up). */
function sendInSoftware(machine: Machine, copies: EgressBatch, index: number, queue: PortQueue): number {
  const pool = machine.pool;
  const slot = copies.slots[index];
  if ((pool.gsoType[slot] & GSO_TYPE_MASK) !== 0) {
    const reason = sendSegments(machine, slot, queue);
    if (reason === 0) machine.letGo(slot);
    return reason;
  }
  let own = slot;
  if (copies.shared[index] !== 0) {
    own = pool.clone(slot);
    if (own < 0) return dropReasonNumber.no_slot;
    copies.slots[index] = own;
    copies.shared[index] = 0;
    machine.letGo(slot);
  }
  machine.segmenter.completeChecksum(own);
  return queue.send(own) ? 0 : dropReasonNumber.tx_full;
}

/** Returns 0 when at least one segment was given to the queue; the rest is counted, as the device would have done. */
function sendSegments(machine: Machine, slot: number, queue: PortQueue): number {
  const { pool, segmenter } = machine;
  const count = segmenter.begin(slot);
  for (let segment = 0; segment < count; segment++) {
    const own = pool.allocate();
    let reason: number = dropReasonNumber.no_slot;
    if (own >= 0) {
      segmenter.segment(segment, own);
      pool.original[own] = pool.original[slot];
      pool.holds[pool.original[slot]]++;
      if (queue.send(own)) continue;
      machine.letGo(own);
      reason = dropReasonNumber.tx_full;
    }
    if (segment === 0) return reason;
    machine.failCopy(slot, queue.port, reason);
  }
  return 0;
}
