/**
 * What broke others (docs/threats.md), where security groups are to hold: who pretends to be a member of a group that another
 * machine admits, who finds a frame that no rule speaks of, who hides ports behind fragment headers.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import {
  advertisementPacket,
  arp,
  bytes,
  dadPacket,
  dhcpClient,
  ethernet,
  FOREIGN_LINK_LOCAL,
  FOREIGN_MAC,
  FOREIGN4,
  FOREIGN6,
  frameOf,
  icmp6Packet,
  OWN_MAC,
  OWN4,
  OWN6,
  type Packet,
  packet6,
  solicitation,
  udp,
  udp4,
  udp6Packet,
  word16,
} from './guard-frames.js';
import { TestSwitch, vm } from './test-switch.js';

const SERVER_MAC = '52:54:00:00:00:03';
const SERVER4 = '192.0.2.7';
const SERVER6 = '2001:db8::7';
const any = [{ direction: 'egress' }, { direction: 'ingress' }];

/** `a` may send anything; `server` admits the members of `friends` alone, of whom `friend` is one; `plain` has no groups. */
function groupedSwitch(): TestSwitch {
  const port = (more: object) => vm({ network: 'red', ...more });
  const addresses = (four: string, six: string) => [`${four}/24`, `${six}/64`];
  return new TestSwitch({
    networks: { red: { type: 'local' } },
    groups: {
      open: { rules: any },
      friends: { rules: any },
      servers: { rules: [{ direction: 'ingress', remoteGroup: 'friends' }] },
      dns: { rules: [{ direction: 'ingress', proto: 'udp', port: 53 }] },
    },
    ports: {
      a: port({ mac: OWN_MAC, addresses: addresses(OWN4, OWN6), antiSpoof: true, groups: ['open'] }),
      friend: port({ mac: FOREIGN_MAC, addresses: addresses(FOREIGN4, FOREIGN6), groups: ['friends'] }),
      server: port({ mac: SERVER_MAC, addresses: addresses(SERVER4, SERVER6), groups: ['servers'] }),
      dns: port({ groups: ['dns'] }),
      loose: port({ groups: ['open'] }),
      plain: port({}),
    },
  } as ConstructorParameters<typeof TestSwitch>[0]);
}

let tested: TestSwitch;
beforeEach(() => {
  tested = groupedSwitch();
});

/** Ports that get the frame, but for those without groups. */
function reached(octets: Uint8Array, port = 'a'): string[] {
  return tested
    .run({ port, octets })
    .map((sent) => sent.port)
    .filter((one) => one !== 'plain')
    .sort();
}

const toServer = { to: SERVER_MAC, destination: SERVER6 };
const extensionOf = (kind: number) => ({ kind, rest: bytes(0, 1, 4, 0, 0, 0, 0) });
const asMember: Readonly<Record<string, Uint8Array>> = {
  'by IPv4': udp4({ to: SERVER_MAC, source: FOREIGN4, destination: SERVER4 }),
  'by IPv6': frameOf(udp6Packet({ ...toServer, source: FOREIGN6 })),
};

test('what a member sends reaches who admits the group, and what anybody else sends does not', () => {
  const four = { source: FOREIGN4, destination: SERVER4, to: SERVER_MAC, from: FOREIGN_MAC };
  expect(reached(udp4(four), 'friend')).toContain('server');
  expect(reached(frameOf(udp6Packet({ ...toServer, source: FOREIGN6, from: FOREIGN_MAC })), 'friend')).toContain(
    'server',
  );
  expect(reached(udp4({ to: SERVER_MAC, destination: SERVER4 }))).not.toContain('server');
});

describe('row 24: a member’s address is not taken over', () => {
  const packets: Readonly<Record<string, Packet>> = {
    'as source': udp6Packet({ ...toServer, source: FOREIGN6 }),
    'in an advertisement': advertisementPacket({ ...toServer, target: FOREIGN6 }),
    'in duplicate address detection': dadPacket(FOREIGN6),
  };
  const layers = {
    plainly: [],
    'behind options': [extensionOf(60)],
    'behind two headers': [extensionOf(0), extensionOf(60)],
  };
  test.each(Object.keys(packets))('%s, plainly or behind extension headers', (what) => {
    for (const [how, extensions] of Object.entries(layers))
      expect(reached(frameOf(packets[what] as Packet, { extensions })), how).toEqual([]);
  });
  test.each(Object.keys(asMember))('%s, nor with its MAC', (what) => {
    const octets = (asMember[what] as Uint8Array).slice();
    expect(reached(octets)).toEqual([]);
    octets.set([0x52, 0x54, 0, 0, 0, 2], 6);
    expect(reached(octets)).toEqual([]);
  });
});

