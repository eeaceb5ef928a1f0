/** The octets of a frame that policy-model.ts describes: written from the RFCs, with checksums that are right. */
import { referenceSum } from '../kernels/reference.js';
import type {
  Address,
  ArpContent,
  Content,
  Frame,
  IcmpUpper,
  IpContent,
  LlcContent,
  PortsUpper,
} from './policy-model.js';

const number = (value: number, octets: number) =>
  Array.from({ length: octets }, (_, index) => Math.floor(value / 256 ** (octets - 1 - index)) % 256);
const mac = (text: string) => [...Buffer.from(text, 'hex')];
const ip = ({ family, value }: Address) => [
  ...Buffer.from(value.toString(16).padStart(family === 4 ? 8 : 32, '0'), 'hex'),
];
const zeros = (count: number) => new Array<number>(count).fill(0);
const sumOf = (octets: readonly number[]) => 0xffff - referenceSum(Uint8Array.from(octets), 0, octets.length);

/** `padded`: octets behind the packet, which no header counts. */
export function frameOctets({ destinationMac, sourceMac, tags, content }: Frame, padded = 0): Uint8Array {
  const octets = [...mac(destinationMac), ...mac(sourceMac)];
  for (const { tpid, vid, pcp } of tags) octets.push(...number(tpid, 2), ...number(pcp * 8192 + vid, 2));
  octets.push(...contentOctets(content));
  const least = 60 + tags.length * 4 - octets.length;
  return Uint8Array.from([...octets, ...new Array<number>(Math.max(least, padded)).fill(0xa5)]);
}

function contentOctets(content: Content): number[] {
  switch (content.kind) {
    case 'arp':
      return [0x08, 0x06, ...arp(content)];
    case 'other':
      return [...number(content.ethertype, 2), ...zeros(46)];
    case 'llc':
      return llc(content);
    case 'ip':
      return content.source.family === 4 ? [0x08, 0x00, ...ipv4(content)] : [0x86, 0xdd, ...ipv6(content)];
  }
}

function arp({ operation, senderMac, sender, target, isBroken }: ArpContent): number[] {
  const sizes = isBroken ? [8, 4] : [6, 4];
  return [0, 1, 8, 0, ...sizes, ...number(operation, 2), ...mac(senderMac), ...ip(sender), ...zeros(6), ...ip(target)];
}

function llc({ ethertype }: LlcContent): number[] {
  const payload = ethertype === undefined ? [0x42, 0x42, 3] : [0xaa, 0xaa, 3, 0, 0, 0, ...number(ethertype, 2)];
  return [...number(payload.length + 20, 2), ...payload, ...zeros(20)];
}

// ---- IP -------------------------------------------------------------------------------------------------------------

/** Octets of payload that a first fragment carries, and so where the later one begins. */
const FIRST_FRAGMENT = 64;

/** The datagram's payload: the upper layer's header and what follows. */
function upperOctets(content: IpContent): number[] {
  if (content.fragment === 'later') return new Array<number>(40).fill(0x5a);
  const octets = wholeUpper(content);
  if (content.fragment === 'none') return octets;
  return [...octets, ...new Array<number>(FIRST_FRAGMENT).fill(0x5a)].slice(0, FIRST_FRAGMENT);
}

function wholeUpper(content: IpContent): number[] {
  const { upper, protocol } = content;
  switch (upper.kind) {
    case 'plain':
      return new Array<number>(16).fill(0x33);
    case 'icmp':
      return icmp(content, upper);
    case 'ports':
      if (protocol === 6) return tcp(content, upper);
      return protocol === 17 ? udp(content, upper) : ports(upper);
  }
}

const ports = ({ sourcePort, destinationPort }: PortsUpper) => [
  ...number(sourcePort, 2),
  ...number(destinationPort, 2),
  ...zeros(16),
];

function pseudo({ source, destination, protocol }: IpContent, length: number): number[] {
  if (source.family === 4) return [...ip(source), ...ip(destination), 0, protocol, ...number(length, 2)];
  return [...ip(source), ...ip(destination), ...number(length, 4), 0, 0, 0, protocol];
}

function withSum(content: IpContent, octets: number[], field: number, hasPseudo = true): number[] {
  const sum = sumOf(hasPseudo ? [...pseudo(content, octets.length), ...octets] : octets);
  octets.splice(field, 2, ...number(sum === 0 ? 0xffff : sum, 2));
  return octets;
}

