/** Which router's interface a frame is addressed to. @hot */
import { ETHERNET_DESTINATION, ETHERNET_HEADER_SIZE, macHighAt, macLowAt } from '../wire/ethernet.js';
import type { HopHost } from './next-hop.js';
import type { RoutingTables } from './routing-tables.js';

/**
 * The interface whose MAC is the frame's destination in its network; -1: none. A frame with a tag of its own (of an 802.1ad
 * tunnel port) is of another network than ours, and no router's.
 */
export function interfaceOf({ pool, snapshot }: Pick<HopHost, 'pool' | 'snapshot'>, slot: number): number {
  const { routing } = snapshot;
  const network = pool.network[slot];
  if (
    routing.networkInterfaceCount[network] === 0 ||
    pool.networkHeader[slot] - pool.offset[slot] !== ETHERNET_HEADER_SIZE
  )
    return -1;
  const at = pool.offset[slot] + ETHERNET_DESTINATION;
  const high = macHighAt(pool.octets, at);
  const low = macLowAt(pool.octets, at);
  return interfaceAt(routing, network, high, low);
}

/** The interface with this MAC in the network; -1: none. */
export function interfaceAt(routing: RoutingTables, network: number, high: number, low: number): number {
  const first = routing.networkInterfaces[network];
  const end = first + routing.networkInterfaceCount[network];
  for (let one = first; one < end; one++)
    if (routing.interfaceMacLow[one] === low && routing.interfaceMacHigh[one] === high) return one;
  return -1;
}
