/** NAT and ICMP: the requirements of RFC 5508, by their numbers. The table of README.md names these tests. */
import { beforeEach, describe, expect, test } from 'vitest';
import { buildIp } from '../../src/wire/frame-build.js';
import { read16, write16 } from '../../src/wire/octets.js';
import { ip } from '../wire/neighbor-frames.js';
import { answerTo, inward, mappingOf, OTHER, out, PROTOCOLS, SERVER } from './nat-flows.js';
import { ADDRESSES, expectSound, type Heard, NatSwitch, OUTSIDE, payloadOf } from './nat-switch.js';

const SECONDS = 1000;
const FLOATING = '203.0.113.20';
/** Where the quoted packet begins in a frame with an error, and its transport. */
const QUOTED = 42;
let tested: NatSwitch;

beforeEach(() => {
  tested = new NatSwitch();
});

const query = out('icmp');
/** Machine b has the port that a wants. */
const crowd = () => tested.say('b', out('udp', { src: ADDRESSES.b }));
const quotedOf = ({ sent }: Heard) => sent.octets.slice(QUOTED);

/** What the error quotes, in octets of an IPv4 packet from the outside endpoint. */
function quotation(port: number, more: { readonly options?: number; readonly isBroken?: boolean } = {}): Uint8Array {
  const { options = 0, isBroken = false } = more;
  const plain = buildIp(
    { source: ip(OUTSIDE), destination: ip(SERVER), protocol: 17, ttl: 1 },
    payloadOf(out('udp', { src: OUTSIDE, sport: port })),
  );
  const size = 20 + options;
  const octets = Uint8Array.from([...plain.slice(0, 20), ...new Array<number>(options).fill(1), ...plain.slice(20)]);
  octets[0] = 0x40 + size / 4;
  write16(octets, 2, octets.length);
  write16(octets, 10, 0);
  let sum = isBroken ? 5 : 0;
  for (let at = 0; at < size; at += 2) sum += read16(octets, at);
  write16(octets, 10, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
  return octets;
}

describe('RFC 5508: queries', () => {
  test('REQ-1: a query from inside gets out, and its answer back', () => {
    const [heard] = tested.say('a', query);
    expect(heard).toMatchObject({ port: 'o', src: OUTSIDE });
    expect(tested.say('o', answerTo(heard!, query))).toMatchObject([{ port: 'a', dst: ADDRESSES.a, sport: 4000 }]);
  });

  test('REQ-1a: an identifier has one outside identifier, whomever it asks', () => {
    tested.say('b', out('icmp', { src: ADDRESSES.b }));
    const first = mappingOf(tested, query);
    expect(first).not.toBe(`${OUTSIDE}:4000`);
    expect(mappingOf(tested, out('icmp', { dst: OTHER }))).toBe(first);
  });

  test('REQ-2: a query is remembered for sixty seconds', () => {
    const [heard] = tested.say('a', query);
    tested.now += 59 * SECONDS;
    tested.introduce();
    expect(tested.say('o', answerTo(heard!, query))).toHaveLength(1);
  });

  test('REQ-2a: how long can be set', () => {
    tested = new NatSwitch({}, { settings: { conntrack: { timeouts: { icmp: '5m' } } } });
    const [heard] = tested.say('a', query);
    tested.now += 299 * SECONDS;
    tested.introduce();
    expect(tested.say('o', answerTo(heard!, query))).toHaveLength(1);
  });
});

describe('RFC 5508: errors from outside', () => {
  let port: number;
  beforeEach(() => {
    crowd();
    port = tested.say('a', out('udp'))[0]!.sport;
  });
  const hear = (quoted: Uint8Array, type = 3, code = 3) =>
    tested.hear({ port: 'o', octets: tested.errorFrame('o', '203.0.113.99', OUTSIDE, quoted, type, code) });

  test('REQ-3: one whose checksum is wrong is dropped silently', () => {
    const octets = tested.errorFrame('o', '203.0.113.99', OUTSIDE, quotation(port));
    write16(octets, 36, read16(octets, 36) ^ 0x0101);
    expect(tested.run({ port: 'o', octets })).toEqual([]);
    expect(tested.dropped('o', 'bad_checksum')).toBe(1);
  });

  test('REQ-3a: one that quotes an IP header whose checksum is wrong is dropped silently', () => {
    expect(hear(quotation(port, { isBroken: true }))).toEqual([]);
  });

  test.each([4, 12, 40])('REQ-3b: one that quotes %i octets of IP options finds its way', (options) => {
    const [back] = hear(quotation(port, { options }));
    expect(back).toMatchObject({ port: 'a', dst: ADDRESSES.a });
    expect(read16(quotedOf(back!), 20 + options)).toBe(4000);
  });

  test('REQ-3c: the checksum of the quoted transport is not asked about', () => {
    const quoted = quotation(port);
    write16(quoted, 26, 0x1234);
    expect(hear(quoted)).toMatchObject([{ port: 'a' }]);
  });

  test('REQ-3d: extensions behind the quotation are no part of it', () => {
    const quoted = new Uint8Array(128 + 12).fill(0);
    quoted.set(quotation(port));
    quoted.set([0x20, 0, 0, 0, 0, 8, 1, 1, 0xde, 0xad, 0xbe, 0xef], 128);
    const octets = tested.errorFrame('o', '203.0.113.99', OUTSIDE, quoted, 11, 0);
    const [back] = tested.hear({ port: 'o', octets: withLength(octets, 32) });
    expect(back).toMatchObject({ port: 'a' });
    const original = tested.frame('a', out('udp', { ttl: 1 })).slice(14);
    expect(Array.from(quotedOf(back!).slice(0, original.length))).toEqual(Array.from(original));
    expect(Array.from(quotedOf(back!).slice(128))).toEqual(Array.from(quoted.slice(128)));
  });

  test('REQ-4: one about nothing known is dropped silently', () => {
    expect(hear(quotation(port + 2))).toEqual([]);
    expect(tested.hear({ port: 'o', octets: tested.error(out('icmp', { sport: 99 })) })).toEqual([]);
  });

  test.each(PROTOCOLS)('REQ-4a: what it quotes is %s as it was sent', (proto) => {
    tested.say('b', out(proto, { src: ADDRESSES.b }));
    const [heard] = tested.say('a', out(proto));
    const [back] = tested.hear({ port: 'o', octets: tested.error(out(proto), { outside: heard!.sport }) });
    expect(Array.from(quotedOf(back!))).toEqual(Array.from(tested.frame('a', out(proto, { ttl: 1 })).slice(14)));
  });

  test.each([
    [3, 0],
    [3, 13],
    [11, 1],
    [12, 0],
  ])('REQ-4b, c: type %i and code %i stay, and it goes to who is quoted', (type, code) => {
    const [back] = hear(quotation(port), type, code);
    expect(back).toMatchObject({ port: 'a', src: '203.0.113.99', dst: ADDRESSES.a });
    expect(Array.from(back!.sent.octets.slice(34, 36))).toEqual([type, code]);
  });
});

describe('RFC 5508: errors from inside', () => {
  beforeEach(() => {
    tested = new NatSwitch({
      floating: { [FLOATING]: ADDRESSES.b },
      forwards: [{ proto: 'udp', port: 5000, to: `${ADDRESSES.a}:80` }],
    });
  });

  test('REQ-5: one about nothing known is dropped silently', () => {
    const quoted = quotation(4444);
    expect(tested.hear({ port: 'a', octets: tested.errorFrame('a', ADDRESSES.a, SERVER, quoted, 3, 3) })).toEqual([]);
  });

  test.each([
    ['a forward', 'a', ADDRESSES.a, OUTSIDE],
    ['a floating address', 'b', ADDRESSES.b, FLOATING],
  ] as const)(
    'REQ-5a, b, c: one about a packet to %s comes from that, and quotes it as it was sent',
    (_, name, inside, dst) => {
      const call = inward('udp', 5000, { dst });
      const [got] = tested.say('o', call);
      expect(got).toMatchObject({ port: name, dst: inside });
      const octets = tested.errorFrame(name, inside, SERVER, got!.sent.octets.slice(14), 3, 3);
      const [back] = tested.hear({ port: name, octets });
      expect(back).toMatchObject({ port: 'o', src: dst, dst: SERVER });
      expect(Array.from(back!.sent.octets.slice(34, 36))).toEqual([3, 3]);
      expect(Array.from(quotedOf(back!))).toEqual(Array.from(tested.frame('o', { ...call, ttl: 63 }).slice(14)));
    },
  );

  test('REQ-6: an error neither keeps nor ends the query that it is about', () => {
    const [heard] = tested.say('a', query);
    tested.now += 40 * SECONDS;
    tested.introduce();
    tested.hear({ port: 'o', octets: tested.error(query, { outside: heard!.sport }) });
    expect(tested.say('o', answerTo(heard!, query))).toHaveLength(1);
    tested.now += 40 * SECONDS;
    tested.introduce();
    tested.hear({ port: 'o', octets: tested.error(query, { outside: heard!.sport }) });
    tested.now += 40 * SECONDS;
    tested.introduce();
    expect(tested.say('o', answerTo(heard!, query))).toEqual([]);
  });

  test('REQ-7: a query to a floating address from inside gets there, and its answer back', () => {
    const ask = out('icmp', { dst: FLOATING });
    const [got] = tested.say('a', ask);
    expect(got).toMatchObject({ port: 'b', src: OUTSIDE, dst: ADDRESSES.b });
    const answer = { ...ask, src: ADDRESSES.b, dst: OUTSIDE, sport: got!.sport, dport: got!.sport, type: 0 };
    expect(tested.say('b', answer)).toMatchObject([{ port: 'a', src: FLOATING, dst: ADDRESSES.a, sport: 4000 }]);
  });

  test('REQ-7a: an error about a packet that turned round goes to its sender, with what he had sent', () => {
    const call = out('udp', { dst: FLOATING });
    const [got] = tested.say('a', call);
    const octets = tested.errorFrame('b', ADDRESSES.b, OUTSIDE, got!.sent.octets.slice(14), 3, 3);
    const [back] = tested.hear({ port: 'b', octets });
    expect(back).toMatchObject({ port: 'a', src: FLOATING, dst: ADDRESSES.a });
    expectSound(back!.sent);
    expect(Array.from(quotedOf(back!))).toEqual(Array.from(tested.frame('a', { ...call, ttl: 63 }).slice(14)));
  });
});

describe('RFC 5508: what a router says itself', () => {
  test.each([
    ['no port is free', { pool: '5000' }, 'nat_exhausted'],
    ['the machine has its share', { perVm: 1 }, 'nat_limit'],
  ] as const)('REQ-8: when %s, the sender is told that it is prohibited', (_, external, reason) => {
    tested = new NatSwitch({ external });
    tested.say('a', out('udp'));
    const [told, ...others] = tested.say('a', out('udp', { sport: 4001 }));
    expect(others).toEqual([]);
    expect(told).toMatchObject({ port: 'a', src: '192.0.2.1', dst: ADDRESSES.a, protocol: 1 });
    expect(Array.from(told!.sent.octets.slice(34, 36))).toEqual([3, 13]);
    expect(tested.dropped('a', reason)).toBe(1);
  });

  test('REQ-10a: Destination Unreachable, Time Exceeded and Echo are supported', () => {
    const [expired] = tested.say('a', out('udp', { ttl: 1 }));
    expect(Array.from(expired!.sent.octets.slice(34, 36))).toEqual([11, 0]);
    const [unreachable] = tested.say('o', inward('udp', 9999));
    expect(Array.from(unreachable!.sent.octets.slice(34, 36))).toEqual([3, 3]);
    const [echo] = tested.say('a', out('icmp', { dst: '192.0.2.1' }));
    expect(Array.from(echo!.sent.octets.slice(34, 36))).toEqual([0, 0]);
  });

  test.each([4, 5, 15, 16])('REQ-10c: ICMP type %i is neither made nor let through', (type) => {
    const [heard] = tested.say('a', out('udp'));
    const octets = tested.error(out('udp'), { outside: heard!.sport, type, code: 0 });
    expect(tested.run({ port: 'o', octets })).toEqual([]);
  });
});

/** The ICMP message says how long its quotation is, in words (RFC 4884 section 5). */
function withLength(octets: Uint8Array, words: number): Uint8Array {
  octets[39] = words;
  write16(octets, 36, 0);
  let sum = 0;
  for (let at = 34; at < octets.length; at += 2) sum += read16(octets, at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  write16(octets, 36, ~sum & 0xffff);
  return octets;
}
