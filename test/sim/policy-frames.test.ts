/** The octets of the oracle's frames are what the frames are meant to be: read by the switch's own reader of packets. */
import { expect, test } from 'vitest';
import {
  FAULT_ARP,
  FAULT_ICMP,
  FAULT_IP,
  FAULT_NONE,
  FAULT_TCP,
  FAULT_UDP,
  FRAGMENT_FIRST,
  FRAGMENT_LATER,
  FRAGMENT_NONE,
  PACKET_ARP,
  PACKET_IPV4,
  PACKET_IPV6,
  PACKET_OTHER,
  PacketReader,
} from '../../src/wire/packet.js';
import { randomDocument } from './policy-documents.js';
import { GroupsReference } from './policy-groups-reference.js';
import type { Frame, IpContent } from './policy-model.js';
import { frameOctets } from './policy-octets.js';
import { PolicyTraffic } from './policy-traffic.js';
import { Random } from './random.js';

const FRAMES = 10_000;
const fragments = { none: FRAGMENT_NONE, first: FRAGMENT_FIRST, later: FRAGMENT_LATER };
const faults = { ip: FAULT_IP, tcp: FAULT_TCP, udp: FAULT_UDP, icmp: FAULT_ICMP, nd: FAULT_NONE };

function kindOf({ content }: Frame): number {
  if (content.kind === 'arp') return PACKET_ARP;
  if (content.kind !== 'ip') return PACKET_OTHER;
  return content.source.family === 4 ? PACKET_IPV4 : PACKET_IPV6;
}

/** As a slot keeps them. */
function portsOf({ upper, fragment }: IpContent): number {
  if (fragment === 'later' || upper.kind === 'plain') return 0;
  if (upper.kind === 'ports') return (upper.sourcePort << 16) | upper.destinationPort;
  const isEcho = [0, 8, 128, 129].includes(upper.type);
  return (upper.type << 24) | (upper.code << 16) | (isEcho ? upper.id : 0);
}

test('what a frame is meant to be is what is read in its octets', () => {
  const random = new Random(7);
  const groups = new GroupsReference();
  const everything = { guard: true, acl: true, groups: true };
  const traffic = new PolicyTraffic(random, randomDocument(random, everything), groups);
  const reader = new PacketReader();
  for (let index = 0; index < FRAMES; index++) {
    if (index % 100 === 0) traffic.reconfigure(randomDocument(random, everything));
    const frame = traffic.next();
    const octets = frameOctets(frame, random.below(80));
    const at = 14 + frame.tags.length * 4;
    reader.read(octets, octets[at - 2] * 256 + octets[at - 1], at, octets.length);
    const { content } = frame;
    const found = { kind: reader.kind, fault: reader.fault, protocol: reader.protocol, fragment: reader.fragment };
    if (content.kind !== 'ip') {
      const isBroken = content.kind === 'arp' && content.isBroken;
      const fault = isBroken ? FAULT_ARP : FAULT_NONE;
      expect(found).toEqual({ kind: kindOf(frame), fault, protocol: -1, fragment: FRAGMENT_NONE });
      continue;
    }
    const fault = content.broken === undefined ? FAULT_NONE : faults[content.broken];
    expect(reader.fault).toBe(fault);
    if (fault !== FAULT_NONE) continue;
    const fragment = fragments[content.fragment];
    expect(found).toEqual({ kind: kindOf(frame), fault, protocol: content.protocol, fragment });
    expect(reader.ports).toBe(portsOf(content));
  }
});
