/**
 * The reference translator: what a router of CONFIG.md with NAT may make of a packet, by RFC 4787, 5382 and 5508, slow and
 * obvious. It is written from those, and shares nothing with the translator that it judges. Which port a new mapping gets is
 * left to that; the reference looks at the port, says whether it was one it could take, and remembers it.
 */
import { type Forward, isIn, isInside, type NatConfig, same, stationOf } from './nat-model.js';
import {
  ACK,
  ECHO_REPLY,
  ECHO_REQUEST,
  type Endpoint,
  FIN,
  ICMP,
  isIpv6,
  RST,
  SYN,
  TCP,
  type Tuple,
  UDP,
} from './nat-octets.js';
import { type Held, type Hold, reversed, type Session, Sessions, sameTuple } from './nat-sessions.js';

export interface Arrival extends Tuple {
  readonly protocol: number;
  readonly isFromInside: boolean;
  /** TCP flags. */
  readonly flags: number;
  /** ICMP type. */
  readonly type: number;
  /** TCP: both ends would take it. */
  readonly isInOrder: boolean;
}

/** How the packet may leave. `source` undefined: with a port of an outside address. */
export interface Way {
  readonly source: Endpoint | undefined;
  readonly destination: Endpoint;
  /** The session it goes on with; undefined: it begins one. */
  readonly session?: Session;
  readonly because: string;
  /** The mapping by which it gets in. */
  readonly through?: Hold;
  /** It must leave so. */
  readonly isRequired: boolean;
}

/** Where the destination leads; what becomes of the source is another matter. */
type Inward = Omit<Way, 'source' | 'session'>;

const FLAGS = SYN | ACK | RST | FIN;

export class NatReference {
  readonly sessions = new Sessions();
  config: NatConfig;

  constructor(config: NatConfig) {
    this.config = config;
  }

  reconfigure(config: NatConfig): void {
    this.sessions.reconfigure(this.config, config);
    this.config = config;
  }

  /** Every way in which the packet may leave; none: it must not. */
  ways(arrival: Arrival): Way[] {
    const { protocol, isFromInside } = arrival;
    const known = this.sessions.find(protocol, arrival, isFromInside).map((found) => this.wayOfSession(arrival, found));
    if (known.some(({ isSure }) => isSure)) return known.map(({ way }) => way);
    const fresh = this.newWays(arrival);
    const all = [...known.map(({ way }) => way), ...fresh.map((way) => this.unlessAmbiguous(arrival, way))];
    // Where there is more than one possibility, each alone is not required, and a router may hold both for the same.
    return known.length === 0 ? all : all.map((way) => ({ ...way, isRequired: false }));
  }

  /** Answers that could be another session's can't be told apart: such a one may be refused. */
  private unlessAmbiguous(arrival: Arrival, way: Way): Way {
    const { protocol } = arrival;
    const { destination } = way;
    const mapped = this.sessions.ofInside(protocol, arrival.source).map(({ outside }) => outside);
    const isTaken = (way.source === undefined ? mapped : [way.source]).some((source) => {
      const answer = { source: destination, destination: source };
      if (this.sessions.find(protocol, answer, isInside(destination.address)).length > 0) return true;
      return sameTuple(answer, arrival) && !sameTuple({ source, destination }, arrival);
    });
    return isTaken ? { ...way, isRequired: false } : way;
  }

  private wayOfSession(arrival: Arrival, { session, isReply }: { session: Session; isReply: boolean }) {
    const { source, destination } = isReply ? reversed(session.original) : session.translated;
    const isSure = this.sessions.isSure(session);
    const isUsual =
      arrival.protocol === TCP
        ? arrival.isInOrder && arrival.flags !== SYN
        : arrival.protocol !== ICMP || arrival.type === (isReply ? ECHO_REPLY : ECHO_REQUEST);
    const way: Way = { source, destination, session, because: session.because, isRequired: isSure && isUsual };
    return { way, isSure };
  }

  /** RFC 5382 REQ-2, RFC 5508 REQ-1: a SYN, a query; of UDP and the rest anything. */
  private beginsSession({ protocol, flags, type }: Arrival): boolean {
    if (protocol === TCP) return (flags & FLAGS) === SYN;
    return protocol !== ICMP || type === ECHO_REQUEST;
  }

