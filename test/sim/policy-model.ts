/**
 * What the policy oracle talks about: frames as objects (what their maker meant, never read back from octets), addresses
 * as numbers, and the part of a configuration document that policy reads.
 */
import type { DropReason } from '../../src/dataplane/drop-reason.js';
import type { Random } from './random.js';
import type { NetworkDocument, PortDocument, SwitchDocument } from './switch-document.js';

/** Why the policy refuses a frame; names are fixed by CONFIG.md, whether this version has them all or not. */
export type Refusal = DropReason | 'acl_deny' | 'acl_default' | 'group_deny' | 'conntrack_invalid';

// ---- addresses ------------------------------------------------------------------------------------------------------

export interface Address {
  readonly family: 4 | 6;
  readonly value: bigint;
}

export const isSameAddress = (one: Address, other: Address) => one.family === other.family && one.value === other.value;

/** `10.0.0.1`, `2001:db8::1`. */
export function address(text: string): Address {
  if (!text.includes(':')) {
    return { family: 4, value: text.split('.').reduce((sum, octet) => sum * 256n + BigInt(octet), 0n) };
  }
  const [head, tail] = text.split('::').map((part) => part.split(':').filter((word) => word !== ''));
  const missing = tail === undefined ? 0 : 8 - head.length - tail.length;
  const words = [...head, ...Array.from({ length: missing }, () => '0'), ...(tail ?? [])];
  return { family: 6, value: words.reduce((sum, word) => sum * 65_536n + BigInt(`0x${word}`), 0n) };
}

/** Whether a prefix, or one address, contains the address. */
export function contains(prefix: string, { family, value }: Address): boolean {
  const [text, written] = prefix.split('/');
  const base = address(text);
  if (base.family !== family) return false;
  const bits = family === 4 ? 32 : 128;
  const rest = BigInt(bits - (written === undefined ? bits : Number(written)));
  return value >> rest === base.value >> rest;
}

export const UNSPECIFIED_4 = address('0.0.0.0');
export const UNSPECIFIED_6 = address('::');

/** RFC 4291 appendix A: the link-local address that the MAC gives. */
export function linkLocal(mac: string): Address {
  const id = `${(Number.parseInt(mac.slice(0, 2), 16) ^ 2).toString(16).padStart(2, '0')}${mac.slice(2, 6)}fffe${mac.slice(6)}`;
  return { family: 6, value: (0xfe80n << 112n) + BigInt(`0x${id}`) };
}

export function isMulticast({ family, value }: Address): boolean {
  return family === 4 ? value >> 28n === 0xen || value === 0xffff_ffffn : value >> 120n === 0xffn;
}

