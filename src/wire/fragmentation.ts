/**
 * Cuts an IPv4 packet into fragments (RFC 791 section 3.2): as few as there can be, each but the last as long as the MTU and
 * its multiple of eight octets allow. The first has all options, the others those whose "copied" bit is set. A packet that is
 * a fragment itself is cut further, and its last part says what it said of more to come. @hot
 *
 *   const count = fragmenter.begin(slot, mtu);
 *   for (index < count) { target = pool.allocate(); fragmenter.write(index, target); … }
 */
import type { Kernels } from '../kernels/kernels.js';
import { ipv4HeaderChecksum } from './checksum.js';
import type { FrameStore } from './frame-store.js';
import {
  IPV4_CHECKSUM,
  IPV4_FRAGMENT,
  IPV4_FRAGMENT_OFFSET_MASK,
  IPV4_HEADER_SIZE_MIN,
  IPV4_MORE_FRAGMENTS,
  IPV4_OPTION_END,
  IPV4_OPTION_NOTHING,
  IPV4_TOTAL_LENGTH,
  ipv4HeaderSize,
  ipv4TotalLength,
} from './ipv4.js';
import { read16, write16 } from './octets.js';
import { GSO_NONE } from './virtio-net.js';

/** Of an option's type: it is in every fragment. */
const OPTION_COPIED = 0x80;
const OPTIONS_SIZE_MAX = 40;

export class Ipv4Fragmenter {
  private readonly frames: FrameStore;
  private readonly kernels: Kernels;
  /** The packet in hand: its slot, absolute positions, sizes in octets. */
  private slot = 0;
  private start = 0;
  private network = 0;
  private headerSize = 0;
  private payloadSize = 0;
  private count = 0;
  /** Octets of payload in the first fragment, and in each of the others but the last. */
  private firstSize = 0;
  private laterSize = 0;
  /** Of the header from the second fragment on: its options, padded, and its size. */
  private readonly laterOptions = new Uint8Array(OPTIONS_SIZE_MAX);
  private laterHeaderSize = 0;

  constructor(frames: FrameStore, kernels: Kernels) {
    this.frames = frames;
    this.kernels = kernels;
  }

  /**
   * Takes the sound packet in `slot`, no super-frame and with complete checksums, in hand (until the next `begin`) and returns
   * the number of its fragments: 1 for one that fits, which `write` copies as it is; 0 when the MTU has no room for any.
   */
  begin(slot: number, mtu: number): number {
    const { octets } = this.frames;
    this.slot = slot;
    this.start = this.frames.offset[slot];
    this.network = this.frames.networkHeader[slot];
    this.headerSize = ipv4HeaderSize(octets, this.network);
    this.payloadSize = ipv4TotalLength(octets, this.network) - this.headerSize;
    this.collectOptions();
    this.firstSize = (mtu - this.headerSize) & ~7;
    this.laterSize = (mtu - this.laterHeaderSize) & ~7;
    this.count = this.countFragments(mtu);
    return this.count;
  }

  private countFragments(mtu: number): number {
    if (this.headerSize + this.payloadSize <= mtu) return 1;
    if (this.firstSize <= 0 || this.laterSize <= 0) return 0;
    const rest = this.payloadSize - this.firstSize;
    // The last need not end on a multiple of eight.
    const beforeLast = Math.max(0, rest - (mtu - this.laterHeaderSize));
    return (2 + Math.ceil(beforeLast / this.laterSize)) | 0;
  }

  private collectOptions(): void {
    const { octets } = this.frames;
    const end = this.network + this.headerSize;
    let size = 0;
    for (let at = this.network + IPV4_HEADER_SIZE_MIN; at < end && octets[at] !== IPV4_OPTION_END; ) {
      if (octets[at] === IPV4_OPTION_NOTHING) {
        at++;
        continue;
      }
      const length = at + 1 < end ? octets[at + 1] : 0;
      // Routers drop such a header before it comes here.
      if (length < 2 || at + length > end) break;
      if ((octets[at] & OPTION_COPIED) !== 0)
        for (let index = 0; index < length; index++) this.laterOptions[size++] = octets[at + index];
      at += length;
    }
    while ((size & 3) !== 0) this.laterOptions[size++] = IPV4_OPTION_END;
    this.laterHeaderSize = IPV4_HEADER_SIZE_MIN + size;
  }

  /**
   * Writes fragment `index` (0 to count - 1) into the slot `target`, at its frameStart, with the Ethernet header of the whole,
   * and sets that slot's position, length, ethertype and offload fields. The other fields are the caller's.
   */
  write(index: number, target: number): void {
    const { frames } = this;
    const to = frames.frameStart(target);
    const network = to + (this.network - this.start);
    const payloadStart = index === 0 ? 0 : this.firstSize + (index - 1) * this.laterSize;
    const isLast = index === this.count - 1;
    const room = index === 0 ? this.firstSize : this.laterSize;
    const payloadSize = isLast ? this.payloadSize - payloadStart : room;
    const headerSize = index === 0 ? this.headerSize : this.laterHeaderSize;
    this.kernels.copy(this.start, to, this.network - this.start + this.headerSize);
    this.kernels.copy(this.network + this.headerSize + payloadStart, network + headerSize, payloadSize);
    this.writeHeader(index, network, headerSize, payloadStart, payloadSize, isLast);
    frames.offset[target] = to;
    frames.length[target] = network - to + headerSize + payloadSize;
    frames.ethertype[target] = frames.ethertype[this.slot];
    frames.networkHeader[target] = network;
    frames.gsoType[target] = GSO_NONE;
    frames.checksumStart[target] = 0;
  }

  /** What differs from the whole packet's header, which is there already. */
  private writeHeader(
    index: number,
    network: number,
    headerSize: number,
    payloadStart: number,
    payloadSize: number,
    isLast: boolean,
  ): void {
    const { octets } = this.frames;
    if (index !== 0) {
      octets[network] = 0x40 | (headerSize >>> 2);
      for (let at = IPV4_HEADER_SIZE_MIN; at < headerSize; at++)
        octets[network + at] = this.laterOptions[at - IPV4_HEADER_SIZE_MIN];
    }
    const whole = read16(octets, network + IPV4_FRAGMENT);
    const flags = (whole & ~IPV4_FRAGMENT_OFFSET_MASK) | (isLast ? 0 : IPV4_MORE_FRAGMENTS);
    const offset = (whole & IPV4_FRAGMENT_OFFSET_MASK) + (payloadStart >>> 3);
    write16(octets, network + IPV4_FRAGMENT, flags | offset);
    write16(octets, network + IPV4_TOTAL_LENGTH, headerSize + payloadSize);
    write16(octets, network + IPV4_CHECKSUM, ipv4HeaderChecksum(octets, network, headerSize));
  }
}
