/**
 * From frames to datagrams: copies that leave by an underlay port get the tunnel's header and go to the port's sockets. A
 * super-frame is cut into segments that stand one behind the other in one slot, each with its header, and leaves as one
 * message, which the kernel (UDP_SEGMENT) or the queue cuts; plain frames of one size and flow are joined to such a message,
 * too (datagram-trains.ts). The outer source port is chosen by the inner flow (RFC 7348 section 5), DSCP and ECN come from
 * the inner packet (RFC 2983, RFC 6040 section 4.1). Copies of one flood to several remotes share what they send. @hot
 *
 * Each copy's hold passes to the queue, as in transmit; what the queue refuses keeps its hold and gets a reason.
 *
 * What a machine can do: ask for tiny segments, so that a super-frame is 1,365 datagrams. Its port may have so many messages
 * a batch (MESSAGES_PER_PORT_MAX) that others still find slots and sends; what is beyond is its copies' loss.
 */
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { areMany, touchRows } from '../../dataplane/touch.js';
import { DATAGRAMS_PER_MESSAGE_MAX, EGRESS_BATCH_SIZE, MESSAGE_SIZE_MAX } from '../../limits.js';
import { tunnelKinds } from '../../tunnels/registry.js';
import { ECN_MASK } from '../../wire/ecn.js';
import { InnerPacket } from '../../wire/inner-packet.js';
import { clampMss } from '../../wire/mss-clamp.js';
import { NO_TUNNEL } from '../../wire/nested-tunnel.js';
import { GSO_TYPE_MASK } from '../../wire/virtio-net.js';
import { isTpid } from '../../wire/vlan.js';
import { type EgressBatch, ON_ITS_WAY } from '../egress-batch.js';
import type { Machine } from '../machine.js';
import { isOfOwnTunnelsTo } from '../own-tunnels.js';
import { PORT_UNDERLAY, TUNNEL_ROW_WORDS } from '../snapshot.js';
import type { EgressStage, Names } from '../stage.js';
import { DatagramTrains } from './datagram-trains.js';
import { TunnelWay } from './tunnel-way.js';

/** The way of the copy in hand, and what is read of its packet. One worker is one thread, and no round is inside another. */
const way = new TunnelWay();
const trains = new DatagramTrains(way);
const inner = new InnerPacket();

/** Of the copies that leave through tunnels: for touchRows. */
const touchedMembers = new Int32Array(EGRESS_BATCH_SIZE);
const touchedTunnels = new Int32Array(EGRESS_BATCH_SIZE);
/**
 * The slot that the last plain copy was sent in, whose frame and member, and for which MTU: the next remote's copy may be the same. It is held
 * for that, or a queue that is done with it at once would free it.
 */
let sharedFrom = -1;
let sharedMember = -1;
let sharedMtu = 0;
let sharedSlot = -1;
/** Of the copy in hand: the socket, and the TOS or traffic class octet, that it is sent with. */
let sender = 0;
let trafficClass = 0;

export const encap: EgressStage = {
  name: 'encap',

  run(machine: Machine, copies: EgressBatch): void {
    const { snapshot } = machine;
    if (snapshot.underlayPorts === 0) return;
    if (areMany(copies.tunnels, copies.count)) touchTunnels(machine, copies);
    way.begin();
    for (let index = 0; index < copies.count; index++) {
      if (copies.reasons[index] !== 0) continue;
      const port = snapshot.memberPort[copies.members[index]];
      if (snapshot.portMode[port] === PORT_UNDERLAY)
        copies.reasons[index] = sendThroughTunnel(machine, copies, index, port);
    }
    trains.finish(machine);
    way.settle(machine);
    shareNothing(machine);
  },

  explain(machine: Machine, copies: EgressBatch, index: number, names: Names): string {
    const port = machine.snapshot.memberPort[copies.members[index]];
    if (machine.snapshot.portMode[port] !== PORT_UNDERLAY) return 'needs no tunnel';
    return `to ${names.remote(copies.tunnels[index])} in ${tunnelKinds[machine.snapshot.portTunnelKind[port]].type}`;
  },
};

