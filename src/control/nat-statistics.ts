/** How full routers' outside addresses are, and what was refused: `weft nat stats`, and the metrics. Main thread. */
import type { ConnectionTable } from '../pipeline/connection-table.js';
import { MAP_ICMP, MAP_TCP, MAP_UDP, portMapOf } from '../pipeline/nat-ports.js';
import { REFUSED_EXHAUSTED, REFUSED_LIMIT } from '../pipeline/nat-refusals.js';
import { ipText } from '../wire/address.js';
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import { translates } from './compile-nat.js';
import { hidingAddresses, type Indices } from './indices.js';
import { protocolName } from './protocol-names.js';
import type { ResolvedConfig, ResolvedRouter } from './resolved.js';
import type { NatStatsRow, StatusResult } from './shapes.js';

const maps = [
  [MAP_TCP, PROTOCOL_TCP],
  [MAP_UDP, PROTOCOL_UDP],
  [MAP_ICMP, PROTOCOL_ICMP],
] as const;

/** By router that translates. */
export function natStatistics(config: ResolvedConfig, indices: Indices, connections: ConnectionTable): NatStatsRow[] {
  return [...config.routers].flatMap(([router, resolved]) => {
    const index = indices.router(router);
    if (index === undefined || !translates(resolved)) return [];
    const { refusals } = connections;
    return [
      {
        router,
        ports: portRows(router, resolved, indices, connections),
        refused: {
          exhausted: refusals.count(index, REFUSED_EXHAUSTED),
          limit: refusals.count(index, REFUSED_LIMIT),
        },
      },
    ];
  });
}

/** For `weft status`; empty where no router translates. */
export function natTotals(rows: readonly NatStatsRow[]): Pick<StatusResult, 'nat'> {
  if (rows.length === 0) return {};
  const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0);
  return {
    nat: {
      ports: sum(rows.flatMap(({ ports }) => ports.map(({ used }) => used))),
      refused: {
        exhausted: sum(rows.map(({ refused }) => refused.exhausted)),
        limit: sum(rows.map(({ refused }) => refused.limit)),
      },
    },
  };
}

function portRows(
  name: string,
  router: ResolvedRouter,
  indices: Indices,
  { ports }: ConnectionTable,
): NatStatsRow['ports'] {
  return hidingAddresses(router).flatMap((address) => {
    const number = indices.outside(name, address);
    if (number === undefined) return [];
    return maps.map(([map, protocol]) => ({
      external: ipText(address),
      proto: protocolName(protocol),
      used: ports.countTaken(portMapOf(number, map)),
      size: poolSize(router, address, protocol),
    }));
  });
}

/** Ports of the pool that no forward takes. */
function poolSize({ external, forwards }: ResolvedRouter, address: Uint8Array, protocol: number): number {
  const pool = external?.pool ?? [];
  const taken = forwards.filter((one) => one.protocol === protocol && ipText(one.outside) === ipText(address));
  let size = 0;
  for (const { first, last } of pool) {
    size += last - first + 1;
    for (const { ports } of taken) size -= Math.max(0, Math.min(last, ports.last) - Math.max(first, ports.first) + 1);
  }
  return size;
}
