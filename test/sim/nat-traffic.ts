/**
 * Random packets for the simulator of NAT: new conversations in all directions, their answers as each end saw the other, ICMP
 * errors about what arrived, and what nobody should send. Few endpoints, so that they meet.
 */
import { HALVES, type Half, isInside, type NatConfig, OWN6, REMOTES, STATIONS, type Station } from './nat-model.js';
import {
  ACK,
  ECHO_REPLY,
  type Endpoint,
  errorPacket,
  FIN,
  GRE,
  ICMP,
  makePacket,
  type Packet,
  packetOctets,
  RST,
  SYN,
  TCP,
  type Tuple,
  UDP,
  type Upper,
} from './nat-octets.js';
import type { Session } from './nat-sessions.js';
import type { Random } from './random.js';

/** Two ends that have heard of each other, each by the addresses that it sees. */
export interface Talk {
  readonly half: Half;
  readonly protocol: number;
  readonly sender: Station;
  readonly receiver: Station;
  readonly asSent: Tuple;
  readonly asReceived: Tuple;
  /** TCP: what each has sent, and how far the handshake is. */
  stage: number;
  sent: number;
  answered: number;
  /** A packet of it is under way. */
  isBusy: boolean;
}

/** A packet that arrived, as it was sent and as it came. */
export interface Delivery {
  readonly half: Half;
  readonly sent: Packet;
  readonly left: Packet;
  readonly sender: Station;
  readonly receiver: Station;
  readonly session: Session | undefined;
}

export interface Shot {
  readonly half: Half;
  readonly station: Station;
  readonly packet: Packet;
  readonly flags: number;
  readonly type: number;
  readonly isInOrder: boolean;
  /** Octets of a fragment's payload. */
  readonly cutAt?: number;
  readonly gsoSize?: number;
  readonly talk?: Talk;
  /** The error is about this. */
  readonly about?: { readonly delivery: Delivery; readonly quotedTtl: number; readonly quotedSize: number };
  /** It must go nowhere. */
  readonly isHostile?: boolean;
}

const INSIDE_PORTS = [80, 81, 4000, 4000, 4001, 4002, 4003, 5000, 5001, 6002, 600];
const OUTSIDE_PORTS = [7, 80, 81, 4000];
const inner = STATIONS.filter(({ network }) => network !== 'ext');
const outer = STATIONS.find(({ name }) => name === 'o')!;
const near = STATIONS.find(({ name }) => name === 'p')!;
const TTL = 40;

export class NatTraffic {
  readonly talks: Talk[] = [];
  readonly deliveries: Delivery[] = [];
  private readonly random: Random;
  private id = 1;

  constructor(random: Random) {
    this.random = random;
  }

  next(configs: Readonly<Record<Half, NatConfig>>): Shot {
    const { random } = this;
    const half = random.pick(HALVES);
    const idle = this.talks.filter(({ isBusy }) => !isBusy);
    switch (random.below(12)) {
      case 0:
      case 1:
        return this.inward(half, configs[half]);
      case 2:
      case 3:
      case 4:
      case 5:
        if (idle.length > 0) return this.goOn(idle[random.below(idle.length)]!);
        break;
      case 6:
        if (this.deliveries.length > 0) return this.error(random.pick(this.deliveries));
        break;
      case 7:
        return this.odd(half, configs[half]);
    }
    return this.outward(half, configs[half]);
  }

  private nextId(): number {
    this.id = (this.id % 65_000) + 1;
    return this.id;
  }

  private shot(
    half: Half,
    station: Station,
    head: Tuple & { protocol: number; ttl?: number },
    upper: Upper = {},
  ): Shot {
    const packet = makePacket({ ttl: TTL, ...head, id: this.nextId() }, upper, () => this.random.next());
    const { flags = SYN, type = 8 } = upper;
    return {
      half,
      station,
      packet,
      flags,
      type,
      isInOrder: head.protocol !== TCP || (flags === SYN && !('sequence' in upper)),
    };
  }

  private protocol(): number {
    return this.random.pick([TCP, UDP, UDP, ICMP]);
  }

  /** Endpoints of a conversation; of ICMP one identifier stands for both. */
  private tuple(protocol: number, source: Endpoint, destination: Endpoint): Tuple {
    if (protocol !== ICMP) return { source, destination };
    return { source, destination: { ...destination, port: source.port } };
  }

  private extras(protocol: number): { upper: Upper; cutAt?: number; gsoSize?: number } {
    const { random } = this;
    if (protocol === GRE) return { upper: {} };
    if (protocol === UDP && random.oneIn(6))
      return { upper: { size: random.between(30, 200) }, cutAt: random.pick([32, 40, 64]) };
    if (protocol === UDP && random.oneIn(6)) return { upper: { hasNoChecksum: true } };
    if (protocol !== ICMP && random.oneIn(5)) return { upper: { isPartial: true, size: random.below(60) } };
    return { upper: { size: random.below(60) } };
  }

