/**
 * Routers, and the stations they know, as the control socket shows them: the configuration with what the neighbour table says
 * of it now. Main thread.
 */
import { monotonicMs } from '../dataplane/clock.js';
import { NEIGHBOR_STALE_S } from '../limits.js';
import type { NeighborEntry } from '../pipeline/neighbor-control.js';
import { ipText, ipWordsText, macText, macWordsText, prefixText } from '../wire/address.js';
import { interfaceMacs } from './compile-routers.js';
import type { Running } from './controller.js';
import type { Dataplane } from './dataplane.js';
import type { ResolvedConfig, ResolvedRoute, ResolvedRouter } from './resolved.js';
import type { JsonObject, NeighborRow, RouteRow, RouterDetail, RouterInterfaceRow, RouterRow } from './shapes.js';

/** What is read of the dataplane. */
type Tables = Pick<Dataplane, 'neighbors' | 'snapshot'>;

export function routerRows({ checked: { resolved } }: Running): RouterRow[] {
  return [...resolved.routers].map(([name, { interfaces, routes, external }]) => ({
    name,
    interfaces: interfaces.map(({ network, addresses }) => ({ network, addresses: addresses.map(prefixText) })),
    routeCount: routes.length,
    ...(external !== undefined && { external: external.network }),
  }));
}

/** Undefined: there is no such router. */
export function routerDetail(tables: Tables, running: Running, name: string): RouterDetail | undefined {
  const { resolved, config } = running.checked;
  const router = resolved.routers.get(name);
  if (router === undefined) return undefined;
  const { external, floating, forwards } = config.routers[name] ?? {};
  const known = statesByAddress(tables, running);
  return {
    name,
    interfaces: interfaceRows(resolved, router),
    routes: router.routes.map((route) => routeRow(route, router, known)),
    // As the configuration has them: JSON already.
    ...(external !== undefined && { external: external as unknown as JsonObject }),
    ...(floating !== undefined && { floating }),
    ...(forwards !== undefined && { forwards: forwards as unknown as JsonObject[] }),
  };
}

function interfaceRows(config: ResolvedConfig, router: ResolvedRouter): RouterInterfaceRow[] {
  const macs = interfaceMacs(config.routers);
  return router.interfaces.map((one) => ({
    network: one.network,
    addresses: one.addresses.map(prefixText),
    mac: macText(macs.get(one) ?? new Uint8Array(6)),
  }));
}

/** The next hops' states, the best of several: packets go by each of them, but one that is known shows that the route works. */
function routeRow({ to, via }: ResolvedRoute, router: ResolvedRouter, known: ReadonlyMap<string, string>): RouteRow {
  if (via.length === 0) return { to: prefixText(to), via: 'blackhole', state: 'blackhole' };
  const texts = via.map(ipText);
  const states = texts.flatMap((text) => router.interfaces.map(({ network }) => known.get(`${network} ${text}`)));
  const best = (['static', 'reachable', 'stale'] as const).find((state) => states.includes(state));
  const [first = '', ...others] = texts;
  return { to: prefixText(to), via: others.length === 0 ? first : texts, state: best ?? 'unresolved' };
}

function statesByAddress(tables: Tables, running: Running): Map<string, string> {
  return new Map(neighborRows(tables, running).map((row) => [`${row.network} ${row.address}`, row.state]));
}

/** By router, network and address. A network with two routers is listed for each: both send there. */
export function neighborRows({ neighbors, snapshot }: Tables, { checked, indices }: Running): NeighborRow[] {
  const now = Math.floor(monotonicMs() / 1000);
  const ports = new Map([...indices.ports].map(([name, index]) => [index, name]));
  const rows: NeighborRow[] = [];
  for (const [router, { interfaces }] of checked.resolved.routers) {
    for (const { network } of interfaces) {
      const index = indices.network(network);
      if (index === undefined) continue;
      const found = [...neighbors.list(now, snapshot.networkMacAge, index)];
      found.sort((one, other) => compareWords(one.address, other.address));
      rows.push(...found.map((entry) => neighborRow(router, network, entry, ports.get(entry.port))));
    }
  }
  return rows;
}

function neighborRow(router: string, network: string, entry: NeighborEntry, port: string | undefined): NeighborRow {
  const { address, macHigh, macLow, isStatic, isContested, ageSeconds } = entry;
  const heard = ageSeconds > NEIGHBOR_STALE_S ? 'stale' : 'reachable';
  return {
    router,
    network,
    address: ipWordsText(address),
    mac: macWordsText(macHigh, macLow),
    state: isStatic ? 'static' : heard,
    ...(port !== undefined && { port }),
    ...(isContested && { contested: true }),
    ageSeconds,
  };
}

/** In the order of the addresses; words as they lie in memory. */
function compareWords(one: Int32Array, other: Int32Array): number {
  const octets = (words: Int32Array) => new Uint8Array(words.slice().buffer);
  return Buffer.compare(octets(one), octets(other));
}
