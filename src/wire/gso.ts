/**
 * Software segmentation and checksum completion, for ports whose far side can't do it. Works on frames that
 * wire/offload.ts has accepted: lengths and positions are trusted here, and the number of segments is bounded by
 * SEGMENTS_MAX. One per worker. @hot
 *
 *   const count = segmenter.begin(slot);
 *   for (index < count) { target = pool.allocate(); segmenter.segment(index, target); … }
 *
 * What is equal in all segments is summed once in `begin`; a segment then costs one copy of its headers, one
 * copyAndChecksum of its payload (touched once) and a handful of stores.
 *
 * The partial checksum in the frame holds the pseudo-header's sum. It is used as it is, with the length exchanged, as
 * Linux does: so it stays right behind a routing header and after NAT, and a lie in it spoils the liar's segments only.
 *
 * The reverse, merging received segments into a super-frame, is gro.ts: what it merged is cut here into what it got.
 */
import type { Kernels } from '../kernels/kernels.js';
import { OFFLOAD_TAGS_MAX } from '../limits.js';
import { fold, sumOctets } from './checksum.js';
import { ETHERTYPE_IPV4 } from './ethernet.js';
import type { FrameStore } from './frame-store.js';
import { IPV4_CHECKSUM, IPV4_ID, IPV4_TOTAL_LENGTH } from './ipv4.js';
import { IPV6_HEADER_SIZE, IPV6_PAYLOAD_LENGTH } from './ipv6.js';
import { read16, read32, write16, write32 } from './octets.js';
import { TCP_CHECKSUM, TCP_CWR, TCP_DATA_OFFSET, TCP_FIN, TCP_FLAGS, TCP_PSH, TCP_SEQUENCE } from './tcp.js';
import { UDP_CHECKSUM, UDP_HEADER_SIZE, UDP_LENGTH } from './udp.js';
import { GSO_NONE, GSO_TYPE_MASK, GSO_UDP } from './virtio-net.js';
import { ethertypePosition } from './vlan.js';

/** Octets of the longest frame that would leave a port that can't take super-frames, from the Ethernet header on. */
export function largestFrame(frames: FrameStore, slot: number): number {
  if (frames.gsoType[slot] === GSO_NONE) return frames.length[slot];
  return frames.headersEnd[slot] - frames.offset[slot] + frames.gsoSize[slot];
}

export class Segmenter {
  private readonly frames: FrameStore;
  private readonly kernels: Kernels;

  /** The super-frame in hand: its slot, absolute positions, sizes in octets. */
  private slot = 0;
  private start = 0;
  private end = 0;
  private network = 0;
  private transport = 0;
  private payload = 0;
  private size = 0;
  private count = 0;
  private isIpv4 = false;
  private isUdp = false;
  /** Folded sum of the IPv4 header without total length, id and checksum. */
  private networkSum = 0;
  /** Folded sum of pseudo-header and transport header without every length, sequence number, flags and checksum. */
  private transportSum = 0;

  constructor(frames: FrameStore, kernels: Kernels) {
    this.frames = frames;
    this.kernels = kernels;
  }

  /** Takes the super-frame in `slot` in hand (until the next `begin`) and returns the number of its segments. */
  begin(slot: number): number {
    const frames = this.frames;
    const octets = frames.octets;
    this.slot = slot;
    this.start = frames.offset[slot];
    this.end = this.start + frames.length[slot];
    const at = ethertypePosition(octets, this.start, this.end, OFFLOAD_TAGS_MAX);
    this.isIpv4 = read16(octets, at) === ETHERTYPE_IPV4;
    this.network = at + 2;
    this.transport = frames.checksumStart[slot];
    this.payload = frames.headersEnd[slot];
    this.size = frames.gsoSize[slot];
    this.isUdp = (frames.gsoType[slot] & GSO_TYPE_MASK) === GSO_UDP;
    this.count = Math.ceil((this.end - this.payload) / this.size) | 0;
    if (this.isIpv4) this.networkSum = sumIpv4Constant(octets, this.network);
    this.transportSum = this.sumTransportConstant(octets);
    return this.count;
  }

  /**
   * Writes segment `index` (0 to count - 1) into the slot `target`, at its frameStart, with complete checksums, and sets
   * that slot's position, length, ethertype and offload fields. The other fields (ports, network, holds) are the
   * caller's.
   */
  segment(index: number, target: number): void {
    const frames = this.frames;
    const to = frames.frameStart(target);
    frames.offset[target] = to;
    frames.length[target] = this.segmentAt(index, to);
    frames.ethertype[target] = frames.ethertype[this.slot];
    frames.networkHeader[target] = frames.networkHeader[this.slot] + to - this.start;
    frames.gsoType[target] = GSO_NONE;
    frames.checksumStart[target] = 0;
  }

