/** The runner and the stages that meet on the way out: who shares a slot, who needs one of their own, and who lets go. */
import { describe, expect, test } from 'vitest';
import {
  DROP_OF_FRAME,
  NOT_LEARNED,
  RX_DROPPED,
  RX_FORWARDED,
  STATION_MOVES,
  TX_BYTES,
  TX_DROPPED,
  TX_FRAMES,
} from '../../src/dataplane/counters.js';
import { dropReasonNumber } from '../../src/dataplane/drop-reason.js';
import { EGRESS_BATCH_SIZE, LOOP_BLOCK_MS } from '../../src/limits.js';
import { difference, referenceSegments, writeTransportChecksum } from '../wire/reference.js';
import { buildSuperFrame, type SuperFrame } from '../wire/super-frame.js';
import { A, ALL_FEATURES, B, BROADCAST, C, frame, summary, TestSwitch, tag, vm } from './test-switch.js';

const networks = { red: { type: 'vlan', id: 10 }, blue: { type: 'vlan', id: 20 } } as const;
const access = vm({ network: 'red' });
const trunk = vm({ trunk: ['red', 'blue'] });
const broadcast = frame({ to: BROADCAST });

function superFrame(tags = 0, payloadSize = 3000): SuperFrame {
  const built = buildSuperFrame({
    isIpv4: true,
    isUdp: false,
    tags,
    options: 0,
    tcpOptions: 3,
    flags: 0x18,
    id: 7,
    sequence: 99,
    payloadSize,
    size: 1000,
    seed: 3,
  });
  built.octets.set(Buffer.from(BROADCAST + A, 'hex'));
  return built;
}

const headerOf = ({ layout, size }: SuperFrame, isTrain: boolean) => ({
  flags: 1,
  gsoType: isTrain ? 1 : 0,
  headerLength: 0,
  gsoSize: isTrain ? size : 0,
  start: layout.transport,
  offset: 16,
});

describe('a flood', () => {
  test('goes to every other port of the network and to no port of another', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access, c: access, d: vm({ network: 'blue' }) } });
    expect(summary(tested.run({ port: 'a', octets: broadcast }))).toEqual(['b untagged', 'c untagged']);
    expect(tested.value('a', RX_FORWARDED)).toBe(1);
  });

  test('shares the received slot among all ports that send the frame as it is', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access, c: access } }, { slots: 1 });
    const sent = tested.run({ port: 'a', octets: broadcast });
    expect(sent.map(({ port, slot }) => [port, slot])).toEqual([
      ['b', 0],
      ['c', 0],
    ]);
  });

  test('makes one clone for neighbours with the same tag, and leaves the original as it is', () => {
    const ports = { a: access, t1: trunk, t2: trunk, b: access, t3: trunk };
    const tested = new TestSwitch({ networks, ports });
    const sent = tested.run({ port: 'a', octets: broadcast });
    expect(summary(sent)).toEqual(['b untagged', 't1 8100:000a', 't2 8100:000a', 't3 8100:000a']);
    const slotOf = (port: string) => sent.find((each) => each.port === port)?.slot;
    expect(slotOf('t1')).toBe(slotOf('t2'));
    expect(slotOf('b')).not.toBe(slotOf('t1'));
  });

  test('drops only the copies for which there is no slot', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, t1: trunk, b: access } }, { slots: 1 });
    expect(summary(tested.run({ port: 'a', octets: broadcast }))).toEqual(['b untagged']);
    expect(tested.drops()).toEqual({ 't1 no_slot of copy': 1 });
  });

  test('to more ports than an egress round holds reaches each of them once', () => {
    const count = EGRESS_BATCH_SIZE + 100;
    const names = Array.from({ length: count }, (_, index) => `p${index}`);
    const ports = Object.fromEntries(names.map((name, index) => [name, index % 3 === 0 ? trunk : access]));
    const tested = new TestSwitch({ networks, ports }, { slots: 2048 });
    const sent = tested.run({ port: 'p1', octets: broadcast });
    expect(sent.map(({ port }) => port).sort()).toEqual(names.filter((name) => name !== 'p1').sort());
    for (const { port, octets } of sent) expect(octets.length).toBe(Number(port.slice(1)) % 3 === 0 ? 64 : 60);
    expect(tested.value('p1', RX_FORWARDED)).toBe(1);
  });

  test('of a whole batch in several rounds keeps every frame apart and in order', () => {
    const ports = Object.fromEntries(
      Array.from({ length: 40 }, (_, index) => [`p${index}`, index % 2 === 0 ? trunk : access]),
    );
    const tested = new TestSwitch({ networks, ports }, { slots: 4096 });
    const batch = Array.from({ length: 200 }, (_, index) => ({
      port: 'p1',
      octets: frame({ to: BROADCAST, size: 46 + index }),
    }));
    const sent = tested.run(...batch);
    const sizes = sent.filter(({ port }) => port === 'p3').map(({ octets }) => octets.length);
    expect(sizes).toEqual(batch.map(({ octets }) => octets.length));
    expect(sent.length).toBe(200 * 39);
  });

  test('passes over ports that are down without counting them, and is a drop when no other is left', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access } }, { devices: { b: 'down' } });
    expect(tested.run({ port: 'a', octets: broadcast })).toEqual([]);
    expect(tested.drops()).toEqual({ 'a no_port': 1 });
  });

  test('between isolated ports is dropped for each of them, and reaches the others', () => {
    const isolated = vm({ network: 'red', isolated: true });
    const tested = new TestSwitch({ networks, ports: { a: isolated, b: isolated, c: access } });
    expect(summary(tested.run({ port: 'a', octets: broadcast }))).toEqual(['c untagged']);
    expect(summary(tested.run({ port: 'c', octets: frame({ to: BROADCAST, from: C }) }))).toEqual([
      'a untagged',
      'b untagged',
    ]);
    expect(tested.drops()).toEqual({ 'b isolated of copy': 1 });
  });
});