  /** What is not translated begins nothing, and so may be anything. */
  private newWays(arrival: Arrival): Way[] {
    const all = arrival.isFromInside ? this.waysOut(arrival) : this.waysIn(arrival);
    if (this.beginsSession(arrival)) return all;
    const plain = all.filter(
      ({ source, destination }) => source !== undefined && sameTuple({ source, destination }, arrival),
    );
    return plain.map((way) => ({ ...way, isRequired: false }));
  }

  // ---- from inside --------------------------------------------------------------------------------------------------

  private waysOut(arrival: Arrival): Way[] {
    const { source, destination } = arrival;
    // What says it is from nowhere inside goes nowhere (RFC 3704).
    if (!isInside(source.address)) return [];
    if (isInside(destination.address))
      return stationOf(destination.address) === undefined ? [] : [this.asItIs(arrival, true)];
    const inward = this.inward(arrival);
    if (inward !== undefined) return inward.flatMap((way) => this.withSource(arrival, way));
    if (this.isOwn(destination.address) || stationOf(destination.address) === undefined) return [];
    return this.withSource(arrival, { destination, because: '', isRequired: true });
  }

  /** The source as others see it: its floating address before a mapped port. */
  private withSource(arrival: Arrival, way: Inward): Way[] {
    const { source, protocol } = arrival;
    const floating = [...this.config.floating].find(([, inside]) => inside === source.address);
    if (floating !== undefined) {
      const because = [way.because, `${floating[0]}=${floating[1]}`].filter((text) => text !== '').join(' + ');
      return [{ ...way, because, source: { address: floating[0], port: source.port } }];
    }
    const isPlain = isIpv6(source.address) || !this.config.snat;
    if (isPlain) return [{ ...way, source, isRequired: way.isRequired && way.because === '' }];
    // What has no ports may be hidden by its address alone, of one machine for one far end.
    const hasPorts = protocol === TCP || protocol === UDP || protocol === ICMP;
    return [{ ...way, source: undefined, isRequired: way.isRequired && hasPorts && this.hasRoom(arrival) }];
  }

  private asItIs({ source, destination }: Tuple, isRequired: boolean): Way {
    return { source, destination, because: '', isRequired };
  }

  private isOwn(address: string): boolean {
    const { addresses, floating, forwards } = this.config;
    const all = [...addresses, ...floating.keys(), ...forwards.map((forward) => forward.address)];
    return all.includes(address) || ['192.0.2.1', '198.51.100.1'].includes(address);
  }

  // ---- to an outside address ----------------------------------------------------------------------------------------

  /** Where an outside address and port leads; undefined: it is none that the configuration or a mapping leads inside. */
  private inward(arrival: Arrival): Inward[] | undefined {
    const { destination, protocol } = arrival;
    const inside = this.config.floating.get(destination.address);
    if (inside !== undefined) {
      const because = `${destination.address}=${inside}`;
      return [{ destination: { address: inside, port: destination.port }, because, isRequired: true }];
    }
    const forward = this.forwardTo(protocol, destination);
    if (forward !== undefined) {
      const { to, toPorts, ports } = forward;
      const step = toPorts.first === toPorts.last ? 0 : destination.port - ports.first;
      const because = JSON.stringify(forward);
      return [{ destination: { address: to, port: toPorts.first + step }, because, isRequired: true }];
    }
    const mapped = this.sessions.ofOutside(protocol, destination);
    return mapped.length === 0 ? undefined : this.throughMapping(arrival, mapped);
  }

  private forwardTo(protocol: number, { address, port }: Endpoint): Forward | undefined {
    return this.config.forwards.find(
      (one) => one.protocol === protocol && one.address === address && isIn(one.ports, port),
    );
  }

  /** RFC 4787 5, filtering: by whom the inside endpoint has sent to. Machines inside may get through, and need not. */
  private throughMapping(arrival: Arrival, mapped: readonly Held[]): Inward[] {
    const { filtering, mapping } = this.config;
    const isOpen = ({ remote }: Held) =>
      filtering === 'endpoint-independent' ||
      (filtering === 'address-dependent' && remote.address === arrival.source.address);
    const open = arrival.isFromInside ? mapped : mapped.filter(isOpen);
    const insides = new Map(open.map(({ inside }) => [JSON.stringify(inside), inside]));
    const isSure = open.some(
      (one) => this.sessions.isSure(one.session) && isOpen(one) && one.isOutward && one.session.filtering === filtering,
    );
    const hasPort = arrival.protocol === TCP || arrival.protocol === UDP;
    const isPlain = mapping === 'endpoint-independent' && !arrival.isFromInside && hasPort;
    return [...insides.values()].map((destination) => ({
      destination,
      because: '',
      isRequired: isSure && isPlain && insides.size === 1,
      through: { inside: destination, outside: arrival.destination, remote: arrival.source, isOutward: false },
    }));
  }

