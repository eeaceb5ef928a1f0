/**
 * Which remotes live: keeps a BFD session with each remote of the underlays that ask for it, and marks the tunnels to those
 * that are down, which floods then leave out. Main thread.
 *
 * Beside the tunnels (RFC 5881) there is one session between two addresses, whatever tunnels there are between them. Inside
 * (`bfd.inside`), each tunnel has one of its own, whose packets workers hand over (pipeline/punt-ring.ts). Traffic
 * avoids a remote from the moment it is configured until its session is up for the first time, and whenever it is not up
 * afterwards; not when the remote says that it has switched BFD off.
 */

import type { BfdSession } from '../dataplane/bfd-session.js';
import { BfdListener } from '../dataplane/bfd-socket.js';
import { type BfdChannel, BfdSpeaker } from '../dataplane/bfd-speaker.js';
import { monotonicMs } from '../dataplane/clock.js';
import { ipText } from '../wire/address.js';
import {
  BFD_ADMIN_DOWN,
  BFD_DETECTION_EXPIRED,
  BFD_DOWN,
  BFD_INIT,
  BFD_NEIGHBOR_DOWN,
  BFD_NO_DIAGNOSTIC,
  BFD_UP,
} from '../wire/bfd.js';
import { bfdPacketEnd, bfdPacketStart } from '../wire/bfd-frame.js';
import { channelBeside, channelInside, octetsOf } from './bfd-channel.js';
import type { Indices } from './indices.js';
import type { Log } from './log.js';
import type { ResolvedBfd, ResolvedConfig, ResolvedNetwork, ResolvedPort } from './resolved.js';
import type { BfdView } from './shapes.js';

/** What is done with what sessions find out. */
export interface WatchedTunnels {
  /** Numbers of a member's tunnels to remotes that are configured. */
  numbers(member: number, remotes: readonly string[]): readonly number[];
  setDown(tunnel: number, isDown: boolean): void;
  /** The next sequence number of what is sent through the tunnel. */
  takeSequence(tunnel: number): number;
}

/** A session that the configuration asks for. */
interface Wanted {
  readonly underlay: string;
  readonly local: string;
  readonly remote: string;
  readonly settings: ResolvedBfd;
  readonly tunnels: number[];
  /** Of a session inside a tunnel: of which network. */
  readonly network?: string;
  /** Made when the session begins. */
  readonly channel: () => BfdChannel;
  /** What the channel was made from: another means another session. */
  readonly way: string;
}

interface Watched {
  wanted: Wanted;
  readonly session: BfdSession;
  /** As it was told last. */
  told: string;
  retryTimer?: NodeJS.Timeout;
}

const RETRY_MS = 1000;
const stateNames = ['admin-down', 'down', 'init', 'up'] as const;

export class BfdServer {
  private readonly tunnels: WatchedTunnels;
  private readonly log: Log;
  private readonly speaker: BfdSpeaker;
  private readonly watched = new Map<string, Watched>();
  private readonly listeners = new Map<string, BfdListener>();
  /** Sessions inside tunnels, by tunnel. */
  private readonly insiders = new Map<number, string>();

  constructor(tunnels: WatchedTunnels, log: Log) {
    this.tunnels = tunnels;
    this.log = log;
    this.speaker = new BfdSpeaker({ clock: monotonicMs, drain: () => this.drain() });
  }

  /** Watches the remotes of this configuration, whose tunnels all have numbers. Call before workers flood by it. */
  follow(config: ResolvedConfig, indices: Indices): void {
    const wanted = wantedSessions(config, indices, this.tunnels);
    for (const [key, { wanted: old }] of this.watched) if (wanted.get(key)?.way !== old.way) this.end(key);
    for (const tunnel of unwatchedTunnels(config, indices, this.tunnels)) this.tunnels.setDown(tunnel, false);
    const beside = [...wanted.values()].filter(({ settings }) => !settings.inside);
    this.listenAt(new Set(beside.map(({ local }) => local)));
    this.insiders.clear();
    for (const [key, { settings, tunnels }] of wanted)
      if (settings.inside) for (const tunnel of tunnels) this.insiders.set(tunnel, key);
    for (const [key, session] of wanted) this.begin(key, session);
  }

