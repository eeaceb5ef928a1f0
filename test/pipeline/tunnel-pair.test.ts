/** Two switches and a tunnel between them: what a station gets through it is what it would get without. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Counters, RX_BYTES, RX_FRAMES, TUNNEL_RX_FRAMES, TUNNEL_TX_FRAMES } from '../../src/dataplane/counters.js';
import { BATCH_SIZE } from '../../src/limits.js';
import { difference, referenceSegments, writeNetwork, writePartialChecksum } from '../wire/reference.js';
import { buildSuperFrame, type SuperFrame } from '../wire/super-frame.js';
import {
  host,
  type OverlayForm,
  oneOfEachKind,
  overlayForms,
  overlaySwitch,
  targets,
  teach,
  vxlanForm,
  X,
} from './overlay.js';
import { A, ALL_FEATURES, NO_FEATURES, type Received, type Sent, type TestSwitch } from './test-switch.js';
import { type Arrival, arrivals, arrivingOf } from './underlay-path.js';

const farCounters = new Counters();

/** A pair; A is behind the near one, X behind port b of the far one. */
function pair(form: OverlayForm, takesOffload: boolean) {
  const near = overlaySwitch(form, { test: { slots: 2048 } });
  const devices = { b: { features: takesOffload ? ALL_FEATURES : NO_FEATURES } };
  const far = overlaySwitch(form, { test: { slots: 2048, devices, counters: farCounters } });
  teach(near, form, 1);
  teach(far, form, 1, A);
  far.run({ port: 'b', octets: new Uint8Array(Buffer.from(`${'ffffffffffff'}${X}88b5${'00'.repeat(46)}`, 'hex')) });
  return { near, far };
}

function carry(
  near: TestSwitch,
  far: TestSwitch,
  form: OverlayForm,
  sent: readonly Received[],
  arrival: Arrival,
): Sent[] {
  const arriving = arrivingOf(form, near.run(...sent), arrival);
  const got: Sent[] = [];
  for (let at = 0; at < arriving.length; at += BATCH_SIZE) got.push(...far.run(...arriving.slice(at, at + BATCH_SIZE)));
  return got;
}

interface Train {
  readonly isIpv4?: boolean;
  readonly isUdp?: boolean;
  readonly flow?: number;
  readonly flags?: number;
  readonly payloadSize: number;
  readonly size: number;
}

/** Flows differ in the last octet of the destination. */
function train({ isIpv4 = true, isUdp = false, flow = 1, flags = 0x18, payloadSize, size }: Train): SuperFrame {
  const recipe = { isIpv4, isUdp, tags: 0, options: 0, tcpOptions: 3, flags, id: 65_500, sequence: 2 ** 32 - 500 };
  const built = buildSuperFrame({ ...recipe, payloadSize, size, seed: payloadSize });
  const { octets, layout } = built;
  octets.set(Buffer.from(X + A, 'hex'));
  if (isIpv4) octets.set([192, 0, 2, 10, 192, 0, 2, flow], 26);
  else octets[53] = flow;
  octets.set([0x10, 0x20, 0x30, 0x40], layout.transport);
  writeNetwork(octets, layout);
  writePartialChecksum(octets, layout);
  return built;
}

function sending({ octets, layout, size }: SuperFrame): Received {
  const gsoType = layout.isUdp ? 5 : layout.isIpv4 ? 1 : 4;
  const offset = layout.isUdp ? 6 : 16;
  const vnet = { flags: 1, gsoType, headerLength: layout.payload, gsoSize: size, start: layout.transport, offset };
  return { port: 'a', octets, vnet };
}

/** What each is on the wire of a station without offloads. */
const cut = (got: readonly Sent[], { layout }: SuperFrame) =>
  got.flatMap(({ octets, gsoSize }) => (gsoSize === 0 ? [octets] : referenceSegments(octets, layout, gsoSize)));

