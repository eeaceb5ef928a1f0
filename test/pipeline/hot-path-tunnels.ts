/** The part of the hot-path scene that goes through tunnels: networks, what stations and far ends send, the underlays' queues. */
import type { Indices } from '../../src/control/indices.js';
import type { FramePool } from '../../src/dataplane/frame-pool.js';
import type { DatagramQueue, SendReport } from '../../src/dataplane/io-engine.js';
import type { TunnelControl } from '../../src/pipeline/tunnel-control.js';
import { anyNetwork } from '../../src/pipeline/tunnel-table.js';
import { tunnelKindIndex, tunnelKinds } from '../../src/tunnels/registry.js';
import { ipWords, parseIp } from '../../src/wire/address.js';
import { referenceSegments, writeNetwork, writePartialChecksum, writeTransportChecksum } from '../wire/reference.js';
import { buildSuperFrame, type SuperFrame } from '../wire/super-frame.js';

export interface Arrival {
  readonly address: Int32Array;
  readonly datagramSize: number;
  readonly trafficClass: number;
}

export interface TunnelTemplate {
  readonly port: string;
  readonly octets: Uint8Array;
  /** Of a super-frame or a frame with a partial checksum; `transport` 0: neither. */
  readonly size: number;
  readonly gsoType: number;
  readonly transport: number;
  readonly payload: number;
  readonly arrival: Arrival | undefined;
}

interface Carried {
  readonly name: string;
  readonly type: 'vxlan' | 'geneve' | 'gre';
  readonly underlay: 'u0' | 'u6';
  readonly id: number;
  /** TUNNEL_ bits. */
  readonly flags: number;
  readonly ports: readonly string[];
}

const carried: readonly Carried[] = [
  { name: 'vx', type: 'vxlan', underlay: 'u0', id: 100, flags: 1, ports: ['e1', 'e2'] },
  { name: 'vx6', type: 'vxlan', underlay: 'u6', id: 101, flags: 1, ports: ['f'] },
  { name: 'ge', type: 'geneve', underlay: 'u0', id: 102, flags: 1, ports: ['g'] },
  { name: 'gr', type: 'gre', underlay: 'u0', id: 103, flags: 7, ports: ['h1', 'h2'] },
];
const REMOTES = 4;
const far = (underlay: string, number: number) =>
  underlay === 'u0' ? `198.51.100.${number + 1}` : `2001:db8::${number + 1}`;
const remotesOf = (underlay: string) => Array.from({ length: REMOTES }, (_, number) => far(underlay, number));

const optionsOf = (type: Carried['type']) =>
  type === 'gre'
    ? { options: { checksum: true, sequence: true, innerVlan: true } }
    : type === 'geneve'
      ? { options: { geneve: [{ class: '0x0102', type: 5, data: 'deadbeef' }] } }
      : {};

export const tunnelDocument = {
  networks: Object.fromEntries(
    carried.map(({ name, type, underlay, id }) => [
      name,
      { type, id, underlay, remotes: remotesOf(underlay), arpSuppression: id === 100, ...optionsOf(type) },
    ]),
  ),
  underlays: {
    u0: { local: '192.0.2.1', dscp: 'inherit', allowFrom: ['198.51.100.0/25'] },
    u6: { local: '2001:db8::ffff', dscp: 10 },
  },
  ports: Object.fromEntries(
    carried.flatMap(({ name, ports }) =>
      ports.map((port) => [port, { kind: 'tap', network: name, storm: { broadcast: 'none', unknownUnicast: 'none' } }]),
    ),
  ),
};

/** Numbers for the snapshot, as the main thread gives them. */
export function internRemotes(
  tunnels: TunnelControl,
  indices: Indices,
): (member: number, remotes: readonly string[]) => number[] {
  const portOf = new Map<number, number>();
  for (const [key, member] of indices.members) portOf.set(member, indices.port(key.split(' ')[0] ?? '') ?? -1);
  return (member, remotes) =>
    remotes.map((remote) => {
      const address = ipWords(parseIp(remote) ?? new Uint8Array(4));
      tunnels.intern(anyNetwork(portOf.get(member) ?? -1), address);
      return tunnels.intern(member, address);
    });
}

/** Reports everything sent at once, as a MemoryQueue does. */
export class SwallowingQueue implements DatagramQueue {
  readonly port: number;
  readonly senderCount = 64;
  sentDatagrams = 0;
  private readonly pool: FramePool;
  private readonly report: SendReport;

  constructor(port: number, pool: FramePool, report: SendReport) {
    this.port = port;
    this.pool = pool;
    this.report = report;
  }

  send(): boolean {
    return false;
  }

  sendTo(slot: number, segmentSize: number): boolean {
    const length = this.pool.length[slot];
    this.sentDatagrams += segmentSize === 0 ? 1 : Math.ceil(length / segmentSize) | 0;
    this.report.sent(slot, this.port, length, 0);
    return true;
  }
}

