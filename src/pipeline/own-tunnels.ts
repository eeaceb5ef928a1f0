/**
 * The underlays' own datagrams among the frames of tunnelled networks: there when the route to a remote leads through a
 * network of this switch, or when somebody forges them. Wrapped again they would go round and round, so they neither enter
 * a tunnel nor come out of one. All underlays are asked, since the way round may lead through two of them in turn. @hot
 */
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { IPV4_DESTINATION } from '../wire/ipv4.js';
import { IPV6_DESTINATION, MAPPED_WORD } from '../wire/ipv6.js';
import { isOwnTunnel, wordAt } from '../wire/nested-tunnel.js';
import type { Machine } from './machine.js';

/** Whether the frame, which parse has read, is from or to an underlay's address and is what its tunnels send. */
export function isOfOwnTunnels(machine: Machine, slot: number): boolean {
  const { pool, snapshot } = machine;
  const { underlays, portTunnelPort, portLocal } = snapshot;
  const { octets } = pool;
  const ethertype = pool.ethertype[slot];
  if (ethertype !== ETHERTYPE_IPV4 && ethertype !== ETHERTYPE_IPV6) return false;
  const network = pool.networkHeader[slot];
  const end = pool.offset[slot] + pool.length[slot];
  for (let index = 0; index < underlays.length; index++) {
    const port = underlays[index];
    // A walk over IPv6's headers is spared where the underlay is IPv4's. No IPv6 underlay has a mapped address.
    if ((ethertype === ETHERTYPE_IPV4) !== (portLocal[(port << 2) + 2] === MAPPED_WORD && portLocal[port << 2] === 0))
      continue;
    if (isOwnTunnel(octets, ethertype, network, end, portTunnelPort[port], portLocal, port << 2)) return true;
  }
  return false;
}

/**
 * Whether the frame is what a remote would send to one of the underlays: UDP to its tunnels' port or GRE, to its address.
 * From a machine that is a forgery, which the host's own sockets would take for the remote's. Frames from that address are
 * let pass: the underlay's address may itself be behind a TAP.
 */
export function isForUnderlay(machine: Machine, slot: number): boolean {
  if (!isOfOwnTunnels(machine, slot)) return false;
  const { pool, snapshot } = machine;
  const isIpv4 = pool.ethertype[slot] === ETHERTYPE_IPV4;
  const at = pool.networkHeader[slot] + (isIpv4 ? IPV4_DESTINATION : IPV6_DESTINATION + 12);
  const words = (isIpv4 ? 1 : 4) - 1;
  for (let index = 0; index < snapshot.underlays.length; index++) {
    const last = (snapshot.underlays[index] << 2) + 3;
    let back = 0;
    while (back <= words && wordAt(pool.octets, at - back * 4) === snapshot.portLocal[last - back]) back++;
    if (back > words) return true;
  }
  return false;
}
