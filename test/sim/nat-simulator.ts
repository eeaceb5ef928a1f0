/**
 * Runs random configurations and packets through the real pipeline on memory queues and through the reference of NAT: whatever
 * leaves must be what the reference would have sent, octet for octet, to the machine that it would have sent it to; and what it
 * says must arrive does. One seed is one run.
 */

import { UserError } from '../../src/errors.js';
import { FragmentTable, fragmentTableSize } from '../../src/pipeline/fragment-table.js';
import { macText } from '../../src/wire/address.js';
import { buildEthernet } from '../../src/wire/frame-build.js';
import { ALL_FEATURES, type Received, type Sent, TestSwitch } from '../pipeline/test-switch.js';
import { arpFrame, mac, ndFrame } from '../wire/neighbor-frames.js';
import { type Configs, changedConfig, natDocument, randomConfig, resolvedDocument } from './nat-documents.js';
import {
  arrivalOf,
  endsOf,
  endsText,
  errorFault,
  frameFault,
  generatedFault,
  type Heard,
  outcomeOf,
  shotText,
  tupleOf,
  waysText,
} from './nat-judge.js';
import { HALVES, type Half, networkOf, OWN6, portOf, STATIONS, type Station, stationOf } from './nat-model.js';
import {
  between,
  type Cut,
  checksumAt,
  cuts,
  ECHO_REQUEST,
  ICMP,
  isIpv6,
  type Packet,
  packetOctets,
  read,
  SYN,
  TCP,
  word,
} from './nat-octets.js';
import { NatReference, type Way } from './nat-reference.js';
import { reversed, sameTuple } from './nat-sessions.js';
import { NatTraffic, type Shot, type Talk } from './nat-traffic.js';
import { Random } from './random.js';

export interface NatCounts {
  packets: number;
  delivered: number;
  required: number;
  errors: number;
  changes: number;
}

const ETHERNET = 14;
/** Milliseconds that pass between batches: mostly few. */
const PAUSES = [0, 0, 1, 5, 100, 100, 500, 500, 2000, 20_000];
const LONG = [65_000, 130_000, 310_000, 7_600_000];

export class NatSimulator {
  readonly counts: NatCounts = { packets: 0, delivered: 0, required: 0, errors: 0, changes: 0 };
  private readonly random: Random;
  private readonly traffic: NatTraffic;
  private readonly references: Readonly<Record<Half, NatReference>>;
  private readonly real: TestSwitch;
  private configs: Configs;
  private batch: Shot[] = [];
  private dropsBefore: Record<string, number> = {};
  private readonly trail: string[] = [];
  /** What was sent lately: a router may take its time to say that nobody is there. */
  private readonly recent: Shot[] = [];

  constructor(seed: number) {
    this.random = new Random(seed);
    this.configs = this.sound(() => ({ left: randomConfig(this.random), right: randomConfig(this.random) }));
    this.references = { left: new NatReference(this.configs.left), right: new NatReference(this.configs.right) };
    this.traffic = new NatTraffic(this.random);
    const ports = HALVES.flatMap((half) => STATIONS.map(({ name }) => portOf(half, name)));
    this.real = new TestSwitch(natDocument(this.configs), {
      connectionEntries: 16_384,
      fragments: new FragmentTable(new SharedArrayBuffer(fragmentTableSize(1024)), 1, { capacity: 1024 }),
      devices: Object.fromEntries(ports.map((port) => [port, { mtu: 1500, features: ALL_FEATURES }])),
    });
    this.introduce();
  }

  run(packets: number, changes: number): void {
    for (let part = 0; part <= changes; part++) {
      if (part > 0) this.change();
      for (let index = 0; index < packets / (changes + 1); index++) this.add();
      this.flush();
    }
  }

  private sound(make: () => Configs): Configs {
    for (let attempt = 0; attempt < 100; attempt++) {
      const configs = make();
      try {
        resolvedDocument(natDocument(configs));
        return configs;
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
      }
    }
    throw new Error('no configuration in a hundred is sound');
  }

  private change(): void {
    this.counts.changes++;
    const half = this.random.pick(HALVES);
    this.configs = this.sound(() => ({ ...this.configs, [half]: changedConfig(this.random, this.configs[half]) }));
    this.real.configure(natDocument(this.configs));
    this.references[half].reconfigure(this.configs[half]);
    this.trail.push(`configured ${half}: ${this.configText(half)}`);
    this.introduce();
  }

  private configText(half: Half): string {
    const config = this.configs[half];
    return JSON.stringify({ ...config, floating: Object.fromEntries(config.floating) });
  }

  // ---- sending ------------------------------------------------------------------------------------------------------

  private gateway(half: Half, { network }: Station): Uint8Array {
    const { routing } = this.real.snapshot;
    const at = routing.interfaceNetwork.indexOf(this.real.network(networkOf(half, network)));
    const octets = new Uint8Array(6);
    new DataView(octets.buffer).setUint16(0, routing.interfaceMacHigh[at]!);
    new DataView(octets.buffer).setInt32(2, routing.interfaceMacLow[at]!);
    return octets;
  }

