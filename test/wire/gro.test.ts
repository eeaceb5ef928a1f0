import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FRAME_SIZE_MAX, MERGED_FLOWS_MAX } from '../../src/limits.js';
import { checkOffload } from '../../src/wire/offload.js';
import { apart, deliver, groups, mergedOf, merger, octetsOf, pool, segmentsOf, side } from './gro-delivery.js';
import { referenceMerge } from './gro-reference.js';
import { concatenate, difference } from './reference.js';
import {
  buildSegment,
  buildStream,
  type Deviation,
  endings,
  type Flow,
  ipv4Deviations,
  ipv6Deviations,
  put,
  type Segment,
  tcpDeviations,
  unmergeable,
} from './segments.js';

const flow4: Flow = {
  isIpv4: true,
  tunnel: 1,
  host: 1,
  port: 1,
  tcpOptions: 3,
  size: 200,
  sequence: 0xffff_ff00,
  id: 65_534,
  idStep: 1,
};
const flow6: Flow = { ...flow4, isIpv4: false };
const plain: Deviation = {};

const flows = fc.record({
  isIpv4: fc.boolean(),
  tunnel: fc.integer({ min: 1, max: 2 }),
  tcpOptions: fc.constantFrom(1, 3, 3, 3, 10),
  size: fc.oneof(fc.integer({ min: 40, max: 100 }), fc.integer({ min: 100, max: 1448 })),
  sequence: fc.oneof(fc.integer({ min: 0, max: 0xffff_ffff }), fc.constant(0xffff_fe00)),
  id: fc.integer({ min: 0, max: 65_535 }),
  idStep: fc.constantFrom(0, 1, 1, 2),
});

const named = { ...tcpDeviations, ...ipv4Deviations, ...ipv6Deviations };
const byVersion = (isIpv4: boolean) => ({
  ...tcpDeviations,
  ...(isIpv4 ? ipv4Deviations : ipv6Deviations),
  ...endings,
});
/** Mostly nothing; else something that ends a super-frame, or that must not be merged. */
const deviationNames = fc.option(fc.constantFrom(...Object.keys({ ...named, ...endings })), {
  freq: 6,
  nil: undefined,
});

interface Interleaving {
  readonly segments: Segment[];
  readonly flows: Flow[];
  /** Which flow each is of. */
  readonly owners: number[];
}

/** Ten flows whose segments come in any order between flows, often several of one in a row. */
function interleavings(withDeviations: boolean): fc.Arbitrary<Interleaving> {
  const steps = fc.array(
    fc.record({
      flow: fc.integer({ min: 0, max: 9 }),
      run: fc.integer({ min: 1, max: 4 }),
      deviation: withDeviations ? deviationNames : fc.constant(undefined),
    }),
    { minLength: 5, maxLength: 24 },
  );
  return fc.tuple(fc.array(flows, { minLength: 10, maxLength: 10 }), steps).map(([shapes, order]) => {
    const segments: Segment[] = [];
    const owners: number[] = [];
    const states = shapes.map((shape, index) => ({
      // Two flows each between the same addresses.
      flow: { ...shape, host: 1 + (index >> 1), port: index },
      index: 0,
      position: 0,
    }));
    for (const { flow, run, deviation } of order) {
      const state = states[flow];
      for (let count = 0; count < run && segments.length < 60; count++) {
        const applies = deviation !== undefined && count === run - 1;
        const what = applies ? (byVersion(state.flow.isIpv4)[deviation] ?? plain) : plain;
        segments.push(buildSegment(state.flow, state.index++, state.position, what));
        owners.push(flow);
        state.position += what.payloadSize ?? state.flow.size;
      }
    }
    return { segments, flows: states.map(({ flow }) => flow), owners };
  });
}

const placements = fc.record({ gap: fc.constantFrom(4, 8, 13, 60), perSlot: fc.integer({ min: 1, max: 30 }) });

