/**
 * NAT for many: the requirements of RFC 6888 that are not those of RFC 4787, 5382 and 5508 again, what RFC 7857 adds to all
 * protocols, and the randomness of ports (RFC 6056). The table of README.md names these tests.
 */
import { describe, expect, test } from 'vitest';
import { answerTo, inward, mappingOf, OTHER, out, PROTOCOLS, SERVER } from './nat-flows.js';
import { ADDRESSES, NatSwitch, OUTSIDE } from './nat-switch.js';

const SECONDS = 1000;
const MANY = ['203.0.113.10/24', '203.0.113.12/24', '203.0.113.200/24'];
/** Both machines want one port: the second gets another. */
const crowd = (tested: NatSwitch, sport = 4000) => tested.say('b', out('udp', { src: ADDRESSES.b, sport }));

describe('RFC 6888', () => {
  test('REQ-2: with several outside addresses, each machine keeps to one', () => {
    const tested = new NatSwitch({ external: { addresses: MANY } });
    for (const name of ['a', 'b', 'c'] as const) {
      const sources = PROTOCOLS.flatMap((proto) =>
        [SERVER, OTHER].map((dst) => tested.say(name, out(proto, { src: ADDRESSES[name], dst }))[0]!.src),
      );
      expect(new Set(sources).size).toBe(1);
    }
  });

  test('REQ-3: outside addresses and ports need not be contiguous', () => {
    const pool = ['5000', '5004-5005', '6000'];
    const tested = new NatSwitch({ external: { addresses: MANY, pool } });
    const seen = new Set(
      Array.from({ length: 4 }, (_, index) => mappingOf(tested, out('udp', { sport: 100 + index }))),
    );
    expect(seen.size).toBe(4);
    for (const one of seen) expect(one).toMatch(/:(5000|5004|5005|6000)$/);
  });

  test.each(PROTOCOLS)('REQ-4: how many ports one machine may have is limited, for %s as for the rest', (proto) => {
    const tested = new NatSwitch({ external: { perVm: 3 } });
    for (let sport = 4000; sport < 4003; sport++) expect(tested.say('a', out(proto, { sport }))[0]!.port).toBe('o');
    expect(tested.say('a', out(proto, { sport: 4010 })).filter(({ port }) => port === 'o')).toEqual([]);
    expect(tested.dropped('a', 'nat_limit')).toBe(1);
    expect(tested.say('b', out(proto, { src: ADDRESSES.b, sport: 4010 }))).toMatchObject([{ port: 'o' }]);
  });

  test('REQ-5: one machine takes no more than its share of the connections', () => {
    const settings = { conntrack: { capacity: 1024, perPort: '25%' } };
    const tested = new NatSwitch({}, { settings }, { connectionEntries: 1024 });
    for (let dport = 1; dport <= 400; dport++) tested.say('a', out('udp', { dport }));
    expect(tested.say('b', out('udp', { src: ADDRESSES.b }))).toMatchObject([{ port: 'o' }]);
    expect(tested.connections.used).toBeLessThan(300);
  });

  test('REQ-6: what is not for the outside network is not translated', () => {
    const tested = new NatSwitch();
    expect(tested.say('a', out('udp', { dst: ADDRESSES.c }))).toMatchObject([{ port: 'c', src: ADDRESSES.a }]);
    const open = new NatSwitch({ external: { snat: false } });
    expect(open.say('a', out('udp'))).toMatchObject([{ port: 'o', src: ADDRESSES.a }]);
  });

  test('REQ-7: filtering can be endpoint-independent', () => {
    const tested = new NatSwitch({ external: { filtering: 'endpoint-independent' } });
    tested.say('a', out('udp'));
    expect(tested.say('o', inward('udp', 4000, { src: OTHER }))).toMatchObject([{ port: 'a' }]);
  });

  test('REQ-11: what finds no port is dropped, its sender told, it is counted, and no mapping makes room for it', () => {
    const tested = new NatSwitch({ external: { pool: '5000-5001' } });
    const before = [mappingOf(tested, out('udp')), mappingOf(tested, out('udp', { sport: 4001 }))];
    const [told, ...others] = tested.say('b', out('udp', { src: ADDRESSES.b }));
    expect(others).toEqual([]);
    expect(told).toMatchObject({ port: 'b', protocol: 1 });
    expect(tested.dropped('b', 'nat_exhausted')).toBe(1);
    expect([mappingOf(tested, out('udp')), mappingOf(tested, out('udp', { sport: 4001 }))]).toEqual(before);
  });

  test('REQ-13: the last port of the pool is used as the first', () => {
    const tested = new NatSwitch({ external: { pool: '5000-5099' } });
    const seen = new Set(
      Array.from({ length: 100 }, (_, sport) => mappingOf(tested, out('udp', { sport: 7000 + sport }))),
    );
    expect(seen.size).toBe(100);
    expect(seen.has('none')).toBe(false);
  });
});

