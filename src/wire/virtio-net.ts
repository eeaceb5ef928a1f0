/**
 * The virtio-net header (virtio 1.2, 5.1.6; linux/virtio_net.h) that TAP devices and AF_PACKET put in front of a frame.
 * This is the legacy header without num_buffers: ten octets in the machine's byte order, which on every machine Node 20
 * is built for with io_uring (x86-64, arm64) is little-endian.
 *
 *   u8 flags | u8 gsoType | u16 headerLength | u16 gsoSize | u16 checksumStart | u16 checksumOffset
 *
 * A guest writes it, so nothing in it is true before wire/offload.ts has checked it. @hot
 */
export const VNET_HEADER_SIZE = 10;

/** Bits of flags. */
export const VNET_NEEDS_CHECKSUM = 1;
export const VNET_DATA_VALID = 2;

/** Values of gsoType. */
export const GSO_NONE = 0;
export const GSO_TCP4 = 1;
/** "UFO", IP fragmentation offload: no longer made by any kernel the switch meets; refused. */
export const GSO_UDP_FRAGMENTS = 3;
export const GSO_TCP6 = 4;
/** UDP segmentation: a train of datagrams of equal size, IPv4 or IPv6. */
export const GSO_UDP = 5;
/** Bit beside a TCP type: CWR is set, and belongs to the first segment only. */
export const GSO_ECN = 0x80;
export const GSO_TYPE_MASK = 0x7f;

export function vnetFlags(octets: Uint8Array, position: number): number {
  return octets[position];
}

export function vnetGsoType(octets: Uint8Array, position: number): number {
  return octets[position + 1];
}

export function vnetHeaderLength(octets: Uint8Array, position: number): number {
  return octets[position + 2] | (octets[position + 3] << 8);
}

export function vnetGsoSize(octets: Uint8Array, position: number): number {
  return octets[position + 4] | (octets[position + 5] << 8);
}

/** Octets from the start of the frame. */
export function vnetChecksumStart(octets: Uint8Array, position: number): number {
  return octets[position + 6] | (octets[position + 7] << 8);
}

/** Octets from checksumStart. */
export function vnetChecksumOffset(octets: Uint8Array, position: number): number {
  return octets[position + 8] | (octets[position + 9] << 8);
}

/** Writes all ten octets. */
export function writeVnetHeader(
  octets: Uint8Array,
  position: number,
  flags: number,
  gsoType: number,
  headerLength: number,
  gsoSize: number,
  checksumStart: number,
  checksumOffset: number,
): void {
  octets[position] = flags;
  octets[position + 1] = gsoType;
  octets[position + 2] = headerLength;
  octets[position + 3] = headerLength >>> 8;
  octets[position + 4] = gsoSize;
  octets[position + 5] = gsoSize >>> 8;
  octets[position + 6] = checksumStart;
  octets[position + 7] = checksumStart >>> 8;
  octets[position + 8] = checksumOffset;
  octets[position + 9] = checksumOffset >>> 8;
}