describe('a queue', () => {
  test('that is full drops what it refuses, and the frame when it was the only way', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access, c: access } });
    tested.queue('b').room = 1;
    tested.run({ port: 'a', octets: broadcast }, { port: 'a', octets: broadcast });
    expect(tested.drops()).toEqual({ 'b tx_full of copy': 1 });
    expect(tested.value('b', TX_DROPPED)).toBe(1);
    expect(tested.value('a', RX_FORWARDED)).toBe(2);
  });

  test('that reports later holds its slots until then, and the frame ends with its last copy', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access, t: trunk } });
    tested.queue('t').isSlow = true;
    tested.run({ port: 'a', octets: broadcast });
    expect(tested.value('a', RX_FORWARDED)).toBe(0);
    expect(tested.pool.slotCount - tested.pool.available).toBe(2);
    tested.queue('t').complete();
    expect(tested.value('a', RX_FORWARDED)).toBe(1);
    tested.expectConservation();
  });

  test('whose device fails makes the frame a drop for that reason, though it was taken', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access } });
    tested.queue('b').failure = dropReasonNumber.port_down;
    tested.run({ port: 'a', octets: broadcast });
    expect(tested.drops()).toEqual({ 'a port_down': 1, 'b port_down of copy': 1 });
    expect(tested.value('b', TX_FRAMES)).toBe(0);
  });

  test('that is gone while the frame is on its way is a drop of the copy', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access, c: access } });
    tested.run({ port: 'b', octets: frame({ from: B, to: A }) });
    tested.detach('b');
    tested.run({ port: 'a', octets: frame({ to: B }) }, { port: 'a', octets: broadcast });
    expect(tested.drops()).toEqual({ 'a port_down': 1, 'b port_down of copy': 2 });
  });
});

test('a frame from a port that the snapshot does not know yet is dropped, not an error', () => {
  const tested = new TestSwitch({ networks, ports: { a: access, b: access } });
  expect(tested.run({ port: 77, octets: broadcast }, { port: 'a', octets: broadcast })).toHaveLength(1);
  expect(tested.machine.counters.dropValue(77, dropReasonNumber.port_down, DROP_OF_FRAME)).toBe(1);
});

