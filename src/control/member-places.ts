/** Where a frame came in that a worker handed to the main thread: the port and the network of a member. Pure. */
import type { Indices } from './indices.js';
import type { ResolvedConfig, ResolvedPort } from './resolved.js';

export interface Place {
  readonly portName: string;
  readonly port: ResolvedPort;
  readonly networkName: string;
  readonly network: number;
  readonly member: number;
}

/** By member. */
export function placesOf(config: ResolvedConfig, indices: Indices): Map<number, Place> {
  const places = new Map<number, Place>();
  for (const [portName, port] of config.ports) {
    for (const { network: networkName } of port.members) {
      const [member, network] = [indices.member(portName, networkName), indices.network(networkName)];
      if (member === undefined || network === undefined) continue;
      places.set(member, { portName, port, networkName, network, member });
    }
  }
  return places;
}
