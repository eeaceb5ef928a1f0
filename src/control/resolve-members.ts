/**
 * Which networks a port carries, and how: the VLAN rules of the configuration reference ("Layer 2"). Pure.
 *
 * A member's VID is its `vlan`, else its network's id if that is a vlan network. The native network is carried untagged
 * though not listed, and its VID is accepted tagged as well. A port says its mode: none of network, trunk and tunnel is
 * an error, because a trunk of everything by omission is how tenants end up in each other's networks.
 */
import type { ConfigFault, ConfigPath } from './config-path.js';
import { own } from './config-path.js';
import { type PortMode, type ResolvedMember, TPID_CUSTOMER } from './resolved.js';
import type { Config, NetworkConfig, PortConfig } from './schema.js';

/** What members of a port need to know of the rest of the document. */
export interface MemberContext {
  readonly config: Config;
  /** Networks that name a port as their uplink, by port. */
  readonly byUplink: ReadonlyMap<string, readonly string[]>;
  /** TPID of networks with tunnel ports. */
  readonly tunnelTpids: ReadonlyMap<string, number>;
  readonly faults: ConfigFault[];
}

/** A trunk's network before its tag is settled. */
interface Carried {
  readonly network: string;
  readonly path: ConfigPath;
  readonly vid?: number;
  readonly native: boolean;
}

export function resolveMode(name: string, port: PortConfig, faults: ConfigFault[]): PortMode | undefined {
  const modes = (['network', 'trunk', 'tunnel'] as const).filter((mode) => port[mode] !== undefined);
  const path = ['ports', name];
  if (modes.length === 0) {
    faults.push({ path, message: 'says no network; give exactly one of network, trunk (perhaps auto) or tunnel' });
  }
  if (modes.length > 1) {
    faults.push({ path, message: `has ${modes.join(' and ')}; exactly one of network, trunk and tunnel is allowed` });
  }
  if (port.trunk === undefined && modes.length > 0) {
    if (port.native !== undefined) faults.push({ path: [...path, 'native'], message: 'is only for trunks' });
    if (port.nativeTagged) faults.push({ path: [...path, 'nativeTagged'], message: 'is only for trunks' });
  }
  if (modes.length !== 1) return undefined;
  return modes[0] === 'network' ? 'access' : modes[0];
}

/** Members of a port of this mode. Names that do not exist are left out: references.ts reports them. */
export function resolveMembers(
  name: string,
  port: PortConfig,
  mode: PortMode,
  uplink: boolean,
  context: MemberContext,
): ResolvedMember[] {
  const { networks } = context.config;
  if (mode === 'trunk') return resolveTrunk(name, port, uplink, context);
  const network = mode === 'access' ? port.network : port.tunnel?.network;
  return network !== undefined && Object.hasOwn(networks, network) ? [{ network, untagged: true }] : [];
}

function resolveTrunk(name: string, port: PortConfig, uplink: boolean, context: MemberContext): ResolvedMember[] {
  const listed = port.trunk === 'auto' ? autoMembers(name, context) : listedMembers(name, port, context);
  const carried = withNative(name, port, listed, context);
  checkUnique(carried, context);
  const tagged = (each: Carried): ResolvedMember['tag'] => {
    if (each.vid === undefined || (each.native && !port.nativeTagged)) return undefined;
    const service = uplink ? context.tunnelTpids.get(each.network) : undefined;
    return { tpid: service ?? TPID_CUSTOMER, vid: each.vid };
  };
  return carried.map((each) => {
    const tag = tagged(each);
    return {
      network: each.network,
      untagged: each.native,
      ...(each.vid !== undefined && { vid: each.vid }),
      ...(tag !== undefined && { tag }),
    };
  });
}

/** The VID a network has by itself. */
function ownVid(network: NetworkConfig | undefined): number | undefined {
  return network?.type === 'vlan' && network.id !== undefined && network.id <= 4094 ? network.id : undefined;
}

function carriedBy(network: string, path: ConfigPath, vid: number | undefined, native: boolean): Carried {
  return vid === undefined ? { network, path, native } : { network, path, vid, native };
}

/** `trunk: auto`: every vlan network that names the port, by its id; a flat one untagged. */
function autoMembers(name: string, context: MemberContext): Carried[] {
  const { config, byUplink, faults } = context;
  const carried: Carried[] = [];
  for (const network of byUplink.get(name) ?? []) {
    const { type } = config.networks[network];
    const vid = ownVid(config.networks[network]);
    const flat = carried.find(({ native }) => native);
    const path = ['networks', network, 'uplink'];
    if (type === 'flat' && flat !== undefined) {
      faults.push({
        path,
        message: `${name} carries ${flat.network} untagged already; only one flat network fits an uplink`,
      });
    } else if (type === 'flat' || vid !== undefined) {
      carried.push(carriedBy(network, path, vid, type === 'flat'));
    }
  }
  return carried;
}

function listedMembers(name: string, port: PortConfig, { config, faults }: MemberContext): Carried[] {
  if (port.trunk === undefined || port.trunk === 'auto') return [];
  return port.trunk.flatMap((entry, index) => {
    const path = ['ports', name, 'trunk', index];
    const network = typeof entry === 'string' ? entry : entry.network;
    const found = own(config.networks, network);
    if (found === undefined) return [];
    const vid = typeof entry === 'string' ? ownVid(found) : entry.vlan;
    if (vid === undefined && network !== port.native && found.type !== 'vlan') {
      const fix = `{ network: ${network}, vlan: VID }`;
      faults.push({ path, message: `${network} is a ${found.type} network and has no VID of its own; write ${fix}` });
    }
    return [carriedBy(network, path, vid, false)];
  });
}

/** Marks the native network among the members, or adds it. */
function withNative(name: string, port: PortConfig, listed: Carried[], context: MemberContext): Carried[] {
  const { native } = port;
  const { config, faults } = context;
  const path = ['ports', name, 'native'];
  const flat = listed.find((each) => each.native);
  if (native === undefined) {
    if (port.nativeTagged) faults.push({ path: ['ports', name, 'nativeTagged'], message: 'needs native: NETWORK' });
    return listed;
  }
  const found = own(config.networks, native);
  if (found === undefined) return listed;
  if (flat !== undefined && flat.network !== native) {
    faults.push({ path, message: `${flat.network} is carried untagged already, being flat with this port as uplink` });
    return listed;
  }
  const index = listed.findIndex(({ network }) => network === native);
  const vid = index < 0 ? ownVid(found) : listed[index].vid;
  if (port.nativeTagged && vid === undefined) {
    const message = `${native} has no VID to leave with; write { network: ${native}, vlan: VID } in trunk`;
    faults.push({ path: ['ports', name, 'nativeTagged'], message });
  }
  if (index < 0) return [...listed, carriedBy(native, path, vid, true)];
  return listed.with(index, carriedBy(native, listed[index].path, vid, true));
}

/** One network once, one VID once. */
function checkUnique(carried: readonly Carried[], { faults }: MemberContext): void {
  const byNetwork = new Set<string>();
  const byVid = new Map<number, string>();
  for (const { network, vid, path } of carried) {
    if (byNetwork.has(network)) {
      faults.push({ path, message: `${network} is carried by this trunk already` });
      continue;
    }
    byNetwork.add(network);
    if (vid === undefined) continue;
    const other = byVid.get(vid);
    if (other === undefined) byVid.set(vid, network);
    else faults.push({ path, message: `VID ${vid} is that of ${other} on this trunk already` });
  }
}
