/** Whatever arrives gets a verdict and is accounted for; what goes round ends. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NOT_LEARNED, RX_DROPPED, RX_FRAMES, STATION_MOVES } from '../../src/dataplane/counters.js';
import { BATCH_SIZE } from '../../src/limits.js';
import { parseIp } from '../../src/wire/address.js';
import { buildIp, buildUdp } from '../../src/wire/frame-build.js';
import { referenceSegments } from '../wire/reference.js';
import { buildSuperFrame } from '../wire/super-frame.js';
import {
  arriving,
  bundle,
  datagramsOf,
  fromX,
  host,
  local,
  type OverlayForm,
  oneOfEachKind,
  overlayForms,
  overlaySwitch,
  targets,
  teach,
  vxlanForm,
  wrap,
  X,
} from './overlay.js';
import {
  A,
  ALL_FEATURES,
  addressWords,
  B,
  BROADCAST,
  frame,
  type Received,
  type TestSwitch,
  vm,
} from './test-switch.js';
import { outerFrame } from './underlay-path.js';

function segments(isIpv4: boolean): Uint8Array[] {
  const recipe = { isIpv4, isUdp: false, tags: 0, options: 0, tcpOptions: 3, flags: 0x10, id: 1, sequence: 7 };
  const { octets, layout } = buildSuperFrame({ ...recipe, payloadSize: 300, size: 100, seed: 1 });
  octets.set(Buffer.from(B + X, 'hex'));
  return referenceSegments(octets, layout, 100);
}

/** Frames of every sort that the far end may send. */
const innerFrames = [...segments(true), ...segments(false), fromX(), frame({ from: X, to: BROADCAST })];

describe.each(overlayForms)('$name', (form) => {
  test('every truncation of a datagram, alone or in a bundle, is a frame or one drop', () => {
    const tested = overlaySwitch(form, { test: { devices: { b: { features: ALL_FEATURES } } } });
    let received = 0;
    for (const inner of innerFrames) {
      const whole = wrap(form, inner);
      for (let length = 0; length <= whole.length; length++) {
        const cut = whole.slice(0, length);
        tested.run({ ...arriving(form, 1, inner), octets: cut, trafficClass: length & 3 });
        received++;
        if (length === 0) continue;
        tested.run(bundle(form, 2, [whole, whole, cut]));
        tested.run(bundle(form, 2, [cut, cut, cut.slice(0, length >> 1)]));
      }
    }
    expect(tested.value(form.port, RX_FRAMES)).toBeGreaterThan(received);
    expect(Object.keys(tested.drops()).every((key) => key.startsWith(form.port))).toBe(true);
  });
});

/** Noise, valid headers with some octets changed, and valid datagrams, in bundles of any size. */
const hostileDatagrams = fc.record({
  form: fc.nat(overlayForms.length - 1),
  inner: fc.nat(innerFrames.length),
  noise: fc.uint8Array({ maxLength: 400 }),
  changes: fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 4 }),
  copies: fc.integer({ min: 1, max: 20 }),
  datagramSize: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 500 }), fc.constantFrom(1, 65_535, 0x7fff_ffff)),
  trafficClass: fc.integer({ min: -1, max: 255 }),
  from: fc.nat(4),
});

/** ICMP type 3 code 4, or ICMPv6 type 2. */
function isTooBig(octets: Uint8Array): boolean {
  if (octets[12] === 8) return octets[23] === 1 && octets[34] === 3 && octets[35] === 4;
  return octets[12] === 0x86 && octets[20] === 58 && octets[54] === 2;
}

test('random datagrams get a verdict, throw nothing, and are accounted for', () => {
  const machines = new Map<OverlayForm, TestSwitch>();
  fc.assert(
    fc.property(fc.array(hostileDatagrams, { minLength: 1, maxLength: 8 }), (datagrams) => {
      const form = overlayForms[datagrams[0].form];
      let tested = machines.get(form);
      if (tested === undefined) {
        tested = overlaySwitch(form, { test: { slots: 1024, devices: { b: { features: ALL_FEATURES } } } });
        machines.set(form, tested);
      }
      const received = datagrams.map(
        ({ inner, noise, changes, copies, datagramSize, trafficClass, from }): Received => {
          const one = inner === innerFrames.length ? noise : wrap(form, innerFrames[inner]).slice();
          for (const [at, value] of changes) if (at < one.length) one[at] = value;
          const octets = new Uint8Array(Buffer.concat(new Array<Uint8Array>(copies).fill(one)));
          const size = datagramSize === 1 ? 1 : datagramSize < 20 ? one.length : datagramSize;
          return { port: form.port, from: host(form, from), octets, datagramSize: size, trafficClass };
        },
      );
      // `run` checks that each frame ended once and each slot came back.
      const own = frame({ to: B });
      const sent = tested.run({ port: 'a', octets: own }, ...received);
      // Nothing that came goes out again; what was too long for the network is answered.
      for (const datagram of datagramsOf(sent)) {
        const leaving = datagram.slice(form.size);
        if (!isTooBig(leaving)) expect(leaving).toEqual(own);
      }
    }),
    { numRuns: 600 },
  );
});

