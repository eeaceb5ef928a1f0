/**
 * The tunnels of the running switch: gives those of the configuration their numbers, takes away what nothing refers to any
 * more, counts what passes, and keeps the table that the workers share over a death of the daemon, because the FDB that
 * survives with it refers to tunnels by number. Main thread.
 *
 * A tunnel is there as long as the configuration names it, or a static FDB entry does, or (a learned one) something came
 * through it lately and its address may still send. The FDB forgets a number before it can be another tunnel's.
 */
import {
  type Counters,
  TUNNEL_RX_BYTES,
  TUNNEL_RX_FRAMES,
  TUNNEL_TX_BYTES,
  TUNNEL_TX_FRAMES,
} from '../dataplane/counters.js';
import type { MemoryDescriptor, SharedMemory } from '../dataplane/shared-memory.js';
import { TUNNEL_KEPT_S } from '../limits.js';
import type { FdbControl } from '../pipeline/fdb-control.js';
import { TunnelControl, type TunnelEntry } from '../pipeline/tunnel-control.js';
import { anyNetwork } from '../pipeline/tunnel-table.js';
import { ipWords, ipWordsText, parseIp, parsePrefix, prefixContains } from '../wire/address.js';
import type { Indices } from './indices.js';
import type { ResolvedConfig, ResolvedPort } from './resolved.js';

/** What passed through one tunnel. */
export interface TunnelCounts {
  readonly rxFrames: number;
  readonly rxBytes: number;
  readonly txFrames: number;
  readonly txBytes: number;
}

/** Silent tunnels taken away at once, of those that were learned; how often: each time costs two scans of the FDB. */
const EXPIRED_ROUND = 4096;
const EXPIRY_PERIOD_S = 30;

export class TunnelServer {
  private readonly memory: SharedMemory;
  private readonly table: TunnelControl;
  private readonly fdb: FdbControl;
  private readonly seats: () => readonly { readonly counters: Counters }[];
  /** By number of a tunnel that another had before: what that one had counted. */
  private readonly baselines = new Map<number, TunnelCounts>();
  /** Monotonic seconds. */
  private nextExpiry = 0;

  /** Over memory of TUNNEL_TABLE_SIZE octets. What it holds from an earlier daemon is for `adopt`. */
  constructor(memory: SharedMemory, fdb: FdbControl, seats: () => readonly { readonly counters: Counters }[]) {
    this.memory = memory;
    this.table = new TunnelControl(memory.buffer, memory.byteOffset);
    this.fdb = fdb;
    this.seats = seats;
    if (memory.survived) this.table.recover();
  }

  get descriptor(): MemoryDescriptor {
    return this.memory.descriptor;
  }

  close(): void {
    this.memory.close();
  }

  /**
   * An earlier daemon's tunnels: those go whose member or port (by index) has no owner any more, before another gets the
   * index. What the FDB says of tunnels that are not there is forgotten.
   */
  adopt(isMember: (member: number) => boolean, isPort: (port: number) => boolean): void {
    const gone: number[] = [];
    const kept = new Set<number>();
    for (const { tunnel, member } of this.table.list()) {
      const hasOwner = member < 0 ? isPort(anyNetwork(member)) : isMember(member);
      if (hasOwner) kept.add(tunnel);
      else gone.push(tunnel);
    }
    this.table.remove(gone);
    this.fdb.forgetRemotes((remote) => !kept.has(remote));
  }

  /** Gives every remote of the configuration its number. Throws a UserError when there is no room. */
  intern(config: ResolvedConfig, indices: Indices): void {
    for (const { member, address } of wantedTunnels(config, indices)) this.internAddress(member, wordsOf(address));
  }

  /** As `intern`, one tunnel; for a static FDB entry, which must be made before anything else happens. */
  internAddress(member: number, address: Int32Array): number {
    const found = this.table.find(member, address[0], address[1], address[2], address[3]);
    const isThere = found !== 0 && this.table.entryOf(found)?.isConfigured === true;
    return isThere ? found : this.table.intern(member, address);
  }

  /** Numbers of a network's tunnels; all were interned. */
  numbers(member: number, remotes: readonly string[]): number[] {
    return remotes.map((remote) => {
      const [word0, word1, word2, word3] = wordsOf(remote);
      return this.table.find(member, word0, word1, word2, word3);
    });
  }

  /** Takes away what the configuration does not want, once no worker floods by anything older. */
  release(config: ResolvedConfig, indices: Indices): void {
    const wanted = new Set([...wantedTunnels(config, indices)].map(({ member, address }) => keyOf(member, address)));
    const underlays = new Map<number, AllowedSources>();
    for (const [name, port] of config.ports) {
      if (port.underlay === undefined) continue;
      const allowed = new AllowedSources(port);
      for (const { network } of port.members) underlays.set(indices.member(name, network) ?? -1, allowed);
    }
    let pinned: Set<number> | undefined;
    const isKept = ({ tunnel, member, address, isConfigured }: TunnelEntry) => {
      const text = ipWordsText(address);
      if (wanted.has(keyOf(member, text))) return true;
      if (!isConfigured) return underlays.get(member)?.has(text) ?? false;
      pinned ??= this.fdb.staticRemotes();
      return underlays.has(member) && pinned.has(tunnel);
    };
    const gone: number[] = [];
    for (const entry of this.table.list()) if (!isKept(entry)) gone.push(entry.tunnel);
    this.remove(gone);
  }

