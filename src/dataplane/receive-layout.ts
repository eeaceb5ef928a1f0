/**
 * How a received buffer is laid out in front of the frame, for both engines: the kernel writes so that the Ethernet
 * header always begins at the slot's frameStart, whatever it puts before it. @hot
 *
 *   TAP:        vnet header (10) | frame
 *   AF_PACKET:  io_uring_recvmsg_out (16) | control message (40) | vnet header (10) | frame
 */
import { FRAME_SIZE_MAX, FRAME_SIZE_MIN } from '../limits.js';
import type { FramePool } from './frame-pool.js';

/** virtio_net_hdr without mergeable buffers: linux/virtio_net.h. TAPs are set to this size too. */
export const VNET_HEADER_SIZE = 10;
/** CMSG_SPACE(sizeof(struct tpacket_auxdata)). */
export const AUXDATA_SIZE = 40;
export const RECVMSG_OUT_SIZE = 16;

/** Octets of a buffer in front of the frame. */
export function tapPrefix(vnetHeader: boolean): number {
  return vnetHeader ? VNET_HEADER_SIZE : 0;
}
export function packetPrefix(vnetHeader: boolean): number {
  return AUXDATA_SIZE + (vnetHeader ? VNET_HEADER_SIZE : 0);
}

const NEEDS_CHECKSUM = 1;
const SOL_PACKET = 263;
const PACKET_AUXDATA = 8;
const TP_STATUS_VLAN_VALID = 0x10;
const TP_STATUS_VLAN_TPID_VALID = 0x40;

/** Makes the slot a received frame of `length` octets; `vnetHeader` says that one lies in front of it. */
export function takeTapFrame(pool: FramePool, slot: number, port: number, length: number, vnetHeader: boolean): void {
  pool.receive(slot, port, length);
  if (vnetHeader) takeVnetHeader(pool, slot, pool.frameStart(slot) - VNET_HEADER_SIZE, 0);
}

/**
 * As takeTapFrame for AF_PACKET: puts a VLAN tag that the kernel took out back into the frame (packet(7), PACKET_AUXDATA).
 * The vnet header's positions were counted without the tag, so they move by four.
 */
export function takePacketFrame(pool: FramePool, slot: number, port: number, length: number, vnetHeader: boolean): void {
  pool.receive(slot, port, length);
  const start = pool.frameStart(slot);
  const headerSize = vnetHeader ? VNET_HEADER_SIZE : 0;
  const control = start - headerSize - AUXDATA_SIZE;
  const tag = outOfBandTag(pool.octets, control);
  if (vnetHeader) takeVnetHeader(pool, slot, start - VNET_HEADER_SIZE, tag === 0 ? 0 : 4);
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
  return ((status & TP_STATUS_VLAN_TPID_VALID ? tpid : 0x8100) << 16) | tci;
}

function insertTag(pool: FramePool, slot: number, tag: number): void {
  const octets = pool.octets;
  const start = pool.offset[slot] - 4;
  octets.copyWithin(start, start + 4, start + 16);
  octets[start + 12] = tag >>> 24;
  octets[start + 13] = tag >>> 16;
  octets[start + 14] = tag >>> 8;
  octets[start + 15] = tag;
  pool.offset[slot] = start;
  pool.length[slot] += 4;
}

/** `moved`: octets by which a re-inserted tag moves everything behind the addresses. */
function takeVnetHeader(pool: FramePool, slot: number, header: number, moved: number): void {
  const octets = pool.octets;
  const flags = octets[header];
  const gsoType = octets[header + 1];
  // DATA_VALID alone asks for nothing: the checksums in the frame are right.
  if (((flags & NEEDS_CHECKSUM) | gsoType) === 0) return;
  pool.offload(
    slot,
    flags,
    gsoType,
    (octets[header + 2] | (octets[header + 3] << 8)) + moved,
    octets[header + 4] | (octets[header + 5] << 8),
    (octets[header + 6] | (octets[header + 7] << 8)) + moved,
    octets[header + 8] | (octets[header + 9] << 8),
  );
}

const GSO_TYPE_MASK = 0x7f;

/**
 * Writes the vnet header of a frame in front of it, from what parse has checked, never from what a guest wrote.
 * The octets are part of the slot's headroom and equal for every port that wants one. Returns its position.
 */
export function writeVnetHeader(pool: FramePool, slot: number): number {
  const octets = pool.octets;
  const frame = pool.offset[slot];
  const header = frame - VNET_HEADER_SIZE;
  const checksumStart = pool.checksumStart[slot];
  if (checksumStart === 0) {
    for (let index = header; index < frame; index++) octets[index] = 0;
    return header;
  }
  const gsoType = pool.gsoType[slot];
  const isSuper = (gsoType & GSO_TYPE_MASK) !== 0;
  const headers = isSuper ? pool.headersEnd[slot] - frame : 0;
  const gsoSize = isSuper ? pool.gsoSize[slot] : 0;
  const start = checksumStart - frame;
  const offset = pool.checksumOffset[slot];
  octets[header] = NEEDS_CHECKSUM;
  octets[header + 1] = gsoType;
  octets[header + 2] = headers;
  octets[header + 3] = headers >>> 8;
  octets[header + 4] = gsoSize;
  octets[header + 5] = gsoSize >>> 8;
  octets[header + 6] = start;
  octets[header + 7] = start >>> 8;
  octets[header + 8] = offset;
  octets[header + 9] = offset >>> 8;
  return header;
}

/** Whether `octets` received for a frame fill the buffer: then the frame was longer and is cut off. */
export function isTruncated(frameLength: number): boolean {
  return frameLength >= FRAME_SIZE_MAX;
}