describe.each(overlayForms)('a stream through $name', (form) => {
  for (const takesOffload of [true, false])
    for (const arrival of arrivals)
      test(`that arrives ${arrival} is the same octets, with offloads ${takesOffload ? 'on' : 'off'}`, () => {
        const { near, far } = pair(form, takesOffload);
        for (const built of [
          train({ payloadSize: 5000, size: 1000 }),
          train({ payloadSize: 64_000, size: 1300 }),
          train({ payloadSize: 60_000, size: 100, isIpv4: false }),
          train({ payloadSize: 7001, size: 1000, flags: 0x10 }),
          train({ payloadSize: 3000, size: 1000, isUdp: true }),
        ]) {
          const got = carry(near, far, form, [sending(built)], arrival);
          const expected = referenceSegments(built.octets, built.layout, built.size);
          expect(got.every(({ port }) => port === 'b')).toBe(true);
          expect(difference(cut(got, built), expected)).toBeUndefined();
          if (!takesOffload)
            expect(got.every(({ gsoSize, checksumStart }) => gsoSize + checksumStart === 0)).toBe(true);
        }
        expect([near.drops(), far.drops()]).toEqual([{}, {}]);
        const sent = near.tunnelValue('red', host(form, 1), TUNNEL_TX_FRAMES);
        expect(far.tunnelValue('red', host(form, 1), TUNNEL_RX_FRAMES)).toBe(sent + 1);
      });
});

describe.each(oneOfEachKind)('through $name', (form) => {
  test.each([true, false])(
    'a super-frame that leaves as one message arrives as the super-frame it was (IPv4: %s)',
    (isIpv4) => {
      const { near, far } = pair(form, true);
      let octets = 60;
      for (const payloadSize of [2001, 5000, 48_000, 63_999]) {
        const built = train({ isIpv4, payloadSize, size: 1000 });
        const [got, ...others] = carry(near, far, form, [sending(built)], 'whole');
        expect(others).toEqual([]);
        expect(difference([got.octets], [built.octets])).toBeUndefined();
        expect([got.gsoSize, got.checksumStart]).toEqual([1000, built.layout.transport]);
        octets += referenceSegments(built.octets, built.layout, 1000).reduce((sum, { length }) => sum + length, 0);
      }
      expect(far.value(form.port, RX_FRAMES)).toBe(1 + 4);
      // Octets are counted as they came, each segment with its headers.
      expect(far.value(form.port, RX_BYTES)).toBe(octets);
    },
  );

  test('two flows whose segments alternate are two super-frames', () => {
    const { near, far } = pair(form, true);
    const [one, two] = [1, 2].map((flow) => train({ flow, payloadSize: 20_000, size: 1000 }));
    const datagrams = [one, two].map((built) => arrivingOf(form, near.run(sending(built)), 'single'));
    const mixed = datagrams[0].flatMap((each, index) => [each, datagrams[1][index]]);
    const got = far.run(...mixed);
    expect(
      difference(
        got.map(({ octets }) => octets),
        [one.octets, two.octets],
      ),
    ).toBeUndefined();
  });

  test('a segment that was lost leaves two super-frames, and one that comes late a frame of its own', () => {
    const { near, far } = pair(form, true);
    const built = train({ payloadSize: 10_000, size: 1000, flags: 0x10 });
    const expected = referenceSegments(built.octets, built.layout, 1000);
    const datagrams = arrivingOf(form, near.run(sending(built)), 'single');
    const lost = far.run(...datagrams.filter((_, index) => index !== 4));
    expect(lost).toHaveLength(2);
    expect(
      difference(
        cut(lost, built),
        expected.filter((_, index) => index !== 4),
      ),
    ).toBeUndefined();
    const late = far.run(...datagrams.filter((_, index) => index !== 4), datagrams[4]);
    expect(difference(cut(late, built), [...expected.slice(0, 4), ...expected.slice(5), expected[4]])).toBeUndefined();
  });

  test('a segment whose checksum is wrong arrives as it is, by itself', () => {
    const { near, far } = pair(form, true);
    const built = train({ payloadSize: 5000, size: 1000 });
    const expected = referenceSegments(built.octets, built.layout, 1000);
    const datagrams = arrivingOf(form, near.run(sending(built)), 'single');
    const spoilt = datagrams[2].octets.slice();
    spoilt[spoilt.length - 1] ^= 1;
    expected[2][expected[2].length - 1] ^= 1;
    const got = far.run(...datagrams.map((each, index) => (index === 2 ? { ...each, octets: spoilt } : each)));
    expect(difference(cut(got, built), expected)).toBeUndefined();
    expect(got.map(({ gsoSize }) => gsoSize)).toEqual([1000, 0, 1000]);
  });

  test('a super-frame that is flooded at the far end reaches each port as it can take it', () => {
    const { near, far } = pair(form, true);
    const built = train({ payloadSize: 5000, size: 1000 });
    built.octets.set(Buffer.from('ffffffffffff', 'hex'));
    const toFar = near.run(sending(built)).filter((each) => targets([each], form)[0] === 'remote 1');
    const got = far.run(...arrivingOf(form, toFar, 'whole'));
    const at = (port: string) => got.filter((each) => each.port === port);
    expect(
      difference(
        at('b').map(({ octets }) => octets),
        [built.octets],
      ),
    ).toBeUndefined();
    expect(
      difference(
        at('a').map(({ octets }) => octets),
        referenceSegments(built.octets, built.layout, 1000),
      ),
    ).toBeUndefined();
  });
});

