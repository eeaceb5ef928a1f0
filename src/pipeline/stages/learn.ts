/**
 * Learns where the source address is: IEEE 802.1Q 8.7. Comes after everything that may refuse the frame, so a refused
 * frame teaches nothing. A station seen behind another member moves there, unless its entry is static. @hot
 */
import { NOT_LEARNED, STATION_MOVES } from '../../dataplane/counters.js';
import type { Batch } from '../../dataplane/batch.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { macHighAt, macLowAt } from '../../wire/ethernet.js';
import { LEARNED, MOVED } from '../fdb.js';
import type { Machine } from '../machine.js';
import { NETWORK_LEARNS, PORT_GUARDED } from '../snapshot.js';
import type { Names, Stage } from '../stage.js';

export const learn: Stage = {
  name: 'learn',

  run(machine: Machine, batch: Batch): void {
    const { pool, fdb } = machine;
    const now = machine.nowSeconds;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      const entry = pool.sourceEntry[slot];
      if (entry >= 0 && fdb.memberOf(entry) === pool.ingressMember[slot]) fdb.refresh(entry, now);
      else learnSource(machine, slot, entry);
    }
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const { pool, fdb } = machine;
    if ((machine.snapshot.networkFlags[pool.network[slot]] & NETWORK_LEARNS) === 0) return 'the network does not learn';
    const entry = pool.sourceEntry[slot];
    const port = names.port(pool.ingressPort[slot]);
    if (entry < 0) return `source is new: it is behind ${port} now`;
    if (fdb.memberOf(entry) === pool.ingressMember[slot]) return `source is behind ${port}, as known`;
    return fdb.isStatic(entry) ? 'source has a static entry elsewhere: not moved' : `source moves to ${port}`;
  },
};

/** The rare case: the source is new, or was behind another member. */
function learnSource(machine: Machine, slot: number, entry: number): void {
  const { pool, fdb, snapshot, counters } = machine;
  const network = pool.network[slot];
  if ((snapshot.networkFlags[network] & NETWORK_LEARNS) === 0) return;
  const source = pool.offset[slot] + 6;
  const macHigh = macHighAt(pool.octets, source);
  const macLow = macLowAt(pool.octets, source);
  const member = pool.ingressMember[slot];
  const port = pool.ingressPort[slot];
  const from = entry < 0 ? -1 : snapshot.memberPort[fdb.memberOf(entry)];
  const result = fdb.learn(network, macHigh, macLow, member, machine.nowSeconds, snapshot);
  if (result === LEARNED) return;
  if (result === MOVED) {
    counters.addPort(port, STATION_MOVES, 1);
    if (from >= 0) machine.loops.noteMove((network << 16) | macHigh, macLow, from, port, machine.nowMs);
    return;
  }
  counters.addPort(port, NOT_LEARNED, 1);
  if ((snapshot.portFlags[port] & PORT_GUARDED) !== 0) pool.reason[slot] = dropReasonNumber.mac_limit;
}
