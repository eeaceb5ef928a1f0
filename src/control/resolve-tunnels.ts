/**
 * Tunnels: which underlay ports the networks need, and each network's remotes and options settled. An underlay port is the
 * switch's own, one for each type of tunnel on an underlay; a network is a member of it. Pure.
 */
import {
  BFD_INTERVAL_MAX_MS,
  GENEVE_OPTION_SIZE_MAX,
  SOURCE_SOCKETS_MAX,
  TUNNEL_OPTIONS_SIZE_MAX,
  TUNNELS_MAX,
} from '../limits.js';
import { tunnelKindIndex, tunnelKinds } from '../tunnels/registry.js';
import { IPV4_SIZE, IPV6_SIZE, ipText, isMapped, parseIp, parsePrefix } from '../wire/address.js';
import { type ConfigFault, type ConfigPath, own } from './config-path.js';
import {
  type ResolvedNetwork,
  type ResolvedPort,
  type ResolvedTunnel,
  STORM_NONE,
  type TunnelType,
} from './resolved.js';
import type { Config, NetworkConfig, UnderlayConfig } from './schema.js';
import { underlayPortName } from './shown-name.js';
import { quantity } from './units.js';

export function isTunnelType(type: NetworkConfig['type']): type is TunnelType {
  return tunnelKindIndex(type) >= 0;
}

/** The network's tunnels; undefined where it has none, or where its underlay is not there (references.ts tells of that). */
export function resolveTunnel(
  name: string,
  network: NetworkConfig,
  config: Config,
  faults: ConfigFault[],
): ResolvedTunnel | undefined {
  const { type } = network;
  if (!isTunnelType(type)) return undefined;
  const options = checkOptions(name, type, network, faults);
  const underlay = network.underlay === undefined ? undefined : own(config.underlays, network.underlay);
  if (network.underlay === undefined || underlay === undefined) return undefined;
  return {
    type,
    port: underlayPortName(network.underlay, type),
    remotes: resolveRemotes(name, network, underlay, faults),
    innerVlan: network.options?.innerVlan ?? false,
    checksum: network.options?.checksum ?? false,
    sequence: network.options?.sequence ?? false,
    nvgre: network.options?.nvgre ?? false,
    mssClamp: network.mssClamp ?? false,
    options,
  };
}

/** Remotes in canonical form, each once. */
function resolveRemotes(
  name: string,
  network: NetworkConfig,
  underlay: UnderlayConfig,
  faults: ConfigFault[],
): readonly string[] {
  const local = parseIp(underlay.local);
  const found = new Set<string>();
  for (const [index, written] of (network.remotes ?? []).entries()) {
    const address = parseIp(written);
    if (address === undefined || local === undefined) continue;
    const text = ipText(address);
    const fault = found.has(text) ? `${text} is listed already` : remoteFault(address, local);
    if (fault === undefined) found.add(text);
    else faults.push({ path: ['networks', name, 'remotes', index], message: fault });
  }
  return [...found];
}

/** Why the address can't be the far end of tunnels from `local`. */
export function remoteFault(address: Uint8Array, local: Uint8Array): string | undefined {
  const fault = hostFault(address);
  if (fault !== undefined) return fault;
  if (address.length !== local.length)
    return `${ipText(address)} can't be reached from ${ipText(local)}: another IP version`;
  return ipText(address) === ipText(local) ? `${ipText(address)} is this host's own end of the tunnels` : undefined;
}

/** Why the address can't be a tunnel's end. */
function hostFault(address: Uint8Array): string | undefined {
  const text = ipText(address);
  if (isMapped(address)) return `${text} is an IPv4 address; write it as one`;
  const isGroup = address.length === IPV4_SIZE ? address[0] >= 224 : address[0] === 0xff;
  if (isGroup) return `${text} is a group address; tunnels need each remote by itself`;
  return address.every((octet) => octet === 0) ? `${text} is no address of a host` : undefined;
}

