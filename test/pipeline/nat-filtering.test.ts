/** What a router lets in to a mapped port (RFC 4787 section 5), and what it remembers for that. */
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { NEVER } from './connection-fixture.js';
import { inward, out, SERVER } from './nat-flows.js';
import { ADDRESSES, NatSwitch, OUTSIDE } from './nat-switch.js';

const STRANGER = '198.51.100.222';

describe('address-dependent filtering', () => {
  let tested: NatSwitch;
  beforeEach(() => {
    tested = new NatSwitch({ external: { filtering: 'address-dependent' } });
  });

  test.each(['tcp', 'udp'] as const)('lets any port of an address in that %s was sent to', (proto) => {
    tested.say('a', out(proto));
    const [heard, ...others] = tested.say('o', inward(proto, 4000));
    expect(others).toEqual([]);
    expect(heard).toMatchObject({ port: 'a', src: SERVER, dst: ADDRESSES.a, sport: 9, dport: 4000 });
    const answer = { proto, src: ADDRESSES.a, dst: SERVER, sport: 4000, dport: 9, flags: 0x12, ack: 14 };
    expect(tested.say('a', answer)).toMatchObject([{ port: 'o', src: OUTSIDE, sport: 4000, dport: 9 }]);
  });

  test.each(['tcp', 'udp'] as const)('keeps everybody else out, by %s', (proto) => {
    tested.say('a', out(proto));
    expect(tested.say('o', inward(proto, 4000, { src: STRANGER }))).toEqual([]);
    expect(tested.dropped('o', 'nat_filtered')).toBe(1);
  });

  test('goes by the port that has sent, not by the machine', () => {
    tested.say('a', out('udp'));
    tested.say('a', out('udp', { sport: 5000, dst: STRANGER }));
    expect(tested.say('o', inward('udp', 5000))).toEqual([]);
    expect(tested.say('o', inward('udp', 4000, { src: STRANGER }))).toEqual([]);
    expect(tested.dropped('o', 'nat_filtered')).toBe(2);
  });

  test('goes by the protocol', () => {
    tested.say('a', out('udp'));
    expect(tested.say('o', inward('tcp', 4000))).toEqual([]);
    expect(tested.dropped('o', 'nat_filtered')).toBe(1);
  });

  test('does not ask whether who was sent to is inside, too', () => {
    tested.say('a', out('udp'));
    const hairpin = { proto: 'udp', src: ADDRESSES.b, dst: OUTSIDE, sport: 70, dport: 4000 } as const;
    expect(tested.say('b', hairpin)).toMatchObject([{ port: 'a', src: OUTSIDE, dst: ADDRESSES.a }]);
  });

  test('forgets the address with the last connection to or from it', () => {
    const { connections } = tested;
    tested.say('a', out('udp'));
    tested.say('a', out('udp', { dport: 81 }));
    tested.say('o', inward('udp', 4000));
    // Three connections of two entries each, a pair of mappings, one contact.
    expect(connections.used).toBe(9);
    expect(connections.flush({ port: tested.index('o') })).toBe(1);
    expect(tested.say('o', inward('udp', 4000, { sport: 10 }))).toHaveLength(1);
    connections.flush();
    expect(connections.used).toBe(0);
    expect(tested.say('o', inward('udp', 4000, { sport: 11 }))).not.toMatchObject([{ port: 'a' }]);
  });

  test('keeps no more addresses than connections, within the share of the port', () => {
    const settings = { conntrack: { capacity: 4096, perPort: '1%' } };
    tested = new NatSwitch({ external: { filtering: 'address-dependent' } }, { settings });
    const { connections } = tested;
    for (let host = 1; host < 255; host++) tested.say('a', out('udp', { dst: `198.51.100.${host}` }));
    expect(connections.usedBy(tested.index('a'))).toBeLessThanOrEqual(40);
    const rows = [...connections.list(0, NEVER)];
    // Of each two entries and a contact, and a pair of mappings for all.
    expect(connections.used).toBe(rows.length * 3 + 2);
  });

  test('survives a repair', () => {
    tested.say('a', out('udp'));
    tested.say('o', inward('udp', 4000));
    const { used } = tested.connections;
    tested.connections.recover();
    expect(tested.connections.used).toBe(used);
    expect(tested.say('o', inward('udp', 4000, { sport: 10 }))).toHaveLength(1);
    expect(tested.say('o', inward('udp', 4000, { src: STRANGER }))).toEqual([]);
    tested.connections.flush();
    expect(tested.connections.used).toBe(0);
  });
});

test.each(['endpoint-dependent', 'endpoint-independent'])('%s filtering remembers no addresses', (filtering) => {
  const tested = new NatSwitch({ external: { filtering } });
  tested.say('a', out('udp'));
  expect(tested.connections.used).toBe(4);
});

describe('what another worker removes between a packet’s look-up and the lock', () => {
  test.each(['address-dependent', 'endpoint-independent'])('lets it in no more, with %s filtering', (filtering) => {
    const tested = new NatSwitch({ external: { filtering } });
    tested.say('a', out('udp'));
    const { connections } = tested;
    const lock = vi.spyOn(connections, 'lockPatiently').mockImplementationOnce(() => {
      connections.flush();
      return connections.lockPatiently();
    });
    expect(tested.say('o', inward('udp', 4000))).toEqual([]);
    expect(tested.dropped('o', 'nat_filtered')).toBe(1);
    expect(connections.used).toBe(0);
    expect(connections.ports.countTaken(1)).toBe(0);
    lock.mockRestore();
  });
});
