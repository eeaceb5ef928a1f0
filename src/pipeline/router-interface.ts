/** Which router's interface a frame is addressed to. @hot */
import { ETHERNET_DESTINATION, ETHERNET_HEADER_SIZE, macHighAt, macLowAt } from '../wire/ethernet.js';
import type { Machine } from './machine.js';

/**
 * The interface whose MAC is the frame's destination in its network; -1: none. A frame with a tag of its own (of an 802.1ad
 * tunnel port) is of another network than ours, and no router's.
 */
export function interfaceOf({ pool, snapshot }: Machine, slot: number): number {
  const { routing } = snapshot;
  const network = pool.network[slot];
  const count = routing.networkInterfaceCount[network];
  if (count === 0 || pool.networkHeader[slot] - pool.offset[slot] !== ETHERNET_HEADER_SIZE) return -1;
  const at = pool.offset[slot] + ETHERNET_DESTINATION;
  const high = macHighAt(pool.octets, at);
  const low = macLowAt(pool.octets, at);
  const first = routing.networkInterfaces[network];
  for (let one = first; one < first + count; one++)
    if (routing.interfaceMacLow[one] === low && routing.interfaceMacHigh[one] === high) return one;
  return -1;
}
