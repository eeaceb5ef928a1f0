/** What a guarded port may send, what it may not, and that the verdict follows from the frame alone. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DropReason } from '../../src/dataplane/drop-reason.js';
import { concatenate } from '../wire/reference.js';
import {
  advertisement,
  advertisementPacket,
  arp,
  bytes,
  dadPacket,
  dhcp6Packet,
  dhcpClient,
  dhcpClientPacket,
  EXTRA_TYPE,
  EXTRA4,
  ethernet,
  FOREIGN_LINK_LOCAL,
  FOREIGN_MAC,
  FOREIGN4,
  FOREIGN6,
  frameOf,
  guardedSwitch,
  icmp4,
  icmp6Packet,
  igmpPacket,
  ip,
  linkLayer,
  mac,
  mldPacket,
  OWN_LINK_LOCAL,
  OWN_MAC,
  OWN4,
  OWN6,
  PAIR_MAC,
  PAIR4,
  PAIR6,
  packet4,
  packet6,
  routerAdvertisementPacket,
  routerSolicitationPacket,
  solicitation,
  udp4,
  udp4Packet,
  udp6,
  udp6Packet,
  word16,
} from './guard-frames.js';
import { claimsNotOwn } from './guard-reference.js';
import { TestSwitch, vm } from './test-switch.js';
import { traced } from './traced.js';

const tested = guardedSwitch();

/** Reason the frame dies of; undefined: it got out. A later fragment may wait for its first one. */
function verdict(octets: Uint8Array, on = tested): string | undefined {
  const before = on.drops();
  const sent = on.run({ port: 'a', octets });
  const after = on.drops();
  const row = Object.keys(after).find((each) => each.startsWith('a ') && after[each] !== before[each]);
  if (sent.length > 0) return undefined;
  return row === undefined ? 'waits' : row.slice(2);
}

const vid0 = (frame: Uint8Array) => concatenate(frame.slice(0, 12), bytes(0x81, 0, 0x60, 0), frame.slice(12));
const option = (kind: number, length: number, size = 8) => concatenate(bytes(kind, length), new Uint8Array(size - 2));
const destinationOptions = (...rest: readonly number[]) => ({
  extensions: [{ kind: 60, rest: Uint8Array.from(rest) }],
});
const homeAddress = (address: string) => ({
  extensions: [{ kind: 60, rest: concatenate(bytes(2, 1, 2, 0, 0, 0xc9, 16), ip(address)) }],
});

