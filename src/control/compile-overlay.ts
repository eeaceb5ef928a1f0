/**
 * The part of a snapshot that concerns tunnels: underlay ports, the tables of tunnel ids, remotes, allowed sources. In
 * SharedArrayBuffers of their own, because their sizes are only known in the end. Main thread.
 */
import {
  ALLOW_WORDS,
  type Snapshot,
  TUNNEL_ROW_FLAGS,
  TUNNEL_ROW_ID,
  TUNNEL_ROW_OPTIONS,
  TUNNEL_ROW_OPTIONS_SIZE,
  TUNNEL_ROW_WORDS,
} from '../pipeline/snapshot.js';
import { ID_HAS_FLOW, ID_WORDS, tunnelIdTable } from '../pipeline/tunnel-ids.js';
import { tunnelKindIndex } from '../tunnels/registry.js';
import {
  TUNNEL_CARRIES_TAGS,
  TUNNEL_CLAMPS_MSS,
  TUNNEL_HAS_ID,
  TUNNEL_ID_HAS_FLOW,
  TUNNEL_SENDS_CHECKSUM,
  TUNNEL_SENDS_SEQUENCE,
} from '../tunnels/tunnel.js';
import { IPV4_SIZE, ipWords, parseIp, parsePrefix } from '../wire/address.js';
import type { Indices } from './indices.js';
import type { ResolvedConfig, ResolvedNetwork, ResolvedPort, ResolvedTunnel, ResolvedUnderlay } from './resolved.js';

/** The numbers of the tunnels from a member of an underlay port to its network's remotes (pipeline/tunnel-control.ts). */
export type RemotesOf = (member: number, remotes: readonly string[]) => readonly number[];

type OverlayPart = Pick<
  Snapshot,
  | 'underlayPorts'
  | 'watchingUnderlays'
  | 'underlays'
  | 'portTunnelKind'
  | 'portIdTable'
  | 'portIdMask'
  | 'portLocal'
  | 'portTunnelPort'
  | 'portDscp'
  | 'portJoinsDatagrams'
  | 'portAllowStart'
  | 'portAllowCount'
  | 'allowFrom'
  | 'tunnelIds'
  | 'memberTunnels'
  | 'memberRemotesStart'
  | 'memberRemotesCount'
  | 'tunnelOptions'
  | 'remotes'
>;

/** Tables that grow while the configuration is gone through. */
interface Growing {
  readonly tunnelIds: number[];
  readonly allowFrom: number[];
  readonly remotes: number[];
  readonly options: number[];
}

/** Fills in what `ports` and `members` (the lengths of arrays by these) of `config` have to do with tunnels. */
export function compileOverlay(
  config: ResolvedConfig,
  indices: Indices,
  ports: number,
  members: number,
  remotesOf: RemotesOf,
): OverlayPart {
  const take = (length: number, initial: number) =>
    new Int32Array(new SharedArrayBuffer(length * Int32Array.BYTES_PER_ELEMENT)).fill(initial);
  const fixed = {
    portTunnelKind: take(ports, -1),
    portIdTable: take(ports, 0),
    portIdMask: take(ports, 0),
    portLocal: take(ports * 4, 0),
    portTunnelPort: take(ports, 0),
    portDscp: take(ports, 0),
    portJoinsDatagrams: take(ports, 0),
    portAllowStart: take(ports, 0),
    portAllowCount: take(ports, 0),
    memberTunnels: take(members * TUNNEL_ROW_WORDS, 0),
    memberRemotesStart: take(members, 0),
    memberRemotesCount: take(members, 0),
  };
  const growing: Growing = { tunnelIds: [], allowFrom: [], remotes: [], options: [] };
  const underlays: number[] = [];
  for (const [name, port] of config.ports) {
    if (port.underlay === undefined) continue;
    const index = indexOf(indices.port(name), name);
    underlays.push(index);
    compileUnderlay(fixed, growing, index, port, port.underlay);
    const ids = new Map<number, number>();
    for (const { network } of port.members) {
      const member = indexOf(indices.member(name, network), `${name} in ${network}`);
      const resolved = config.networks.get(network);
      if (resolved !== undefined) compileTunnels(fixed, growing, ids, member, resolved, remotesOf);
    }
    compileIds(fixed, growing, index, ids);
  }
  return {
    underlayPorts: underlays.length,
    watchingUnderlays: [...config.ports.values()].filter(({ underlay }) => underlay?.bfd?.inside === true).length,
    underlays: shared(underlays),
    ...fixed,
    allowFrom: shared(growing.allowFrom),
    tunnelIds: shared(growing.tunnelIds),
    remotes: shared(growing.remotes),
    tunnelOptions: sharedOctets(growing.options),
  };
}

