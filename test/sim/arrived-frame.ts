/** A frame as a queue was seen to send it, and in what it is not the expected one. */
import { macText, type SentFrame } from './reference-switch.js';

/** What a queue was seen to send. */
export interface ArrivedFrame {
  readonly octets: Uint8Array;
  /** Positions relative to the frame; `checksumStart` 0: nothing was left to the device. */
  readonly gsoType: number;
  readonly gsoSize: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
  readonly headersEnd: number;
}

/** In what an arrived frame is not the expected one. */
export function difference(arrived: ArrivedFrame, { octets, offload }: SentFrame): string | undefined {
  if (Buffer.compare(arrived.octets, octets) !== 0) return hex(octets);
  const { layout, size } = offload ?? { layout: undefined, size: 0 };
  const tcpType = layout?.isIpv4 ? 1 : 4;
  const ecn = layout !== undefined && (octets[layout.transport + 13] & 0x80) !== 0 ? 0x80 : 0;
  const isSuper = layout !== undefined && size > 0;
  const expected = {
    gsoType: !isSuper ? 0 : layout.isUdp ? 5 : tcpType | ecn,
    gsoSize: isSuper ? size : arrived.gsoSize,
    checksumStart: layout?.transport ?? 0,
    checksumOffset: layout === undefined ? 0 : layout.isUdp ? 6 : 16,
    headersEnd: isSuper ? layout.payload : arrived.headersEnd,
  };
  for (const [key, value] of Object.entries(expected)) {
    const actual = arrived[key as keyof typeof expected];
    if (actual !== value) return `the same with ${key} ${value}, not ${actual}`;
  }
  return undefined;
}

export function hex(octets: Uint8Array): string {
  const head = Buffer.from(octets.subarray(0, 64)).toString('hex');
  return `${octets.length} octets to ${macText(octets, 0)} ${head}`;
}