const allowed: Readonly<Record<string, Uint8Array>> = {
  'IPv4 from its own address': udp4(),
  'IPv6 from its own address': udp6(),
  'IPv6 from its own link-local address': udp6({ source: OWN_LINK_LOCAL }),
  'what it is allowed besides': udp4({ source: EXTRA4 }),
  'a pair of another MAC and an address in its prefix': udp4({ from: PAIR_MAC, source: PAIR4 }),
  'the same over IPv6': udp6({ from: PAIR_MAC, source: PAIR6 }),
  'one VID-0 tag, with priority': vid0(udp4()),
  'an ARP request': arp(),
  'an ARP reply': arp({ operation: 2 }),
  'gratuitous ARP': arp({ target: OWN4 }),
  'an ARP probe (RFC 5227)': arp({ sender: '0.0.0.0' }),
  'ARP for a pair, from its own MAC in the frame': arp({ senderMac: PAIR_MAC, sender: PAIR4 }),
  'a DHCP client without address': dhcpClient(),
  'a DHCP client that renews': dhcpClient({ source: OWN4, destination: '192.0.2.1' }),
  'a DHCP client with its MAC as identifier': dhcpClient({
    options: concatenate(bytes(61, 7, 1), mac(OWN_MAC), bytes(255)),
  }),
  'a DHCP client with another identifier': dhcpClient({ options: bytes(61, 5, 255, 1, 2, 3, 4, 255) }),
  'BOOTP without options': frameOf(
    packet4(
      { source: '0.0.0.0', destination: '255.255.255.255' },
      17,
      dhcpClientPacket().message.map((octet, at) => (at >= 244 ? 0 : octet)),
    ),
  ),
  'a DHCPv6 client': frameOf(dhcp6Packet(1, [546, 547])),
  'duplicate address detection of its own address': frameOf(dadPacket(OWN6)),
  'duplicate address detection of its link-local address': frameOf(dadPacket(OWN_LINK_LOCAL)),
  'a solicitation of any target': solicitation(),
  'a solicitation without link-layer option': solicitation({ mac: null }),
  'an advertisement': advertisement(),
  'an advertisement without link-layer option': advertisement({ mac: null }),
  'an advertisement of a pair': advertisement({ from: PAIR_MAC, mac: PAIR_MAC, source: PAIR6, target: PAIR6 }),
  'an advertisement with options nobody knows': advertisement({
    options: concatenate(linkLayer(2, OWN_MAC), option(14, 1)),
  }),
  'a router solicitation': frameOf(routerSolicitationPacket()),
  'a router solicitation without option': frameOf(routerSolicitationPacket(null)),
  'an MLD report without address': frameOf(mldPacket(131, { source: '::' })),
  'an MLD version 2 report without address': frameOf(mldPacket(143, { source: '::', destination: 'ff02::16' })),
  'an MLD report': frameOf(mldPacket(131)),
  'an IGMP report': frameOf(igmpPacket(0x16)),
  ping: icmp4(8),
  'an ICMP error': icmp4(3),
  'IPv4 options': frameOf(udp4Packet(), { options: bytes(0x94, 4, 0, 0) }),
  'extension headers': frameOf(udp6Packet(), destinationOptions(0, 1, 4, 0, 0, 0, 0)),
  'neighbour discovery behind extension headers': frameOf(
    advertisementPacket(),
    destinationOptions(0, 1, 4, 0, 0, 0, 0),
  ),
  'its own home address': frameOf(udp6Packet(), homeAddress(OWN6)),
  'a first fragment': frameOf(udp4Packet(), { fragment: 0x2000 }),
  'an ethertype that is allowed': ethernet({
    from: OWN_MAC,
    to: FOREIGN_MAC,
    type: EXTRA_TYPE,
    payload: new Uint8Array(46),
  }),
};

