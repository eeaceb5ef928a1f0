/**
 * Reads capture files, pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng), of either byte order, from
 * memory: for `weft trace … pcap:FILE#N` and for tests. No I/O, not hot.
 *
 * Files come from anywhere: every length is checked against what is there before it is used, and a frame is a view of
 * the file, so a lie can't cost memory. What can be read before the first contradiction is given, with a sentence about
 * the contradiction. Names, times and options are passed over.
 */
import { UserError } from '../errors.js';

export const LINK_TYPE_ETHERNET = 1;

export interface CapturedFrame {
  /** https://www.tcpdump.org/linktypes.html */
  readonly linkType: number;
  /** What was captured; a view of the file. */
  readonly octets: Uint8Array;
  /** Octets it had on the wire. */
  readonly originalLength: number;
}

export interface Capture {
  readonly frames: readonly CapturedFrame[];
  /** Why reading ended before the file's end. */
  readonly fault?: string;
}

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
/** An old patched libpcap whose records have eight more octets. */
const MAGIC_PATCHED = 0xa1b2cd34;
const PCAP_HEADER_SIZE = 24;
/** The link type's upper bits tell of frame check sequences. */
const LINK_TYPE_MASK = 0xffff;

const BLOCK_SECTION = 0x0a0d0d0a;
const BLOCK_INTERFACE = 1;
const BLOCK_PACKET_OLD = 2;
const BLOCK_PACKET_SIMPLE = 3;
const BLOCK_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Type, length, and the length again at the end. */
const BLOCK_FRAME_SIZE = 12;

/** Throws a UserError when the file isn't a capture at all. */
export function readCapture(file: Uint8Array): Capture {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.byteLength >= 4) {
    const magic = view.getUint32(0, true);
    if (magic === BLOCK_SECTION) return readPcapng(file, view);
    for (const littleEndian of [true, false]) {
      const recordSize = pcapRecordSize(view.getUint32(0, littleEndian));
      if (recordSize !== 0 && view.byteLength >= PCAP_HEADER_SIZE)
        return readPcap(file, view, littleEndian, recordSize);
    }
  }
  throw new UserError([
    {
      code: 'bad-request',
      message: 'not a capture file: it begins neither like pcap nor like pcapng',
      fix: 'tcpdump -w FILE and weft capture -w FILE write files that can be read here.',
    },
  ]);
}

/** Octets in front of each frame; 0 when the number isn't pcap's. */
function pcapRecordSize(magic: number): number {
  if (magic === MAGIC_MICROSECONDS || magic === MAGIC_NANOSECONDS) return 16;
  return magic === MAGIC_PATCHED ? 24 : 0;
}

function readPcap(file: Uint8Array, view: DataView, littleEndian: boolean, recordSize: number): Capture {
  const frames: CapturedFrame[] = [];
  const linkType = view.getUint32(20, littleEndian) & LINK_TYPE_MASK;
  let at = PCAP_HEADER_SIZE;
  while (at < file.length) {
    if (at + recordSize > file.length) return { frames, fault: `record ${frames.length + 1} is cut off` };
    const size = view.getUint32(at + 8, littleEndian);
    const originalLength = view.getUint32(at + 12, littleEndian);
    const start = at + recordSize;
    if (size > file.length - start) return { frames, fault: `record ${frames.length + 1} is longer than the file` };
    frames.push({ linkType, octets: file.subarray(start, start + size), originalLength });
    at = start + size;
  }
  return { frames };
}

/** What is known of the section being read. */
interface Section {
  littleEndian: boolean;
  readonly interfaces: { readonly linkType: number; readonly snapLength: number }[];
}

function readPcapng(file: Uint8Array, view: DataView): Capture {
  const frames: CapturedFrame[] = [];
  const section: Section = { littleEndian: true, interfaces: [] };
  let at = 0;
  while (at < file.length) {
    const fault = `block at octet ${at} `;
    if (at + BLOCK_FRAME_SIZE > file.length) return { frames, fault: `${fault}is cut off` };
    if (view.getUint32(at, true) === BLOCK_SECTION && !beginSection(section, view, at)) {
      return { frames, fault: `${fault}is a section of unknown byte order` };
    }
    const type = view.getUint32(at, section.littleEndian);
    const size = view.getUint32(at + 4, section.littleEndian);
    if (size < BLOCK_FRAME_SIZE || size % 4 !== 0 || size > file.length - at) {
      return { frames, fault: `${fault}has an impossible length` };
    }
    const bodyEnd = at + size - 4;
    if (!readBlock(file, view, section, type, at + 8, bodyEnd, frames)) {
      return { frames, fault: `${fault}contradicts itself` };
    }
    at += size;
  }
  return { frames };
}

function beginSection(section: Section, view: DataView, at: number): boolean {
  section.interfaces.length = 0;
  section.littleEndian = view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC;
  return section.littleEndian || view.getUint32(at + 8, false) === BYTE_ORDER_MAGIC;
}

/** Takes the block's content between `at` and `end`; false when it contradicts itself. */
function readBlock(
  file: Uint8Array,
  view: DataView,
  section: Section,
  type: number,
  at: number,
  end: number,
  frames: CapturedFrame[],
): boolean {
  const { littleEndian, interfaces } = section;
  if (type === BLOCK_INTERFACE) {
    if (at + 8 > end) return false;
    const linkType = view.getUint16(at, littleEndian);
    interfaces.push({ linkType, snapLength: view.getUint32(at + 4, littleEndian) });
    return true;
  }
  if (type === BLOCK_PACKET || type === BLOCK_PACKET_OLD) {
    if (at + 20 > end) return false;
    const index = type === BLOCK_PACKET ? view.getUint32(at, littleEndian) : view.getUint16(at, littleEndian);
    const size = view.getUint32(at + 12, littleEndian);
    const start = at + 20;
    if (index >= interfaces.length || size > end - start) return false;
    const originalLength = view.getUint32(at + 16, littleEndian);
    frames.push({ linkType: interfaces[index].linkType, octets: file.subarray(start, start + size), originalLength });
    return true;
  }
  if (type !== BLOCK_PACKET_SIMPLE) return true;
  if (at + 4 > end || interfaces.length === 0) return false;
  const { linkType, snapLength } = interfaces[0];
  const originalLength = view.getUint32(at, littleEndian);
  const size = Math.min(originalLength, snapLength === 0 ? originalLength : snapLength);
  if (size > end - at - 4) return false;
  frames.push({ linkType, octets: file.subarray(at + 4, at + 4 + size), originalLength });
  return true;
}
