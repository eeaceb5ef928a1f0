/**
 * From a document that fits the schema to what the switch is to do: names looked up, defaults that depend on other
 * places filled in, units turned into numbers, contradictions found. Pure; main thread.
 */

import type { PortIntent } from '../dataplane/port.js';
import {
  DEVICE_NAME_LENGTH_MAX,
  MEMBERS_MAX,
  NETWORKS_MAX,
  PORT_MAC_LIMIT_DEFAULT,
  PORTS_MAX,
  RULES_MAX,
  SOCKET_PATH_SIZE_MAX,
} from '../limits.js';
import { networkOf, parseIp, parsePrefix } from '../wire/address.js';
import { type ConfigFault, own } from './config-path.js';
import { documentOf } from './document.js';
import { danglingFaults } from './references.js';
import { aclNames, resolveAcls } from './resolve-acls.js';
import { resolveConntrack } from './resolve-conntrack.js';
import { resolveGroups } from './resolve-groups.js';
import { resolveGuard } from './resolve-guard.js';
import { type MemberContext, resolveMembers, resolveMode } from './resolve-members.js';
import { resolveNetworks } from './resolve-networks.js';
import { resolveRouters } from './resolve-routers.js';
import { resolveServices, serveSubnets } from './resolve-services.js';
import { dhcpOptions, resolveSubnets } from './resolve-subnets.js';
import { resolveUnderlays } from './resolve-tunnels.js';
import {
  type ControlProtocol,
  type ResolvedConfig,
  type ResolvedPair,
  type ResolvedPort,
  STORM_NONE,
  type StormRates,
} from './resolved.js';
import { type Config, type PortConfig, portKinds } from './schema.js';
import type { JsonValue } from './shapes.js';
import { quantity } from './units.js';
import { userError } from './validate.js';

/** Storm limits of VM ports in frames a second. */
const STORM_DEFAULT: StormRates = { broadcast: 2000, multicast: 10_000, unknownUnicast: 2000 };

/** Settles a Config. Throws a UserError with every contradiction in it. */
export function resolve(config: Config): ResolvedConfig {
  const { resolved, faults } = settle(config);
  faults.unshift(...danglingFaults(config as unknown as JsonValue));
  if (faults.length > 0) throw userError(faults, documentOf(null));
  return resolved;
}

/** As resolve, but names that are not there are passed over, so that it works on the sound part of a document. */
export function settle(config: Config): { resolved: ResolvedConfig; faults: ConfigFault[] } {
  const faults: ConfigFault[] = [];
  const networks = resolveNetworks(config, faults);
  const context: MemberContext = {
    config,
    byUplink: networksByUplink(config),
    tunnelTpids: tunnelTpids(config, faults),
    faults,
  };
  const ports = new Map<string, ResolvedPort>();
  for (const [name, port] of Object.entries(config.ports)) {
    const resolved = resolvePort(name, port, context);
    if (resolved !== undefined) ports.set(name, resolved);
  }
  for (const [name, port] of resolveUnderlays(config, networks, faults)) ports.set(name, port);
  const groups = resolveGroups(config, faults);
  const services = resolveServices(config, faults);
  const subnets = serveSubnets(config, resolveSubnets(config, faults), services);
  const acls = resolveAcls(config, faults);
  const routers = resolveRouters(config, faults);
  checkDevices(config, faults);
  checkCounts(ports, networks.size, faults);
  checkRuleCount(acls, groups, faults);
  const { workers, limits, conntrack, fragments: written, neighbors } = config.settings;
  const rates = {
    icmpErrorRate: quantity('packetRate', limits.icmpErrors),
    arpReplyRate: quantity('packetRate', limits.arp),
    dhcpRate: quantity('packetRate', limits.dhcp),
    dnsRate: quantity('packetRate', limits.dns),
  };
  const fragments = {
    datagrams: written.datagrams,
    perPort: written.perPort,
    timeoutSeconds: Math.ceil(quantity('duration', written.timeout) / 1000),
  };
  return {
    resolved: {
      workers,
      limits: rates,
      fragments,
      conntrack: resolveConntrack(conntrack),
      ports,
      networks,
      acls,
      groups,
      subnets,
      services,
      neighbors,
      routers,
    },
    faults,
  };
}

