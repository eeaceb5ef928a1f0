/**
 * Learns where the source address is: IEEE 802.1Q 8.7. Comes after everything that may refuse the frame, so a refused
 * frame teaches nothing. A station seen behind another member moves there, unless its entry is static. @hot
 */

import type { Batch } from '../../dataplane/batch.js';
import { NOT_LEARNED, STATION_MOVES } from '../../dataplane/counters.js';
import { dropReasonNumber } from '../../dataplane/drop-reason.js';
import { TUNNEL_MOVES_PER_SECOND } from '../../limits.js';
import { macHighAt, macLowAt } from '../../wire/ethernet.js';
import { BUSY, LEARNED, MOVED, REFUSED_STATIC } from '../fdb.js';
import type { Machine } from '../machine.js';
import { NETWORK_LEARNS, PORT_GUARDED, PORT_UNDERLAY } from '../snapshot.js';
import type { Names, Stage } from '../stage.js';
import { BUCKET_MOVES, BUCKETS_PER_PORT } from '../token-bucket.js';

export const learn: Stage = {
  name: 'learn',

  run(machine: Machine, batch: Batch): void {
    const { pool, fdb } = machine;
    const now = machine.nowSeconds;
    for (let index = 0; index < batch.count; index++) {
      const slot = batch.slots[index];
      if (pool.reason[slot] !== 0) continue;
      if (pool.sourceMember[slot] === pool.ingressMember[slot] && isSameTunnel(machine, slot))
        fdb.refresh(pool.sourceEntry[slot], now);
      else learnSource(machine, slot);
    }
  },

  explain(machine: Machine, slot: number, names: Names): string {
    const { pool, fdb } = machine;
    if ((machine.snapshot.networkFlags[pool.network[slot]] & NETWORK_LEARNS) === 0) return 'the network does not learn';
    const before = pool.sourceMember[slot];
    const port = names.port(pool.ingressPort[slot]);
    if (before === pool.ingressMember[slot]) return `source is behind ${port}, as known`;
    const source = pool.offset[slot] + 6;
    const network = pool.network[slot];
    const macHigh = macHighAt(pool.octets, source);
    const found = fdb.find(
      network,
      macHigh,
      macLowAt(pool.octets, source),
      machine.nowSeconds,
      machine.snapshot.networkMacAge[network],
    );
    if (found < 0) return `source is not learned: ${port} has reached its limit`;
    if (fdb.foundMember !== pool.ingressMember[slot]) return 'source has a static entry elsewhere: not moved';
    return before < 0 ? `source is new: it is behind ${port} now` : `source moves to ${port}`;
  },
};

/**
 * An underlay is never blocked for a loop, or one forging host would cut off all others. What keeps it from taking stations
 * over at the rate of its frames is this.
 */
function mayMove(machine: Machine, port: number): boolean {
  const bucket = port * BUCKETS_PER_PORT + BUCKET_MOVES;
  return machine.storm.take(bucket, TUNNEL_MOVES_PER_SECOND, machine.nowTick);
}

/** Whether the source is behind the remote that its entry says, where it may be behind one at all. */
function isSameTunnel(machine: Machine, slot: number): boolean {
  const { pool } = machine;
  return machine.snapshot.underlayPorts === 0 || machine.fdb.remoteOf(pool.sourceEntry[slot]) === pool.tunnel[slot];
}

/** The rare case: the source is new, or was behind another member. */
function learnSource(machine: Machine, slot: number): void {
  const { pool, fdb, snapshot, counters } = machine;
  const network = pool.network[slot];
  if ((snapshot.networkFlags[network] & NETWORK_LEARNS) === 0) return;
  const source = pool.offset[slot] + 6;
  const macHigh = macHighAt(pool.octets, source);
  const macLow = macLowAt(pool.octets, source);
  const member = pool.ingressMember[slot];
  const port = pool.ingressPort[slot];
  const isUnderlay = snapshot.portMode[port] === PORT_UNDERLAY;
  // A remote that there was no room for: frames back must be flooded.
  if (isUnderlay && pool.tunnel[slot] === 0) return;
  if (isUnderlay && pool.sourceMember[slot] >= 0 && !mayMove(machine, port)) {
    counters.addPort(port, NOT_LEARNED, 1);
    return;
  }
  const result = fdb.learn(network, macHigh, macLow, member, machine.nowSeconds, snapshot, pool.tunnel[slot]);
  if (result === LEARNED) return;
  if (result === MOVED) {
    counters.addPort(port, STATION_MOVES, 1);
    const from = snapshot.memberPort[fdb.movedFrom];
    // From host to host, a VM migrates; an underlay is never blocked for what one of its hosts says.
    if (isUnderlay || snapshot.portMode[from] === PORT_UNDERLAY) return;
    const word0 = (network << 16) | macHigh;
    if (fdb.movedBack) machine.loops.noteMove(word0, macLow, port, from, machine.nowMs);
    else machine.loops.noteMove(word0, macLow, from, port, machine.nowMs);
    return;
  }
  // Another thread has the table: the station's next frame will do. A static entry elsewhere is no limit that was reached.
  if (result === BUSY || result === REFUSED_STATIC) return;
  counters.addPort(port, NOT_LEARNED, 1);
  if ((snapshot.portFlags[port] & PORT_GUARDED) !== 0) pool.reason[slot] = dropReasonNumber.mac_limit;
}
