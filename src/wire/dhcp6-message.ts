/**
 * DHCPv6 messages between clients and servers (RFC 8415 section 8), octets only. Main thread. What is read is a guest's: a
 * message with an option that is longer than what holds it is none. What is written begins as zeros.
 */
import { read16, read32, write16, write32 } from './octets.js';

/** Message types (RFC 8415 7.3). */
export const DHCP6_SOLICIT = 1;
export const DHCP6_ADVERTISE = 2;
export const DHCP6_REQUEST = 3;
export const DHCP6_CONFIRM = 4;
export const DHCP6_RENEW = 5;
export const DHCP6_REBIND = 6;
export const DHCP6_REPLY = 7;
export const DHCP6_RELEASE = 8;
export const DHCP6_DECLINE = 9;
export const DHCP6_INFORMATION_REQUEST = 11;

/** Options (RFC 8415 section 21, RFC 3646). */
export const OPTION6_CLIENT_ID = 1;
export const OPTION6_SERVER_ID = 2;
export const OPTION6_IA_NA = 3;
export const OPTION6_IA_TA = 4;
export const OPTION6_IA_ADDRESS = 5;
export const OPTION6_REQUESTED = 6;
export const OPTION6_STATUS = 13;
export const OPTION6_RAPID_COMMIT = 14;
export const OPTION6_DNS = 23;
export const OPTION6_SEARCH = 24;
export const OPTION6_IA_PD = 25;
export const OPTION6_INFORMATION_REFRESH = 32;

/** Status codes (RFC 8415 21.13). */
export const STATUS_SUCCESS = 0;
export const STATUS_NO_ADDRESSES = 2;
export const STATUS_NO_BINDING = 3;
export const STATUS_NOT_ON_LINK = 4;
export const STATUS_USE_MULTICAST = 5;
export const STATUS_NO_PREFIX = 6;

/** DUIDs are at most this long with their type (RFC 8415 11.1), and have at least a type and one octet. */
const DUID_SIZE_MAX = 130;
const DUID_SIZE_MIN = 3;
const HEADER_SIZE = 4;
const IA_HEADER_SIZE = 12;
const ADDRESS_HEADER_SIZE = 24;
const ADDRESS_SIZE = 16;

export interface Option6 {
  readonly code: number;
  readonly value: Uint8Array;
}

/** An IA_NA as a client sends it. */
export interface IdentityAssociation {
  readonly iaid: number;
  /** Addresses it names. */
  readonly addresses: readonly Uint8Array[];
}

export interface Dhcp6Message {
  readonly type: number;
  readonly xid: number;
  readonly clientId?: Uint8Array;
  readonly serverId?: Uint8Array;
  readonly associations: readonly IdentityAssociation[];
  /** IAIDs of requests for prefixes, which are never granted. */
  readonly prefixAssociations: readonly number[];
  /** Option codes that are asked for. */
  readonly requested: readonly number[];
  readonly rapidCommit: boolean;
}

/** The message in octets [start, end); undefined when it is none, malformed, or between relays and servers. */
export function readDhcp6(octets: Uint8Array, start: number, end: number): Dhcp6Message | undefined {
  if (start + HEADER_SIZE > end) return undefined;
  const type = octets[start];
  if (type < DHCP6_SOLICIT || type > DHCP6_INFORMATION_REQUEST) return undefined;
  const options = readOptions6(octets, start + HEADER_SIZE, end);
  if (options === undefined) return undefined;
  const associations: IdentityAssociation[] = [];
  const prefixAssociations: number[] = [];
  for (const { code, value } of options) {
    if (code === OPTION6_IA_NA) {
      const association = readAssociation(value);
      if (association === undefined) return undefined;
      associations.push(association);
    } else if (code === OPTION6_IA_PD) {
      if (value.length < IA_HEADER_SIZE) return undefined;
      prefixAssociations.push(read32(value, 0) >>> 0);
    }
  }
  const one = (wanted: number) => options.find(({ code }) => code === wanted)?.value;
  const [clientId, serverId, requested] = [one(OPTION6_CLIENT_ID), one(OPTION6_SERVER_ID), one(OPTION6_REQUESTED)];
  if (!isDuid(clientId) || !isDuid(serverId) || (requested !== undefined && requested.length % 2 !== 0))
    return undefined;
  return {
    type,
    xid: read32(octets, start) & 0xff_ffff,
    ...(clientId !== undefined && { clientId }),
    ...(serverId !== undefined && { serverId }),
    associations,
    prefixAssociations,
    requested: Array.from({ length: (requested?.length ?? 0) / 2 }, (_, index) =>
      read16(requested ?? octets, 2 * index),
    ),
    rapidCommit: one(OPTION6_RAPID_COMMIT) !== undefined,
  };
}

