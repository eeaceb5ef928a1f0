/**
 * The resolved configuration as the flat arrays that workers forward by. All arrays of a snapshot lie in one
 * SharedArrayBuffer, each as long as the highest index in use needs. Main thread; a snapshot of 1,000 ports takes a few
 * milliseconds, most of it for VID tables.
 *
 * A port that is disabled, absent or down is CLOSED. It stays a member of its networks, so a frame to a station that was
 * learned behind it is a drop `port_down` that can be explained; but it is not in networkMembers: a flood passes over it
 * uncounted, as a bridge does with a port without carrier.
 */
import type { OpenPort } from '../dataplane/port.js';
import { NO_NAT } from '../pipeline/nat-tables.js';
import { NO_ROUTING } from '../pipeline/routing-tables.js';
import {
  CONTROL_CFM,
  CONTROL_LACP,
  CONTROL_LLDP,
  CONTROL_OTHER,
  CONTROL_PAUSE,
  CONTROL_STP,
  NETWORK_INNER_VLAN,
  NETWORK_LEARNS,
  NETWORK_ROUTED,
  NETWORK_SUPPRESSES_ARP,
  POLICY_FRAGMENTS,
  POLICY_GUARD,
  POLICY_READ,
  PORT_ACCESS,
  PORT_BFD_INSIDE,
  PORT_CLOSED,
  PORT_FACES_VM,
  PORT_GUARDED,
  PORT_INNER_VIDS,
  PORT_ISOLATED,
  PORT_NATIVE_UNTAGGED,
  PORT_TAKES_CHECKSUM,
  PORT_TAKES_TCP4,
  PORT_TAKES_TCP6,
  PORT_TAKES_UDP,
  PORT_TRUNK,
  PORT_TUNNEL,
  PORT_UNDERLAY,
  PORT_UPLINK,
  type Snapshot,
  STORM_BROADCAST,
  STORM_MULTICAST,
  STORM_UNKNOWN_UNICAST,
} from '../pipeline/snapshot.js';
import { AclCompiler, setAclPolicy } from './compile-acls.js';
import { GroupCompiler, markGroupPolicy } from './compile-groups.js';
import { compileGuard } from './compile-guard.js';
import { compileNat, natNetworks } from './compile-nat.js';
import { compileOverlay, type RemotesOf } from './compile-overlay.js';
import { RouterCompiler } from './compile-routers.js';
import { compileSubnets, servesFlags } from './compile-subnets.js';
import type { Indices } from './indices.js';
import { networkMtu } from './overlay-mtu.js';
import type { ControlProtocol, PortMode, ResolvedConfig, ResolvedMember, ResolvedPort } from './resolved.js';

/** What is known of a port that is open and whose link is up. */
export type UpPort = Pick<OpenPort, 'mtu' | 'features'>;

const VIDS = 4096;
const VID_SET_WORDS = VIDS / 32;

const modeNumbers: Readonly<Record<PortMode, number>> = {
  access: PORT_ACCESS,
  trunk: PORT_TRUNK,
  tunnel: PORT_TUNNEL,
  underlay: PORT_UNDERLAY,
};

const controlBits: Readonly<Record<ControlProtocol, number>> = {
  stp: CONTROL_STP,
  lacp: CONTROL_LACP,
  lldp: CONTROL_LLDP,
  cfm: CONTROL_CFM,
  pause: CONTROL_PAUSE,
  other: CONTROL_OTHER,
};

/**
 * Compiles. `indices` has everything in `config` (Indices.allocate); `upPort` says what is known of a port that is up,
 * undefined for one that is not. `epoch` is the new snapshot's number, `remotesOf` gives the numbers of tunnels. `groups` and
 * `acls` keep what they compiled for the snapshot before.
 */