const denied: Readonly<Record<string, readonly [Uint8Array, DropReason]>> = {
  'an own address with the MAC of another pair': [udp4({ from: PAIR_MAC }), 'spoof_ip'],
  'the address of a pair with its own MAC': [udp4({ source: PAIR4 }), 'spoof_ip'],
  'the address behind the pair’s prefix': [udp4({ from: PAIR_MAC, source: '198.51.100.16' }), 'spoof_ip'],
  'the address before the pair’s prefix': [udp4({ from: PAIR_MAC, source: '198.51.99.255' }), 'spoof_ip'],
  'an IPv4 address mapped into IPv6': [udp6({ source: `::ffff:${OWN4}` }), 'spoof_ip'],
  'another MAC in one octet': [udp4({ from: '52:54:00:00:00:03' }), 'spoof_mac'],
  'the broadcast address as source': [udp4({ source: '255.255.255.255' }), 'spoof_ip'],
  '0.0.0.0 and no DHCP': [udp4({ source: '0.0.0.0', destination: '255.255.255.255' }), 'spoof_ip'],
  '0.0.0.0 in DHCP to one host': [dhcpClient({ destination: FOREIGN4 }), 'spoof_ip'],
  'an IGMP report from 0.0.0.0': [frameOf(igmpPacket(0x16, { source: '0.0.0.0' })), 'spoof_ip'],
  'an ARP reply from 0.0.0.0': [arp({ operation: 2, sender: '0.0.0.0' }), 'spoof_arp'],
  'an ARP probe with another’s MAC': [arp({ senderMac: FOREIGN_MAC, sender: '0.0.0.0' }), 'spoof_arp'],
  'an own address with another own MAC in ARP': [arp({ senderMac: PAIR_MAC }), 'spoof_arp'],
  'ARP of an unknown operation': [arp({ operation: 8 }), 'not_parsed'],
  ':: and no group as destination': [frameOf(dadPacket(OWN6, { destination: FOREIGN6 })), 'spoof_ip'],
  'an MLD query from ::': [frameOf(mldPacket(130, { source: '::' })), 'spoof_ip'],
  'UDP from ::': [udp6({ source: '::' }), 'spoof_ip'],
  'a router solicitation from ::': [frameOf(routerSolicitationPacket(null, { source: '::' })), 'spoof_ip'],
  'duplicate address detection with a MAC': [frameOf(dadPacket(OWN6, { mac: OWN_MAC })), 'not_parsed'],
  'an advertisement of a pair’s address for its own MAC': [advertisement({ target: PAIR6 }), 'spoof_nd'],
  'an advertisement of a group': [advertisement({ target: 'ff02::9' }), 'not_parsed'],
  'an advertisement that crossed a router': [advertisement({ hopLimit: 254 }), 'not_parsed'],
  'a foreign MAC in the second of two options': [
    advertisement({ options: concatenate(linkLayer(2, OWN_MAC), linkLayer(2, FOREIGN_MAC)) }),
    'spoof_nd',
  ],
  'a foreign MAC in the wrong sort of option': [
    advertisement({ options: concatenate(linkLayer(2, OWN_MAC), linkLayer(1, FOREIGN_MAC)) }),
    'spoof_nd',
  ],
  'a link-layer option for longer addresses': [advertisement({ options: option(2, 2, 16) }), 'not_parsed'],
  'a DHCP client with another’s MAC as identifier': [
    dhcpClient({ options: concatenate(bytes(61, 7, 1), mac(FOREIGN_MAC), bytes(255)) }),
    'spoof_dhcp',
  ],
  'a DHCP client with another’s MAC in a second identifier': [
    dhcpClient({ options: concatenate(bytes(61, 7, 1), mac(OWN_MAC), bytes(61, 7, 1), mac(FOREIGN_MAC), bytes(255)) }),
    'not_parsed',
  ],
  'a DHCP client whose identifier is in two parts': [
    dhcpClient({ options: concatenate(bytes(61, 3, 255, 1, 2, 61, 7, 1), mac(FOREIGN_MAC), bytes(255)) }),
    'not_parsed',
  ],
  'a DHCP client whose options go on elsewhere': [
    dhcpClient({ options: concatenate(bytes(52, 1, 3, 61, 7, 1), mac(OWN_MAC), bytes(255)) }),
    'not_parsed',
  ],
  'a DHCP option past the end': [dhcpClient({ options: bytes(53, 9, 1) }), 'not_parsed'],
  'a cut DHCP message': [udp4({ ports: [68, 67] }), 'not_parsed'],
  'DHCP in fragments': [
    frameOf(dhcpClientPacket({ source: OWN4, options: new Uint8Array(8) }), { fragment: 0x2000 }),
    'not_parsed',
  ],
  'a DHCP reply towards a relay': [dhcpClient({ operation: 2, ports: [67, 67], source: OWN4 }), 'dhcp_server'],
  'a DHCPv6 relay': [frameOf(dhcp6Packet(12, [547, 547])), 'spoof_dhcp'],
  'a DHCPv6 reply towards a relay': [frameOf(dhcp6Packet(13, [547, 547])), 'dhcp_server'],
  'an ICMP router advertisement': [icmp4(9), 'router_advertisement'],
  'the home address of another': [frameOf(udp6Packet(), homeAddress(FOREIGN6)), 'spoof_ip'],
  'a destination option past the end': [
    frameOf(udp6Packet(), destinationOptions(0, 0xc9, 16, 0, 0, 0, 0)),
    'not_parsed',
  ],
  'IPv4 options without length': [frameOf(udp4Packet(), { options: bytes(0x94, 0, 0, 0) }), 'bad_ip_header'],
  'a fragment of TCP over the flags': [frameOf(packet4({}, 6, new Uint8Array(16)), { fragment: 1 }), 'bad_tcp_header'],
  'a fragment without octets': [frameOf(packet4({}, 17, bytes()), { fragment: 0x2001 }), 'bad_ip_header'],
  'a fragment past the longest datagram': [
    frameOf(packet4({}, 17, new Uint8Array(24)), { fragment: 0x1fff }),
    'bad_ip_header',
  ],
  'a first fragment too short for its header': [
    frameOf(packet4({}, 6, new Uint8Array(16)), { fragment: 0x2000 }),
    'bad_tcp_header',
  ],
  'ICMPv6 in IPv4': [frameOf(packet4({}, 58, new Uint8Array(16))), 'bad_icmp'],
  MPLS: [
    ethernet({ from: OWN_MAC, to: FOREIGN_MAC, type: 0x8847, payload: new Uint8Array(46) }),
    'ethertype_not_allowed',
  ],
};

