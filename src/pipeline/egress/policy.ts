/**
 * Whether a copy may leave by its member at all: port up and not blocked, isolation, a tunnel port's list of VIDs, no hop
 * from a trunk's native network into another, no BFD of machines into tunnels that are watched by it. @hot
 */
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { isBfdPacket } from '../../wire/bfd-frame.js';
import { isTpid, VID_MASK } from '../../wire/vlan.js';
import type { EgressBatch } from '../egress-batch.js';
import type { Machine } from '../machine.js';
import { PORT_BFD_INSIDE, PORT_CLOSED, PORT_INNER_VIDS, PORT_ISOLATED, PORT_NATIVE_UNTAGGED } from '../snapshot.js';
import type { EgressStage, Names } from '../stage.js';
import { isInnerVidAllowed } from '../stages/classify.js';

/** Flags of ports with a restriction of their own. */
const RESTRICTS = PORT_ISOLATED | PORT_INNER_VIDS | PORT_NATIVE_UNTAGGED | PORT_BFD_INSIDE;

export const egressPolicy: EgressStage = {
  name: 'egress-policy',

  run(machine: Machine, copies: EgressBatch): void {
    const { snapshot, loops } = machine;
    const { slots, members, reasons } = copies;
    // The member of the copy before, if all copies may leave by its port.
    let free = -1;
    for (let index = 0; index < copies.count; index++) {
      if (members[index] === free) continue;
      const port = snapshot.memberPort[members[index]];
      if (port < 0 || snapshot.portMode[port] === PORT_CLOSED) reasons[index] = dropReasonNumber.port_down;
      else if (loops.isBlockedNow(port)) reasons[index] = dropReasonNumber.loop;
      else if ((snapshot.portFlags[port] & RESTRICTS) !== 0)
        reasons[index] = restriction(machine, port, members[index], slots[index]);
      else free = members[index];
    }
  },

  explain(machine: Machine, copies: EgressBatch, index: number, names: Names): string {
    return `may leave by ${names.port(machine.snapshot.memberPort[copies.members[index]])}`;
  },
};

/** The rare ports that don't let every frame of their networks out. Returns the drop reason's number, 0 for none. */
function restriction(machine: Machine, port: number, member: number, slot: number): number {
  const { pool } = machine;
  const { portFlags } = machine.snapshot;
  // The switch's own answers, and what a router sends, are from no port.
  const isFromPort = pool.isGenerated[slot] === 0 && isInOneNetwork(machine, slot, member);
  const ingressFlags = isFromPort ? portFlags[pool.ingressPort[slot]] : 0;
  if ((portFlags[port] & ingressFlags & PORT_ISOLATED) !== 0) return dropReasonNumber.isolated;
  if ((portFlags[port] & PORT_BFD_INSIDE) !== 0 && isBfd(machine, slot)) return dropReasonNumber.control_frame;
  const isRefused =
    !isInnerVidAllowed(machine, port, payloadVid(machine, slot)) ||
    ((portFlags[port] & PORT_NATIVE_UNTAGGED) !== 0 && entersOtherNetwork(machine, port, member, slot));
  return isRefused ? dropReasonNumber.vlan_not_allowed : 0;
}

/** Whether the frame is where it came from: a router that sends it back into the same network is no way round isolation. */
function isInOneNetwork({ pool, snapshot }: Machine, slot: number, member: number): boolean {
  if (pool.ingressMember[slot] >= 0) return true;
  const untagged = snapshot.portUntaggedMember[pool.ingressPort[slot]];
  return untagged >= 0 && snapshot.memberNetwork[untagged] === snapshot.memberNetwork[member];
}

/** The far end would take it for the switch's word (CVE-2024-2182). */
function isBfd({ pool }: Machine, slot: number): boolean {
  const end = pool.offset[slot] + pool.length[slot];
  return isBfdPacket(pool.octets, pool.ethertype[slot], pool.networkHeader[slot], end);
}

/**
 * Whether a frame that leaves a trunk untagged begins with a tag of its own that names another of the trunk's networks:
 * the far side would take it for a frame of that one (the native VLAN hop).
 */
function entersOtherNetwork(machine: Machine, port: number, member: number, slot: number): boolean {
  const { snapshot } = machine;
  if (snapshot.memberTag[member] !== 0) return false;
  const vid = payloadVid(machine, slot);
  if (vid === 0) return false;
  const named = snapshot.vidMembers[(snapshot.portVidTable[port] << 12) + vid];
  return named >= 0 && named !== member;
}

/** VID of the tag that the frame, as its network sees it, begins with; 0 when it begins with none. */
function payloadVid(machine: Machine, slot: number): number {
  const octets = machine.pool.octets;
  const at = machine.pool.offset[slot] + 12;
  const type = (octets[at] << 8) | octets[at + 1];
  return isTpid(type) ? ((octets[at + 2] << 8) | octets[at + 3]) & VID_MASK : 0;
}