describe('segments of ten flows in any order', () => {
  test('become the super-frames that the reference makes of them, octet for octet', () => {
    let merged = 0;
    fc.assert(
      fc.property(interleavings(true), placements, ({ segments }, placement) => {
        const outcomes = deliver(segments, placement);
        const expected = referenceMerge(segments);
        expect(outcomes.map(mergedOf)).toEqual(expected.map(({ octets: _, ...rest }) => rest));
        expect(
          difference(
            outcomes.map(({ slot }) => octetsOf(slot)),
            expected.map(({ octets }) => octets),
          ),
        ).toBeUndefined();
        merged += expected.filter(({ gsoType }) => gsoType !== 0).length;
      }),
      { numRuns: 150 },
    );
    expect(merged).toBeGreaterThan(150);
  });

  test('are cut into the very segments they were, in the order of each flow', () => {
    fc.assert(
      fc.property(interleavings(true), placements, ({ segments, flows: all, owners }, placement) => {
        const outcomes = deliver(segments, placement);
        for (const [flow, { isIpv4, idStep }] of all.entries()) {
          const seen = isIpv4 && idStep === 0 ? withoutId : (frame: Uint8Array) => frame;
          const sent = segments.filter((_, index) => owners[index] === flow).map(({ octets }) => seen(octets));
          const received = outcomes
            .filter(({ members }) => owners[members[0]] === flow)
            .flatMap(({ slot }) => segmentsOf(slot).map(seen));
          expect(difference(received, sent)).toBeUndefined();
        }
      }),
      { numRuns: 100 },
    );
  });

  test('make super-frames that the check of what guests send accepts as they are', () => {
    fc.assert(
      fc.property(interleavings(false), ({ segments }) => {
        for (const { slot } of deliver(segments, side)) {
          if (pool.gsoType[slot] === 0) continue;
          const fields = () => [
            pool.gsoType[slot],
            pool.gsoSize[slot],
            pool.checksumStart[slot],
            pool.headersEnd[slot],
          ];
          const before = fields();
          pool.checksumStart[slot] -= pool.offset[slot];
          expect(checkOffload(pool, slot)).toBe(true);
          expect(fields()).toEqual(before);
        }
      }),
      { numRuns: 30 },
    );
  });
});

/** Ids that stayed the same count up after segmentation (RFC 6864 allows both): left out of the comparison, with their sum. */
function withoutId(frame: Uint8Array): Uint8Array {
  const copy = frame.slice();
  copy.fill(0, 18, 20);
  copy.fill(0, 24, 26);
  return copy;
}

describe.each([
  ['IPv4', flow4, { ...tcpDeviations, ...ipv4Deviations }],
  ['IPv6', flow6, { ...tcpDeviations, ...ipv6Deviations }],
])('a segment over %s', (_, flow, deviations) => {
  test('that goes on where the others ended joins them, whatever lies between', () => {
    for (const placement of [side, apart, { gap: 1, perSlot: 3 }]) {
      expect(groups(buildStream(flow, [plain, plain, plain, plain, plain]), placement)).toEqual([[0, 1, 2, 3, 4]]);
    }
  });

  test.each(Object.entries(deviations))('with %s stays alone and ends the super-frame', (__, deviation) => {
    expect(groups(buildStream(flow, [plain, plain, deviation, plain, plain]))).toSatisfy(
      (found: number[][]) => found[0].length === 2 && !found.some((group) => group.includes(2) && group.length > 1),
    );
  });

  test.each(Object.entries(deviations))('with %s does not make one with the next', (__, deviation) => {
    expect(groups(buildStream(flow, [deviation, plain, plain]))[0]).toEqual([0]);
  });

  test.each(Object.entries(deviations))(
    'with %s between two that follow each other keeps them apart',
    (__, deviation) => {
      const stray = buildSegment(flow, 1, flow.size, deviation);
      const [first, second] = buildStream(flow, [plain, plain]);
      expect(groups([first, stray, second])).toEqual([[0], [1], [2]]);
    },
  );

  test.each(Object.entries(deviations).filter(([name]) => unmergeable.includes(name)))(
    'with %s does not merge with others like it',
    (__, deviation) => {
      expect(groups(buildStream(flow, [deviation, deviation, deviation]))).toEqual([[0], [1], [2]]);
    },
  );

  test('that is cut off where what follows it in the slot would do for its end stays alone', () => {
    // What lies between two datagrams is 0x5a here.
    const cut: Deviation = {
      edit: (frame) => put(frame, frame.length - 1, 0x5a),
      spoil: (frame) => frame.slice(0, -1),
    };
    expect(groups(buildStream(flow, [plain, cut, plain]))).toEqual([[0], [1], [2]]);
    expect(groups(buildStream(flow, [cut, plain]), apart)).toEqual([[0], [1]]);
    const [first] = deliver(buildStream(flow, [cut, plain]), side);
    expect(mergedOf(first).gsoType).toBe(0);
  });

  test.each(Object.entries(endings))('with %s is the last of its super-frame', (__, ending) => {
    expect(groups(buildStream(flow, [plain, plain, ending, plain, plain]))).toEqual([
      [0, 1, 2],
      [3, 4],
    ]);
  });

  test('with PSH begins nothing; its PSH is the super-frame’s when it is last', () => {
    const push = endings['a PSH'];
    expect(groups(buildStream(flow, [push, plain]))).toEqual([[0], [1]]);
    const [{ slot }] = deliver(buildStream(flow, [plain, push]), side);
    expect(pool.octets[pool.checksumStart[slot] + 13]).toBe(0x18);
    const [other] = deliver(buildStream(flow, [plain, plain]), side);
    expect(pool.octets[pool.checksumStart[other.slot] + 13]).toBe(0x10);
  });

  test('with more payload than the first begins a super-frame of its own', () => {
    expect(groups(buildStream(flow, [plain, plain, { payloadSize: flow.size + 1 }, plain]))).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });

  test('of fewer octets than a super-frame’s segments may have begins none', () => {
    expect(groups(buildStream({ ...flow, size: 47 }, [plain, plain]))).toEqual([[0], [1]]);
    expect(groups(buildStream({ ...flow, size: 48 }, [plain, plain]))).toEqual([[0, 1]]);
  });

  test('with ECE joins those that have it', () => {
    const echo = { flags: 0x50 };
    expect(groups(buildStream(flow, [echo, echo, plain, plain]))).toEqual([
      [0, 1],
      [2, 3],
    ]);
  });

  test('joins without the padding behind it, and the padding of the first is cut', () => {
    const padded: Deviation = { spoil: (frame) => concatenate(frame, new Uint8Array(6).fill(0x77)) };
    const [outcome] = deliver(buildStream(flow, [padded, padded, padded]), side);
    expect(outcome.members).toEqual([0, 1, 2]);
    const expected = buildStream(flow, [plain, plain, plain]).map(({ octets }) => octets);
    expect(difference(segmentsOf(outcome.slot), expected)).toBeUndefined();
  });

  test('that stays alone keeps its padding and its fields', () => {
    const padded: Deviation = { spoil: (frame) => concatenate(frame, new Uint8Array(6).fill(0x77)) };
    const [segment] = buildStream(flow, [padded]);
    const [outcome] = deliver([segment], side);
    expect(difference([octetsOf(outcome.slot)], [segment.octets])).toBeUndefined();
    expect(mergedOf(outcome).gsoType).toBe(0);
  });

  test('of the same flow in another tunnel, or in none, is another matter', () => {
    const other = buildStream({ ...flow, tunnel: 2 }, [plain, plain, plain]);
    const own = buildStream(flow, [plain, plain, plain]);
    expect(groups([own[0], other[1], own[1], other[2], own[2]])).toEqual([
      [0, 2, 4],
      [1, 3],
    ]);
    expect(groups(buildStream({ ...flow, tunnel: 0 }, [plain, plain]))).toEqual([[0], [1]]);
  });

  test('cut short at any octet gives a verdict, joins nothing and stays what it is', () => {
    const [first, second] = buildStream(flow, [plain, plain]);
    // Behind the headers every 13th will do.
    for (let length = 14; length < second.octets.length; length += length > 100 ? 13 : 1) {
      const short = { octets: second.octets.slice(0, length), tunnel: 1 };
      expect(groups([first, short])).toEqual([[0], [1]]);
    }
  });

  test('is not merged twice into a batch that is over', () => {
    const segments = buildStream(flow, [plain, plain]);
    deliver([segments[0]], side);
    merger.begin();
    const at = pool.frameStart(50);
    pool.octets.set(segments[1].octets, at);
    expect(merger.append(at, segments[1].octets.length, 1)).toBe(-1);
  });
});

