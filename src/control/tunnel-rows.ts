/**
 * Tunnels as `weft tunnel list` and `weft tunnel show` have them: from the configuration, the table of tunnels, the underlay
 * port's state and what it knows of the ways. Main thread.
 */
import { monotonicMs } from '../dataplane/clock.js';
import type { UnderlayPath } from '../dataplane/port.js';
import { TUNNEL_SILENCE_S } from '../limits.js';
import type { TunnelEntry } from '../pipeline/tunnel-control.js';
import { ipWordsText, parseIp } from '../wire/address.js';
import type { Running } from './controller.js';
import type { Dataplane } from './dataplane.js';
import { mtuReckoning, tunnelMtu, UNDERLAY_MTU_DEFAULT } from './overlay-mtu.js';
import type { PortStatus } from './port-server.js';
import type { ResolvedNetwork, ResolvedTunnel } from './resolved.js';
import type { BfdView, TunnelDetail, TunnelRow } from './shapes.js';
import { shownName } from './shown-name.js';
import { durationText } from './table-text.js';

/** What is known of the underlay port that a network's tunnels leave by. */
interface Underlay {
  readonly local: string;
  readonly status: PortStatus;
  readonly paths: ReadonlyMap<string, UnderlayPath>;
}

export class TunnelRows {
  private readonly dataplane: Dataplane;
  private readonly running: Running;
  private readonly nowSeconds = Math.floor(monotonicMs() / 1000);
  private readonly underlays = new Map<string, Underlay>();

  /** For one answer: everything as it is now. */
  constructor(dataplane: Dataplane, running: Running) {
    this.dataplane = dataplane;
    this.running = running;
  }

  /** By network in the order of the document, then by address; `only`: of this network. */
  list(only?: string): TunnelRow[] {
    const { checked, indices } = this.running;
    const { networks } = checked.resolved;
    const byMember = new Map<number, TunnelEntry[]>();
    for (const entry of this.dataplane.tunnels.list()) {
      const known = byMember.get(entry.member);
      if (known === undefined) byMember.set(entry.member, [entry]);
      else known.push(entry);
    }
    const rows: TunnelRow[] = [];
    for (const [name, network] of networks) {
      const { tunnel } = network;
      if (tunnel === undefined || (only !== undefined && only !== name)) continue;
      const entries = byMember.get(indices.member(tunnel.port, name) ?? -1) ?? [];
      const here = entries.map((entry) => this.row(name, network, tunnel, entry));
      for (const row of here.sort((left, right) => compare(left.remote, right.remote))) rows.push(row);
    }
    return rows;
  }

  detail(name: string, network: ResolvedNetwork, tunnel: ResolvedTunnel): TunnelDetail {
    const { resolved } = this.running.checked;
    const { local, status } = this.underlayOf(tunnel);
    const reckoning = mtuReckoning(network, tunnel, resolved, status.state === 'up' ? status.open?.mtu : undefined);
    return {
      network: name,
      type: tunnel.type,
      id: network.id ?? null,
      underlay: shownName(tunnel.port),
      local,
      state: status.state,
      ...(status.reason === undefined ? {} : { reason: status.reason }),
      mtu: reckoning.at(-1)?.octets ?? 0,
      reckoning,
      tunnels: this.list(name),
    };
  }

  private underlayOf({ port }: ResolvedTunnel): Underlay {
    const known = this.underlays.get(port);
    if (known !== undefined) return known;
    const { checked, indices } = this.running;
    const { ports } = this.dataplane;
    const index = indices.port(port) ?? -1;
    const paths = ports.paths(index).map((path) => [path.remote, path] as const);
    const local = checked.resolved.ports.get(port)?.intent.underlay?.local ?? '';
    const underlay = { local, status: ports.status(index), paths: new Map(paths) };
    this.underlays.set(port, underlay);
    return underlay;
  }

  private row(name: string, network: ResolvedNetwork, tunnel: ResolvedTunnel, entry: TunnelEntry): TunnelRow {
    const underlay = this.underlayOf(tunnel);
    const remote = ipWordsText(entry.address);
    const path = underlay.paths.get(remote);
    const deviceMtu = underlay.status.open?.mtu ?? UNDERLAY_MTU_DEFAULT;
    // Without a route nothing is known of the way.
    const pathMtu = path?.mtu ? Math.min(path.mtu, deviceMtu) : deviceMtu;
    const fits = tunnelMtu(network, tunnel, this.running.checked.resolved, pathMtu);
    const { rxFrames, rxBytes, txFrames, txBytes } = this.dataplane.tunnels.counts(entry.tunnel);
    const bfd = this.dataplane.bfd.view(underlay.local, remote, name);
    const silence = entry.lastSeen === 0 ? undefined : Math.max(0, this.nowSeconds - entry.lastSeen);
    return {
      network: name,
      type: tunnel.type,
      local: underlay.local,
      remote,
      id: network.id ?? null,
      ...stateOf(underlay.status, path, bfd, silence),
      rxFrames,
      txFrames,
      rxBytes,
      txBytes,
      mtu: Math.min(network.mtu ?? fits, fits),
      ...(pathMtu < deviceMtu ? { pathMtu } : {}),
      ...(silence === undefined ? {} : { heardSeconds: silence }),
      ...(entry.isConfigured ? {} : { learned: true as const }),
      ...(bfd === undefined ? {} : { bfd }),
    };
  }
}

/** What is known to be dead is down; what BFD says is up is; else what was heard lately is up. */
function stateOf(
  status: PortStatus,
  path: UnderlayPath | undefined,
  bfd: BfdView | undefined,
  silence: number | undefined,
): Pick<TunnelRow, 'state' | 'reason'> {
  if (status.state !== 'up') return { state: 'down', reason: status.reason ?? 'the underlay is down' };
  if (path?.state === 'down') return { state: 'down', reason: path.reason ?? 'there is no way to it' };
  if (bfd?.isDown === true) return { state: 'down', reason: `BFD: ${bfd.reason}` };
  if (bfd?.state === 'up') return { state: 'up' };
  if (silence === undefined) return { state: 'unknown', reason: 'nothing heard yet' };
  if (silence <= TUNNEL_SILENCE_S) return { state: 'up' };
  return { state: 'unknown', reason: `nothing heard for ${durationText(silence)}` };
}

/** By version, then by number: as text 192.0.2.10 would come before 192.0.2.9. */
function compare(left: string, right: string): number {
  const [a, b] = [parseIp(left), parseIp(right)];
  return a === undefined || b === undefined ? 0 : a.length - b.length || Buffer.compare(a, b);
}
