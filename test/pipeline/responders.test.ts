import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RX_CONSUMED, TX_FRAMES, TX_GENERATED } from '../../src/dataplane/counters.js';
import { MAC_AGE_DEFAULT_S, NEIGHBORS_PER_UNDERLAY } from '../../src/limits.js';
import { CONSUMED } from '../../src/pipeline/machine.js';
import { PORT_CLOSED } from '../../src/pipeline/snapshot.js';
import { responders } from '../../src/pipeline/stages/responders.js';
import { anyNetwork } from '../../src/pipeline/tunnel-table.js';
import { ipWordsText, macText, macWordsText } from '../../src/wire/address.js';
import {
  advertisement,
  arpFrame,
  icmp6Sum,
  ip,
  linkLayer,
  mac,
  type NdRecipe,
  ndFrame,
} from '../wire/neighbor-frames.js';
import { concatenate } from '../wire/reference.js';
import { frame, type Received, type Sent, type TestDocument, TestSwitch, vm } from './test-switch.js';

const A = '52:54:00:00:00:0a';
const B = '52:54:00:00:00:0b';
const C = '52:54:00:00:00:0c';
const A4 = '192.0.2.1';
const B4 = '192.0.2.2';
const A6 = '2001:db8::a';
const B6 = '2001:db8::b';
const RX_TX = [RX_CONSUMED, TX_GENERATED, TX_FRAMES];

function threePorts(changes: Partial<TestDocument> = {}): TestDocument {
  const ports = { a: vm({ network: 'red' }), b: vm({ network: 'red' }), c: vm({ network: 'red' }) };
  return { networks: { red: { type: 'local', arpSuppression: true } }, ports, ...changes };
}

const askA = arpFrame({ from: A, sender: A4, target: B4 });
const announceB = arpFrame({ from: B, sender: B4, target: B4 });
const solicitA: NdRecipe = { from: A, source: A6, target: B6 };
const advertiseB = advertisement({ from: B, source: B6 });

/** Where copies went, as one word; `answer` when it is the switch's own. */
function ports(sent: readonly Sent[]): string {
  return sent
    .map(({ port }) => port)
    .sort()
    .join(' ');
}

/** A switch that has heard `b` say where its addresses are. */
function warm(document: TestDocument = threePorts()): TestSwitch {
  const tested = new TestSwitch(document);
  tested.run({ port: 'b', octets: announceB }, { port: 'b', octets: advertiseB });
  return tested;
}

/** What the switch answered the frame with; undefined: it was treated as any other. */
function answerTo(tested: TestSwitch, octets: Uint8Array, port = 'a'): Uint8Array | undefined {
  const before = tested.value(port, RX_CONSUMED);
  const sent = tested.run({ port, octets });
  if (tested.value(port, RX_CONSUMED) === before) return undefined;
  expect(ports(sent)).toBe(port);
  return sent[0]?.octets;
}

/** The bindings, as `address mac`, with what is special about them. */
function known(tested: TestSwitch): string[] {
  const { machine, snapshot, neighbors } = tested;
  const list = [...neighbors.list(Math.max(machine.nowSeconds, 1), snapshot.networkMacAge)];
  return list.map(({ address, macHigh, macLow }) => `${ipWordsText(address)} ${macWordsText(macHigh, macLow)}`).sort();
}

