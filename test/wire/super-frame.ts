/** Arbitrary super-frames for fast-check: TCP and UDP, both families, tags, options, extension headers. */
import fc from 'fast-check';
import { fillOctets } from '../kernels/reference.js';
import { type Layout, writeNetwork, writePartialChecksum } from './reference.js';

export interface SuperFrame {
  readonly octets: Uint8Array;
  readonly layout: Layout;
  readonly size: number;
}

const TCP = 6;
const UDP = 17;

interface Recipe {
  readonly isIpv4: boolean;
  readonly isUdp: boolean;
  readonly tags: number;
  /** Four-octet words of IPv4 options or destination-option headers of eight octets. */
  readonly options: number;
  readonly tcpOptions: number;
  readonly flags: number;
  readonly id: number;
  readonly sequence: number;
  readonly payloadSize: number;
  readonly size: number;
  readonly seed: number;
}

/** A frame as a guest would send it: lengths right, transport checksum partial. */
export function buildSuperFrame(recipe: Recipe): SuperFrame {
  const network = 14 + 4 * recipe.tags;
  const transport = network + (recipe.isIpv4 ? 20 + 4 * recipe.options : 40 + 8 * recipe.options);
  const payload = transport + (recipe.isUdp ? 8 : 20 + 4 * recipe.tcpOptions);
  const octets = new Uint8Array(payload + recipe.payloadSize);
  fillOctets(octets, recipe.seed);
  const view = new DataView(octets.buffer);
  octets.set([0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1]);
  for (let tag = 0; tag < recipe.tags; tag++) {
    view.setUint16(12 + 4 * tag, tag === 0 ? 0x88a8 : 0x8100);
    view.setUint16(14 + 4 * tag, 10 + tag);
  }
  view.setUint16(network - 2, recipe.isIpv4 ? 0x0800 : 0x86dd);
  const protocol = recipe.isUdp ? UDP : TCP;
  if (recipe.isIpv4) {
    octets[network] = 0x45 + recipe.options;
    view.setUint16(network + 4, recipe.id);
    view.setUint16(network + 6, 0x4000);
    octets[network + 9] = protocol;
  } else {
    octets[network] = 0x60;
    octets[network + 6] = recipe.options === 0 ? protocol : 60;
    for (let index = 0; index < recipe.options; index++) {
      octets.set([index === recipe.options - 1 ? protocol : 60, 0, 1, 4, 0, 0, 0, 0], network + 40 + 8 * index);
    }
  }
  if (recipe.isUdp) view.setUint16(transport + 4, octets.length - transport);
  else {
    view.setUint32(transport + 4, recipe.sequence);
    octets[transport + 12] = (5 + recipe.tcpOptions) << 4;
    octets[transport + 13] = recipe.flags;
  }
  const layout = { isIpv4: recipe.isIpv4, isUdp: recipe.isUdp, network, transport, payload };
  writeNetwork(octets, layout);
  writePartialChecksum(octets, layout);
  return { octets, layout, size: recipe.size };
}

/** TCP flags without SYN and RST, which no train of segments has. */
const trainFlags = fc.integer({ min: 0, max: 255 }).map((flags) => flags & ~0b110);

export const superFrames: fc.Arbitrary<SuperFrame> = fc
  .record({
    isIpv4: fc.boolean(),
    isUdp: fc.boolean(),
    tags: fc.integer({ min: 0, max: 3 }),
    options: fc.integer({ min: 0, max: 6 }),
    tcpOptions: fc.integer({ min: 0, max: 10 }),
    flags: trainFlags,
    id: fc.integer({ min: 0, max: 65_535 }),
    sequence: fc.integer({ min: 0, max: 0xffffffff }),
    payloadSize: fc.oneof(fc.integer({ min: 100, max: 4000 }), fc.integer({ min: 4000, max: 65_000 })),
    size: fc.integer({ min: 48, max: 9000 }),
    seed: fc.integer(),
  })
  .map((recipe) => buildSuperFrame({ ...recipe, size: Math.min(recipe.size, recipe.payloadSize - 1) }));