/** Gets what the copies of many tunnels ask for into the cache; fit has done so with the tunnels themselves. */
function touchTunnels({ snapshot, counters }: Machine, copies: EgressBatch): void {
  let count = 0;
  for (let index = 0; index < copies.count; index++) {
    if (copies.tunnels[index] === 0) continue;
    touchedMembers[count] = copies.members[index];
    touchedTunnels[count++] = copies.tunnels[index];
  }
  touchRows(snapshot.memberTunnels, touchedMembers, count, TUNNEL_ROW_WORDS);
  counters.touchTunnels(touchedTunnels, count);
}

/** Returns ON_ITS_WAY, or the copy's drop reason. */
function sendThroughTunnel(machine: Machine, copies: EgressBatch, index: number, port: number): number {
  const { pool } = machine;
  const slot = copies.slots[index];
  const member = copies.members[index];
  const tunnel = copies.tunnels[index];
  if (member !== way.member || tunnel !== way.tunnel) {
    trains.finish(machine);
    if (!way.take(machine, port, member, tunnel)) return dropReasonNumber.tunnel_down;
  }
  const at = pool.offset[slot];
  const octets = pool.octets;
  if (isTpid((octets[at + 12] << 8) | octets[at + 13]) && !way.takesInnerVlan)
    return dropReasonNumber.tunnel_inner_vlan;
  const end = at + pool.length[slot];
  inner.read(octets, pool.words, at, pool.ethertype[slot], pool.networkHeader[slot], end);
  if (inner.tunnelPort !== NO_TUNNEL && isOfOwnTunnelsTo(machine, slot, inner.tunnelPort))
    return dropReasonNumber.tunnel_nested;
  trafficClass = way.dscp < 0 ? inner.trafficClass : way.dscp | (inner.trafficClass & ECN_MASK);
  sender = way.senderOf(inner.flow);
  if ((pool.gsoType[slot] & GSO_TYPE_MASK) === 0) return sendFrame(machine, copies, index);
  trains.finish(machine);
  return sendSuperFrame(machine, copies, index);
}

/** Takes as many sequence numbers as there are datagrams, where the tunnel has such. */
function takeSequence(machine: Machine, count: number): void {
  if (way.isSequenced) machine.tunnelSettings.sequence = machine.tunnels.takeSequences(way.tunnel, count);
}

function sendFrame(machine: Machine, copies: EgressBatch, index: number): number {
  const { pool } = machine;
  let slot = copies.slots[index];
  if (copies.shared[index] === 0) enclose(machine, slot);
  else slot = encloseShared(machine, copies, index);
  if (slot < 0) return dropReasonNumber.no_slot;
  if (!machine.tunnelQuota.take(pool.ingressPort[slot], 1)) return dropReasonNumber.tx_full;
  if (way.joinsDatagrams) {
    if (copies.shared[index] === 0) {
      trains.add(machine, slot, sender, trafficClass);
      return ON_ITS_WAY;
    }
    trains.finish(machine);
  }
  return send(machine, slot, 0, 1);
}

/** Makes the frame in the slot the datagram that it leaves in. */
function enclose(machine: Machine, slot: number): void {
  const { pool } = machine;
  if (way.clampMtu !== 0) clamp(machine, slot);
  if (pool.checksumStart[slot] !== 0) machine.segmenter.completeChecksum(slot);
  if (way.isSequenced) takeSequence(machine, 1);
  const frame = pool.offset[slot];
  way.writeHeader(machine, frame, frame + pool.length[slot], inner.flow);
  pool.length[slot] += way.headerSize;
  pool.offset[slot] = frame - way.headerSize;
}

