/**
 * Checks what a virtio-net header asks for against the frame it came with, and keeps only what follows from the frame
 * itself. Guests write that header; of 1,259 lies that were tried, Linux passed 188 on as they were. Runs once for each
 * frame that asks for anything, before any stage relies on the fields. @hot
 *
 * What may be asked for:
 * - A checksum to be completed: of the frame's own TCP or UDP header, or of one inside the payload of UDP, GRE or
 *   IP-in-IP. The latter is honest for a guest that runs a tunnel of its own (its outer checksum, if any, is right once
 *   the inner one is: "local checksum offload"), and a lie there spoils octets of the liar's own payload only.
 *   Never on a fragment: the checksum covers octets that are not here. Never SCTP (its check is a CRC), ARP, ICMP.
 * - Segmentation of a TCP or UDP packet that isn't a fragment, whose lengths agree with the frame. Sizes are bounded, so
 *   that one frame can't become more than SEGMENTS_MAX. SYN and RST have no meaning in a train of segments.
 *
 * The header's length is computed, never believed, and the ECN bit follows from CWR. "Data valid" asks for nothing and
 * was forgotten at reception: the receiver checks for itself.
 */
import { OFFLOAD_TAGS_MAX, SEGMENTS_MAX, TCP_SEGMENT_SIZE_MIN, UDP_SEGMENT_SIZE_MIN } from '../limits.js';
import { fold, pseudoHeaderSum4, pseudoHeaderSum6 } from './checksum.js';
import { ETHERNET_HEADER_SIZE, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.js';
import type { FrameStore } from './frame-store.js';
import { PROTOCOL_GRE, PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_TCP, PROTOCOL_UDP } from './ip-protocol.js';
import { IPV4_HEADER_SIZE_MIN, IPV4_PROTOCOL, ipv4IsFragment, ipv4PayloadStart, ipv4TotalLength } from './ipv4.js';
import { CHAIN_WHOLE, Ipv6Chain } from './ipv6.js';
import { read16 } from './octets.js';
import { TCP_CHECKSUM, TCP_CWR, TCP_FLAGS, TCP_RST, TCP_SYN, tcpPayloadStart } from './tcp.js';
import { isUdpHeader, UDP_CHECKSUM, UDP_HEADER_SIZE, udpLength } from './udp.js';
import { GSO_ECN, GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_TYPE_MASK, GSO_UDP } from './virtio-net.js';
import { ethertypePosition } from './vlan.js';

/** An ethertype, version and header size of a packet without options, as little-endian memory has them. */
const PLAIN_IPV4 = 0x45_0008;

/** What `locate` found of the frame in hand. One worker is one thread, and no call is nested, so one of each will do. */
const chain = new Ipv6Chain();
let isIpv4 = false;
let protocol = 0;
let network = 0;
let transport = 0;
let packetEnd = 0;

/**
 * On entry the slot's fields are what the header said: gsoType and gsoSize raw, checksumStart relative to the frame,
 * checksumOffset -1 when no checksum is asked for. On return they are true and absolute (`true`), or cleared and the
 * frame is to be dropped (`false`).
 */
export function checkOffload(frames: FrameStore, slot: number): boolean {
  const gsoType = frames.gsoType[slot];
  const checksumOffset = frames.checksumOffset[slot];
  const checksumStart = frames.checksumStart[slot] + frames.offset[slot];
  frames.gsoType[slot] = GSO_NONE;
  frames.checksumStart[slot] = 0;
  frames.headersEnd[slot] = 0;
  // Segments need checksums of their own: segmentation without a partial checksum is a contradiction.
  if (checksumOffset < 0) return gsoType === GSO_NONE;

  const start = frames.offset[slot];
  const end = start + frames.length[slot];
  if (!locate(frames.octets, start, end)) return false;
  const isOwn = checksumStart === transport;
  if (!(isOwn ? isOwnChecksum(frames.octets, checksumOffset) : isInnerChecksum(checksumStart, checksumOffset))) {
    return false;
  }
  if (gsoType !== GSO_NONE && !(isOwn && checkSegmentation(frames, slot, gsoType, end))) return false;
  frames.checksumStart[slot] = checksumStart;
  return true;
}

/**
 * Finds out what a kernel left to be done by the receiver of a frame that came without a virtio-net header: on a veth, its
 * VXLAN device hands a super-frame on as one datagram, and even a short frame with its checksum partial. A field that is
 * exactly the pseudo-header's sum is taken for that (by chance, one damaged frame in 65,536 has it), and such a TCP packet
 * longer than `mtu` for a super-frame of segments that just fit. Sets the slot's fields; false when nothing is left to do.
 */
export function adoptOffload(frames: FrameStore, slot: number, mtu: number): boolean {
  const octets = frames.octets;
  const start = frames.offset[slot];
  const end = start + frames.length[slot];
  if (isUsualPacketComplete(frames.words, start, end) || !locate(octets, start, end)) return false;
  const offset = protocol === PROTOCOL_TCP ? TCP_CHECKSUM : protocol === PROTOCOL_UDP ? UDP_CHECKSUM : -1;
  if (offset < 0 || !isOwnChecksum(octets, offset)) return false;
  const size = packetEnd - transport;
  const pseudo = isIpv4
    ? pseudoHeaderSum4(octets, network, protocol, size)
    : pseudoHeaderSum6(octets, network, protocol, size);
  if (read16(octets, transport + offset) !== pseudo) return false;
  frames.checksumStart[slot] = transport;
  frames.checksumOffset[slot] = offset;
  frames.gsoType[slot] = GSO_NONE;
  const headersEnd = protocol === PROTOCOL_TCP ? tcpPayloadStart(octets, transport, end) : -1;
  if (headersEnd >= 0 && packetEnd === end && end - network > mtu) {
    frames.gsoSize[slot] = mtu - (headersEnd - network);
    frames.headersEnd[slot] = 0;
    if (!checkSegmentation(frames, slot, isIpv4 ? GSO_TCP4 : GSO_TCP6, end)) frames.gsoType[slot] = GSO_NONE;
  }
  return true;
}

/**
 * True for an untagged IPv4 packet without options whose TCP or UDP checksum is not the pseudo-header's sum: nearly every
 * frame that comes through a tunnel is done with this. By words of little-endian memory, in which `start` is a multiple of
 * four: a one's complement sum of 16-bit numbers is the same in either byte order, but for its own (RFC 1071 section 2B).
 */
function isUsualPacketComplete(words: Int32Array, start: number, end: number): boolean {
  const at = (start + ETHERNET_HEADER_SIZE) >> 2;
  if ((start & 3) !== 0 || start + ETHERNET_HEADER_SIZE + IPV4_HEADER_SIZE_MIN + TCP_CHECKSUM + 2 > end) return false;
  if ((words[at] & 0xff_ffff) !== PLAIN_IPV4) return false;
  const carried = words[at + 2] >>> 24;
  if (carried !== PROTOCOL_TCP && carried !== PROTOCOL_UDP) return true;
  const length = words[at + 1] & 0xffff;
  const size = (((length & 0xff) << 8) | (length >>> 8)) - IPV4_HEADER_SIZE_MIN;
  if (size < 0) return false;
  const addresses = words[at + 4];
  const last = words[at + 5] & 0xffff;
  const sum = (words[at + 3] >>> 16) + (addresses & 0xffff) + (addresses >>> 16) + last;
  const pseudo = fold(sum + (carried << 8) + (((size & 0xff) << 8) | (size >>> 8)));
  return pseudo !== (carried === PROTOCOL_TCP ? words[at + 9] >>> 16 : words[at + 7] & 0xffff);
}

/** Finds the packet and its transport header; false unless it is a whole IP packet and no fragment. */
function locate(octets: Uint8Array, start: number, end: number): boolean {
  const at = ethertypePosition(octets, start, end, OFFLOAD_TAGS_MAX);
  const ethertype = read16(octets, at);
  const header = at + 2;
  network = header;
  isIpv4 = ethertype === ETHERTYPE_IPV4;
  if (isIpv4) {
    transport = ipv4PayloadStart(octets, header, end);
    if (transport < 0 || ipv4IsFragment(octets, header)) return false;
    protocol = octets[header + IPV4_PROTOCOL];
    packetEnd = header + ipv4TotalLength(octets, header);
    return true;
  }
  if (ethertype !== ETHERTYPE_IPV6 || chain.walk(octets, header, end) !== CHAIN_WHOLE || chain.isFragment) return false;
  transport = chain.position;
  protocol = chain.protocol;
  packetEnd = chain.end;
  return true;
}

/** Whether `offset` is where the packet's own transport header, which must be whole, has its checksum. */
function isOwnChecksum(octets: Uint8Array, offset: number): boolean {
  if (protocol === PROTOCOL_TCP) return offset === TCP_CHECKSUM && tcpPayloadStart(octets, transport, packetEnd) >= 0;
  return protocol === PROTOCOL_UDP && offset === UDP_CHECKSUM && isUdpHeader(octets, transport, packetEnd);
}

/** Whether the checksum lies, whole, inside what a tunnel protocol carries. */
function isInnerChecksum(start: number, offset: number): boolean {
  let headerSize: number;
  if (protocol === PROTOCOL_UDP) headerSize = UDP_HEADER_SIZE;
  else if (protocol === PROTOCOL_GRE) headerSize = 4;
  else if (protocol === PROTOCOL_IPV4) headerSize = 20;
  else if (protocol === PROTOCOL_IPV6) headerSize = 40;
  else return false;
  return (
    start >= transport + headerSize &&
    start + offset + 2 <= packetEnd &&
    (offset === TCP_CHECKSUM || offset === UDP_CHECKSUM)
  );
}

/** Judges a super-frame and sets gsoType and headersEnd; a single segment becomes a plain frame. */
function checkSegmentation(frames: FrameStore, slot: number, asked: number, end: number): boolean {
  const octets = frames.octets;
  const type = asked & GSO_TYPE_MASK;
  // A super-frame is sent as its IP header says it is; padding or a shortened packet would become payload of a segment.
  if (packetEnd !== end) return false;
  let headersEnd: number;
  let least: number;
  let kept = type;
  if (type === GSO_UDP) {
    if (protocol !== PROTOCOL_UDP || asked !== type || udpLength(octets, transport) !== end - transport) return false;
    headersEnd = transport + UDP_HEADER_SIZE;
    least = UDP_SEGMENT_SIZE_MIN;
  } else {
    if (protocol !== PROTOCOL_TCP || type !== (isIpv4 ? GSO_TCP4 : GSO_TCP6)) return false;
    headersEnd = tcpPayloadStart(octets, transport, end);
    least = TCP_SEGMENT_SIZE_MIN;
    if ((octets[transport + TCP_FLAGS] & TCP_CWR) !== 0) kept |= GSO_ECN;
  }
  const size = frames.gsoSize[slot];
  const payload = end - headersEnd;
  if (size === 0) return false;
  if (payload <= size) return true;
  if (size < least || payload > size * SEGMENTS_MAX) return false;
  if (type !== GSO_UDP && (octets[transport + TCP_FLAGS] & (TCP_SYN | TCP_RST)) !== 0) return false;
  frames.gsoType[slot] = kept;
  frames.headersEnd[slot] = headersEnd;
  return true;
}
