/**
 * Ways that are narrower than the underlay's device: what each tunnel lets pass, by the path to its remote, is written into
 * the table of tunnels, where workers hold a copy that leaves through it to that, and answer what does not fit. Networks, and
 * the devices of their machines, go by the underlay's device, so one narrow path costs nobody else anything.
 *
 * An underlay port follows the paths to the remotes of the configuration, and to those that were learned, of which it gets
 * to know within LOOK_PERIOD_S. Main thread.
 *
 * What an attacker can do: who may send from many addresses within allowFrom has as many paths asked for,
 * LEARNED_PATHS_MAX of them at most; what is too long for the path to one beyond is lost without an answer.
 */
import { LEARNED_PATHS_MAX } from '../limits.js';
import type { TunnelEntry } from '../pipeline/tunnel-control.js';
import { ipWordsText } from '../wire/address.js';
import type { Indices } from './indices.js';
import { tunnelMtu } from './overlay-mtu.js';
import type { PortServer } from './port-server.js';
import type { ResolvedConfig } from './resolved.js';
import type { TunnelServer } from './tunnel-server.js';

const LOOK_PERIOD_S = 2;

/** By member: what a network's tunnels let pass, by remote; members without a narrow way are not in it. */
type NarrowWays = ReadonlyMap<number, (remote: string) => number>;

export class TunnelPaths {
  private readonly tunnels: TunnelServer;
  private readonly ports: PortServer;
  /** By index of an underlay port: remotes of the configuration, and what it was told last to follow beside them. */
  private readonly followed = new Map<number, { readonly configured: readonly string[]; learned: readonly string[] }>();
  private ways: NarrowWays = new Map();
  /** Some tunnel may have an MTU in the table: at first an earlier daemon's. */
  private hasNarrow = true;
  /** Monotonic seconds. */
  private nextLook = 0;

  constructor(tunnels: TunnelServer, ports: PortServer) {
    this.tunnels = tunnels;
    this.ports = ports;
  }

  /** Tells underlay ports of the remotes there are now. */
  follow(config: ResolvedConfig, indices: Indices): void {
    const before = new Map(this.followed);
    this.followed.clear();
    for (const [name, { intent }] of config.ports) {
      const port = indices.port(name);
      if (intent.underlay === undefined || port === undefined) continue;
      const { learned = [] } = before.get(port) ?? {};
      this.followed.set(port, { configured: intent.underlay.remotes, learned });
      this.ports.setRemotes(port, union(intent.underlay.remotes, learned));
    }
  }

  /** Writes down what the tunnels let pass, by what is known of the paths now. */
  settle(config: ResolvedConfig, indices: Indices): void {
    this.ways = this.narrowWays(config, indices);
    if (this.ways.size === 0 && !this.hasNarrow) return;
    this.hasNarrow = this.ways.size > 0;
    for (const entry of this.tunnels.list()) this.settleOne(entry);
  }

  /** `portOf`: of a member. Follows what was learned since. */
  tick(nowSeconds: number, portOf: (member: number) => number | undefined): void {
    if (nowSeconds < this.nextLook) return;
    this.nextLook = nowSeconds + LOOK_PERIOD_S;
    const learned = new Map<number, Set<string>>();
    for (const entry of this.tunnels.listLearned()) {
      this.settleOne(entry);
      const port = portOf(entry.member);
      if (port === undefined) continue;
      const known = learned.get(port) ?? new Set();
      if (known.size < LEARNED_PATHS_MAX) learned.set(port, known.add(ipWordsText(entry.address)));
    }
    for (const [port, followed] of this.followed) {
      const now = learned.get(port) ?? new Set();
      if (now.size === followed.learned.length && followed.learned.every((remote) => now.has(remote))) continue;
      followed.learned = [...now];
      this.ports.setRemotes(port, union(followed.configured, followed.learned));
    }
  }

  private settleOne({ tunnel, member, address, mtu }: TunnelEntry): void {
    const now = this.ways.get(member)?.(ipWordsText(address)) ?? 0;
    if (now !== mtu) this.tunnels.setMtu(tunnel, now);
  }

  private narrowWays(config: ResolvedConfig, indices: Indices): NarrowWays {
    const ways = new Map<number, (remote: string) => number>();
    for (const [name, port] of config.ports) {
      const index = indices.port(name);
      if (port.underlay === undefined || index === undefined) continue;
      const device = this.ports.status(index).open?.mtu ?? 0;
      const narrow = this.ports.paths(index).filter(({ mtu }) => mtu > 0 && mtu < device);
      if (narrow.length === 0) continue;
      const mtus = new Map(narrow.map(({ remote, mtu }) => [remote, mtu]));
      for (const { network: carried } of port.members) {
        const network = config.networks.get(carried);
        const member = indices.member(name, carried);
        if (network?.tunnel === undefined || member === undefined) continue;
        // Of outer packets; at least 1, or it would mean that the way is not narrow.
        const taken = device - tunnelMtu(network, network.tunnel, config, device);
        ways.set(member, (remote) => {
          const mtu = mtus.get(remote);
          return mtu === undefined ? 0 : Math.max(1, mtu - taken);
        });
      }
    }
    return ways;
  }
}

function union(configured: readonly string[], learned: readonly string[]): readonly string[] {
  return learned.length === 0 ? configured : [...new Set([...configured, ...learned])];
}
