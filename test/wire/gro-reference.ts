/**
 * Merging, slow and obvious: one rule a line, on frames that are arrays. Says which frames belong together; shares no code
 * with src/.
 */
import { referenceSum } from '../kernels/reference.js';
import { concatenate, type Layout, pseudoHeader, writeNetwork, writePartialChecksum } from './reference.js';
import type { Segment } from './segments.js';

const FLOWS = 8;
const PACKET = 65_535;

export interface Merged {
  /** Numbers of the frames in it, in order. */
  readonly members: number[];
  readonly octets: Uint8Array;
  /** 0: one frame, as it came. */
  readonly gsoType: number;
  readonly gsoSize: number;
  /** Octets from the frame's first. */
  readonly transport: number;
  readonly payload: number;
}

interface Packet {
  readonly tunnel: number;
  readonly frame: Uint8Array;
  readonly layout: Layout;
  /** Octets of Ethernet and IP. */
  readonly end: number;
}

interface Group {
  readonly members: number[];
  readonly packets: Packet[];
}

const hex = (octets: Uint8Array) => Buffer.from(octets).toString('hex');
const word = (frame: Uint8Array, at: number) => frame[at] * 256 + frame[at + 1];
const sequenceOf = ({ frame, layout }: Packet) => Buffer.from(frame).readUInt32BE(layout.transport + 4);
const sizeOf = ({ end, layout }: Packet) => end - layout.payload;
const flagsOf = ({ frame, layout }: Packet) => frame[layout.transport + 13];

/** Which flows a frame may be of: text that the flow's packets share; what begins with it, is concerned. */
function flowOf({ octets: frame, tunnel }: Segment): { text: string; isExact: boolean } | undefined {
  const ethertype = word(frame, 12);
  if (ethertype === 0x8100 || ethertype === 0x88a8) return { text: `${tunnel} `, isExact: false };
  if (ethertype === 0x0800 && frame.length >= 34 && frame[23] === 6) {
    const addresses = `${tunnel} 4 ${hex(frame.slice(26, 34))} `;
    if (frame[14] !== 0x45 || word(frame, 20) % 0x4000 !== 0 || frame.length < 38)
      return { text: addresses, isExact: false };
    return { text: addresses + hex(frame.slice(34, 38)), isExact: true };
  }
  if (ethertype !== 0x86dd || frame.length < 54 || frame[20] === 17 || frame[20] === 58) return undefined;
  const addresses = `${tunnel} 6 ${hex(frame.slice(22, 54))} `;
  if (frame[20] !== 6 || frame.length < 58) return { text: addresses, isExact: false };
  return { text: addresses + hex(frame.slice(54, 58)), isExact: true };
}

/** The packet if it may be in a super-frame at all, checksums aside. */
function mergeable({ octets: frame, tunnel }: Segment): Packet | undefined {
  const isIpv4 = word(frame, 12) === 0x0800;
  if (!isIpv4 && word(frame, 12) !== 0x86dd) return undefined;
  if (isIpv4 && (frame[14] !== 0x45 || word(frame, 20) % 0x4000 !== 0 || frame[23] !== 6)) return undefined;
  if (!isIpv4 && (frame[14] >> 4 !== 6 || frame[20] !== 6)) return undefined;
  const transport = isIpv4 ? 34 : 54;
  const end = isIpv4 ? 14 + word(frame, 16) : 54 + word(frame, 18);
  const payload = transport + (frame[transport + 12] >> 4) * 4;
  if (end > frame.length || payload < transport + 20 || payload >= end) return undefined;
  const layout = { isIpv4, isUdp: false, network: 14, transport, payload };
  const isPlain = (frame[transport + 13] & 0b1011_0111) === 0x10 && (frame[transport + 12] & 0x0f) === 0;
  return isPlain ? { tunnel, frame, layout, end } : undefined;
}

