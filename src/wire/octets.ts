/**
 * Words in frame memory: network byte order exists only behind these functions. Values of 32 bits are signed, so that
 * V8 keeps them as small integers. Callers have proved that the octets are there. @hot
 *
 * Which way to read a word of a frame: `read16` and `read32` wherever its octets are at hand; `FramePool.view`, the same in half
 * the time, in stages that every frame goes through; `FramePool.words` for the Ethernet header and its tags, which lie at
 * multiples of four; `wordAt` for what is kept, compared or hashed as it lies in memory.
 */

export function read16(octets: Uint8Array, position: number): number {
  return (octets[position] << 8) | octets[position + 1];
}

/** Signed: compare and store as is, `>>> 0` only to print. */
export function read32(octets: Uint8Array, position: number): number {
  return (octets[position] << 24) | (octets[position + 1] << 16) | (octets[position + 2] << 8) | octets[position + 3];
}

/** Four octets as a little-endian machine reads them as one word, wherever they lie. */
export function wordAt(octets: Uint8Array, position: number): number {
  return (octets[position + 3] << 24) | (octets[position + 2] << 16) | (octets[position + 1] << 8) | octets[position];
}

export function write16(octets: Uint8Array, position: number, value: number): void {
  octets[position] = value >>> 8;
  octets[position + 1] = value;
}

export function write32(octets: Uint8Array, position: number, value: number): void {
  octets[position] = value >>> 24;
  octets[position + 1] = value >>> 16;
  octets[position + 2] = value >>> 8;
  octets[position + 3] = value;
}

/** A word of little-endian memory as its octets mean it in network order; 16 bits, and 32 (signed). */
export function swap16(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8);
}

export function swap32(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}