/** The options in wire form, and a fault for each wish that the type would ignore. */
function checkOptions(name: string, type: TunnelType, network: NetworkConfig, faults: ConfigFault[]): Uint8Array {
  const path = ['networks', name, 'options'];
  const { options } = network;
  for (const key of ['checksum', 'sequence', 'nvgre'] as const) {
    if (options?.[key] && type !== 'gre')
      faults.push({ path: [...path, key], message: `is for gre networks; a ${type} header has none` });
  }
  for (const key of ['checksum', 'sequence', 'innerVlan'] as const) {
    if (options?.[key] && options.nvgre && type === 'gre')
      faults.push({ path: [...path, key], message: 'is not for NVGRE, which has none (RFC 7637 section 3.2)' });
  }
  const written = options?.geneve ?? [];
  if (written.length > 0 && type !== 'geneve')
    faults.push({ path: [...path, 'geneve'], message: `is for geneve networks; a ${type} header has no options` });
  const octets = written.flatMap(geneveOption);
  if (octets.length > TUNNEL_OPTIONS_SIZE_MAX) {
    const message = `take ${octets.length} octets; at most ${TUNNEL_OPTIONS_SIZE_MAX} fit`;
    faults.push({ path: [...path, 'geneve'], code: 'limit', message });
  }
  return Uint8Array.from(octets);
}

type GeneveOption = NonNullable<NonNullable<NetworkConfig['options']>['geneve']>[number];

/** RFC 8926 section 3.5: class, type with the critical bit, three reserved bits and the length in words, data. */
function geneveOption({ class: written, type, critical, data }: GeneveOption): number[] {
  const octets = [...Buffer.from(data.slice(0, 2 * GENEVE_OPTION_SIZE_MAX), 'hex')];
  const number = Number(written);
  return [number >> 8, number & 0xff, type | (critical ? 0x80 : 0), octets.length >> 2, ...octets];
}

/** The underlay ports that the networks use, in the order of the underlays. */
export function resolveUnderlays(
  config: Config,
  networks: ReadonlyMap<string, ResolvedNetwork>,
  faults: ConfigFault[],
): Map<string, ResolvedPort> {
  const ports = new Map<string, ResolvedPort>();
  for (const [name, underlay] of Object.entries(config.underlays)) {
    checkUnderlay(name, underlay, faults);
    for (const { type } of tunnelKinds) {
      const port = resolveUnderlayPort(name, underlay, type, networks);
      if (port !== undefined) ports.set(port.intent.name, port);
    }
  }
  checkSockets(ports, faults);
  checkSourcePorts(ports, faults);
  checkSessions(config, faults);
  checkTunnelCount(ports, networks, faults);
  return ports;
}

function checkUnderlay(name: string, { local, allowFrom, bfd, driver }: UnderlayConfig, faults: ConfigFault[]): void {
  const path: ConfigPath = ['underlays', name];
  if (bfd !== undefined && quantity('duration', bfd.interval) > BFD_INTERVAL_MAX_MS)
    faults.push({
      path: [...path, 'bfd', 'interval'],
      message: `is too large; the most is ${BFD_INTERVAL_MAX_MS / 1000}s`,
    });
  const address = parseIp(local);
  if (address === undefined) return;
  const fault = hostFault(address);
  if (fault !== undefined) faults.push({ path: [...path, 'local'], message: fault });
  if (driver === 'raw-socket' && address.length !== IPV4_SIZE)
    faults.push({ path: [...path, 'driver'], message: 'raw-socket carries GRE over IPv4 only' });
  for (const [index, prefix] of (allowFrom ?? []).entries()) {
    const size = parsePrefix(prefix)?.address.length;
    if (size === undefined || size === address.length) continue;
    faults.push({
      path: [...path, 'allowFrom', index],
      message: `nobody in ${prefix} can reach ${local}: another IP version`,
    });
  }
}

