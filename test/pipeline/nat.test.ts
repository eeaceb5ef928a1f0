/** Source translation: what leaves, what comes back, and what does not get in. */
import { beforeEach, describe, expect, test } from 'vitest';
import { OTHER, out, PROTOCOLS, SERVER } from './nat-flows.js';
import { ACK, ADDRESSES, NatSwitch, OUTSIDE, SYN } from './nat-switch.js';

let tested: NatSwitch;

beforeEach(() => {
  tested = new NatSwitch();
});

describe.each(PROTOCOLS)('%s from inside', (proto) => {
  test('leaves from the outside address, and its answer gets back', () => {
    const [sent, ...others] = tested.say('a', out(proto));
    expect(others).toEqual([]);
    expect(sent).toMatchObject({ port: 'o', src: OUTSIDE, dst: SERVER, sport: 4000 });
    const answer = { ...out(proto), src: SERVER, dst: OUTSIDE, sport: sent!.dport, dport: sent!.sport };
    const back = tested.say('o', { ...answer, type: 0, flags: SYN | ACK, ack: 14 });
    expect(back).toMatchObject([{ port: 'a', src: SERVER, dst: ADDRESSES.a, dport: 4000 }]);
  });

  test('of two machines with one port has two ports outside', () => {
    const [one] = tested.say('a', out(proto));
    const [other] = tested.say('b', out(proto, { src: ADDRESSES.b }));
    expect(other!.src).toBe(OUTSIDE);
    expect(other!.sport).not.toBe(one!.sport);
    expect(other!.sport & 1).toBe(0);
    expect(other!.sport).toBeGreaterThanOrEqual(1024);
  });

  test('has the same outside endpoint whoever it goes to', () => {
    tested.say('b', out(proto, { src: ADDRESSES.b }));
    const [one] = tested.say('a', out(proto));
    const [other] = tested.say('a', out(proto, { dst: OTHER, dport: proto === 'icmp' ? 4000 : 81 }));
    expect(one!.sport).not.toBe(4000);
    expect([other!.src, other!.sport]).toEqual([one!.src, one!.sport]);
  });
});

describe('what comes from outside', () => {
  test.each(['endpoint-dependent', 'endpoint-independent'] as const)(
    'to a mapped port with %s filtering',
    (filtering) => {
      tested = new NatSwitch({ external: { filtering } });
      tested.say('a', out('udp'));
      const stranger = { proto: 'udp', src: '198.51.100.222', dst: OUTSIDE, sport: 9, dport: 4000 } as const;
      const heard = tested.say('o', stranger);
      if (filtering === 'endpoint-dependent') {
        expect(heard).toEqual([]);
        expect(tested.dropped('o', 'nat_filtered')).toBe(1);
        return;
      }
      expect(heard).toMatchObject([{ port: 'a', src: '198.51.100.222', dst: ADDRESSES.a, sport: 9, dport: 4000 }]);
      const answer = { proto: 'udp', src: ADDRESSES.a, dst: '198.51.100.222', sport: 4000, dport: 9 } as const;
      expect(tested.say('a', answer)).toMatchObject([{ src: OUTSIDE, sport: 4000, dport: 9 }]);
    },
  );

  test('does not reach an inside address, whatever stands', () => {
    tested.say('a', out('udp'));
    const direct = { proto: 'udp', src: SERVER, dst: ADDRESSES.a, sport: 80, dport: 4000 } as const;
    expect(tested.say('o', direct)).toEqual([]);
    expect(tested.say('o', { ...direct, src: '198.51.100.222' })).toEqual([]);
    expect(tested.dropped('o', 'nat_filtered')).toBe(2);
  });

  test.each([
    ['an inside address', ADDRESSES.b],
    ['the router’s own', '203.0.113.10'],
  ])('says that it is from %s, and is not believed', (_, src) => {
    tested = new NatSwitch({ forwards: [{ proto: 'udp', port: 5000, to: `${ADDRESSES.a}:5000` }] });
    tested.say('b', out('udp', { src: ADDRESSES.b }));
    expect(tested.say('o', { proto: 'udp', src, dst: OUTSIDE, sport: 4000, dport: 5000 })).toEqual([]);
    expect(tested.dropped('o', 'martian')).toBe(1);
    expect(tested.say('o', out('udp', { src }))).toEqual([]);
  });

  test('opens no connection from both sides and is not told so (RFC 5382 REQ-4)', () => {
    expect(tested.say('o', { proto: 'tcp', src: SERVER, dst: OUTSIDE, sport: 80, dport: 4000 })).toEqual([]);
    expect(tested.dropped('o', 'nat_filtered')).toBe(1);
  });

  test('pings the router itself', () => {
    const heard = tested.say('o', { proto: 'icmp', src: SERVER, dst: OUTSIDE, sport: 7, dport: 7 });
    expect(heard).toMatchObject([{ port: 'o', src: OUTSIDE, dst: SERVER, sport: 7 }]);
  });
});