function isSound({ frame, layout, end }: Packet): boolean {
  if (layout.isIpv4 && referenceSum(frame, 14, 20) !== 0xffff) return false;
  const covered = concatenate(pseudoHeader(frame, layout, end - layout.transport), frame.slice(layout.transport, end));
  return referenceSum(covered, 0, covered.length) === 0xffff;
}

/** The headers without what segments of one super-frame differ in. */
function sharedHeaders({ frame, layout, tunnel }: Packet): string {
  const headers = frame.slice(0, layout.payload);
  if (layout.isIpv4) {
    headers.fill(0, 16, 20);
    headers.fill(0, 24, 26);
  } else headers.fill(0, 18, 20);
  headers.fill(0, layout.transport + 4, layout.transport + 8);
  headers[layout.transport + 13] &= 0b1111_0111;
  headers.fill(0, layout.transport + 16, layout.transport + 18);
  return `${tunnel} ${hex(headers)}`;
}

function idsGoOn(group: Group, packet: Packet): boolean {
  if (!packet.layout.isIpv4) return true;
  const ids = [...group.packets, packet].map(({ frame }) => word(frame, 18));
  const steps = ids.slice(1).map((id, index) => (id - ids[index] + 65_536) % 65_536);
  return steps.every((step) => step === 1) || ((packet.frame[20] & 0x40) !== 0 && steps.every((step) => step === 0));
}

function joins(group: Group, packet: Packet | undefined): packet is Packet {
  if (packet === undefined) return false;
  const [first] = group.packets;
  const last = group.packets[group.packets.length - 1];
  const payload = group.packets.reduce((sum, each) => sum + sizeOf(each), 0);
  return (
    sharedHeaders(packet) === sharedHeaders(first) &&
    sequenceOf(packet) === (sequenceOf(last) + sizeOf(last)) % 2 ** 32 &&
    sizeOf(packet) <= sizeOf(first) &&
    first.layout.payload - 14 + payload + sizeOf(packet) <= PACKET &&
    idsGoOn(group, packet) &&
    isSound(first) &&
    isSound(packet)
  );
}

/** What the frames, in the order they came, become. Slots are taken to be long enough. */
export function referenceMerge(segments: readonly Segment[]): Merged[] {
  const groups: Group[] = [];
  let open: { group: Group; flow: string }[] = [];
  segments.forEach((segment, index) => {
    const flow = flowOf(segment);
    const packet = mergeable(segment);
    const concerned = flow === undefined ? [] : open.filter((each) => each.flow.startsWith(flow.text));
    const own = flow?.isExact ? concerned[0] : undefined;
    if (own !== undefined && joins(own.group, packet)) {
      own.group.members.push(index);
      own.group.packets.push(packet);
      const isLast = sizeOf(packet) < sizeOf(own.group.packets[0]) || (flagsOf(packet) & 8) !== 0;
      if (isLast) open = open.filter((each) => each !== own);
      return;
    }
    open = open.filter((each) => !concerned.includes(each));
    const group = { members: [index], packets: packet === undefined ? [] : [packet] };
    groups.push(group);
    if (flow === undefined || packet === undefined || sizeOf(packet) < 48 || (flagsOf(packet) & 8) !== 0) return;
    if (open.length === FLOWS) open.shift();
    open.push({ group, flow: flow.text });
  });
  return groups.map((group) => finish(group, segments));
}

function finish({ members, packets }: Group, segments: readonly Segment[]): Merged {
  if (members.length === 1) {
    return { members, octets: segments[members[0]].octets, gsoType: 0, gsoSize: 0, transport: 0, payload: 0 };
  }
  const [{ layout, frame }] = packets;
  const payloads = packets.map((packet) => packet.frame.slice(layout.payload, packet.end));
  const octets = concatenate(frame.slice(0, layout.payload), ...payloads);
  octets[layout.transport + 13] |= flagsOf(packets[packets.length - 1]) & 8;
  writeNetwork(octets, layout);
  writePartialChecksum(octets, layout);
  const { transport, payload } = layout;
  return { members, octets, gsoType: layout.isIpv4 ? 1 : 4, gsoSize: sizeOf(packets[0]), transport, payload };
}
