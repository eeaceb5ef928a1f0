/** Later fragments are judged as their first one was, wait for it within bounds, and leave nothing behind. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { POLICY_FRAGMENTS, type Snapshot } from '../../src/pipeline/snapshot.js';
import { type FragmentRecipe, fragmentFrame } from '../wire/fragment-frames.js';
import { FragmentReference, type ReferenceFragment } from './fragment-reference.js';
import { type Received, type Sent, TestSwitch, type TestSwitchOptions, vm } from './test-switch.js';

const ports = { a: 'red', b: 'red', c: 'red', d: 'blue', e: 'blue' } as const;
type PortName = keyof typeof ports;

/** Five ports in two networks; fragments from all are followed. */
function fragmentSwitch(fragments: object = {}, options: TestSwitchOptions = { slots: 4096 }): TestSwitch {
  const tested = new TestSwitch(
    {
      networks: { red: { type: 'vlan', id: 10 }, blue: { type: 'vlan', id: 20 } },
      ports: Object.fromEntries(Object.entries(ports).map(([name, network]) => [name, vm({ network })])),
      settings: { fragments },
    },
    options,
  );
  follow(tested.snapshot);
  return tested;
}

/** Sets what the compiler does for ports whose policy asks for ports. */
function follow(snapshot: Snapshot): void {
  (snapshot as { policies: number }).policies = 1;
  snapshot.portPolicy.fill(POLICY_FRAGMENTS);
}

const from = (port: PortName, recipe: FragmentRecipe): Received => ({ port, octets: fragmentFrame(recipe) });

/** `count` fragments of one size, all of a datagram. */
function datagram(recipe: Partial<FragmentRecipe> = {}, count = 3, size = 1400): FragmentRecipe[] {
  return Array.from({ length: count }, (_, index) => ({
    ...recipe,
    start: index * size,
    size,
    isLast: index === count - 1,
  }));
}

/** What left, each frame once however many ports it left by, in the order it left. */
function octetsOf(sent: readonly Sent[]): string[] {
  return [...new Set(sent.map(({ octets }) => digest(octets)))];
}

/** Every octet counts, and what differs can still be read. */
function digest(octets: Uint8Array): string {
  const sum = createHash('sha1').update(octets).digest('hex');
  return `${Buffer.from(octets.subarray(12, 80)).toString('hex')} ${octets.length} ${sum}`;
}

const textOf = (recipe: FragmentRecipe) => digest(fragmentFrame(recipe));

/** The ports and the protocol that stages behind saw of each frame that left. */
function identities(tested: TestSwitch, sent: readonly Sent[]): string[] {
  return sent.map(({ slot }) => `${tested.pool.protocol[slot]} ${tested.pool.ports[slot] >>> 0}`);
}

const versions = [
  ['IPv4', false, 1],
  ['IPv6', true, 58],
] as const;

/** Everything that waited is gone, and so is what was remembered. */
function expectBaseline(tested: TestSwitch): void {
  tested.now += 40_000;
  tested.run();
  expect(tested.machine.waiting.count).toBe(0);
  expect(tested.machine.fragments.used).toBe(0);
  expect(tested.pool.available).toBe(tested.pool.slotCount);
}

test.each(versions)("fragments of %s in order pass at once, all with the first one's ports", (_, isIpv6) => {
  const tested = fragmentSwitch();
  const all = datagram({ isIpv6, ports: [7, 8] });
  const sent = all.flatMap((recipe) => tested.run(from('d', recipe)));
  expect(octetsOf(sent)).toEqual(all.map(textOf));
  const last = identities(tested, sent);
  expect(new Set(last)).toEqual(new Set([`17 ${((7 << 16) | 8) >>> 0}`]));
  expect(tested.machine.fragments.used).toBe(0);
});

