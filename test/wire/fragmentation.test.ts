/** Cutting of IPv4 packets, against a slow reference that follows the words of RFC 791 section 3.2, and put together again. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { Kernels } from '../../src/kernels/kernels.js';
import { ipv4HeaderChecksum } from '../../src/wire/checksum.js';
import { Ipv4Fragmenter } from '../../src/wire/fragmentation.js';
import { read16, write16 } from '../../src/wire/octets.js';

const LINK = 14;
const pool = new FramePool(64);
const fragmenter = new Ipv4Fragmenter(pool, new Kernels(pool.memory));

interface Packet {
  readonly options: readonly number[];
  readonly payload: Uint8Array;
  /** Reserved bit, "more fragments" and offset of the packet itself. */
  readonly fragment: number;
}

function octetsOf({ options, payload, fragment }: Packet): Uint8Array {
  const size = 20 + options.length;
  const octets = new Uint8Array(LINK + size + payload.length);
  octets.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x40 | (size / 4), 0x28]);
  write16(octets, LINK + 2, size + payload.length);
  write16(octets, LINK + 4, 0xbeef);
  write16(octets, LINK + 6, fragment);
  octets.set([61, 17, 0, 0, 192, 0, 2, 5, 198, 51, 100, 6, ...options], LINK + 8);
  write16(octets, LINK + 10, ipv4HeaderChecksum(octets, LINK, size));
  octets.set(payload, LINK + size);
  return octets;
}

/** Options of all fragments but the first: those with the copied bit, padded with zeros to a multiple of four. */
function laterOptions(options: readonly number[]): number[] {
  const kept: number[] = [];
  for (let at = 0; at < options.length && options[at] !== 0; ) {
    const size = options[at] === 1 ? 1 : options[at + 1]!;
    if (options[at]! >= 128) kept.push(...options.slice(at, at + size));
    at += size;
  }
  while (kept.length % 4 !== 0) kept.push(0);
  return kept;
}

/** One after another, each as long as may be; undefined: nothing fits. */
function reference(packet: Packet, mtu: number): Uint8Array[] | undefined {
  const whole = octetsOf(packet);
  if (whole.length - LINK <= mtu) return [whole];
  const found: Uint8Array[] = [];
  for (let at = 0; at < packet.payload.length; ) {
    const options = at === 0 ? packet.options : laterOptions(packet.options);
    const room = mtu - 20 - options.length;
    const left = packet.payload.length - at;
    const size = left <= room ? left : Math.floor(room / 8) * 8;
    if (size <= 0) return undefined;
    const more = at + size < packet.payload.length ? 0x2000 : 0;
    const fragment = (packet.fragment | more) + at / 8;
    found.push(octetsOf({ options, payload: packet.payload.slice(at, at + size), fragment }));
    at += size;
  }
  return found;
}

function cut(octets: Uint8Array, mtu: number): Uint8Array[] | undefined {
  const slot = pool.allocate();
  pool.octets.set(octets, pool.frameStart(slot));
  pool.receive(slot, 0, octets.length);
  pool.networkHeader[slot] = pool.frameStart(slot) + LINK;
  pool.ethertype[slot] = 0x0800;
  const target = pool.allocate();
  const to = pool.frameStart(target);
  const count = fragmenter.begin(slot, mtu);
  const found = Array.from({ length: count }, (_, index) => {
    pool.octets.fill(0xa5, to - 64, to + 2048);
    fragmenter.write(index, target);
    expect(pool.offset[target]).toBe(to);
    expect(pool.networkHeader[target]).toBe(to + LINK);
    return pool.octets.slice(to, to + pool.length[target]!);
  });
  pool.release(slot);
  pool.release(target);
  return count === 0 ? undefined : found;
}

const payload = (size: number) => Uint8Array.from({ length: size }, (_, index) => (index * 7 + (index >> 8)) & 255);

describe('an IPv4 packet is cut as the reference cuts it', () => {
  test('at every length around the edges, for every MTU from the least', () => {
    for (const mtu of [68, 69, 75, 76, 100, 576, 1280, 1400])
      for (const size of [1, 8, 47, 48, 49, 56, 57, 96, 97, 551, 552, 553, 556, 557, 1379, 1380, 1381, 1480]) {
        const packet = { options: [], payload: payload(size), fragment: 0 };
        expect(cut(octetsOf(packet), mtu), `${size} octets, MTU ${mtu}`).toEqual(reference(packet, mtu));
      }
  });

  test('with any options, whatever it is a fragment of', () => {
    const option = fc
      .tuple(fc.constantFrom(7, 68, 130, 136, 148, 0x9e), fc.integer({ min: 2, max: 11 }))
      .map(([type, size]) => [type, size, ...new Array<number>(size - 2).fill(type ^ 0x5a)]);
    const list = fc.array(fc.oneof(option, fc.constant([1])), { maxLength: 6 }).map((parts) => {
      const options: number[] = [];
      for (const part of parts) if (options.length + part.length <= 40) options.push(...part);
      while (options.length % 4 !== 0) options.push(0);
      return options;
    });
    fc.assert(
      fc.property(
        list,
        fc.integer({ min: 1, max: 500 }),
        fc.nat(1000),
        fc.boolean(),
        fc.integer({ min: 68, max: 1500 }),
        (options, eights, offset, hasMore, mtu) => {
          const size = hasMore ? eights * 8 : eights * 8 - (eights % 7);
          const packet = { options, payload: payload(size), fragment: (hasMore ? 0x2000 : 0) | offset };
          expect(cut(octetsOf(packet), mtu)).toEqual(reference(packet, mtu));
        },
      ),
    );
  });

  test('and is whole again when the parts are put together', () => {
    const packet = { options: [], payload: payload(60_000), fragment: 0 };
    const parts = cut(octetsOf(packet), 1000) ?? [];
    expect(parts).toHaveLength(Math.ceil(60_000 / 976));
    const together = new Uint8Array(60_000);
    for (const part of parts) together.set(part.slice(LINK + 20), (read16(part, LINK + 6) & 0x1fff) * 8);
    expect(together).toEqual(packet.payload);
  });
});

test('an MTU without room for eight octets behind the header gives none', () => {
  const options = [136, 40, ...new Array<number>(38).fill(9)];
  expect(cut(octetsOf({ options, payload: payload(100), fragment: 0 }), 67)).toBeUndefined();
  expect(cut(octetsOf({ options: [], payload: payload(100), fragment: 0 }), 27)).toBeUndefined();
});