describe('a guarded port may send', () => {
  test.each(Object.entries(allowed))('%s', (_, octets) => {
    expect(verdict(octets)).toBeUndefined();
    expect(claimsNotOwn(octets)).toEqual([]);
  });
});

describe('a guarded port may not send', () => {
  test.each(Object.entries(denied))('%s', (_, [octets, reason]) => {
    expect(verdict(octets)).toBe(reason);
  });
});

describe('what broke others (threats.md 2)', () => {
  test('13: a packet of protocol 0, or any other, changes no verdict of a later one', () => {
    const fresh = guardedSwitch();
    for (let protocol = 0; protocol < 256; protocol++) {
      verdict(frameOf(packet4({}, protocol, new Uint8Array(40))), fresh);
      verdict(frameOf(packet6({}, protocol, new Uint8Array(40))), fresh);
    }
    expect(verdict(udp4({ source: FOREIGN4 }), fresh)).toBe('spoof_ip');
    expect(verdict(udp4(), fresh)).toBeUndefined();
  });

  test('14: an advertisement of a foreign target dies with every code, with and without option', () => {
    for (let code = 0; code < 256; code++)
      for (const told of [null, OWN_MAC])
        expect(verdict(advertisement({ code, mac: told, target: FOREIGN6 }))).toBe(
          code === 0 ? 'spoof_nd' : 'not_parsed',
        );
    expect(verdict(advertisement({ target: FOREIGN6 }))).toBe('spoof_nd');
  });

  test('18: options of every length but the right one are dropped, in every message that has options', () => {
    for (const length of [0, 2, 3, 31, 32, 64, 255]) {
      const options = option(14, length);
      expect(verdict(advertisement({ options }))).toBe('not_parsed');
      expect(verdict(solicitation({ options }))).toBe('not_parsed');
      expect(verdict(frameOf(icmp6Packet(133, concatenate(new Uint8Array(4), options))))).toBe('not_parsed');
    }
    expect(verdict(advertisement({ options: bytes(14) }))).toBe('not_parsed');
  });

  test('22: what a machine sends for the host itself is the network’s: BFD is a datagram like others, with its own address', () => {
    expect(verdict(udp4({ ports: [49_152, 3784] }))).toBeUndefined();
    expect(verdict(udp4({ ports: [49_152, 3784], source: '169.254.1.1' }))).toBe('spoof_ip');
  });

  test('24: nobody’s IPv6 address can be taken over, plainly or behind extension headers', () => {
    const layers = destinationOptions(0, 1, 4, 0, 0, 0, 0);
    for (const packet of [
      udp6Packet({ source: FOREIGN6 }),
      advertisementPacket({ target: FOREIGN6 }),
      dadPacket(FOREIGN6),
    ])
      for (const octets of [frameOf(packet), frameOf(packet, layers)])
        expect(verdict(octets)).toMatch(/^spoof_(ip|nd)$/);
  });

  test('25: the MAC of another in one place alone is enough', () => {
    expect(verdict(udp4({ from: FOREIGN_MAC }))).toBe('spoof_mac');
    expect(verdict(arp({ senderMac: FOREIGN_MAC }))).toBe('spoof_arp');
    expect(verdict(dhcpClient({ client: FOREIGN_MAC }))).toBe('spoof_dhcp');
    expect(verdict(solicitation({ mac: FOREIGN_MAC }))).toBe('spoof_nd');
    expect(verdict(advertisement({ mac: FOREIGN_MAC }))).toBe('spoof_nd');
  });

  test('26: no ICMPv6 type passes with a link-local address that is not its own', () => {
    for (let type = 0; type < 256; type++)
      for (const source of [FOREIGN_LINK_LOCAL, 'fe80::bad'])
        expect(verdict(frameOf(icmp6Packet(type, new Uint8Array(20), { source })))).toMatch(
          /spoof_ip|router_advertisement/,
        );
  });

  test('27: no DHCP server’s message passes, from whatever port, to whomever, tagged or with options', () => {
    for (const source of [OWN4, '0.0.0.0'])
      for (const ports of [
        [67, 68],
        [1067, 68],
      ] as const)
        for (const destination of ['255.255.255.255', FOREIGN4]) {
          const packet = udp4Packet({ ports, source, destination });
          for (const octets of [
            frameOf(packet),
            vid0(frameOf(packet)),
            frameOf(packet, { options: bytes(1, 1, 1, 0) }),
            frameOf(packet, { fragment: 0x2000 }),
          ])
            expect(verdict(octets)).toBe('dhcp_server');
        }
    expect(verdict(frameOf(dhcp6Packet(2, [547, 546])))).toBe('dhcp_server');
  });

  test('28: no ethertype is exempt: a foreign MAC dies with each, an own one lives with those allowed', () => {
    for (let type = 0; type < 0x10000; type += 257) {
      const body = { to: FOREIGN_MAC, type, payload: new Uint8Array(46) };
      expect(verdict(ethernet({ ...body, from: '52:54:00:00:00:03' }))).toBe('spoof_mac');
      expect(verdict(ethernet({ ...body, from: OWN_MAC }))).toBe(type < 0x600 ? 'llc_snap' : 'ethertype_not_allowed');
    }
  });

  test('32 and 36: tags are never a hiding place: one of VID 0 is looked through, more are dropped, up to a whole frame of them', () => {
    const advertised = frameOf(routerAdvertisementPacket());
    const expected = ['router_advertisement', 'router_advertisement', 'ethertype_not_allowed'];
    for (let depth = 0; depth <= 360; depth += depth < 5 ? 1 : 71) {
      const tags = Array.from({ length: depth }, () => concatenate(word16(0x8100), word16(0)));
      const octets = concatenate(advertised.slice(0, 12), ...tags, advertised.slice(12));
      expect(verdict(octets)).toBe(expected[Math.min(depth, 2)]);
    }
  });

  test('47: router advertisements and redirects are dropped from whatever address of its own they come', () => {
    for (const source of [OWN_LINK_LOCAL, OWN6])
      for (const type of [134, 137])
        expect(verdict(frameOf(icmp6Packet(type, new Uint8Array(40), { source })))).toBe('router_advertisement');
  });
});

