/**
 * The part of a snapshot that concerns tunnels: underlay ports, the tree of tunnel ids, remotes, allowed sources. In a
 * SharedArrayBuffer of its own, because its size is only known when the tree is built. Main thread.
 */
import {
  ALLOW_WORDS,
  ID_NODE_WORDS,
  type Snapshot,
  TUNNEL_HAS_ID,
  TUNNEL_ID_HAS_FLOW,
  TUNNEL_SENDS_CHECKSUM,
  TUNNEL_SENDS_SEQUENCE,
} from '../pipeline/snapshot.js';
import { tunnelKindIndex } from '../tunnels/registry.js';
import { IPV4_SIZE, ipWords, parseIp, parsePrefix } from '../wire/address.js';
import type { Indices } from './indices.js';
import type { ResolvedConfig, ResolvedNetwork, ResolvedPort, ResolvedTunnel, ResolvedUnderlay } from './resolved.js';

/** The numbers of the tunnels from a member of an underlay port to its network's remotes (pipeline/tunnel-control.ts). */
export type RemotesOf = (member: number, remotes: readonly string[]) => readonly number[];

type OverlayPart = Pick<
  Snapshot,
  | 'underlayPorts'
  | 'underlays'
  | 'portTunnelKind'
  | 'portIdTree'
  | 'portLocal'
  | 'portTunnelPort'
  | 'portDscp'
  | 'portAllowStart'
  | 'portAllowCount'
  | 'allowFrom'
  | 'idTree'
  | 'memberTunnelId'
  | 'memberTunnelFlags'
  | 'memberRemotesStart'
  | 'memberRemotesCount'
  | 'memberOptionsStart'
  | 'memberOptionsSize'
  | 'tunnelOptions'
  | 'remotes'
>;

/** Tables that grow while the configuration is gone through. */
interface Growing {
  readonly idTree: IdTree;
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
    portIdTree: take(ports, -1),
    portLocal: take(ports * 4, 0),
    portTunnelPort: take(ports, 0),
    portDscp: take(ports, 0),
    portAllowStart: take(ports, 0),
    portAllowCount: take(ports, 0),
    memberTunnelId: take(members, 0),
    memberTunnelFlags: take(members, 0),
    memberRemotesStart: take(members, 0),
    memberRemotesCount: take(members, 0),
    memberOptionsStart: take(members, 0),
    memberOptionsSize: take(members, 0),
  };
  const growing: Growing = { idTree: new IdTree(), allowFrom: [], remotes: [], options: [] };
  const underlays: number[] = [];
  for (const [name, port] of config.ports) {
    if (port.underlay === undefined) continue;
    const index = indexOf(indices.port(name), name);
    underlays.push(index);
    compileUnderlay(fixed, growing, index, port, port.underlay);
    for (const { network } of port.members) {
      const member = indexOf(indices.member(name, network), `${name} in ${network}`);
      const resolved = config.networks.get(network);
      if (resolved !== undefined) compileTunnels(fixed, growing, index, member, resolved, remotesOf);
    }
  }
  return {
    underlayPorts: underlays.length,
    underlays: shared(underlays),
    ...fixed,
    allowFrom: shared(growing.allowFrom),
    idTree: growing.idTree.words(),
    remotes: shared(growing.remotes),
    tunnelOptions: sharedOctets(growing.options),
  };
}

type Fixed = Omit<OverlayPart, 'underlayPorts' | 'underlays' | 'allowFrom' | 'idTree' | 'remotes' | 'tunnelOptions'>;

function compileUnderlay(
  part: Fixed,
  { idTree, allowFrom }: Growing,
  index: number,
  { intent: { underlay: intent } }: ResolvedPort,
  { dscp, allowFrom: prefixes }: ResolvedUnderlay,
): void {
  if (intent === undefined) throw new TypeError('an underlay port without sockets to open');
  part.portTunnelKind[index] = tunnelKindIndex(intent.type);
  part.portIdTree[index] = idTree.root();
  part.portLocal.set(ipWords(parseIp(intent.local) ?? new Uint8Array(IPV4_SIZE)), index * 4);
  part.portTunnelPort[index] = intent.port;
  part.portDscp[index] = dscp === 'inherit' ? -1 : dscp << 2;
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
  { idTree, remotes, options }: Growing,
  port: number,
  member: number,
  network: ResolvedNetwork,
  remotesOf: RemotesOf,
): void {
  const { id, tunnel } = network;
  if (tunnel === undefined) return;
  part.memberTunnelFlags[member] = tunnelFlags(network, tunnel);
  part.memberTunnelId[member] = tunnelId(network, tunnel);
  if (id !== undefined) idTree.add(part.portIdTree[port], tunnelId(network, tunnel), member, tunnel.nvgre ? 256 : 1);
  const numbers = remotesOf(member, tunnel.remotes);
  part.memberRemotesStart[member] = remotes.length;
  part.memberRemotesCount[member] = numbers.length;
  remotes.push(...numbers);
  part.memberOptionsStart[member] = options.length;
  part.memberOptionsSize[member] = tunnel.options.length;
  options.push(...tunnel.options);
}

/** VNI or key of a network's tunnels, 32 bits; of NVGRE with flow 0. */
export function tunnelId({ id = 0 }: Pick<ResolvedNetwork, 'id'>, { nvgre }: ResolvedTunnel): number {
  return nvgre ? (id << 8) | 0 : id | 0;
}

/** What the headers of a network's tunnels have. */
export function tunnelFlags(
  { id }: Pick<ResolvedNetwork, 'id'>,
  { checksum, sequence, nvgre }: ResolvedTunnel,
): number {
  return (
    (id === undefined ? 0 : TUNNEL_HAS_ID) |
    (checksum ? TUNNEL_SENDS_CHECKSUM : 0) |
    (sequence ? TUNNEL_SENDS_SEQUENCE : 0) |
    (nvgre ? TUNNEL_ID_HAS_FLOW : 0)
  );
}

/** Nodes of 256 words; see Snapshot.idTree. */
class IdTree {
  private nodes = new Int32Array(ID_NODE_WORDS * 64).fill(-1);
  private count = 0;

  root(): number {
    if ((this.count + 1) * ID_NODE_WORDS > this.nodes.length) {
      const larger = new Int32Array(this.nodes.length * 2).fill(-1);
      larger.set(this.nodes);
      this.nodes = larger;
    }
    return this.count++;
  }

  /** `count`: so many ids from this one on, which differ in their last octet only. */
  add(root: number, id: number, member: number, count: number): void {
    let node = root;
    for (let shift = 24; shift > 0; shift -= 8) {
      const at = node * ID_NODE_WORDS + ((id >>> shift) & 0xff);
      node = this.nodes[at];
      if (node === -1) {
        node = this.root();
        this.nodes[at] = node;
      }
    }
    const at = node * ID_NODE_WORDS + (id & 0xff);
    this.nodes.fill(member, at, at + count);
  }

  words(): Int32Array {
    return shared(this.nodes.subarray(0, this.count * ID_NODE_WORDS));
  }
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
