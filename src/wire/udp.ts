/** The UDP header (RFC 768). `position` is the header's first octet. @hot */
import { read16 } from './octets.js';

/** Octets from the start of the header. */
export const UDP_SOURCE_PORT = 0;
export const UDP_DESTINATION_PORT = 2;
export const UDP_LENGTH = 4;
export const UDP_CHECKSUM = 6;
export const UDP_HEADER_SIZE = 8;

/** Octets of header and payload, as the header says. */
export function udpLength(octets: Uint8Array, position: number): number {
  return read16(octets, position + UDP_LENGTH);
}

/** Whether a header lies before `end` and its length covers itself and no more than what is there. */
export function isUdpHeader(octets: Uint8Array, position: number, end: number): boolean {
  if (position + UDP_HEADER_SIZE > end) return false;
  const length = udpLength(octets, position);
  return length >= UDP_HEADER_SIZE && position + length <= end;
}
