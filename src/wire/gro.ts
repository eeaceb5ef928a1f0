/**
 * Software receive offload: TCP segments that follow each other become one super-frame again, where the first of them
 * lies. Exact: what the Segmenter (gso.ts) would make of the super-frame are the segments it was made of. One per worker,
 * for frames that came out of tunnels. @hot
 *
 *   merger.begin();
 *   for each frame: into = merger.append(at, length, tunnel); if (into < 0) { …into a slot…; merger.open(slot, tunnel); }
 *   merger.finish();
 *
 * What merges: untagged Ethernet; IPv4 without options, no fragment, its checksum right, ids that count up (or stay, with
 * DF); IPv6 without extension headers; TCP with payload and no flags but ACK, ECE and PSH. Everything that the segments'
 * headers share must be the same, octet for octet, options and addresses of Ethernet included; the sequence numbers
 * exactly consecutive; every TCP checksum right, looked at before anything is moved. All segments have the first one's
 * size; a smaller one is the last, and so is one with PSH.
 *
 * Order within a flow never changes: what doesn't merge ends the super-frame of its flow, and where it can't be told which
 * flow it is of (fragments, options, tags), of all it could be. A frame that nothing was added to is left as it came.
 *
 * Frames of different tunnels never meet, which keeps networks apart; tunnel 0 is none, so nothing of it merges.
 *
 * Cost (bench/merge.mjs): 115 ns a segment of 1,448 octets, 12.6 GB/s, where memcpy of as many takes 28: the checksum 40, the
 * move 30, the headers' comparison 11. What can't merge costs 12 (UDP) to 21 ns (a lone acknowledgement).
 *
 * What an attacker can do: end his own flows' super-frames early, and with MERGED_FLOWS_MAX flows everyone's, down to the
 * cost of not merging.
 */
