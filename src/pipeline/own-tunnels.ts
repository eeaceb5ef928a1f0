/**
 * The underlays' own datagrams among the frames of tunnelled networks: there when the route to a remote leads through a
 * network of this switch, or when somebody forges them. Wrapped again they would go round and round, so they neither enter
 * a tunnel nor come out of one. All underlays are asked, since the way round may lead through two of them in turn. @hot
 */
import { isOwnTunnel } from '../wire/nested-tunnel.js';
import type { Machine } from './machine.js';

/** Whether the frame, which parse has read, is from or to an underlay's address and is what its tunnels send. */
export function isOfOwnTunnels(machine: Machine, slot: number): boolean {
  const { pool, snapshot } = machine;
  const { underlays, portTunnelPort, portLocal } = snapshot;
  const { octets } = pool;
  const ethertype = pool.ethertype[slot];
  const network = pool.networkHeader[slot];
  const end = pool.offset[slot] + pool.length[slot];
  for (let index = 0; index < underlays.length; index++) {
    const port = underlays[index];
    if (isOwnTunnel(octets, ethertype, network, end, portTunnelPort[port], portLocal, port << 2)) return true;
  }
  return false;
}