describe('a question for a known address', () => {
  test('is answered by the switch, and reaches nobody', () => {
    const tested = warm();
    const answer = answerTo(tested, askA);
    const expected = arpFrame({ from: B, to: A, operation: 2, sender: B4, targetMac: A, target: A4 });
    expect(Buffer.from(answer ?? [])).toEqual(Buffer.from(expected));
    expect(RX_TX.map((field) => tested.value('a', field))).toEqual([1, 1, 3]);
    expect(tested.drops()).toEqual({});
  });

  test('is answered in neighbour discovery, too', () => {
    const tested = warm();
    const answer = answerTo(tested, ndFrame(solicitA));
    const expected = advertisement({ from: B, to: A, source: B6, destination: A6, flags: 0x60 });
    expect(Buffer.from(answer ?? [])).toEqual(Buffer.from(expected));
  });

  test('tells that a router is one', () => {
    const tested = new TestSwitch(threePorts());
    tested.run({ port: 'b', octets: advertisement({ from: B, source: B6, flags: 0xa0 }) });
    const answer = answerTo(tested, ndFrame(solicitA)) ?? new Uint8Array(90);
    expect([answer[54], answer[58]]).toEqual([136, 0xe0]);
  });

  test('is answered with the tag and priority it came with', () => {
    const trunk: TestDocument['ports'][string] = { kind: 'netdev', trunk: [{ network: 'red', vlan: 7 }] };
    const tested = warm(threePorts({ ports: { a: trunk, b: vm({ network: 'red' }), c: vm({ network: 'red' }) } }));
    const tagged = concatenate(askA.slice(0, 12), Uint8Array.of(0x81, 0, 0xa0, 7), askA.slice(12));
    const answer = answerTo(tested, tagged) ?? new Uint8Array(18);
    expect([...answer.slice(12, 18)]).toEqual([0x81, 0, 0xa0, 7, 8, 6]);
    expect(macText(answer, 6)).toBe(B);
  });

  test('is answered to an isolated port for one that is not isolated', () => {
    const isolated = { a: vm({ network: 'red', isolated: true }), b: vm({ network: 'red' }) };
    expect(answerTo(warm(threePorts({ ports: isolated })), askA)).toBeDefined();
  });

  test('in the batch in which the address was told is answered', () => {
    const tested = new TestSwitch(threePorts());
    tested.run({ port: 'b', octets: announceB }, { port: 'a', octets: askA });
    expect(tested.value('a', RX_CONSUMED)).toBe(1);
  });
});

test('what the stage did is said in a sentence', () => {
  const names = { port: String, network: () => 'red', remote: String, rule: String };
  const explain = (tested: TestSwitch, reason: number) =>
    responders.explain(tested.machine, tested.pool.reason.lastIndexOf(reason), names);
  const tested = warm();
  tested.run({ port: 'a', octets: askA });
  expect(explain(tested, CONSUMED)).toBe(`answered: the address is at ${B}`);
  const other = warm();
  other.run({ port: 'a', octets: frame() });
  expect(explain(other, 0)).toBe('not a question that the switch has an answer to');
  const plain = warm(threePorts({ networks: { red: { type: 'local' } } }));
  expect(explain(plain, 0)).toBe('red has no ARP and ND suppression');
});