  // ---- new ones -----------------------------------------------------------------------------------------------------

  private outward(half: Half, config: NatConfig): Shot {
    const { random } = this;
    const station = random.pick(inner);
    if (station.addresses.length > 1 && random.oneIn(10)) return this.outward6(half, station, config);
    const protocol = random.oneIn(30) ? GRE : this.protocol();
    const source = { address: station.addresses[0]!, port: protocol === GRE ? 0 : random.pick(INSIDE_PORTS) };
    const destination = { address: this.destination(config), port: protocol === GRE ? 0 : random.pick(OUTSIDE_PORTS) };
    if (random.oneIn(3) && !isInside(destination.address)) destination.port = random.pick([8080, ...INSIDE_PORTS]);
    if (protocol === GRE) destination.port = 0;
    return this.withExtras(half, station, protocol, this.tuple(protocol, source, destination));
  }

  private withExtras(half: Half, station: Station, protocol: number, tuple: Tuple): Shot {
    const { upper, ...rest } = this.extras(protocol);
    return { ...this.shot(half, station, { ...tuple, protocol }, upper), ...rest };
  }

  private destination({ addresses, floating, forwards }: NatConfig): string {
    const own = [...addresses, ...[...floating.keys()].filter((one) => !one.includes(':'))];
    const all = [...own, ...forwards.map(({ address }) => address)];
    if (this.random.oneIn(3)) return this.random.pick(all);
    if (this.random.oneIn(6)) return this.random.pick(inner).addresses[0]!;
    return this.random.pick(REMOTES);
  }

  private outward6(half: Half, station: Station, { floating }: NatConfig): Shot {
    const all = ['2001:db8:e::1', '2001:db8:e::2', ...[...floating.keys()].filter((one) => one.includes(':'))];
    const source = { address: station.addresses[1]!, port: this.random.pick(INSIDE_PORTS) };
    const destination = { address: this.random.pick(all), port: this.random.pick(OUTSIDE_PORTS) };
    return this.shot(half, station, { source, destination, protocol: UDP });
  }

  private inward(half: Half, config: NatConfig): Shot {
    const { random } = this;
    if (random.oneIn(10)) return this.inward6(half, config);
    const address = random.pick(REMOTES);
    const station = address === near.addresses[0] ? near : outer;
    const protocol = random.oneIn(30) ? GRE : this.protocol();
    const source = { address, port: random.pick(OUTSIDE_PORTS) };
    const known = this.talks.filter(
      (talk) =>
        talk.half === half &&
        talk.protocol === protocol &&
        talk.receiver.network === 'ext' &&
        !talk.asSent.source.address.includes(':'),
    );
    const seen = known.length > 0 && random.oneIn(2) ? random.pick(known).asReceived.source : undefined;
    const destination = seen ?? { address: this.target(config), port: random.pick([8080, ...INSIDE_PORTS]) };
    if (protocol === ICMP)
      return this.withExtras(half, station, protocol, { source: { address, port: destination.port }, destination });
    if (protocol === GRE) {
      const ends = { source: { address, port: 0 }, destination: { address: destination.address, port: 0 } };
      return this.shot(half, station, { ...ends, protocol });
    }
    return this.withExtras(half, station, protocol, { source, destination });
  }

  private target({ addresses, floating, forwards }: NatConfig): string {
    const own = [
      ...addresses,
      ...[...floating.keys()].filter((one) => !one.includes(':')),
      ...forwards.map(({ address }) => address),
    ];
    return this.random.oneIn(8) ? this.random.pick(inner).addresses[0]! : this.random.pick(own);
  }

  private inward6(half: Half, { floating }: NatConfig): Shot {
    const { random } = this;
    const all = ['2001:db8:a::5', '2001:db8:a::6', OWN6, ...[...floating.keys()].filter((one) => one.includes(':'))];
    const station = random.pick([outer, near]);
    const source = { address: station.addresses[1]!, port: random.pick(OUTSIDE_PORTS) };
    const destination = { address: random.pick(all), port: random.pick(INSIDE_PORTS) };
    return this.shot(half, station, { source, destination, protocol: UDP });
  }

  // ---- what follows ---------------------------------------------------------------------------------------------------

