/** NAT and UDP: the requirements of RFC 4787, by their numbers. The table of README.md names these tests. */
import { beforeEach, describe, expect, test } from 'vitest';
import { checkDocument } from '../../src/control/check.js';
import { documentOf } from '../../src/control/document.js';
import type { JsonValue } from '../../src/control/shapes.js';
import { read16, write16 } from '../../src/wire/octets.js';
import { answerTo, inward, mappingOf, OTHER, out, SERVER } from './nat-flows.js';
import { ADDRESSES, expectSound, NatSwitch, natDocument, OUTSIDE, payloadOf } from './nat-switch.js';

const SECONDS = 1000;
const SECOND_OUTSIDE = '203.0.113.11';
let tested: NatSwitch;

beforeEach(() => {
  tested = new NatSwitch();
});

describe('RFC 4787: mapping', () => {
  test('REQ-1: an inside endpoint has one outside endpoint, whomever it sends to', () => {
    tested.say('b', out('udp', { src: ADDRESSES.b }));
    const first = mappingOf(tested, out('udp'));
    expect(first).not.toBe(`${OUTSIDE}:4000`);
    for (const more of [{ dst: OTHER }, { dport: 81 }, { dst: OTHER, dport: 82 }])
      expect(mappingOf(tested, out('udp', more))).toBe(first);
  });

  test('REQ-2: all that a machine sends appears from one outside address', () => {
    tested = new NatSwitch({ external: { addresses: [`${OUTSIDE}/24`, `${SECOND_OUTSIDE}/24`] } });
    for (const [name, src] of [
      ['a', ADDRESSES.a],
      ['b', ADDRESSES.b],
      ['c', ADDRESSES.c],
    ] as const) {
      const seen = new Set<string | undefined>();
      for (const sport of [4000, 4001, 6000])
        for (const proto of ['udp', 'tcp', 'icmp'] as const)
          seen.add(tested.say(name, out(proto, { src, sport, dst: sport === 6000 ? OTHER : SERVER }))[0]?.src);
      expect(seen.size).toBe(1);
    }
  });

  test('REQ-3: no two inside endpoints have one outside endpoint, not even towards different ends', () => {
    const seen = new Set<string>();
    for (const dst of [SERVER, OTHER])
      for (const [name, src] of [
        ['a', ADDRESSES.a],
        ['b', ADDRESSES.b],
        ['c', ADDRESSES.c],
      ] as const)
        seen.add(`${mappingOf(tested, out('udp', { src, dst }), name)}`);
    expect(seen.size).toBe(3);
  });

  test('REQ-3a: a port below 1024 becomes one below 1024 where the pool has such, and others stay above', () => {
    tested = new NatSwitch({ external: { pool: '512-2047' } });
    const low = tested.say('a', out('udp', { sport: 100 }))[0]!.sport;
    expect(low).toBeGreaterThanOrEqual(512);
    expect(low).toBeLessThan(1024);
    const high = tested.say('a', out('udp', { sport: 40_001 }))[0]!.sport;
    expect(high).toBeGreaterThanOrEqual(1024);
  });

  test.each([4000, 4001])('REQ-4: port %i keeps its parity when it can’t be kept itself', (sport) => {
    tested.say('b', out('udp', { src: ADDRESSES.b, sport }));
    for (let round = 0; round < 8; round++) {
      const own = new NatSwitch();
      own.say('b', out('udp', { src: ADDRESSES.b, sport }));
      for (let more = 0; more < round; more++) own.say('b', out('udp', { src: ADDRESSES.b, sport: 5000 + more }));
      const [heard] = own.say('a', out('udp', { sport }));
      expect(heard!.sport).not.toBe(sport);
      expect(heard!.sport & 1).toBe(sport & 1);
    }
  });

  test.each([4000, 4001])('REQ-4: so does port %i where mappings are endpoint-dependent', (sport) => {
    tested = new NatSwitch({ external: { mapping: 'endpoint-dependent' } });
    tested.say('b', out('udp', { src: ADDRESSES.b, sport }));
    const [heard] = tested.say('a', out('udp', { sport }));
    expect(heard!.sport).not.toBe(sport);
    expect(heard!.sport & 1).toBe(sport & 1);
  });
});

