/**
 * How a received buffer is laid out in front of the frame, for both engines: the kernel writes so that the Ethernet
 * header always begins at the slot's frameStart, whatever it puts before it. @hot
 *
 *   TAP:        vnet header (10) | frame
 *   AF_PACKET:  io_uring_recvmsg_out (16) | control message (40) | vnet header (10) | frame
 *   UDP, GRE:   io_uring_recvmsg_out (16) | address (32) | control messages (64) | datagram
 *   GRE, IPv4:  IP header (20) | datagram
 */
import { FRAME_SIZE_MAX, FRAME_SIZE_MIN } from '../limits.js';
import { IPV4_SOURCE } from '../wire/ipv4.js';
import { MAPPED_WORD } from '../wire/ipv6.js';
import * as vnet from '../wire/virtio-net.js';
import { pushTag, TPID_CUSTOMER, VLAN_TAG_SIZE } from '../wire/vlan.js';
import type { FramePool } from './frame-pool.js';

/** CMSG_SPACE(sizeof(struct tpacket_auxdata)). */
export const AUXDATA_SIZE = 40;
export const RECVMSG_OUT_SIZE = 16;

/** Octets of a buffer in front of the frame. */
export function tapPrefix(vnetHeader: boolean): number {
  return vnetHeader ? vnet.VNET_HEADER_SIZE : 0;
}
export function packetPrefix(vnetHeader: boolean): number {
  return AUXDATA_SIZE + (vnetHeader ? vnet.VNET_HEADER_SIZE : 0);
}

const SOL_PACKET = 263;
const PACKET_AUXDATA = 8;
const TP_STATUS_VLAN_VALID = 0x10;
const TP_STATUS_VLAN_TPID_VALID = 0x40;

/** Makes the slot a received frame of `length` octets; `vnetHeader` says that one lies in front of it. */
export function takeTapFrame(pool: FramePool, slot: number, port: number, length: number, vnetHeader: boolean): void {
  pool.receive(slot, port, length);
  if (vnetHeader) takeVnetHeader(pool, slot, pool.frameStart(slot) - vnet.VNET_HEADER_SIZE, 0);
}

/**
 * As takeTapFrame for AF_PACKET: puts a VLAN tag that the kernel took out back into the frame (packet(7), PACKET_AUXDATA).
 * The vnet header's positions were counted without the tag, so they move by four.
 */
export function takePacketFrame(
  pool: FramePool,
  slot: number,
  port: number,
  length: number,
  vnetHeader: boolean,
): void {
  pool.receive(slot, port, length);
  const start = pool.frameStart(slot);
  const headerSize = vnetHeader ? vnet.VNET_HEADER_SIZE : 0;
  const control = start - headerSize - AUXDATA_SIZE;
  const tag = outOfBandTag(pool.octets, control);
  if (vnetHeader) takeVnetHeader(pool, slot, start - vnet.VNET_HEADER_SIZE, tag === 0 ? 0 : VLAN_TAG_SIZE);
  if (tag !== 0 && length >= FRAME_SIZE_MIN - 2) insertTag(pool, slot, tag);
}

/** TPID << 16 | TCI of the tag in the control message; 0 when there is none (no TPID is 0). */
function outOfBandTag(octets: Uint8Array, control: number): number {
  // struct cmsghdr: u64 length, i32 level, i32 type; then tpacket_auxdata, all little-endian here.
  const level = octets[control + 8] | (octets[control + 9] << 8);
  if (level !== SOL_PACKET || octets[control + 12] !== PACKET_AUXDATA) return 0;
  const status = octets[control + 16];
  if ((status & TP_STATUS_VLAN_VALID) === 0) return 0;
  const tci = octets[control + 32] | (octets[control + 33] << 8);
  const tpid = octets[control + 34] | (octets[control + 35] << 8);
  return ((status & TP_STATUS_VLAN_TPID_VALID ? tpid : TPID_CUSTOMER) << 16) | tci;
}

function insertTag(pool: FramePool, slot: number, tag: number): void {
  pool.offset[slot] = pushTag(pool.words, pool.offset[slot], tag >>> 16, tag & 0xffff);
  pool.length[slot] += VLAN_TAG_SIZE;
}

/** `moved`: octets by which a re-inserted tag moves everything behind the addresses. */
function takeVnetHeader(pool: FramePool, slot: number, header: number, moved: number): void {
  const octets = pool.octets;
  const flags = vnet.vnetFlags(octets, header);
  const gsoType = vnet.vnetGsoType(octets, header);
  // DATA_VALID alone asks for nothing: the checksums in the frame are right.
  if (((flags & vnet.VNET_NEEDS_CHECKSUM) | gsoType) === 0) return;
  pool.offload(
    slot,
    flags,
    gsoType,
    vnet.vnetHeaderLength(octets, header) + moved,
    vnet.vnetGsoSize(octets, header),
    vnet.vnetChecksumStart(octets, header) + moved,
    vnet.vnetChecksumOffset(octets, header),
  );
}

/**
 * Writes the vnet header of a frame in front of it, from what parse has checked, never from what a guest wrote.
 * The octets are part of the slot's headroom and equal for every port that wants one. Returns its position.
 */