test.each(versions)(
  'fragments of %s in reverse wait, and leave in the order they came once the first has',
  (_, isIpv6, protocol) => {
    const tested = fragmentSwitch();
    const all = datagram({ isIpv6, protocol, ports: [77, 0] }).reverse();
    expect(tested.run(from('d', all[0]))).toEqual([]);
    expect(tested.run(from('d', all[1]))).toEqual([]);
    expect(tested.machine.waiting.count).toBe(2);
    const sent = tested.run(from('d', all[2]));
    expect(octetsOf(sent)).toEqual([all[2], all[0], all[1]].map(textOf));
    expect(new Set(identities(tested, sent)).size).toBe(1);
    expect(tested.machine.fragments.used).toBe(0);
    expect(tested.drops()).toEqual({});
  },
);

test('in one batch, later ones in front of their first leave behind the batch', () => {
  const tested = fragmentSwitch();
  const [first, second, third] = datagram();
  const sent = tested.run(from('d', second), from('d', third), from('d', first));
  expect(octetsOf(sent)).toEqual([first, second, third].map(textOf));
});

test('a port whose policy does not ask for ports is not followed', () => {
  const tested = fragmentSwitch();
  tested.snapshot.portPolicy.fill(0);
  expect(tested.run(from('d', datagram()[1]))).toHaveLength(1);
  expect(tested.machine.fragments.used).toBe(0);
});

test('an atomic fragment is a whole packet, and says nothing of later ones with its id', () => {
  const tested = fragmentSwitch();
  const udp = Uint8Array.of(0, 7, 0, 8, 0, 16, 0, 0);
  expect(tested.run(from('d', { isIpv6: true, start: 0, size: 16, isLast: true, head: udp }))).toHaveLength(1);
  expect(tested.machine.fragments.used).toBe(0);
  expect(tested.run(from('d', { isIpv6: true, start: 16, size: 16, isLast: true }))).toEqual([]);
  expectBaseline(tested);
});

test('same addresses and id on two ports and in two networks are different datagrams', () => {
  const tested = fragmentSwitch();
  const one = datagram({ fill: 0x0a, ports: [1, 1] });
  const other = datagram({ fill: 0x0d, ports: [2, 2] });
  expect(tested.run(from('a', one[1]), from('d', other[2]), from('b', one[2]))).toEqual([]);
  const sent = tested.run(from('d', other[0]));
  expect(sent.map(({ port }) => port)).toEqual(['e', 'e']);
  expect(octetsOf(sent)).toEqual([other[0], other[2]].map(textOf));
  expect(tested.machine.waiting.count).toBe(2);
  expect(octetsOf(tested.run(from('a', one[0])))).toEqual([one[0], one[1]].map(textOf));
  expect(tested.machine.waiting.count).toBe(1);
  expectBaseline(tested);
  expect(tested.drops()).toEqual({ 'b fragment_timeout': 1 });
});

test("one that waits in vain is dropped in time, also when no frame comes, and its first one is then nobody's", () => {
  const tested = fragmentSwitch({ timeout: '5s' });
  const [first, second] = datagram();
  tested.run(from('d', second));
  tested.now += 5000;
  tested.run();
  expect(tested.machine.waiting.count).toBe(1);
  tested.now += 1000;
  tested.run();
  expect(tested.drops()).toEqual({ 'd fragment_timeout': 1 });
  expect(octetsOf(tested.run(from('d', first)))).toEqual([textOf(first)]);
  expectBaseline(tested);
});

const broken: readonly (readonly [string, Partial<FragmentRecipe> & { start: number; size: number }])[] = [
  ['an overlap by one unit (teardrop)', { start: 1392, size: 1400 }],
  ['an overlap inside (reversed teardrop)', { start: 8, size: 16 }],
  ['an overlap around', { start: 0, size: 2800 }],
  ['a second first with other ports', { start: 0, size: 1400, ports: [9, 9] }],
  ['a last one that ends before others', { start: 1400, size: 1000, isLast: true }],
  ['one behind the last', { start: 4200, size: 8 }],
];

