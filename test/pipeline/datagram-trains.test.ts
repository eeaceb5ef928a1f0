/** Datagrams of one size for one remote that leave in one message: which are joined, in what order, and how all of them end. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TUNNEL_TX_BYTES, TUNNEL_TX_FRAMES, TX_BYTES, TX_DROPPED, TX_FRAMES } from '../../src/dataplane/counters.js';
import { dropReasonNumber } from '../../src/dataplane/drop-reason.js';
import { DATAGRAMS_PER_MESSAGE_MAX } from '../../src/limits.js';
import { host, oneOfEachKind, overlaySwitch, teach, vxlanForm, X } from './overlay.js';
import { A, BROADCAST, frame, type TestSwitch } from './test-switch.js';

const [vxlan, geneve, gre] = oneOfEachKind;

/** UDP over IPv4 from `a` to the station behind remote 1; `mark` is the last octet. */
function packet({ sourcePort = 5000, size = 60, mark = 0, trafficClass = 0 } = {}): Uint8Array {
  const octets = frame({ to: X, from: A, type: 0x0800, size: size - 14 });
  const total = size - 14;
  octets.set([0x45, trafficClass, total >> 8, total & 0xff, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 9, 192, 0, 2, 8], 14);
  octets.set([sourcePort >> 8, sourcePort & 0xff, 0, 9, 0, total - 20, 0, 0], 34);
  octets[octets.length - 1] = mark;
  return octets;
}

function ready(form = vxlanForm, mtu = 1450): TestSwitch {
  const tested = overlaySwitch(form, { network: { mtu } });
  teach(tested, form, 1);
  tested.messages.length = 0;
  return tested;
}

const sendAll = (tested: TestSwitch, packets: readonly Uint8Array[]) =>
  tested.run(...packets.map((octets) => ({ port: 'a', octets })));
const shapes = (tested: TestSwitch) =>
  tested.messages.map(({ segmentSize, datagrams }) => [segmentSize, ...datagrams.map(({ length }) => length)]);

describe('frames of one flow', () => {
  test.each([vxlan, geneve])('of one size leave by $name in one message, whole and in order', (form) => {
    const tested = ready(form);
    const packets = Array.from({ length: 10 }, (_, mark) => packet({ mark }));
    const sent = sendAll(tested, packets);
    expect(shapes(tested)).toEqual([[68, ...new Array(10).fill(68)]]);
    expect(sent.map(({ octets }) => Buffer.from(octets.subarray(8)).toString('hex'))).toEqual(
      packets.map((octets) => Buffer.from(octets).toString('hex')),
    );
    expect(tested.value('u0/' + form.type, TX_FRAMES)).toBe(10);
    expect(tested.value('u0/' + form.type, TX_BYTES)).toBe(680);
    expect(tested.tunnelValue('red', host(form, 1), TUNNEL_TX_FRAMES)).toBe(10);
    expect(tested.tunnelValue('red', host(form, 1), TUNNEL_TX_BYTES)).toBe(680);
    expect(tested.drops()).toEqual({});
  });

  test('leave one by one by GRE, whose packets the kernel does not cut', () => {
    const tested = ready(gre);
    sendAll(tested, [packet(), packet(), packet()]);
    expect(shapes(tested)).toEqual([68, 68, 68].map((length) => [0, length]));
  });

  test('leave one by one where checksums are refused: the kernel makes them for what it cuts', () => {
    for (const checksum of [false, true]) {
      const tested = overlaySwitch(vxlanForm, { underlay: { checksum } });
      teach(tested, vxlanForm, 1);
      tested.messages.length = 0;
      sendAll(tested, [packet(), packet()]);
      expect(tested.messages).toHaveLength(checksum ? 1 : 2);
    }
  });

  test('end a message with a shorter one, and begin another with a longer one', () => {
    const tested = ready();
    sendAll(
      tested,
      [100, 100, 60, 60, 100, 100, 99].map((size) => packet({ size })),
    );
    expect(shapes(tested)).toEqual([
      [108, 108, 108, 68],
      [0, 68],
      [108, 108, 108, 107],
    ]);
  });

  test('are at most as many as the kernel cuts, and as many octets as a datagram may have', () => {
    const tested = ready();
    sendAll(tested, new Array(DATAGRAMS_PER_MESSAGE_MAX + 3).fill(packet()));
    expect(shapes(tested).map((shape) => shape.length - 1)).toEqual([DATAGRAMS_PER_MESSAGE_MAX, 3]);
    tested.messages.length = 0;
    sendAll(tested, new Array(50).fill(frame({ to: X, from: A, size: 1450 })));
    expect(tested.messages.map(({ octets }) => octets.length).every((length) => length <= 65_507)).toBe(true);
    expect(shapes(tested).map((shape) => shape.length - 1)).toEqual([44, 6]);
  });

  test('with another traffic class begin another message', () => {
    const tested = overlaySwitch(vxlanForm, { underlay: { dscp: 'inherit' } });
    teach(tested, vxlanForm, 1);
    tested.messages.length = 0;
    sendAll(
      tested,
      [0, 0, 0xb8, 0xb8, 0].map((trafficClass) => packet({ trafficClass })),
    );
    expect(tested.messages.map(({ trafficClass, datagrams }) => [trafficClass, datagrams.length])).toEqual([
      [0, 2],
      [0xb8, 2],
      [0, 1],
    ]);
  });
});

