/** What is in the datagrams that leave: super-frames cut, checksums completed, classes of traffic, what does not fit. */
import { describe, expect, test } from 'vitest';
import { TUNNEL_TX_BYTES, TUNNEL_TX_FRAMES, TX_FRAMES } from '../../src/dataplane/counters.js';
import { DATAGRAMS_PER_MESSAGE_MAX, MESSAGE_SIZE_MAX, MESSAGES_PER_PORT_MAX } from '../../src/limits.js';
import { referenceSum } from '../kernels/reference.js';
import {
  concatenate,
  difference,
  pseudoHeader,
  referenceSegments,
  writeNetwork,
  writePartialChecksum,
  writeTransportChecksum,
} from '../wire/reference.js';
import { buildSuperFrame, type SuperFrame } from '../wire/super-frame.js';
import {
  arriving,
  datagramsOf,
  host,
  type OverlayForm,
  oneOfEachKind,
  overlayForms,
  overlaySwitch,
  targets,
  teach,
  toX,
  vxlanForm,
  wrap,
  X,
} from './overlay.js';
import { A, ALL_FEATURES, B, BROADCAST, frame, type Received, type TestSwitch, tag, vm } from './test-switch.js';

interface Train {
  readonly isIpv4?: boolean;
  readonly isUdp?: boolean;
  readonly payloadSize?: number;
  readonly size?: number;
  readonly to?: string;
  readonly trafficClass?: number;
}

function superFrame(train: Train = {}): SuperFrame {
  const { isIpv4 = true, isUdp = false, payloadSize = 5000, size = 1000, to = X } = train;
  const recipe = { isIpv4, isUdp, tags: 0, options: 0, tcpOptions: 3, flags: 0x18, id: 65_530, sequence: 99 };
  const built = buildSuperFrame({ ...recipe, payloadSize, size, seed: 3 });
  const { octets, layout } = built;
  octets.set(Buffer.from(to + A, 'hex'));
  // What it is filled with may be group addresses, which nobody answers.
  if (isIpv4) octets.set([192, 0, 2, 10, 192, 0, 2, 20], 26);
  else for (const at of [22, 38]) octets.set([0x20, 0x01, 0x0d, 0xb8], at);
  writeNetwork(octets, layout);
  writePartialChecksum(octets, layout);
  return built;
}

const gsoTypeOf = ({ layout }: SuperFrame) => (layout.isUdp ? 5 : layout.isIpv4 ? 1 : 4);

/** As a guest gives it: a train of segments, or one frame whose checksum is partial. */
function sending(built: SuperFrame, isTrain = true): Received {
  const { layout, size, octets } = built;
  const gso = { gsoType: isTrain ? gsoTypeOf(built) : 0, gsoSize: isTrain ? size : 0 };
  const vnet = {
    flags: 1,
    headerLength: layout.payload,
    start: layout.transport,
    offset: layout.isUdp ? 6 : 16,
    ...gso,
  };
  return { port: 'a', octets, vnet };
}

const segmentsOf = ({ octets, layout, size }: SuperFrame) => referenceSegments(octets, layout, size);

function completed({ octets, layout }: SuperFrame): Uint8Array {
  const whole = octets.slice();
  writeTransportChecksum(whole, layout);
  return whole;
}

function wrapped(form: OverlayForm, frames: readonly Uint8Array[], first = 0): Uint8Array[] {
  return frames.map((octets, index) => wrap(form, octets, { sequence: first + index }));
}

