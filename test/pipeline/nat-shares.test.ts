/** At whose expense the connections are that a router translates: a flood from outside takes the share of whom it is for. */
import { beforeEach, describe, expect, test } from 'vitest';
import { SERVER, udp } from './nat-flows.js';
import { ADDRESSES, MACS, NatSwitch, OUTSIDE, type RouterParts } from './nat-switch.js';
import { vm } from './test-switch.js';

const FLOATING = { a: '203.0.113.20', b: '203.0.113.21' };
/** More than any share: 5 % of 4096 entries, of which a connection has two and more. */
const FLOOD = 120;
const settings = { conntrack: { capacity: 4096, perPort: '5%' } };
const share = 4096 / 20;

let tested: NatSwitch;

function begin(parts: RouterParts, ports = {}): void {
  const a = vm({ network: 'red' });
  const b = vm({ network: 'red' });
  const o = vm({ network: 'ext' });
  tested = new NatSwitch(parts, { settings, ports: { a, b, c: vm({ network: 'blue' }), o, ...ports } });
}

/** Streams from outside, which a answers, so that none of them gives way. Returns how many got to it. */
function flood(to: string, dport: number, src = SERVER): number {
  let count = 0;
  for (let sport = 2000; sport < 2000 + FLOOD; sport++) {
    const [heard] = tested.say('o', udp(src, to, sport, dport));
    if (heard?.port !== 'a') continue;
    count++;
    tested.say('a', udp(ADDRESSES.a, src, heard.dport, sport));
    tested.say('o', udp(src, to, sport, dport));
  }
  return count;
}

const usedBy = (name: string) => tested.connections.usedBy(tested.index(name));

describe.each([
  ['a floating address', { floating: { [FLOATING.a]: ADDRESSES.a, [FLOATING.b]: ADDRESSES.b } }, FLOATING],
  [
    'a forward',
    {
      forwards: [5000, 6000].map((port) => ({
        proto: 'udp',
        port,
        to: `${port === 5000 ? ADDRESSES.a : ADDRESSES.b}:${port}`,
      })),
    },
    { a: OUTSIDE, b: OUTSIDE },
  ],
])('a flood from outside to %s', (_, parts, to) => {
  beforeEach(() => begin(parts));

  test('uses up the share of whom it is for, and nobody else’s', () => {
    const count = flood(to.a, 5000);
    expect(count).toBeGreaterThan(share / 8);
    expect(count).toBeLessThan(FLOOD);
    expect(tested.dropped('o', 'conntrack_port_limit')).toBe(FLOOD - count);
    expect(usedBy('a')).toBeGreaterThan(share - 5);
    expect(usedBy('o')).toBe(0);
    expect(tested.say('o', udp(SERVER, to.b, 9, 6000))).toMatchObject([{ port: 'b', dst: ADDRESSES.b }]);
    expect(usedBy('b')).toBe(2);
    expect(tested.say('b', udp(ADDRESSES.b, SERVER, 7000, 53))).toMatchObject([{ port: 'o' }]);
  });
});

test.each(['endpoint-independent', 'address-dependent'])(
  'a flood by a mapping, with %s filtering, is the mapped machine’s, contacts and all',
  (filtering) => {
    begin({ external: { filtering }, floating: { [FLOATING.b]: ADDRESSES.b } });
    tested.say('a', udp(ADDRESSES.a, SERVER, 5000, 53));
    const count = flood(OUTSIDE, 5000);
    expect(count).toBeLessThan(FLOOD);
    expect(usedBy('o')).toBe(0);
    expect(tested.connections.used).toBe(usedBy('a'));
    expect(tested.say('o', udp(SERVER, FLOATING.b, 9, 80))).toMatchObject([{ port: 'b' }]);
  },
);

test('a machine outside that can only speak for itself pays itself', () => {
  const o = vm({ network: 'ext', antiSpoof: true, mac: MACS.o, addresses: [`${ADDRESSES.o}/24`] });
  begin({ floating: { [FLOATING.a]: ADDRESSES.a } }, { o });
  expect(flood(FLOATING.a, 5000, ADDRESSES.o)).toBeLessThan(FLOOD);
  expect(usedBy('a')).toBe(0);
  expect(usedBy('o')).toBeGreaterThan(share - 5);
  expect(tested.say('a', udp(ADDRESSES.a, SERVER, 7000, 53))).toMatchObject([{ port: 'o', src: FLOATING.a }]);
});