type Below = (count: number) => number;

const stationAt = (place: number, number: number) => `525401${(place * 16 + number).toString(16).padStart(6, '0')}`;

/** A TCP super-frame, or UDP's, between stations. */
function trainOf(from: string, to: string, below: Below): SuperFrame {
  const built = buildSuperFrame({
    isIpv4: below(2) === 0,
    isUdp: below(5) === 0,
    tags: 0,
    options: 0,
    tcpOptions: 3,
    flags: 0x10,
    id: 1,
    sequence: below(1_000_000),
    payloadSize: 1000 * (1 + below(12)) + below(500),
    size: [700, 1000, 1300, 1448][below(4)],
    seed: 1,
  });
  const { octets, layout } = built;
  octets.set(Buffer.from(to + from, 'hex'));
  octets[layout.network + (layout.isIpv4 ? 12 : 8)] = layout.isIpv4 ? 10 : 0x20;
  octets[layout.network + (layout.isIpv4 ? 16 : 24)] = layout.isIpv4 ? 10 : 0x20;
  writeNetwork(octets, layout);
  writePartialChecksum(octets, layout);
  return built;
}

function plainFrame(from: string, to: string, tags: string, below: Below): Uint8Array {
  const octets = new Uint8Array([60, 60, 594, 1464, 1514][below(5)]).fill(0x11);
  octets.set(Buffer.from(`${to}${from}${tags}88b5`, 'hex'));
  return octets;
}

/** Something that a station of an overlay network or a far end sends. */
export function makeTunnelTemplate(below: Below): TunnelTemplate {
  const network = carried[below(carried.length)];
  const place = 8 * carried.indexOf(network);
  const remote = below(REMOTES);
  const local = below(network.ports.length);
  const there = stationAt(place + remote, below(8));
  const here = stationAt(place + 6 + local, below(8));
  return below(2) === 0
    ? leaving(network.ports[local], here, there, below)
    : arriving(network, remote, there, here, below);
}

function leaving(port: string, from: string, station: string, below: Below): TunnelTemplate {
  const to = [station, station, station, station, station, 'ffffffffffff', '525409999999'][below(7)];
  const kind = below(10);
  if (kind < 4) {
    const tags = kind === 0 ? '81000005' : '';
    const octets = plainFrame(from, to, tags, below);
    return { port, octets, size: 0, gsoType: 0, transport: 0, payload: 0, arrival: undefined };
  }
  const { octets, layout, size } = trainOf(from, to, below);
  const isTrain = kind < 8;
  // The others are one frame each, of which some are too long for a tunnel.
  const gsoType = !isTrain ? 0 : layout.isUdp ? 5 : layout.isIpv4 ? 1 : 4;
  const { transport, payload } = layout;
  if (isTrain) return { port, octets, size, gsoType, transport, payload, arrival: undefined };
  const single = octets.slice(0, payload + 100 + below(1400));
  writeNetwork(single, layout);
  writeTransportChecksum(single, layout);
  return { port, octets: single, size: 0, gsoType: 0, transport: 0, payload: 0, arrival: undefined };
}

function arriving(
  { type, underlay, id, flags }: Carried,
  remote: number,
  from: string,
  to: string,
  below: Below,
): TunnelTemplate {
  const kind = tunnelKinds[tunnelKindIndex(type)];
  const isStranger = below(20) === 0;
  const isMistaken = below(20) === 0;
  const wrap = (octets: Uint8Array) => {
    const arena = new Uint8Array(64 + octets.length);
    arena.set(octets, 64);
    const settings = {
      id: isMistaken ? 999 : id,
      flags,
      sequence: 1,
      options: new Uint8Array(0),
      optionsStart: 0,
      optionsSize: 0,
    };
    return arena.slice(kind.write(arena, 64, arena.length, settings));
  };
  const target = [to, to, to, to, 'ffffffffffff', '525409999999'][below(6)];
  const train = trainOf(from, target, below);
  const frames =
    below(3) === 0
      ? [plainFrame(from, target, ['', '', '81000005'][below(3)], below)]
      : referenceSegments(train.octets, train.layout, train.size);
  const datagrams = frames.map(wrap);
  const some = type === 'gre' ? [datagrams[below(datagrams.length)]] : datagrams;
  const octets = new Uint8Array(Buffer.concat(some));
  return {
    port: `${underlay}/${type}`,
    octets: below(50) === 0 ? octets.slice(0, below(octets.length)) : octets,
    size: 0,
    gsoType: 0,
    transport: 0,
    payload: 0,
    arrival: {
      // Beyond the remotes there are senders within allowFrom, and beyond those strangers.
      address: ipWords(
        parseIp(far(underlay, isStranger ? 150 : below(10) === 0 ? 20 + below(5) : remote)) ?? new Uint8Array(4),
      ),
      datagramSize: some.length > 1 ? some[0].length : 0,
      trafficClass: below(30) === 0 ? 3 : below(2),
    },
  };
}