  /** Everybody says where he is. */
  private introduce(): void {
    const all = HALVES.flatMap((half) =>
      STATIONS.flatMap((station) => station.addresses.map((address) => this.announcement(half, station, address))),
    );
    this.real.run(...all);
  }

  private announcement(half: Half, station: Station, address: string): Received {
    const port = portOf(half, station.name);
    const [from, to] = [station.mac, macText(this.gateway(half, station))];
    const isOutside = station.network === 'ext';
    if (isIpv6(address)) {
      const options = Uint8Array.from([2, 1, ...mac(from)]);
      const destination = isOutside ? OWN6 : '2001:db8:a::1';
      const fields = { from, to, source: address, destination, type: 136, flags: 0x60, target: address, options };
      return { port, octets: ndFrame(fields) };
    }
    const target = isOutside
      ? this.configs[half].addresses[0]!
      : station.network === 'red'
        ? '192.0.2.1'
        : '198.51.100.1';
    return { port, octets: arpFrame({ from, to, operation: 2, sender: address, target }) };
  }

  private add(): void {
    const shot = this.traffic.next(this.configs);
    if (shot.cutAt !== undefined) {
      this.flush();
      this.fly(shot);
      return;
    }
    this.batch.push(shot);
    if (this.batch.length >= 16 || this.random.oneIn(4)) this.flush();
  }

  private pause(): void {
    const ms = this.random.oneIn(40) ? this.random.pick(LONG) : this.random.pick(PAUSES);
    this.real.now += ms;
    this.dropsBefore = this.real.drops();
    for (const half of HALVES) {
      this.references[half].sessions.now = this.real.now;
      this.references[half].sessions.expire();
    }
    // As the main thread does; the clock of its turns stands.
    const { connections, snapshot, now } = this.real;
    if (Math.floor(now / 1000) !== Math.floor((now - ms) / 1000))
      while (!connections.expire(Math.floor(now / 1000), snapshot.connectionTimeouts, () => 0));
    if (ms >= 2000) this.introduce();
  }

  private frame({ half, station, packet, gsoSize }: Shot, cut?: Cut): Received {
    const type = isIpv6(packet.source.address) ? 0x86dd : 0x0800;
    const link = { destination: this.gateway(half, station), source: mac(station.mac), tags: [] };
    const octets = buildEthernet(link, type, packetOctets(packet, cut));
    const port = portOf(half, station.name);
    if (!packet.isPartial) return { port, octets };
    const start = ETHERNET + 20;
    const offset = checksumAt(packet.protocol)!;
    const isBig = gsoSize !== undefined;
    return {
      port,
      octets,
      vnet: {
        flags: 1,
        gsoType: isBig ? 1 : 0,
        headerLength: isBig ? start + 20 : 0,
        gsoSize: gsoSize ?? 0,
        start,
        offset,
      },
    };
  }

  private flush(): void {
    const shots = this.batch;
    if (shots.length === 0) return;
    this.batch = [];
    this.pause();
    const sent = this.real.run(...shots.map((shot) => this.frame(shot)));
    this.settle(shots, sent);
  }

  /** Fragments in any order, in one batch or several. */
  private fly(shot: Shot): void {
    this.pause();
    const parts = cuts(shot.packet, shot.cutAt!);
    for (let index = parts.length - 1; index > 0; index--) {
      const other = this.random.below(index + 1);
      [parts[index], parts[other]] = [parts[other]!, parts[index]!];
    }
    const at = this.random.oneIn(2) ? parts.length : this.random.below(parts.length);
    const sent = [parts.slice(0, at), parts.slice(at)].flatMap((some) =>
      some.length === 0 ? [] : this.real.run(...some.map((cut) => this.frame(shot, cut))),
    );
    this.settle([shot], sent, parts);
  }

  // ---- judging ------------------------------------------------------------------------------------------------------

  private settle(shots: readonly Shot[], sent: readonly Sent[], parts?: readonly Cut[]): void {
    const heard = sent.flatMap((one) => {
      const type = word(one.octets, 12);
      const isIp = type === 0x0800 || (type === 0x86dd && one.octets[20] !== 58);
      return isIp ? [{ one, seen: read(one.octets.slice(ETHERNET)), isSeen: false }] : [];
    });
    for (const { one, seen } of heard) {
      const fault = one.isGenerated ? generatedFault(one, seen, [...shots, ...this.recent]) : undefined;
      if (fault !== undefined) throw new Error([fault, ...this.trail.slice(-16)].join('\n'));
    }
    const open = heard.filter(({ one }) => !one.isGenerated);
    for (const shot of shots) {
      const own = open.filter(({ one, seen }) => seen.id === shot.packet.id && one.port.endsWith(shot.half));
      for (const one of own) one.isSeen = true;
      this.counts.packets++;
      this.recent.push(shot);
      if (this.recent.length > 500) this.recent.shift();
      const fault = this.judge(
        shot,
        own.map(({ one, seen }) => ({ one, seen })),
        parts,
      );
      this.trail.push(
        `${this.real.now} ${shotText(shot)}: ${own
          .filter(({ seen }) => seen.offset === 0)
          .map(({ one, seen }) => `${one.port} ${endsText(seen)}`)
          .join(', ')}`,
      );
      if (fault !== undefined) this.fail(shot, fault);
      if (shot.talk !== undefined) shot.talk.isBusy = false;
      if (shot.talk !== undefined && (own.length === 0 || shot.talk.stage === 9)) this.forget(shot.talk);
    }
    for (const { one, isSeen } of open) if (!isSeen) throw new Error(`nobody sent what ${one.port} got`);
  }

