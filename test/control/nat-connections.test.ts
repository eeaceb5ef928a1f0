/** What becomes of translated connections when the configuration changes. */
import { describe, expect, test } from 'vitest';
import { NEVER } from '../pipeline/connection-fixture.js';
import { ADDRESSES, type Flow, NatSwitch, natDocument, OUTSIDE, type RouterParts } from '../pipeline/nat-switch.js';

const SERVER = '198.51.100.200';
const FLOATING = '203.0.113.20';
const out = (sport: number, more: Partial<Flow> = {}): Flow => ({
  proto: 'udp',
  src: ADDRESSES.a,
  dst: SERVER,
  sport,
  dport: 80,
  ...more,
});
const inward = (dst: string, dport: number, more: Partial<Flow> = {}): Flow => ({
  proto: 'udp',
  src: SERVER,
  dst,
  sport: 80,
  dport,
  ...more,
});

/** Another configuration, which cuts what it does not allow. Returns how many connections that were. */
function reconfigure(tested: NatSwitch, parts: RouterParts): number {
  const count = () => [...tested.connections.list(0, NEVER)].length;
  const before = count();
  tested.configure(natDocument(parts));
  return before - count();
}

describe('a machine that is given a floating address', () => {
  test('keeps the connections it has by SNAT, and begins new ones by the floating address', () => {
    const tested = new NatSwitch();
    tested.say('a', out(4000));
    expect(reconfigure(tested, { floating: { [FLOATING]: ADDRESSES.a } })).toBe(0);
    expect(tested.say('a', out(4000))).toMatchObject([{ src: OUTSIDE, sport: 4000 }]);
    expect(tested.say('o', inward(OUTSIDE, 4000))).toMatchObject([{ port: 'a', dst: ADDRESSES.a }]);
    expect(tested.say('a', out(4001))).toMatchObject([{ src: FLOATING, sport: 4001 }]);
    // Also from the port that SNAT has mapped.
    expect(tested.say('a', out(4000, { dport: 81 }))).toMatchObject([{ src: FLOATING, sport: 4000 }]);
  });
});

describe('a floating address that is taken away', () => {
  const floating = { [FLOATING]: ADDRESSES.a };
  test('takes its connections with it, in both directions', () => {
    const tested = new NatSwitch({ floating });
    tested.say('a', out(4000));
    tested.say('o', inward(FLOATING, 22, { sport: 5 }));
    tested.say('b', { ...out(7000), src: ADDRESSES.b, dst: FLOATING });
    expect(reconfigure(tested, {})).toBe(3);
    expect(tested.connections.used).toBe(0);
    expect(tested.say('a', out(4000))).toMatchObject([{ src: OUTSIDE }]);
    expect(tested.say('o', inward(FLOATING, 22, { sport: 5 }))).toEqual([]);
  });

  test('and given to another machine is that one’s from then on', () => {
    const tested = new NatSwitch({ floating });
    tested.say('o', inward(FLOATING, 22));
    expect(reconfigure(tested, { floating: { [FLOATING]: ADDRESSES.b } })).toBe(1);
    expect(tested.say('o', inward(FLOATING, 22))).toMatchObject([{ port: 'b', dst: ADDRESSES.b }]);
  });
});

describe('a forward', () => {
  const forward = { proto: 'udp', port: '5000-5009', to: `${ADDRESSES.a}:6000-6009` };
  const open = () => {
    const tested = new NatSwitch({ forwards: [forward] });
    tested.say('o', inward(OUTSIDE, 5003));
    tested.say('b', { ...out(7000), src: ADDRESSES.b, dst: OUTSIDE, dport: 5003 });
    return tested;
  };

  test('that is gone, or leads elsewhere, takes its connections with it', () => {
    expect(reconfigure(open(), {})).toBe(2);
    expect(reconfigure(open(), { forwards: [{ ...forward, to: `${ADDRESSES.a}:6001-6010` }] })).toBe(2);
    expect(reconfigure(open(), { forwards: [{ ...forward, to: `${ADDRESSES.b}:6000-6009` }] })).toBe(2);
  });

  test('that still leads to the same port keeps them', () => {
    expect(reconfigure(open(), { forwards: [{ ...forward, port: '5003', to: `${ADDRESSES.a}:6003` }] })).toBe(0);
  });
});

describe('connections by SNAT', () => {
  test('end with the outside address, or with SNAT', () => {
    for (const external of [{ addresses: ['203.0.113.11/24', '2001:db8:e::a/64'] }, { snat: false }]) {
      const tested = new NatSwitch();
      tested.say('a', out(4000));
      expect(reconfigure(tested, { external })).toBe(1);
      expect(tested.connections.used).toBe(0);
    }
  });

  test('stay when the pool or the share becomes smaller', () => {
    const tested = new NatSwitch();
    tested.say('a', out(4000));
    expect(reconfigure(tested, { external: { pool: '9000', perVm: 1 } })).toBe(0);
    expect(tested.say('o', inward(OUTSIDE, 4000))).toMatchObject([{ port: 'a' }]);
  });
});

describe('a connection that came in by a mapped port', () => {
  const stranger = inward(OUTSIDE, 4000, { src: '198.51.100.222' });
  const friend = inward(OUTSIDE, 4000, { sport: 9 });
  const neighbour = { ...out(7000), src: ADDRESSES.b, dst: OUTSIDE, dport: 4000 };

  test('ends when filtering would keep it out', () => {
    const tested = new NatSwitch({ external: { filtering: 'endpoint-independent' } });
    tested.say('a', out(4000));
    expect(tested.say('o', stranger)).toHaveLength(1);
    expect(tested.say('b', neighbour)).toHaveLength(1);
    expect(reconfigure(tested, { external: { filtering: 'endpoint-dependent' } })).toBe(1);
    expect(tested.say('o', stranger)).toEqual([]);
  });

  test('stays when the machine has sent to its address, and that counts', () => {
    const tested = new NatSwitch({ external: { filtering: 'address-dependent' } });
    tested.say('a', out(4000));
    expect(tested.say('o', friend)).toHaveLength(1);
    expect(reconfigure(tested, { external: { filtering: 'address-dependent', perVm: 9 } })).toBe(0);
    expect(reconfigure(tested, { external: { filtering: 'endpoint-independent' } })).toBe(0);
    expect(reconfigure(tested, {})).toBe(1);
  });
});
