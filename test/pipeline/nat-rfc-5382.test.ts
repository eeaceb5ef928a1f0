/** NAT and TCP: the requirements of RFC 5382 and the updates of RFC 7857, by their numbers. README.md names these tests. */
import { beforeEach, describe, expect, test } from 'vitest';
import { answerTo, inward, mappingOf, OTHER, open, out, SERVER } from './nat-flows.js';
import { ACK, ADDRESSES, type Flow, NatSwitch, OUTSIDE, SYN } from './nat-switch.js';

const SECONDS = 1000;
const MINUTES = 60 * SECONDS;
const RST = 4;
const FIN = 1;
/** Where machine a's port 4000 is forwarded from. */
const PUBLIC = 8080;
let tested: NatSwitch;

beforeEach(() => {
  tested = new NatSwitch({ forwards: [{ proto: 'tcp', port: PUBLIC, to: `${ADDRESSES.a}:80` }] });
});

const plain = out('tcp', { size: 0 });
/** Whatever comes to the port that machine a's connection has. */
const from = (port: number, more: Partial<Flow>): Flow => ({ ...inward('tcp', port), sport: 80, size: 0, ...more });

/** What a sends in its connection leaves by the same port. */
function expectAlive(port: number): void {
  tested.introduce();
  expect(tested.say('a', { ...plain, flags: ACK, seq: 2, ack: 901 })).toMatchObject([{ src: OUTSIDE, sport: port }]);
  expect(tested.say('o', from(port, { flags: ACK, seq: 901, ack: 2 }))).toMatchObject([{ port: 'a', dport: 4000 }]);
}