describe('offloads', () => {
  test('stay with the frame where the port takes them, positions moved with the tag', () => {
    const tested = new TestSwitch(
      { networks, ports: { a: access, t: trunk } },
      { devices: { t: { features: ALL_FEATURES } } },
    );
    const built = superFrame();
    const [sent] = tested.run({ port: 'a', octets: built.octets, vnet: headerOf(built, true) });
    expect([sent.octets.length, sent.checksumStart, sent.gsoSize]).toEqual([
      built.octets.length + 4,
      built.layout.transport + 4,
      1000,
    ]);
  });

  test('are done in software where the port takes none: each segment is a frame of its own', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access } });
    const built = superFrame();
    const sent = tested.run({ port: 'a', octets: built.octets, vnet: headerOf(built, true) });
    const expected = referenceSegments(built.octets, built.layout, 1000);
    expect(
      difference(
        sent.map(({ octets }) => octets),
        expected,
      ),
    ).toBeUndefined();
    expect(tested.value('b', TX_FRAMES)).toBe(3);
    expect(tested.value('b', TX_BYTES)).toBe(expected.reduce((sum, each) => sum + each.length, 0));
  });

  test('of one flood are finished for one port and left for another, whichever comes first', () => {
    const devices = { b: { features: ALL_FEATURES }, d: { features: ALL_FEATURES } };
    const tested = new TestSwitch({ networks, ports: { a: access, b: access, c: access, d: access } }, { devices });
    tested.queue('b').isSlow = true;
    const built = superFrame(0, 200);
    const finished = built.octets.slice();
    writeTransportChecksum(finished, built.layout);
    const sent = tested.run({ port: 'a', octets: built.octets, vnet: headerOf(built, false) });
    tested.queue('b').complete();
    sent.push(...tested.sent);
    tested.expectConservation();
    const octetsOf = (port: string) => sent.find((each) => each.port === port)?.octets ?? new Uint8Array();
    expect(
      difference([octetsOf('b'), octetsOf('c'), octetsOf('d')], [built.octets, finished, built.octets]),
    ).toBeUndefined();
  });

  test('count each segment that does not fit, once the first did', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access } });
    const built = superFrame();
    tested.queue('b').room = 1;
    expect(tested.run({ port: 'a', octets: built.octets, vnet: headerOf(built, true) })).toHaveLength(1);
    expect(tested.drops()).toEqual({ 'b tx_full of copy': 2 });
    expect(tested.value('a', RX_FORWARDED)).toBe(1);
  });

  test('of which the first segment does not fit are one copy that failed', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access } });
    const built = superFrame();
    tested.queue('b').room = 0;
    tested.run({ port: 'a', octets: built.octets, vnet: headerOf(built, true) });
    expect(tested.drops()).toEqual({ 'a tx_full': 1, 'b tx_full of copy': 1 });
  });

  test('without a slot for a segment or for a finished copy are no_slot', () => {
    for (const isTrain of [true, false]) {
      const tested = new TestSwitch({ networks, ports: { a: access, b: access } }, { slots: 1 });
      const built = superFrame(0, isTrain ? 3000 : 100);
      tested.run({ port: 'a', octets: built.octets, vnet: headerOf(built, isTrain) });
      expect(tested.drops()).toEqual({ 'a no_slot': 1, 'b no_slot of copy': 1 });
    }
  });
});

describe('the MTU', () => {
  test.each([
    ['1500 octets untagged', [], 1500, true],
    ['1501 octets untagged', [], 1501, false],
    ['1500 octets behind a tag that does not count', [tag(10)], 1500, true],
    ['1500 octets behind two tags that do not count', [tag(10), tag(30)], 1500, true],
    ['1497 octets behind a third tag, which is payload', [tag(10), tag(30), tag(31)], 1497, false],
  ])('of 1500 judges %s', (_, tags, size, passes) => {
    const tested = new TestSwitch({ networks, ports: { a: vm({ trunk: ['red'], native: 'red' }), b: access } });
    expect(tested.run({ port: 'a', octets: frame({ tags, size }) })).toHaveLength(passes ? 1 : 0);
    expect(tested.copiesDropped('b', 'mtu_exceeded')).toBe(passes ? 0 : 1);
  });

  test('of a network caps that of its ports, and only in this network', () => {
    const capped = { red: { type: 'vlan', id: 10, mtu: 1000 }, blue: { type: 'vlan', id: 20 } } as const;
    const tested = new TestSwitch({ networks: capped, ports: { a: trunk, b: trunk } });
    expect(tested.run({ port: 'a', octets: frame({ tags: [tag(10)], size: 1001 }) })).toHaveLength(0);
    expect(tested.run({ port: 'a', octets: frame({ tags: [tag(20)], size: 1001 }) })).toHaveLength(1);
  });

  test('judges a super-frame by its segments', () => {
    for (const [mtu, passes] of [
      [1052, true],
      [1051, false],
    ] as const) {
      const tested = new TestSwitch(
        { networks, ports: { a: access, b: access } },
        { devices: { b: { mtu, features: ALL_FEATURES } } },
      );
      const built = superFrame();
      expect(built.layout.payload - built.layout.network + built.size).toBe(1052);
      expect(tested.run({ port: 'a', octets: built.octets, vnet: headerOf(built, true) })).toHaveLength(passes ? 1 : 0);
    }
  });
});

