/** What must hold for networks and underlays beyond the schema, and networks with their numbers settled. Pure. */
import { type ConfigFault, own } from './config-path.js';
import { aclNames } from './resolve-acls.js';
import { isTunnelType, resolveTunnel } from './resolve-tunnels.js';
import type { ResolvedNetwork } from './resolved.js';
import type { Config, NetworkConfig } from './schema.js';
import { quantity } from './units.js';

const VNI_MAX = 0xff_ffff;

export function resolveNetworks(config: Config, faults: ConfigFault[]): Map<string, ResolvedNetwork> {
  const resolved = new Map<string, ResolvedNetwork>();
  for (const [name, network] of Object.entries(config.networks)) {
    checkKeysOfType(name, network, faults);
    checkId(name, network, faults);
    checkUplink(name, network, config, faults);
    const tunnel = resolveTunnel(name, network, config, faults);
    resolved.set(name, {
      type: network.type,
      ...(network.id !== undefined && { id: network.id }),
      ...(network.uplink !== undefined && { uplink: network.uplink }),
      ...(network.mtu !== undefined && { mtu: network.mtu }),
      ...(tunnel !== undefined && { tunnel }),
      learning: network.learning,
      suppressesArp: network.arpSuppression,
      macAgeSeconds: Math.ceil(quantity('duration', network.macAge) / 1000),
      macLimit: network.macLimit,
      acl: aclNames(network.acl, config.acls),
    });
  }
  checkOverlap(config, faults);
  checkUnderlays(config, faults);
  return resolved;
}

/** Keys that make no sense for the type; a wish that would be ignored is an error. */
function checkKeysOfType(name: string, network: NetworkConfig, faults: ConfigFault[]): void {
  const tunnels = isTunnelType(network.type);
  const misplaced = {
    id: network.type === 'local' || network.type === 'flat',
    uplink: network.type !== 'flat' && network.type !== 'vlan',
    underlay: !tunnels,
    remotes: !tunnels,
    options: !tunnels,
    mssClamp: !tunnels,
  };
  for (const key of ['id', 'uplink', 'underlay', 'remotes', 'options', 'mssClamp'] as const) {
    if (network[key] === undefined || !misplaced[key]) continue;
    faults.push({ path: ['networks', name, key], message: `a ${network.type} network has no ${key}; remove it` });
  }
  if (tunnels && network.underlay === undefined) {
    faults.push({
      path: ['networks', name],
      message: `a ${network.type} network needs underlay: an entry of underlays`,
    });
  }
}

function checkId(name: string, network: NetworkConfig, faults: ConfigFault[]): void {
  const { type, id } = network;
  const path = ['networks', name];
  if (type === 'vlan') {
    if (id === undefined) faults.push({ path, message: 'a vlan network needs id: its VID, 1 to 4094' });
    else if (id < 1 || id > 4094)
      faults.push({ path: [...path, 'id'], message: `${id} is not a VID; expected 1 to 4094` });
  }
  if (type === 'gre' && network.options?.nvgre === true) {
    if (id === undefined) faults.push({ path, message: 'an NVGRE network needs id: its VSID' });
    else if (id > VNI_MAX)
      faults.push({ path: [...path, 'id'], message: `${id} is not a VSID; expected 0 to ${VNI_MAX}` });
  }
  if (type !== 'vxlan' && type !== 'geneve') return;
  if (id === undefined) faults.push({ path, message: `a ${type} network needs id: its VNI` });
  else if (id > VNI_MAX)
    faults.push({ path: [...path, 'id'], message: `${id} is not a VNI; expected 0 to ${VNI_MAX}` });
}

/** A network that is never sent to the uplink it names would be cut off in silence. */
function checkUplink(name: string, network: NetworkConfig, config: Config, faults: ConfigFault[]): void {
  if (network.uplink === undefined) return;
  const port = own(config.ports, network.uplink);
  if (port === undefined || port.trunk === 'auto') return;
  const listed = port.trunk?.map((entry) => (typeof entry === 'string' ? entry : entry.network)) ?? [];
  if ([port.network, port.native, port.tunnel?.network, ...listed].includes(name)) return;
  const message = `${network.uplink} does not carry ${name}; make it trunk: auto, or list ${name} in its trunk`;
  faults.push({ path: ['networks', name, 'uplink'], message });
}

/** Where networks of one id would be one on the wire: the VIDs of an uplink, the ids of one type on an underlay. */
function checkOverlap(config: Config, faults: ConfigFault[]): void {
  const first = new Map<string, string>();
  // A VSID has all keys that begin with it.
  const vsids = new Map<string, string>();
  for (const [name, { type, id, underlay, options }] of Object.entries(config.networks))
    if (type === 'gre' && options?.nvgre === true) vsids.set(`${underlay} ${id}`, name);
  for (const [name, { type, id, uplink, underlay, options }] of Object.entries(config.networks)) {
    const vsid = options?.nvgre === true || id === undefined ? undefined : vsids.get(`${underlay} ${id >>> 8}`);
    if (type === 'gre' && vsid !== undefined)
      faults.push({ path: ['networks', name, 'id'], message: `key ${id} is one of the VSID of ${vsid}` });
    const auto = uplink !== undefined && own(config.ports, uplink)?.trunk === 'auto';
    const wire = type === 'vlan' && auto ? uplink : isTunnelType(type) ? underlay : undefined;
    if (wire === undefined || (id === undefined && type !== 'gre')) continue;
    const key = `${type} ${options?.nvgre === true ? 'nvgre' : ''} ${wire} ${id ?? 'no key'}`;
    const other = first.get(key);
    if (other === undefined) first.set(key, name);
    else
      faults.push({
        path: ['networks', name, 'id'],
        message: `${other} has ${type} id ${id ?? '(none)'} on ${wire} already`,
      });
  }
}

function checkUnderlays(config: Config, faults: ConfigFault[]): void {
  const udpTypes = new Map<string, { type: string; name: string }>();
  for (const [name, { type, underlay }] of Object.entries(config.networks)) {
    if (underlay === undefined || (type !== 'vxlan' && type !== 'geneve')) continue;
    const first = udpTypes.get(underlay);
    if (first === undefined) udpTypes.set(underlay, { type, name });
    else if (first.type !== type && own(config.underlays, underlay)?.port !== undefined) {
      const message = `${first.name} (${first.type}) uses the port of ${underlay}; a ${type} network needs another underlay`;
      faults.push({ path: ['networks', name, 'underlay'], message });
    }
  }
  // Drops and FDB entries name a port or an underlay in one column.
  for (const name of Object.keys(config.underlays)) {
    if (Object.hasOwn(config.ports, name)) {
      faults.push({ path: ['underlays', name], message: `a port is called ${name} too; the two share one name space` });
    }
  }
}