test('frames of many flows leave by the socket that each would have alone, each flow in its order', () => {
  const flights = fc.array(fc.record({ sourcePort: fc.integer({ min: 1, max: 200 }), size: fc.constantFrom(60, 61) }), {
    minLength: 1,
    maxLength: 100,
  });
  fc.assert(
    fc.property(flights, (list) => {
      const [tested, alone] = [ready(), ready()];
      const packets = list.map((each, index) => packet({ ...each, mark: index }));
      const sent = sendAll(tested, packets);
      for (const [index, octets] of packets.entries()) {
        const [expected] = sendAll(alone, [octets]);
        const own = sent.find((each) => each.octets[each.octets.length - 1] === index);
        expect(own?.message?.sender).toBe(expected?.message?.sender);
        expect(Buffer.from(own?.octets ?? []).equals(expected?.octets ?? new Uint8Array(0))).toBe(true);
      }
      for (const port of new Set(list.map(({ sourcePort }) => sourcePort))) {
        const marks = sent.filter(({ octets }) => octets[8 + 34] * 256 + octets[8 + 35] === port);
        const order = marks.map(({ octets }) => octets[octets.length - 1]);
        expect(order).toEqual([...order].sort((one, other) => (one ?? 0) - (other ?? 0)));
      }
      expect(sent).toHaveLength(list.length);
    }),
    { numRuns: 30 },
  );
});

test('a flood among them leaves by itself, behind what came before it', () => {
  const tested = ready();
  const flood = frame({ to: BROADCAST, from: A });
  sendAll(tested, [packet(), packet(), flood, packet(), packet()]);
  expect(shapes(tested)).toEqual([
    [68, 68, 68],
    [0, 68],
    [0, 68],
    [0, 68],
    [68, 68, 68],
  ]);
});

test('a message that the queue refuses, or that fails, is every one of its frames’ drop', () => {
  for (const isRefused of [true, false]) {
    const tested = ready();
    const queue = tested.underlay('u0/vxlan');
    if (isRefused) queue.room = 0;
    else queue.failure = dropReasonNumber.tunnel_down;
    const reason = isRefused ? 'tx_full' : 'tunnel_down';
    expect(sendAll(tested, new Array(5).fill(packet()))).toEqual([]);
    expect(tested.drops()).toEqual({ [`a ${reason}`]: 5, [`u0/vxlan ${reason} of copy`]: 5 });
    expect(tested.value('u0/vxlan', TX_DROPPED)).toBe(5);
    expect(tested.value('u0/vxlan', TX_FRAMES)).toBe(0);
    expect(tested.tunnelValue('red', host(vxlanForm, 1), TUNNEL_TX_FRAMES)).toBe(isRefused ? 0 : 5);
  }
});

test('the slots of a message come back when it has left, and another message may then have them', () => {
  const tested = ready();
  const queue = tested.underlay('u0/vxlan');
  queue.isSlow = true;
  const free = tested.pool.available;
  sendAll(tested, new Array(7).fill(packet()));
  expect(tested.pool.available).toBe(free - 7);
  queue.complete();
  expect(tested.pool.available).toBe(free);
  queue.isSlow = false;
  sendAll(tested, [packet(), packet()]);
  expect(shapes(tested).map((shape) => shape.length - 1)).toEqual([7, 2]);
  expect(tested.value('u0/vxlan', TX_FRAMES)).toBe(9);
  tested.expectConservation();
});

test('nothing is written behind a frame whose slot somebody else holds, too', () => {
  const tested = ready();
  for (const mark of [1, 2, 3]) tested.receive({ port: 'a', octets: packet({ mark }) });
  const [held, next] = tested.received as unknown as [number, number];
  const { pool } = tested;
  // As the rest of a message does that is still being unpacked from behind its first frame.
  pool.holds[held] = (pool.holds[held] as number) + 1;
  const behind = (pool.offset[held] as number) + (pool.length[held] as number);
  const before = pool.octets.slice(behind, behind + 500);
  expect(next).not.toBe(held);
  tested.runBatch();
  expect(shapes(tested)).toEqual([
    [0, 68],
    [68, 68, 68],
  ]);
  expect(Buffer.compare(pool.octets.subarray(behind, behind + 500), before)).toBe(0);
  tested.machine.letGo(held);
  tested.expectConservation();
});