describe.each(overlayForms)('$name', (form) => {
  test.each([
    ['TCP over IPv4', {}],
    ['TCP over IPv6', { isIpv4: false }],
    ['UDP over IPv4', { isUdp: true }],
    ['of the most octets', { payloadSize: 65_000, size: 1300 }],
    ['of many small segments', { payloadSize: 65_000, size: 96 }],
    ['whose last segment is one octet', { payloadSize: 2001 }],
  ] as const)('a super-frame of %s leaves as its segments, each with a header, in whole messages', (_, train) => {
    const tested = overlaySwitch(form, { test: { slots: 2048 } });
    teach(tested, form, 1);
    const built = superFrame(train);
    const expected = wrapped(form, segmentsOf(built));
    const sent = tested.run(sending(built));
    expect(difference(datagramsOf(sent), expected)).toBeUndefined();
    const counts = sent.map(({ message }) => message?.datagrams.length ?? 0);
    const most = Math.min(DATAGRAMS_PER_MESSAGE_MAX, Math.floor(MESSAGE_SIZE_MAX / expected[0].length));
    expect(counts.length).toBe(Math.ceil(expected.length / most));
    for (const { message } of sent) {
      expect(message?.octets.length).toBeLessThanOrEqual(MESSAGE_SIZE_MAX);
      expect(message?.segmentSize).toBe((message?.datagrams.length ?? 0) > 1 ? expected[0].length : 0);
    }
    expect(new Set(sent.map(({ message }) => message?.sender)).size).toBe(1);
    expect(tested.drops()).toEqual({});
    expect(tested.tunnelValue('red', host(form, 1), TUNNEL_TX_FRAMES)).toBe(expected.length);
    const octets = expected.reduce((sum, { length }) => sum + length, 0);
    expect(tested.tunnelValue('red', host(form, 1), TUNNEL_TX_BYTES)).toBe(octets);
  });

  test('sequence numbers go on over frames and super-frames, for each remote by itself', () => {
    const tested = overlaySwitch(form);
    teach(tested, form, 1);
    const built = superFrame();
    const broadcast = frame({ to: BROADCAST });
    const sent = tested.run({ port: 'a', octets: toX() }, sending(built), { port: 'a', octets: toX() });
    const expected = wrapped(form, [toX(), ...segmentsOf(built), toX()]);
    expect(difference(datagramsOf(sent), expected)).toBeUndefined();
    const flood = tested.run({ port: 'a', octets: broadcast });
    for (const [number, sequence] of [
      [1, expected.length],
      [2, 0],
      [3, 0],
    ]) {
      const mine = flood.filter((each) => targets([each], form)[0] === `remote ${number}`);
      expect(difference(datagramsOf(mine), wrapped(form, [broadcast], sequence))).toBeUndefined();
    }
  });

  test('a partial checksum is completed, in the tunnel and for nobody else', () => {
    const devices = { b: { features: ALL_FEATURES } };
    const tested = overlaySwitch(form, { test: { devices } });
    const built = superFrame({ to: BROADCAST, payloadSize: 700 });
    const sent = tested.run(sending(built, false));
    const atB = sent.find(({ port }) => port === 'b');
    expect(atB?.checksumStart).toBe(built.layout.transport);
    expect(atB?.octets).toEqual(built.octets);
    const datagram = wrap(form, completed(built));
    expect(difference(datagramsOf(sent), [datagram, datagram, datagram])).toBeUndefined();
  });

  test('a flood of a super-frame reaches ports that take it whole, others in segments, each remote in datagrams', () => {
    const ports = { c: vm({ network: 'red' }) };
    const tested = overlaySwitch(form, { ports, test: { devices: { b: { features: ALL_FEATURES } } } });
    const built = superFrame({ to: BROADCAST });
    const sent = tested.run(sending(built));
    const at = (port: string) => sent.filter((each) => each.port === port).map(({ octets }) => octets);
    expect(difference(at('b'), [built.octets])).toBeUndefined();
    expect(difference(at('c'), segmentsOf(built))).toBeUndefined();
    for (const number of [1, 2, 3]) {
      const mine = sent.filter((each) => targets([each], form)[0] === `remote ${number}`);
      expect(difference(datagramsOf(mine), wrapped(form, segmentsOf(built)))).toBeUndefined();
    }
    expect(tested.drops()).toEqual({});
  });

  test('the checksums in the tunnel are right: those of RFC 791 and RFC 9293 over what is in the datagram', () => {
    const tested = overlaySwitch(form);
    teach(tested, form, 1);
    const built = superFrame({ isIpv4: !form.isIpv6 });
    const datagrams = datagramsOf(tested.run(sending(built)));
    expect(datagrams).toHaveLength(5);
    for (const datagram of datagrams) {
      const segment = datagram.slice(form.size);
      const pseudo = pseudoHeader(segment, built.layout, segment.length - built.layout.transport);
      const covered = concatenate(pseudo, segment.slice(built.layout.transport));
      expect(referenceSum(covered, 0, covered.length)).toBe(0xffff);
    }
  });
});

