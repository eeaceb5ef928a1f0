/**
 * Routers as the tables that workers route by (pipeline/routing-tables.ts). The trees of prefixes are the costly part (a second
 * for 100,000), so they are kept from one snapshot to the next and recognised by what they were made of. Main thread.
 */

import { MTU_MAX } from '../limits.js';
import { OWN_LOCAL, OWN_ROUTER, type OwnAddress } from '../pipeline/own-addresses.js';
import type { PrefixTrees } from '../pipeline/prefix-tree.js';
import {
  ADDRESS_WORDS,
  HOP_BLACKHOLE,
  HOP_CONNECTED,
  HOP_LOCAL,
  HOP_SHARED,
  HOP_VIA,
  NO_ROUTING,
  type RoutingTables,
} from '../pipeline/routing-tables.js';
import {
  IPV4_SIZE,
  ipText,
  ipWords,
  macWords,
  networkOf,
  type Prefix,
  prefixContains,
  prefixText,
} from '../wire/address.js';
import { read32 } from '../wire/octets.js';
import { PrefixTreeBuilder, type Prefix as TreePrefix } from './build-prefix-tree.js';
import { moreOutsides } from './compile-nat.js';
import type { Indices } from './indices.js';
import type { ResolvedConfig, ResolvedRouter, ResolvedRouterInterface } from './resolved.js';
import { linkLocalOf, virtualMac } from './virtual-mac.js';

const MAPPED = 0xffff;

/**
 * The MACs of routers' interfaces, by router and network. Towards the inside they are the same on every host, so that a machine
 * that moves finds its gateway again; a network's first router there is one station with its address service, whose
 * advertisements name it as the gateway. The outside address is one host's, and so is the MAC that is made of it.
 */
export function interfaceMacs(routers: ReadonlyMap<string, ResolvedRouter>): Map<ResolvedRouterInterface, Uint8Array> {
  const macs = new Map<ResolvedRouterInterface, Uint8Array>();
  const routed = new Set<string>();
  for (const [name, { interfaces }] of routers) {
    for (const one of interfaces) {
      const [first] = one.addresses;
      if (one.isExternal)
        macs.set(one, virtualMac(one.network, `${name} ${first === undefined ? '' : ipText(first.address)}`));
      else {
        macs.set(one, routed.has(one.network) ? virtualMac(one.network, name) : virtualMac(one.network));
        routed.add(one.network);
      }
    }
  }
  return macs;
}

/** What routers answer ARP and ND for, with their link-local addresses. */
export function routerAddresses(config: ResolvedConfig, indices: Indices): OwnAddress[] {
  const macs = interfaceMacs(config.routers);
  const more = new Map([...config.routers.values()].map((router) => [outerOf(router), moreOutsides(router)]));
  return [...macs].flatMap(([one, mac]) => {
    const network = indices.network(one.network);
    if (network === undefined) return [];
    const { high, low } = macWords(mac);
    const flags = OWN_ROUTER | (one.isExternal ? 0 : OWN_LOCAL);
    const addresses = [...one.addresses.map(({ address }) => address), ...(more.get(one) ?? []), linkLocalOf(mac)];
    return addresses.map((address) => ({ network, address: ipWords(address), macHigh: high, macLow: low, flags }));
  });
}

const outerOf = ({ interfaces }: ResolvedRouter) => interfaces.find(({ isExternal }) => isExternal);

interface KeptTrees {
  readonly key: string;
  readonly trees: PrefixTrees;
  readonly roots4: readonly number[];
  readonly roots6: readonly number[];
}

/** Hops while they are collected. */
interface Hop {
  readonly kind: number;
  readonly interface: number;
  readonly count: number;
  readonly group: number;
  readonly address: Uint8Array | undefined;
  readonly source: Uint8Array | undefined;
}

export class RouterCompiler {
  private kept: KeptTrees | undefined;

  /** `networkCount`: networks the tables have rows for; `mtuOf`: what a network lets pass. */
  compile(
    config: ResolvedConfig,
    indices: Indices,
    networkCount: number,
    mtuOf: (network: string) => number,
  ): RoutingTables {
    if (config.routers.size === 0) {
      this.kept = undefined;
      return NO_ROUTING;
    }
    const interfaces = interfaceRows(config, indices);
    const hops = new Hops();
    const prefixes = [...config.routers.keys()].map((name) => hopsOf(name, config, interfaces, hops));
    const { trees, roots4, roots6 } = this.treesOf(prefixes);
    const byInterface = (value: (row: InterfaceRow) => number) => shared(interfaces.map(value));
    return {
      interfaceCount: interfaces.length,
      ...networkRows(interfaces, networkCount),
      interfaceRouter: byInterface(({ router }) => router),
      interfaceNetwork: byInterface(({ network }) => network),
      interfaceMacHigh: byInterface(({ mac }) => macWords(mac).high),
      interfaceMacLow: byInterface(({ mac }) => macWords(mac).low),
      interfaceExternal: byInterface(({ resolved }) => (resolved.isExternal ? 1 : 0)),
      interfaceMtu: byInterface((row) => Math.min(mtuOf(row.resolved.network), MTU_MAX)),
      interfaceAddress4: addresses(interfaces.map((row) => addressOf(row, true))),
      interfaceAddress6: addresses(interfaces.map((row) => addressOf(row, false) ?? linkLocalOf(row.mac))),
      interfaceLinkLocal: addresses(interfaces.map(({ mac }) => linkLocalOf(mac))),
      routerTree4: shared(roots4),
      routerTree6: shared(roots6),
      trees,
      ...hops.tables(),
    };
  }