describe('RFC 5382: connections', () => {
  test('REQ-1: an inside endpoint has one outside endpoint, whomever it connects to', () => {
    tested.say('b', out('tcp', { src: ADDRESSES.b }));
    const first = mappingOf(tested, out('tcp'));
    expect(first).not.toBe(`${OUTSIDE}:4000`);
    for (const more of [{ dst: OTHER }, { dport: 81 }]) expect(mappingOf(tested, out('tcp', more))).toBe(first);
  });

  test('REQ-2: a connection from inside opens, carries data both ways, and closes', () => {
    const { sport } = open(tested);
    expect(tested.say('a', { ...plain, flags: ACK, seq: 2, ack: 901, size: 100 })).toHaveLength(1);
    expect(tested.say('o', from(sport, { flags: ACK, seq: 901, ack: 102, size: 50 }))).toHaveLength(1);
    expect(tested.say('a', { ...plain, flags: FIN | ACK, seq: 102, ack: 951 })).toHaveLength(1);
    expect(tested.say('o', from(sport, { flags: FIN | ACK, seq: 951, ack: 103 }))).toHaveLength(1);
    expect(tested.say('a', { ...plain, flags: ACK, seq: 103, ack: 952 })).toHaveLength(1);
  });

  test('REQ-2: a connection from outside that is let in opens, too', () => {
    const [syn] = tested.say('o', { ...inward('tcp', PUBLIC), size: 0 });
    expect(syn).toMatchObject({ port: 'a', dst: ADDRESSES.a, dport: 80 });
    const answer = { ...plain, dst: SERVER, sport: 80, dport: 9, flags: SYN | ACK, seq: 900, ack: 2 };
    expect(tested.say('a', answer)).toMatchObject([{ src: OUTSIDE, sport: PUBLIC }]);
    expect(tested.say('o', { ...inward('tcp', PUBLIC), size: 0, flags: ACK, seq: 2, ack: 901 })).toHaveLength(1);
  });

  test('REQ-2a: a connection that both ends open at once opens', () => {
    const [syn] = tested.say('a', plain);
    const { sport } = syn!;
    expect(tested.say('o', from(sport, { seq: 900 }))).toMatchObject([{ port: 'a', dport: 4000 }]);
    expect(tested.say('a', { ...plain, flags: SYN | ACK, seq: 1, ack: 901 })).toHaveLength(1);
    expect(tested.say('o', from(sport, { flags: SYN | ACK, seq: 900, ack: 2 }))).toHaveLength(1);
    expectAlive(sport);
  });

  test.each([
    ['endpoint-independent', true, true],
    ['address-dependent', true, false],
    ['endpoint-dependent', false, false],
  ])('REQ-3: filtering can be %s', (filtering, hasPort, hasStranger) => {
    tested = new NatSwitch({ external: { filtering } });
    tested.say('a', plain);
    expect(tested.say('o', inward('tcp', 4000, { sport: 99 }))).toHaveLength(hasPort ? 1 : 0);
    expect(tested.say('o', inward('tcp', 4000, { src: OTHER }))).toHaveLength(hasStranger ? 1 : 0);
  });

  test('REQ-4: a SYN that nobody asked for is not answered, and does not keep its sender from being called', () => {
    expect(tested.say('o', from(4000, { seq: 900 }))).toEqual([]);
    tested.now += 5 * SECONDS;
    tested.introduce();
    const [syn] = tested.say('a', plain);
    expect(syn).toMatchObject({ port: 'o', src: OUTSIDE, sport: 4000 });
    expect(tested.say('o', answerTo(syn!, plain, { ack: 2 }))).toHaveLength(1);
  });

  test('REQ-4a: nor is it answered later, so that nobody can ask which ports are mapped', () => {
    expect(tested.say('o', from(4000, { seq: 900 }))).toEqual([]);
    for (let second = 0; second < 10; second++) {
      tested.now += SECONDS;
      expect(tested.run()).toEqual([]);
    }
    expect(tested.drops()).toEqual({ 'o nat_filtered': 1 });
  });

  test('REQ-5: an established connection lives two hours and four minutes without traffic', () => {
    const { sport } = open(tested);
    tested.now += 124 * MINUTES;
    expectAlive(sport);
  });

  test('REQ-5: a connection that is being closed lives four minutes', () => {
    const { sport } = open(tested);
    tested.say('a', { ...plain, flags: FIN | ACK, seq: 2, ack: 901 });
    tested.now += 239 * SECONDS;
    tested.introduce();
    expect(tested.say('o', from(sport, { flags: FIN | ACK, seq: 901, ack: 3 }))).toHaveLength(1);
    expect(tested.say('a', { ...plain, flags: ACK, seq: 3, ack: 902 })).toHaveLength(1);
    tested.now += 239 * SECONDS;
    tested.introduce();
    expect(tested.say('a', { ...plain, flags: ACK, seq: 3, ack: 902 })).toMatchObject([{ sport }]);
  });

  test('REQ-5a: how long a connection lives can be set, opening ones by themselves', () => {
    const timeouts = { tcpSyn: '4m', tcpEstablished: '3h' };
    tested = new NatSwitch({}, { settings: { conntrack: { timeouts } } });
    const [syn] = tested.say('a', plain);
    tested.now += 239 * SECONDS;
    tested.introduce();
    expect(tested.say('o', answerTo(syn!, plain, { ack: 2 }))).toHaveLength(1);
    tested.say('a', { ...plain, flags: ACK, seq: 2, ack: 901 });
    tested.now += 179 * MINUTES;
    expectAlive(syn!.sport);
  });

  test('REQ-6: no payload is changed, whatever addresses it speaks of (no ALGs)', () => {
    const sent = tested.frame('a', out('tcp', { dport: 21, size: 300 }));
    const [heard] = tested.hear({ port: 'a', octets: sent });
    expect(Array.from(heard!.sent.octets.slice(54))).toEqual(Array.from(sent.slice(54)));
    expect(heard!.sent.octets.length).toBe(sent.length);
  });

  test('REQ-7: no two inside endpoints have one outside endpoint, not even towards different ends', () => {
    const first = mappingOf(tested, plain);
    expect(mappingOf(tested, out('tcp', { src: ADDRESSES.b, dst: OTHER }), 'b')).not.toBe(first);
  });

  test('REQ-8: machines connect to each other by outside endpoints, and see each other’s (REQ-8a)', () => {
    const call = { ...inward('tcp', PUBLIC), src: ADDRESSES.b, sport: 7000, size: 0 };
    expect(tested.say('b', call)).toMatchObject([
      { port: 'a', src: OUTSIDE, sport: 7000, dst: ADDRESSES.a, dport: 80 },
    ]);
    const answer = { ...plain, dst: OUTSIDE, sport: 80, dport: 7000, flags: SYN | ACK, seq: 900, ack: 2 };
    expect(tested.say('a', answer)).toMatchObject([{ port: 'b', src: OUTSIDE, sport: PUBLIC, dst: ADDRESSES.b }]);
    expect(tested.say('b', { ...call, flags: ACK, seq: 2, ack: 901 })).toHaveLength(1);
  });

  test.each([0, 1, 2, 3, 4, 13])('REQ-9: Destination Unreachable of code %i is translated', (code) => {
    tested.say('b', out('tcp', { src: ADDRESSES.b }));
    const { sport } = open(tested);
    const octets = tested.error(out('tcp'), { outside: sport, type: 3, code });
    const [back] = tested.hear({ port: 'o', octets });
    expect(back).toMatchObject({ port: 'a', dst: ADDRESSES.a });
    expect(Array.from(back!.sent.octets.slice(34, 36))).toEqual([3, code]);
    expect(Array.from(back!.sent.octets.slice(54, 58))).toEqual([192, 0, 2, 5]);
  });

  test('REQ-10: no ICMP message ends a connection or its mapping', () => {
    const { sport } = open(tested);
    for (const [type, code] of [
      [3, 0],
      [3, 1],
      [3, 3],
      [3, 13],
      [11, 0],
      [11, 1],
      [12, 0],
      [4, 0],
      [5, 1],
    ] as const)
      tested.hear({ port: 'o', octets: tested.error(plain, { outside: sport, type, code }) });
    expectAlive(sport);
  });
});