function tcp(content: IpContent, { sourcePort, destinationPort, tcp: header }: PortsUpper): number[] {
  const { flags = 0x10, sequence = 1, acknowledgement = 1 } = header ?? {};
  const head = [...number(sourcePort, 2), ...number(destinationPort, 2), ...number(sequence, 4)];
  head.push(...number(acknowledgement, 4), content.broken === 'tcp' ? 0x40 : 0x50, flags, 0x20, 0, 0, 0, 0, 0);
  return withSum(content, head, 16);
}

function udp(content: IpContent, upper: PortsUpper): number[] {
  const payload = upper.dhcp === undefined ? new Array<number>(12).fill(0x44) : dhcp(upper.dhcp);
  const length = 8 + payload.length + (content.broken === 'udp' ? 9 : 0);
  const more = content.fragment === 'first' ? FIRST_FRAGMENT : 0;
  const head = [...number(upper.sourcePort, 2), ...number(upper.destinationPort, 2), ...number(length + more, 2), 0, 0];
  return withSum(content, [...head, ...payload], 6);
}

/** RFC 2131: fixed fields, cookie, message type, end. */
function dhcp({ isReply, chaddr }: { readonly isReply: boolean; readonly chaddr: string }): number[] {
  const fixed = [isReply ? 2 : 1, 1, 6, 0, 1, 2, 3, 4, ...zeros(20), ...mac(chaddr), ...zeros(10 + 64 + 128)];
  return [...fixed, 0x63, 0x82, 0x53, 0x63, 53, 1, isReply ? 5 : 1, 255];
}

function icmp(content: IpContent, { type, code, id, nd, about }: IcmpUpper): number[] {
  const octets = [type, code, 0, 0];
  const isV6 = content.protocol === 58;
  if (nd !== undefined) {
    octets.push(...zeros(4));
    if (nd.target !== undefined) octets.push(...ip(nd.target));
    if (type === 134) octets.push(...zeros(8));
    if (type === 137) octets.push(...zeros(16));
    if (nd.link !== undefined)
      octets.push(type === 136 || type === 137 ? 2 : 1, content.broken === 'nd' ? 0 : 1, ...mac(nd.link));
  } else if (about !== undefined) octets.push(...zeros(4), ...(about.source.family === 4 ? ipv4(about) : ipv6(about)));
  else octets.push(...number(id, 2), 0, 1, ...new Array<number>(16).fill(0x66));
  if (content.broken === 'icmp') octets.length = 3;
  return octets.length < 4 ? octets : withSum(content, octets, 2, isV6);
}

function ipv4(content: IpContent): number[] {
  const { source, destination, dscp, hopLimit, extensions, fragment, fragmentId, protocol } = content;
  const payload = upperOctets(content);
  const options = extensions.flatMap(() => [1, 1, 1, 0]);
  const words = 5 + extensions.length;
  const total = words * 4 + payload.length + (content.broken === 'ip' ? 900 : 0);
  const offset = fragment === 'later' ? FIRST_FRAGMENT / 8 : fragment === 'first' ? 0x2000 : 0;
  const head = [0x40 + words, dscp * 4, ...number(total, 2), ...number(fragmentId % 65_536, 2), ...number(offset, 2)];
  head.push(hopLimit, protocol, 0, 0, ...ip(source), ...ip(destination), ...options);
  head.splice(10, 2, ...number(sumOf(head), 2));
  return [...head, ...payload];
}

function ipv6(content: IpContent): number[] {
  const { source, destination, dscp, hopLimit, extensions, fragment, fragmentId, protocol } = content;
  const chain: number[] = fragment === 'none' ? [...extensions] : [...extensions, 44];
  const next = [...chain.slice(1), protocol];
  const offset = fragment === 'later' ? FIRST_FRAGMENT : 1;
  const headers = chain.flatMap((kind, index) => {
    if (kind === 44) return [next[index], 0, ...number(offset, 2), ...number(fragmentId, 4)];
    // A PadN option, or an authentication header of 16 octets (RFC 4302 2.2: words minus two).
    if (kind === 51) return [next[index], 2, ...zeros(14)];
    return [next[index], 0, 1, 4, 0, 0, 0, 0];
  });
  const payload = [...headers, ...upperOctets(content)];
  const length = payload.length + (content.broken === 'ip' ? 900 : 0);
  const first = 0x6000_0000 + dscp * 2 ** 22;
  return [
    ...number(first, 4),
    ...number(length, 2),
    chain[0] ?? protocol,
    hopLimit,
    ...ip(source),
    ...ip(destination),
    ...payload,
  ];
}