/** The first and the last of three, then what breaks the datagram, then what is missing. */
test.each(versions.flatMap((version) => broken.map((row) => [...version, ...row] as const)))(
  '%s %s %s: %s ends the datagram',
  (_, isIpv6, __, ___, bad) => {
    const tested = fragmentSwitch();
    const [first, second, third] = datagram({ isIpv6 });
    expect(tested.run(from('d', first), from('d', third))).toHaveLength(2);
    expect(tested.run(from('d', { isIpv6, ...bad }))).toEqual([]);
    expect(tested.run(from('d', second), from('d', first))).toEqual([]);
    expect(tested.drops()).toEqual({ 'd fragment_overlap': 3 });
    expectBaseline(tested);
  },
);

const impossible: readonly (readonly [string, Partial<FragmentRecipe> & { start: number; size: number }])[] = [
  ['an end past 65,535 octets', { start: 65_528, size: 100, isLast: true }],
  ['no octets', { start: 1400, size: 0, isLast: true }],
  ['no octets of a first one', { start: 0, size: 0 }],
  ['an end that is no multiple of eight though more follow', { start: 1400, size: 101 }],
];

/** RFC 8200 section 4.5: that fragment is discarded; it is in no position to end another's datagram. */
test.each(versions.flatMap((version) => impossible.map((row) => [...version, ...row] as const)))(
  '%s %s %s: %s is a fault of that fragment, and the datagram goes on without it',
  (_, isIpv6, __, ___, bad) => {
    const tested = fragmentSwitch();
    const [first, second, third] = datagram({ isIpv6 });
    expect(tested.run(from('d', { isIpv6, ...bad }))).toEqual([]);
    expect(tested.run(from('d', first), from('d', third))).toHaveLength(2);
    expect(tested.run(from('d', { isIpv6, ...bad }))).toEqual([]);
    expect(octetsOf(tested.run(from('d', second)))).toEqual([textOf(second)]);
    expect(tested.drops()).toEqual({ 'd bad_ip_header': 2 });
    expectBaseline(tested);
  },
);

const tcpHead = (flags: number) => Uint8Array.of(0, 7, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0);

test.each(versions)(
  'later fragments of %s know the TCP flags of their first one, also those that waited for it',
  (_, isIpv6) => {
    const tested = fragmentSwitch();
    const [first, second, third] = datagram({ isIpv6, protocol: 6, head: tcpHead(0x18) });
    const later = [second, third].map(({ head: _head, ...rest }) => rest);
    const waited = tested.run(from('d', later[1]), from('d', first));
    const sent = [...waited, ...tested.run(from('d', later[0]))];
    const flags = sent.filter(({ slot }) => tested.pool.transport[slot] === 0);
    expect(flags.map(({ slot }) => tested.pool.firstFlags[slot])).toEqual([0x18, 0x18]);
  },
);

test('a second first fragment with other TCP flags ends the datagram', () => {
  const tested = fragmentSwitch();
  const first = { protocol: 6, start: 0, size: 24 };
  expect(tested.run(from('d', { ...first, head: tcpHead(0x02) }))).toHaveLength(1);
  expect(tested.run(from('d', { ...first, head: tcpHead(0x10) }), from('d', { ...first, start: 24 }))).toEqual([]);
  expect(tested.drops()).toEqual({ 'd fragment_overlap': 2 });
});

test('fragments of one IPv6 id that name different protocols end the datagram', () => {
  const tested = fragmentSwitch();
  const [first, second, third] = datagram({ isIpv6: true });
  expect(tested.run(from('d', first), from('d', { ...second, protocol: 6 }), from('d', third))).toHaveLength(1);
  expect(tested.drops()).toEqual({ 'd fragment_overlap': 2 });
});

test('an overlap also ends those that wait', () => {
  const tested = fragmentSwitch();
  const [, second, third] = datagram();
  tested.run(from('d', second), from('d', third));
  expect(tested.run(from('d', { start: 2000, size: 16 }))).toEqual([]);
  expect(tested.drops()).toEqual({ 'd fragment_overlap': 3 });
});

test('the very same fragment once more passes, first or later, and is no overlap', () => {
  const tested = fragmentSwitch();
  const [first, second, third] = datagram();
  for (const recipe of [first, first, second, second]) expect(tested.run(from('d', recipe))).toHaveLength(1);
  expect(tested.run(from('d', third))).toHaveLength(1);
  expect(tested.drops()).toEqual({});
  expect(tested.machine.fragments.used).toBe(0);
});