test('frames of two networks are never put together, however alike', () => {
  const networks = { blue: { type: 'vxlan', id: 5011, underlay: 'u0', remotes: [host(vxlanForm, 1)] } } as const;
  const near = overlaySwitch(vxlanForm, { networks, test: { slots: 2048 } });
  teach(near, vxlanForm, 1);
  const built = train({ payloadSize: 4000, size: 1000, flags: 0x10 });
  const datagrams = arrivingOf(vxlanForm, near.run(sending(built)), 'single');
  const devices = { a: { features: ALL_FEATURES }, c: { features: ALL_FEATURES } };
  const ports = { b: { kind: 'tap', network: 'blue' }, c: { kind: 'tap', network: 'blue' } } as const;
  const far = overlaySwitch(vxlanForm, { networks, ports, test: { slots: 2048, devices, counters: farCounters } });
  const inBlue = (each: Received) => {
    const octets = each.octets.slice();
    octets.set([0, 0x13, 0x93], 4);
    return { ...each, octets };
  };
  const got = far.run(datagrams[0], inBlue(datagrams[1]), datagrams[1], inBlue(datagrams[2]));
  const expected = referenceSegments(built.octets, built.layout, 1000);
  expect(
    difference(
      cut(
        got.filter(({ port }) => port === 'a'),
        built,
      ),
      expected.slice(0, 2),
    ),
  ).toBeUndefined();
  expect(
    difference(
      cut(
        got.filter(({ port }) => port === 'c'),
        built,
      ),
      expected.slice(1, 3),
    ),
  ).toBeUndefined();
});

test('any mixture of flows, however its datagrams are bundled, is each flow’s octets in order', () => {
  const flows = fc.array(
    fc.record({
      isIpv4: fc.boolean(),
      isUdp: fc.boolean(),
      flow: fc.integer({ min: 1, max: 12 }),
      flags: fc.constantFrom(0x10, 0x18, 0x11, 0x90, 0x50),
      payloadSize: fc.integer({ min: 200, max: 9000 }),
      size: fc.integer({ min: 90, max: 1300 }),
    }),
    { minLength: 1, maxLength: 6 },
  );
  const machines = oneOfEachKind.map((form) => ({ form, ...pair(form, true) }));
  fc.assert(
    fc.property(flows, fc.nat(2), fc.array(fc.nat(1000), { maxLength: 40 }), (recipes, kind, order) => {
      const { form, near, far } = machines[kind];
      // One train a flow: a second one would not continue the first one's numbers.
      const trains = [
        ...new Map(recipes.map((each) => [`${each.isIpv4}${each.isUdp}${each.flow}`, each])).values(),
      ].map((each) => train({ ...each, size: Math.min(each.size, each.payloadSize - 1) }));
      const waiting = trains.map((built) => arrivingOf(form, near.run(sending(built)), 'single'));
      const mixed: Received[] = [];
      for (let step = 0; waiting.some((queue) => queue.length > 0); step++) {
        const choices = waiting.filter((queue) => queue.length > 0);
        const next = choices[(order[step % (order.length || 1)] ?? 0) % choices.length].shift();
        if (next !== undefined) mixed.push(next);
      }
      const got: Sent[] = [];
      for (let at = 0; at < mixed.length; at += 200) got.push(...far.run(...mixed.slice(at, at + 200)));
      for (const built of trains) {
        const { layout } = built;
        const key = Buffer.from(built.octets).toString(
          'hex',
          layout.network + (layout.isIpv4 ? 12 : 8),
          layout.transport + 4,
        );
        const mine = got.filter(
          ({ octets }) =>
            octets[12] === built.octets[12] &&
            octets[layout.isIpv4 ? 23 : 20] === built.octets[layout.isIpv4 ? 23 : 20] &&
            Buffer.from(octets).toString('hex', layout.network + (layout.isIpv4 ? 12 : 8), layout.transport + 4) ===
              key,
        );
        expect(difference(cut(mine, built), referenceSegments(built.octets, layout, built.size))).toBeUndefined();
      }
    }),
    { numRuns: 150 },
  );
});