  /**
   * Writes segment `index` with complete checksums at arena position `to`, of any alignment; touches no slot's fields.
   * Returns its octets: `largestFrame` of the super-frame at most, less for the last.
   */
  segmentAt(index: number, to: number): number {
    const from = this.payload + index * this.size;
    const payloadSize = Math.min(this.size, this.end - from);
    const headersSize = this.payload - this.start;
    this.kernels.copy(this.start, to, headersSize);
    const payloadSum = this.kernels.copyAndChecksum(from, to + headersSize, payloadSize, 0);

    const shift = to - this.start;
    const length = headersSize + payloadSize;
    this.writeNetwork(index, this.network + shift, to + length);
    const transport = this.transport + shift;
    if (this.isUdp) this.writeUdp(transport, payloadSize, payloadSum);
    else this.writeTcp(index, transport, to + length - transport, payloadSum);
    return length;
  }

  /**
   * Completes the partial checksum of the plain frame in `slot`, in place. The frame's octets change: a copy of it that
   * was already queued with the partial checksum must not share them. The sum runs to the frame's end as in Linux; what
   * pads a short packet is zero.
   */
  completeChecksum(slot: number): void {
    const frames = this.frames;
    const start = frames.checksumStart[slot];
    const end = frames.offset[slot] + frames.length[slot];
    const sum = this.kernels.checksum(start, end - start, 0);
    const field = frames.checksumOffset[slot];
    write16(frames.octets, start + field, field === UDP_CHECKSUM ? udpComplement(sum) : ~sum & 0xffff);
    frames.checksumStart[slot] = 0;
  }

  /** `network`, `end`: of the segment. */
  private writeNetwork(index: number, network: number, end: number): void {
    const octets = this.frames.octets;
    if (!this.isIpv4) {
      write16(octets, network + IPV6_PAYLOAD_LENGTH, end - network - IPV6_HEADER_SIZE);
      return;
    }
    // RFC 6864 lets atomic packets repeat the id; counting up is right for those that may be fragmented, too.
    const id = (read16(octets, network + IPV4_ID) + index) & 0xffff;
    const total = end - network;
    write16(octets, network + IPV4_TOTAL_LENGTH, total);
    write16(octets, network + IPV4_ID, id);
    write16(octets, network + IPV4_CHECKSUM, ~fold(this.networkSum + id + total) & 0xffff);
  }

  private writeTcp(index: number, transport: number, length: number, payloadSum: number): void {
    const octets = this.frames.octets;
    const sequence = (read32(octets, transport + TCP_SEQUENCE) + index * this.size) | 0;
    let flags = octets[transport + TCP_FLAGS];
    // CWR answers one congestion signal, so it is said once, at the front; FIN and PSH belong to the last octet.
    if (index !== 0) flags &= ~TCP_CWR;
    if (index !== this.count - 1) flags &= ~(TCP_FIN | TCP_PSH);
    octets[transport + TCP_FLAGS] = flags;
    write32(octets, transport + TCP_SEQUENCE, sequence);
    const offsetAndFlags = read16(octets, transport + TCP_DATA_OFFSET);
    const sum = this.transportSum + (sequence >>> 16) + (sequence & 0xffff) + offsetAndFlags + length + payloadSum;
    write16(octets, transport + TCP_CHECKSUM, ~fold(sum) & 0xffff);
  }

  private writeUdp(transport: number, payloadSize: number, payloadSum: number): void {
    const octets = this.frames.octets;
    const length = UDP_HEADER_SIZE + payloadSize;
    write16(octets, transport + UDP_LENGTH, length);
    // The length counts twice: in the header and in the pseudo-header.
    write16(octets, transport + UDP_CHECKSUM, udpComplement(fold(this.transportSum + length + length + payloadSum)));
  }

  private sumTransportConstant(octets: Uint8Array): number {
    const transport = this.transport;
    const checksumField = transport + (this.isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
    // The partial checksum without the whole packet's length.
    const pseudo = read16(octets, checksumField) + (~(this.end - transport) & 0xffff);
    if (this.isUdp) return sumOctets(octets, transport, 4, fold(pseudo));
    let sum = sumOctets(octets, transport, 4, fold(pseudo));
    sum = sumOctets(octets, transport + 8, 4, sum);
    sum = sumOctets(octets, transport + 14, 2, sum);
    return sumOctets(octets, transport + 18, this.payload - transport - 18, sum);
  }
}

/** Folded sum of an IPv4 header without total length, id and checksum. */
export function sumIpv4Constant(octets: Uint8Array, network: number): number {
  const size = (octets[network] & 0x0f) << 2;
  let sum = sumOctets(octets, network, 2, 0);
  sum = sumOctets(octets, network + 6, 4, sum);
  return sumOctets(octets, network + 12, size - 12, sum);
}

/** A sum as a checksum field of UDP, where zero means "no checksum" (RFC 768). TCP's is zero one time in 65,536. */
function udpComplement(sum: number): number {
  const checksum = ~sum & 0xffff;
  return checksum === 0 ? 0xffff : checksum;
}
