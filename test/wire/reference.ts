/**
 * Slow and obvious references for wire/: what a frame's checksums should be, and segmentation by cutting arrays. Written
 * from the RFCs with DataView and plain arrays; shares no code with src/.
 */
import { referenceSum } from '../kernels/reference.js';

/** Where the headers of a frame lie, relative to its first octet; told by whoever built it. */
export interface Layout {
  readonly isIpv4: boolean;
  readonly isUdp: boolean;
  readonly network: number;
  readonly transport: number;
  readonly payload: number;
}

export function concatenate(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** Where two lists of frames differ first, in words; undefined when they don't. Far quicker than toEqual on 64 KiB. */
export function difference(found: readonly Uint8Array[], expected: readonly Uint8Array[]): string | undefined {
  if (found.length !== expected.length) return `${found.length} frames instead of ${expected.length}`;
  for (const [index, frame] of found.entries()) {
    const other = expected[index];
    if (Buffer.compare(frame, other) === 0) continue;
    const at = frame.findIndex((octet, position) => octet !== other[position]);
    return `frame ${index} (${frame.length} octets, expected ${other.length}) differs at octet ${at}`;
  }
  return undefined;
}

function viewOf(octets: Uint8Array): DataView {
  return new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
}

/** The pseudo-header of RFC 9293 3.1 or RFC 8200 8.1, as octets. */
export function pseudoHeader(frame: Uint8Array, layout: Layout, length: number): Uint8Array {
  const protocol = layout.isUdp ? 17 : 6;
  if (layout.isIpv4) {
    const addresses = frame.slice(layout.network + 12, layout.network + 20);
    return Uint8Array.of(...addresses, 0, protocol, length >> 8, length & 0xff);
  }
  const addresses = frame.slice(layout.network + 8, layout.network + 40);
  return Uint8Array.of(...addresses, 0, 0, length >> 8, length & 0xff, 0, 0, 0, protocol);
}

/** Writes the transport checksum of the frame, which ends with its packet. */
export function writeTransportChecksum(frame: Uint8Array, layout: Layout): void {
  const field = layout.transport + (layout.isUdp ? 6 : 16);
  viewOf(frame).setUint16(field, 0);
  const length = frame.length - layout.transport;
  const covered = concatenate(pseudoHeader(frame, layout, length), frame.slice(layout.transport));
  const checksum = 0xffff - referenceSum(covered, 0, covered.length);
  // RFC 768: zero would mean that there is none. TCP has no such rule.
  viewOf(frame).setUint16(field, checksum === 0 && layout.isUdp ? 0xffff : checksum);
}

/** Writes the pseudo-header's sum where the checksum belongs: the form in which a guest leaves it to others. */
export function writePartialChecksum(frame: Uint8Array, layout: Layout): void {
  const pseudo = pseudoHeader(frame, layout, frame.length - layout.transport);
  viewOf(frame).setUint16(layout.transport + (layout.isUdp ? 6 : 16), referenceSum(pseudo, 0, pseudo.length));
}

/** Writes lengths and the IPv4 header's checksum. */
export function writeNetwork(frame: Uint8Array, layout: Layout): void {
  const view = viewOf(frame);
  if (!layout.isIpv4) {
    view.setUint16(layout.network + 4, frame.length - layout.network - 40);
    return;
  }
  view.setUint16(layout.network + 2, frame.length - layout.network);
  view.setUint16(layout.network + 10, 0);
  const size = (frame[layout.network] % 16) * 4;
  view.setUint16(layout.network + 10, 0xffff - referenceSum(frame, layout.network, size));
}

/** The frames a super-frame stands for. */
export function referenceSegments(frame: Uint8Array, layout: Layout, size: number): Uint8Array[] {
  const segments: Uint8Array[] = [];
  for (let from = layout.payload; from < frame.length; from += size) {
    const isFirst = from === layout.payload;
    const isLast = from + size >= frame.length;
    const segment = concatenate(frame.slice(0, layout.payload), frame.slice(from, from + size));
    const view = viewOf(segment);
    if (layout.isIpv4) {
      const id = view.getUint16(layout.network + 4) + segments.length;
      view.setUint16(layout.network + 4, id % 65_536);
    }
    writeNetwork(segment, layout);
    if (layout.isUdp) view.setUint16(layout.transport + 4, segment.length - layout.transport);
    else {
      const sequence = view.getUint32(layout.transport + 4) + (from - layout.payload);
      view.setUint32(layout.transport + 4, sequence % 2 ** 32);
      let flags = segment[layout.transport + 13];
      if (!isFirst) flags &= 0b0111_1111;
      if (!isLast) flags &= 0b1111_0110;
      segment[layout.transport + 13] = flags;
    }
    writeTransportChecksum(segment, layout);
    segments.push(segment);
  }
  return segments;
}
