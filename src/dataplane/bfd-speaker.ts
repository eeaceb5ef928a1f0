/**
 * All BFD sessions of this host: gives each its discriminator and its timer, and each packet to the session that it is for.
 * How packets travel is a matter of channels. Main thread.
 *
 * The thread also answers operators and compiles configurations, so it may be late. Before a session's patience ends, what
 * waits in the sockets is heard; and if the timer itself was late by PAUSE_MS, the process or the whole machine may have
 * stood still, so the time by which it was late does not count as silence.
 *
 * What an attacker can do: a packet that passed its channel's checks costs a look-up. It is for a session only if it comes
 * from that session's remote, so guessing discriminators is of no use from elsewhere.
 */
import { randomInt } from 'node:crypto';
import { BFD_SIZE, type BfdPacket, readBfd, writeBfd } from '../wire/bfd.js';
import { BfdSession, type BfdSettings } from './bfd-session.js';
import type { Clock } from './clock.js';

/** The way to one remote. */
export interface BfdChannel {
  /** Octets are good until the call returns. What can't be sent is lost. */
  send(octets: Uint8Array): void;
  close(): void;
}

export interface BfdSpeakerOptions {
  readonly clock: Clock;
  /** Hears whatever waits in the sockets, by `receive`. */
  readonly drain: () => void;
}

/** A timer that is later than this was held up by more than other work. */
const PAUSE_MS = 100;
const DISCRIMINATOR_MAX = 2 ** 32;
/** Packets that say AdminDown: two may get lost. */
const FAREWELLS = 3;

interface Spoken {
  readonly remote: string;
  readonly session: BfdSession;
  readonly channel: BfdChannel;
  timer: NodeJS.Timeout | undefined;
  armedMs: number;
}

export class BfdSpeaker {
  private readonly options: BfdSpeakerOptions;
  private readonly byRemote = new Map<string, Spoken>();
  private readonly discriminators = new Set<number>();
  private readonly octets = new Uint8Array(BFD_SIZE);

  constructor(options: BfdSpeakerOptions) {
    this.options = options;
  }

  session(remote: string): BfdSession | undefined {
    return this.byRemote.get(remote)?.session;
  }

  /** Begins a session with a remote, which has none. `remote`: any word by which the channel's packets are told apart. */
  open(remote: string, settings: BfdSettings, channel: BfdChannel, changed: (session: BfdSession) => void): BfdSession {
    const outlet = {
      send: (packet: BfdPacket) => {
        writeBfd(this.octets, 0, packet);
        channel.send(this.octets);
      },
      changed: () => changed(session),
      random: Math.random,
    };
    const session = new BfdSession(this.newDiscriminator(), settings, outlet, this.options.clock());
    const spoken: Spoken = { remote, session, channel, timer: undefined, armedMs: Number.POSITIVE_INFINITY };
    this.byRemote.set(remote, spoken);
    this.discriminators.add(session.discriminator);
    this.arm(spoken);
    return session;
  }

  configure(remote: string, settings: BfdSettings): void {
    const spoken = this.byRemote.get(remote);
    if (spoken === undefined) return;
    spoken.session.configure(settings, this.options.clock());
    this.arm(spoken);
  }

  /** Ends the session; the remote is told. */
  close(remote: string): void {
    const spoken = this.byRemote.get(remote);
    if (spoken === undefined) return;
    clearTimeout(spoken.timer);
    for (let count = 0; count < FAREWELLS; count++) spoken.session.shutDown();
    spoken.channel.close();
    this.byRemote.delete(remote);
    this.discriminators.delete(spoken.session.discriminator);
  }

  /**
   * A packet from a remote, which whoever calls has made sure of. What is malformed or for nobody is ignored (RFC 5880
   * section 6.8.6). Without "your discriminator" the remote alone decides (RFC 5881 section 3).
   */
  receive(remote: string, octets: Uint8Array): void {
    const packet = readBfd(octets, 0, octets.length);
    if (typeof packet === 'string') return;
    const spoken = this.byRemote.get(remote);
    if (spoken === undefined) return;
    if (packet.yourDiscriminator !== 0 && packet.yourDiscriminator !== spoken.session.discriminator) return;
    spoken.session.receive(packet, this.options.clock());
    this.arm(spoken);
  }

  /** Makes the timer go off when something is due. One that goes off too early is set again then, which is cheaper. */
  private arm(spoken: Spoken): void {
    const { dueMs } = spoken.session;
    if (spoken.timer !== undefined && spoken.armedMs <= dueMs) return;
    clearTimeout(spoken.timer);
    spoken.timer = undefined;
    spoken.armedMs = dueMs;
    if (dueMs === Number.POSITIVE_INFINITY) return;
    const delay = Math.max(0, Math.ceil(dueMs - this.options.clock()));
    spoken.timer = setTimeout(() => this.wake(spoken), delay).unref();
  }

  private wake(spoken: Spoken): void {
    const { session } = spoken;
    const { clock, drain } = this.options;
    const late = clock() - spoken.armedMs;
    spoken.timer = undefined;
    drain();
    // Ended by what was heard.
    if (this.byRemote.get(spoken.remote) !== spoken) return;
    if (late > PAUSE_MS) session.excuse(late);
    session.tick(clock());
    this.arm(spoken);
  }

  private newDiscriminator(): number {
    for (;;) {
      const discriminator = randomInt(1, DISCRIMINATOR_MAX);
      if (!this.discriminators.has(discriminator)) return discriminator;
    }
  }
}