  private forget(talk: Talk): void {
    const at = this.traffic.talks.indexOf(talk);
    if (at >= 0) this.traffic.talks.splice(at, 1);
  }

  /** Of the last batch. */
  private newDrops(): string {
    const now = Object.entries(this.real.drops());
    return now
      .filter(([name, count]) => count !== this.dropsBefore[name])
      .map(([name]) => name)
      .join(', ');
  }

  private fail(shot: Shot, fault: string): never {
    const drops = this.newDrops();
    throw new Error(
      [
        `${shotText(shot)} ${fault}`,
        `drops: ${drops}`,
        `${shot.half}: ${this.configText(shot.half)}`,
        ...this.trail.filter((line) => line.includes(shot.half)).slice(-16),
      ].join('\n'),
    );
  }

  private judge(shot: Shot, heard: readonly Heard[], parts?: readonly Cut[]): string | undefined {
    if (heard.length > 0) this.counts.delivered++;
    if (shot.about !== undefined) return this.judgeError(shot, heard);
    const reference = this.references[shot.half];
    const arrival = arrivalOf(shot);
    const ways = shot.isHostile === true ? [] : reference.ways(arrival);
    if (heard.length === 0) {
      if (ways.some(({ isRequired }) => isRequired)) return `did not get through, ${waysText(ways)}`;
      return undefined;
    }
    if (ways.some(({ isRequired }) => isRequired)) this.counts.required++;
    const first = heard.find(({ seen }) => seen.offset === 0);
    if (first === undefined) return 'got through without its first fragment';
    const left = endsOf(first.seen);
    const way = ways.find((one) => sameTuple(left, outcomeOf(one, left, shot.packet.protocol)));
    if (way === undefined) return `left as ${endsText(first.seen)}, not ${waysText(ways)}`;
    const packet = between(shot.packet, left);
    const fault =
      frameFault(shot, packet, heard, (to) => this.gateway(shot.half, to), parts) ??
      reference.learn(arrival, way, left);
    if (fault !== undefined) return fault;
    this.keep(shot, packet, way, reference);
    return undefined;
  }

  private keep(shot: Shot, left: Packet, way: Way, reference: NatReference): void {
    const { half, station, packet } = shot;
    const receiver = stationOf(left.destination.address)!;
    // Who borrows an address hears nothing of it.
    if (stationOf(packet.source.address) !== station) return;
    const begun = reference.sessions.all.at(-1);
    const session = way.session ?? (begun !== undefined && sameTuple(begun.original, packet) ? begun : undefined);
    const isQuotable = !packet.isPartial && shot.cutAt === undefined && !isIpv6(packet.source.address);
    const { deliveries, talks } = this.traffic;
    if (isQuotable) deliveries.push({ half, sent: packet, left, sender: station, receiver, session });
    if (deliveries.length > 30) deliveries.shift();
    const isQuery = packet.protocol !== ICMP || shot.type === ECHO_REQUEST;
    const isFirst = packet.protocol === TCP ? shot.flags === SYN && way.session === undefined : isQuery;
    if (shot.talk !== undefined || !isFirst) return;
    const ends = { asSent: tupleOf(packet), asReceived: tupleOf(left) };
    const isSame = (one: Talk) =>
      one.half === half &&
      one.protocol === packet.protocol &&
      (sameTuple(one.asSent, packet) || sameTuple(reversed(one.asReceived), packet));
    for (const before of talks.filter(isSame)) this.forget(before);
    const state = { stage: 1, sent: 2, answered: 900, isBusy: false };
    talks.push({ half, protocol: packet.protocol, sender: station, receiver, ...ends, ...state });
    if (talks.length > 60) talks.shift();
  }

  private judgeError(shot: Shot, heard: readonly Heard[]): string | undefined {
    const { sent, left, session } = shot.about!.delivery;
    const { sessions } = this.references[shot.half];
    const isSure = session !== undefined && sessions.all.includes(session) && sessions.isSure(session);
    if (heard.length === 0)
      return isSure && shot.isHostile !== true ? 'about a living session did not get through' : undefined;
    const { source, destination } = shot.packet;
    const isAsSent = heard.every(
      ({ seen }) => seen.source === source.address && seen.destination === destination.address,
    );
    const isPlain = sameTuple(sent, left) || isAsSent;
    if (shot.isHostile === true && !isPlain) return 'was translated though its checksum is wrong';
    if (!isSure) return undefined;
    this.counts.errors++;
    return errorFault(shot, heard);
  }
}