test('row 25: a member’s MAC in one place alone is enough to be stopped: frame, ARP, DHCP, neighbour discovery', () => {
  for (const octets of [
    udp4({ from: FOREIGN_MAC, to: SERVER_MAC, destination: SERVER4 }),
    arp({ senderMac: FOREIGN_MAC }),
    arp({ sender: FOREIGN4 }),
    dhcpClient({ client: FOREIGN_MAC }),
    solicitation({ mac: FOREIGN_MAC }),
    frameOf(advertisementPacket({ mac: FOREIGN_MAC })),
  ])
    expect(reached(octets)).toEqual([]);
});

test('row 26: no ICMPv6 type reaches anybody from a link-local address that is not the sender’s', () => {
  for (let type = 0; type < 256; type++)
    for (const source of [FOREIGN_LINK_LOCAL, 'fe80::bad']) {
      const octets = frameOf(icmp6Packet(type, new Uint8Array(24), { source, to: SERVER_MAC, destination: SERVER6 }));
      expect(reached(octets), `${type}`).toEqual([]);
    }
});

test('row 28: no ethertype and no LLC frame passes groups, in either direction, even if a rule allows everything', () => {
  for (let type = 0; type < 0x10000; type += 251) {
    if ([0x0800, 0x0806, 0x86dd].includes(type)) continue;
    for (const payload of [new Uint8Array(46), bytes(0xaa, 0xaa, 3, 0, 0, 0, 8, 0, ...new Uint8Array(40))]) {
      const body = { to: 'ff:ff:ff:ff:ff:ff', type, payload };
      for (const port of ['a', 'loose', 'plain'])
        expect(reached(ethernet({ ...body, from: OWN_MAC }), port), `0x${type.toString(16)} from ${port}`).toEqual([]);
    }
  }
});

describe('row 39: ports are not hidden behind fragment headers', () => {
  const fragment = (offset: number, more: boolean) => ({
    kind: 44,
    rest: bytes(0, ...word16(offset | (more ? 1 : 0)), 9, 9, 9, 9),
  });
  const options = extensionOf(60);
  const message = (port: number, size = 24) => udp([1000, port], new Uint8Array(size));
  const to = { to: '52:54:00:00:00:09', source: FOREIGN6, destination: '2001:db8::9' };
  const send = (port: number, extensions: readonly { kind: number; rest: Uint8Array }[], octets = message(port)) =>
    reached(frameOf(packet6(to, 17, octets), { extensions }), 'plain').filter((one) => one === 'dns');

  test('what the rules allow passes with one fragment header, whole or first', () => {
    expect(send(53, [])).toEqual(['dns']);
    expect(send(53, [fragment(0, false)])).toEqual(['dns']);
    expect(send(53, [fragment(0, true)])).toEqual(['dns']);
    expect(send(80, [fragment(0, false)])).toEqual([]);
  });

  test('two to eight of them pass nothing, whatever each says', () => {
    for (let count = 2; count <= 8; count++)
      for (const kinds of [
        [fragment(0, false)],
        [fragment(0, true)],
        [fragment(0, false), fragment(0, true)],
        [fragment(0, false), fragment(1480, true)],
      ])
        for (const port of [53, 80]) {
          const chain = Array.from({ length: count }, (_, index) => kinds[index % kinds.length]!);
          expect(send(port, chain), `${count}`).toEqual([]);
        }
  });

  test('a datagram whose fragments have other chains of headers is judged by its first one', () => {
    for (const chain of [[options], [options, options], [extensionOf(43)]]) {
      expect(send(80, [fragment(0, true)])).toEqual([]);
      expect(send(80, [...chain, fragment(32, false)], new Uint8Array(16))).toEqual([]);
      tested = groupedSwitch();
      // A later one that names another protocol, or another header in front of it, is nobody's but its first one's.
      expect(send(80, [...chain, fragment(32, false)], new Uint8Array(16))).toEqual([]);
      expect(send(80, [fragment(0, true), options])).toEqual([]);
      tested = groupedSwitch();
    }
  });
});