describe('learning', () => {
  const known = () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access, c: access } });
    tested.run({ port: 'b', octets: frame({ from: B, to: BROADCAST }) });
    return tested;
  };
  const portsOf = (tested: TestSwitch, to: string) =>
    tested.run({ port: 'a', octets: frame({ to }) }).map(({ port }) => port);

  test('sends a frame to where its destination was seen, and nowhere else', () => {
    expect(portsOf(known(), B)).toEqual(['b']);
  });

  test('follows a station that moves, and counts the move', () => {
    const tested = known();
    tested.run({ port: 'c', octets: frame({ from: B, to: BROADCAST }) });
    expect(portsOf(tested, B)).toEqual(['c']);
    expect([tested.value('c', STATION_MOVES), tested.value('b', STATION_MOVES)]).toEqual([1, 0]);
  });

  test('does not move a static station, and counts that as no limit', () => {
    const tested = known();
    tested.fdb.addStatic(tested.network('red'), 0x5254, 2, tested.member('b', 'red'), tested.index('b'));
    tested.run({ port: 'c', octets: frame({ from: B, to: BROADCAST }) });
    expect(portsOf(tested, B)).toEqual(['b']);
    expect([tested.value('c', STATION_MOVES), tested.value('c', NOT_LEARNED)]).toEqual([0, 0]);
  });

  test('forgets a station that was not seen for its age', () => {
    const tested = known();
    tested.now += 300_000;
    expect(portsOf(tested, B)).toEqual(['b']);
    tested.now += 1_000;
    expect(portsOf(tested, B)).toEqual(['b', 'c']);
  });

  test('beyond the limit of the port floods instead, and is counted', () => {
    const tested = new TestSwitch({
      networks,
      ports: { a: access, b: vm({ network: 'red', macLimit: 1 }), c: access },
    });
    for (const from of [B, C]) tested.run({ port: 'b', octets: frame({ from, to: BROADCAST }) });
    expect(portsOf(tested, B)).toEqual(['b']);
    expect(portsOf(tested, C)).toEqual(['b', 'c']);
    expect(tested.value('b', NOT_LEARNED)).toBe(1);
    expect(tested.value('b', RX_DROPPED)).toBe(0);
  });

  test('is left out in a network that does not learn', () => {
    const still = { red: { type: 'local', learning: false } } as const;
    const tested = new TestSwitch({ networks: still, ports: { a: access, b: access, c: access } });
    tested.run({ port: 'b', octets: frame({ from: B, to: BROADCAST }) });
    expect(portsOf(tested, B)).toEqual(['b', 'c']);
  });

  test('finds in the same batch what an earlier frame of it taught', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access, c: access } });
    const sent = tested.run(
      { port: 'b', octets: frame({ from: B, to: BROADCAST }) },
      { port: 'a', octets: frame({ to: B }) },
    );
    expect(summary(sent)).toEqual(['a untagged', 'b untagged', 'c untagged']);
  });
});