  /** A frame that a tunnel to a configured remote brought for this. */
  hearInside(frame: Uint8Array, tunnel: number): void {
    const key = this.insiders.get(tunnel);
    const start = key === undefined ? -1 : bfdPacketStart(frame, 0, frame.length);
    if (key !== undefined && start >= 0) this.speaker.receive(key, frame.subarray(start, bfdPacketEnd(frame, start)));
  }

  /** What is known of a network's tunnel to the remote; undefined: nobody watches it. */
  view(local: string, remote: string, network: string): BfdView | undefined {
    const watched = this.watched.get(keyOf(local, remote)) ?? this.watched.get(keyOf(local, remote, network));
    if (watched === undefined) return undefined;
    const { session } = watched;
    return {
      state: stateNames[session.state] ?? 'down',
      remoteState: stateNames[session.remoteState] ?? 'down',
      isDown: session.isDown,
      reason: reasonOf(session, this.listeners.get(local)?.problem),
      detectionMs: session.detectionMs,
    };
  }

  /** Tells every remote that this end is no failure. Tunnels stay as they are. */
  close(): void {
    for (const key of this.watched.keys()) this.end(key);
    this.listenAt(new Set());
  }

  private begin(key: string, wanted: Wanted): void {
    const watched = this.watched.get(key);
    if (watched !== undefined) {
      watched.wanted = wanted;
      this.speaker.configure(key, wanted.settings);
      this.mark(watched);
      return;
    }
    const session = this.speaker.open(key, wanted.settings, wanted.channel(), () => this.hasChanged(key));
    const begun: Watched = { wanted, session, told: stateNames[session.state] ?? '' };
    this.watched.set(key, begun);
    this.mark(begun);
  }

  private end(key: string): void {
    clearTimeout(this.watched.get(key)?.retryTimer);
    this.speaker.close(key);
    this.watched.delete(key);
  }

  private hasChanged(key: string): void {
    const watched = this.watched.get(key);
    if (watched === undefined) return;
    this.mark(watched);
    this.tell(watched);
  }

  /** The table may be locked by a worker that just died; it is mended soon. */
  private mark(watched: Watched): void {
    const { wanted, session } = watched;
    clearTimeout(watched.retryTimer);
    try {
      for (const tunnel of wanted.tunnels) this.tunnels.setDown(tunnel, session.isDown);
    } catch (error) {
      this.log.error({ err: error, remote: wanted.remote }, 'BFD: tunnels could not be marked');
      watched.retryTimer = setTimeout(() => this.mark(watched), RETRY_MS).unref();
    }
  }

  /** Init is on the way, and no news of its own. */
  private tell(watched: Watched): void {
    const { session, wanted } = watched;
    const reason = reasonOf(session, undefined);
    const state = stateNames[session.state] ?? '';
    const told = session.state === BFD_UP ? state : `${state} ${session.remoteState === BFD_ADMIN_DOWN}`;
    if (session.state === BFD_INIT || told === watched.told) return;
    watched.told = told;
    const { underlay, local, remote, network } = wanted;
    const detail = { underlay, local, remote, ...(network === undefined ? {} : { network }), state, reason };
    if (session.state === BFD_UP) this.log.info(detail, 'BFD: the remote is up');
    else this.log.warn(detail, session.isDown ? 'BFD: the remote is down' : 'BFD: the remote has switched BFD off');
  }

  private drain(): void {
    for (const listener of this.listeners.values()) listener.drain();
  }

  private listenAt(locals: ReadonlySet<string>): void {
    for (const [local, listener] of this.listeners) {
      if (locals.has(local)) continue;
      listener.close();
      this.listeners.delete(local);
    }
    for (const local of locals) {
      if (this.listeners.has(local)) continue;
      const hear = (remote: Uint8Array, octets: Uint8Array) =>
        this.speaker.receive(keyOf(local, ipText(remote)), octets);
      const listener = new BfdListener(octetsOf(local), hear);
      this.listeners.set(local, listener);
      const { problem } = listener;
      if (problem !== undefined) this.log.warn({ local, problem }, 'BFD hears nothing');
    }
  }
}

