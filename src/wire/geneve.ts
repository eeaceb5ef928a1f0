/**
 * The Geneve header (RFC 8926 section 3.4) and the walk over its options (3.5).
 *
 *   version (2) | options' length in words (6) | O | C | reserved (6) | protocol (16)
 *   VNI (24) | reserved (8)
 *   options: class (16) | type (8), its highest bit "critical" | reserved (3) | length in words (5) | as many words
 *
 * `position` is the header's first octet. An attacker may write any lengths: a walk ends with the options, which are at most
 * 252 octets, so after at most 63 steps. @hot
 */
import { ETHERTYPE_TEB } from './ethernet.js';
import { read16, write16, write32 } from './octets.js';

export const GENEVE_PORT = 6081;
/** Without options. */
export const GENEVE_HEADER_SIZE = 8;

/** Octets from the start of the header. */
const GENEVE_FLAGS = 1;
const GENEVE_PROTOCOL = 2;
const GENEVE_VNI = 4;

/** Version and options' length, of the first octet. */
const GENEVE_VERSION_MASK = 0xc0;
const GENEVE_OPTIONS_MASK = 0x3f;
/** Bits of the octet at GENEVE_FLAGS: a control message, which must not be forwarded; critical options are there. */
const GENEVE_CONTROL = 0x80;
const GENEVE_CRITICAL = 0x40;

/** Of an option: octets in front of its value, and where type and length lie. */
const OPTION_HEADER_SIZE = 4;
const OPTION_TYPE = 2;
const OPTION_LENGTH = 3;
const OPTION_CRITICAL = 0x80;
const OPTION_LENGTH_MASK = 0x1f;

/** What a walk over options came to: all of them may be skipped; one is critical; the lengths don't add up. */
export const OPTIONS_SKIPPABLE = 0;
export const OPTIONS_CRITICAL = 1;
export const OPTIONS_MALFORMED = 2;

/**
 * Whether a header for a frame lies before `end` with all of its options: version 0 (others "MUST be dropped"), no control
 * message, protocol Trans-Ether bridging.
 */
export function isGeneveHeader(octets: Uint8Array, position: number, end: number): boolean {
  return (
    position + GENEVE_HEADER_SIZE <= end &&
    (octets[position] & GENEVE_VERSION_MASK) === 0 &&
    (octets[position + GENEVE_FLAGS] & GENEVE_CONTROL) === 0 &&
    read16(octets, position + GENEVE_PROTOCOL) === ETHERTYPE_TEB &&
    position + geneveHeaderSize(octets, position) <= end
  );
}

/** Octets of the header with its options. */
export function geneveHeaderSize(octets: Uint8Array, position: number): number {
  return GENEVE_HEADER_SIZE + ((octets[position] & GENEVE_OPTIONS_MASK) << 2);
}

export function geneveVni(octets: Uint8Array, position: number): number {
  const at = position + GENEVE_VNI;
  return (octets[at] << 16) | (octets[at + 1] << 8) | octets[at + 2];
}

/**
 * Walks the options from `start` to `end`. They must fill that space exactly: "packets in which the total length of all
 * options is not equal to the 'Opt Len' in the base header are invalid and MUST be silently dropped" (3.4).
 */
export function geneveOptions(octets: Uint8Array, start: number, end: number): number {
  let found = OPTIONS_SKIPPABLE;
  let at = start;
  while (at + OPTION_HEADER_SIZE <= end) {
    if ((octets[at + OPTION_TYPE] & OPTION_CRITICAL) !== 0) found = OPTIONS_CRITICAL;
    at += OPTION_HEADER_SIZE + ((octets[at + OPTION_LENGTH] & OPTION_LENGTH_MASK) << 2);
  }
  return at === end ? found : OPTIONS_MALFORMED;
}

/** Writes the header; its options, well-formed, already lie behind it: `optionsSize` octets, a multiple of four. */
export function writeGeneve(octets: Uint8Array, position: number, vni: number, optionsSize: number): void {
  const options = position + GENEVE_HEADER_SIZE;
  octets[position] = optionsSize >>> 2;
  octets[position + GENEVE_FLAGS] =
    geneveOptions(octets, options, options + optionsSize) === OPTIONS_CRITICAL ? GENEVE_CRITICAL : 0;
  write16(octets, position + GENEVE_PROTOCOL, ETHERTYPE_TEB);
  write32(octets, position + GENEVE_VNI, vni << 8);
}