describe('a question is flooded as ever', () => {
  const flooded = (tested: TestSwitch, octets: Uint8Array, port = 'a') => {
    const sent = tested.run({ port, octets });
    expect(tested.value(port, RX_CONSUMED)).toBe(0);
    expect(tested.value(port, TX_GENERATED)).toBe(0);
    for (const copy of sent) expect(Buffer.compare(copy.octets, octets)).toBe(0);
    return ports(sent);
  };

  test('in a network that does not suppress', () => {
    const plain = { red: { type: 'local' }, blue: { type: 'local', arpSuppression: true } } as const;
    const tested = warm(threePorts({ networks: plain }));
    expect(known(tested)).toEqual([]);
    expect(flooded(tested, askA)).toBe('b c');
    expect(flooded(tested, ndFrame(solicitA))).toBe('b c');
  });

  test('when the address is not known', () => {
    const tested = new TestSwitch(threePorts());
    expect(flooded(tested, askA)).toBe('b c');
    expect(flooded(tested, ndFrame(solicitA))).toBe('b c');
  });

  test('when the FDB does not know the MAC any more: a dead host is not vouched for', () => {
    const tested = warm();
    tested.fdb.flush({ port: tested.index('b') });
    expect(flooded(tested, askA)).toBe('b c');
    expect(flooded(tested, ndFrame(solicitA))).toBe('b c');
  });

  test('when the binding has expired, though the station is alive', () => {
    const tested = warm();
    tested.now += (MAC_AGE_DEFAULT_S + 1) * 1000;
    tested.run({ port: 'b', octets: frame({ from: B.replaceAll(':', '') }) });
    expect(flooded(tested, askA)).toBe('b c');
  });

  test("when the MAC is behind the asker's own port", () => {
    expect(flooded(warm(), askA, 'b')).toBe('a c');
  });

  test('when the MAC is behind a port that is blocked for a loop', () => {
    const tested = warm();
    for (let move = 0; move < 50; move++)
      tested.machine.loops.noteMove(1, 2, tested.index('c'), tested.index('b'), tested.now);
    tested.machine.loops.nowMs = tested.now;
    expect(tested.machine.loops.isBlockedNow(tested.index('b'))).toBe(true);
    tested.run({ port: 'a', octets: askA });
    expect(tested.value('a', RX_CONSUMED)).toBe(0);
  });

  test('when the MAC is behind a port that is down', () => {
    const tested = warm();
    tested.snapshot.portMode[tested.index('b')] = PORT_CLOSED;
    tested.run({ port: 'a', octets: askA });
    expect(tested.value('a', RX_CONSUMED)).toBe(0);
  });

  test('when both ports are isolated', () => {
    const isolated = vm({ network: 'red', isolated: true });
    const tested = warm(threePorts({ ports: { a: isolated, b: isolated, c: vm({ network: 'red' }) } }));
    expect(flooded(tested, askA)).toBe('c');
  });

  test("when it is a probe for a duplicate, or asks for the asker's own address", () => {
    const tested = warm();
    expect(flooded(tested, arpFrame({ from: A, sender: '0.0.0.0', target: B4 }))).toBe('b c');
    const probe = { ...solicitA, source: '::', options: new Uint8Array(0) };
    expect(flooded(tested, ndFrame(probe))).toBe('b c');
    expect(flooded(tested, arpFrame({ from: A, sender: B4, target: B4 }))).toBe('b c');
    expect(flooded(tested, ndFrame({ ...solicitA, source: B6 }))).toBe('b c');
  });

  test("when it is no message that a host would take, or not the sender's own", () => {
    const tested = warm();
    const odd = [
      ndFrame({ ...solicitA, hopLimit: 64 }),
      ndFrame({ ...solicitA, checksumError: 1 }),
      ndFrame({ ...solicitA, options: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0) }),
      ndFrame({ ...solicitA, options: Uint8Array.of(1, 9, 0, 0, 0, 0, 0, 0) }),
      ndFrame({ ...solicitA, options: new Uint8Array(0) }),
      ndFrame({ ...solicitA, options: linkLayer(1, C) }),
      arpFrame({ from: A, senderMac: C, sender: A4, target: B4 }),
      arpFrame({ from: A, sender: A4, target: B4, operation: 3 }),
      askA.slice(0, 41),
    ];
    for (const octets of odd) expect(flooded(tested, octets)).toBe('b c');
  });

  test('when it has a tag of its own', () => {
    const tested = warm();
    const tunnel = threePorts({
      ports: {
        a: { kind: 'tap', tunnel: { network: 'red' } },
        b: { kind: 'tap', tunnel: { network: 'red' } },
        c: vm({ network: 'red' }),
      },
    });
    expect(answerTo(tested, askA)).toBeDefined();
    const inner = new TestSwitch(tunnel);
    const tagged = (octets: Uint8Array) =>
      concatenate(octets.slice(0, 12), Uint8Array.of(0x81, 0, 0, 5), octets.slice(12));
    inner.run({ port: 'b', octets: tagged(announceB) });
    expect(known(inner)).toEqual([]);
    inner.run({ port: 'b', octets: announceB });
    expect(known(inner)).toEqual([`${B4} ${B}`]);
    expect(flooded(inner, tagged(askA))).toBe('b c');
  });

  test('when two stations claim the address', () => {
    const tested = warm();
    tested.run({ port: 'c', octets: arpFrame({ from: C, sender: B4, target: B4 }) });
    expect(flooded(tested, askA)).toBe('b c');
  });

  test('over the rate of answers, which holds for each port by itself', () => {
    const tested = warm(threePorts({ settings: { limits: { arp: '10pps' } } }));
    expect(answerTo(tested, askA)).toBeDefined();
    expect(ports(tested.run({ port: 'a', octets: askA }))).toBe('b c');
    expect(answerTo(tested, arpFrame({ from: C, sender: '192.0.2.3', target: B4 }), 'c')).toBeDefined();
    tested.now += 100;
    expect(answerTo(tested, askA)).toBeDefined();
  });

  test('where there is no slot for an answer', () => {
    const small = new TestSwitch(threePorts(), { slots: 4 });
    small.run({ port: 'b', octets: announceB });
    const all = Array.from({ length: 4 }, () => ({ port: 'a', octets: askA }));
    expect(ports(small.run(...all))).toBe('b b b b c c c c');
    expect(small.value('a', RX_CONSUMED)).toBe(0);
  });

  test('a unicast one goes to its station, as probes for whether it is alive do', () => {
    const tested = warm();
    const probe = arpFrame({ from: A, to: B, sender: A4, targetMac: B, target: B4 });
    expect(flooded(tested, probe)).toBe('b');
    expect(flooded(tested, ndFrame({ ...solicitA, to: B, destination: B6 }))).toBe('b');
  });
});

