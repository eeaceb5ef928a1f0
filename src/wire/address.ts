/**
 * Addresses as people write them: MAC, IPv4, IPv6 (printed as RFC 5952 says) and prefixes. For configuration, commands
 * and output, not for the dataplane. A parsed address is its octets in network order (6, 4 or 16 of them), so that what
 * reads frames reads it too (`macHighAt(mac, 0)`). Parsers return undefined for anything that isn't exactly an address:
 * what to say about it is the caller's matter.
 */
import { macHighAt, macLowAt, writeMac } from './ethernet.js';
import { read16, write16 } from './octets.js';

const MAC = /^[0-9a-f]{2}([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}$/i;
const DECIMAL_OCTET = /^(?:0|[1-9][0-9]{0,2})$/;
const IPV6_GROUP = /^[0-9a-f]{1,4}$/i;
const PREFIX_LENGTH = /^(?:0|[1-9][0-9]{0,2})$/;

export const IPV4_SIZE = 4;
export const IPV6_SIZE = 16;
const IPV6_GROUPS = 8;

/** `52:54:00:00:00:01` or `52-54-00-00-00-01`. */
export function parseMac(text: string): Uint8Array | undefined {
  if (!MAC.test(text)) return undefined;
  return Uint8Array.from(text.split(/[:-]/), (octet) => Number.parseInt(octet, 16));
}

export function macText(octets: Uint8Array, position = 0): string {
  return Array.from(octets.subarray(position, position + 6), hexOctet).join(':');
}

/** Of an address in the dataplane's form: first two octets, last four octets. */
export function macWordsText(high: number, low: number): string {
  const octets = new Uint8Array(6);
  writeMac(octets, 0, high, low);
  return macText(octets);
}

/** The dataplane's form of a parsed address. */
export function macWords(mac: Uint8Array): { readonly high: number; readonly low: number } {
  return { high: macHighAt(mac, 0), low: macLowAt(mac, 0) };
}

function hexOctet(octet: number): string {
  return octet.toString(16).padStart(2, '0');
}

/** Four decimal octets. Leading zeros are refused: half of the world reads them as octal. */
export function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  if (parts.length !== IPV4_SIZE || !parts.every((part) => DECIMAL_OCTET.test(part) && Number(part) < 256)) {
    return undefined;
  }
  return Uint8Array.from(parts, Number);
}

export function ipv4Text(octets: Uint8Array, position = 0): string {
  return octets.subarray(position, position + IPV4_SIZE).join('.');
}

/** Any form of RFC 4291 2.2, without a zone. */
export function parseIpv6(text: string): Uint8Array | undefined {
  if (text.length > 45) return undefined;
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0], halves.length === 1);
  const tail = parseGroups(halves[1] ?? '', true);
  if (head === undefined || tail === undefined) return undefined;
  const count = head.length + tail.length;
  // "::" stands for at least one group (RFC 5952 4.2.2 discourages exactly one, RFC 4291 allows it).
  if (halves.length === 1 ? count !== IPV6_GROUPS : count >= IPV6_GROUPS) return undefined;
  const octets = new Uint8Array(IPV6_SIZE);
  for (const [index, group] of head.entries()) write16(octets, 2 * index, group);
  for (const [index, group] of tail.entries()) write16(octets, IPV6_SIZE - 2 * (tail.length - index), group);
  return octets;
}

/** The groups on one side of "::"; an IPv4 address may stand for the last two where `mayEndInIpv4`. */
function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (IPV6_GROUP.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const embedded = mayEndInIpv4 && index === parts.length - 1 ? parseIpv4(part) : undefined;
    if (embedded === undefined) return undefined;
    groups.push(read16(embedded, 0), read16(embedded, 2));
  }
  return groups;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as "::". */
export function ipv6Text(octets: Uint8Array, position = 0): string {
  const groups = Array.from({ length: IPV6_GROUPS }, (_, index) => read16(octets, position + 2 * index));
  // Section 5: a known IPv4-mapped address shows its IPv4 part.
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${ipv4Text(octets, position + 12)}`;
  }
  const run = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (run.length < 2) return hex.join(':');
  return `${hex.slice(0, run.start).join(':')}::${hex.slice(run.start + run.length).join(':')}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (const [index, group] of groups.entries()) {
    if (group !== 0) start = index + 1;
    else if (index + 1 - start > best.length) best = { start, length: index + 1 - start };
  }
  return best;
}

/** Four octets for an IPv4 address, sixteen for an IPv6 one. */
export function parseIp(text: string): Uint8Array | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** Of a parsed address. */
export function ipText(address: Uint8Array): string {
  return address.length === IPV4_SIZE ? ipv4Text(address) : ipv6Text(address);
}

/**
 * The dataplane's form of a parsed address: its sixteen octets as four words in memory's order, IPv4 mapped into
 * ::ffff:0:0/96 (RFC 4291 2.5.5.2).
 */
export function ipWords(address: Uint8Array): Int32Array {
  const octets = new Uint8Array(IPV6_SIZE);
  octets.set(address, IPV6_SIZE - address.length);
  if (address.length === IPV4_SIZE) octets.fill(0xff, 10, 12);
  return new Int32Array(octets.buffer);
}

/** Of an address in that form; a mapped one is shown as IPv4. */
export function ipWordsText(words: Int32Array, position = 0): string {
  const octets = new Uint8Array(words.slice(position, position + 4).buffer);
  return isMapped(octets) ? ipv4Text(octets, 12) : ipv6Text(octets);
}

/** Whether an IPv6 address stands for an IPv4 one. */
export function isMapped(address: Uint8Array): boolean {
  if (address.length !== IPV6_SIZE || address[10] !== 0xff || address[11] !== 0xff) return false;
  return address.subarray(0, 10).every((octet) => octet === 0);
}

/** An address and the number of leading bits that name its network. */
export interface Prefix {
  readonly address: Uint8Array;
  readonly length: number;
}

/** `10.0.0.5/24`, `2001:db8::/32`. Bits behind the prefix are kept: `10.0.0.5/24` is an interface's address. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const address = parseIp(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (address === undefined || !PREFIX_LENGTH.test(length) || Number(length) > address.length * 8) return undefined;
  return { address, length: Number(length) };
}

export function prefixText(prefix: Prefix): string {
  return `${ipText(prefix.address)}/${prefix.length}`;
}

/** The prefix with the bits behind it cleared. */
export function networkOf(prefix: Prefix): Prefix {
  return {
    address: prefix.address.map((octet, index) => octet & maskOctet(prefix.length, index)),
    length: prefix.length,
  };
}

/** Whether `address` (of either family) is in the prefix. */
export function prefixContains(prefix: Prefix, address: Uint8Array): boolean {
  if (address.length !== prefix.address.length) return false;
  return address.every((octet, index) => ((octet ^ prefix.address[index]) & maskOctet(prefix.length, index)) === 0);
}

function maskOctet(length: number, index: number): number {
  const bits = Math.min(8, Math.max(0, length - 8 * index));
  return (0xff00 >> bits) & 0xff;
}
