/**
 * The IPv6 header and its chain of extension headers (RFC 8200). `position` is the header's first octet. @hot
 *
 * The walk over extension headers is bounded (IPV6_EXTENSION_HEADERS_MAX) and never reads behind the packet: a guest
 * can make it end with a verdict, not make it long.
 */
import { IPV6_EXTENSION_HEADERS_MAX } from '../limits.js';
import {
  PROTOCOL_AH,
  PROTOCOL_DESTINATION_OPTIONS,
  PROTOCOL_FRAGMENT,
  PROTOCOL_HIP,
  PROTOCOL_HOP_BY_HOP,
  PROTOCOL_MOBILITY,
  PROTOCOL_ROUTING,
  PROTOCOL_SHIM6,
} from './ip-protocol.js';
import { read16, read32 } from './octets.js';

/** Octets from the start of the header. */
export const IPV6_PAYLOAD_LENGTH = 4;
export const IPV6_NEXT_HEADER = 6;
export const IPV6_HOP_LIMIT = 7;
export const IPV6_SOURCE = 8;
export const IPV6_DESTINATION = 24;
export const IPV6_HEADER_SIZE = 40;
export const IPV6_FRAGMENT_HEADER_SIZE = 8;
/** Word 2 of an IPv4 address in IPv6's form (::ffff:0:0/96), as it lies in memory; words 0 and 1 are 0. */
export const MAPPED_WORD = 0xffff_0000 | 0;
/** What every link must carry (RFC 8200 section 5); below it a node doesn't go, whatever it is told (RFC 8201 section 4). */
export const IPV6_MTU_MIN = 1280;

/** What came of a walk. */
export const CHAIN_WHOLE = 0;
/** The packet ends inside a header, or is longer than the frame. */
export const CHAIN_TRUNCATED = 1;
/** More extension headers than are looked at. */
export const CHAIN_TOO_LONG = 2;
/** Not version 6, a hop-by-hop header that isn't first (RFC 8200 4.1), a second fragment header, or a jumbogram. */
export const CHAIN_MALFORMED = 3;

/**
 * One walk's findings; made once and used again for every packet. After a verdict other than CHAIN_WHOLE only the
 * verdict means anything.
 */
export class Ipv6Chain {
  /** The upper-layer protocol, and where its header begins (for a later fragment: where the fragment's octets begin). */
  protocol = 0;
  position = 0;
  /** Behind the packet's last octet. */
  end = 0;
  /** Position of the fragment header; 0: none. An atomic fragment (RFC 6946: offset 0, nothing follows) has one too. */
  fragmentHeader = 0;
  /** The packet is part of a fragmented one. */
  isFragment = false;
  /** It isn't the first part: there is no upper-layer header here. */
  isLaterFragment = false;
  /** A routing header is there: the header's destination may not be the one that checksums cover. */
  hasRouting = false;

  /** Walks the packet at `position` in a frame that ends at `frameEnd`. */
  walk(octets: Uint8Array, position: number, frameEnd: number): number {
    if (position + IPV6_HEADER_SIZE > frameEnd) return CHAIN_TRUNCATED;
    if (octets[position] >>> 4 !== 6) return CHAIN_MALFORMED;
    const payloadLength = read16(octets, position + IPV6_PAYLOAD_LENGTH);
    this.end = position + IPV6_HEADER_SIZE + payloadLength;
    this.fragmentHeader = 0;
    this.isFragment = false;
    this.isLaterFragment = false;
    this.hasRouting = false;
    this.protocol = octets[position + IPV6_NEXT_HEADER];
    this.position = position + IPV6_HEADER_SIZE;
    if (payloadLength === 0 && this.protocol === PROTOCOL_HOP_BY_HOP) return CHAIN_MALFORMED;
    if (this.end > frameEnd) return CHAIN_TRUNCATED;
    for (let count = 0; isExtension(this.protocol); count++) {
      if (count === IPV6_EXTENSION_HEADERS_MAX) return CHAIN_TOO_LONG;
      const verdict = this.step(octets, count === 0);
      if (verdict !== CHAIN_WHOLE) return verdict;
      if (this.isLaterFragment) return CHAIN_WHOLE;
    }
    return CHAIN_WHOLE;
  }

  /** Goes over the extension header at `position`. */
  private step(octets: Uint8Array, isFirst: boolean): number {
    const at = this.position;
    const kind = this.protocol;
    // Every extension header is at least eight octets long.
    if (at + 8 > this.end) return CHAIN_TRUNCATED;
    if (kind === PROTOCOL_HOP_BY_HOP && !isFirst) return CHAIN_MALFORMED;
    let size = (octets[at + 1] + 1) << 3;
    if (kind === PROTOCOL_FRAGMENT) {
      if (this.fragmentHeader !== 0) return CHAIN_MALFORMED;
      size = IPV6_FRAGMENT_HEADER_SIZE;
      this.takeFragment(read16(octets, at + 2), at);
    } else if (kind === PROTOCOL_AH) {
      // RFC 4302 2.2: counted in 4-octet words, minus two.
      size = (octets[at + 1] + 2) << 2;
    } else if (kind === PROTOCOL_ROUTING) this.hasRouting = true;
    if (at + size > this.end) return CHAIN_TRUNCATED;
    this.protocol = octets[at];
    this.position = at + size;
    return CHAIN_WHOLE;
  }

  /** `field`: offset in the upper 13 bits (so, masked, in octets), bit 0 "more fragments". */
  private takeFragment(field: number, at: number): void {
    this.fragmentHeader = at;
    this.isLaterFragment = (field & 0xfff8) !== 0;
    this.isFragment = this.isLaterFragment || (field & 1) !== 0;
  }
}

/** Whether the address at `position` may be one host's: not multicast, :: or ::1. */
export function isHostIpv6(octets: Uint8Array, position: number): boolean {
  if (octets[position] === 0xff) return false;
  const upper = read32(octets, position) | read32(octets, position + 4) | read32(octets, position + 8);
  return upper !== 0 || read32(octets, position + 12) >>> 1 !== 0;
}

/** ESP and "no next header" end a chain like an upper layer does: nothing behind them can be read. */
function isExtension(protocol: number): boolean {
  switch (protocol) {
    case PROTOCOL_HOP_BY_HOP:
    case PROTOCOL_ROUTING:
    case PROTOCOL_FRAGMENT:
    case PROTOCOL_AH:
    case PROTOCOL_DESTINATION_OPTIONS:
    case PROTOCOL_MOBILITY:
    case PROTOCOL_HIP:
    case PROTOCOL_SHIM6:
      return true;
    default:
      return false;
  }
}