function isDuid(duid: Uint8Array | undefined): boolean {
  return duid === undefined || (duid.length >= DUID_SIZE_MIN && duid.length <= DUID_SIZE_MAX);
}

/** Options in [start, end), in their order; undefined when one is longer than what is left. */
export function readOptions6(octets: Uint8Array, start: number, end: number): Option6[] | undefined {
  const options: Option6[] = [];
  let at = start;
  while (at < end) {
    if (at + 4 > end) return undefined;
    const size = read16(octets, at + 2);
    if (at + 4 + size > end) return undefined;
    options.push({ code: read16(octets, at), value: octets.slice(at + 4, at + 4 + size) });
    at += 4 + size;
  }
  return options;
}

function readAssociation(value: Uint8Array): IdentityAssociation | undefined {
  if (value.length < IA_HEADER_SIZE) return undefined;
  const options = readOptions6(value, IA_HEADER_SIZE, value.length);
  const inner = options?.filter(({ code }) => code === OPTION6_IA_ADDRESS);
  if (inner === undefined || inner.some((option) => option.value.length < ADDRESS_HEADER_SIZE)) return undefined;
  return { iaid: read32(value, 0) >>> 0, addresses: inner.map((option) => option.value.slice(0, ADDRESS_SIZE)) };
}

export function writeDhcp6(type: number, xid: number, options: readonly Option6[]): Uint8Array {
  const body = writeOptions6(options);
  const octets = new Uint8Array(HEADER_SIZE + body.length);
  write32(octets, 0, (type << 24) | xid);
  octets.set(body, HEADER_SIZE);
  return octets;
}

export function writeOptions6(options: readonly Option6[]): Uint8Array {
  const octets = new Uint8Array(options.reduce((sum, { value }) => sum + 4 + value.length, 0));
  let at = 0;
  for (const { code, value } of options) {
    write16(octets, at, code);
    write16(octets, at + 2, value.length);
    octets.set(value, at + 4);
    at += 4 + value.length;
  }
  return octets;
}

export interface GrantedAddress {
  readonly address: Uint8Array;
  readonly preferredSeconds: number;
  readonly validSeconds: number;
}

/** An IA_NA (`code` OPTION6_IA_NA; or OPTION6_IA_PD, without addresses) of a server's. */
export function associationOption(
  code: number,
  iaid: number,
  times: { readonly renewSeconds: number; readonly rebindSeconds: number },
  granted: readonly GrantedAddress[],
  status?: Option6,
): Option6 {
  const inner = granted.map(({ address, preferredSeconds, validSeconds }): Option6 => {
    const value = new Uint8Array(ADDRESS_HEADER_SIZE);
    value.set(address);
    write32(value, ADDRESS_SIZE, preferredSeconds);
    write32(value, ADDRESS_SIZE + 4, validSeconds);
    return { code: OPTION6_IA_ADDRESS, value };
  });
  const options = writeOptions6(status === undefined ? inner : [...inner, status]);
  const value = new Uint8Array(IA_HEADER_SIZE + options.length);
  write32(value, 0, iaid | 0);
  write32(value, 4, times.renewSeconds);
  write32(value, 8, times.rebindSeconds);
  value.set(options, IA_HEADER_SIZE);
  return { code, value };
}

export function statusOption(status: number, text: string): Option6 {
  return { code: OPTION6_STATUS, value: Uint8Array.of(status >>> 8, status, ...Buffer.from(text)) };
}

/** DUID-LL (RFC 8415 11.4) of an Ethernet address. */
export function duidOf(mac: Uint8Array): Uint8Array {
  return Uint8Array.of(0, 3, 0, 1, ...mac);
}