describe('a loop', () => {
  const looped = () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access, c: access } });
    for (let move = 0; move < 22; move++) {
      tested.now += 10;
      tested.run({ port: move % 2 === 0 ? 'a' : 'b', octets: frame({ from: C, to: BROADCAST }) });
    }
    return tested;
  };

  test('blocks the port that came later, in both directions, and leaves the first alone', () => {
    const tested = looped();
    expect(tested.run({ port: 'b', octets: frame({ from: B, to: BROADCAST }) })).toEqual([]);
    expect(tested.dropped('b', 'loop')).toBe(1);
    expect(summary(tested.run({ port: 'a', octets: broadcast }))).toEqual(['c untagged']);
    expect(tested.copiesDropped('b', 'loop')).toBeGreaterThan(0);
  });

  test('that a guest makes of a silent station by forging its address blocks the guest', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access, c: access } });
    tested.run({ port: 'a', octets: frame({ from: C, to: BROADCAST }) });
    for (let second = 0; second < 100; second++) {
      tested.now += 1000;
      tested.run({ port: 'b', octets: frame({ from: C, to: BROADCAST }) });
    }
    for (let move = 0; move < 30; move++) {
      tested.now += 10;
      tested.run({ port: move % 2 === 0 ? 'a' : 'b', octets: frame({ from: C, to: BROADCAST }) });
    }
    expect(tested.dropped('b', 'loop')).toBeGreaterThan(0);
    expect(tested.dropped('a', 'loop')).toBe(0);
    expect(summary(tested.run({ port: 'c', octets: frame({ from: B, to: C }) }))).toEqual(['a untagged']);
  });

  test('that a guest makes of a station which has just migrated blocks the guest', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access, c: access } });
    tested.run({ port: 'a', octets: frame({ from: C, to: BROADCAST }) });
    tested.run({ port: 'c', octets: frame({ from: C, to: BROADCAST }) });
    for (let move = 0; move < 30; move++) {
      tested.now += 10;
      tested.run({ port: move % 2 === 0 ? 'b' : 'c', octets: frame({ from: C, to: BROADCAST }) });
    }
    expect(tested.dropped('b', 'loop')).toBeGreaterThan(0);
    expect(tested.dropped('c', 'loop')).toBe(0);
  });

  test('is over for the port after the block', () => {
    const tested = looped();
    tested.now += LOOP_BLOCK_MS;
    expect(summary(tested.run({ port: 'a', octets: broadcast }))).toEqual(['b untagged', 'c untagged']);
  });

  test('is not what 20 moves in a second are', () => {
    const tested = new TestSwitch({ networks, ports: { a: access, b: access } });
    for (let move = 0; move <= 20; move++) {
      tested.now += 40;
      tested.run({ port: move % 2 === 0 ? 'a' : 'b', octets: frame({ from: C, to: BROADCAST }) });
    }
    expect(tested.drops()).toEqual({});
  });
});

describe('storm control', () => {
  test.each([
    ['broadcast', BROADCAST],
    ['multicast', '01005e000001'],
    ['unknownUnicast', C],
  ] as const)('limits %s by its own bucket of 100 ms and lets the rest pass', (kind, to) => {
    const limited = vm({ network: 'red', storm: { [kind]: '50pps' } });
    const tested = new TestSwitch({ networks, ports: { a: limited, b: access } });
    tested.run({ port: 'b', octets: frame({ from: B, to: A }) });
    const burst = Array.from({ length: 8 }, () => ({ port: 'a', octets: frame({ to }) }));
    expect(tested.run(...burst)).toHaveLength(5);
    tested.now += 40;
    expect(tested.run(...burst)).toHaveLength(2);
    expect(tested.dropped('a', 'storm')).toBe(9);
    expect(tested.run({ port: 'a', octets: frame({ to: B }) })).toHaveLength(1);
    const others = [BROADCAST, '01005e000001', C].filter((each) => each !== to);
    expect(tested.run(...others.map((each) => ({ port: 'a', octets: frame({ to: each }) })))).toHaveLength(2);
  });

  test('drops a frame before it teaches', () => {
    const tested = new TestSwitch({
      networks,
      ports: { a: vm({ network: 'red', storm: { broadcast: '10pps' } }), b: access },
    });
    tested.run({ port: 'a', octets: broadcast }, { port: 'a', octets: frame({ from: C, to: BROADCAST }) });
    expect(tested.fdb.learnedByPort(tested.index('a'))).toBe(1);
  });
});
