/**
 * From port and tag to network: IEEE 802.1Q ingress. Takes the tag that named the network off (its priority stays with
 * the frame), so that inside the switch a frame is what its network sees. On a tunnel port nothing is taken off. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { isTpid, PRIORITY_MASK, popTag, VID_MASK, VID_RESERVED, VLAN_TAG_SIZE } from '../../wire/vlan.js';
import type { Machine } from '../machine.js';
import { isForUnderlay, isOfOwnTunnels } from '../own-tunnels.js';
import {
  NETWORK_INNER_VLAN,
  PORT_ACCESS,
  PORT_CLOSED,
  PORT_FACES_VM,
  PORT_INNER_VIDS,
  PORT_TUNNEL,
  PORT_UNDERLAY,
  type Snapshot,
} from '../snapshot.js';
import type { Names, Stage } from '../stage.js';

const NONE = -1;

/** The open port that the frame before in the batch came by, and what it has for all of its frames. One worker is one thread. */
let knownPort = NONE;
let knownMode = PORT_CLOSED;
let knownMember = NONE;

export const classify: Stage = {
  name: 'classify',

  run(machine: Machine, batch: Batch): void {
    const pool = machine.pool;
    knownPort = NONE;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] === 0) pool.reason[slot] = classifyFrame(machine, slot);
    }
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const pool = machine.pool;
    const priority = pool.priority[slot] >>> 13;
    return `enters network ${names.network(pool.network[slot])}${priority === 0 ? '' : ` with priority ${priority}`}`;
  },
};

/** Returns the drop reason's number, 0 for a frame that is in a network now. */
function classifyFrame(machine: Machine, slot: number): number {
  const { pool, snapshot } = machine;
  const { octets } = pool;
  const port = pool.ingressPort[slot];
  if (port !== knownPort) {
    const reason = readPort(machine, port);
    if (reason !== 0) return reason;
  }
  const mode = knownMode;

  // The tunnel's id was its network's name; what is in the frame is the network's own.
  if (mode === PORT_UNDERLAY) return classifyUnpacked(machine, slot);

  const start = pool.offset[slot];
  let member = knownMember;
  let control = 0;
  if (isTpid(pool.view.getUint16(start + 12))) {
    control = (octets[start + 14] << 8) | octets[start + 15];
    const vid = control & VID_MASK;
    if (vid === VID_RESERVED) return dropReasonNumber.bad_vlan_tag;
    if (mode === PORT_TUNNEL) {
      if (!isInnerVidAllowed(machine, port, vid)) return dropReasonNumber.vlan_not_allowed;
    } else {
      if (vid !== 0) member = taggedMember(snapshot, port, vid);
      if (member < 0 || (mode === PORT_ACCESS && hidesTag(octets, start))) return dropReasonNumber.vlan_not_allowed;
      pool.offset[slot] = popTag(pool.words, start);
      pool.length[slot] -= VLAN_TAG_SIZE;
    }
  } else if (member < 0 || (mode === PORT_TUNNEL && !isInnerVidAllowed(machine, port, 0)))
    return dropReasonNumber.vlan_not_allowed;
  if (snapshot.underlayPorts !== 0 && (snapshot.portFlags[port] & PORT_FACES_VM) !== 0 && isForUnderlay(machine, slot))
    return dropReasonNumber.tunnel_nested;
  pool.priority[slot] = control & PRIORITY_MASK;
  pool.ingressMember[slot] = member;
  pool.network[slot] = snapshot.memberNetwork[member];
  return 0;
}

/** Returns the drop reason's number of every frame of the port, 0: it may have some that go on, and is the known one now. */
function readPort({ snapshot, loops }: Machine, port: number): number {
  // A port may be attached a moment before the snapshot that knows it.
  const mode = port < snapshot.portMode.length ? snapshot.portMode[port] : PORT_CLOSED;
  if (mode === PORT_CLOSED) return dropReasonNumber.port_down;
  if (loops.isBlockedNow(port)) return dropReasonNumber.loop;
  knownPort = port;
  knownMode = mode;
  knownMember = snapshot.portUntaggedMember[port];
  return 0;
}

function classifyUnpacked(machine: Machine, slot: number): number {
  const { pool, snapshot } = machine;
  const at = pool.offset[slot] + 12;
  pool.priority[slot] = 0;
  if (isTpid((pool.octets[at] << 8) | pool.octets[at + 1]))
    if ((snapshot.networkFlags[pool.network[slot]] & NETWORK_INNER_VLAN) === 0)
      return dropReasonNumber.tunnel_inner_vlan;
  return isOfOwnTunnels(machine, slot) ? dropReasonNumber.tunnel_nested : 0;
}

function taggedMember(snapshot: Snapshot, port: number, vid: number): number {
  const table = snapshot.portVidTable[port];
  return table < 0 ? -1 : snapshot.vidMembers[(table << 12) + vid];
}

/**
 * Whether a VLAN's tag follows the frame's first one, which has VID 0. On an access port a tag other than VID 0 is dropped
 * wherever it stands: with the priority tag taken off it would name the VLAN to whoever gets the frame untagged from a
 * trunk (the native VLAN hop).
 */
function hidesTag(octets: Uint8Array, start: number): boolean {
  const inner = (octets[start + 16] << 8) | octets[start + 17];
  return isTpid(inner) && (((octets[start + 18] << 8) | octets[start + 19]) & VID_MASK) !== 0;
}

/** Whether a tunnel port carries frames with this inner VID; 0 stands for untagged and priority-tagged ones. */
export function isInnerVidAllowed(machine: Machine, port: number, vid: number): boolean {
  const snapshot = machine.snapshot;
  if ((snapshot.portFlags[port] & PORT_INNER_VIDS) === 0) return true;
  const word = snapshot.innerVids[(snapshot.portInnerVids[port] << 7) + (vid >> 5)];
  return ((word >>> (vid & 31)) & 1) === 1;
}