describe('IPv4 ids', () => {
  const frames = (idStep: number, deviation: Deviation = plain) =>
    groups(buildStream({ ...flow4, idStep }, [deviation, deviation, deviation]));
  const mayBeFragmented: Deviation = { edit: (frame) => put(frame, 20, 0) };

  test('that count up over their wrap, or stay where nobody may fragment, merge', () => {
    expect(frames(1)).toEqual([[0, 1, 2]]);
    expect(frames(1, mayBeFragmented)).toEqual([[0, 1, 2]]);
    expect(frames(0)).toEqual([[0, 1, 2]]);
  });

  test('that do otherwise do not', () => {
    expect(frames(0, mayBeFragmented)).toEqual([[0], [1], [2]]);
    expect(frames(2)).toEqual([[0], [1], [2]]);
  });

  test('must go on as they began', () => {
    const id = (value: number): Deviation => ({ edit: (frame) => put(frame, 19, value) });
    const stream = (...ids: number[]) => groups(buildStream({ ...flow4, id: 0 }, ids.map(id)));
    expect(stream(5, 6, 6)).toEqual([[0, 1], [2]]);
    expect(stream(5, 5, 6)).toEqual([[0, 1], [2]]);
  });
});

describe('a super-frame', () => {
  const stretch = (flow: Flow, count: number, last: Deviation) =>
    buildStream(flow, [...Array.from({ length: count }, () => plain), last]);

  test.each([
    ['IPv4', { ...flow4, size: 8000 }, 65_535 - 52 - 8 * 8000],
    ['IPv6', { ...flow6, size: 8000 }, 65_535 - 72 - 8 * 8000],
  ])('over %s is a packet of 65,535 octets at most', (_, flow, room) => {
    expect(groups(stretch(flow, 8, { payloadSize: room }), apart)).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8]]);
    expect(groups(stretch(flow, 8, { payloadSize: room + 1 }), apart)).toEqual([[0, 1, 2, 3, 4, 5, 6, 7], [8]]);
  });

  test('never leaves its slot, however far behind the start it begins', () => {
    const gap = 300;
    const end = pool.frameStart(0) + FRAME_SIZE_MAX;
    const room = FRAME_SIZE_MAX - gap - 66 - 8 * 8000;
    const flow = { ...flow4, size: 8000 };
    const placement = { gap, perSlot: 1 };
    expect(groups(stretch(flow, 8, { payloadSize: room }), placement)[0].length).toBe(9);
    expect(pool.offset[0] + pool.length[0]).toBe(end);
    expect(pool.octets[end]).toBe(0xa5);
    expect(groups(stretch(flow, 8, { payloadSize: room + 1 }), placement)[0].length).toBe(8);
  });

  test('of the smallest segments can be as many as fit, each found again', () => {
    const segments = stretch({ ...flow4, size: 48 }, 500, plain);
    const [outcome, ...others] = deliver(segments, { gap: 8, perSlot: 501 });
    expect([outcome.members.length, others.length]).toEqual([501, 0]);
    expect(
      difference(
        segmentsOf(outcome.slot),
        segments.map(({ octets }) => octets),
      ),
    ).toBeUndefined();
  });

  test('is finished when it is the oldest of one too many', () => {
    const streams = Array.from({ length: MERGED_FLOWS_MAX + 1 }, (_, index) =>
      buildStream({ ...flow4, host: 10 + (index >> 1), port: index }, [plain, plain]),
    );
    const heads = streams.map(([head]) => head);
    expect(groups([...heads, streams[1][1], streams[0][1]])).toEqual([
      ...heads.map((_, index) => (index === 1 ? [1, heads.length] : [index])),
      [heads.length + 1],
    ]);
  });

  test('that is finished as the oldest is whole', () => {
    const streams = Array.from({ length: MERGED_FLOWS_MAX + 1 }, (_, port) =>
      buildStream({ ...flow4, port }, [plain, plain]),
    );
    const segments = [...streams[0], ...streams.slice(1).map(([head]) => head)];
    const [{ slot, members }] = deliver(segments, side);
    expect(members).toEqual([0, 1]);
    const expected = streams[0].map(({ octets }) => octets);
    expect(difference(segmentsOf(slot), expected)).toBeUndefined();
  });

  test('outlives frames that are no TCP of its own addresses', () => {
    const udp: Deviation = { spoil: (frame) => put(frame, 23, 17) };
    const stranger = { ...flow4, host: 77 };
    const segments = buildStream(flow4, [plain, plain]);
    const [datagram] = buildStream(flow4, [udp]);
    const [fragment] = buildStream(stranger, [ipv4Deviations['MF set']]);
    const [arp] = buildStream(flow4, [{ spoil: (frame) => put(frame, 13, 6) }]);
    expect(groups([segments[0], datagram, fragment, arp, segments[1]])).toEqual([[0, 4], [1], [2], [3]]);
    const segments6 = buildStream(flow6, [plain, plain]);
    const [datagram6] = buildStream(flow6, [{ spoil: (frame) => put(frame, 20, 17) }]);
    const [echo6] = buildStream(flow6, [{ spoil: (frame) => put(frame, 20, 58) }]);
    expect(groups([segments6[0], datagram6, echo6, segments6[1]])).toEqual([[0, 3], [1], [2]]);
  });

  test('does not outlive a fragment between its addresses', () => {
    const segments = buildStream(flow4, [plain, ipv4Deviations['a fragment offset'], plain]);
    const otherPorts = { ...segments[1], octets: segments[1].octets.slice() };
    otherPorts.octets[35] ^= 1;
    const next = buildSegment(flow4, 1, flow4.size);
    expect(groups([segments[0], otherPorts, next])).toEqual([[0], [1], [2]]);
  });

  test('takes TCP checksums of zero, and they come back as zero', () => {
    const zeroSum: Deviation = {
      edit: (frame, { payload }) => {
        const view = new DataView(frame.buffer);
        view.setUint16(payload, 0);
      },
      spoil: (frame, { transport, payload }) => {
        const view = new DataView(frame.buffer);
        view.setUint16(payload, view.getUint16(transport + 16));
        view.setUint16(transport + 16, 0);
        return frame;
      },
    };
    const segments = buildStream(flow4, [zeroSum, zeroSum, zeroSum]);
    const [outcome] = deliver(segments, side);
    expect(outcome.members).toEqual([0, 1, 2]);
    expect(
      difference(
        segmentsOf(outcome.slot),
        segments.map(({ octets }) => octets),
      ),
    ).toBeUndefined();
  });
});