  private waysIn(arrival: Arrival): Way[] {
    const { source, destination } = arrival;
    // Nobody outside is who lives inside, or is the router (RFC 2827).
    const isOwn = this.isOwn(source.address);
    if (isInside(source.address) || (isOwn && this.config.snat)) return [];
    const inward = this.inward(arrival);
    if (inward !== undefined) return inward.map((way) => ({ ...way, source, isRequired: way.isRequired && !isOwn }));
    if (this.isOwn(destination.address) || stationOf(destination.address) === undefined) return [];
    // On its way through, from one outside to another.
    if (!isInside(destination.address)) return [this.asItIs(arrival, false)];
    const isHidden = this.config.snat && !isIpv6(destination.address);
    if (isHidden) return [];
    // Who floats answers from there: by his own address he could not be understood.
    const floats = [...this.config.floating.values()].includes(destination.address);
    return floats ? [] : [this.asItIs(arrival, !isOwn)];
  }

  // ---- ports ----------------------------------------------------------------------------------------------------------

  /** Whether a new mapping must be possible, whatever is left of sessions that may be over. */
  private hasRoom({ protocol, source }: Arrival): boolean {
    const { config, sessions } = this;
    if (config.mapping === 'endpoint-independent') {
      if (sessions.ofInside(protocol, source).some(({ session }) => sessions.isSure(session))) return true;
    }
    if (this.mappingsOf(source.address, () => true) >= config.perVm) return false;
    return config.addresses.every((address) => this.freePorts(protocol, address, source.port & 1).length > 0);
  }

  /** Different mappings of the machine. */
  private mappingsOf(address: string, isCounted: (session: Session) => boolean): number {
    const isIndependent = this.config.mapping === 'endpoint-independent';
    const keys = this.sessions.all
      .filter(isCounted)
      .flatMap(({ protocol, holds, translated }) =>
        holds
          .filter(({ inside }) => inside.address === address)
          .map(({ outside }) => JSON.stringify([protocol, outside, isIndependent ? '' : translated])),
      );
    return new Set(keys).size;
  }

  private freePorts(protocol: number, address: string, parity: number): number[] {
    const used = new Set(
      this.sessions
        .held(protocol)
        .filter(({ outside }) => outside.address === address)
        .map(({ outside }) => outside.port),
    );
    const free: number[] = [];
    for (const { first, last } of this.config.pool)
      for (let port = first; port <= last && free.length < 2000; port++)
        if ((port & 1) === parity && !used.has(port) && this.forwardTo(protocol, { address, port }) === undefined)
          free.push(port);
    return free;
  }

  /** What is wrong with the outside endpoint that a new mapping got; undefined: nothing. */
  portFault(arrival: Arrival, left: Tuple): string | undefined {
    const outside = left.source;
    const { config, sessions } = this;
    const { protocol, source } = arrival;
    const isSure = (session: Session) => sessions.isSure(session);
    if (!config.addresses.includes(outside.address)) return 'is no address of the router';
    const own = sessions.ofInside(protocol, source).filter(({ session }) => isSure(session));
    const hasPorts = protocol === TCP || protocol === UDP || protocol === ICMP;
    if (hasPorts && config.mapping === 'endpoint-independent') {
      const other = own.find((one) => !same(one.outside, outside));
      if (other !== undefined) return `is another than ${JSON.stringify(other.outside)} (RFC 4787 REQ-1)`;
      if (own.length > 0) return undefined;
      const taken = sessions.ofOutside(protocol, outside).find(({ session }) => isSure(session));
      if (taken !== undefined) return `is of ${JSON.stringify(taken.inside)} (RFC 4787 REQ-3)`;
    }
    const twin = sessions
      .ofOutside(protocol, outside)
      .find(({ session, remote }) => isSure(session) && same(remote, left.destination));
    if (twin !== undefined) return 'is taken towards the same end';
    if (!hasPorts) return outside.port === source.port ? undefined : 'has another key';
    return this.pairingFault(source.address, outside.address) ?? this.rangeFault(arrival, outside);
  }

