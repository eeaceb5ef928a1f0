/**
 * A host with networks in tunnels a second time: slow, made of Maps, and written from the configuration reference and the
 * table of semantics (1.3), not from the pipeline. It says where each frame of a batch goes; what the datagrams look like
 * is the simulator's matter.
 *
 * Frames of a batch count as simultaneous: where the destination is is looked up before any of them teaches, and once more
 * for one that was unknown then, or that was behind a remote.
 */
import type { DropReason } from '../../src/dataplane/drop-reason.js';

/** A port of this host, or a far end by its number. */
export type Place = { readonly port: string } | { readonly remote: number };

export interface ReferenceNetwork {
  readonly ports: readonly string[];
  /** Numbers of the hosts that floods go to. */
  readonly remotes: readonly number[];
  readonly learns: boolean;
  readonly ageSeconds: number;
}

export interface FrameInside {
  readonly network: string;
  readonly from: Place;
  readonly destination: string;
  readonly source: string;
}

export interface Decision {
  readonly to: readonly Place[];
  readonly reason?: DropReason;
}

interface Station {
  readonly at: Place;
  readonly seen: number;
}

const isGroup = (mac: string) => (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
const isSame = (one: Place, other: Place) => JSON.stringify(one) === JSON.stringify(other);

const remoteOf = (place: Place) => ('remote' in place ? place.remote : 0);

/** All remotes of a network are behind one member of it. */
function isSameMember(one: Place | undefined, other: Place): boolean {
  return one !== undefined && ('remote' in one ? 'remote' in other : isSame(one, other));
}

export class ReferenceHost {
  private readonly networks: ReadonlyMap<string, ReferenceNetwork>;
  private readonly stations = new Map<string, Station>();
  private readonly dead = new Set<string>();

  constructor(networks: ReadonlyMap<string, ReferenceNetwork>) {
    this.networks = networks;
  }

  setDown(network: string, remote: number, isDown: boolean): void {
    if (isDown) this.dead.add(`${network} ${remote}`);
    else this.dead.delete(`${network} ${remote}`);
  }

  receive(frames: readonly FrameInside[], second: number): Decision[] {
    const before = frames.map(({ network, destination }) => this.find(network, destination, second));
    const sources = frames.map(({ network, source }) => this.find(network, source, second));
    for (const [index, { network, source, from }] of frames.entries()) {
      if (!this.networks.get(network)?.learns) continue;
      const key = `${network} ${source}`;
      const now = this.stations.get(key)?.at ?? from;
      // Where it was before the batch it is still taken to be, unless a tunnel is between.
      const stays = isSameMember(sources[index], from) && remoteOf(now) === remoteOf(from);
      this.stations.set(key, { at: stays ? now : from, seen: second });
    }
    return frames.map((frame, index) => {
      const known = before[index];
      const isLasting = known !== undefined && 'port' in known;
      return this.decide(frame, isLasting ? known : this.find(frame.network, frame.destination, second));
    });
  }

  private find(network: string, mac: string, second: number): Place | undefined {
    const station = isGroup(mac) ? undefined : this.stations.get(`${network} ${mac}`);
    const age = this.networks.get(network)?.ageSeconds ?? 0;
    return station === undefined || second - station.seen > age ? undefined : station.at;
  }

  private decide({ network, from }: FrameInside, known: Place | undefined): Decision {
    const { ports, remotes } = this.networks.get(network) ?? { ports: [], remotes: [] };
    if (known !== undefined) {
      // From tunnel to tunnel is never forwarded, whichever remotes they lead to.
      const isBack = isSame(known, from) || ('remote' in known && 'remote' in from);
      return isBack ? { to: [], reason: 'hairpin' } : { to: [known] };
    }
    const others = ports.map((port) => ({ port })).filter((place) => !isSame(place, from));
    if ('remote' in from) return others.length === 0 ? { to: [], reason: 'no_port' } : { to: others };
    const living = remotes.filter((remote) => !this.dead.has(`${network} ${remote}`)).map((remote) => ({ remote }));
    const to = [...others, ...living];
    if (to.length > 0) return { to };
    return { to, reason: remotes.length > 0 ? 'tunnel_down' : 'no_port' };
  }
}
