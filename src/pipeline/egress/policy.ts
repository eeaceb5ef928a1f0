/**
 * Whether a copy may leave by its member at all: port up and not blocked, isolation, a tunnel port's list of VIDs, no hop
 * from a trunk's native network into another. @hot
 */
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { isTpid, VID_MASK } from '../../wire/vlan.js';
import type { EgressBatch } from '../egress-batch.js';
import type { Machine } from '../machine.js';
import { PORT_CLOSED, PORT_ISOLATED, PORT_TRUNK, PORT_TUNNEL } from '../snapshot.js';
import type { EgressStage, Names } from '../stage.js';
import { isInnerVidAllowed } from '../stages/classify.js';

export const egressPolicy: EgressStage = {
  name: 'egress-policy',

  run(machine: Machine, copies: EgressBatch): void {
    const { pool, snapshot } = machine;
    for (let index = 0; index < copies.count; index++) {
      const slot = copies.slots[index];
      const port = snapshot.memberPort[copies.members[index]];
      const mode = port < 0 ? PORT_CLOSED : snapshot.portMode[port];
      if (mode === PORT_CLOSED) copies.reasons[index] = dropReasonNumber.port_down;
      else if (machine.loops.isBlockedNow(port)) copies.reasons[index] = dropReasonNumber.loop;
      else if ((snapshot.portFlags[port] & snapshot.portFlags[pool.ingressPort[slot]] & PORT_ISOLATED) !== 0)
        copies.reasons[index] = dropReasonNumber.isolated;
      else if (mode === PORT_TUNNEL && !isInnerVidAllowed(machine, port, payloadVid(machine, slot)))
        copies.reasons[index] = dropReasonNumber.vlan_not_allowed;
      else if (mode === PORT_TRUNK && entersOtherNetwork(machine, port, copies.members[index], slot))
        copies.reasons[index] = dropReasonNumber.vlan_not_allowed;
    }
  },

  explain(machine: Machine, copies: EgressBatch, index: number, names: Names): string {
    return `may leave by ${names.port(machine.snapshot.memberPort[copies.members[index]])}`;
  },
};

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
