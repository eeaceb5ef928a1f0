/**
 * Router solicitations and advertisements (RFC 4861 4.1 and 4.2) with the options that hosts configure themselves by: prefix
 * information, MTU, resolvers and search domains (RFC 8106). Octets of the ICMPv6 message only; its checksum is written with
 * the packet around it. Main thread.
 */
import { domainNames } from './dhcp-message.js';
import { MAC_SIZE } from './ethernet.js';
import { ICMPV6_ROUTER_ADVERTISEMENT } from './icmp.js';
import { write16, write32 } from './octets.js';

const SOLICITATION_SIZE = 8;
const ADVERTISEMENT_SIZE = 16;
const OPTION_UNIT = 8;
const OPTION_SOURCE_MAC = 1;
const OPTION_PREFIX = 3;
const OPTION_MTU = 5;
const OPTION_RDNSS = 25;
const OPTION_DNSSL = 31;

const FLAG_MANAGED = 0x80;
const FLAG_OTHER = 0x40;
const FLAG_ON_LINK = 0x80;
const FLAG_AUTONOMOUS = 0x40;
/** What IANA recommends to hosts (RFC 4861 6.2.1, AdvCurHopLimit). */
const HOP_LIMIT = 64;

export interface AdvertisedPrefix {
  readonly address: Uint8Array;
  readonly length: number;
  /** Hosts make themselves an address in it (SLAAC). */
  readonly autonomous: boolean;
  readonly validSeconds: number;
  readonly preferredSeconds: number;
}

export interface RouterAdvertisement {
  readonly mac: Uint8Array;
  /** Addresses, and other things, come by DHCPv6. */
  readonly managed: boolean;
  readonly other: boolean;
  /** 0: not a default router. */
  readonly lifetimeSeconds: number;
  readonly mtu: number;
  readonly prefixes: readonly AdvertisedPrefix[];
  readonly resolvers: readonly Uint8Array[];
  readonly search: readonly string[];
  /** Of resolvers and search domains. */
  readonly resolversSeconds: number;
}

export function writeRouterAdvertisement(fields: RouterAdvertisement): Uint8Array {
  const head = new Uint8Array(ADVERTISEMENT_SIZE);
  head[0] = ICMPV6_ROUTER_ADVERTISEMENT;
  head[4] = HOP_LIMIT;
  head[5] = (fields.managed ? FLAG_MANAGED : 0) | (fields.other ? FLAG_OTHER : 0);
  write16(head, 6, fields.lifetimeSeconds);
  const mtu = option(OPTION_MTU, OPTION_UNIT);
  write32(mtu, 4, fields.mtu);
  const parts = [head, macOption(fields.mac), mtu, ...fields.prefixes.map(prefixOption)];
  if (fields.resolvers.length > 0) parts.push(resolversOption(fields));
  if (fields.search.length > 0) parts.push(searchOption(fields));
  const message = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    message.set(part, at);
    at += part.length;
  }
  return message;
}

/** A zeroed option of `size` octets, rounded up to whole units. */
function option(type: number, size: number): Uint8Array {
  const units = Math.ceil(size / OPTION_UNIT);
  const octets = new Uint8Array(units * OPTION_UNIT);
  octets[0] = type;
  octets[1] = units;
  return octets;
}

function macOption(mac: Uint8Array): Uint8Array {
  const octets = option(OPTION_SOURCE_MAC, OPTION_UNIT);
  octets.set(mac.subarray(0, MAC_SIZE), 2);
  return octets;
}

function prefixOption(prefix: AdvertisedPrefix): Uint8Array {
  const octets = option(OPTION_PREFIX, 32);
  octets[2] = prefix.length;
  octets[3] = FLAG_ON_LINK | (prefix.autonomous ? FLAG_AUTONOMOUS : 0);
  write32(octets, 4, prefix.validSeconds);
  write32(octets, 8, prefix.preferredSeconds);
  octets.set(prefix.address, 16);
  return octets;
}

/** RFC 8106 5.1. */
function resolversOption({ resolvers, resolversSeconds }: RouterAdvertisement): Uint8Array {
  const octets = option(OPTION_RDNSS, 8 + 16 * resolvers.length);
  write32(octets, 4, resolversSeconds);
  for (const [index, address] of resolvers.entries()) octets.set(address, 8 + 16 * index);
  return octets;
}

/** RFC 8106 5.2: padded with zeros, which end a list of names. */
function searchOption({ search, resolversSeconds }: RouterAdvertisement): Uint8Array {
  const names = domainNames(search);
  const octets = option(OPTION_DNSSL, 8 + names.length);
  write32(octets, 4, resolversSeconds);
  octets.set(names, 8);
  return octets;
}

export interface RouterSolicitation {
  /** Where the answer may go; absent: nobody said. */
  readonly mac?: Uint8Array;
}

/** The solicitation in [start, end); undefined when one of its options has no length or ends elsewhere (RFC 4861 6.1.1). */
export function readRouterSolicitation(octets: Uint8Array, start: number, end: number): RouterSolicitation | undefined {
  if (start + SOLICITATION_SIZE > end) return undefined;
  let mac: Uint8Array | undefined;
  for (let at = start + SOLICITATION_SIZE; at < end; ) {
    if (at + 2 > end) return undefined;
    const size = octets[at + 1] * OPTION_UNIT;
    if (size === 0 || at + size > end) return undefined;
    if (octets[at] === OPTION_SOURCE_MAC && size === OPTION_UNIT) mac ??= octets.slice(at + 2, at + 2 + MAC_SIZE);
    at += size;
  }
  return mac === undefined ? {} : { mac };
}