  /** Takes away learned tunnels that have been silent for longer than any station is remembered. */
  tick(nowSeconds: number, networkMacAge: Int32Array): void {
    if (nowSeconds < this.nextExpiry) return;
    this.nextExpiry = nowSeconds + EXPIRY_PERIOD_S;
    let age = 0;
    for (const seconds of networkMacAge) age = Math.max(age, seconds);
    this.remove(this.table.silentSince(nowSeconds, age + TUNNEL_KEPT_S, EXPIRED_ROUND));
  }

  /** Addresses from which something came to these members since then. */
  heardSince(sinceSeconds: number, isMember: (member: number) => boolean): Set<string> {
    const heard = new Set<string>();
    for (const { member, address, lastSeen } of this.list())
      if (lastSeen >= sinceSeconds && isMember(member)) heard.add(ipWordsText(address));
    return heard;
  }

  /** A worker died: what it had begun to write is finished. */
  workerDied(worker: number): void {
    this.table.breakLock(worker);
  }

  /** Floods leave a dead remote out. */
  setDown(tunnel: number, isDown: boolean): void {
    if (this.table.isDown(tunnel) !== isDown) this.table.setDown(tunnel, isDown);
  }

  /** See TunnelControl. */
  setMtu(tunnel: number, mtu: number): void {
    this.table.setMtu(tunnel, mtu);
  }

  /** The next sequence number of what is sent through the tunnel. */
  takeSequence(tunnel: number): number {
    return this.table.takeSequences(tunnel, 1);
  }

  entryOf(tunnel: number): TunnelEntry | undefined {
    return this.table.entryOf(tunnel);
  }

  /** Tunnels of networks, in no order. */
  *list(): Generator<TunnelEntry> {
    for (const entry of this.table.list()) if (entry.member >= 0) yield entry;
  }

  /** Those of networks that were learned, in no order. */
  *listLearned(): Generator<TunnelEntry> {
    for (const entry of this.table.listLearned()) if (entry.member >= 0) yield entry;
  }

  copy(): TunnelControl {
    return this.table.copy();
  }

  counts(tunnel: number): TunnelCounts {
    const total = this.total(tunnel);
    const before = this.baselines.get(tunnel);
    if (before === undefined) return total;
    return {
      rxFrames: total.rxFrames - before.rxFrames,
      rxBytes: total.rxBytes - before.rxBytes,
      txFrames: total.txFrames - before.txFrames,
      txBytes: total.txBytes - before.txBytes,
    };
  }

  /** Twice: a worker may just have learned a station through one before it was gone. */
  private remove(tunnels: readonly number[]): void {
    if (tunnels.length === 0) return;
    const gone = new Set(tunnels);
    this.fdb.forgetRemotes((remote) => gone.has(remote));
    this.table.remove(tunnels);
    for (const tunnel of tunnels) this.baselines.set(tunnel, this.total(tunnel));
    this.fdb.forgetRemotes((remote) => gone.has(remote));
  }

  private total(tunnel: number): TunnelCounts {
    const sum = (field: number) =>
      this.seats().reduce((total, { counters }) => total + counters.tunnelValue(tunnel, field), 0);
    return {
      rxFrames: sum(TUNNEL_RX_FRAMES),
      rxBytes: sum(TUNNEL_RX_BYTES),
      txFrames: sum(TUNNEL_TX_FRAMES),
      txBytes: sum(TUNNEL_TX_BYTES),
    };
  }
}

interface WantedTunnel {
  readonly member: number;
  readonly address: string;
}

/** Every network's remotes, and of each underlay port every remote that one of its networks has. */
function* wantedTunnels(config: ResolvedConfig, indices: Indices): Generator<WantedTunnel> {
  for (const [name, { intent, members, underlay }] of config.ports) {
    if (underlay === undefined) continue;
    const port = indices.port(name);
    if (port === undefined) throw new TypeError(`no index was allocated for port ${name}`);
    for (const address of intent.underlay?.remotes ?? []) yield { member: anyNetwork(port), address };
    for (const { network } of members) {
      const member = indices.member(name, network);
      if (member === undefined) throw new TypeError(`no index was allocated for ${name} in ${network}`);
      for (const address of config.networks.get(network)?.tunnel?.remotes ?? []) yield { member, address };
    }
  }
}

/** Who may send through tunnels of an underlay port without being a remote. */
class AllowedSources {
  private readonly prefixes;

  constructor({ underlay }: ResolvedPort) {
    this.prefixes = (underlay?.allowFrom ?? []).flatMap((text) => parsePrefix(text) ?? []);
  }

  has(address: string): boolean {
    const octets = parseIp(address);
    return octets !== undefined && this.prefixes.some((prefix) => prefixContains(prefix, octets));
  }
}

function keyOf(member: number, address: string): string {
  return `${member} ${address}`;
}

function wordsOf(address: string): Int32Array {
  const octets = parseIp(address);
  if (octets === undefined) throw new TypeError(`${address} is no address`);
  return ipWords(octets);
}