export function writeVnetHeader(pool: FramePool, slot: number): number {
  const { octets, words } = pool;
  const frame = pool.offset[slot];
  const header = frame - vnet.VNET_HEADER_SIZE;
  const checksumStart = pool.checksumStart[slot];
  if (checksumStart === 0) {
    // Ten zeros; frames begin at multiples of four.
    octets[header] = 0;
    octets[header + 1] = 0;
    words[(frame >> 2) - 2] = 0;
    words[(frame >> 2) - 1] = 0;
    return header;
  }
  const gsoType = pool.gsoType[slot];
  const isSuper = (gsoType & vnet.GSO_TYPE_MASK) !== vnet.GSO_NONE;
  vnet.writeVnetHeader(
    octets,
    header,
    vnet.VNET_NEEDS_CHECKSUM,
    gsoType,
    isSuper ? pool.headersEnd[slot] - frame : 0,
    isSuper ? pool.gsoSize[slot] : 0,
    checksumStart - frame,
    pool.checksumOffset[slot],
  );
  return header;
}

/** Room for a sockaddr_in6, and for the control messages of which there may be one each: UDP_GRO, IP_TOS or IPV6_TCLASS. */
export const DATAGRAM_NAME_SIZE = 32;
export const DATAGRAM_CONTROL_SIZE = 64;
/** An IPv4 header without options, which a raw socket of IPv4 gives with the packet (raw(7)); one of IPv6 gives none. */
export const RAW_HEADER_SIZE = 20;
export const MSG_TRUNC = 0x20;

/** Octets of a buffer in front of the datagram. */
export function datagramPrefix(hasIpHeader: boolean): number {
  return hasIpHeader ? RAW_HEADER_SIZE : DATAGRAM_NAME_SIZE + DATAGRAM_CONTROL_SIZE;
}

const SOL_IP = 0;
const SOL_UDP = 17;
const SOL_IPV6 = 41;
const IP_TOS = 1;
const IPV6_TCLASS = 67;
const UDP_GRO = 104;
/** struct cmsghdr: length (8), level (4), type (4), then what it says, padded to 8. */
const CONTROL_HEADER_WORDS = 4;

/**
 * Makes the slot what an underlay port received: `length` octets of datagrams from frameStart on, with the sender's
 * address, their size (UDP_GRO) and the outer traffic class. `controlSize`: octets of control messages the kernel wrote.
 */
export function takeDatagram(
  pool: FramePool,
  slot: number,
  port: number,
  length: number,
  controlSize: number,
  isIpv6: boolean,
): void {
  pool.receive(slot, port, length);
  const name = (pool.frameStart(slot) - datagramPrefix(false)) >> 2;
  takeSource(pool, slot, name, isIpv6);
  pool.trafficClass[slot] = -1;
  takeControl(pool, slot, name + (DATAGRAM_NAME_SIZE >> 2), controlSize);
}

/**
 * As takeDatagram for a raw socket of IPv4: sender and traffic class are in the packet's own header, which the kernel has
 * checked. What has options is moved: whoever unpacks finds every datagram at frameStart.
 */
export function takeRawPacket(pool: FramePool, slot: number, port: number, length: number): void {
  const { octets, words, sourceAddress } = pool;
  const start = pool.frameStart(slot);
  const header = start - RAW_HEADER_SIZE;
  const options = ((octets[header] & 0x0f) << 2) - RAW_HEADER_SIZE;
  const rest = options > 0 ? Math.max(0, length - options) : length;
  if (options > 0) octets.copyWithin(start, start + options, start + options + rest);
  pool.receive(slot, port, rest);
  const to = slot << 2;
  sourceAddress[to] = 0;
  sourceAddress[to + 1] = 0;
  sourceAddress[to + 2] = MAPPED_WORD;
  sourceAddress[to + 3] = words[(header + IPV4_SOURCE) >> 2];
  pool.trafficClass[slot] = octets[header + 1];
}

/** The address of a sockaddr_in or sockaddr_in6 at this word. */
function takeSource(pool: FramePool, slot: number, name: number, isIpv6: boolean): void {
  const { words, sourceAddress } = pool;
  const to = slot << 2;
  sourceAddress[to] = isIpv6 ? words[name + 2] : 0;
  sourceAddress[to + 1] = isIpv6 ? words[name + 3] : 0;
  sourceAddress[to + 2] = isIpv6 ? words[name + 4] : MAPPED_WORD;
  sourceAddress[to + 3] = isIpv6 ? words[name + 5] : words[name + 1];
}

function takeControl(pool: FramePool, slot: number, from: number, size: number): void {
  const { words } = pool;
  const end = from + (Math.min(size, DATAGRAM_CONTROL_SIZE) >> 2);
  for (let at = from; at + CONTROL_HEADER_WORDS < end; ) {
    const level = words[at + 2];
    const type = words[at + 3];
    const value = words[at + CONTROL_HEADER_WORDS];
    if (level === SOL_UDP && type === UDP_GRO) pool.datagramSize[slot] = value;
    else if ((level === SOL_IP && type === IP_TOS) || (level === SOL_IPV6 && type === IPV6_TCLASS))
      pool.trafficClass[slot] = value & 0xff;
    if (words[at] <= 0) return;
    at += ((words[at] + 7) & ~7) >> 2;
  }
}

/** Whether `octets` received for a frame fill the buffer: then the frame was longer and is cut off. */
export function isTruncated(frameLength: number): boolean {
  return frameLength >= FRAME_SIZE_MAX;
}