test('a TCP fragment at offset 1 and a first one without its header are dropped for their faults', () => {
  const tested = fragmentSwitch();
  const tcp = Uint8Array.of(0, 7, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0);
  expect(tested.run(from('d', { protocol: 6, start: 0, size: 24, head: tcp }))).toHaveLength(1);
  tested.run(from('d', { protocol: 6, start: 8, size: 24 }), from('d', { protocol: 6, id: 2, start: 0, size: 8 }));
  expect(tested.drops()).toEqual({ 'd bad_tcp_header': 2 });
});

test('of 1000 fragments of eight octets 64 pass', () => {
  const tested = fragmentSwitch();
  let sent = 0;
  for (const recipe of datagram({}, 1000, 8)) sent += tested.run(from('d', recipe)).length;
  expect(sent).toBe(64);
  expect(tested.drops()).toEqual({ 'd fragment_limit': 936 });
  expectBaseline(tested);
});

test('ids that wrap are new datagrams, whether the old ones were whole or not', () => {
  const tested = fragmentSwitch();
  let sent = 0;
  // Of every hundredth one, the second fragment is lost.
  for (let id = 0; id < 70_000; id += 100) {
    const batch = Array.from({ length: 100 }, (_, index) =>
      datagram({ id: (id + index) & 0xffff, ports: [index, 1] }, index === 5 ? 1 : 2, 8),
    );
    const all = batch.flat().map((recipe) => from('d', { ...recipe, isLast: recipe.start !== 0 }));
    sent += tested.run(...all).length;
  }
  expect(sent).toBe(140_000 - 700);
  expect(tested.drops()).toEqual({});
});

test('a flood of first fragments from one port costs the other ports none of theirs', () => {
  const tested = fragmentSwitch();
  let arrived = 0;
  for (let round = 0; round < 200; round++) {
    const flood = Array.from({ length: 100 }, (_, index) =>
      from('a', { id: round * 100 + index, start: 0, size: 1400 }),
    );
    const [first, second, third] = datagram({ id: round, protocol: 1 }).map((recipe) => from('d', recipe));
    const sent = [...tested.run(...flood, third, second), ...tested.run(...flood, first)];
    arrived += sent.filter(({ port }) => port === 'e').length;
  }
  expect(arrived).toBe(600);
  expect(tested.machine.fragments.usedByPort(tested.index('a'))).toBeLessThanOrEqual(128);
  expectBaseline(tested);
});

test("a flood of later fragments from several ports is bounded, and another port's still wait for their first", () => {
  const tested = fragmentSwitch();
  let arrived = 0;
  for (let round = 0; round < 50; round++) {
    const flood = (['a', 'b', 'c', 'e'] as const).flatMap((port) =>
      Array.from({ length: 50 }, (_, index) => from(port, { id: round * 50 + index, start: 8, size: 1400 })),
    );
    const [first, second, third] = datagram({ id: round, protocol: 1 }).map((recipe) => from('d', recipe));
    tested.run(...flood, third, second);
    expect(tested.machine.waiting.count).toBeLessThanOrEqual(256);
    arrived += tested.run(...flood, first).filter(({ port }) => port === 'e').length;
  }
  expect(arrived).toBe(150);
  expectBaseline(tested);
  const reasons = new Set(Object.keys(tested.drops()).map((text) => text.split(' ')[1]));
  expect(reasons).toEqual(new Set(['fragment_limit', 'fragment_timeout']));
});

test('a full table takes from the port with the most', () => {
  const tested = fragmentSwitch({ datagrams: 32, perPort: 32 });
  for (let id = 0; id < 40; id++) tested.run(from('a', { id, start: 0, size: 8 }));
  for (let id = 0; id < 8; id++) tested.run(from('d', { id, start: 0, size: 8 }));
  const { fragments } = tested.machine;
  expect([fragments.usedByPort(tested.index('a')), fragments.usedByPort(tested.index('d'))]).toEqual([24, 8]);
  for (let id = 0; id < 8; id++) expect(tested.run(from('d', { id, start: 8, size: 8, isLast: true }))).toHaveLength(1);
});

