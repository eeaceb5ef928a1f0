/**
 * One BFD session (RFC 5880): whether the system at the other end is alive, agreed on by both. Asynchronous mode without
 * authentication and without echo. Pure: time, chance and the way out are given to it. Runs on the main thread.
 *
 *   Down --hears Down--> Init --hears Init or Up--> Up
 *   Down --hears Init--> Up
 *   Init, Up --nothing for the detection time--> Down
 *   Up --hears Down--> Down;  any of these --hears AdminDown--> Down;  any --shutDown--> AdminDown, for good
 *
 * A remote that asks for demand mode ("send me nothing while we are up") is refused: it goes on getting packets, as it does
 * from Open vSwitch and FRR. Section 6.6 lets a sender of them only spare its peer some work.
 *
 * What an attacker can do: nothing from further than one hop (the TTL is checked by the socket). Who can send from the
 * remote's address on the same link can end the session, as he could by answering ARP for it.
 */
import {
  BFD_ADMIN_DOWN,
  BFD_ADMINISTRATIVELY_DOWN,
  BFD_DETECTION_EXPIRED,
  BFD_DOWN,
  BFD_INIT,
  BFD_NEIGHBOR_DOWN,
  BFD_NO_DIAGNOSTIC,
  BFD_UP,
  type BfdPacket,
} from '../wire/bfd.js';

export interface BfdSettings {
  /** Between two packets once the session is up, both ways: what is wished to be sent and accepted. */
  readonly intervalMs: number;
  /** Packets that may get lost before the remote takes this end for dead. */
  readonly multiplier: number;
}

/** What a session needs of the world. */
export interface BfdOutlet {
  send(packet: BfdPacket): void;
  /** State, diagnostic or the remote's state are others now. */
  changed(): void;
  /** 0 <= x < 1. */
  random(): number;
}

/** "When bfd.SessionState is not Up, the system MUST set bfd.DesiredMinTxInterval to a value of not less than one second" (6.8.3). */
const SLOW_US = 1_000_000;
/** Packets are sent after 75 to 100 % of the interval, "if bfd.DetectMult is equal to 1 [...] no more than 90%" (6.8.7). */
const JITTER_LEAST = 0.75;
const JITTER_MOST = 1;
const JITTER_MOST_SINGLE = 0.9;

export class BfdSession {
  readonly discriminator: number;
  /** BFD_… states and diagnostics of this end, and what the remote said last of its own. */
  state = BFD_DOWN;
  diagnostic = BFD_NO_DIAGNOSTIC;
  remoteState = BFD_DOWN;
  remoteDiagnostic = BFD_NO_DIAGNOSTIC;
  private readonly outlet: BfdOutlet;
  private settings: BfdSettings;
  /** 0: unknown, or nothing was heard for a detection time. */
  private remoteDiscriminator = 0;
  private remoteMultiplier = 0;
  private remoteMinTxUs = 0;
  /** "This variable MUST be initialized to 1" (6.8.1). 0: the remote wants no packets. */
  private remoteMinRxUs = 1;
  /** A poll sequence is under way: packets ask until one with the final bit comes. */
  private isPolling = false;
  /** What takes effect: behind the settings while a poll sequence has to be answered first. */
  private txUs: number;
  private rxUs: number;
  private nextTxMs: number;
  /** When the remote is taken for silent; infinite while nothing was heard. */
  private silentMs = Number.POSITIVE_INFINITY;

  /** `discriminator`: unique among this host's sessions, not 0. The first packet is due at once. */
  constructor(discriminator: number, settings: BfdSettings, outlet: BfdOutlet, nowMs: number) {
    this.discriminator = discriminator;
    this.settings = settings;
    this.outlet = outlet;
    this.txUs = slowUs(settings);
    this.rxUs = wishedUs(settings);
    this.nextTxMs = nowMs;
  }

  /** When `tick` is to be called. May move forth and back with every packet received; never called too early or too often. */
  get dueMs(): number {
    return Math.min(this.nextTxMs, this.silentMs);
  }

  /** The remote is taken for dead this long after its last packet, in ms; 0: nothing was heard yet. */
  get detectionMs(): number {
    return (this.remoteMultiplier * Math.max(this.rxUs, this.remoteMinTxUs)) / 1000;
  }

  /** Whether traffic is to avoid the remote. One that switched BFD off says nothing about itself (RFC 5882 section 3.2). */
  get isDown(): boolean {
    return this.state !== BFD_UP && this.remoteState !== BFD_ADMIN_DOWN;
  }

  /** What is due by now: a packet, the end of patience. */
  tick(nowMs: number): void {
    if (nowMs >= this.silentMs) this.expire();
    if (nowMs >= this.nextTxMs) this.transmit(nowMs);
  }

  /**
   * Nobody listened for this long (the process stood still): the remote is not to blame for silence in that time. What
   * waits in the socket is to be received first.
   */
  excuse(ms: number): void {
    this.silentMs += ms;
  }

  /** Takes a packet that is for this session: sections 6.8.6 (from where the session is known) and 6.8.7. */
  receive(packet: BfdPacket, nowMs: number): void {
    const isNews = packet.state !== this.remoteState || packet.diagnostic !== this.remoteDiagnostic;
    this.remoteDiscriminator = packet.myDiscriminator;
    this.remoteState = packet.state;
    this.remoteDiagnostic = packet.diagnostic;
    this.remoteMultiplier = packet.multiplier;
    this.remoteMinTxUs = packet.desiredMinTxUs;
    this.remoteMinRxUs = packet.requiredMinRxUs;
    if (packet.isFinal && this.isPolling) this.endPoll();
    if (this.state === BFD_ADMIN_DOWN) return;
    this.silentMs = nowMs + this.detectionMs;
    const hasMoved = this.follow(packet.state);
    this.nextTxMs = Math.min(this.nextTxMs, nowMs + this.jitteredMs());
    if (packet.isPoll) this.outlet.send(this.packet(true));
    // "SHOULD be transmitted during the interval between periodic Control packet transmissions when the contents of that
    // packet would differ [...] in order to more rapidly communicate a change in state."
    if (hasMoved) this.transmit(nowMs);
    if (hasMoved || isNews) this.outlet.changed();
  }