describe('an ICMP error (RFC 5508)', () => {
  test.each(PROTOCOLS)('about %s from inside gets back to who sent it, as he had sent it', (proto) => {
    tested.say('b', out(proto, { src: ADDRESSES.b }));
    const [sent] = tested.say('a', out(proto));
    const [back] = tested.hear({ port: 'o', octets: tested.error(out(proto), { outside: sent!.sport }) });
    expect(back).toMatchObject({ port: 'a', src: '203.0.113.99', dst: ADDRESSES.a });
    const { octets } = back!.sent;
    const original = tested.frame('a', out(proto, { ttl: 1 }));
    expect(Array.from(octets.slice(42))).toEqual(Array.from(original.slice(14)));
  });

  test('from inside about a packet from outside hides who is inside', () => {
    tested = new NatSwitch({ floating: { '203.0.113.20': ADDRESSES.a } });
    const inward = { proto: 'udp', src: SERVER, dst: '203.0.113.20', sport: 7, dport: 9 } as const;
    const [got] = tested.say('o', inward);
    const quoted = got!.sent.octets.slice(14);
    const [back] = tested.hear({ port: 'a', octets: tested.errorFrame('a', ADDRESSES.a, SERVER, quoted, 3, 3) });
    expect(back).toMatchObject({ port: 'o', src: '203.0.113.20', dst: SERVER });
    const original = tested.frame('o', { ...inward, ttl: 63 });
    expect(Array.from(back!.sent.octets.slice(42))).toEqual(Array.from(original.slice(14)));
  });

  test('ends no mapping (RFC 4787 REQ-12), and one about nothing known goes nowhere', () => {
    const [sent] = tested.say('a', out('udp'));
    tested.hear({ port: 'o', octets: tested.error(out('udp'), { type: 3, code: 3 }) });
    expect(tested.say('a', out('udp', { dport: 81 }))[0]!.sport).toBe(sent!.sport);
    expect(tested.hear({ port: 'o', octets: tested.error(out('udp', { sport: 4999 })) })).toEqual([]);
  });
});

describe('a floating address', () => {
  const FLOATING = '203.0.113.20';
  beforeEach(() => {
    tested = new NatSwitch({ floating: { [FLOATING]: ADDRESSES.a } });
  });

  test.each(PROTOCOLS)('is reached from outside by %s, and answers', (proto) => {
    const inward = { proto, src: SERVER, dst: FLOATING, sport: 70, dport: proto === 'icmp' ? 70 : 80 };
    expect(tested.say('o', inward)).toMatchObject([{ port: 'a', src: SERVER, dst: ADDRESSES.a, dport: inward.dport }]);
    const answer = { proto, src: ADDRESSES.a, dst: SERVER, sport: inward.dport, dport: 70, type: 0 };
    const back = tested.say('a', { ...answer, flags: SYN | ACK, ack: 14 });
    expect(back).toMatchObject([{ port: 'o', src: FLOATING, dst: SERVER, sport: inward.dport }]);
  });

  test('is what its machine is seen with outside, before SNAT', () => {
    expect(tested.say('a', out('tcp'))).toMatchObject([{ src: FLOATING, sport: 4000 }]);
    expect(tested.say('b', out('tcp', { src: ADDRESSES.b }))).toMatchObject([{ src: OUTSIDE, sport: 4000 }]);
  });

  test('is pinged by its own machine and answers from itself', () => {
    const ping = { proto: 'icmp', src: ADDRESSES.a, dst: FLOATING, sport: 7, dport: 7 } as const;
    expect(tested.say('a', ping)).toMatchObject([{ port: 'a', src: FLOATING, dst: ADDRESSES.a }]);
    const answer = { ...ping, type: 0 };
    expect(tested.say('a', answer)).toMatchObject([{ port: 'a', src: FLOATING, dst: ADDRESSES.a }]);
  });

  test('is reached from inside, who is seen with the outside address (RFC 4787 REQ-9)', () => {
    const inward = { proto: 'tcp', src: ADDRESSES.b, dst: FLOATING, sport: 7000, dport: 80 } as const;
    expect(tested.say('b', inward)).toMatchObject([
      { port: 'a', src: OUTSIDE, dst: ADDRESSES.a, sport: 7000, dport: 80 },
    ]);
    const answer = {
      proto: 'tcp',
      src: ADDRESSES.a,
      dst: OUTSIDE,
      sport: 80,
      dport: 7000,
      flags: SYN | ACK,
      ack: 14,
    } as const;
    expect(tested.say('a', answer)).toMatchObject([
      { port: 'b', src: FLOATING, dst: ADDRESSES.b, sport: 80, dport: 7000 },
    ]);
  });

  test('carries protocols without ports', () => {
    const octets = tested.ipFrame('o', SERVER, FLOATING, 47, Uint8Array.of(0, 0, 8, 0));
    expect(tested.hear({ port: 'o', octets })).toMatchObject([{ port: 'a', dst: ADDRESSES.a, protocol: 47 }]);
  });

  test('of IPv6 is 1:1, and other IPv6 is routed', () => {
    tested = new NatSwitch({ floating: { '2001:db8:e::20': '2001:db8:a::5' } });
    tested.announce('a', '2001:db8:a::5');
    tested.announce('b', '2001:db8:a::6');
    tested.announce('o', '2001:db8:e::1');
    tested.sent.length = 0;
    const inward = { proto: 'udp', src: '2001:db8:e::1', dst: '2001:db8:e::20', sport: 7, dport: 9 } as const;
    expect(tested.say('o', inward)).toMatchObject([{ port: 'a', dst: '2001:db8:a::5', dport: 9 }]);
    expect(tested.say('o', { ...inward, dst: '2001:db8:a::6', sport: 8 })).toMatchObject([{ port: 'b', sport: 8 }]);
    // Its answer would be from the floating address, which nobody asked.
    expect(tested.say('o', { ...inward, dst: '2001:db8:a::5', sport: 8 })).toEqual([]);
    expect(tested.dropped('o', 'nat_filtered')).toBe(1);
  });
});