const samples = [...Object.values(allowed), ...Object.values(denied).map(([octets]) => octets)];

test('every frame cut anywhere gets a verdict, and what passes claims nothing that is not own', () => {
  for (const octets of Object.values(allowed))
    for (let size = 0; size < octets.length; size++) {
      const cut = octets.slice(0, size);
      if (verdict(cut) === undefined) expect(claimsNotOwn(cut)).toEqual([]);
    }
});

test('a frame with some octets changed passes only if an independent reader finds all its claims own', () => {
  const change = fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 2, 5, 6, 17, 58, 134, 135, 136, 255)));
  let passed = 0;
  fc.assert(
    fc.property(fc.nat(samples.length - 1), fc.array(change, { maxLength: 3 }), (index, changes) => {
      const octets = samples[index].slice();
      for (const [at, value] of changes) octets[at % Math.min(octets.length, 110)] = value;
      for (const { port, octets: sent } of tested.run({ port: 'a', octets })) {
        if (port !== 'b') continue;
        passed++;
        expect(claimsNotOwn(sent)).toEqual([]);
      }
    }),
    { numRuns: 10_000, seed: 4 },
  );
  expect(passed).toBeGreaterThan(1000);
});

test('a verdict is the same whatever came before, one by one or in one batch', () => {
  const alone = samples.map((octets) => verdict(octets, guardedSwitch()));
  fc.assert(
    fc.property(fc.array(fc.nat(samples.length - 1), { minLength: 2, maxLength: 30 }), (order) => {
      const fresh = guardedSwitch();
      for (const index of order) expect(verdict(samples[index], fresh)).toBe(alone[index]);
      const batch = guardedSwitch();
      batch.run(...order.map((index) => ({ port: 'a', octets: samples[index] })));
      const expected = order.filter((index) => alone[index] !== undefined).length;
      const died = Object.entries(batch.drops()).filter(([row]) => row.startsWith('a '));
      expect(died.reduce((sum, [, count]) => sum + count, 0)).toBe(expected);
    }),
    { numRuns: 50, seed: 5 },
  );
});