  private goOn(talk: Talk): Shot {
    talk.isBusy = true;
    if (talk.protocol === TCP) return this.segment(talk);
    const isAnswer = this.random.oneIn(2);
    const { asSent, asReceived, half, protocol } = talk;
    const tuple = isAnswer ? { source: asReceived.destination, destination: asReceived.source } : asSent;
    const type = isAnswer ? ECHO_REPLY : 8;
    const extras = protocol === GRE ? { upper: {} } : this.extras(protocol);
    const { upper, ...rest } = extras;
    const isPlain = tuple.source.address.includes(':');
    const shot = this.shot(
      half,
      isAnswer ? talk.receiver : talk.sender,
      { ...tuple, protocol },
      isPlain ? {} : { ...upper, type },
    );
    return { ...shot, ...(isPlain ? {} : rest), talk };
  }

  /** The next segment of a TCP connection, with the numbers that both ends expect. */
  private segment(talk: Talk): Shot {
    const { random } = this;
    const { asSent, asReceived, half, stage } = talk;
    const isAnswer = stage === 1 || (stage >= 3 && random.oneIn(2));
    const tuple = isAnswer ? { source: asReceived.destination, destination: asReceived.source } : asSent;
    const isEnd = stage >= 3 && random.oneIn(8);
    const flags = stage === 1 ? SYN | ACK : isEnd ? random.pick([FIN | ACK, RST | ACK]) : ACK;
    const size = stage >= 3 && !isEnd ? random.pick([0, 10, 50, 4000]) : 0;
    const isBig = size > 1400;
    const [sequence, acknowledgement] = isAnswer ? [talk.answered, talk.sent] : [talk.sent, talk.answered];
    const isPartial = isBig || random.oneIn(3);
    const upper = { flags, size, sequence, acknowledgement, isPartial };
    const shot = this.shot(half, isAnswer ? talk.receiver : talk.sender, { ...tuple, protocol: TCP }, upper);
    const took = size + (stage === 1 || (flags & FIN) !== 0 ? 1 : 0);
    if (isAnswer) talk.answered += took;
    else talk.sent += took;
    talk.stage = isEnd ? 9 : Math.min(stage + 1, 3);
    return { ...shot, isInOrder: true, talk, ...(isBig ? { gsoSize: 1400 } : {}) };
  }

  /** An ICMP error of whom a packet came to, or of a router before it. */
  private error(delivery: Delivery): Shot {
    const { random } = this;
    const { half, left, receiver } = delivery;
    const quotedTtl = random.between(1, left.ttl);
    const whole = packetOctets({ ...left, ttl: quotedTtl });
    const quotedSize = random.pick([28, Math.min(whole.length, 40), whole.length]);
    const isOutside = receiver.network === 'ext';
    const isOnTheWay = isOutside && random.oneIn(2);
    const source = isOnTheWay ? '203.0.113.99' : left.destination.address;
    const [type, code] = random.pick([
      [3, 3],
      [3, 1],
      [11, 0],
      [3, 13],
      [12, 0],
    ] as const);
    const head = { source, destination: left.source.address, id: this.nextId() };
    const packet = errorPacket(head, whole.slice(0, quotedSize), type, code);
    const isHostile = random.oneIn(5);
    // Its checksum is wrong.
    if (isHostile) packet.upper[2] = packet.upper[2]! ^ 0x10;
    const station = isOnTheWay ? outer : receiver;
    const about = { delivery, quotedTtl, quotedSize };
    return { half, station, packet, flags: 0, type, isInOrder: true, about, isHostile };
  }

  /** What nobody should send, or only in another order. */
  private odd(half: Half, config: NatConfig): Shot {
    const { random } = this;
    const shot = random.oneIn(2) ? this.outward(half, config) : this.inward(half, config);
    if (shot.packet.source.address.includes(':') || shot.packet.protocol === GRE) return shot;
    const { station, packet } = shot;
    const { source, destination, protocol } = packet;
    const elsewhere =
      station.network === 'ext'
        ? random.pick(['192.0.2.6', '192.0.2.1', ...config.addresses])
        : random.pick(['203.0.113.66', '198.51.100.201']);
    switch (random.below(4)) {
      case 0:
        // Somebody else's address.
        return this.shot(half, station, { source: { ...source, address: elsewhere }, destination, protocol });
      case 1:
        return { ...this.shot(half, station, { source, destination, protocol, ttl: 1 }), isHostile: true };
      case 2:
        return this.shot(
          half,
          station,
          { source, destination, protocol: TCP },
          { flags: random.pick([ACK, RST, FIN | ACK, SYN | ACK]), sequence: 77 },
        );
      default: {
        const same = { source, destination: { ...destination, port: source.port } };
        return this.shot(half, station, { ...same, protocol: ICMP }, { type: ECHO_REPLY });
      }
    }
  }
}