/** Names and addresses have no blanks. */
function keyOf(...words: string[]): string {
  return words.join(' ');
}

function wantedSessions(config: ResolvedConfig, indices: Indices, tunnels: WatchedTunnels): Map<string, Wanted> {
  const sessions = new Map<string, Wanted>();
  for (const [name, port] of config.ports) {
    for (const found of tunnelsOf(config, name, port, indices, tunnels)) {
      const [key, session] = wantedSession(port, found, tunnels) ?? [];
      if (key === undefined || session === undefined) continue;
      const known = sessions.get(key);
      if (known === undefined) sessions.set(key, session);
      else known.tunnels.push(found.tunnel);
    }
  }
  return sessions;
}

function wantedSession(port: ResolvedPort, found: FoundTunnel, tunnels: WatchedTunnels): [string, Wanted] | undefined {
  const { intent, underlay } = port;
  if (underlay?.bfd === undefined || intent.underlay === undefined) return undefined;
  const { local } = intent.underlay;
  const { remote, tunnel, name, network } = found;
  const common = { underlay: underlay.name, local, remote, settings: underlay.bfd, tunnels: [tunnel] };
  if (!underlay.bfd.inside)
    return [keyOf(local, remote), { ...common, way: '', channel: () => channelBeside(local, remote) }];
  const { remotes: _, options = [], ...header } = network.tunnel ?? {};
  const way = JSON.stringify([network.id, header, [...options], intent.underlay.port, intent.underlay.ttl, tunnel]);
  const channel = () => channelInside(port, network, remote, () => tunnels.takeSequence(tunnel));
  return [keyOf(local, remote, name), { ...common, network: name, way, channel }];
}

/** Tunnels that an earlier configuration, or an earlier daemon, may have had watched. */
function* unwatchedTunnels(config: ResolvedConfig, indices: Indices, tunnels: WatchedTunnels): Generator<number> {
  for (const [name, port] of config.ports) {
    if (port.underlay === undefined || port.underlay.bfd !== undefined) continue;
    for (const { tunnel } of tunnelsOf(config, name, port, indices, tunnels)) yield tunnel;
  }
}

interface FoundTunnel {
  readonly remote: string;
  readonly tunnel: number;
  /** Of its network. */
  readonly name: string;
  readonly network: ResolvedNetwork;
}

/** Every tunnel of an underlay port to a remote of the configuration. */
function* tunnelsOf(
  config: ResolvedConfig,
  name: string,
  { members, underlay }: ResolvedPort,
  indices: Indices,
  tunnels: WatchedTunnels,
): Generator<FoundTunnel> {
  if (underlay === undefined) return;
  for (const { network: networkName } of members) {
    const network = config.networks.get(networkName);
    const member = indices.member(name, networkName);
    if (network === undefined || member === undefined)
      throw new TypeError(`no index was allocated for ${name} in ${networkName}`);
    const remotes = network.tunnel?.remotes ?? [];
    const numbers = tunnels.numbers(member, remotes);
    for (const [index, remote] of remotes.entries()) {
      const tunnel = numbers[index];
      if (tunnel !== undefined && tunnel !== 0) yield { remote, tunnel, name: networkName, network };
    }
  }
}

/** One clause: why the session is not up; empty when it is. */
function reasonOf(session: BfdSession, problem: string | undefined): string {
  if (session.state === BFD_UP) return '';
  if (session.remoteState === BFD_ADMIN_DOWN) return 'the remote has switched BFD off';
  if (problem !== undefined) return problem;
  if (session.state === BFD_INIT) return 'coming up';
  if (session.diagnostic === BFD_DETECTION_EXPIRED) return 'control detection time expired';
  if (session.diagnostic === BFD_NEIGHBOR_DOWN) return 'the remote says that the session is down';
  return session.diagnostic === BFD_NO_DIAGNOSTIC && session.state === BFD_DOWN ? 'not up yet' : 'down';
}
