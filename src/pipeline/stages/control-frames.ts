/**
 * Link-control protocols: frames to the reserved group addresses 01:80:c2:00:00:00 to 0f (IEEE 802.1Q table 8-1), Cisco's
 * 01:00:0c:cc:cc:cc and cd, and connectivity fault management. They concern one link, so they end here unless the port
 * they came in by lets their protocol through. @hot
 */
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import type { FramePool } from '../../dataplane/frame-pool.js';
import { ETHERTYPE_CFM, ETHERTYPE_LLDP, ETHERTYPE_PAUSE, ETHERTYPE_SLOW } from '../../wire/ethernet.js';
import type { Machine } from '../machine.js';
import { CONTROL_CFM, CONTROL_LACP, CONTROL_LLDP, CONTROL_OTHER, CONTROL_PAUSE, CONTROL_STP } from '../snapshot.js';
import type { Stage } from '../stage.js';

export const controlFrames: Stage = {
  name: 'control-frames',

  run(machine: Machine, batch: Batch): void {
    if (batch.hasGroup === 0) return;
    const pool = machine.pool;
    const octets = pool.octets;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      // All of these addresses begin with 01; most frames are done after this comparison.
      if (octets[pool.offset[slot]] !== 0x01 || pool.reason[slot] !== 0) continue;
      const protocol = controlProtocol(pool, slot);
      if (protocol === 0) continue;
      if ((machine.snapshot.portControlFrames[pool.ingressPort[slot]] & protocol) !== 0) continue;
      pool.reason[slot] = protocol === CONTROL_OTHER ? dropReasonNumber.reserved_group : dropReasonNumber.control_frame;
    }
  },

  explain(machine: Machine, slot: number): string {
    return controlProtocol(machine.pool, slot) === 0 ? 'not a link-control protocol' : 'a link-control protocol';
  },
};

/** The CONTROL_… bit of the protocol, 0 for a frame that is none. */
function controlProtocol(pool: FramePool, slot: number): number {
  const octets = pool.octets;
  const at = pool.offset[slot];
  const type = pool.ethertype[slot];
  const first = (octets[at] << 16) | (octets[at + 1] << 8) | octets[at + 2];
  const last = (octets[at + 3] << 16) | (octets[at + 4] << 8) | octets[at + 5];
  if (first === 0x01000c) {
    if (last === 0xcccccd) return CONTROL_STP;
    return last === 0xcccccc ? CONTROL_OTHER : 0;
  }
  if (first !== 0x0180c2) return 0;
  // 01:80:c2:00:00:30 to 3f: IEEE 802.1Q clause 22, continuity checks and link traces by level.
  if (last >> 4 === 0x000003) return type === ETHERTYPE_CFM ? CONTROL_CFM : 0;
  if (last >> 4 !== 0) return 0;
  if (type === ETHERTYPE_LLDP) return CONTROL_LLDP;
  if (type === ETHERTYPE_SLOW) return CONTROL_LACP;
  if (type === ETHERTYPE_CFM) return CONTROL_CFM;
  if (type === ETHERTYPE_PAUSE) return CONTROL_PAUSE;
  return last === 0 ? CONTROL_STP : CONTROL_OTHER;
}
