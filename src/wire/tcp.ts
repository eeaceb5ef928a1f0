/** The TCP header (RFC 9293 3.1). `position` is the header's first octet. @hot */

/** Octets from the start of the header. */
export const TCP_SOURCE_PORT = 0;
export const TCP_DESTINATION_PORT = 2;
export const TCP_SEQUENCE = 4;
export const TCP_ACKNOWLEDGEMENT = 8;
export const TCP_DATA_OFFSET = 12;
export const TCP_FLAGS = 13;
export const TCP_WINDOW = 14;
export const TCP_CHECKSUM = 16;
export const TCP_URGENT = 18;
export const TCP_HEADER_SIZE_MIN = 20;

/** Bits of the octet at TCP_FLAGS. */
export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_PSH = 0x08;
export const TCP_ACK = 0x10;
export const TCP_URG = 0x20;
export const TCP_ECE = 0x40;
export const TCP_CWR = 0x80;

export function tcpHeaderSize(octets: Uint8Array, position: number): number {
  return (octets[position + TCP_DATA_OFFSET] >>> 4) << 2;
}

/** Position of the octet behind the header with its options; -1 when there is no well-formed header before `end`. */
export function tcpPayloadStart(octets: Uint8Array, position: number, end: number): number {
  if (position + TCP_HEADER_SIZE_MIN > end) return -1;
  const size = tcpHeaderSize(octets, position);
  if (size < TCP_HEADER_SIZE_MIN || position + size > end) return -1;
  return position + size;
}

/** One letter a flag, lowest bit first; `W` is CWR, `E` is ECE. */
export const TCP_FLAG_LETTERS = 'FSRPAUEW';