describe('RFC 4787: time', () => {
  test('REQ-5: a mapping lives two minutes after its last packet', () => {
    tested.say('b', out('udp', { src: ADDRESSES.b }));
    const first = mappingOf(tested, out('udp'));
    tested.now += 119 * SECONDS;
    tested.introduce();
    const port = Number(first.split(':')[1]);
    expect(tested.say('o', inward('udp', port, { sport: 80 }))).toMatchObject([{ port: 'a', dport: 4000 }]);
  });

  test('REQ-5c: a mapping whose both ends have sent lives five minutes', () => {
    const [heard] = tested.say('a', out('udp'));
    tested.say('o', answerTo(heard!, out('udp')));
    tested.say('a', out('udp'));
    tested.now += 298 * SECONDS;
    tested.introduce();
    expect(tested.say('o', answerTo(heard!, out('udp')))).toMatchObject([{ port: 'a', dport: 4000 }]);
  });

  test('REQ-6: what leaves keeps the mapping, though nothing comes back', () => {
    tested.say('b', out('udp', { src: ADDRESSES.b }));
    const first = mappingOf(tested, out('udp'));
    for (let minute = 0; minute < 10; minute++) {
      tested.now += 60 * SECONDS;
      tested.introduce();
      expect(mappingOf(tested, out('udp'))).toBe(first);
    }
  });

  test('REQ-7: an outside address that lies inside is refused with the configuration', () => {
    const document = natDocument({ external: { addresses: ['192.0.2.77/24'] } });
    const check = () => checkDocument(documentOf({ version: 1, ...document } as unknown as JsonValue));
    expect(check).toThrow(/192\.0\.2/);
  });
});

describe('RFC 4787: filtering', () => {
  test.each([
    ['endpoint-independent', true, true],
    ['address-dependent', true, false],
    ['endpoint-dependent', false, false],
  ])('REQ-8: filtering can be %s', (filtering, hasPort, hasStranger) => {
    tested = new NatSwitch({ external: { filtering } });
    tested.say('a', out('udp'));
    expect(tested.say('o', inward('udp', 4000, { sport: 99 }))).toHaveLength(hasPort ? 1 : 0);
    expect(tested.say('o', inward('udp', 4000, { src: OTHER }))).toHaveLength(hasStranger ? 1 : 0);
  });

  test('REQ-9: machines reach each other by mapped ports, and see each other’s outside endpoint (REQ-9a)', () => {
    tested.say('b', out('udp', { src: ADDRESSES.b }));
    const [outsideA] = tested.say('a', out('udp'));
    const toA = { ...inward('udp', outsideA!.sport), src: ADDRESSES.b, sport: 4000 };
    expect(tested.say('b', toA)).toMatchObject([
      { port: 'a', src: OUTSIDE, sport: 4000, dst: ADDRESSES.a, dport: 4000 },
    ]);
    const answer = out('udp', { dst: OUTSIDE, dport: 4000 });
    expect(tested.say('a', answer)).toMatchObject([
      { port: 'b', src: OUTSIDE, sport: outsideA!.sport, dst: ADDRESSES.b, dport: 4000 },
    ]);
  });

  test('REQ-10: no payload is changed, whatever addresses it speaks of (no ALGs)', () => {
    const [heard] = tested.say('a', out('udp', { dport: 5060, sport: 5060, size: 200 }));
    const payload = payloadOf(out('udp', { dport: 5060, sport: 5060, size: 200 })).slice(8);
    expect(Array.from(heard!.sent.octets.slice(42))).toEqual(Array.from(payload));
  });

  test('REQ-11: it behaves the same when the port is taken, and when many are', () => {
    for (let sport = 4000; sport < 4050; sport++) tested.say('b', out('udp', { src: ADDRESSES.b, sport }));
    for (let sport = 4000; sport < 4050; sport++) {
      const first = mappingOf(tested, out('udp', { sport }));
      expect(mappingOf(tested, out('udp', { sport, dst: OTHER }))).toBe(first);
      const port = Number(first.split(':')[1]);
      expect(tested.say('o', inward('udp', port, { src: '198.51.100.222' }))).toEqual([]);
    }
  });
});