describe.each(oneOfEachKind)('of 100,000 datagrams through $name', (form) => {
  test('from unlisted sources nothing is delivered or learned, and each is counted', { timeout: 120_000 }, () => {
    const tested = overlaySwitch(form, { underlay: { allowFrom: ['192.0.2.64/26'] } });
    const octets = wrap(form, frame({ from: X, to: BROADCAST }));
    let count = 0;
    while (count < 100_000) {
      const batch: Received[] = [];
      for (; batch.length < BATCH_SIZE && count < 100_000; count++) {
        const from = `203.${(count >> 16) & 0xff}.${(count >> 8) & 0xff}.${count & 0xff}`;
        batch.push({ port: form.port, from, octets, trafficClass: 0 });
      }
      expect(tested.run(...batch)).toEqual([]);
    }
    expect(tested.drops()).toEqual({ [`${form.port} tunnel_unknown_source`]: 100_000 });
    expect(tested.value(form.port, RX_DROPPED)).toBe(100_000);
    expect([...tested.tunnels.list()].every(({ isConfigured }) => isConfigured)).toBe(true);
    expect(tested.fdb.learnedByPort(tested.index(form.port))).toBe(0);
  });
});

/**
 * A host whose routes to remotes lead into networks of its own switch: what leaves an underlay port comes back as a frame of
 * the port that the route names. Returns how often that happened.
 */
function goRound(tested: TestSwitch, start: Received, ways: readonly { form: OverlayForm; port: string }[]): number {
  let waiting = [start];
  let rounds = 0;
  while (waiting.length > 0) {
    expect(++rounds).toBeLessThan(20);
    const sent = tested.run(...waiting);
    waiting = sent.flatMap(({ port, message }) => {
      const way = ways.find(({ form }) => form.port === port);
      if (message === undefined || way === undefined) return [];
      return message.datagrams.map((datagram) => ({
        port: way.port,
        octets: outerFrame(way.form, datagram, message.address, `${X}525400000099`),
      }));
    });
  }
  return rounds;
}

describe.each([
  ...oneOfEachKind,
  ...overlayForms.filter(({ isIpv6, options }) => isIpv6 && Object.keys(options).length === 0),
])('a route through itself: $name', (form) => {
  test('ends with the first datagram that comes back, as tunnel_nested', () => {
    for (const to of [X, BROADCAST]) {
      const tested = overlaySwitch(form, { ports: { h: vm({ network: 'red' }) } });
      teach(tested, form, 1);
      const rounds = goRound(tested, { port: 'a', octets: frame({ to }) }, [{ form, port: 'h' }]);
      expect(rounds).toBe(2);
      const count = to === X ? 1 : 3;
      // To X, which is behind a remote, nothing can leave; the flood's datagrams are unicast to X, too.
      expect(tested.drops()).toEqual({
        'h tunnel_nested': count,
        [`${form.port} tunnel_nested of copy`]: count,
      });
    }
  });

  test('a datagram in a datagram to or from this host is tunnel_nested, and not delivered', () => {
    const tested = overlaySwitch(form);
    const inner = wrap(form, fromX());
    const own = [...addressWords(local(form))];
    const toSelf = outerFrame(form, inner, own, `${B}${X}`);
    const fromSelf = outerFrame(form, inner, [...addressWords(host(form, 1))], `${B}${X}`);
    expect(tested.run(arriving(form, 1, toSelf), arriving(form, 1, fromSelf))).toEqual([]);
    expect(tested.drops()).toEqual({ [`${form.port} tunnel_nested`]: 2 });
  });

  test('a guest’s own tunnels between other addresses pass, both ways', () => {
    const tested = overlaySwitch(form);
    teach(tested, form, 1);
    const guest = outerFrame(
      { ...form, isIpv6: form.isIpv6 },
      wrap(form, fromX()),
      [...addressWords(host(form, 2))],
      X + A,
    );
    // The address it is from, which is the underlay's own, becomes another.
    const at = form.isIpv6 ? 37 : 29;
    guest[at] ^= 0x40;
    if (!form.isIpv6) guest[24] ^= 0;
    const sent = tested.run({ port: 'a', octets: guest });
    expect(targets(sent, form)).toEqual(['remote 1']);
    expect(datagramsOf(sent)[0].slice(form.size)).toEqual(guest);
    const back = guest.slice();
    back.set(Buffer.from(B + X, 'hex'));
    expect(targets(tested.run(arriving(form, 1, back)), form)).toEqual(['a', 'b']);
    expect(tested.drops()).toEqual({});
  });
});

