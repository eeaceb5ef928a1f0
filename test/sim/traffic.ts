/** Random frames: what honest stations send, and what nobody should. */
import { buildSuperFrame } from '../wire/super-frame.js';
import type { Random } from './random.js';
import type { ModelFrame } from './reference-switch.js';

/** What the header in front of the frame said; positions relative to the frame. */
export interface VnetHeader {
  readonly flags: number;
  readonly gsoType: number;
  readonly headerLength: number;
  readonly gsoSize: number;
  readonly start: number;
  readonly offset: number;
}

export interface TrafficFrame extends ModelFrame {
  readonly vnet?: VnetHeader;
}

export interface TrafficRules {
  /** Sources are found behind these ports; now and then one is seen elsewhere, as often as `moves` allows. */
  readonly homes: ReadonlyMap<string, string>;
  readonly superFrames: boolean;
  mayMove(): boolean;
}

export const STATIONS = [
  '525400000001',
  '525400000002',
  '525400000003',
  '525400000004',
  '525400000005',
  '525400000006',
];
const GROUPS = ['ffffffffffff', 'ffffffffffff', '333300000001', '01005e000001'];
const RESERVED = [
  '0180c2000000',
  '0180c2000001',
  '0180c2000002',
  '0180c2000003',
  '0180c200000e',
  '0180c2000008',
  '0180c200000f',
  '0180c2000010',
  '0180c2000030',
  '0180c200003f',
  '01000ccccccc',
  '01000ccccccd',
  '01000cccccce',
];
const ETHERTYPES = [0x0800, 0x0806, 0x86dd, 0x88cc, 0x8809, 0x8808, 0x8902, 0x88b5, 0x0026, 0x9100];
const VIDS = [0, 0, 10, 20, 30, 100, 200, 4094, 4095, 7];

let serial = 0;

/** Frames are numbered inside, so that no two are equal; a run starts at 0. */
export function startNumbering(): void {
  serial = 0;
}

export function randomFrame(random: Random, port: string, rules: TrafficRules): TrafficFrame {
  const source = randomSource(random, port, rules);
  const destination = randomDestination(random);
  const tags = randomTags(random);
  const kind = random.below(100);
  if (kind < 4) return { port, octets: malformed(random, destination, source, tags) };
  if (rules.superFrames && kind < 14) return offloaded(random, port, destination, source, tags, kind < 7);
  return { port, octets: plain(random, destination, source, tags) };
}

function randomSource(random: Random, port: string, rules: TrafficRules): string {
  const own = STATIONS.filter((station) => rules.homes.get(station) === port);
  const kind = random.below(100);
  if (kind < 2) return random.pick(['ffffffffffff', '010203040506', '000000000000', '0180c2000000']);
  if (kind < 10 && rules.mayMove()) return random.pick(STATIONS);
  if (own.length > 0) return random.pick(own);
  // A station only this port ever sends from.
  return `0200000000${(port.charCodeAt(0) + port.charCodeAt(port.length - 1)).toString(16).padStart(2, '0')}`;
}

function randomDestination(random: Random): string {
  const kind = random.below(20);
  if (kind < 12) return random.pick(STATIONS);
  if (kind < 16) return random.pick(GROUPS);
  if (kind < 18) return random.pick(RESERVED);
  return random.pick(['525400000099', '000000000000']);
}

function randomTags(random: Random): number[][] {
  const count = random.pick([0, 0, 0, 1, 1, 1, 2, 2, 3]);
  return Array.from({ length: count }, () => [
    random.pick([0x8100, 0x8100, 0x88a8]),
    random.below(16) * 4096 + random.pick(VIDS),
  ]);
}

function header(destination: string, source: string, tags: readonly number[][]): Uint8Array {
  const words = tags.flat().map((value) => value.toString(16).padStart(4, '0'));
  return Buffer.from(destination + source + words.join(''), 'hex');
}

function plain(random: Random, destination: string, source: string, tags: readonly number[][]): Uint8Array {
  const ethertype = random.pick(ETHERTYPES);
  const start = Buffer.concat([header(destination, source, tags), Uint8Array.of(ethertype >> 8, ethertype & 255)]);
  const payload = random.pick([46, 46, 46, 46, 46, 64, 68, 69, 576, 1399, 1400, 1496, 1500, 1501, 1504, 9000]);
  const octets = new Uint8Array(start.length + payload).fill(0x5a);
  octets.set(start);
  new DataView(octets.buffer).setUint32(octets.length - 4, ++serial);
  return octets;
}

/** Runts, cut tags, and the longest. */
function malformed(random: Random, destination: string, source: string, tags: readonly number[][]): Uint8Array {
  if (random.oneIn(8)) {
    const octets = new Uint8Array(random.pick([65_599, 65_600])).fill(0x5a);
    octets.set(header(destination, source, tags));
    return octets;
  }
  const whole = Uint8Array.from([...header(destination, source, tags), 0x88, 0xb5]);
  return whole.slice(0, random.below(whole.length + 1));
}

function offloaded(
  random: Random,
  port: string,
  destination: string,
  source: string,
  tags: readonly number[][],
  isTrain: boolean,
): TrafficFrame {
  const two = tags.slice(0, 2);
  const isUdp = random.oneIn(3);
  const payloadSize = isTrain ? random.pick([300, 3000, 3000, 20_000]) : random.pick([1, 26, 100, 1200]);
  const size = isTrain
    ? random.pick(payloadSize === 300 ? [64, 200] : payloadSize === 3000 ? [200, 1000, 1448] : [1000, 1448])
    : 0;
  const { octets, layout } = buildSuperFrame({
    isIpv4: random.oneIn(2),
    isUdp,
    tags: two.length,
    options: random.below(3),
    tcpOptions: random.below(4),
    flags: random.pick([0x10, 0x18, 0x19, 0x90]),
    id: random.below(65_536),
    sequence: random.next(),
    payloadSize,
    size,
    seed: ++serial,
  });
  octets.set(header(destination, source, two));
  const isTcp4 = layout.isIpv4 ? 1 : 4;
  const honest: VnetHeader = {
    flags: 1,
    gsoType: size === 0 ? 0 : isUdp ? 5 : isTcp4 | ((octets[layout.transport + 13] & 0x80) === 0 ? 0 : 0x80),
    headerLength: layout.payload,
    gsoSize: size,
    start: layout.transport,
    offset: isUdp ? 6 : 16,
  };
  if (!random.oneIn(4)) return { port, octets, offload: { layout, size }, vnet: honest };
  const lie = random.pick(lies(honest, isUdp, octets.length));
  return { port, octets, offload: 'lie', vnet: { ...honest, ...lie } };
}

/** Each contradicts the frame whatever else it is. */
function lies(honest: VnetHeader, isUdp: boolean, length: number): Partial<VnetHeader>[] {
  return [
    { start: length },
    { start: 65_535 },
    { start: 14 },
    { start: honest.start + 1 },
    { offset: honest.offset === 6 ? 16 : 6 },
    { offset: 65_535 },
    { gsoType: 3, gsoSize: 100 },
    { gsoType: isUdp ? 1 : 5, gsoSize: 100 },
    { gsoType: 0x7f, gsoSize: 100 },
    { gsoType: honest.gsoType === 0 ? 1 : honest.gsoType, gsoSize: 0 },
    { flags: 0, gsoType: honest.gsoType === 0 ? 1 : honest.gsoType },
  ];
}