function networksByUplink(config: Config): Map<string, string[]> {
  const byUplink = new Map<string, string[]>();
  for (const [name, { uplink }] of Object.entries(config.networks)) {
    if (uplink === undefined) continue;
    const networks = byUplink.get(uplink);
    if (networks === undefined) byUplink.set(uplink, [name]);
    else networks.push(name);
  }
  return byUplink;
}

/** The TPID each network with tunnel ports is sent with on uplinks: one for the network, so its ports must agree. */
function tunnelTpids(config: Config, faults: ConfigFault[]): Map<string, number> {
  const first = new Map<string, { tpid: number; port: string }>();
  for (const [port, { tunnel }] of Object.entries(config.ports)) {
    if (tunnel === undefined) continue;
    const tpid = Number(tunnel.tpid);
    const other = first.get(tunnel.network);
    if (other === undefined) first.set(tunnel.network, { tpid, port });
    else if (other.tpid !== tpid) {
      const message = `${other.port} tunnels in ${tunnel.network} with TPID 0x${other.tpid.toString(16)}; a network has one`;
      faults.push({ path: ['ports', port, 'tunnel', 'tpid'], message });
    }
  }
  return new Map([...first].map(([network, { tpid }]) => [network, tpid]));
}

function resolvePort(name: string, port: PortConfig, context: MemberContext): ResolvedPort | undefined {
  checkKind(name, port, context.faults);
  const mode = resolveMode(name, port, context.faults);
  if (mode === undefined) return undefined;
  const uplink = port.trunk === 'auto' || context.byUplink.has(name);
  const facesVm = portKinds[port.kind].facesVm && !uplink;
  const guard = resolveGuard(name, port, mode, uplink, context.faults);
  return {
    intent: intentOf(name, port),
    enabled: port.enabled,
    mode,
    uplink,
    facesVm,
    members: resolveMembers(name, port, mode, uplink, context),
    ...(port.tunnel?.allowed !== undefined && { innerVids: [...new Set(port.tunnel.allowed)] }),
    isolated: port.isolated,
    guarded: port.antiSpoof,
    ...(guard !== undefined && { guard }),
    macLimit: port.macLimit === 'none' ? 0 : (port.macLimit ?? (uplink ? 0 : PORT_MAC_LIMIT_DEFAULT)),
    storm: stormRates(port, facesVm ? STORM_DEFAULT : STORM_NONE),
    controlFrames: (Object.keys(port.controlFrames) as ControlProtocol[]).filter(
      (protocol) => port.controlFrames[protocol] === 'forward',
    ),
    ...(port.mac !== undefined && { mac: port.mac }),
    addresses: port.addresses ?? [],
    acl: aclNames(port.acl, context.config.acls),
    ...(port.groups !== undefined && { groups: [...new Set(port.groups)] }),
    allowedPairs: (port.allowedPairs ?? []).map(resolvePair),
    allowEthertypes: (port.allowEthertypes ?? []).map(Number),
    ...(port.instance !== undefined && { instance: port.instance }),
    ...(port.dhcp?.options !== undefined && {
      dhcpOptions: dhcpOptions(port.dhcp.options, ['ports', name, 'dhcp', 'options'], context.faults),
    }),
  };
}

function resolvePair({ ip, mac }: { readonly ip: string; readonly mac?: string | undefined }): ResolvedPair {
  const address = parseIp(ip);
  const prefix = address === undefined ? parsePrefix(ip) : { address, length: address.length * 8 };
  if (prefix === undefined) throw new TypeError(`unvalidated address: ${ip}`);
  return { prefix: networkOf(prefix), ...(mac !== undefined && { mac }) };
}

function intentOf(name: string, port: PortConfig): PortIntent {
  return {
    name,
    kind: port.kind,
    device: port.device ?? name,
    ...(port.path !== undefined && { path: port.path }),
    ...(port.mtu !== undefined && { mtu: port.mtu }),
    queues: port.queues,
    offload: port.offload,
  };
}