  /** RFC 4787 REQ-2; RFC 6888 REQ-4. */
  private pairingFault(inside: string, outside: string): string | undefined {
    const isSure = (session: Session) => this.sessions.isSure(session);
    const own = this.sessions.all
      .filter(isSure)
      .flatMap(({ holds }) => holds.filter((one) => one.inside.address === inside));
    const paired = own.find((one) => this.config.addresses.includes(one.outside.address))?.outside.address;
    if (paired !== undefined && paired !== outside) return `is not at ${paired}, where the machine is (RFC 4787 REQ-2)`;
    if (this.mappingsOf(inside, isSure) >= this.config.perVm) return 'is one more than perVm';
    return undefined;
  }

  /** The pool, what is kept and what is not (RFC 4787 REQ-3a, REQ-4). */
  private rangeFault({ protocol, source }: Arrival, { address, port }: Endpoint): string | undefined {
    const isPool = (one: number) =>
      this.config.pool.some((range) => isIn(range, one)) &&
      this.forwardTo(protocol, { address, port: one }) === undefined;
    if (!isPool(port)) return 'is not of the pool';
    const isKept =
      isPool(source.port) && this.sessions.ofOutside(protocol, { address, port: source.port }).length === 0;
    if (isKept && port !== source.port) return 'could have been kept';
    const isAlike = (one: number) => one < 1024 === source.port < 1024;
    const alike = this.freePorts(protocol, address, source.port & 1);
    if (protocol === ICMP || this.config.mapping === 'endpoint-dependent') return undefined;
    if (alike.length > 0 && (port & 1) !== (source.port & 1)) return 'is of the other parity (RFC 4787 REQ-4)';
    if (alike.some(isAlike) && !isAlike(port)) return 'is of the other range (RFC 4787 REQ-3a)';
    return undefined;
  }

  // ---- learning -------------------------------------------------------------------------------------------------------

  /** The packet left so. Returns what is wrong with it. */
  learn(arrival: Arrival, way: Way, left: Tuple): string | undefined {
    const { sessions } = this;
    if (way.session !== undefined) {
      sessions.touch(way.session, arrival.flags, arrival.isInOrder);
      return undefined;
    }
    // Between inside networks nothing is translated, and nothing remembered.
    const isPlain = sameTuple(left, arrival) && arrival.isFromInside && isInside(left.destination.address);
    if (isPlain) return undefined;
    const fault = way.source === undefined ? this.portFault(arrival, left) : undefined;
    if (fault !== undefined) return `${JSON.stringify(left.source)} ${fault}`;
    const session: Session = {
      protocol: arrival.protocol,
      original: { source: arrival.source, destination: arrival.destination },
      translated: { source: left.source, destination: left.destination },
      beganInside: arrival.isFromInside,
      endsInside: isInside(left.destination.address),
      holds: [
        ...(way.source === undefined ? [mappingOf(arrival, left)] : []),
        ...(way.through === undefined ? [] : [way.through]),
      ],
      because: way.because,
      filtering: this.config.filtering,
      lastAt: sessions.now,
      isEstablished: false,
      isClosing: false,
      isDoubtful: false,
    };
    const clash = sessions
      .find(session.protocol, reversed(session.translated), session.endsInside)
      .find(
        (found) =>
          sessions.isSure(found.session) &&
          isTranslated(found.session) &&
          !sameTuple(found.session.original, session.original),
      );
    if (clash !== undefined) return `${JSON.stringify(left)} has the same answers as ${JSON.stringify(clash.session)}`;
    sessions.all = sessions.all.filter(
      (one) =>
        !(
          one.protocol === session.protocol &&
          one.beganInside === session.beganInside &&
          sameTuple(one.original, session.original)
        ),
    );
    sessions.all.push(session);
    return undefined;
  }
}

/** Of a packet whose source was hidden. */
function mappingOf({ source }: Arrival, left: Tuple): Hold {
  return { inside: source, outside: left.source, remote: left.destination, isOutward: true };
}

const isTranslated = ({ original, translated }: Session) => !sameTuple(original, translated);