test('what waits when its port goes, or moves to another network, is dropped', () => {
  const tested = fragmentSwitch();
  const [first, second] = datagram();
  tested.run(from('d', second), from('a', second));
  tested.machine.waiting.abandon(tested.machine, tested.index('d'));
  expect(tested.drops()).toEqual({ 'd fragment_timeout': 1 });
  tested.snapshot.memberNetwork[tested.member('a', 'red')] = tested.network('blue');
  tested.snapshot.portUntaggedMember[tested.index('a')] = tested.member('a', 'red');
  tested.run(from('a', first));
  tested.snapshot.memberNetwork[tested.member('a', 'red')] = tested.network('red');
  expectBaseline(tested);
  expect(tested.dropped('a', 'fragment_timeout')).toBe(1);
});

test('a fragment that found the table locked is looked at again in the next breath', () => {
  const tested = fragmentSwitch();
  const [first, second] = datagram({}, 2);
  const { fragments } = tested.machine;
  expect(fragments.tryLock()).toBe(true);
  expect(tested.run(from('d', second), from('d', first))).toEqual([]);
  expect(tested.machine.waiting.count).toBe(2);
  fragments.unlock();
  expect(octetsOf(tested.run())).toEqual([first, second].map(textOf));
});

// ---- any sequence, against the reference -----------------------------------------------------------------------------

const event = fc.record({
  port: fc.constantFrom<PortName>('a', 'b', 'd'),
  isIpv6: fc.boolean(),
  id: fc.constantFrom(1, 2),
  start: fc.constantFrom(0, 0, 8, 16, 24, 65_528),
  size: fc.constantFrom(8, 8, 8, 16, 16, 5, 0),
  isLast: fc.boolean(),
  ports: fc.constantFrom<readonly [number, number]>([1, 1], [1, 1], [1, 1], [2, 2]),
  /** Seconds that pass before it, and whether it begins a batch. */
  pause: fc.constantFrom(0, 0, 0, 0, 1, 9),
  begins: fc.boolean(),
});

test('any sequence of fragments: what is delivered is what the reference says, and everything is counted once', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      const tested = fragmentSwitch();
      const reference = new FragmentReference(15);
      const batches: (typeof events)[] = [];
      for (const each of events) {
        // What fits the header of a datagram's first fragment is all that is asked here: no faults, no whole packets.
        if (each.start === 0 && (each.isLast || each.size < 8)) continue;
        if (each.begins || each.pause !== 0 || batches.length === 0) batches.push([]);
        batches[batches.length - 1].push(each);
      }
      let number = 0;
      for (const batch of batches) {
        tested.now += batch[0].pause * 1000;
        const marked = batch.map((each) => ({ ...each, fill: number++ % 251 }));
        const expected = reference.run(tested.now / 1000, marked.map(referenceOf));
        const sent = tested.run(...marked.map((each) => from(each.port, each)));
        expect(octetsOf(sent)).toEqual(expected.map(({ octets }) => octets));
        expect(tested.machine.waiting.count).toBe(reference.waiting);
      }
      expect(tested.drops()).toEqual(reference.drops);
      expectBaseline(tested);
    }),
    { numRuns: 500 },
  );
});

function referenceOf(recipe: FragmentRecipe & { port: string; isIpv6: boolean; id: number }): ReferenceFragment {
  const { port, isIpv6, id, start, size, isLast = false, ports: pair = [1000, 2000] } = recipe;
  const headers = isIpv6 ? 0 : 20;
  const sound = size > 0 && (isLast || size % 8 === 0) && start + size + headers <= 65_535;
  return {
    port,
    key: `${port} ${isIpv6} ${id}`,
    start,
    end: start + size,
    isLast,
    sound,
    ports: pair.join(),
    octets: textOf(recipe),
  };
}