export function compile(
  config: ResolvedConfig,
  indices: Indices,
  upPort: (name: string) => UpPort | undefined,
  epoch: number,
  remotesOf: RemotesOf = () => [],
  groups: GroupCompiler = new GroupCompiler(),
  acls: AclCompiler = new AclCompiler(),
  routers: RouterCompiler = new RouterCompiler(),
): Snapshot {
  acls.numbers.begin();
  const empty = emptySnapshot(config, indices, epoch, remotesOf, groups, acls);
  const tables = { vids: 0, innerVids: 0 };
  const capOf = (network: string) => mtuCap(network, config, upPort);
  const routing = routers.compile(config, indices, empty.networkFlags.length, capOf);
  const snapshot = { ...empty, routing, nat: compileNat(config, indices) };
  compileNetworks(snapshot, config, indices, capOf);
  for (const [name, port] of config.ports) {
    const up = port.enabled ? upPort(name) : undefined;
    compilePort(snapshot, indices, name, port, up, capOf, tables);
  }
  setAclPolicy(snapshot, config, indices);
  listMembers(snapshot);
  markGroupPolicy(snapshot, config, indices);
  markRouted(snapshot);
  // Later fragments are translated by the ports of their first one.
  for (const network of natNetworks(config, indices)) snapshot.networkPolicy[network] |= POLICY_FRAGMENTS;
  const { portPolicy, networkPolicy } = snapshot;
  const policies = [...portPolicy, ...networkPolicy].reduce((all, bits) => all | bits, 0);
  return { ...snapshot, policies };
}

/**
 * What a router is to take has to be read. Where anybody in its networks judges fragments by their first one, it must be
 * followed wherever it comes from.
 */
function markRouted(snapshot: Snapshot): void {
  const { routing, networkFlags, networkPolicy } = snapshot;
  const judging = networksThatFollowFragments(snapshot);
  const routers = new Set(
    [...routing.interfaceNetwork].flatMap((network, at) => (judging.has(network) ? [routing.interfaceRouter[at]] : [])),
  );
  for (const [at, network] of routing.interfaceNetwork.entries()) {
    networkFlags[network] |= NETWORK_ROUTED;
    networkPolicy[network] |= POLICY_READ | (routers.has(routing.interfaceRouter[at]) ? POLICY_FRAGMENTS : 0);
  }
}

function networksThatFollowFragments({ memberPort, memberNetwork, portPolicy, networkPolicy }: Snapshot): Set<number> {
  const networks = new Set<number>();
  for (const [member, port] of memberPort.entries())
    if (port >= 0 && (portPolicy[port] & POLICY_FRAGMENTS) !== 0) networks.add(memberNetwork[member]);
  for (const [network, policy] of networkPolicy.entries()) if ((policy & POLICY_FRAGMENTS) !== 0) networks.add(network);
  return networks;
}

/** What a network lets pass, whatever its ports could. */
function mtuCap(name: string, config: ResolvedConfig, upPort: (name: string) => UpPort | undefined): number {
  const network = config.networks.get(name);
  const cap = network && networkMtu(network, config, (port) => upPort(port)?.mtu);
  return cap ?? Number.POSITIVE_INFINITY;
}

