/**
 * What the reference of NAT remembers: sessions, each with the packet that began it as it came and as it left. How long one
 * lasts is known only within bounds, by the timeouts that CONFIG.md states: until some time it is surely there, after another
 * it is surely gone, in between it may be either.
 */
import { type NatConfig, same } from './nat-model.js';
import { ACK, type Endpoint, FIN, ICMP, RST, SYN, TCP, type Tuple, UDP } from './nat-octets.js';

/** Milliseconds. TCP: being set up, and established. Expiry is looked for now and then, in steps of seconds. */
const SLACK = 6_000;
const LEAST = { udp: 120_000, icmp: 60_000, tcpOpening: 60_000, tcpEstablished: 7_440_000, other: 300_000 };
const MOST = { udp: 300_000, icmp: 60_000, tcp: 7_500_000, other: 300_000 };

/** A mapping in use, and the far end by which. */
export interface Hold {
  readonly inside: Endpoint;
  readonly outside: Endpoint;
  readonly remote: Endpoint;
  /** The inside end has sent there. */
  readonly isOutward: boolean;
}

/** A session with one of its mappings. */
export interface Held extends Hold {
  readonly session: Session;
}

export interface Session {
  readonly protocol: number;
  readonly original: Tuple;
  readonly translated: Tuple;
  readonly beganInside: boolean;
  readonly endsInside: boolean;
  /** Mappings that live as long as it does: its source's, and the one by which it got in. */
  readonly holds: readonly Hold[];
  /** Of a floating address or a forward, as text: what the configuration must still say. */
  readonly because: string;
  /** The router's filtering when it began: whom a mapping lets in is remembered only where that is asked for. */
  readonly filtering: NatConfig['filtering'];
  lastAt: number;
  isEstablished: boolean;
  isClosing: boolean;
  /** Whether it outlived a change of the configuration is not known. */
  isDoubtful: boolean;
}

export const reversed = ({ source, destination }: Tuple): Tuple => ({ source: destination, destination: source });
export const sameTuple = (one: Tuple, other: Tuple) =>
  same(one.source, other.source) && same(one.destination, other.destination);

export class Sessions {
  all: Session[] = [];
  now = 0;

  isSure(session: Session): boolean {
    const { protocol, lastAt, isEstablished, isClosing, isDoubtful } = session;
    if (isDoubtful || isClosing) return false;
    const opening = isEstablished ? LEAST.tcpEstablished : LEAST.tcpOpening;
    const least = { [TCP]: opening, [UDP]: LEAST.udp, [ICMP]: LEAST.icmp }[protocol] ?? LEAST.other;
    return this.now - lastAt < least - SLACK;
  }

  /** Forgets those that are surely gone. */
  expire(): void {
    this.all = this.all.filter(({ protocol, lastAt }) => {
      const most = { [TCP]: MOST.tcp, [UDP]: MOST.udp, [ICMP]: MOST.icmp }[protocol] ?? MOST.other;
      return this.now - lastAt < most + SLACK;
    });
  }

  /** The session that the packet goes on with, and which way; a sure one before others. */
  find(protocol: number, tuple: Tuple, isFromInside: boolean): { session: Session; isReply: boolean }[] {
    const found = this.all.flatMap((session) => {
      if (session.protocol !== protocol) return [];
      if (session.beganInside === isFromInside && sameTuple(session.original, tuple))
        return [{ session, isReply: false }];
      if (session.endsInside === isFromInside && sameTuple(reversed(session.translated), tuple))
        return [{ session, isReply: true }];
      return [];
    });
    const sure = found.filter(({ session }) => this.isSure(session));
    return sure.length > 0 ? sure : found;
  }

  /** By what the inside endpoint has an outside one. */
  ofInside(protocol: number, inside: Endpoint): Held[] {
    return this.held(protocol).filter((one) => same(one.inside, inside));
  }

  ofOutside(protocol: number, outside: Endpoint): Held[] {
    return this.held(protocol).filter((one) => same(one.outside, outside));
  }

  held(protocol: number): Held[] {
    const all = this.all.filter((session) => session.protocol === protocol);
    return all.flatMap((session) => session.holds.map((hold) => ({ ...hold, session })));
  }

  /** What the packet says of its session's state. */
  touch(session: Session, flags: number, isInOrder: boolean): void {
    session.lastAt = this.now;
    session.isDoubtful = false;
    if (session.protocol !== TCP) return;
    // Also after what neither end expects, nobody knows what a tracker makes of the rest.
    if ((flags & (RST | FIN)) !== 0 || !isInOrder || flags === SYN) session.isClosing = true;
    else if ((flags & (ACK | SYN)) === ACK) session.isEstablished = true;
  }

  /** Another configuration: what it no longer allows is gone, what another rule would translate now is not sure. */
  reconfigure(before: NatConfig, after: NatConfig): void {
    const held = new Set([
      ...(after.snat ? after.addresses : []),
      ...after.floating.keys(),
      ...after.forwards.map(({ address }) => address),
    ]);
    const reasons = new Set(reasonsOf(after));
    const isOther = before.mapping !== after.mapping || before.snat !== after.snat || before.pool !== after.pool;
    this.all = this.all.filter((session) => {
      const { original, translated } = session;
      const moves = (one: Endpoint, other: Endpoint) => one.address !== other.address;
      const outsides = [
        ...(moves(original.source, translated.source) ? [translated.source.address] : []),
        ...(moves(original.destination, translated.destination) ? [original.destination.address] : []),
      ];
      return outsides.every((address) => held.has(address));
    });
    const isFloatingOther = text(before.floating) !== text(after.floating);
    for (const session of this.all)
      if (
        isOther ||
        isFloatingOther ||
        (session.because !== '' && !session.because.split(' + ').every((one) => reasons.has(one)))
      )
        session.isDoubtful = true;
  }
}

const text = (floating: ReadonlyMap<string, string>) => JSON.stringify([...floating]);

/** What sessions can be because of. */
export function reasonsOf({ floating, forwards }: NatConfig): string[] {
  return [
    ...[...floating].map(([outside, inside]) => `${outside}=${inside}`),
    ...forwards.map((forward) => JSON.stringify(forward)),
  ];
}