describe('RFC 7857', () => {
  test('4: a machine has one outside address for all protocols', () => {
    const tested = new NatSwitch({ external: { addresses: MANY } });
    for (const name of ['a', 'b', 'c'] as const) {
      const sources = PROTOCOLS.map((proto) => tested.say(name, out(proto, { src: ADDRESSES[name] }))[0]!.src);
      expect(new Set(sources).size).toBe(1);
    }
  });

  test('5: each protocol has mappings of its own', () => {
    const tested = new NatSwitch();
    crowd(tested);
    expect(mappingOf(tested, out('udp'))).not.toBe(`${OUTSIDE}:4000`);
    expect(mappingOf(tested, out('tcp'))).toBe(`${OUTSIDE}:4000`);
  });

  test('6: a mapping lets in its own protocol only', () => {
    const tested = new NatSwitch({ external: { filtering: 'endpoint-independent' } });
    tested.say('a', out('udp'));
    expect(tested.say('o', inward('tcp', 4000)).filter(({ port }) => port === 'a')).toEqual([]);
    expect(tested.say('o', inward('udp', 4000))).toMatchObject([{ port: 'a' }]);
  });

  test('7: an ICMP error that answers what came in does not keep the mapping', () => {
    const tested = new NatSwitch();
    const [heard] = tested.say('a', out('udp'));
    const [got] = tested.say('o', answerTo(heard!, out('udp')));
    for (let minute = 0; minute < 6; minute++) {
      tested.now += 60 * SECONDS;
      tested.introduce();
      const octets = tested.errorFrame('a', ADDRESSES.a, SERVER, got!.sent.octets.slice(14), 3, 3);
      tested.hear({ port: 'a', octets });
    }
    expect(tested.say('o', answerTo(heard!, out('udp')))).toEqual([]);
  });

  test('9: a port that can’t be kept is one that nobody can guess (RFC 6056)', () => {
    const tested = new NatSwitch({}, {}, { connectionEntries: 16_384 });
    const ports: number[] = [];
    for (let sport = 20_000; sport < 21_600; sport++) {
      crowd(tested, sport);
      ports.push(tested.say('a', out('udp', { sport }))[0]!.sport);
    }
    // Chi-square of 16 bins with 15 degrees of freedom: above 37.7 once in a thousand. The seed is the test's.
    const bins = new Array<number>(16).fill(0);
    for (const port of ports) bins[Math.floor(((port - 1024) / 64_512) * 16)]!++;
    const expected = ports.length / 16;
    expect(bins.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)).toBeLessThan(37.7);
    const steps = new Set(ports.slice(1).map((port, index) => port - ports[index]!));
    expect(steps.size).toBeGreaterThan(ports.length * 0.9);
  });

  test('12: a ping of one’s own mapped machine turns round at the router (floating addresses)', () => {
    const tested = new NatSwitch({ floating: { '203.0.113.20': ADDRESSES.a } });
    const ask = out('icmp', { src: ADDRESSES.b, dst: '203.0.113.20' });
    expect(tested.say('b', ask)).toMatchObject([{ port: 'a', src: OUTSIDE, dst: ADDRESSES.a }]);
  });
});