describe('bindings are learned', () => {
  const cases: Record<string, [Uint8Array, string[]]> = {
    'from an ARP request': [askA, [`${A4} ${A}`]],
    'from an ARP reply': [
      arpFrame({ from: A, to: B, operation: 2, sender: A4, targetMac: B, target: B4 }),
      [`${A4} ${A}`],
    ],
    'from an announcement': [arpFrame({ from: A, sender: A4, target: A4 }), [`${A4} ${A}`]],
    "from a solicitation's source option": [ndFrame(solicitA), [`${A6} ${A}`]],
    "from an advertisement's target option": [advertisement({ from: A, source: A6 }), [`${A6} ${A}`]],
    'from an advertisement for another of its addresses': [
      advertisement({ from: A, source: 'fe80::a', target: A6 }),
      [`${A6} ${A}`],
    ],
    'not from an advertisement that does not override': [advertisement({ from: A, source: A6, flags: 0 }), []],
    'not from an advertisement without a MAC': [advertisement({ from: A, source: A6, options: new Uint8Array(0) }), []],
    "not from an advertisement with another's MAC": [
      advertisement({ from: A, source: A6, options: linkLayer(2, C) }),
      [],
    ],
    "not from ARP with another's MAC": [arpFrame({ from: A, senderMac: C, sender: A4, target: B4 }), []],
    'not with a group as MAC': [arpFrame({ from: A, senderMac: '01:00:5e:00:00:01', sender: A4, target: B4 }), []],
    'not with no MAC': [arpFrame({ from: A, senderMac: '00:00:00:00:00:00', sender: A4, target: B4 }), []],
    'not for 0.0.0.0': [arpFrame({ from: A, sender: '0.0.0.0', target: B4 }), []],
    'not for 127.0.0.1': [arpFrame({ from: A, sender: '127.0.0.1', target: B4 }), []],
    'not for an IPv4 group': [arpFrame({ from: A, sender: '224.0.0.1', target: B4 }), []],
    'not for 255.255.255.255': [arpFrame({ from: A, sender: '255.255.255.255', target: B4 }), []],
    'not for ::1': [advertisement({ from: A, source: A6, target: '::1' }), []],
    'not for ::': [advertisement({ from: A, source: A6, target: '::' }), []],
    'not for an IPv6 group as source': [ndFrame({ ...solicitA, source: 'ff02::1' }), []],
    'not for an IPv4 address that is said in IPv6': [
      advertisement({ from: A, source: A6, target: '::ffff:192.0.2.2' }),
      [],
    ],
    'not from a checksum that is wrong': [advertisement({ from: A, source: A6, checksumError: 1 }), []],
  };

  test.each(Object.entries(cases))('%s', (_, [octets, expected]) => {
    const tested = new TestSwitch(threePorts());
    tested.run({ port: 'a', octets });
    expect(known(tested)).toEqual(expected);
  });

  test('never from frames that were dropped', () => {
    const tested = new TestSwitch(
      threePorts({
        ports: {
          a: vm({ network: 'red', storm: { broadcast: '10pps', multicast: '10pps' } }),
          b: vm({ network: 'red' }),
        },
      }),
    );
    const claim = (index: number) => arpFrame({ from: A, sender: `192.0.2.${index}`, target: B4 });
    const foreign = concatenate(askA.slice(0, 12), Uint8Array.of(0x81, 0, 0, 5), askA.slice(12));
    tested.run({ port: 'a', octets: claim(1) }, { port: 'a', octets: claim(2) }, { port: 'a', octets: foreign });
    expect(tested.drops()).toEqual({ 'a storm': 1, 'a vlan_not_allowed': 1 });
    expect(known(tested)).toEqual([`192.0.2.1 ${A}`]);
  });

  test('by a port only up to its quota', () => {
    const settings = { neighbors: { perPort: 300 } };
    const tested = new TestSwitch({ ...threePorts(), settings }, { neighborEntries: 4096 });
    for (let index = 0; index < 400; index++) {
      const sender = `198.51.${100 + (index >> 8)}.${index & 255}`;
      tested.now += 1;
      tested.run({ port: 'a', octets: arpFrame({ from: A, sender, target: sender }) });
    }
    expect(tested.neighbors.learnedByPort(tested.index('a'))).toBe(300);
    tested.run({ port: 'b', octets: announceB });
    expect(answerTo(tested, askA)).toBeDefined();
  });

  test('by a port only so many a second, and what it repeats does not count', () => {
    const tested = new TestSwitch(threePorts(), { neighborEntries: 4096 });
    const claims = Array.from({ length: 1030 }, (_, index) => {
      const sender = `198.51.${100 + (index >> 8)}.${index & 255}`;
      return arpFrame({ from: A, sender, target: sender });
    });
    for (const octets of claims.slice(0, 500)) tested.run({ port: 'a', octets });
    for (const octets of claims) tested.run({ port: 'a', octets });
    expect(tested.neighbors.used).toBe(1000);
  });

  test('of neighbour discovery is answered only once an advertisement told whether it is a router', () => {
    const tested = new TestSwitch(threePorts());
    tested.run({ port: 'b', octets: ndFrame({ from: B, source: B6, target: '2001:db8::cc' }) });
    expect(known(tested)).toEqual([`${B6} ${B}`]);
    expect(answerTo(tested, ndFrame(solicitA))).toBeUndefined();
    tested.run({ port: 'b', octets: advertisement({ from: B, to: A, source: B6, destination: A6, flags: 0x60 }) });
    expect(answerTo(tested, ndFrame(solicitA))).toBeDefined();
  });
});