  private treesOf(routers: readonly (readonly TreePrefix[])[]): KeptTrees {
    const key = JSON.stringify(routers.map((prefixes) => prefixes.map((one) => `${prefixText(one)} ${one.value}`)));
    if (this.kept?.key === key) return this.kept;
    const builder = new PrefixTreeBuilder();
    const rootsOf = (size: number) =>
      routers.map((prefixes) => builder.add(prefixes.filter(({ address }) => address.length === size)));
    const [roots4, roots6] = [rootsOf(IPV4_SIZE), rootsOf(16)];
    this.kept = { key, trees: builder.finish(), roots4, roots6 };
    return this.kept;
  }
}

interface InterfaceRow {
  readonly index: number;
  readonly router: number;
  readonly routerName: string;
  readonly network: number;
  readonly mac: Uint8Array;
  readonly resolved: ResolvedRouterInterface;
}

/** In order of their networks, so that a network's interfaces are a part of the list. */
function interfaceRows(config: ResolvedConfig, indices: Indices): InterfaceRow[] {
  const macs = interfaceMacs(config.routers);
  const rows = [...config.routers].flatMap(([routerName, { interfaces }], router) =>
    interfaces.flatMap((resolved) => {
      const network = indices.network(resolved.network);
      const mac = macs.get(resolved);
      if (network === undefined || mac === undefined) return [];
      return [{ router, routerName, network, mac, resolved }];
    }),
  );
  return rows.sort((one, other) => one.network - other.network).map((row, index) => ({ ...row, index }));
}

function networkRows(interfaces: readonly InterfaceRow[], networkCount: number) {
  const first = new Array<number>(networkCount).fill(0);
  const count = new Array<number>(networkCount).fill(0);
  for (const { network, index } of interfaces) if (count[network]++ === 0) first[network] = index;
  return { networkInterfaces: shared(first), networkInterfaceCount: shared(count) };
}

function addressOf({ resolved }: InterfaceRow, isIpv4: boolean): Uint8Array | undefined {
  return resolved.addresses.find(({ address }) => (address.length === IPV4_SIZE) === isIpv4)?.address;
}

/** Collects hops, each once. */
class Hops {
  private readonly hops: Hop[] = [];
  private readonly numbers = new Map<string, number>();

  add(kind: number, at: number, address?: Uint8Array, source?: Uint8Array): number {
    const key = `${kind} ${at} ${address?.join('.')} ${source?.join('.')}`;
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    this.numbers.set(key, this.hops.length);
    return this.hops.push({ kind, interface: at, count: 0, group: -1, address, source }) - 1;
  }

  /** One that stands for several, which lie one after another behind it. */
  addShared(members: readonly { at: number; address: Uint8Array; source: Uint8Array | undefined }[]): number {
    const group = this.hops.length;
    const hop = { kind: HOP_SHARED, interface: group + 1, count: members.length, group: -1 };
    this.hops.push({ ...hop, address: undefined, source: undefined });
    for (const { at, address, source } of members)
      this.hops.push({ kind: HOP_VIA, interface: at, count: 0, group, address, source });
    return group;
  }

  tables() {
    return {
      hopKind: shared(this.hops.map(({ kind }) => kind)),
      hopInterface: shared(this.hops.map((hop) => hop.interface)),
      hopCount: shared(this.hops.map(({ count }) => count)),
      hopGroup: shared(this.hops.map(({ group }) => group)),
      hopAddress: addresses(this.hops.map(({ address }) => address)),
      hopSource: addresses(this.hops.map(({ source }) => source)),
    };
  }
}

/**
 * A router's prefixes with their hops. Of equal ones the later counts (build-prefix-tree.ts), so a connected network comes
 * before a static route to the same, and an address of the router's own before all.
 */
function hopsOf(name: string, config: ResolvedConfig, rows: readonly InterfaceRow[], hops: Hops): TreePrefix[] {
  const own = rows.filter(({ routerName }) => routerName === name);
  const routes = config.routers.get(name)?.routes ?? [];
  const statics = routes.map(({ to, via }) => ({ ...to, value: hopOf(via, own, hops) }));
  const connected = own.flatMap(({ index, resolved }) =>
    resolved.addresses.map((prefix) => ({
      ...networkOf(prefix),
      value: hops.add(HOP_CONNECTED, index, undefined, prefix.address),
    })),
  );
  const local = own.flatMap(({ index, resolved }) =>
    resolved.addresses.map(({ address }) => ({
      address,
      length: address.length * 8,
      value: hops.add(HOP_LOCAL, index),
    })),
  );
  return [...statics, ...connected, ...local];
}

function hopOf(via: readonly Uint8Array[], own: readonly InterfaceRow[], hops: Hops): number {
  const members = via.flatMap((address) => {
    for (const { index, resolved } of own) {
      const prefix = resolved.addresses.find((one: Prefix) => prefixContains(one, address));
      if (prefix !== undefined) return [{ at: index, address, source: prefix.address }];
    }
    return [];
  });
  const [first] = members;
  if (first === undefined) return hops.add(HOP_BLACKHOLE, -1);
  return members.length === 1 ? hops.add(HOP_VIA, first.at, first.address, first.source) : hops.addShared(members);
}

/** ADDRESS_WORDS each, in network order, IPv4 mapped; zero for none. */
function addresses(list: readonly (Uint8Array | undefined)[]): Int32Array {
  const words = list.flatMap((address) => {
    if (address === undefined) return new Array<number>(ADDRESS_WORDS).fill(0);
    if (address.length === IPV4_SIZE) return [0, 0, MAPPED, read32(address, 0)];
    return [0, 4, 8, 12].map((at) => read32(address, at));
  });
  return shared(words);
}

function shared(words: readonly number[]): Int32Array {
  const array = new Int32Array(new SharedArrayBuffer(words.length * Int32Array.BYTES_PER_ELEMENT));
  array.set(words);
  return array;
}