describe('RFC 4787: ICMP and fragments', () => {
  test.each([
    [3, 1],
    [3, 3],
    [3, 13],
    [11, 0],
    [12, 0],
  ])('REQ-12: an ICMP error %i/%i gets through, from wherever (REQ-12a, b), and ends no mapping', (type, code) => {
    tested.say('b', out('udp', { src: ADDRESSES.b }));
    const [heard] = tested.say('a', out('udp'));
    const octets = tested.error(out('udp'), { outside: heard!.sport, type, code, from: '203.0.113.250' });
    expect(tested.hear({ port: 'o', octets })).toMatchObject([{ port: 'a', src: '203.0.113.250' }]);
    expect(mappingOf(tested, out('udp', { dst: OTHER }))).toBe(`${OUTSIDE}:${heard!.sport}`);
    expect(tested.say('o', answerTo(heard!, out('udp')))).toHaveLength(1);
  });

  /** The way out is shorter than the way in. */
  const short = () =>
    new NatSwitch(
      {},
      { networks: { red: { type: 'local' }, blue: { type: 'local' }, ext: { type: 'local', mtu: 600 } } },
    );

  test('REQ-13: of what is too long and may not be cut, its sender is told', () => {
    tested = short();
    const octets = tested.frame('a', out('udp', { size: 800 }));
    write16(octets, 20, 0x4000);
    const [told, ...others] = tested.hear({ port: 'a', octets: withHeaderSum(octets) });
    expect(others).toEqual([]);
    expect(told).toMatchObject({ port: 'a', src: '192.0.2.1', dst: ADDRESSES.a, protocol: 1 });
    expect([told!.sent.octets[34], told!.sent.octets[35], read16(told!.sent.octets, 40)]).toEqual([3, 4, 600]);
  });

  test('REQ-13a: what is too long and may be cut leaves in fragments, in order, from the outside address', () => {
    tested = short();
    const octets = tested.frame('a', out('udp', { size: 1200 }));
    write16(octets, 20, 0);
    const sent = tested.run({ port: 'a', octets: withHeaderSum(octets) });
    expect(sent.length).toBeGreaterThan(1);
    const places = sent.map(({ octets: part }) => (read16(part, 20) & 0x1fff) * 8);
    expect(places).toEqual([...places].sort((one, other) => one - other));
    for (const part of sent) {
      expect(part.port).toBe('o');
      expect(Array.from(part.octets.slice(26, 30))).toEqual([203, 0, 113, 10]);
      expectSound(part);
    }
  });

  test.each([
    ['in order', [0, 1, 2]],
    ['in reverse order', [2, 1, 0]],
    ['with the first in the midst', [1, 0, 2]],
  ])('REQ-14: fragments that come %s get through, in both directions', (_, order) => {
    const [heard] = tested.say('a', out('udp', { sport: 4001 }));
    const flows = [
      ['a', out('udp', { sport: 4001, size: 120 })],
      ['o', { ...answerTo(heard!, out('udp', { sport: 4001 })), size: 120 }],
    ] as const;
    for (const [name, flow] of flows) {
      const parts = fragmentsOf(tested.frame(name, flow));
      const sent = order.flatMap((index) => tested.run({ port: name, octets: parts[index]! }));
      expect(sent).toHaveLength(3);
      for (const part of sent) expectSound(part);
      const at = name === 'a' ? 26 : 30;
      const address = name === 'a' ? [203, 0, 113, 10] : [192, 0, 2, 5];
      for (const { octets } of sent) expect(Array.from(octets.slice(at, at + 4))).toEqual(address);
    }
  });

  test('REQ-14a: whoever sends fragments without a first one takes nothing from whole packets', () => {
    for (let id = 0; id < 500; id++) {
      const [, later] = fragmentsOf(tested.frame('b', out('udp', { src: ADDRESSES.b, size: 120 })));
      write16(later!, 18, id);
      tested.run({ port: 'b', octets: withHeaderSum(later!) });
    }
    expect(tested.dropped('b', 'fragment_limit')).toBeGreaterThan(0);
    const [heard] = tested.say('a', out('udp'));
    expect(tested.say('o', answerTo(heard!, out('udp')))).toHaveLength(1);
    tested.detach('b');
    tested.now += 16 * SECONDS;
    tested.run();
  });
});

function withHeaderSum(octets: Uint8Array): Uint8Array {
  write16(octets, 24, 0);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += read16(octets, at);
  write16(octets, 24, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
  return octets;
}

/** A datagram of 128 octets in three fragments. */
function fragmentsOf(whole: Uint8Array): Uint8Array[] {
  return [0, 48, 96].map((at) => {
    const octets = Uint8Array.from([...whole.slice(0, 34), ...whole.slice(34 + at, 34 + Math.min(at + 48, 128))]);
    write16(octets, 16, octets.length - 14);
    write16(octets, 18, 77);
    write16(octets, 20, (at === 96 ? 0 : 0x2000) | (at / 8));
    return withHeaderSum(octets);
  });
}