  /** Other settings from now on, agreed with the remote by a poll sequence (6.8.3). */
  configure(settings: BfdSettings, nowMs: number): void {
    const hasChanged = wishedUs(settings) !== wishedUs(this.settings);
    this.settings = settings;
    if (!hasChanged) return;
    if (this.state === BFD_UP) this.poll();
    else {
      this.txUs = slowUs(settings);
      this.rxUs = wishedUs(settings);
    }
    this.nextTxMs = Math.min(this.nextTxMs, nowMs + this.jitteredMs());
  }

  /** Ends the session: the remote hears that it is no failure. Can be called again, for the case that a packet is lost. */
  shutDown(): void {
    this.state = BFD_ADMIN_DOWN;
    this.diagnostic = BFD_ADMINISTRATIVELY_DOWN;
    this.isPolling = false;
    this.silentMs = Number.POSITIVE_INFINITY;
    this.nextTxMs = Number.POSITIVE_INFINITY;
    this.outlet.send(this.packet(false));
  }

  /** True when the state is another now. */
  private follow(remoteState: number): boolean {
    const { state } = this;
    if (remoteState === BFD_ADMIN_DOWN) return state !== BFD_DOWN && this.fall(BFD_NEIGHBOR_DOWN);
    if (state === BFD_UP) return remoteState === BFD_DOWN && this.fall(BFD_NEIGHBOR_DOWN);
    if (state === BFD_INIT) return remoteState !== BFD_DOWN && this.rise(BFD_UP);
    if (remoteState === BFD_DOWN) return this.rise(BFD_INIT);
    return remoteState === BFD_INIT && this.rise(BFD_UP);
  }

  private rise(state: number): true {
    this.state = state;
    this.diagnostic = BFD_NO_DIAGNOSTIC;
    // From the slow interval to the one wished for.
    if (state === BFD_UP && wishedUs(this.settings) < SLOW_US) this.poll();
    return true;
  }

  /** Nobody would answer a poll sequence now; the next one begins when the session is up again. */
  private fall(diagnostic: number): true {
    this.state = BFD_DOWN;
    this.diagnostic = diagnostic;
    this.isPolling = false;
    this.txUs = slowUs(this.settings);
    this.rxUs = wishedUs(this.settings);
    return true;
  }

  /** Section 6.8.4; the discriminator is forgotten in every state (6.8.1). */
  private expire(): void {
    this.remoteDiscriminator = 0;
    this.silentMs = Number.POSITIVE_INFINITY;
    // Silence of a remote in Down or AdminDown is no news.
    if (this.state !== BFD_UP && this.state !== BFD_INIT) return;
    this.fall(BFD_DETECTION_EXPIRED);
    // The news is not to wait for the timer.
    this.nextTxMs = Number.NEGATIVE_INFINITY;
    this.outlet.changed();
  }

  /**
   * "If bfd.DesiredMinTxInterval is increased and bfd.SessionState is Up, the actual transmission interval used MUST NOT
   * change until the Poll Sequence [...] has terminated"; the same for detection when RequiredMinRxInterval is reduced.
   */
  private poll(): void {
    const wished = wishedUs(this.settings);
    this.isPolling = true;
    this.txUs = Math.min(this.txUs, wished);
    this.rxUs = Math.max(this.rxUs, wished);
  }

  private endPoll(): void {
    this.isPolling = false;
    if (this.state !== BFD_UP) return;
    this.txUs = wishedUs(this.settings);
    this.rxUs = this.txUs;
  }

  private transmit(nowMs: number): void {
    this.nextTxMs = nowMs + this.jitteredMs();
    // "A system MUST NOT periodically transmit BFD Control packets if bfd.RemoteMinRxInterval is zero."
    if (this.remoteMinRxUs !== 0) this.outlet.send(this.packet(false));
  }

  private jitteredMs(): number {
    const most = this.settings.multiplier === 1 ? JITTER_MOST_SINGLE : JITTER_MOST;
    const share = JITTER_LEAST + this.outlet.random() * (most - JITTER_LEAST);
    return (Math.max(this.txUs, this.remoteMinRxUs) * share) / 1000;
  }

  /** What is said is what is wished, also while something else is still in effect. */
  private packet(isFinal: boolean): BfdPacket {
    const wished = wishedUs(this.settings);
    return {
      diagnostic: this.diagnostic,
      state: this.state,
      isPoll: this.isPolling && !isFinal,
      isFinal,
      isControlPlaneIndependent: false,
      isDemand: false,
      multiplier: this.settings.multiplier,
      myDiscriminator: this.discriminator,
      yourDiscriminator: this.remoteDiscriminator,
      desiredMinTxUs: this.state === BFD_UP ? wished : slowUs(this.settings),
      requiredMinRxUs: wished,
      requiredMinEchoRxUs: 0,
    };
  }
}

function wishedUs({ intervalMs }: BfdSettings): number {
  return Math.round(intervalMs * 1000);
}

/** While the session is not up. */
function slowUs(settings: BfdSettings): number {
  return Math.max(SLOW_US, wishedUs(settings));
}
