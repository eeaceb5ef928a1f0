/**
 * Twenty-six ways to be somebody else, each in seven wrappings (threats.md 3.4): none gets out of a guarded port, whatever is
 * in front of it.
 */
import { describe, expect, test } from 'vitest';
import type { DropReason } from '../../src/dataplane/drop-reason.js';
import { concatenate } from '../wire/reference.js';
import {
  advertisementPacket,
  arpBody,
  type Body,
  bodyOf,
  bytes,
  dadPacket,
  dhcp6Packet,
  dhcpClientPacket,
  dhcpServerPacket,
  ethernet,
  FOREIGN_LINK_LOCAL,
  FOREIGN_MAC,
  FOREIGN4,
  FOREIGN6,
  guardedSwitch,
  icmp4Packet,
  igmpPacket,
  mac,
  mldPacket,
  OWN_MAC,
  type Packet,
  packet4,
  redirectPacket,
  routerAdvertisementPacket,
  routerSolicitationPacket,
  solicitationPacket,
  udp4,
  udp4Packet,
  udp6Packet,
  word16,
} from './guard-frames.js';

/** A packet, which can be fragmented, or what has no IP header. */
interface Vector {
  readonly packet?: Packet;
  readonly body?: Body;
  readonly reason: DropReason;
}

const ip = (packet: Packet, reason: DropReason): Vector => ({ packet, reason });
const arp = (recipe: Parameters<typeof arpBody>[0]): Vector => ({ body: arpBody(recipe), reason: 'spoof_arp' });
/** To a group that bridges keep for themselves; `length`: of an IEEE 802.3 frame, or a type. */
const control = (to: string, type: number, payload: Uint8Array): Vector => ({
  body: { from: OWN_MAC, to, type, payload: concatenate(payload, new Uint8Array(46 - payload.length)) },
  reason: 'control_frame',
});
const vrrp = { from: '00:00:5e:00:01:01', to: '01:00:5e:00:00:12', destination: '224.0.0.18', hopLimit: 255 };

const vectors: Readonly<Record<string, Vector>> = {
  'a foreign source MAC': ip(udp4Packet({ from: FOREIGN_MAC }), 'spoof_mac'),
  'a foreign IPv4 source': ip(udp4Packet({ source: FOREIGN4 }), 'spoof_ip'),
  'a foreign IPv6 source': ip(udp6Packet({ source: FOREIGN6 }), 'spoof_ip'),
  'the link-local address of another': ip(udp6Packet({ source: FOREIGN_LINK_LOCAL }), 'spoof_ip'),
  'ARP with a foreign sender MAC': arp({ senderMac: FOREIGN_MAC }),
  'ARP with a foreign sender address': arp({ sender: FOREIGN4 }),
  'an ARP reply for another': arp({ operation: 2, sender: FOREIGN4 }),
  'gratuitous ARP for another': arp({ sender: FOREIGN4, target: FOREIGN4 }),
  'an advertisement of a foreign target': ip(advertisementPacket({ target: FOREIGN6 }), 'spoof_nd'),
  'an advertisement with a foreign MAC': ip(advertisementPacket({ mac: FOREIGN_MAC }), 'spoof_nd'),
  'a solicitation with a foreign MAC': ip(solicitationPacket({ mac: FOREIGN_MAC }), 'spoof_nd'),
  'a solicitation from another': ip(solicitationPacket({ source: FOREIGN6 }), 'spoof_ip'),
  'duplicate address detection of a foreign target': ip(dadPacket(FOREIGN6), 'spoof_nd'),
  'a router solicitation with a foreign MAC': ip(routerSolicitationPacket(FOREIGN_MAC), 'spoof_nd'),
  'a router advertisement': ip(routerAdvertisementPacket(), 'router_advertisement'),
  'an ICMPv6 redirect': ip(redirectPacket(), 'router_advertisement'),
  'an ICMP redirect': ip(icmp4Packet(5), 'router_advertisement'),
  'a DHCP server': ip(dhcpServerPacket(), 'dhcp_server'),
  'a DHCPv6 server': ip(dhcp6Packet(2, [547, 546]), 'dhcp_server'),
  'a DHCP client with another’s chaddr': ip(dhcpClientPacket({ client: FOREIGN_MAC }), 'spoof_dhcp'),
  'an IGMP query from another': ip(igmpPacket(0x11, { source: FOREIGN4 }), 'spoof_ip'),
  'an MLD query from another': ip(mldPacket(130, { source: FOREIGN_LINK_LOCAL }), 'spoof_ip'),
  'a spanning tree BPDU': control('01:80:c2:00:00:00', 38, bytes(0x42, 0x42, 3)),
  LLDP: control('01:80:c2:00:00:0e', 0x88cc, bytes(2, 7, 4)),
  PAUSE: control('01:80:c2:00:00:01', 0x8808, bytes(0, 1, 0xff, 0xff)),
  'VRRP from the virtual MAC of another': ip(packet4(vrrp, 112, bytes(0x31, 1, 255, 1, 0, 0, 0, 0)), 'spoof_mac'),
};

interface Wrapping {
  wrap(vector: Vector): readonly Uint8Array[];
  /** What the frames die of where the wrapping itself is the fault. */
  readonly reason?: DropReason;
}

const plain = ({ packet, body }: Vector): Body => body ?? bodyOf(packet as Packet);
const tagged = (frame: Uint8Array, ...tci: readonly number[]) =>
  concatenate(frame.slice(0, 12), ...tci.map((each) => concatenate(word16(0x8100), word16(each))), frame.slice(12));

