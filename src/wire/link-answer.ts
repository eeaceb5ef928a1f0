/** The link-layer header of a frame that answers another. @hot */
import type { Kernels } from '../kernels/kernels.js';
import { ETHERNET_DESTINATION, ETHERNET_SOURCE, isGroupAt, MAC_SIZE } from './ethernet.js';

/** Whether the frame is from one station to one: only such a frame has somebody to answer as. */
export function isBetweenStations(octets: Uint8Array, frame: number): boolean {
  return !isGroupAt(octets, frame + ETHERNET_DESTINATION) && !isGroupAt(octets, frame + ETHERNET_SOURCE);
}

/** Writes at `to` the `size` octets in front of the frame's packet, tags included, its two addresses exchanged. */
export function writeLinkAnswer(frame: number, to: number, size: number, kernels: Kernels): void {
  kernels.copy(frame, to, size);
  kernels.copy(frame + ETHERNET_SOURCE, to + ETHERNET_DESTINATION, MAC_SIZE);
  kernels.copy(frame + ETHERNET_DESTINATION, to + ETHERNET_SOURCE, MAC_SIZE);
}