describe.each(oneOfEachKind)('of a super-frame through $name', (form) => {
  test('messages that the queue refuses are counted, and the frame where none was taken', () => {
    for (const room of [0, 1]) {
      const tested = overlaySwitch(form);
      teach(tested, form, 1);
      const built = superFrame({ payloadSize: 64_000 });
      tested.underlay(form.port).room = room;
      const sent = tested.run(sending(built));
      expect(sent).toHaveLength(room);
      expect(tested.copiesDropped(form.port, 'tx_full')).toBe(1);
      expect(tested.dropped('a', 'tx_full')).toBe(1 - room);
    }
  });

  test('what finds no slot is counted', () => {
    const tested = overlaySwitch(form, { test: { slots: 2 } });
    teach(tested, form, 1);
    tested.underlay(form.port).isSlow = true;
    tested.run(sending(superFrame({ payloadSize: 64_000 })));
    expect(tested.copiesDropped(form.port, 'no_slot')).toBe(1);
    tested.underlay(form.port).complete();
    tested.expectConservation();
    expect(tested.value(form.port, TX_FRAMES)).toBe(1);
  });

  test('tiny segments of one port take no more sends in a batch than its share, and other ports keep theirs', () => {
    const tested = overlaySwitch(form, { test: { slots: 16_384 } });
    teach(tested, form, 1);
    const tiny = sending(superFrame({ payloadSize: 64_000, size: 48 }));
    const batch = Array.from({ length: 255 }, () => tiny);
    const sent = tested.run(...batch, { port: 'b', octets: frame({ to: X, from: B }) });
    const sends = (datagrams: number) => (form.type === 'gre' ? datagrams : 1);
    const total = sent.slice(0, -1).reduce((sum, { message }) => sum + sends(message!.datagrams.length), 0);
    expect(total).toBeLessThanOrEqual(MESSAGES_PER_PORT_MAX);
    expect(total).toBeGreaterThan(MESSAGES_PER_PORT_MAX - DATAGRAMS_PER_MESSAGE_MAX);
    expect(tested.copiesDropped(form.port, 'tx_full')).toBeGreaterThan(0);
    expect(sent.at(-1)?.message?.datagrams).toHaveLength(1);
    tested.expectConservation();
    // The next batch has its own share.
    expect(tested.run(tiny)).toHaveLength(Math.ceil(64_000 / 48 / DATAGRAMS_PER_MESSAGE_MAX));
  });
});

test('a super-frame whose segments no message of UDP can hold is given to the kernel one by one', () => {
  const tested = overlaySwitch(vxlanForm, { test: { devices: { 'u0/vxlan': { mtu: 65_536 } } } });
  teach(tested, vxlanForm, 1);
  const built = superFrame({ payloadSize: 65_460, size: 65_434 });
  const sent = tested.run(sending(built));
  expect(sent.map(({ octets }) => octets.length)).toEqual([65_434 + 66 + 8, 26 + 66 + 8]);
});

describe('the outer source port', () => {
  test('is the same for all of a flow, and differs from flow to flow', () => {
    const tested = overlaySwitch(vxlanForm);
    teach(tested, vxlanForm, 1);
    const senders = new Set<number>();
    for (let port = 0; port < 1000; port++) {
      const octets = completed(superFrame({ payloadSize: 100 }));
      octets[34] = port >> 8;
      octets[35] = port & 0xff;
      const sent = tested.run({ port: 'a', octets }, { port: 'a', octets });
      const [first, second] = sent.map(({ message }) => message?.sender ?? -1);
      expect(first).toBe(second);
      expect(first).toBeGreaterThanOrEqual(0);
      senders.add(first % 64);
    }
    expect(senders.size).toBe(64);
  });
});