describe('a forward', () => {
  beforeEach(() => {
    const forwards = [
      { proto: 'tcp', port: 8080, to: `${ADDRESSES.a}:80` },
      { proto: 'udp', port: '5000-5009', to: `${ADDRESSES.b}:6000-6009` },
      { proto: 'tcp', address: '203.0.113.30', port: 22, to: `${ADDRESSES.b}:22` },
    ];
    tested = new NatSwitch({ forwards });
  });

  test('leads in, and the answer comes from where it led', () => {
    const inward = { proto: 'tcp', src: SERVER, dst: OUTSIDE, sport: 70, dport: 8080 } as const;
    expect(tested.say('o', inward)).toMatchObject([{ port: 'a', dst: ADDRESSES.a, sport: 70, dport: 80 }]);
    const answer = {
      proto: 'tcp',
      src: ADDRESSES.a,
      dst: SERVER,
      sport: 80,
      dport: 70,
      flags: SYN | ACK,
      ack: 14,
    } as const;
    expect(tested.say('a', answer)).toMatchObject([{ port: 'o', src: OUTSIDE, sport: 8080, dport: 70 }]);
  });

  test('of a range leads to the port at the same place', () => {
    const inward = { proto: 'udp', src: SERVER, dst: OUTSIDE, sport: 70, dport: 5007 } as const;
    expect(tested.say('o', inward)).toMatchObject([{ port: 'b', dst: ADDRESSES.b, dport: 6007 }]);
    expect(tested.say('o', { ...inward, dport: 5010 })).toMatchObject([{ port: 'o', protocol: 1 }]);
  });

  test('of another address leads in, too, and hairpins', () => {
    const inward = { proto: 'tcp', src: ADDRESSES.a, dst: '203.0.113.30', sport: 70, dport: 22 } as const;
    expect(tested.say('a', inward)).toMatchObject([{ port: 'b', src: OUTSIDE, dst: ADDRESSES.b, dport: 22 }]);
  });

  test('keeps its port from being mapped for anybody', () => {
    expect(tested.say('a', out('tcp', { sport: 8080 }))[0]!.sport).not.toBe(8080);
    expect(tested.say('a', out('udp', { sport: 8080 }))[0]!.sport).toBe(8080);
  });
});

describe('a hairpin', () => {
  test('to a mapped port of another machine comes from the sender’s own (RFC 4787 REQ-9)', () => {
    tested.say('a', out('udp'));
    const inward = { proto: 'udp', src: ADDRESSES.b, dst: OUTSIDE, sport: 70, dport: 4000 } as const;
    expect(tested.say('b', inward)).toMatchObject([{ port: 'a', src: OUTSIDE, dst: ADDRESSES.a, dport: 4000 }]);
  });

  test('to one’s own mapping goes nowhere, so it can’t go round', () => {
    tested.say('a', out('udp'));
    expect(tested.say('a', out('udp', { dst: OUTSIDE, dport: 4000 }))).toEqual([]);
    expect(tested.dropped('a', 'nat_filtered')).toBe(1);
  });
});

test('a source that is not inside is not translated', () => {
  expect(tested.say('a', out('udp', { src: '203.0.113.66' }))).toEqual([]);
  expect(tested.dropped('a', 'martian')).toBe(1);
});

describe('endpoint-dependent mapping', () => {
  beforeEach(() => {
    tested = new NatSwitch({ external: { mapping: 'endpoint-dependent', pool: '5000-5001' } });
  });

  test('shares a port between connections to different ends, and no two to one end', () => {
    const ports = [80, 81, 82, 83].map((dport) => tested.say('a', out('udp', { dport }))[0]!.sport);
    for (const port of ports) expect([5000, 5001]).toContain(port);
    const [first] = tested.say('b', out('udp', { src: ADDRESSES.b }));
    expect([ports[0], first!.sport].sort()).toEqual([5000, 5001]);
    const refused = tested.say('b', out('udp', { src: ADDRESSES.b, sport: 4001 }));
    expect(refused).toMatchObject([{ port: 'b', src: '192.0.2.1', protocol: 1 }]);
    expect(tested.dropped('b', 'nat_exhausted')).toBe(1);
  });
});
