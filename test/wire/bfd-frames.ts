/** BFD as Open vSwitch sends it inside a tunnel, put together by hand from the RFCs. Shares no code with src/. */
import { referenceSum } from '../kernels/reference.js';

export const BFD_MAC = '002320000001';

export interface BfdFrameRecipe {
  readonly to?: string;
  readonly from?: string;
  readonly ttl?: number;
  readonly port?: number;
  readonly protocol?: number;
  /** Flags and offset. */
  readonly fragment?: number;
  /** 24 octets of BFD by default: state Down, discriminator 0x01020304. */
  readonly packet?: readonly number[];
  readonly headerChecksum?: number;
  /** Octets behind the IP packet. */
  readonly padding?: number;
}

export const downPacket = [
  ...[0x20, 0x40, 3, 24, 1, 2, 3, 4, 0, 0, 0, 0],
  ...[0, 0x0f, 0x42, 0x40, 0, 1, 0x86, 0xa0, 0, 0, 0, 0],
];

const word = (value: number) => [value >> 8, value & 0xff];

export function bfdFrame(recipe: BfdFrameRecipe = {}): Uint8Array {
  const { to = BFD_MAC, from = '023344556677', ttl = 255, port = 3784, protocol = 17, fragment = 0x4000 } = recipe;
  const { packet = downPacket, padding = 0 } = recipe;
  const addresses = [169, 254, 1, 1, 169, 254, 1, 0];
  const head = (checksum: number) => [
    ...[0x45, 0xc0, ...word(28 + packet.length), 0, 0, ...word(fragment), ttl, protocol],
    ...[...word(checksum), ...addresses],
  ];
  const zero = Uint8Array.from(head(0));
  const headerChecksum = recipe.headerChecksum ?? 0xffff - referenceSum(zero, 0, 20);
  const length = 8 + packet.length;
  const udp = (checksum: number) => [...word(49_152), ...word(port), ...word(length), ...word(checksum), ...packet];
  const pseudo = Uint8Array.from([...addresses, 0, 17, ...word(length), ...udp(0)]);
  const checksum = 0xffff - referenceSum(pseudo, 0, pseudo.length);
  const ethernet = [...Buffer.from(to + from, 'hex'), 0x08, 0x00];
  return Uint8Array.from([
    ...ethernet,
    ...head(headerChecksum),
    ...udp(checksum),
    ...new Array<number>(padding).fill(0),
  ]);
}