describe('addresses of the configuration', () => {
  const own = (port: object) => ({ ...vm({ network: 'red' }), ...port }) as TestDocument['ports'][string];
  const fixed = threePorts({
    ports: {
      a: vm({ network: 'red' }),
      b: own({ mac: B, addresses: [`${B4}/24`, `${B6}/64`] }),
      c: vm({ network: 'red' }),
    },
  });

  test('are known at once, and answered once the station is alive', () => {
    const tested = new TestSwitch(fixed);
    expect(known(tested)).toEqual([`${B4} ${B}`, `${B6} ${B}`]);
    expect(answerTo(tested, askA)).toBeUndefined();
    tested.run({ port: 'b', octets: frame({ from: B.replaceAll(':', '') }) });
    expect(answerTo(tested, askA)).toBeDefined();
  });

  test('are never overridden, and live as long as the configuration', () => {
    const tested = new TestSwitch(fixed);
    tested.run({ port: 'c', octets: arpFrame({ from: C, sender: B4, target: B4 }) });
    tested.run({ port: 'c', octets: advertisement({ from: C, source: 'fe80::c', target: B6 }) });
    tested.now += 10 * MAC_AGE_DEFAULT_S * 1000;
    tested.run({ port: 'b', octets: advertiseB });
    const answer = answerTo(tested, askA) ?? new Uint8Array(42);
    expect(macText(answer, 6)).toBe(B);
    expect(macText(answerTo(tested, ndFrame(solicitA)) ?? new Uint8Array(86), 6)).toBe(B);
  });
});

