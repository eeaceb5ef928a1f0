/**
 * What a fragment says of the datagram it is part of and of its place in it (RFC 791 section 3.2; RFC 8200 section 4.5).
 * Read for packets that PacketReader found to be sound fragments; nothing here is kept. @hot
 */
import {
  IPV4_DESTINATION,
  IPV4_FRAGMENT,
  IPV4_FRAGMENT_OFFSET_MASK,
  IPV4_ID,
  IPV4_MORE_FRAGMENTS,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  ipv4HeaderSize,
} from './ipv4.js';
import { IPV6_DESTINATION, IPV6_FRAGMENT_HEADER_SIZE, IPV6_SOURCE, Ipv6Chain } from './ipv6.js';
import { read16, read32 } from './octets.js';

/** One fragment's findings; made once and used again for every fragment. */
export class FragmentReader {
  isIpv6 = false;
  /** Positions of the addresses, each of four octets (IPv4) or sixteen. */
  source = 0;
  destination = 0;
  id = 0;
  /** What the header in front of the fragment's octets names; of IPv6 perhaps one more extension header. */
  protocol = 0;
  /** Octets of the datagram's payload in front of the fragment's, and up to its last. */
  start = 0;
  end = 0;
  isLast = false;
  private readonly chain = new Ipv6Chain();

  /** The packet at `position`, which ends at `end`, in a frame that ends at `frameEnd`. */
  read(octets: Uint8Array, isIpv6: boolean, position: number, end: number, frameEnd: number): void {
    this.isIpv6 = isIpv6;
    if (isIpv6) this.readIpv6(octets, position, end, frameEnd);
    else this.readIpv4(octets, position, end);
  }

  private readIpv4(octets: Uint8Array, position: number, end: number): void {
    const field = read16(octets, position + IPV4_FRAGMENT);
    const headerSize = ipv4HeaderSize(octets, position);
    this.source = position + IPV4_SOURCE;
    this.destination = position + IPV4_DESTINATION;
    this.id = read16(octets, position + IPV4_ID);
    this.protocol = octets[position + IPV4_PROTOCOL];
    this.isLast = (field & IPV4_MORE_FRAGMENTS) === 0;
    this.place((field & IPV4_FRAGMENT_OFFSET_MASK) << 3, end - position - headerSize);
  }

  private readIpv6(octets: Uint8Array, position: number, end: number, frameEnd: number): void {
    const { chain } = this;
    chain.walk(octets, position, frameEnd);
    const header = chain.fragmentHeader;
    const field = read16(octets, header + 2);
    this.source = position + IPV6_SOURCE;
    this.destination = position + IPV6_DESTINATION;
    this.id = read32(octets, header + 4);
    this.protocol = octets[header];
    this.isLast = (field & 1) === 0;
    this.place(field & 0xfff8, end - header - IPV6_FRAGMENT_HEADER_SIZE);
  }

  private place(start: number, size: number): void {
    this.start = start;
    this.end = start + size;
  }
}