function emptySnapshot(
  config: ResolvedConfig,
  indices: Indices,
  epoch: number,
  remotesOf: RemotesOf,
  groups: GroupCompiler,
  acls: AclCompiler,
): Snapshot {
  const ports = sizeOf(indices.ports);
  const members = sizeOf(indices.members);
  const networks = sizeOf(indices.networks);
  let vidTables = 0;
  let innerVidSets = 0;
  let memberships = 0;
  for (const port of config.ports.values()) {
    if (port.mode === 'trunk') vidTables++;
    if (port.innerVids !== undefined) innerVidSets++;
    memberships += port.members.length;
  }
  const words = ports * 12 + vidTables * VIDS + innerVidSets * VID_SET_WORDS + members * 4 + networks * 7 + memberships;
  const take = carve(new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT));
  return {
    epoch,
    connectionTimeouts: sharedWords(config.conntrack.timeouts),
    connectionsPerPort: config.conntrack.perPort,
    connectionsPerNetwork: config.conntrack.perNetwork,
    connectionMidstream: config.conntrack.midstream ? 1 : 0,
    fragmentDatagrams: config.fragments.datagrams,
    fragmentsPerPort: config.fragments.perPort,
    fragmentTimeout: config.fragments.timeoutSeconds,
    routing: NO_ROUTING,
    nat: NO_NAT,
    neighborQueue: config.neighbors.queue,
    neighborsPerPort: config.neighbors.perPort,
    icmpErrorRate: config.limits.icmpErrorRate,
    arpReplyRate: config.limits.arpReplyRate,
    dhcpRate: config.limits.dhcpRate,
    dnsRate: config.limits.dnsRate,
    ...compileSubnets(config, indices),
    suppressingNetworks: [...config.networks.values()].filter(({ suppressesArp }) => suppressesArp).length,
    ...acls.compile(config, indices, ports, networks),
    ...compileOverlay(config, indices, ports, members, remotesOf),
    portMode: take(ports, PORT_CLOSED),
    portFlags: take(ports, 0),
    portUntaggedMember: take(ports, -1),
    portVidTable: take(ports, -1),
    portMtu: take(ports, 0),
    portControlFrames: take(ports, 0),
    portStormRate: take(ports * 3, 0),
    portMacLimit: take(ports, 0),
    portInnerVids: take(ports, -1),
    policies: 0,
    groups: groups.compile(config, indices, ports, acls.numbers),
    portPolicy: take(ports, 0),
    networkPolicy: take(networks, 0),
    guard: compileGuard(config, indices, ports),
    vidMembers: take(vidTables * VIDS, -1),
    innerVids: take(innerVidSets * VID_SET_WORDS, 0),
    memberPort: take(members, -1),
    memberNetwork: take(members, -1),
    memberTag: take(members, 0),
    memberMtu: take(members, 0),
    networkStart: take(networks, 0),
    networkCount: take(networks, 0),
    networkMembers: take(memberships, -1),
    networkFlags: take(networks, 0),
    networkMacAge: take(networks, 0),
    networkMacLimit: take(networks, 0),
    networkMtu: take(networks, 0),
  };
}

function sharedWords(values: readonly number[]): Int32Array {
  const words = new Int32Array(new SharedArrayBuffer(values.length * Int32Array.BYTES_PER_ELEMENT));
  words.set(values);
  return words;
}

/** Hands out consecutive parts of the buffer. */
function carve(buffer: SharedArrayBuffer): (length: number, initial: number) => Int32Array {
  let position = 0;
  return (length, initial) => {
    const part = new Int32Array(buffer, position, length);
    position += part.byteLength;
    return initial === 0 ? part : part.fill(initial);
  };
}

function sizeOf(table: ReadonlyMap<string, number>): number {
  let size = 0;
  for (const index of table.values()) size = Math.max(size, index + 1);
  return size;
}

function compileNetworks(
  snapshot: Snapshot,
  config: ResolvedConfig,
  indices: Indices,
  capOf: (network: string) => number,
): void {
  for (const [name, network] of config.networks) {
    const index = indexOf(indices.network(name), name);
    snapshot.networkFlags[index] =
      (network.learning ? NETWORK_LEARNS : 0) |
      (network.suppressesArp ? NETWORK_SUPPRESSES_ARP : 0) |
      servesFlags(name, config) |
      (network.tunnel?.innerVlan ? NETWORK_INNER_VLAN : 0);
    snapshot.networkMacAge[index] = network.macAgeSeconds;
    snapshot.networkMacLimit[index] = network.macLimit;
    if (network.tunnel !== undefined) snapshot.networkMtu[index] = capOf(name);
  }
}