function resolveUnderlayPort(
  underlayName: string,
  underlay: UnderlayConfig,
  type: TunnelType,
  networks: ReadonlyMap<string, ResolvedNetwork>,
): ResolvedPort | undefined {
  const name = underlayPortName(underlayName, type);
  const carried = [...networks].filter(([, { tunnel }]) => tunnel?.port === name);
  if (carried.length === 0) return undefined;
  const { protocol, defaultPort } = tunnelKinds[tunnelKindIndex(type)];
  const port = protocol === 'udp' ? (underlay.port ?? defaultPort) : 0;
  const remotes = new Set(carried.flatMap(([, { tunnel }]) => tunnel?.remotes ?? []));
  const { sourcePorts, ttl, dscp, allowFrom, bfd } = underlay;
  const driver = protocol === 'gre' ? underlay.driver : 'socket';
  const address = parseIp(underlay.local);
  // RFC 6936 section 4: by default receivers discard IPv6 datagrams without a checksum, as the kernel's VXLAN device does.
  const checksum = underlay.checksum ?? address?.length === IPV6_SIZE;
  const local = address === undefined ? underlay.local : ipText(address);
  return {
    intent: {
      name,
      kind: 'underlay',
      // Two ports of one device are never open at once, so an underlay that is renamed gets its sockets back.
      device: protocol === 'udp' ? `udp ${local} ${port}` : `${type} ${local}`,
      queues: 1,
      offload: 'auto',
      underlay: { type, local, port, sourcePorts, ttl, driver, checksum, remotes: [...remotes] },
    },
    enabled: true,
    mode: 'underlay',
    facesVm: false,
    uplink: true,
    // "Untagged" is what has no id: GRE without a key.
    members: carried.map(([network, { id }]) => ({ network, untagged: id === undefined })),
    isolated: false,
    guarded: false,
    macLimit: 0,
    storm: STORM_NONE,
    controlFrames: [],
    addresses: [],
    allowedPairs: [],
    allowEthertypes: [],
    underlay: {
      name: underlayName,
      dscp,
      allowFrom: allowFrom ?? [],
      joinsDatagrams: protocol === 'udp' && underlay.checksum !== false,
      ...(bfd === undefined
        ? {}
        : { bfd: { inside: bfd.inside, multiplier: bfd.multiplier, intervalMs: quantity('duration', bfd.interval) } }),
    },
  };
}

/** Two ports on one socket address would each hear some of what is the other's. */
function checkSockets(ports: ReadonlyMap<string, ResolvedPort>, faults: ConfigFault[]): void {
  const users = new Map<string, string>();
  for (const { intent, underlay } of ports.values()) {
    if (underlay === undefined) continue;
    const other = users.get(intent.device);
    if (other === undefined) users.set(intent.device, underlay.name);
    else if (other !== underlay.name) {
      const message = `${other} uses ${intent.device} already; two underlays need two addresses or ports`;
      faults.push({ path: ['underlays', underlay.name, 'local'], message });
    }
  }
}

/** Every worker knows every socket: what is too many would fail when the ports open. */
function checkSourcePorts(ports: ReadonlyMap<string, ResolvedPort>, faults: ConfigFault[]): void {
  let count = 0;
  for (const { intent, underlay } of ports.values()) {
    if (underlay === undefined || intent.underlay === undefined || intent.underlay.port === 0) continue;
    // Without checksums there are two for each port (dataplane/ports/underlay-sockets.ts).
    const own = intent.underlay.sourcePorts * (intent.underlay.checksum ? 1 : 2);
    const isWithin = count <= SOURCE_SOCKETS_MAX;
    count += own;
    if (!isWithin || count <= SOURCE_SOCKETS_MAX) continue;
    const message = `with the other underlays make ${count} sockets; at most ${SOURCE_SOCKETS_MAX} in all`;
    faults.push({ path: ['underlays', underlay.name, 'sourcePorts'], code: 'limit', message });
  }
}

/** Between two addresses there is one session beside the tunnels (RFC 5881 section 2), whose settings two underlays share. */
function checkSessions(config: Config, faults: ConfigFault[]): void {
  const users = new Map<string, { readonly name: string; readonly settings: string }>();
  for (const [name, { local, bfd }] of Object.entries(config.underlays)) {
    const address = parseIp(local);
    if (bfd === undefined || bfd.inside || address === undefined) continue;
    const user = { name, settings: `${bfd.interval} ${bfd.multiplier}` };
    const other = users.get(ipText(address));
    if (other === undefined) users.set(ipText(address), user);
    else if (other.settings !== user.settings) {
      const message = `${other.name} has the same address and other settings; there is one session to each remote`;
      faults.push({ path: ['underlays', name, 'bfd'], message });
    }
  }
}

/** Half of the table is for tunnels that are learned. An underlay port counts each of its remotes once more. */
function checkTunnelCount(
  ports: ReadonlyMap<string, ResolvedPort>,
  networks: ReadonlyMap<string, ResolvedNetwork>,
  faults: ConfigFault[],
): void {
  let count = 0;
  for (const { intent } of ports.values()) count += intent.underlay?.remotes.length ?? 0;
  for (const { tunnel } of networks.values()) count += tunnel?.remotes.length ?? 0;
  const most = TUNNELS_MAX / 2;
  if (count > most)
    faults.push({ path: ['networks'], code: 'limit', message: `${count} tunnels to remotes; at most ${most} fit` });
}