describe('the class of traffic', () => {
  const withClass = (isIpv4: boolean, trafficClass: number) => {
    const octets = completed(superFrame({ isIpv4, payloadSize: 100 }));
    if (isIpv4) octets[15] = trafficClass;
    else octets.set([0x60 | (trafficClass >> 4), (trafficClass & 0xf) << 4], 14);
    return octets;
  };
  const outer = (tested: TestSwitch, octets: Uint8Array) =>
    tested.run({ port: 'a', octets }).map(({ message }) => message?.trafficClass);

  test.each([
    ['0 when nothing is said', {}, (inner: number) => inner & 3],
    ['the configured DSCP', { dscp: 46 }, (inner: number) => (46 << 2) | (inner & 3)],
    ['the inner one when inherited', { dscp: 'inherit' }, (inner: number) => inner],
  ] as const)('outside is %s, with the inner ECN (RFC 6040 4.1)', (_, underlay, expected) => {
    for (const form of overlayForms.filter(({ type }) => type !== 'geneve')) {
      const tested = overlaySwitch(form, { underlay });
      teach(tested, form, 1);
      for (const isIpv4 of [true, false])
        for (const inner of [0, 1, 2, 3, 0xb8, 0xbb, 0xff])
          expect(outer(tested, withClass(isIpv4, inner))).toEqual([expected(inner)]);
      expect(outer(tested, toX())).toEqual([expected(0)]);
    }
  });

  test('of a super-frame is that of its packet', () => {
    const tested = overlaySwitch(vxlanForm, { underlay: { dscp: 'inherit' } });
    teach(tested, vxlanForm, 1);
    const built = superFrame();
    built.octets[15] = 0xba;
    expect(tested.run(sending(built)).map(({ message }) => message?.trafficClass)).toEqual([0xba]);
  });
});

describe('a VLAN tag inside', () => {
  const ports = { q: vm({ tunnel: { network: 'red' } }) };
  const tagged = frame({ to: X, tags: [tag(7, 3)] });

  test('does not enter a tunnel', () => {
    const tested = overlaySwitch(vxlanForm, { ports });
    teach(tested, vxlanForm, 1);
    expect(tested.run({ port: 'q', octets: tagged })).toEqual([]);
    expect(tested.drops()).toEqual({ 'q tunnel_inner_vlan': 1, 'u0/vxlan tunnel_inner_vlan of copy': 1 });
    expect(targets(tested.run({ port: 'q', octets: toX() }), vxlanForm)).toEqual(['remote 1']);
  });

  test('does where the network has innerVlan', () => {
    const tested = overlaySwitch(vxlanForm, { ports, network: { options: { innerVlan: true } } });
    teach(tested, vxlanForm, 1);
    expect(datagramsOf(tested.run({ port: 'q', octets: tagged }))).toEqual([wrap(vxlanForm, tagged)]);
  });

  test('that was the network’s on a trunk is taken off, and put on for a trunk', () => {
    const trunk = vm({ trunk: [{ network: 'red', vlan: 100 }] });
    const tested = overlaySwitch(vxlanForm, { ports: { t: trunk } });
    teach(tested, vxlanForm, 1);
    const sent = tested.run({ port: 't', octets: frame({ to: X, tags: [tag(100, 5)] }) });
    expect(datagramsOf(sent)).toEqual([wrap(vxlanForm, toX())]);
    const back = tested.run(arriving(vxlanForm, 1, frame({ from: X, to: A })));
    expect(back.map(({ port, octets }) => [port, octets])).toEqual([
      ['t', frame({ from: X, to: A, tags: [tag(100)] })],
    ]);
  });
});

