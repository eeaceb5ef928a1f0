/**
 * The bindings of addresses to MACs that the configuration itself knows: ports with a `mac` and `addresses`, in networks that
 * suppress ARP and ND or have routers. Pure.
 */
import type { StaticNeighbor } from '../pipeline/neighbor-control.js';
import { ipWords, macWords, parseMac, parsePrefix } from '../wire/address.js';
import type { Indices } from './indices.js';
import type { ResolvedConfig, ResolvedPort } from './resolved.js';

/**
 * One binding for each address and network. An address that two ports of a network have with different MACs is nobody's: who
 * uses it at the moment (a pair that fails over) is learned from what they say.
 */
export function staticNeighbors(config: ResolvedConfig, indices: Indices): StaticNeighbor[] {
  const byAddress = new Map<string, StaticNeighbor | undefined>();
  for (const port of config.ports.values()) {
    for (const binding of bindingsOf(port, config, indices)) {
      const key = `${binding.network} ${binding.address.join(' ')}`;
      const other = byAddress.get(key);
      const isOnly = !byAddress.has(key) || (other !== undefined && isSameMac(other, binding));
      byAddress.set(key, isOnly ? binding : undefined);
    }
  }
  return [...byAddress.values()].filter((binding) => binding !== undefined);
}

function* bindingsOf(port: ResolvedPort, config: ResolvedConfig, indices: Indices): Generator<StaticNeighbor> {
  const mac = port.mac === undefined || !port.enabled ? undefined : parseMac(port.mac);
  if (mac === undefined) return;
  const { high, low } = macWords(mac);
  const routed = new Set(
    [...config.routers.values()].flatMap(({ interfaces }) => interfaces.map(({ network: of }) => of)),
  );
  for (const { network } of port.members) {
    const index = indices.network(network);
    if (index === undefined || !(config.networks.get(network)?.suppressesArp || routed.has(network))) continue;
    for (const text of port.addresses) {
      const prefix = parsePrefix(text);
      if (prefix === undefined) continue;
      yield { network: index, address: ipWords(prefix.address), macHigh: high, macLow: low };
    }
  }
}

function isSameMac(one: StaticNeighbor, other: StaticNeighbor): boolean {
  return one.macHigh === other.macHigh && one.macLow === other.macLow;
}