/** RFC 1042: length, AA AA 03, organisation 0, ethertype. */
function inSnap(vector: Vector): Uint8Array {
  const { to, from, type, payload } = plain(vector);
  return concatenate(
    mac(to),
    mac(from),
    word16(8 + payload.length),
    bytes(0xaa, 0xaa, 3, 0, 0, 0),
    word16(type),
    payload,
  );
}

/** Eight octets, or as much as the upper layer's header needs, in the first fragment; what has no IP is cut in two. */
function fragments(vector: Vector): Uint8Array[] {
  const { packet } = vector;
  if (packet === undefined) {
    const { payload, ...rest } = plain(vector);
    return [payload.slice(0, 24), payload.slice(24)].map((part) => ethernet({ ...rest, payload: part }));
  }
  const { message } = packet;
  const cut = message.length > 16 ? 16 : 8;
  const parts = [message.slice(0, cut), message.slice(cut)].filter(({ length }) => length > 0);
  return parts.map((part, index) => {
    const isLast = index === parts.length - 1;
    const rest = bytes(0, (index * cut) >> 8, (index * cut) | (isLast && parts.length > 1 ? 0 : 1), 0, 0, 0, 7);
    const field = ((index * cut) >> 3) | (isLast && parts.length > 1 ? 0 : 0x2000);
    const layers = { fragment: field, extensions: [{ kind: 44, rest }] };
    return ethernet(bodyOf({ ...packet, message: part }, layers));
  });
}

const PADN = bytes(0, 1, 4, 0, 0, 0, 0);

/** Hop-by-hop and destination options; IPv4 options; what has neither, with padding behind. */
function withOptions(vector: Vector): Uint8Array {
  const { packet } = vector;
  if (packet === undefined) {
    const body = plain(vector);
    return ethernet({ ...body, payload: concatenate(body.payload, new Uint8Array(100)) });
  }
  const extensions = [
    { kind: 0, rest: PADN },
    { kind: 60, rest: PADN },
  ];
  return ethernet(bodyOf(packet, { options: bytes(1, 1, 1, 1, 0x94, 4, 0, 0), extensions }));
}

const wrappings: Readonly<Record<string, Wrapping>> = {
  'as it is': { wrap: (vector) => [ethernet(plain(vector))] },
  'behind a VID-0 tag': { wrap: (vector) => [tagged(ethernet(plain(vector)), 0)] },
  'behind two VID-0 tags': {
    wrap: (vector) => [tagged(ethernet(plain(vector)), 0, 0)],
    reason: 'ethertype_not_allowed',
  },
  'behind a tag of its own VLAN': {
    wrap: (vector) => [tagged(ethernet(plain(vector)), 10)],
    reason: 'vlan_not_allowed',
  },
  'in LLC and SNAP': { wrap: (vector) => [inSnap(vector)], reason: 'llc_snap' },
  'in fragments': { wrap: fragments },
  'behind extension headers or options': { wrap: (vector) => [withOptions(vector)] },
};

/** Whatever the wrapping, these are found first. */
function expectedReason(vector: Vector, wrapping: Wrapping): DropReason {
  if (wrapping.reason === 'vlan_not_allowed') return 'vlan_not_allowed';
  // A reserved group's own protocol is told by its ethertype, which SNAP hides.
  if (vector.reason === 'control_frame')
    return wrapping.reason === 'llc_snap' && vector.body?.type !== 38 ? 'reserved_group' : 'control_frame';
  if (vector.reason === 'spoof_mac') return 'spoof_mac';
  return wrapping.reason ?? vector.reason;
}

/** Reasons that a fragment may die of: what it says is not there to be read. */
const ofFragments: readonly DropReason[] = ['not_parsed', 'bad_icmp', 'bad_udp_header'];

const cases = Object.entries(vectors).flatMap(([what, vector]) =>
  Object.entries(wrappings).map(([how, wrapping]) => ({ name: `${what}, ${how}`, vector, wrapping, how })),
);

test('there are 26 vectors in 7 wrappings', () => {
  expect(Object.keys(vectors)).toHaveLength(26);
  expect(cases).toHaveLength(182);
});

const tested = guardedSwitch();

describe('a guarded port does not let out', () => {
  test.each(cases)('$name', ({ vector, wrapping, how }) => {
    const before = tested.drops();
    const frames = wrapping.wrap(vector);
    const sent = frames.map((octets) => tested.run({ port: 'a', octets }));
    const after = tested.drops();
    const died = Object.keys(after).filter((row) => after[row] !== before[row] && !row.startsWith('b '));
    const reasons = died.map((row) => row.replace('a ', ''));
    // The first of the fragments dies; a later one of its own sender may go its way, and nobody can make anything of it.
    expect(sent[0]).toEqual([]);
    if (how === 'in fragments') expect([...ofFragments, vector.reason]).toContain(reasons[0]);
    else expect(reasons).toEqual([expectedReason(vector, wrapping)]);
  });
});

test('spoofed frames teach the switch nothing of the stations they named', () => {
  const fresh = guardedSwitch();
  for (const { wrapping, vector } of cases)
    for (const octets of wrapping.wrap(vector)) fresh.run({ port: 'a', octets });
  // Its own MAC, from a fragment that nobody can make anything of.
  expect(fresh.fdb.learnedByPort(fresh.index('a'))).toBeLessThanOrEqual(1);
  const [owner] = fresh.run({ port: 'b', octets: udp4({ from: FOREIGN_MAC, to: OWN_MAC }) });
  expect(owner.port).toBe('a');
});