/** As the configuration writes a MAC. */
export const macWritten = (mac: string) => mac.match(/../g)!.join(':');
export const macRead = (text: string) => text.replaceAll(':', '').toLowerCase();
export const isGroupMac = (mac: string) => (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;

// ---- frames ---------------------------------------------------------------------------------------------------------

export interface Tag {
  readonly tpid: number;
  readonly vid: number;
  readonly pcp: number;
}

export interface ArpContent {
  readonly kind: 'arp';
  readonly operation: number;
  readonly senderMac: string;
  readonly sender: Address;
  readonly target: Address;
  /** Cut off, or for other than IPv4 over Ethernet. */
  readonly isBroken: boolean;
}

export interface OtherContent {
  readonly kind: 'other';
  readonly ethertype: number;
}

/** Behind a length instead of an ethertype; with a SNAP header when there is an ethertype. */
export interface LlcContent {
  readonly kind: 'llc';
  readonly ethertype: number | undefined;
}

/** What the upper layer's header says, as far as policy asks. */
export interface PortsUpper {
  readonly kind: 'ports';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly tcp?: { readonly flags: number; readonly sequence: number; readonly acknowledgement: number };
  /** A DHCP message's hardware address. */
  readonly dhcp?: { readonly isReply: boolean; readonly chaddr: string };
}

export interface IcmpUpper {
  readonly kind: 'icmp';
  readonly type: number;
  readonly code: number;
  readonly id: number;
  readonly nd?: {
    readonly target: Address | undefined;
    /** The MAC in the source or target link-layer option. */
    readonly link: string | undefined;
  };
  /** The packet that an error is about. */
  readonly about?: IpContent;
}

export interface PlainUpper {
  readonly kind: 'plain';
}

export type Upper = PortsUpper | IcmpUpper | PlainUpper;

export type Breakage = 'ip' | 'tcp' | 'udp' | 'icmp' | 'nd';

export interface IpContent {
  readonly kind: 'ip';
  readonly source: Address;
  readonly destination: Address;
  readonly dscp: number;
  readonly hopLimit: number;
  /** Protocol numbers of IPv6 extension headers in front of the fragment header; IPv4: a word of options each. */
  readonly extensions: readonly number[];
  readonly fragment: 'none' | 'first' | 'later';
  readonly fragmentId: number;
  readonly protocol: number;
  /** Of a later fragment: the first one's, which its octets do not have. */
  readonly upper: Upper;
  /** What is wrong with its headers, on purpose. */
  readonly broken?: Breakage;
}

export type Content = ArpContent | OtherContent | LlcContent | IpContent;

export interface Frame {
  /** Where it comes in. */
  readonly port: string;
  readonly destinationMac: string;
  readonly sourceMac: string;
  readonly tags: readonly Tag[];
  readonly content: Content;
}

export const ICMPV6_OF_ND = [133, 134, 135, 136, 137];

export function isUdp(content: Content, sourcePort: number, destinationPort: number): boolean {
  if (content.kind !== 'ip' || content.protocol !== 17 || content.upper.kind !== 'ports') return false;
  return content.upper.sourcePort === sourcePort && content.upper.destinationPort === destinationPort;
}

/** The ICMPv6 type, or undefined. */
export function icmpv6Type(content: Content): number | undefined {
  if (content.kind !== 'ip' || content.protocol !== 58 || content.source.family !== 6) return undefined;
  return content.upper.kind === 'icmp' ? content.upper.type : undefined;
}

export function isDhcpServer(content: Content): boolean {
  if (content.kind !== 'ip') return false;
  return content.source.family === 4 ? isUdp(content, 67, 68) : isUdp(content, 547, 546);
}

export function isDhcpClient(content: Content): boolean {
  if (content.kind !== 'ip') return false;
  return content.source.family === 4 ? isUdp(content, 68, 67) : isUdp(content, 546, 547);
}

// ---- documents ------------------------------------------------------------------------------------------------------

export interface AclRule {
  action: 'permit' | 'deny' | 'reject';
  family?: 'ipv4' | 'ipv6';
  proto?: string | number;
  src?: string;
  dst?: string;
  srcPort?: Ranges;
  dstPort?: Ranges;
  icmpType?: number;
  icmpCode?: number;
  tcpFlags?: string;
  dscp?: number;
  fragment?: 'any' | 'first' | 'later' | 'none';
  srcMac?: string;
  dstMac?: string;
  ethertype?: number | 'arp' | 'ipv4' | 'ipv6';
  vlan?: number;
  pcp?: number;
  arpOp?: 'request' | 'reply';
  arpSender?: string;
  arpTarget?: string;
}

/** `80`, `"22-25"`, or a list of those. */
export type Ranges = number | string | (number | string)[];

export interface Acl {
  default: 'permit' | 'deny';
  rules: AclRule[];
}

export interface GroupRule {
  direction: 'ingress' | 'egress';
  family?: 'ipv4' | 'ipv6';
  proto?: string | number;
  port?: Ranges;
  icmpType?: number;
  icmpCode?: number;
  remote?: string;
  remoteGroup?: string;
}

export interface Group {
  stateful: boolean;
  rules: GroupRule[];
}

export interface AclNames {
  ingress?: string;
  egress?: string;
}

export interface PolicyPort extends PortDocument {
  mac?: string;
  addresses?: string[];
  antiSpoof?: boolean;
  allowedPairs?: { ip: string; mac?: string }[];
  allowEthertypes?: number[];
  groups?: string[];
  acl?: AclNames;
}

export interface PolicyNetwork extends NetworkDocument {
  acl?: AclNames;
}

export interface PolicyDocument extends SwitchDocument {
  networks: Record<string, PolicyNetwork>;
  ports: Record<string, PolicyPort>;
  acls: Record<string, Acl>;
  groups: Record<string, Group>;
}

export function inRanges(ranges: Ranges, value: number): boolean {
  return (Array.isArray(ranges) ? ranges : [ranges]).some((range) => {
    const [first, last = first] = String(range).split('-').map(Number);
    return value >= first && value <= last;
  });
}

const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmpv6: 58,
  sctp: 132,
  gre: 47,
  esp: 50,
};

export const protocolNumber = (proto: string | number) => (typeof proto === 'number' ? proto : PROTOCOLS[proto]);

/** True so often in a hundred times. */
export const chance = (random: Random, percent: number) => random.below(100) < percent;
