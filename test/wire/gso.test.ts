import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { Kernels } from '../../src/kernels/kernels.js';
import { SLOT_STRIDE } from '../../src/limits.js';
import { largestFrame, Segmenter } from '../../src/wire/gso.js';
import { checkOffload } from '../../src/wire/offload.js';
import { GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP } from '../../src/wire/virtio-net.js';
import { popTag, pushTag } from '../../src/wire/vlan.js';
import { concatenate, difference, type Layout, referenceSegments, writeTransportChecksum } from './reference.js';
import { buildSuperFrame, type SuperFrame, superFrames } from './super-frame.js';

const pool = new FramePool(4);
const kernels = new Kernels(pool.memory);
const segmenter = new Segmenter(pool, kernels);
const SOURCE = 0;
const TARGET = 1;
const GUARD = 64;

const recipe = {
  isIpv4: true,
  isUdp: false,
  tags: 0,
  options: 0,
  tcpOptions: 3,
  flags: 0x10,
  id: 65_534,
  sequence: 0xffff_ff00,
  payloadSize: 4000,
  size: 1448,
  seed: 1,
};

function gsoTypeOf(layout: Layout): number {
  if (layout.isUdp) return GSO_UDP;
  return layout.isIpv4 ? GSO_TCP4 : GSO_TCP6;
}

/** Puts a frame into SOURCE as reception does, with the header its guest would send. */
function receive(octets: Uint8Array, layout: Layout, gsoType: number, size: number): boolean {
  pool.octets.set(octets, pool.frameStart(SOURCE));
  pool.receive(SOURCE, 0, octets.length);
  pool.offload(SOURCE, 1, gsoType, 0, size, layout.transport, layout.isUdp ? 6 : 16);
  pool.networkHeader[SOURCE] = pool.frameStart(SOURCE) + layout.network;
  return checkOffload(pool, SOURCE);
}

function receiveSuper({ octets, layout, size }: SuperFrame): void {
  expect(receive(octets, layout, gsoTypeOf(layout), size)).toBe(true);
}

/** All segments of the frame in SOURCE, each written into TARGET between guards. */
function segments(): Uint8Array[] {
  const count = segmenter.begin(SOURCE);
  const result: Uint8Array[] = [];
  for (let index = 0; index < count; index++) {
    const start = pool.frameStart(TARGET);
    pool.octets.fill(0xa5, start - GUARD, start + GUARD + largestFrame(pool, SOURCE));
    segmenter.segment(index, TARGET);
    const end = start + pool.length[TARGET];
    expect(pool.offset[TARGET]).toBe(start);
    expect(pool.octets.subarray(start - GUARD, start).every((octet) => octet === 0xa5)).toBe(true);
    expect(pool.octets.subarray(end, end + GUARD).every((octet) => octet === 0xa5)).toBe(true);
    expect([pool.gsoType[TARGET], pool.checksumStart[TARGET]]).toEqual([GSO_NONE, 0]);
    result.push(pool.octets.slice(start, end));
  }
  return result;
}