describe('with tunnels', () => {
  const VNI = 5010;
  const REMOTE = '192.0.2.99';
  const overlay: TestDocument = {
    networks: { over: { type: 'vxlan', id: VNI, underlay: 'u0', remotes: [REMOTE], arpSuppression: true } },
    underlays: { u0: { local: '192.0.2.98' } },
    ports: { a: vm({ network: 'over' }), c: vm({ network: 'over' }) },
  };
  const UNDERLAY = 'u0/vxlan';
  const through = (octets: Uint8Array): Received => {
    const header = Uint8Array.of(8, 0, 0, 0, VNI >> 16, VNI >> 8, VNI & 0xff, 0);
    return { port: UNDERLAY, octets: concatenate(header, octets), from: REMOTE };
  };

  test('a remote station is answered for, and no datagram leaves', () => {
    const tested = new TestSwitch(overlay);
    tested.run(through(announceB), through(advertiseB));
    expect(known(tested)).toEqual([`${B4} ${B}`, `${B6} ${B}`]);
    expect(answerTo(tested, askA)).toBeDefined();
    expect(answerTo(tested, ndFrame(solicitA))).toBeDefined();
  });

  test('a question that came through a tunnel goes to the local ports, whatever is known', () => {
    const tested = new TestSwitch(overlay);
    tested.run({ port: 'a', octets: arpFrame({ from: A, sender: A4, target: A4 }) });
    const question = arpFrame({ from: B, sender: B4, target: A4 });
    expect(ports(tested.run(through(question)))).toBe('a c');
    expect(tested.value(UNDERLAY, RX_CONSUMED)).toBe(0);
  });

  test('a station behind a remote that is dead is not vouched for', () => {
    const tested = new TestSwitch(overlay);
    tested.run(through(announceB));
    tested.tunnels.setDown(tested.tunnel('over', REMOTE), true);
    tested.run({ port: 'a', octets: askA });
    expect(tested.value('a', RX_CONSUMED)).toBe(0);
  });

  test('an underlay may teach more than a port', () => {
    const tested = new TestSwitch(overlay, { neighborEntries: 4096 });
    const perPort = tested.snapshot.neighborsPerPort;
    for (let index = 0; index < perPort + 100; index++) {
      const sender = `198.51.${100 + (index >> 8)}.${index & 255}`;
      tested.now += 1;
      tested.run(through(arpFrame({ from: B, sender, target: sender })));
    }
    expect(NEIGHBORS_PER_UNDERLAY).toBeGreaterThan(perPort);
    expect(tested.neighbors.learnedByPort(tested.index(UNDERLAY))).toBe(perPort + 100);
    expect(tested.tunnels.find(anyNetwork(tested.index(UNDERLAY)), 0, 0, 0, 0)).toBe(0);
  });

  test('an uplink may teach more than a port, and no more than half the table', () => {
    const document: TestDocument = {
      networks: { red: { type: 'flat', uplink: 'up', arpSuppression: true } },
      ports: { a: vm({ network: 'red' }), up: { kind: 'netdev', trunk: 'auto' } },
    };
    const tested = new TestSwitch(document, { neighborEntries: 4096 });
    const perPort = tested.snapshot.neighborsPerPort;
    for (let index = 0; index < 2 * perPort + 100; index++) {
      const sender = `198.51.${100 + (index >> 8)}.${index & 255}`;
      tested.now += 1;
      tested.run({ port: 'up', octets: arpFrame({ from: B, sender, target: sender }) });
    }
    expect(tested.neighbors.learnedByPort(tested.index('up'))).toBe(2048);
  });
});

test('whatever stations say and ask, every frame ends once, and every answer is what its owner said', () => {
  const stations = [A, B, C].map((address, index) => ({ mac: address, port: 'abc'[index] as string }));
  const step = fc.record({
    who: fc.integer({ min: 0, max: 2 }),
    own: fc.integer({ min: 1, max: 3 }),
    target: fc.integer({ min: 0, max: 4 }),
    kind: fc.constantFrom('ask', 'tell', 'solicit', 'advertise', 'damaged'),
    damage: fc.nat({ max: 85 }),
    wait: fc.integer({ min: 0, max: 20_000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const tested = new TestSwitch(threePorts());
      for (const { who, own, target, kind, damage, wait } of steps) {
        const { mac: from, port } = stations[who] as (typeof stations)[number];
        const [four, six] = [`192.0.2.${own}`, `2001:db8::${own}`];
        const frames: Record<typeof kind, () => Uint8Array> = {
          ask: () => arpFrame({ from, sender: four, target: `192.0.2.${target}` }),
          tell: () => arpFrame({ from, operation: 2, sender: four, target: four }),
          solicit: () => ndFrame({ from, source: six, target: `2001:db8::${target}` }),
          advertise: () => advertisement({ from, source: six }),
          damaged: () =>
            ndFrame({ from, source: six, target: `2001:db8::${target}` }).map((octet, at) =>
              at === damage && at > 11 ? octet ^ 0x81 : octet,
            ),
        };
        tested.now += wait;
        const answer = answerTo(tested, frames[kind](), port);
        if (answer === undefined) continue;
        expect(macText(answer, 0)).toBe(from);
        expect(stations.map((station) => station.mac)).toContain(macText(answer, 6));
        if (answer.length === 42) expect([...answer.slice(28, 32)]).toEqual([...ip(`192.0.2.${target}`)]);
        else {
          expect(answer).toHaveLength(86);
          expect(icmp6Sum(answer)).toBe(0xffff);
          expect(Buffer.compare(answer.slice(62, 78), ip(`2001:db8::${target}`))).toBe(0);
          expect(Buffer.compare(answer.slice(80, 86), mac(macText(answer, 6)))).toBe(0);
        }
      }
    }),
    { numRuns: 40 },
  );
});
