/** Who is inside speaks for himself: not for the world outside, nor for a machine of another inside network (RFC 3704). */
import { beforeEach, describe, expect, test } from 'vitest';
import { udp } from './nat-flows.js';
import { ADDRESSES, type Flow, NatSwitch, natDocument, OUTSIDE, type Station } from './nat-switch.js';

const SERVER = '8.8.8.8';
const FLOATING = '203.0.113.20';

let tested: NatSwitch;

/** Nothing of it leaves, and it is a martian. */
function expectMartian(name: Station, flow: Flow): void {
  const before = tested.dropped(name, 'martian');
  expect(tested.say(name, flow)).toEqual([]);
  expect(tested.dropped(name, 'martian')).toBe(before + 1);
}

describe('a machine of another inside network', () => {
  beforeEach(() => {
    tested = new NatSwitch();
  });

  test('can’t answer what was asked outside, however often it was answered', () => {
    tested.say('a', udp(ADDRESSES.a, SERVER, 4000, 53));
    for (let round = 0; round < 4; round++) {
      expectMartian('c', udp(SERVER, OUTSIDE, 53, 4000));
      expect(tested.say('o', udp(SERVER, OUTSIDE, 53, 4000))).toMatchObject([{ port: 'a', src: SERVER }]);
      expectMartian('b', udp(SERVER, OUTSIDE, 53, 4000));
    }
  });

  test('can’t say anything as the world', () => {
    expectMartian('c', udp(SERVER, ADDRESSES.a, 53, 4000));
    tested.say('a', udp(ADDRESSES.a, SERVER, 4000, 53));
    expectMartian('c', udp('9.9.9.9', OUTSIDE, 53, 4000));
    expectMartian('c', { proto: 'icmp', src: SERVER, dst: ADDRESSES.a, sport: 1, dport: 1, type: 0 });
  });

  test.each([
    ['that is hidden', {}, OUTSIDE],
    ['that has a floating address', { floating: { [FLOATING]: ADDRESSES.a } }, FLOATING],
  ])('can’t speak as one %s, to begin a connection or in one', (_, parts, outside) => {
    tested = new NatSwitch(parts);
    expectMartian('c', udp(ADDRESSES.a, SERVER, 4000, 53));
    expectMartian('c', udp(ADDRESSES.a, ADDRESSES.b, 4000, 53));
    for (let round = 0; round < 4; round++) {
      expect(tested.say('a', udp(ADDRESSES.a, SERVER, 4000, 53))).toMatchObject([{ port: 'o', src: outside }]);
      expectMartian('c', udp(ADDRESSES.a, SERVER, 4000, 53));
    }
    expect(tested.connections.usedBy(tested.index('c'))).toBe(0);
  });

  test('can’t send an error in the name of a router outside', () => {
    tested.say('a', udp(ADDRESSES.a, SERVER, 4000, 53));
    const error = tested.error(udp(ADDRESSES.a, SERVER, 4000, 53), { from: '203.0.113.99' });
    const quoted = error.slice(14 + 20 + 8);
    expect(tested.hear({ port: 'c', octets: tested.errorFrame('c', '203.0.113.99', OUTSIDE, quoted) })).toEqual([]);
    expect(tested.dropped('c', 'martian')).toBe(1);
    expect(tested.hear({ port: 'o', octets: error })).toMatchObject([{ port: 'a', src: '203.0.113.99' }]);
  });

  test('can’t be the router, by any of its addresses', () => {
    for (const src of ['192.0.2.1', OUTSIDE]) expectMartian('c', udp(src, ADDRESSES.a, 53, 4000));
  });

  test('speaks to the others as itself, and by their outside addresses', () => {
    expect(tested.say('c', udp(ADDRESSES.c, ADDRESSES.a, 53, 4000))).toMatchObject([{ port: 'a', src: ADDRESSES.c }]);
    tested.say('a', udp(ADDRESSES.a, SERVER, 4000, 53));
    for (let round = 0; round < 3; round++) {
      const [heard] = tested.say('c', udp(ADDRESSES.c, OUTSIDE, 53, 4000));
      expect(heard).toMatchObject({ port: 'a', src: OUTSIDE });
      const answer = udp(ADDRESSES.a, OUTSIDE, 4000, heard!.sport);
      expect(tested.say('a', answer)).toMatchObject([{ port: 'c', src: OUTSIDE, dport: 53 }]);
    }
  });
});

describe('what is behind a machine inside', () => {
  const behind = '10.9.0.7';
  const route = (...via: string[]) => ({
    routes: [
      { to: '10.9.0.0/16', via },
      { to: '0.0.0.0/0', via: ADDRESSES.o },
    ],
  });
  const ask = udp(behind, SERVER, 4000, 53);

  test('comes by the way that the route to it says, and by no other', () => {
    tested = new NatSwitch(route(ADDRESSES.a));
    expect(tested.say('a', ask)).toMatchObject([{ port: 'o', src: OUTSIDE }]);
    expectMartian('c', ask);
    expectMartian('c', { ...ask, sport: 4001 });
  });

  test('comes by any of the ways that share it', () => {
    tested = new NatSwitch(route(ADDRESSES.a, ADDRESSES.c));
    for (const name of ['a', 'c', 'a', 'c'] as const)
      expect(tested.say(name, ask)).toMatchObject([{ port: 'o', src: OUTSIDE }]);
  });

  test('comes by none when no route leads there', () => {
    tested = new NatSwitch();
    expectMartian('a', ask);
    tested = new NatSwitch({ external: { snat: false }, floating: { [FLOATING]: ADDRESSES.b } });
    expectMartian('a', ask);
  });

  test('comes by the new way from when the route changes, also in connections that stand', () => {
    tested = new NatSwitch(route(ADDRESSES.a));
    for (let round = 0; round < 3; round++) expect(tested.say('a', ask)).toHaveLength(1);
    tested.configure(natDocument(route(ADDRESSES.c)));
    expectMartian('a', ask);
    expect(tested.say('c', ask)).toMatchObject([{ port: 'o', src: OUTSIDE }]);
  });
});