test('a guarded trunk may send from its own in each of its networks, behind the tag that names it and no other', () => {
  const trunk = new TestSwitch({
    networks: { red: { type: 'vlan', id: 10 }, blue: { type: 'vlan', id: 20 } },
    ports: {
      a: vm({ trunk: ['red', 'blue'], mac: OWN_MAC, addresses: [`${OWN4}/24`], antiSpoof: true }),
      b: vm({ network: 'red' }),
      c: vm({ network: 'blue' }),
    },
  });
  const inVlan = (vid: number, frame: Uint8Array) =>
    concatenate(frame.slice(0, 12), word16(0x8100), word16(vid), frame.slice(12));
  for (const vid of [10, 20]) {
    expect(verdict(inVlan(vid, udp4()), trunk)).toBeUndefined();
    expect(verdict(inVlan(vid, udp4({ source: FOREIGN4 })), trunk)).toBe('spoof_ip');
    expect(verdict(inVlan(vid, inVlan(0, udp4())), trunk)).toBe('ethertype_not_allowed');
  }
});

test('ports that are not guarded send as before', () => {
  for (const octets of [udp4({ source: FOREIGN4 }), frameOf(routerAdvertisementPacket()), arp({ sender: FOREIGN4 })])
    expect(
      tested.run({ port: 'b', octets: concatenate(octets.slice(0, 6), mac(FOREIGN_MAC), octets.slice(12)) }).length,
    ).toBeGreaterThan(0);
});

describe('the trace', () => {
  const names = {
    port: (index: number) => (index === tested.index('a') ? 'vm1' : 'other'),
    network: () => 'red',
    remote: () => '',
    rule: () => '',
  };

  function said(octets: Uint8Array): string | undefined {
    const { stages } = traced(tested, 'a', octets, names);
    return stages.find(({ stage }) => stage === 'anti-spoof')?.text;
  }

  test.each([
    [udp4(), '192.0.2.5 with 52:54:00:00:00:01 is own: ports.vm1.addresses[1]'],
    [udp4({ from: PAIR_MAC, source: PAIR4 }), 'ports.vm1.allowedPairs[2]'],
    [udp6({ source: OWN_LINK_LOCAL }), "the link-local address of the port's MAC"],
    [dhcpClient(), 'a host that has no address yet'],
    [udp4({ source: FOREIGN4 }), "192.0.2.6 with 52:54:00:00:00:01 is no pair of vm1's."],
    [udp4({ from: FOREIGN_MAC }), "52:54:00:00:00:02 is none of vm1's: it has 00:00:5e:00:01:09, 52:54:00:00:00:01."],
    [arp({ sender: FOREIGN4 }), "192.0.2.6 with 52:54:00:00:00:01 is no pair of vm1's."],
  ])('says which pair a frame is of, or who it claims to be (%#)', (octets, text) => {
    expect(said(octets)).toContain(text);
  });
});