test('two underlays whose routes lead through each other’s networks end, too', () => {
  const keyed = oneOfEachKind[2];
  const tested = overlaySwitch(vxlanForm, {
    networks: { green: { type: 'gre', id: keyed.id ?? 0, underlay: 'u0', remotes: [host(keyed, 1)] } },
    ports: { h: vm({ network: 'red' }), g: vm({ network: 'green' }), k: vm({ network: 'green' }) },
  });
  const ways = [
    { form: vxlanForm, port: 'k' },
    { form: keyed, port: 'h' },
  ];
  expect(goRound(tested, { port: 'a', octets: frame({ to: BROADCAST }) }, ways)).toBe(2);
  expect(goRound(tested, { port: 'g', octets: frame({ to: BROADCAST }) }, ways)).toBe(2);
  expect(tested.copiesDropped('u0/gre', 'tunnel_nested')).toBe(3);
  expect(tested.copiesDropped('u0/vxlan', 'tunnel_nested')).toBeGreaterThan(0);
});

/** A broadcast frame with UDP in it. */
function udpFrame(from: string, to: string, port: number): Uint8Array {
  const [source, destination] = [parseIp(from)!, parseIp(to)!];
  const packet = buildIp({ source, destination, protocol: 17, ttl: 255 }, buildUdp(50_000, port, 24));
  const octets = frame({ to: BROADCAST, from: B, type: source.length === 4 ? 0x0800 : 0x86dd, size: packet.length });
  octets.set(packet, 14);
  return octets;
}

describe.each(oneOfEachKind)('a machine that poses as a remote: $name', (form) => {
  test('towards the underlay’s own address is tunnel_nested at once, whatever network it is in', () => {
    const tested = overlaySwitch(form, {
      networks: { plain: { type: 'local' } },
      ports: { p: vm({ network: 'plain' }), q: vm({ network: 'plain' }) },
    });
    const own = [...addressWords(local(form))];
    const forged = outerFrame(form, wrap(form, fromX()), own, `${B}${X}`);
    expect(tested.run({ port: 'p', octets: forged })).toEqual([]);
    expect(tested.drops()).toEqual({ 'p tunnel_nested': 1 });
  });

  test('cannot forge BFD to the underlay’s address, and may speak it with others', () => {
    const tested = overlaySwitch(form, {
      networks: { plain: { type: 'local' } },
      ports: { p: vm({ network: 'plain' }), q: vm({ network: 'plain' }) },
    });
    const other = form.isIpv6 ? '2001:db8:5::9' : '192.0.2.199';
    for (const port of [3784, 4784]) {
      expect(tested.run({ port: 'p', octets: udpFrame(other, local(form), port) })).toEqual([]);
      expect(
        tested.run({ port: 'p', octets: udpFrame(other, form.isIpv6 ? '2001:db8:5::7' : '192.0.2.197', port) }),
      ).toHaveLength(1);
    }
    expect(tested.drops()).toEqual({ 'p tunnel_nested': 2 });
  });

  test('by stations that move to it takes over no more than a few at a time', () => {
    const tested = overlaySwitch(form);
    teach(tested, form, 1);
    const victim = frame({ from: A, to: B });
    for (let round = 0; round < 200; round++) tested.run({ port: 'a', octets: victim }, arriving(form, 1, victim));
    expect(tested.value(form.port, STATION_MOVES)).toBeGreaterThan(0);
    expect(tested.value(form.port, STATION_MOVES)).toBeLessThanOrEqual(25);
    expect(tested.value(form.port, NOT_LEARNED)).toBeGreaterThanOrEqual(175);
  });
});
