/**
 * What the offload code needs of a frame pool: where frames lie and the offload fields of each slot. The dataplane's
 * FramePool is one; wire/ may not import it (imports go leftwards), so this is its shape as seen from here.
 */
export interface FrameStore {
  readonly octets: Uint8Array;
  /** The same memory. */
  readonly words: Int32Array;
  /** Position of the first octet of the Ethernet header, by slot; the octets of the frame from there. */
  readonly offset: Int32Array;
  readonly length: Int32Array;
  readonly ethertype: Int32Array;
  readonly networkHeader: Int32Array;
  /** Offload fields by slot, as wire/offload.ts leaves them: positions absolute, checksumStart 0 for "complete". */
  readonly gsoType: Int32Array;
  readonly gsoSize: Int32Array;
  readonly checksumStart: Int32Array;
  readonly checksumOffset: Int32Array;
  readonly headersEnd: Int32Array;
  /** Where a frame that is written into the slot begins. */
  frameStart(slot: number): number;
}
