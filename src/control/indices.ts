/**
 * The numbers by which the dataplane knows ports, networks and members. A number stays with its object for as long as
 * the object exists, over snapshots and restarts: counters and FDB entries are kept under it. It is given to another
 * object only after the dataplane let go of the old one, or a new port would inherit a dead one's addresses.
 *
 * Values of this class never change; allocate and release make new ones, so a refused change leaves nothing behind.
 * Main thread.
 */
import { UserError } from '../errors.js';
import { MEMBERS_MAX, NETWORKS_MAX, OUTSIDES_MAX, PORTS_MAX, ROUTERS_MAX } from '../limits.js';
import { IPV4_SIZE, ipText } from '../wire/address.js';
import { isConfigObject } from './config-path.js';
import type { ResolvedConfig, ResolvedRouter } from './resolved.js';

type Table = ReadonlyMap<string, number>;

/** As JSON: the names in the order of their indices, null where none is. A member is `port network`. */
export interface SavedIndices {
  readonly ports: readonly (string | null)[];
  readonly networks: readonly (string | null)[];
  readonly members: readonly (string | null)[];
  /** Absent in what older versions saved. An outside address is `router address`. */
  readonly routers?: readonly (string | null)[];
  readonly outsides?: readonly (string | null)[];
}

/** Names hold no space, so this is unambiguous. */
const memberKey = (port: string, network: string) => `${port} ${network}`;

export class Indices {
  readonly ports: Table;
  readonly networks: Table;
  readonly members: Table;

  readonly routers: Table;
  /** Of routers' outside addresses whose ports are given away. */
  readonly outsides: Table;

  constructor(
    ports: Table = new Map(),
    networks: Table = new Map(),
    members: Table = new Map(),
    routers: Table = new Map(),
    outsides: Table = new Map(),
  ) {
    this.ports = ports;
    this.networks = networks;
    this.members = members;
    this.routers = routers;
    this.outsides = outsides;
  }

  port(name: string): number | undefined {
    return this.ports.get(name);
  }

  network(name: string): number | undefined {
    return this.networks.get(name);
  }

  member(port: string, network: string): number | undefined {
    return this.members.get(memberKey(port, network));
  }

  router(name: string): number | undefined {
    return this.routers.get(name);
  }

  routerName(index: number): string | undefined {
    for (const [name, one] of this.routers) if (one === index) return name;
    return undefined;
  }

  outside(router: string, address: Uint8Array): number | undefined {
    return this.outsides.get(outsideKey(router, address));
  }

  /** With an index for everything in the configuration; what is there keeps its own. Throws a UserError at a limit. */
  allocate(config: ResolvedConfig): Indices {
    return new Indices(
      withNames(this.ports, config.ports.keys(), PORTS_MAX, 'ports'),
      withNames(this.networks, config.networks.keys(), NETWORKS_MAX, 'networks'),
      withNames(this.members, memberKeys(config), MEMBERS_MAX, 'memberships of ports in networks'),
      withNames(this.routers, config.routers.keys(), ROUTERS_MAX, 'routers'),
      withNames(this.outsides, outsideKeys(config), OUTSIDES_MAX, 'outside addresses of routers that hide the inside'),
    );
  }

  /** Only what is in the configuration; call it once no worker forwards by, or has state under, anything older. */
  release(config: ResolvedConfig): Indices {
    const members = new Set(memberKeys(config));
    const outsides = new Set(outsideKeys(config));
    return new Indices(
      onlyThose(this.ports, (name) => config.ports.has(name)),
      onlyThose(this.networks, (name) => config.networks.has(name)),
      onlyThose(this.members, (name) => members.has(name)),
      onlyThose(this.routers, (name) => config.routers.has(name)),
      onlyThose(this.outsides, (name) => outsides.has(name)),
    );
  }

  toJSON(): SavedIndices {
    return {
      ports: byIndex(this.ports),
      networks: byIndex(this.networks),
      members: byIndex(this.members),
      routers: byIndex(this.routers),
      outsides: byIndex(this.outsides),
    };
  }
}

/** Reads what toJSON wrote; undefined if it is anything else. */
export function readIndices(saved: unknown): Indices | undefined {
  if (!isConfigObject(saved)) return undefined;
  const ports = tableOf(saved.ports, PORTS_MAX);
  const networks = tableOf(saved.networks, NETWORKS_MAX);
  const members = tableOf(saved.members, MEMBERS_MAX);
  const routers = tableOf(saved.routers ?? [], ROUTERS_MAX);
  const outsides = tableOf(saved.outsides ?? [], OUTSIDES_MAX);
  if (!ports || !networks || !members || !routers || !outsides) return undefined;
  return new Indices(ports, networks, members, routers, outsides);
}

const outsideKey = (router: string, address: Uint8Array) => `${router} ${ipText(address)}`;

function* outsideKeys(config: ResolvedConfig): Generator<string> {
  for (const [name, router] of config.routers)
    for (const address of hidingAddresses(router)) yield outsideKey(name, address);
}

/** The router's own outside addresses that inside ones are hidden behind. */
export function hidingAddresses({ external, interfaces }: ResolvedRouter): Uint8Array[] {
  if (external?.snat !== true) return [];
  const outer = interfaces.find(({ isExternal }) => isExternal);
  return (outer?.addresses ?? []).map(({ address }) => address).filter(({ length }) => length === IPV4_SIZE);
}

function* memberKeys(config: ResolvedConfig): Generator<string> {
  for (const [name, port] of config.ports) for (const { network } of port.members) yield memberKey(name, network);
}

/** New names get the lowest free indices, so that arrays by index stay as short as they can. */
function withNames(table: Table, names: Iterable<string>, most: number, noun: string): Table {
  const grown = new Map(table);
  const used = new Set(table.values());
  let free = 0;
  for (const name of names) {
    if (grown.has(name)) continue;
    while (used.has(free)) free++;
    if (free >= most) {
      const message = `no room for more ${noun}: at most ${most}, counting those being removed just now`;
      throw new UserError([{ code: 'limit', message }]);
    }
    grown.set(name, free++);
  }
  return grown;
}

function onlyThose(table: Table, stays: (name: string) => boolean): Table {
  return new Map([...table].filter(([name]) => stays(name)));
}

function byIndex(table: Table): (string | null)[] {
  const names: (string | null)[] = [];
  for (const [name, index] of table) {
    while (names.length <= index) names.push(null);
    names[index] = name;
  }
  return names;
}

function tableOf(names: unknown, most: number): Table | undefined {
  if (!Array.isArray(names) || names.length > most) return undefined;
  const table = new Map<string, number>();
  for (const [index, name] of names.entries()) {
    if (name === null) continue;
    if (typeof name !== 'string' || table.has(name)) return undefined;
    table.set(name, index);
  }
  return table;
}