describe('RFC 7857: connections', () => {
  test('2.1: a segment that belongs to no state of its connection does not move it', () => {
    const { sport } = open(tested);
    expect(tested.say('o', from(sport, { flags: RST, seq: 900_000_000 }))).toEqual([]);
    tested.now += 100 * MINUTES;
    expectAlive(sport);
  });

  test('2.2: opening and closing have times of their own', () => {
    const timeouts = { tcpSyn: '10s', tcpFin: '100s' };
    tested = new NatSwitch({}, { settings: { conntrack: { timeouts } } });
    const [opening] = tested.say('a', { ...plain, sport: 5000 });
    const { sport } = open(tested);
    tested.say('a', { ...plain, flags: FIN | ACK, seq: 2, ack: 901 });
    tested.now += 50 * SECONDS;
    tested.introduce();
    expect(tested.say('o', from(opening!.sport, { flags: SYN | ACK, seq: 900, ack: 2 }))).toEqual([]);
    expect(tested.say('o', from(sport, { flags: ACK, seq: 901, ack: 3 }))).toHaveLength(1);
  });

  test('2.3: a RST is translated', () => {
    const { sport } = open(tested);
    expect(tested.say('o', from(sport, { flags: RST, seq: 901 }))).toMatchObject([{ port: 'a', dport: 4000 }]);
  });

  test('2.3: after a RST the mapping is kept for four minutes', () => {
    tested.say('b', { ...plain, src: ADDRESSES.b });
    const { sport } = open(tested);
    tested.say('o', from(sport, { flags: RST, seq: 901 }));
    tested.now += 239 * SECONDS;
    tested.introduce();
    expect(mappingOf(tested, { ...plain, dst: OTHER })).toBe(`${OUTSIDE}:${sport}`);
  });
});
