/**
 * The underlays' own datagrams among the frames of tunnelled networks: there when the route to a remote leads through a
 * network of this switch, or when somebody forges them. Wrapped again they would go round and round, so they neither enter
 * a tunnel nor come out of one. All underlays are asked, since the way round may lead through two of them in turn. @hot
 */
import { BFD_MULTIHOP_PORT, BFD_PORT } from '../wire/bfd.js';
import { isFrom, isTo, NO_TUNNEL, tunnelPortBehind, UNKNOWN_TUNNEL } from '../wire/nested-tunnel.js';
import type { Machine } from './machine.js';

/** Whether the frame, which parse has read, is from or to an underlay's address and is what its tunnels send. */
export function isOfOwnTunnels(machine: Machine, slot: number): boolean {
  const { pool } = machine;
  const end = pool.offset[slot] + pool.length[slot];
  const found = tunnelPortBehind(pool.octets, pool.words, pool.ethertype[slot], pool.networkHeader[slot], end);
  return found !== NO_TUNNEL && isOfOwnTunnelsTo(machine, slot, found);
}

/** As isOfOwnTunnels, of a frame for which tunnelPortBehind found this port, or UNKNOWN_TUNNEL. */
export function isOfOwnTunnelsTo(machine: Machine, slot: number, found: number): boolean {
  const { underlays, portTunnelPort } = machine.snapshot;
  for (let index = 0; index < underlays.length; index++)
    if (found === UNKNOWN_TUNNEL || found === portTunnelPort[underlays[index]])
      if (isBetween(machine, slot, underlays[index])) return true;
  return false;
}

/** Whether the packet is from or to the underlay's address. */
function isBetween({ pool, snapshot }: Machine, slot: number, port: number): boolean {
  const { octets } = pool;
  const ethertype = pool.ethertype[slot];
  const network = pool.networkHeader[slot];
  return (
    isTo(octets, ethertype, network, snapshot.portLocal, port << 2) ||
    isFrom(octets, ethertype, network, snapshot.portLocal, port << 2)
  );
}

/**
 * Whether the frame is what a remote would send to one of the underlays: UDP to its tunnels' port, GRE, or BFD, to its
 * address. From a machine that is a forgery, which the host's own sockets would take for the remote's. Frames from that
 * address are let pass: the underlay's address may itself be behind a TAP.
 */
export function isForUnderlay(machine: Machine, slot: number): boolean {
  const { pool, snapshot } = machine;
  const { underlays, portTunnelPort, portLocal } = snapshot;
  const { octets } = pool;
  const ethertype = pool.ethertype[slot];
  const network = pool.networkHeader[slot];
  const found = tunnelPortBehind(octets, pool.words, ethertype, network, pool.offset[slot] + pool.length[slot]);
  if (found === NO_TUNNEL) return false;
  const isAnyones = found === UNKNOWN_TUNNEL || found === BFD_PORT || found === BFD_MULTIHOP_PORT;
  for (let index = 0; index < underlays.length; index++) {
    const port = underlays[index];
    if (!isAnyones && found !== portTunnelPort[port]) continue;
    if (isTo(octets, ethertype, network, portLocal, port << 2)) return true;
  }
  return false;
}
