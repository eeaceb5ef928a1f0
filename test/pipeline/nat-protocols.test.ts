/** Which protocols a router translates, and how: each both ways, to the octet. */
import { describe, expect, test } from 'vitest';
import { buildEthernet } from '../../src/wire/frame-build.js';
import { mac } from '../wire/neighbor-frames.js';
import { SERVER } from './nat-flows.js';
import {
  checksummed,
  dccp,
  gre,
  icmp,
  other,
  packet,
  rawPacket,
  sctp,
  tcp,
  type Upper,
  udp,
  udpLite,
} from './nat-octets.js';
import { ADDRESSES, MACS, NatSwitch, OUTSIDE, type Station } from './nat-switch.js';

const FLOATING = '203.0.113.20';

function frameFrom(tested: NatSwitch, name: Station, octets: Uint8Array): Uint8Array {
  const link = { destination: mac(tested.gateway(name)), source: mac(MACS[name]), tags: [] };
  return buildEthernet(link, octets[0]! >>> 4 === 4 ? 0x0800 : 0x86dd, octets);
}

/** What leaves of the packet, as `port: octets from the IP header on`. */
function say(tested: NatSwitch, name: Station, octets: Uint8Array): [string, string][] {
  return tested
    .run({ port: name, octets: frameFrom(tested, name, octets) })
    .filter(({ octets: sent }) => sent[12] !== 8 || sent[13] !== 6)
    .map(({ port, octets: sent }) => [port, Buffer.from(sent.subarray(14)).toString('hex')]);
}

const left = (port: string, octets: Uint8Array): [string, string][] => [[port, Buffer.from(octets).toString('hex')]];
const routed = { ttl: 63 };

/** By protocol what one end says and what the other does then; ports are 4000 inside and 80 outside. */
const exchanges: Record<string, readonly [Upper, Upper]> = {
  tcp: [tcp(4000, 80), tcp(80, 4000, 0x12)],
  udp: [udp(4000, 80), udp(80, 4000)],
  'a ping': [icmp(8, 4000), icmp(0, 4000)],
  'an ICMP timestamp': [icmp(13, 4000), icmp(14, 4000)],
  'an ICMP information request': [icmp(15, 4000), icmp(16, 4000)],
  'an ICMP address mask request': [icmp(17, 4000), icmp(18, 4000)],
  'udp-lite': [udpLite(4000, 80), udpLite(80, 4000)],
  dccp: [dccp(4000, 80), dccp(80, 4000)],
  sctp: [sctp(4000, 80), sctp(80, 4000, 77)],
  'gre with a key': [gre(0x00070009), gre(0x00070009)],
  'gre without a key': [gre(), gre()],
  esp: [other(50), other(50)],
  'ip in ip': [other(4), other(4)],
  'a protocol nobody knows': [other(253), other(253)],
};

describe.each(Object.entries(exchanges))('%s', (_, [one, two]) => {
  test('goes out as the router and back as it came', () => {
    const tested = new NatSwitch();
    expect(say(tested, 'a', packet(ADDRESSES.a, SERVER, one))).toEqual(left('o', packet(OUTSIDE, SERVER, one, routed)));
    const back = say(tested, 'o', packet(SERVER, OUTSIDE, two));
    expect(back).toEqual(left('a', packet(SERVER, ADDRESSES.a, two, routed)));
  });

  test('goes by a floating address in both directions, whoever begins', () => {
    let tested = new NatSwitch({ floating: { [FLOATING]: ADDRESSES.a } });
    const outward = say(tested, 'a', packet(ADDRESSES.a, SERVER, one));
    expect(outward).toEqual(left('o', packet(FLOATING, SERVER, one, routed)));
    expect(say(tested, 'o', packet(SERVER, FLOATING, two))).toEqual(
      left('a', packet(SERVER, ADDRESSES.a, two, routed)),
    );
    tested = new NatSwitch({ floating: { [FLOATING]: ADDRESSES.a } });
    const inward = say(tested, 'o', packet(SERVER, FLOATING, one));
    expect(inward).toEqual(left('a', packet(SERVER, ADDRESSES.a, one, routed)));
    expect(say(tested, 'a', packet(ADDRESSES.a, SERVER, two))).toEqual(
      left('o', packet(FLOATING, SERVER, two, routed)),
    );
  });

  test('does not get to a hidden machine from outside', () => {
    const tested = new NatSwitch();
    const heard = say(tested, 'o', packet(SERVER, OUTSIDE, one));
    expect(heard.filter(([port]) => port !== 'o')).toEqual([]);
    expect(say(tested, 'o', packet(SERVER, ADDRESSES.a, one))).toEqual([]);
  });
});

