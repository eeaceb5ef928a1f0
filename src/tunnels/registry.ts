/** The kinds of tunnels. A new one: its file, its header's file in wire/, one line here. */
import { geneve } from './geneve.js';
import { gre } from './gre.js';
import type { TunnelKind } from './tunnel.js';
import { vxlan } from './vxlan.js';

/** The place in it is the kind's number in snapshots, valid inside one running version only. */
export const tunnelKinds: readonly TunnelKind[] = [vxlan, geneve, gre];

/** The number of the kind for networks of this type; -1: such networks have no tunnels. */
export function tunnelKindIndex(type: string): number {
  return tunnelKinds.findIndex((kind) => kind.type === type);
}