function compilePort(
  snapshot: Snapshot,
  indices: Indices,
  name: string,
  port: ResolvedPort,
  up: UpPort | undefined,
  capOf: (network: string) => number,
  tables: { vids: number; innerVids: number },
): void {
  const index = indexOf(indices.port(name), name);
  snapshot.portMode[index] = up === undefined ? PORT_CLOSED : modeNumbers[port.mode];
  snapshot.portFlags[index] = portFlags(port, up);
  if (port.guarded) snapshot.portPolicy[index] |= POLICY_READ | POLICY_GUARD | POLICY_FRAGMENTS;
  snapshot.portMacLimit[index] = port.macLimit;
  snapshot.portControlFrames[index] = port.controlFrames.reduce((bits, protocol) => bits | controlBits[protocol], 0);
  snapshot.portStormRate[index * 3 + STORM_BROADCAST] = port.storm.broadcast;
  snapshot.portStormRate[index * 3 + STORM_MULTICAST] = port.storm.multicast;
  snapshot.portStormRate[index * 3 + STORM_UNKNOWN_UNICAST] = port.storm.unknownUnicast;
  if (port.mode === 'trunk') snapshot.portVidTable[index] = tables.vids++;
  if (port.innerVids !== undefined) compileInnerVids(snapshot, index, port.innerVids, tables.innerVids++);
  // The port's own figure is for showing and for ports without members: what the least capped of its networks may send.
  let portMtu = port.members.length === 0 ? (up?.mtu ?? 0) : 0;
  for (const member of port.members) {
    const mtu =
      up === undefined ? 0 : port.mode === 'underlay' ? capOf(member.network) : Math.min(up.mtu, capOf(member.network));
    const memberIndex = indexOf(indices.member(name, member.network), `${name} in ${member.network}`);
    compileMember(snapshot, index, memberIndex, member, indexOf(indices.network(member.network), member.network), mtu);
    portMtu = Math.max(portMtu, mtu);
  }
  snapshot.portMtu[index] = portMtu;
}

function portFlags(port: ResolvedPort, up: UpPort | undefined): number {
  let flags = 0;
  if (port.facesVm) flags |= PORT_FACES_VM;
  if (port.uplink) flags |= PORT_UPLINK;
  if (port.isolated) flags |= PORT_ISOLATED;
  if (port.guarded) flags |= PORT_GUARDED;
  if (port.innerVids !== undefined) flags |= PORT_INNER_VIDS;
  if (port.underlay?.bfd?.inside === true) flags |= PORT_BFD_INSIDE;
  if (port.mode === 'trunk' && port.members.some((member) => member.untagged && member.tag === undefined))
    flags |= PORT_NATIVE_UNTAGGED;
  if (up?.features.checksum) flags |= PORT_TAKES_CHECKSUM;
  if (up?.features.tcp4) flags |= PORT_TAKES_TCP4;
  if (up?.features.tcp6) flags |= PORT_TAKES_TCP6;
  if (up?.features.udp) flags |= PORT_TAKES_UDP;
  return flags;
}

function compileInnerVids(snapshot: Snapshot, port: number, vids: readonly number[], set: number): void {
  snapshot.portInnerVids[port] = set;
  for (const vid of vids) snapshot.innerVids[set * VID_SET_WORDS + (vid >> 5)] |= 1 << (vid & 31);
}

function compileMember(
  snapshot: Snapshot,
  port: number,
  index: number,
  member: ResolvedMember,
  network: number,
  mtu: number,
): void {
  snapshot.memberPort[index] = port;
  snapshot.memberNetwork[index] = network;
  snapshot.memberTag[index] = member.tag === undefined ? 0 : (member.tag.tpid << 16) | member.tag.vid;
  snapshot.memberMtu[index] = mtu;
  if (member.untagged) snapshot.portUntaggedMember[port] = index;
  if (member.vid !== undefined) snapshot.vidMembers[snapshot.portVidTable[port] * VIDS + member.vid] = index;
}

/** Groups the members whose ports are up by network. */
function listMembers(snapshot: Snapshot): void {
  const { memberPort, memberNetwork, networkStart, networkCount, networkMembers, portMode } = snapshot;
  const floods = (member: number) => memberPort[member] >= 0 && portMode[memberPort[member]] !== PORT_CLOSED;
  for (let member = 0; member < memberPort.length; member++) if (floods(member)) networkCount[memberNetwork[member]]++;
  let start = 0;
  for (let network = 0; network < networkStart.length; network++) {
    networkStart[network] = start;
    start += networkCount[network];
  }
  const next = networkStart.slice();
  for (let member = 0; member < memberPort.length; member++) {
    if (floods(member)) networkMembers[next[memberNetwork[member]]++] = member;
  }
}

function indexOf(index: number | undefined, what: string): number {
  if (index === undefined) throw new TypeError(`no index was allocated for ${what}`);
  return index;
}