type Fixed = Omit<
  OverlayPart,
  'underlayPorts' | 'watchingUnderlays' | 'underlays' | 'allowFrom' | 'tunnelIds' | 'remotes' | 'tunnelOptions'
>;

function compileUnderlay(
  part: Fixed,
  { allowFrom }: Growing,
  index: number,
  { intent: { underlay: intent } }: ResolvedPort,
  { dscp, allowFrom: prefixes, joinsDatagrams }: ResolvedUnderlay,
): void {
  if (intent === undefined) throw new TypeError('an underlay port without sockets to open');
  part.portTunnelKind[index] = tunnelKindIndex(intent.type);
  part.portLocal.set(ipWords(parseIp(intent.local) ?? new Uint8Array(IPV4_SIZE)), index * 4);
  part.portTunnelPort[index] = intent.port;
  part.portDscp[index] = dscp === 'inherit' ? -1 : dscp << 2;
  part.portJoinsDatagrams[index] = joinsDatagrams ? 1 : 0;
  part.portAllowStart[index] = allowFrom.length / ALLOW_WORDS;
  part.portAllowCount[index] = prefixes.length;
  for (const text of prefixes) {
    const prefix = parsePrefix(text);
    if (prefix === undefined) throw new TypeError(`${text} is no prefix`);
    const isIpv4 = prefix.address.length === IPV4_SIZE;
    allowFrom.push(...ipWords(prefix.address), prefix.length + (isIpv4 ? 96 : 0));
  }
}

function compileTunnels(
  part: Fixed,
  { remotes, options }: Growing,
  ids: Map<number, number>,
  member: number,
  network: ResolvedNetwork,
  remotesOf: RemotesOf,
): void {
  const { id, tunnel } = network;
  if (tunnel === undefined) return;
  const row = member * TUNNEL_ROW_WORDS;
  part.memberTunnels[row + TUNNEL_ROW_ID] = tunnelId(network, tunnel);
  part.memberTunnels[row + TUNNEL_ROW_FLAGS] = tunnelFlags(network, tunnel);
  part.memberTunnels[row + TUNNEL_ROW_OPTIONS] = options.length;
  part.memberTunnels[row + TUNNEL_ROW_OPTIONS_SIZE] = tunnel.options.length;
  if (id !== undefined) ids.set(tunnelId(network, tunnel), tunnel.nvgre ? member | ID_HAS_FLOW : member);
  const numbers = remotesOf(member, tunnel.remotes);
  part.memberRemotesStart[member] = remotes.length;
  part.memberRemotesCount[member] = numbers.length;
  remotes.push(...numbers);
  options.push(...tunnel.options);
}

function compileIds(part: Fixed, { tunnelIds }: Growing, port: number, ids: ReadonlyMap<number, number>): void {
  const table = tunnelIdTable(ids);
  part.portIdTable[port] = tunnelIds.length / ID_WORDS;
  part.portIdMask[port] = table.length / ID_WORDS - 1;
  for (const word of table) tunnelIds.push(word);
}

/** VNI or key of a network's tunnels, 32 bits; of NVGRE with flow 0. */
export function tunnelId({ id = 0 }: Pick<ResolvedNetwork, 'id'>, { nvgre }: ResolvedTunnel): number {
  return nvgre ? (id << 8) | 0 : id | 0;
}

/** What the headers of a network's tunnels have, and what is done with its frames there. */
export function tunnelFlags(
  { id }: Pick<ResolvedNetwork, 'id'>,
  { checksum, sequence, nvgre, innerVlan, mssClamp }: ResolvedTunnel,
): number {
  return (
    (id === undefined ? 0 : TUNNEL_HAS_ID) |
    (checksum ? TUNNEL_SENDS_CHECKSUM : 0) |
    (sequence ? TUNNEL_SENDS_SEQUENCE : 0) |
    (nvgre ? TUNNEL_ID_HAS_FLOW : 0) |
    (innerVlan ? TUNNEL_CARRIES_TAGS : 0) |
    (mssClamp ? TUNNEL_CLAMPS_MSS : 0)
  );
}

function shared(values: ArrayLike<number>): Int32Array {
  const words = new Int32Array(new SharedArrayBuffer(values.length * Int32Array.BYTES_PER_ELEMENT));
  words.set(values);
  return words;
}

function sharedOctets(values: readonly number[]): Uint8Array {
  const octets = new Uint8Array(new SharedArrayBuffer(values.length));
  octets.set(values);
  return octets;
}

function indexOf(index: number | undefined, what: string): number {
  if (index === undefined) throw new TypeError(`no index was allocated for ${what}`);
  return index;
}