import type { Kernels } from '../kernels/kernels.js';
import { FRAME_SIZE_MAX, MERGED_FLOWS_MAX, TCP_SEGMENT_SIZE_MIN } from '../limits.js';
import { fold, pseudoHeaderSum4, pseudoHeaderSum6 } from './checksum.js';
import { ETHERNET_ETHERTYPE, ETHERNET_HEADER_SIZE, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.js';
import type { FrameStore } from './frame-store.js';
import { sumIpv4Constant } from './gso.js';
import { PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from './ip-protocol.js';
import {
  IPV4_CHECKSUM,
  IPV4_DONT_FRAGMENT,
  IPV4_FRAGMENT,
  IPV4_HEADER_SIZE_MIN,
  IPV4_ID,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  ipv4IsFragment,
} from './ipv4.js';
import { IPV6_HEADER_SIZE, IPV6_NEXT_HEADER, IPV6_PAYLOAD_LENGTH, IPV6_SOURCE } from './ipv6.js';
import { read16, read32, write16 } from './octets.js';
import {
  TCP_ACK,
  TCP_CHECKSUM,
  TCP_DATA_OFFSET,
  TCP_ECE,
  TCP_FLAGS,
  TCP_PSH,
  TCP_SEQUENCE,
  tcpPayloadStart,
} from './tcp.js';
import { GSO_TCP4, GSO_TCP6 } from './virtio-net.js';
import { isTpid } from './vlan.js';

/** The longest IP packet a super-frame may be, in octets, whatever its version: what every receiver of them takes. */
const PACKET_SIZE_MAX = 65_535;
const IPV4_TRANSPORT = ETHERNET_HEADER_SIZE + IPV4_HEADER_SIZE_MIN;
const IPV6_TRANSPORT = ETHERNET_HEADER_SIZE + IPV6_HEADER_SIZE;
/** The first octet of an IPv4 header without options. */
const VERSION_4_PLAIN = 0x45;
/** The ethertype and that octet, as little-endian memory has them. */
const PLAIN_IPV4 = 0x45_0008;

/** A frame that waits for its continuation. Positions are absolute, sizes in octets. */
class OpenFrame {
  /** -1: nothing is open here. */
  slot = -1;
  tunnel = 0;
  isIpv4 = false;
  start = 0;
  transport = 0;
  payload = 0;
  /** Behind the last octet of the packet so far, and what it may not pass. */
  end = 0;
  limit = 0;
  /** Source and destination port as one word. */
  ports = 0;
  /** Payload octets of the first segment. */
  size = 0;
  count = 0;
  nextSequence = 0;
  /** What is added to the IPv4 id for each segment: 0 or 1; only known from the second on. */
  idStep = 0;
  /** Folded sum of the IPv4 header without total length, id and checksum. */
  networkSum = 0;
  /** TCP_PSH once a segment with it was added. */
  push = 0;
  /** When it was opened, counted in frames since `begin`. */
  age = 0;
}

export class Merger {
  private readonly frames: FrameStore;
  private readonly kernels: Kernels;
  private readonly table: readonly OpenFrame[] = Array.from({ length: MERGED_FLOWS_MAX }, () => new OpenFrame());
  /** The one that was opened or added to last: tried first. */
  private latest: OpenFrame = this.table[0];
  private openings = 0;
  /** How many are open now: traffic of which nothing merges isn't searched for what it could continue. */
  private openCount = 0;

  constructor(frames: FrameStore, kernels: Kernels) {
    this.frames = frames;
    this.kernels = kernels;
  }

  /** Starts a batch; `finish` ended the one before. */
  begin(): void {
    this.openings = 0;
  }

  /** Every super-frame becomes a whole frame, with its lengths, partial checksum and offload fields. */
  finish(): void {
    for (let index = 0; index < MERGED_FLOWS_MAX; index++) this.close(this.table[index]);
  }

  /**
   * Adds the frame of `length` octets at `at` (at least an Ethernet header) to the super-frame it continues; returns that
   * one's slot, or -1: the frame stays as it is, and goes to `open` next. What lies behind an open frame in its slot may be
   * overwritten, except by a frame of the same slot: that one moves its payload to the left, over octets up to its own end.
   */
  append(at: number, length: number, tunnel: number): number {
    return this.openCount === 0 ? -1 : this.appendToOpen(at, length, tunnel);
  }

  private appendToOpen(at: number, length: number, tunnel: number): number {
    let open = this.latest;
    let follows = this.sharesHeaders(open, at, length, tunnel);
    if (!follows) {
      const found = this.find(at, length, tunnel);
      if (found < 0) return -1;
      open = this.table[found];
      follows = this.sharesHeaders(open, at, length, tunnel);
    }
    if (!follows || !this.continues(open, at, length)) {
      this.close(open);
      return -1;
    }
    const { slot } = open;
    this.add(open, at);
    return slot;
  }

  /**
   * Takes the frame in `slot`, which `append` has just refused where it lay, as the beginning of a super-frame, if it can
   * be one. It becomes one, or stays octet for octet what it is, by `finish` at the latest.
   */
  open(slot: number, tunnel: number): void {
    const start = this.frames.offset[slot];
    if (!isPlainWithoutTcp(this.frames.words, start)) this.openTcp(slot, tunnel, start);
  }

  private openTcp(slot: number, tunnel: number, start: number): void {
    const frames = this.frames;
    const octets = frames.octets;
    const end = mergeableEnd(octets, start, frames.length[slot]);
    if (end < 0 || tunnel === 0) return;
    const isIpv4 = read16(octets, start + ETHERNET_ETHERTYPE) === ETHERTYPE_IPV4;
    const transport = start + (isIpv4 ? IPV4_TRANSPORT : IPV6_TRANSPORT);
    const payload = tcpPayloadStart(octets, transport, end);
    if (payload < 0 || end - payload < TCP_SEGMENT_SIZE_MIN || !isPlainTcp(octets, transport)) return;
    const open = this.vacancy();
    open.slot = slot;
    open.tunnel = tunnel;
    open.isIpv4 = isIpv4;
    open.start = start;
    open.transport = transport;
    open.payload = payload;
    open.end = end;
    open.limit = Math.min(start + ETHERNET_HEADER_SIZE + PACKET_SIZE_MAX, frames.frameStart(slot) + FRAME_SIZE_MAX);
    open.ports = read32(octets, transport);
    open.size = end - payload;
    open.count = 1;
    open.nextSequence = (read32(octets, transport + TCP_SEQUENCE) + open.size) | 0;
    open.push = 0;
    open.age = this.openings++;
    this.openCount++;
    this.latest = open;
  }

  /** A table entry with nothing open, for which the oldest may have to be finished. */
  private vacancy(): OpenFrame {
    let oldest = this.table[0];
    for (let index = 0; index < MERGED_FLOWS_MAX; index++) {
      const open = this.table[index];
      if (open.slot < 0) return open;
      if (open.age < oldest.age) oldest = open;
    }
    this.close(oldest);
    return oldest;
  }

  /**
   * Whether the frame is one whose headers have all that `open`'s have. What `open` was asked about its headers needs not
   * be asked again then, only what differs: lengths, id, checksums, sequence number, PSH.
   */
  private sharesHeaders(open: OpenFrame, at: number, length: number, tunnel: number): boolean {
    if (open.slot < 0 || open.tunnel !== tunnel || length <= open.payload - open.start) return false;
    const size = open.payload - open.transport;
    return open.isIpv4
      ? this.kernels.sameHeaders4(open.start, at, size) !== 0
      : this.kernels.sameHeaders6(open.start, at, size) !== 0;
  }

  /** Whether the frame, which shares the headers, comes next and has room. Nothing is moved yet. */
  private continues(open: OpenFrame, at: number, length: number): boolean {
    const octets = this.frames.octets;
    const shift = at - open.start;
    const end = packetEnd(octets, at, open.isIpv4);
    const size = end - open.payload - shift;
    if (size <= 0 || size > open.size || end > at + length || open.end + size > open.limit) return false;
    if (read32(octets, open.transport + shift + TCP_SEQUENCE) !== open.nextSequence) return false;
    if (open.count === 1 && !this.isFirstSound(open)) return false;
    if (open.isIpv4 && !(takesId(open, octets, at) && isIpv4Sound(open, octets, at))) return false;
    return this.isTcpSound(at, end, open.isIpv4);
  }

  /** The checks of the first segment that only matter once there is a second: a flow's only segment is spared them. */
  private isFirstSound(open: OpenFrame): boolean {
    const octets = this.frames.octets;
    if (open.isIpv4) {
      open.networkSum = sumIpv4Constant(octets, open.start + ETHERNET_HEADER_SIZE);
      if (!isIpv4Sound(open, octets, open.start)) return false;
    }
    return this.isTcpSound(open.start, open.end, open.isIpv4);
  }

  /** Sums addresses and TCP in one go: they lie side by side, and the rest of the pseudo-header is two numbers. */
  private isTcpSound(at: number, end: number, isIpv4: boolean): boolean {
    const addresses = at + ETHERNET_HEADER_SIZE + (isIpv4 ? IPV4_SOURCE : IPV6_SOURCE);
    const tcpSize = end - at - (isIpv4 ? IPV4_TRANSPORT : IPV6_TRANSPORT);
    return this.kernels.checksum(addresses, end - addresses, PROTOCOL_TCP + tcpSize) === 0xffff;
  }

  private add(open: OpenFrame, at: number): void {
    const octets = this.frames.octets;
    const shift = at - open.start;
    const from = open.payload + shift;
    const size = packetEnd(octets, at, open.isIpv4) - from;
    // Read before the move, which may lay payload over these headers.
    const push = octets[open.transport + shift + TCP_FLAGS] & TCP_PSH;
    this.kernels.copy(from, open.end, size);
    open.end += size;
    open.count++;
    open.nextSequence = (open.nextSequence + size) | 0;
    open.push = push;
    this.latest = open;
    if (size < open.size || push !== 0) this.close(open);
  }

  /** Nothing more is added. What is a super-frame gets its lengths, checksums and offload fields; a lone frame nothing. */
  private close(open: OpenFrame): void {
    const { slot } = open;
    if (slot < 0) return;
    open.slot = -1;
    this.openCount--;
    if (open.count === 1) return;
    const frames = this.frames;
    const octets = frames.octets;
    const network = open.start + ETHERNET_HEADER_SIZE;
    const total = open.end - network;
    const tcpSize = open.end - open.transport;
    let pseudo: number;
    if (open.isIpv4) {
      const id = read16(octets, network + IPV4_ID);
      write16(octets, network + IPV4_TOTAL_LENGTH, total);
      write16(octets, network + IPV4_CHECKSUM, ~fold(open.networkSum + id + total) & 0xffff);
      pseudo = pseudoHeaderSum4(octets, network, PROTOCOL_TCP, tcpSize);
    } else {
      write16(octets, network + IPV6_PAYLOAD_LENGTH, total - IPV6_HEADER_SIZE);
      pseudo = pseudoHeaderSum6(octets, network, PROTOCOL_TCP, tcpSize);
    }
    octets[open.transport + TCP_FLAGS] |= open.push;
    write16(octets, open.transport + TCP_CHECKSUM, pseudo);
    frames.length[slot] = open.end - open.start;
    frames.gsoType[slot] = open.isIpv4 ? GSO_TCP4 : GSO_TCP6;
    frames.gsoSize[slot] = open.size;
    frames.checksumStart[slot] = open.transport;
    frames.checksumOffset[slot] = TCP_CHECKSUM;
    frames.headersEnd[slot] = open.payload;
  }

  /**
   * Index of the open frame of the flow that the frame is of; -1: there is none. Where the frame doesn't tell its flow, all
   * that it could be of are closed.
   */
  private find(at: number, length: number, tunnel: number): number {
    const octets = this.frames.octets;
    const network = at + ETHERNET_HEADER_SIZE;
    const ethertype = read16(octets, at + ETHERNET_ETHERTYPE);
    if (ethertype === ETHERTYPE_IPV4) {
      if (length < IPV4_TRANSPORT || octets[network + IPV4_PROTOCOL] !== PROTOCOL_TCP) return -1;
      const isPlain = octets[network] === VERSION_4_PLAIN && !ipv4IsFragment(octets, network);
      if (isPlain && length >= IPV4_TRANSPORT + 4) return this.findFlow(at, tunnel, true);
      this.closeBetween(at, tunnel, true);
    } else if (ethertype === ETHERTYPE_IPV6) {
      if (length < IPV6_TRANSPORT) return -1;
      const next = octets[network + IPV6_NEXT_HEADER];
      if (next === PROTOCOL_TCP && length >= IPV6_TRANSPORT + 4) return this.findFlow(at, tunnel, false);
      if (next !== PROTOCOL_UDP && next !== PROTOCOL_ICMPV6) this.closeBetween(at, tunnel, false);
    } else if (isTpid(ethertype)) this.closeTunnel(tunnel);
    return -1;
  }

  private findFlow(at: number, tunnel: number, isIpv4: boolean): number {
    const ports = read32(this.frames.octets, at + (isIpv4 ? IPV4_TRANSPORT : IPV6_TRANSPORT));
    for (let index = 0; index < MERGED_FLOWS_MAX; index++) {
      const open = this.table[index];
      if (open.ports === ports && this.isBetween(open, at, tunnel, isIpv4)) return index;
    }
    return -1;
  }

  /** Whether `open` is there, and of the tunnel and between the same addresses as the frame. */
  private isBetween(open: OpenFrame, at: number, tunnel: number, isIpv4: boolean): boolean {
    if (open.slot < 0 || open.tunnel !== tunnel || open.isIpv4 !== isIpv4) return false;
    const octets = this.frames.octets;
    const first = ETHERNET_HEADER_SIZE + (isIpv4 ? IPV4_SOURCE : IPV6_SOURCE);
    const last = isIpv4 ? IPV4_TRANSPORT : IPV6_TRANSPORT;
    for (let position = first; position < last; position += 4)
      if (read32(octets, open.start + position) !== read32(octets, at + position)) return false;
    return true;
  }

  private closeBetween(at: number, tunnel: number, isIpv4: boolean): void {
    for (let index = 0; index < MERGED_FLOWS_MAX; index++)
      if (this.isBetween(this.table[index], at, tunnel, isIpv4)) this.close(this.table[index]);
  }

  private closeTunnel(tunnel: number): void {
    for (let index = 0; index < MERGED_FLOWS_MAX; index++)
      if (this.table[index].tunnel === tunnel) this.close(this.table[index]);
  }
}

/**
 * True for an IPv4 packet without options of another protocol, which most frames that are alone have: by two words, whatever
 * lies there. Memory is little-endian.
 */
function isPlainWithoutTcp(words: Int32Array, start: number): boolean {
  const at = (start + ETHERNET_HEADER_SIZE) >> 2;
  return (start & 3) === 0 && (words[at] & 0xff_ffff) === PLAIN_IPV4 && words[at + 2] >>> 24 !== PROTOCOL_TCP;
}

/** Behind the last octet of the packet in the frame at `at`, as its header says. */
function packetEnd(octets: Uint8Array, at: number, isIpv4: boolean): number {
  const network = at + ETHERNET_HEADER_SIZE;
  return isIpv4
    ? network + read16(octets, network + IPV4_TOTAL_LENGTH)
    : network + IPV6_HEADER_SIZE + read16(octets, network + IPV6_PAYLOAD_LENGTH);
}

/** End of the packet of a frame whose IP header may be a super-frame's; -1 for every other. TCP is not looked at yet. */
function mergeableEnd(octets: Uint8Array, at: number, length: number): number {
  const network = at + ETHERNET_HEADER_SIZE;
  const ethertype = read16(octets, at + ETHERNET_ETHERTYPE);
  if (ethertype === ETHERTYPE_IPV4) {
    if (length < IPV4_TRANSPORT || octets[network] !== VERSION_4_PLAIN) return -1;
    if (octets[network + IPV4_PROTOCOL] !== PROTOCOL_TCP || ipv4IsFragment(octets, network)) return -1;
  } else {
    if (ethertype !== ETHERTYPE_IPV6 || length < IPV6_TRANSPORT || octets[network] >>> 4 !== 6) return -1;
    if (octets[network + IPV6_NEXT_HEADER] !== PROTOCOL_TCP) return -1;
  }
  const end = packetEnd(octets, at, ethertype === ETHERTYPE_IPV4);
  return end > at + length ? -1 : end;
}

/** ACK, maybe ECE, and nothing else: PSH would end the super-frame at its first segment. Reserved bits are 0. */
function isPlainTcp(octets: Uint8Array, transport: number): boolean {
  return (octets[transport + TCP_FLAGS] & ~TCP_ECE) === TCP_ACK && (octets[transport + TCP_DATA_OFFSET] & 0x0f) === 0;
}

/** Whether the IPv4 id goes on as it began; the second segment says how. */
function takesId(open: OpenFrame, octets: Uint8Array, at: number): boolean {
  const network = open.start + ETHERNET_HEADER_SIZE;
  const distance = (read16(octets, at + ETHERNET_HEADER_SIZE + IPV4_ID) - read16(octets, network + IPV4_ID)) & 0xffff;
  if (open.count > 1) return distance === open.idStep * open.count;
  const keeps = (read16(octets, network + IPV4_FRAGMENT) & IPV4_DONT_FRAGMENT) !== 0;
  open.idStep = distance;
  return distance === 1 || (distance === 0 && keeps);
}

/** Whether the header checksum of the frame at `at`, which shares `open`'s headers, is right. */
function isIpv4Sound(open: OpenFrame, octets: Uint8Array, at: number): boolean {
  const network = at + ETHERNET_HEADER_SIZE;
  const rest = read16(octets, network + IPV4_TOTAL_LENGTH) + read16(octets, network + IPV4_ID);
  return fold(open.networkSum + rest + read16(octets, network + IPV4_CHECKSUM)) === 0xffff;
}