/** As enclose, in a slot that is this copy's, or its and the next ones' of the flood. Returns it; -1: there was none. */
function encloseShared(machine: Machine, copies: EgressBatch, index: number): number {
  const { pool } = machine;
  const slot = copies.slots[index];
  const member = copies.members[index];
  let own = sharedSlot;
  if (slot === sharedFrom && member === sharedMember && way.clampMtu === sharedMtu && !way.isSequenced) {
    pool.holds[own]++;
  } else {
    own = pool.clone(slot);
    if (own < 0) return own;
    enclose(machine, own);
    share(machine, own, slot, member);
  }
  // The clone holds the original, so the copy's own hold on it is not needed any more.
  copies.slots[index] = own;
  machine.letGo(slot);
  return own;
}

/** What both ends may send then fits, though one of them hears of nothing that doesn't. */
function clamp({ pool }: Machine, slot: number): void {
  const end = pool.offset[slot] + pool.length[slot];
  const isPartial = pool.checksumStart[slot] !== 0;
  clampMss(pool.octets, pool.ethertype[slot], pool.networkHeader[slot], end, way.clampMtu, isPartial);
}

function share(machine: Machine, own: number, slot: number, member: number): void {
  shareNothing(machine);
  machine.pool.holds[own]++;
  sharedFrom = slot;
  sharedMember = member;
  sharedMtu = way.clampMtu;
  sharedSlot = own;
}

function shareNothing(machine: Machine): void {
  if (sharedFrom < 0) return;
  sharedFrom = -1;
  machine.letGo(sharedSlot);
}

/** Returns ON_ITS_WAY when at least the first message was given to the queue; the rest is counted, as a device would. */
function sendSuperFrame(machine: Machine, copies: EgressBatch, index: number): number {
  const { pool, segmenter } = machine;
  const slot = copies.slots[index];
  const count = segmenter.begin(slot);
  const datagram = way.headerSize + pool.headersEnd[slot] - pool.offset[slot] + pool.gsoSize[slot];
  // One that is longer than any message goes by itself, for the kernel to refuse.
  const perMessage = Math.max(1, Math.min(DATAGRAMS_PER_MESSAGE_MAX, Math.floor(MESSAGE_SIZE_MAX / datagram)));
  const isCutByKernel = way.kind.protocol === 'udp';
  const port = pool.ingressPort[slot];
  takeSequence(machine, count);
  for (let first = 0; first < count; first += perMessage) {
    const last = Math.min(first + perMessage, count);
    const isWithinQuota = machine.tunnelQuota.take(port, isCutByKernel ? 1 : last - first);
    const own = isWithinQuota ? pool.allocate() : -1;
    let reason: number = isWithinQuota ? dropReasonNumber.no_slot : dropReasonNumber.tx_full;
    if (own >= 0) {
      writeMessage(machine, own, first, last);
      pool.original[own] = pool.original[slot];
      pool.holds[pool.original[slot]]++;
      reason = send(machine, own, last - first > 1 ? datagram : 0, last - first);
      if (reason === ON_ITS_WAY) continue;
      machine.letGo(own);
    }
    if (first === 0) return reason;
    machine.failCopy(slot, way.queue!.port, reason);
  }
  machine.letGo(slot);
  return ON_ITS_WAY;
}

/** Segments `first` to `last` - 1 of the super-frame in the segmenter's hand, each in a datagram, one behind the other. */
function writeMessage(machine: Machine, slot: number, first: number, last: number): void {
  const { pool, segmenter, tunnelSettings } = machine;
  const start = pool.frameStart(slot);
  let at = start;
  for (let segment = first; segment < last; segment++) {
    const frame = at + way.headerSize;
    const end = frame + segmenter.segmentAt(segment, frame);
    way.writeHeader(machine, frame, end, inner.flow);
    tunnelSettings.sequence = (tunnelSettings.sequence + 1) | 0;
    at = end;
  }
  pool.offset[slot] = start;
  pool.length[slot] = at - start;
  pool.gsoType[slot] = 0;
  pool.checksumStart[slot] = 0;
}

function send(machine: Machine, slot: number, datagramSize: number, datagrams: number): number {
  const isSent = way.send(machine, slot, datagramSize, sender, trafficClass, datagrams);
  return isSent ? ON_ITS_WAY : dropReasonNumber.tx_full;
}
