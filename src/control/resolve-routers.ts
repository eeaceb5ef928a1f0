/**
 * Routers with their addresses parsed, and what must hold for them beyond the schema: addresses that can be an interface's, no
 * prefix in two networks of one router, next hops that a connected network has. Pure.
 */

import { ipText, networkOf, type Prefix, parseIp, parsePrefix, prefixContains, prefixText } from '../wire/address.js';
import { isHostIpv4 } from '../wire/ipv4.js';
import { isHostIpv6 } from '../wire/ipv6.js';
import type { ConfigFault, ConfigPath } from './config-path.js';
import { resolveExternal, resolveNat } from './resolve-nat.js';
import type { ResolvedRoute, ResolvedRouter, ResolvedRouterInterface } from './resolved.js';
import type { Config, RouterConfig } from './schema.js';

export function resolveRouters(config: Config, faults: ConfigFault[]): Map<string, ResolvedRouter> {
  const routers = new Map<string, ResolvedRouter>();
  for (const [name, router] of Object.entries(config.routers)) routers.set(name, resolveRouter(name, router, faults));
  checkSharedAddresses(routers, faults);
  return routers;
}

function resolveRouter(name: string, router: RouterConfig, faults: ConfigFault[]): ResolvedRouter {
  const at = ['routers', name];
  const interfaces: ResolvedRouterInterface[] = Object.entries(router.interfaces).map(([network, given]) => {
    const texts = typeof given === 'string' ? [given] : given;
    return { network, addresses: addressesOf(texts, [...at, 'interfaces', network], faults), isExternal: false };
  });
  const { external } = router;
  if (external !== undefined) {
    const path = [...at, 'external'];
    if (Object.hasOwn(router.interfaces, external.network)) {
      const message = `${external.network} is one of the router's inside networks already`;
      faults.push({ path: [...path, 'network'], message });
    }
    const addresses = addressesOf(external.addresses, [...path, 'addresses'], faults);
    interfaces.push({ network: external.network, addresses, isExternal: true });
  }
  checkPrefixes(interfaces, at, faults);
  return {
    interfaces,
    routes: (router.routes ?? []).flatMap((route, index) =>
      resolveRoute(route, interfaces, [...at, 'routes', index], faults),
    ),
    ...(external !== undefined && { external: resolveExternal(external) }),
    ...resolveNat(router, interfaces, at, faults),
  };
}

function addressesOf(texts: readonly string[], path: ConfigPath, faults: ConfigFault[]): Prefix[] {
  return texts.flatMap((text) => {
    const prefix = parsePrefix(text);
    if (prefix === undefined) return [];
    const problem = problemOf(prefix);
    if (problem === undefined) return [prefix];
    faults.push({ path, message: `${text} can't be an interface's address: ${problem}` });
    return [];
  });
}

function problemOf(prefix: Prefix): string | undefined {
  const { address, length } = prefix;
  const isIpv4 = address.length === 4;
  if (!(isIpv4 ? isHostIpv4(address, 0) : isHostIpv6(address, 0))) return 'it is not one host’s';
  const bits = address.length * 8;
  // RFC 3021: a /31 has two hosts; a /32 one.
  if (!isIpv4 || length >= bits - 1) return undefined;
  if (ipText(networkOf(prefix).address) === ipText(address))
    return `it is the network ${prefixText(networkOf(prefix))}`;
  const last = address.map((octet, index) => octet | (~maskOctet(length, index) & 0xff));
  return ipText(last) === ipText(address)
    ? `it is the broadcast address of ${prefixText(networkOf(prefix))}`
    : undefined;
}

function maskOctet(length: number, index: number): number {
  return (0xff00 >> Math.min(8, Math.max(0, length - 8 * index))) & 0xff;
}

/** What is in two networks would be found in one of them. */
function checkPrefixes(interfaces: readonly ResolvedRouterInterface[], at: ConfigPath, faults: ConfigFault[]): void {
  const all = interfaces.flatMap(({ network, addresses }) => addresses.map((prefix) => ({ network, prefix })));
  for (const [index, { network, prefix }] of all.entries()) {
    const other = all
      .slice(0, index)
      .find((one) => one.network !== network && (covers(one.prefix, prefix) || covers(prefix, one.prefix)));
    if (other === undefined) continue;
    const text = `${prefixText(networkOf(prefix))} in ${network} and ${prefixText(networkOf(other.prefix))} in ${other.network}`;
    faults.push({ path: [...at, 'interfaces'], message: `${text} overlap` });
  }
}

const covers = (prefix: Prefix, other: Prefix) =>
  prefix.length <= other.length && prefixContains(prefix, other.address);

function resolveRoute(
  { to, via }: NonNullable<RouterConfig['routes']>[number],
  interfaces: readonly ResolvedRouterInterface[],
  path: ConfigPath,
  faults: ConfigFault[],
): ResolvedRoute[] {
  const prefix = parsePrefix(to);
  if (prefix === undefined) return [];
  if (via === 'blackhole') return [{ to: networkOf(prefix), via: [] }];
  const hops = (typeof via === 'string' ? [via] : via).flatMap((text) => {
    const address = parseIp(text);
    if (address === undefined) return [];
    const problem = hopProblem(address, prefix, interfaces);
    if (problem === undefined) return [address];
    faults.push({ path: [...path, 'via'], message: `${text} ${problem}` });
    return [];
  });
  return [{ to: networkOf(prefix), via: hops }];
}

function hopProblem(
  address: Uint8Array,
  to: Prefix,
  interfaces: readonly ResolvedRouterInterface[],
): string | undefined {
  if (address.length !== to.address.length) return 'is of the other IP version than what it is the way to';
  const all = interfaces.flatMap(({ addresses }) => addresses);
  if (all.some((one) => ipText(one.address) === ipText(address))) return "is the router's own address";
  if (all.some((one) => prefixContains(one, address))) return undefined;
  return "is in none of the router's networks";
}

/** An address is one station's in its network. */
function checkSharedAddresses(routers: ReadonlyMap<string, ResolvedRouter>, faults: ConfigFault[]): void {
  const owners = new Map<string, string>();
  for (const [name, { interfaces }] of routers) {
    for (const { network, addresses, isExternal } of interfaces) {
      for (const { address } of addresses) {
        const key = `${network} ${ipText(address)}`;
        const other = owners.get(key);
        const path = ['routers', name, ...(isExternal ? ['external', 'addresses'] : ['interfaces', network])];
        if (other === undefined) owners.set(key, name);
        else
          faults.push({
            path,
            message: `${ipText(address)} in ${network} is ${other === name ? 'there twice' : `${other}'s already`}`,
          });
      }
    }
  }
}