describe('what does not fit a tunnel', () => {
  const packet = (size: number, train: Train = {}) => completed(superFrame({ payloadSize: size - 52, ...train }));

  test('is judged by the MTU of the underlay less every header', () => {
    for (const form of overlayForms) {
      const tested = overlaySwitch(form);
      teach(tested, form, 1);
      const fits = 1500 - (form.isIpv6 ? 40 : 20) - (form.type === 'gre' ? 0 : 8) - form.size - 14;
      expect(targets(tested.run({ port: 'a', octets: toX(fits) }), form)).toEqual(['remote 1']);
      expect(tested.run({ port: 'a', octets: toX(fits + 1) })).toEqual([]);
      expect(tested.drops()).toEqual({ 'a mtu_exceeded': 1, [`${form.port} mtu_exceeded of copy`]: 1 });
    }
  });

  test.each([true, false])('is answered with the MTU that would (IPv4: %s)', (isIpv4) => {
    const tested = overlaySwitch(vxlanForm);
    teach(tested, vxlanForm, 1);
    const octets = packet(1500, { isIpv4 });
    const [answer, ...others] = tested.run({ port: 'a', octets });
    expect(others).toEqual([]);
    expect(answer.port).toBe('a');
    const text = Buffer.from(answer.octets).toString('hex');
    expect(text.slice(0, 24)).toBe(A + X);
    const view = new DataView(answer.octets.buffer, answer.octets.byteOffset);
    if (isIpv4) {
      expect([answer.octets[34], answer.octets[35], view.getUint16(40)]).toEqual([3, 4, 1450]);
      expect(answer.octets.slice(26, 30)).toEqual(octets.slice(30, 34));
      expect(answer.octets.slice(30, 34)).toEqual(octets.slice(26, 30));
      expect(referenceSum(answer.octets, 14, 20)).toBe(0xffff);
      expect(referenceSum(answer.octets, 34, answer.octets.length - 34)).toBe(0xffff);
    } else {
      expect([answer.octets[54], answer.octets[55], view.getUint32(58)]).toEqual([2, 0, 1450]);
      expect(answer.octets.slice(22, 38)).toEqual(octets.slice(38, 54));
    }
    expect(tested.drops()).toEqual({ 'a mtu_exceeded': 1, 'u0/vxlan mtu_exceeded of copy': 1 });
  });

  test('is answered for a super-frame with too large segments, and not for one that fits', () => {
    const tested = overlaySwitch(vxlanForm);
    teach(tested, vxlanForm, 1);
    expect(targets(tested.run(sending(superFrame({ size: 1399 }))), vxlanForm)).toEqual(['a']);
    expect(targets(tested.run(sending(superFrame({ size: 1398 }))), vxlanForm)).toEqual(['remote 1']);
  });

  test('is answered once when it is flooded to ports and several remotes', () => {
    const tested = overlaySwitch(vxlanForm);
    const sent = tested.run({ port: 'a', octets: packet(1500) });
    expect(targets(sent, vxlanForm)).toEqual(['a']);
    expect(tested.drops()).toEqual({
      'a mtu_exceeded': 1,
      'b mtu_exceeded of copy': 1,
      'u0/vxlan mtu_exceeded of copy': 3,
    });
  });

  test('is answered on a trunk with the tag, and at an isolated port', () => {
    const tested = overlaySwitch(vxlanForm, {
      ports: { t: vm({ trunk: [{ network: 'red', vlan: 100 }] }), i: vm({ network: 'red', isolated: true }) },
    });
    teach(tested, vxlanForm, 1);
    const octets = packet(1500);
    const tagged = concatenate(octets.slice(0, 12), Uint8Array.of(0x81, 0, 0, 100), octets.slice(12));
    const [answer] = tested.run({ port: 't', octets: tagged });
    expect(answer.port).toBe('t');
    expect(Buffer.from(answer.octets).toString('hex', 0, 18)).toBe(`${A + X}810000640800`);
    expect(targets(tested.run({ port: 'i', octets }), vxlanForm)).toEqual(['i']);
  });

  test('is answered for a port of this host, too, where only the network is smaller than the port', () => {
    const tested = overlaySwitch(vxlanForm);
    tested.run({ port: 'b', octets: frame({ from: X, to: BROADCAST }) });
    expect(targets(tested.run({ port: 'a', octets: packet(1451) }), vxlanForm)).toEqual(['a']);
    expect(targets(tested.run({ port: 'a', octets: packet(1450) }), vxlanForm)).toEqual(['b']);
    expect(tested.drops()).toEqual({ 'a mtu_exceeded': 1, 'b mtu_exceeded of copy': 1 });
  });

  test('is held to what the way to each remote lets pass, and answered with that; other remotes and ports are not', () => {
    const tested = overlaySwitch(vxlanForm);
    tested.tunnels.setMtu(tested.tunnel('red', host(vxlanForm, 2)), 1350);
    expect(targets(tested.run({ port: 'a', octets: packet(1350) }), vxlanForm)).toHaveLength(4);
    const flooded = tested.run({ port: 'a', octets: packet(1351) });
    expect(targets(flooded, vxlanForm)).toEqual(['a', 'b', 'remote 1', 'remote 3']);
    const answer = flooded.find(({ port }) => port === 'a')!.octets;
    expect([answer[34], answer[35], (answer[40] << 8) | answer[41]]).toEqual([3, 4, 1350]);
    expect(tested.drops()).toEqual({ 'u0/vxlan mtu_exceeded of copy': 1 });
    teach(tested, vxlanForm, 2);
    const [known, ...others] = tested.run({ port: 'a', octets: packet(1450) });
    expect(others).toEqual([]);
    expect([known.port, (known.octets[40] << 8) | known.octets[41]]).toEqual(['a', 1350]);
    // Segments count, not the super-frame.
    expect(targets(tested.run(sending(superFrame({ size: 1299 }))), vxlanForm)).toEqual(['a']);
    expect(targets(tested.run(sending(superFrame({ size: 1298 }))), vxlanForm)).toEqual(['remote 2']);
    tested.run({ port: 'b', octets: frame({ from: X, to: BROADCAST }) });
    expect(targets(tested.run({ port: 'a', octets: packet(1450) }), vxlanForm)).toEqual(['b']);
  });

  test('of a connection is clamped to what the way to each remote lets pass, also in a flood', () => {
    const tested = overlaySwitch(vxlanForm, { network: { mssClamp: true } });
    for (const [number, mtu] of [
      [1, 1350],
      [3, 1300],
    ] as const)
      tested.tunnels.setMtu(tested.tunnel('red', host(vxlanForm, number)), mtu);
    const head = `${X}${A}0800` + '4500002c0000400040060000' + 'c0000201c0000202';
    const tcp = '04d2005000000001' + '00000000' + '6002ffff00000000' + '020405b4';
    const octets = new Uint8Array(60);
    octets.set(Buffer.from(head + tcp, 'hex'));
    const sent = tested.run({ port: 'a', octets });
    const clamped = sent.flatMap((each) =>
      (each.message?.datagrams ?? []).map((datagram) => [
        targets([each], vxlanForm)[0],
        (datagram[8 + 56] << 8) | datagram[8 + 57],
      ]),
    );
    expect(clamped).toEqual([
      ['remote 1', 1310],
      ['remote 2', 1410],
      ['remote 3', 1260],
    ]);
  });

  test('is answered through the tunnel, where the far end took the network’s MTU for more', () => {
    const tested = overlaySwitch(vxlanForm);
    const octets = packet(1480, { to: A });
    octets.set(Buffer.from(X, 'hex'), 6);
    const [answer, ...others] = tested.run(arriving(vxlanForm, 2, octets));
    expect(others).toEqual([]);
    expect(targets([answer], vxlanForm)).toEqual(['remote 2']);
    const inner = datagramsOf([answer])[0].slice(8);
    expect([inner[34], inner[35], (inner[40] << 8) | inner[41]]).toEqual([3, 4, 1450]);
  });

  test('is answered no more often than the limit says', () => {
    const tested = overlaySwitch(vxlanForm, { settings: { limits: { icmpErrors: '50pps' } } });
    teach(tested, vxlanForm, 1);
    const burst = Array.from({ length: 20 }, () => ({ port: 'a', octets: packet(1500) }));
    expect(tested.run(...burst)).toHaveLength(5);
    tested.now += 40;
    expect(tested.run(...burst)).toHaveLength(2);
    // Another port has a limit of its own.
    expect(tested.run({ port: 'b', octets: packet(1500) })).toHaveLength(1);
    expect(tested.copiesDropped('u0/vxlan', 'mtu_exceeded')).toBe(41);
  });

  test('is not answered where no slot is left, and dropped all the same', () => {
    const tested = overlaySwitch(vxlanForm, { test: { slots: 1 } });
    teach(tested, vxlanForm, 1);
    expect(tested.run({ port: 'a', octets: packet(1500) })).toEqual([]);
    expect(tested.drops()).toEqual({ 'a mtu_exceeded': 1, 'u0/vxlan mtu_exceeded of copy': 1 });
  });

  test('is not answered when it came to a port of this host that is too small: there the link has an MTU of its own', () => {
    const tested = overlaySwitch(vxlanForm, { test: { devices: { b: { mtu: 1000 } } } });
    tested.run({ port: 'b', octets: frame({ from: X, to: BROADCAST }) });
    expect(tested.run({ port: 'a', octets: packet(1400) })).toEqual([]);
    expect(tested.drops()).toEqual({ 'a mtu_exceeded': 1, 'b mtu_exceeded of copy': 1 });
  });
});