describe('of two machines that say the same to one server', () => {
  test.each(['an ICMP timestamp', 'udp-lite', 'dccp'])('both get through with %s, by other ports', (name) => {
    const tested = new NatSwitch();
    const [[upper]] = [exchanges[name]!];
    const [first] = tested.run({ port: 'a', octets: frameFrom(tested, 'a', packet(ADDRESSES.a, SERVER, upper)) });
    const [second] = tested.run({ port: 'b', octets: frameFrom(tested, 'b', packet(ADDRESSES.b, SERVER, upper)) });
    expect([first!.port, second!.port]).toEqual(['o', 'o']);
    const octets = second!.octets.slice(34);
    expect(octets).not.toEqual(first!.octets.slice(34));
    expect(octets).toEqual(checksummed(OUTSIDE, SERVER, { ...upper, octets }));
  });

  test.each(['sctp', 'gre with a key', 'esp', 'a protocol nobody knows'])('the first gets through with %s', (name) => {
    const tested = new NatSwitch();
    const [[upper]] = [exchanges[name]!];
    expect(say(tested, 'a', packet(ADDRESSES.a, SERVER, upper))).toHaveLength(1);
    expect(say(tested, 'b', packet(ADDRESSES.b, SERVER, upper)).filter(([port]) => port === 'o')).toEqual([]);
    expect(tested.dropped('b', 'nat_exhausted')).toBe(1);
    expect(say(tested, 'b', packet(ADDRESSES.b, '198.51.100.201', upper))).toHaveLength(1);
  });

  test('both get through with GRE of two keys, and with SCTP of two ports', () => {
    const tested = new NatSwitch();
    for (const [name, key, port] of [['a', 1, 4000] as const, ['b', 2, 4001] as const]) {
      const sent = say(tested, name, packet(ADDRESSES[name], SERVER, gre(key)));
      expect(sent).toEqual(left('o', packet(OUTSIDE, SERVER, gre(key), routed)));
      expect(say(tested, name, packet(ADDRESSES[name], SERVER, sctp(port, 80)))).toHaveLength(1);
    }
    expect(say(tested, 'o', packet(SERVER, OUTSIDE, gre(2)))).toMatchObject([['b', expect.any(String)]]);
    expect(say(tested, 'o', packet(SERVER, OUTSIDE, gre(1)))).toMatchObject([['a', expect.any(String)]]);
  });
});

test('connections that are hidden one by one count against the share of mappings', () => {
  const tested = new NatSwitch({ external: { perVm: 2 } });
  for (const protocol of [50, 253])
    expect(say(tested, 'a', packet(ADDRESSES.a, SERVER, other(protocol)))).toHaveLength(1);
  expect(say(tested, 'a', packet(ADDRESSES.a, SERVER, gre())).filter(([port]) => port === 'o')).toEqual([]);
  expect(tested.dropped('a', 'nat_limit')).toBe(1);
});

describe('what cannot be translated', () => {
  const cases: Record<string, Upper> = {
    'an ICMP message that is no query': icmp(40, 1),
    IGMP: { protocol: 2, octets: Uint8Array.of(0x16, 0, 0, 0, 224, 0, 0, 9), checksumAt: 2, isPlain: true },
  };
  test.each(Object.entries(cases))('%s does not leave, nor reach a floating address', (_, upper) => {
    const tested = new NatSwitch({ floating: { [FLOATING]: ADDRESSES.b } });
    expect(say(tested, 'a', packet(ADDRESSES.a, SERVER, upper))).toEqual([]);
    expect(say(tested, 'o', packet(SERVER, FLOATING, upper))).toEqual([]);
    expect([tested.dropped('a', 'nat_protocol'), tested.dropped('o', 'nat_protocol')]).toEqual([1, 1]);
  });

  test('an answer nobody asked for does not leave', () => {
    const tested = new NatSwitch();
    expect(say(tested, 'a', packet(ADDRESSES.a, SERVER, icmp(0, 7)))).toEqual([]);
    expect(tested.dropped('a', 'conntrack_invalid')).toBe(1);
    expect(tested.connections.used).toBe(0);
  });
});

describe('IPv6 by a floating address', () => {
  const INSIDE = '2001:db8:a::5';
  const OUTER = '2001:db8:e::20';
  const PEER = '2001:db8:e::1';

  function open(): NatSwitch {
    const tested = new NatSwitch({ floating: { [OUTER]: INSIDE } });
    tested.announce('a', INSIDE);
    tested.announce('o', PEER);
    tested.sent.length = 0;
    return tested;
  }

  const uppers: Record<string, Upper> = {
    tcp: tcp(70, 80),
    udp: udp(70, 80),
    'a ping': icmp(128, 7, 58),
    'node information, whose fields are no identifier': icmp(139, 2, 58),
    'udp-lite': udpLite(70, 80),
    dccp: dccp(70, 80),
    sctp: sctp(70, 80),
    'gre with a key': gre(5),
    esp: other(50),
    'a protocol nobody knows': other(253),
  };
  test.each(Object.entries(uppers))('carries %s both ways', (_, upper) => {
    expect(say(open(), 'o', packet(PEER, OUTER, upper))).toEqual(left('a', packet(PEER, INSIDE, upper, routed)));
    expect(say(open(), 'a', packet(INSIDE, PEER, upper))).toEqual(left('o', packet(OUTER, PEER, upper, routed)));
  });

  test('keeps a checksum of 0 as it is', () => {
    const octets = udp(70, 80).octets.fill(0, 6, 8);
    const heard = say(open(), 'o', rawPacket(PEER, OUTER, 17, octets));
    expect(heard).toEqual(left('a', rawPacket(PEER, INSIDE, 17, octets, routed)));
  });
});