describe('a super-frame', () => {
  test('becomes the frames the reference cuts it into, octet for octet', () => {
    fc.assert(
      fc.property(superFrames, (frame) => {
        receiveSuper(frame);
        expect(difference(segments(), referenceSegments(frame.octets, frame.layout, frame.size))).toBeUndefined();
      }),
      { numRuns: 120 },
    );
  });

  test('can be cut into one buffer, segment behind segment at any distance, and no slot’s fields change', () => {
    fc.assert(
      fc.property(superFrames, fc.constantFrom(0, 1, 8, 50), (frame, gap) => {
        receiveSuper(frame);
        const expected = referenceSegments(frame.octets, frame.layout, frame.size);
        const fields = () => [pool.offset, pool.length, pool.gsoType, pool.checksumStart].map((field) => field[TARGET]);
        const before = fields();
        const start = pool.frameStart(TARGET) - GUARD;
        // One more, for who fills all of it.
        pool.octets.fill(0xa5, start, start + SLOT_STRIDE + 1);
        const count = segmenter.begin(SOURCE);
        const found: Uint8Array[] = [];
        let at = start;
        // No more than the slot takes: what a tunnel would send as one message.
        for (let index = 0; index < count && at + gap + largestFrame(pool, SOURCE) <= start + SLOT_STRIDE; index++) {
          const length = segmenter.segmentAt(index, at + gap);
          found.push(pool.octets.slice(at, at + gap + length));
          at += gap + length;
        }
        const padding = new Uint8Array(gap).fill(0xa5);
        const padded = expected.slice(0, found.length).map((segment) => concatenate(padding, segment));
        expect(found.length).toBeGreaterThan(0);
        expect(difference(found, padded)).toBeUndefined();
        expect(pool.octets[at]).toBe(0xa5);
        expect(fields()).toEqual(before);
      }),
      { numRuns: 60 },
    );
  });

  test('gives TCP a checksum of zero where that is the sum’s complement', () => {
    const { octets, layout } = buildSuperFrame({ ...recipe, payloadSize: 2896 });
    const view = new DataView(octets.buffer);
    view.setUint16(layout.payload, 0);
    const [first] = referenceSegments(octets, layout, 1448);
    view.setUint16(layout.payload, new DataView(first.buffer).getUint16(layout.transport + 16));
    receiveSuper({ octets, layout, size: 1448 });
    expect([...segments()[0].subarray(layout.transport + 16, layout.transport + 18)]).toEqual([0, 0]);
  });

  test('is itself not changed by being cut', () => {
    const frame = buildSuperFrame(recipe);
    receiveSuper(frame);
    segments();
    const start = pool.offset[SOURCE];
    expect(difference([pool.octets.slice(start, start + frame.octets.length)], [frame.octets])).toBeUndefined();
  });

  test('keeps CWR for its first segment, FIN and PSH for its last', () => {
    const frame = buildSuperFrame({ ...recipe, flags: 0x80 | 0x40 | 0x10 | 0x08 | 0x01 });
    receiveSuper(frame);
    const flags = segments().map((segment) => segment[frame.layout.transport + 13]);
    expect(flags).toEqual([0x80 | 0x40 | 0x10, 0x40 | 0x10, 0x40 | 0x10 | 0x08 | 0x01]);
  });

  test('counts sequence numbers and IPv4 ids over their wrap', () => {
    const frame = buildSuperFrame(recipe);
    receiveSuper(frame);
    const views = segments().map((segment) => new DataView(segment.buffer));
    expect(views.map((view) => view.getUint32(frame.layout.transport + 4))).toEqual([
      0xffff_ff00,
      0xffff_ff00 + 1448 - 2 ** 32,
      0xffff_ff00 + 2896 - 2 ** 32,
    ]);
    expect(views.map((view) => view.getUint16(frame.layout.network + 4))).toEqual([65_534, 65_535, 0]);
  });

  test('can be cut after its tag was taken off and another was pushed', () => {
    const frame = buildSuperFrame({ ...recipe, tags: 1 });
    receiveSuper(frame);
    pool.offset[SOURCE] = popTag(pool.words, pool.offset[SOURCE]);
    pool.length[SOURCE] -= 4;
    const untagged = buildSuperFrame(recipe);
    expect(segments().map((segment) => segment.length)).toEqual(
      referenceSegments(untagged.octets, untagged.layout, 1448).map((segment) => segment.length),
    );
    pool.offset[SOURCE] = pushTag(pool.words, pool.offset[SOURCE], 0x88a8, 10);
    pool.length[SOURCE] += 4;
    expect(difference(segments(), referenceSegments(frame.octets, frame.layout, 1448))).toBeUndefined();
  });

  test('of 65,535 octets in the smallest TCP segments gives 1,365 of them', () => {
    const frame = buildSuperFrame({ ...recipe, tcpOptions: 0, payloadSize: 65_495, size: 48 });
    receiveSuper(frame);
    const cut = segments();
    expect(cut.length).toBe(1365);
    expect(difference(cut, referenceSegments(frame.octets, frame.layout, 48))).toBeUndefined();
  });

  test('behind a routing header keeps the sum of the pseudo-header its sender used', () => {
    const frame = buildSuperFrame({ ...recipe, isIpv4: false, options: 1 });
    const { octets, layout } = frame;
    // The destination that counts is the routing header's, so the guest's partial sum is another one.
    octets[layout.network + 6] = 43;
    const view = new DataView(octets.buffer);
    const field = layout.transport + 16;
    const moved = (view.getUint16(field) + 0x1234) % 0xffff;
    view.setUint16(field, moved);
    receiveSuper(frame);
    const expected = referenceSegments(octets, layout, frame.size).map((segment) => {
      const segmentView = new DataView(segment.buffer);
      const sum = 0xffff - segmentView.getUint16(field) + 0x1234;
      segmentView.setUint16(field, 0xffff - (sum % 0xffff));
      return segment;
    });
    expect(difference(segments(), expected)).toBeUndefined();
  });

  test('says how long its longest segment is', () => {
    const frame = buildSuperFrame({ ...recipe, tags: 1 });
    receiveSuper(frame);
    const longest = Math.max(...segments().map((segment) => segment.length));
    expect(largestFrame(pool, SOURCE)).toBe(longest);
    pool.gsoType[SOURCE] = GSO_NONE;
    expect(largestFrame(pool, SOURCE)).toBe(frame.octets.length);
  });
});

describe('a plain frame with a partial checksum', () => {
  test('gets the checksum the reference computes, and nothing else changes', () => {
    fc.assert(
      fc.property(superFrames, ({ octets, layout }) => {
        expect(receive(octets, layout, GSO_NONE, 0)).toBe(true);
        segmenter.completeChecksum(SOURCE);
        const expected = octets.slice();
        writeTransportChecksum(expected, layout);
        const start = pool.offset[SOURCE];
        expect(difference([pool.octets.slice(start, start + octets.length)], [expected])).toBeUndefined();
        expect(pool.checksumStart[SOURCE]).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  test('never gets a UDP checksum of zero, which would mean none', () => {
    const { octets, layout } = buildSuperFrame({ ...recipe, isUdp: true, payloadSize: 10 });
    // Choose the payload so that everything sums to 0xffff, whose complement is zero.
    const view = new DataView(octets.buffer);
    view.setUint16(layout.payload, 0);
    const partial = octets.slice();
    writeTransportChecksum(octets, layout);
    view.setUint16(layout.payload, view.getUint16(layout.transport + 6));
    view.setUint16(layout.transport + 6, new DataView(partial.buffer).getUint16(layout.transport + 6));
    expect(receive(octets, layout, GSO_NONE, 0)).toBe(true);
    segmenter.completeChecksum(SOURCE);
    const start = pool.offset[SOURCE];
    expect([...pool.octets.subarray(start + layout.transport + 6, start + layout.transport + 8)]).toEqual([255, 255]);
  });
});