function stormRates({ storm }: PortConfig, defaults: StormRates): StormRates {
  const rate = (written: string | undefined, otherwise: number) => {
    if (written === undefined) return otherwise;
    return written === 'none' ? 0 : quantity('packetRate', written);
  };
  return {
    broadcast: rate(storm.broadcast, defaults.broadcast),
    multicast: rate(storm.multicast, defaults.multicast),
    unknownUnicast: rate(storm.unknownUnicast, defaults.unknownUnicast),
  };
}

/** Keys that belong to another kind, and what one kind needs. */
function checkKind(name: string, port: PortConfig, faults: ConfigFault[]): void {
  const path = ['ports', name];
  const isSocket = port.kind === 'qemu';
  if (isSocket && port.path === undefined) {
    faults.push({ path, message: 'a qemu port needs path: the Unix socket that QEMU connects to' });
  }
  if (!isSocket && port.path !== undefined) {
    faults.push({ path: [...path, 'path'], message: `a ${port.kind} port has no path; it is for qemu ports` });
  }
  if (port.path !== undefined && Buffer.byteLength(port.path) > SOCKET_PATH_SIZE_MAX) {
    const message = `is longer than the ${SOCKET_PATH_SIZE_MAX} octets a Unix socket's path can have`;
    faults.push({ path: [...path, 'path'], message });
  }
  if (port.queues > 1 && (isSocket || port.kind === 'pcap')) {
    faults.push({ path: [...path, 'queues'], message: `a ${port.kind} port has one queue` });
  }
}

const isInterface = (kind: PortConfig['kind']) => kind === 'tap' || kind === 'netdev' || kind === 'pcap';

/** Names of interfaces, and that no two ports share a device. */
function checkDevices(config: Config, faults: ConfigFault[]): void {
  const users = new Map<string, string>();
  for (const [name, port] of Object.entries(config.ports)) {
    const device = port.device ?? name;
    const key = isInterface(port.kind) ? 'device' : port.kind === 'qemu' ? 'path' : undefined;
    if (isInterface(port.kind) && device.length > DEVICE_NAME_LENGTH_MAX) {
      const path = port.device === undefined ? ['ports', name] : ['ports', name, 'device'];
      const fix = port.device === undefined ? '; give a shorter one as device' : '';
      const message = `an interface can't be called ${device}: more than ${DEVICE_NAME_LENGTH_MAX} characters${fix}`;
      faults.push({ path, message });
    }
    const value = key === 'path' ? port.path : device;
    if (key === undefined || value === undefined) continue;
    const other = users.get(`${key} ${value}`);
    if (other === undefined) users.set(`${key} ${value}`, name);
    else {
      const path = own(port as Record<string, unknown>, key) === undefined ? ['ports', name] : ['ports', name, key];
      faults.push({ path, message: `${other} uses the ${key} ${value} already` });
    }
  }
}

/** Both are counted under one row of numbers; a group takes one more than it has rules, as an ACL does for its default. */
function checkRuleCount(acls: ResolvedConfig['acls'], groups: ResolvedConfig['groups'], faults: ConfigFault[]): void {
  const countOf = (sets: Iterable<{ readonly rules: readonly unknown[] }>) =>
    [...sets].reduce((sum, { rules }) => sum + rules.length + 1, 0);
  const [ofAcls, ofGroups] = [countOf(acls.values()), countOf(groups.values())];
  if (ofAcls + ofGroups <= RULES_MAX) return;
  const message = `${ofAcls} rules of ACLs and ${ofGroups} of groups, one more for each of these; at most ${RULES_MAX} fit`;
  faults.push({ path: [ofGroups > ofAcls ? 'groups' : 'acls'], code: 'limit', message });
}

function checkCounts(ports: ReadonlyMap<string, ResolvedPort>, networkCount: number, faults: ConfigFault[]): void {
  let members = 0;
  for (const port of ports.values()) members += port.members.length;
  const check = (section: string, count: number, most: number, noun: string) => {
    if (count > most) faults.push({ path: [section], code: 'limit', message: `${count} ${noun}; at most ${most} fit` });
  };
  check('ports', ports.size, PORTS_MAX, 'ports');
  check('networks', networkCount, NETWORKS_MAX, 'networks');
  check('ports', members, MEMBERS_MAX, 'memberships of ports in networks');
}
