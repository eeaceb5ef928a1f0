/** TCP segments of machines as values, and back (RFC 9293 3.1). Pure; main thread. */
import { buildTcpOf } from '../wire/frame-build.js';
import { read16, read32 } from '../wire/octets.js';
import {
  TCP_ACKNOWLEDGEMENT,
  TCP_DESTINATION_PORT,
  TCP_FLAGS,
  TCP_HEADER_SIZE_MIN,
  TCP_SEQUENCE,
  TCP_SOURCE_PORT,
  TCP_WINDOW,
  tcpPayloadStart,
} from '../wire/tcp.js';

const OPTION_END = 0;
const OPTION_NOTHING = 1;
const OPTION_MSS = 2;
const MSS_OPTION_SIZE = 4;
const NO_OPTIONS = new Uint8Array(0);

/** Sequence numbers are signed words: differences, not values, say what is before what. */
export interface Segment {
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly window: number;
  readonly payload: Uint8Array;
  /** Of the option; absent: it has none, or one that lies. */
  readonly mss?: number;
}

export interface ReceivedSegment extends Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** The segment at octets[start .. end), its payload copied. Undefined: there is none. */
export function readSegment(octets: Uint8Array, start: number, end: number): ReceivedSegment | undefined {
  const payload = tcpPayloadStart(octets, start, end);
  if (payload < 0) return undefined;
  const mss = mssOf(octets, start + TCP_HEADER_SIZE_MIN, payload);
  return {
    sourcePort: read16(octets, start + TCP_SOURCE_PORT),
    destinationPort: read16(octets, start + TCP_DESTINATION_PORT),
    sequence: read32(octets, start + TCP_SEQUENCE),
    acknowledgement: read32(octets, start + TCP_ACKNOWLEDGEMENT),
    flags: octets[start + TCP_FLAGS],
    window: read16(octets, start + TCP_WINDOW),
    payload: octets.slice(payload, end),
    ...(mss !== undefined && { mss }),
  };
}

/** Every option but two has a length, which may lie: what does not fit ends the search. */
function mssOf(octets: Uint8Array, start: number, end: number): number | undefined {
  for (let at = start; at < end && octets[at] !== OPTION_END; ) {
    if (octets[at] === OPTION_NOTHING) {
      at++;
      continue;
    }
    const size = at + 1 < end ? octets[at + 1] : 0;
    if (size < 2 || at + size > end) return undefined;
    if (octets[at] === OPTION_MSS) return size === MSS_OPTION_SIZE ? read16(octets, at + 2) : undefined;
    at += size;
  }
  return undefined;
}

/** Its checksum is to be made by who knows the addresses (guestFrame). */
export function writeSegment(sourcePort: number, destinationPort: number, segment: Segment): Uint8Array {
  const { mss } = segment;
  const options = mss === undefined ? NO_OPTIONS : Uint8Array.of(OPTION_MSS, MSS_OPTION_SIZE, mss >>> 8, mss);
  return buildTcpOf({ ...segment, sourcePort, destinationPort }, options, segment.payload);
}
