/** What becomes of translated connections when the configuration changes. */
import { describe, expect, test } from 'vitest';
import { NEVER } from '../pipeline/connection-fixture.js';
import { outFrom, SERVER, udp } from '../pipeline/nat-flows.js';
import { ADDRESSES, NatSwitch, natDocument, OUTSIDE, type RouterParts } from '../pipeline/nat-switch.js';

const FLOATING = '203.0.113.20';

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
    tested.say('a', outFrom(4000));
    expect(reconfigure(tested, { floating: { [FLOATING]: ADDRESSES.a } })).toBe(0);
    expect(tested.say('a', outFrom(4000))).toMatchObject([{ src: OUTSIDE, sport: 4000 }]);
    expect(tested.say('o', udp(SERVER, OUTSIDE, 80, 4000))).toMatchObject([{ port: 'a', dst: ADDRESSES.a }]);
    expect(tested.say('a', outFrom(4001))).toMatchObject([{ src: FLOATING, sport: 4001 }]);
    // Also from the port that SNAT has mapped.
    expect(tested.say('a', outFrom(4000, { dport: 81 }))).toMatchObject([{ src: FLOATING, sport: 4000 }]);
  });
});

describe('a floating address that is taken away', () => {
  const floating = { [FLOATING]: ADDRESSES.a };
  test('takes its connections with it, in both directions', () => {
    const tested = new NatSwitch({ floating });
    tested.say('a', outFrom(4000));
    tested.say('o', udp(SERVER, FLOATING, 5, 22));
    tested.say('b', outFrom(7000, { src: ADDRESSES.b, dst: FLOATING }));
    expect(reconfigure(tested, {})).toBe(3);
    expect(tested.connections.used).toBe(0);
    expect(tested.say('a', outFrom(4000))).toMatchObject([{ src: OUTSIDE }]);
    expect(tested.say('o', udp(SERVER, FLOATING, 5, 22))).toEqual([]);
  });

  test('and given to another machine is that one’s from then on', () => {
    const tested = new NatSwitch({ floating });
    tested.say('o', udp(SERVER, FLOATING, 80, 22));
    expect(reconfigure(tested, { floating: { [FLOATING]: ADDRESSES.b } })).toBe(1);
    expect(tested.say('o', udp(SERVER, FLOATING, 80, 22))).toMatchObject([{ port: 'b', dst: ADDRESSES.b }]);
  });
});

describe('a forward', () => {
  const forward = { proto: 'udp', port: '5000-5009', to: `${ADDRESSES.a}:6000-6009` };
  const open = () => {
    const tested = new NatSwitch({ forwards: [forward] });
    tested.say('o', udp(SERVER, OUTSIDE, 80, 5003));
    tested.say('b', udp(ADDRESSES.b, OUTSIDE, 7000, 5003));
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
      tested.say('a', outFrom(4000));
      expect(reconfigure(tested, { external })).toBe(1);
      expect(tested.connections.used).toBe(0);
    }
  });

  test('stay when the pool or the share becomes smaller', () => {
    const tested = new NatSwitch();
    tested.say('a', outFrom(4000));
    expect(reconfigure(tested, { external: { pool: '9000', perVm: 1 } })).toBe(0);
    expect(tested.say('o', udp(SERVER, OUTSIDE, 80, 4000))).toMatchObject([{ port: 'a' }]);
  });
});

describe('a connection that came in by a mapped port', () => {
  const stranger = udp('198.51.100.222', OUTSIDE, 80, 4000);
  const friend = udp(SERVER, OUTSIDE, 9, 4000);
  const neighbour = udp(ADDRESSES.b, OUTSIDE, 7000, 4000);

  test('ends when filtering would keep it out', () => {
    const tested = new NatSwitch({ external: { filtering: 'endpoint-independent' } });
    tested.say('a', outFrom(4000));
    expect(tested.say('o', stranger)).toHaveLength(1);
    expect(tested.say('b', neighbour)).toHaveLength(1);
    expect(reconfigure(tested, { external: { filtering: 'endpoint-dependent' } })).toBe(1);
    expect(tested.say('o', stranger)).toEqual([]);
  });

  test('stays when the machine has sent to its address, and that counts', () => {
    const tested = new NatSwitch({ external: { filtering: 'address-dependent' } });
    tested.say('a', outFrom(4000));
    expect(tested.say('o', friend)).toHaveLength(1);
    expect(reconfigure(tested, { external: { filtering: 'address-dependent', perVm: 9 } })).toBe(0);
    expect(reconfigure(tested, { external: { filtering: 'endpoint-independent' } })).toBe(0);
    expect(reconfigure(tested, {})).toBe(1);
  });
});
