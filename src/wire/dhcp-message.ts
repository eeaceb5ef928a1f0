/**
 * DHCP messages (RFC 2131 section 2, options of RFC 2132): read and written, octets only. Main thread.
 *
 * What is read is a guest's: a message with an option that is longer than its field is none (undefined), a field without END
 * ends where it ends. Option overload (52) and options in several parts (RFC 3396) are followed; 52 counts in the options
 * field only, so no message can send the walk round. BOOTP without the magic cookie is not served. What is written begins
 * as zeros: no octet of anything else can be in it.
 *
 * Addresses are unsigned 32-bit numbers here, because pools are counted through.
 */
import { read16, read32, write16, write32 } from './octets.js';

export const BOOT_REQUEST = 1;
export const BOOT_REPLY = 2;
export const HARDWARE_ETHERNET = 1;
/** In flags: the client can't hear unicast yet. */
export const DHCP_BROADCAST = 0x8000;

/** Message types, the value of option 53. */
export const DHCP_DISCOVER = 1;
export const DHCP_OFFER = 2;
export const DHCP_REQUEST = 3;
export const DHCP_DECLINE = 4;
export const DHCP_ACK = 5;
export const DHCP_NAK = 6;
export const DHCP_RELEASE = 7;
export const DHCP_INFORM = 8;

export const OPTION_PAD = 0;
export const OPTION_SUBNET_MASK = 1;
export const OPTION_ROUTER = 3;
export const OPTION_DNS = 6;
export const OPTION_HOST_NAME = 12;
export const OPTION_DOMAIN = 15;
export const OPTION_MTU = 26;
export const OPTION_BROADCAST = 28;
export const OPTION_NTP = 42;
export const OPTION_REQUESTED_IP = 50;
export const OPTION_LEASE_TIME = 51;
export const OPTION_OVERLOAD = 52;
export const OPTION_MESSAGE_TYPE = 53;
export const OPTION_SERVER_ID = 54;
export const OPTION_PARAMETERS = 55;
export const OPTION_MESSAGE = 56;
export const OPTION_MAX_SIZE = 57;
export const OPTION_RENEWAL_TIME = 58;
export const OPTION_REBINDING_TIME = 59;
export const OPTION_CLIENT_ID = 61;
export const OPTION_TFTP_NAME = 66;
export const OPTION_BOOT_FILE = 67;
/** RFC 4039. */
export const OPTION_RAPID_COMMIT = 80;
export const OPTION_RELAY_INFO = 82;
export const OPTION_SEARCH = 119;
export const OPTION_ROUTES = 121;
export const OPTION_TFTP_SERVERS = 150;
export const OPTION_END = 255;

/** Octets from the start of the message. */
const XID = 4;
const SECS = 8;
const FLAGS = 10;
const CIADDR = 12;
const YIADDR = 16;
const SIADDR = 20;
const GIADDR = 24;
const CHADDR = 28;
const SNAME = 44;
const FILE = 108;
const COOKIE = 236;
const OPTIONS = 240;
const CHADDR_SIZE = 16;
const MAGIC_COOKIE = 0x6382_5363;
/** RFC 1542 2.1: what the shortest BOOTP message has; some clients and relays throw away what is shorter. */
const MESSAGE_SIZE_MIN = 300;
/** Octets of data in one part of an option. */
const PART_MAX = 255;
const OVERLOADS_FILE = 1;
const OVERLOADS_SNAME = 2;

export interface DhcpMessage {
  readonly op: number;
  readonly hardwareType: number;
  readonly hardwareSize: number;
  readonly xid: number;
  readonly flags: number;
  readonly ciaddr: number;
  readonly yiaddr: number;
  readonly siaddr: number;
  readonly giaddr: number;
  /** All sixteen octets. */
  readonly chaddr: Uint8Array;
  /** The boot file's name, where that field has no options in it. */
  readonly file: string;
  /** Option 53; 0: none. */
  readonly type: number;
  readonly options: ReadonlyMap<number, Uint8Array>;
}

/** The message in octets [start, end); undefined when it is none, or malformed. */
export function readDhcp(octets: Uint8Array, start: number, end: number): DhcpMessage | undefined {
  if (start + OPTIONS > end || read32(octets, start + COOKIE) !== MAGIC_COOKIE) return undefined;
  const options = new Map<number, Uint8Array>();
  if (!readField(octets, start + OPTIONS, end, options)) return undefined;
  const overload = options.get(OPTION_OVERLOAD);
  const overloads = overload === undefined ? 0 : overload.length === 1 ? overload[0] : -1;
  if (overloads < 0 || overloads > 3 || (overload !== undefined && overloads === 0)) return undefined;
  // RFC 3396 section 5: the options field, then file, then sname.
  if (overloads & OVERLOADS_FILE && !readField(octets, start + FILE, start + COOKIE, options)) return undefined;
  if (overloads & OVERLOADS_SNAME && !readField(octets, start + SNAME, start + FILE, options)) return undefined;
  const type = options.get(OPTION_MESSAGE_TYPE);
  if (type !== undefined && type.length !== 1) return undefined;
  const hardwareSize = octets[start + 2];
  if (hardwareSize > CHADDR_SIZE) return undefined;
  const word = (position: number) => read32(octets, start + position) >>> 0;
  return {
    op: octets[start],
    hardwareType: octets[start + 1],
    hardwareSize,
    xid: word(XID),
    flags: read16(octets, start + FLAGS),
    ciaddr: word(CIADDR),
    yiaddr: word(YIADDR),
    siaddr: word(SIADDR),
    giaddr: word(GIADDR),
    chaddr: octets.slice(start + CHADDR, start + CHADDR + CHADDR_SIZE),
    file: overloads & OVERLOADS_FILE ? '' : textAt(octets, start + FILE, COOKIE - FILE),
    type: type?.[0] ?? 0,
    options,
  };
}

/** Adds the options in [start, end), parts of one option joined in their order. False: one is longer than the field. */
function readField(octets: Uint8Array, start: number, end: number, options: Map<number, Uint8Array>): boolean {
  let at = start;
  while (at < end) {
    const code = octets[at];
    if (code === OPTION_END) return true;
    at++;
    if (code === OPTION_PAD) continue;
    if (at >= end) return false;
    const size = octets[at];
    at++;
    if (at + size > end) return false;
    const known = options.get(code);
    const part = octets.slice(at, at + size);
    options.set(code, known === undefined ? part : Uint8Array.of(...known, ...part));
    at += size;
  }
  return true;
}

function textAt(octets: Uint8Array, start: number, size: number): string {
  const field = octets.subarray(start, start + size);
  const end = field.indexOf(0);
  return Buffer.from(end < 0 ? field : field.subarray(0, end)).toString('latin1');
}

export interface DhcpReply {
  readonly xid: number;
  readonly flags: number;
  readonly ciaddr: number;
  readonly yiaddr: number;
  readonly siaddr: number;
  readonly giaddr: number;
  readonly chaddr: Uint8Array;
  readonly hardwareSize: number;
  readonly secs?: number;
  /** At most 127 octets; left out where options need its field. */
  readonly file: string;
  /** In the order they are wanted in: what does not fit is left out from the end. */
  readonly options: readonly (readonly [code: number, value: Uint8Array])[];
}

/** The reply as octets, at most `sizeMax` of them (at least 548 are assumed: RFC 2131 section 2). */
export function writeDhcp(reply: DhcpReply, sizeMax: number): Uint8Array {
  const parts = reply.options.map(([code, value]) => optionParts(code, value));
  const room = Math.max(sizeMax, 548) - OPTIONS - 1;
  const placed = place(parts, room);
  const size = Math.max(MESSAGE_SIZE_MIN, OPTIONS + placed.options.length + 1);
  const octets = new Uint8Array(size);
  octets[0] = BOOT_REPLY;
  octets[1] = HARDWARE_ETHERNET;
  octets[2] = reply.hardwareSize;
  write32(octets, XID, reply.xid | 0);
  write16(octets, SECS, reply.secs ?? 0);
  write16(octets, FLAGS, reply.flags);
  write32(octets, CIADDR, reply.ciaddr | 0);
  write32(octets, YIADDR, reply.yiaddr | 0);
  write32(octets, SIADDR, reply.siaddr | 0);
  write32(octets, GIADDR, reply.giaddr | 0);
  octets.set(reply.chaddr.subarray(0, CHADDR_SIZE), CHADDR);
  if (placed.file.length > 0) writeField(octets, FILE, placed.file);
  else octets.set(Buffer.from(reply.file, 'latin1').subarray(0, COOKIE - FILE - 1), FILE);
  if (placed.sname.length > 0) writeField(octets, SNAME, placed.sname);
  write32(octets, COOKIE, MAGIC_COOKIE);
  writeField(octets, OPTIONS, placed.options);
  return octets;
}

function writeField(octets: Uint8Array, at: number, options: readonly number[]): void {
  octets.set(options, at);
  octets[at + options.length] = OPTION_END;
}

/** RFC 3396: what is longer than one option may be goes into several of the same code. */
function optionParts(code: number, value: Uint8Array): number[] {
  const parts: number[] = [];
  for (let at = 0; at === 0 || at < value.length; at += PART_MAX) {
    const part = value.subarray(at, at + PART_MAX);
    parts.push(code, part.length, ...part);
  }
  return parts;
}

interface Placed {
  readonly options: number[];
  readonly file: number[];
  readonly sname: number[];
}

/** Each option whole into the first field with room for it; option 52 first, if the other fields are needed. */
function place(parts: readonly (readonly number[])[], room: number): Placed {
  const total = parts.reduce((sum, part) => sum + part.length, 0);
  if (total <= room) return { options: parts.flat(), file: [], sname: [] };
  const placed: Placed = { options: [], file: [], sname: [] };
  const overloadSize = 3;
  const fields = [
    [placed.options, room - overloadSize],
    [placed.file, COOKIE - FILE - 1],
    [placed.sname, FILE - SNAME - 1],
  ] as const;
  for (const part of parts) {
    const field = fields.find(([taken, most]) => taken.length + part.length <= most);
    field?.[0].push(...part);
  }
  const overloads = (placed.file.length > 0 ? OVERLOADS_FILE : 0) | (placed.sname.length > 0 ? OVERLOADS_SNAME : 0);
  if (overloads !== 0) placed.options.push(OPTION_OVERLOAD, 1, overloads);
  return placed;
}

/** Values of options. */
export function octet(value: number): Uint8Array {
  return Uint8Array.of(value);
}

export function word16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value);
}

export function word32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

export function words32(values: readonly number[]): Uint8Array {
  return Uint8Array.of(...values.flatMap((value) => [...word32(value)]));
}

export function latinText(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'latin1'));
}

/** One 32-bit value; undefined when the option is absent or no such value. */
export function readWord32(value: Uint8Array | undefined): number | undefined {
  return value?.length === 4 ? read32(value, 0) >>> 0 : undefined;
}

export interface ClasslessRoute {
  readonly destination: number;
  readonly prefixLength: number;
  readonly via: number;
}

/** RFC 3442: the prefix's significant octets only. */
export function classlessRoutes(routes: readonly ClasslessRoute[]): Uint8Array {
  return Uint8Array.from(
    routes.flatMap(({ destination, prefixLength, via }) => [
      prefixLength,
      ...word32(destination).subarray(0, Math.ceil(prefixLength / 8)),
      ...word32(via),
    ]),
  );
}

/** Names in the form of RFC 1035 3.1, uncompressed, one behind the other: option 119 (RFC 3397), DHCPv6, RFC 8106. */
export function domainNames(names: readonly string[]): Uint8Array {
  return Uint8Array.from(
    names.flatMap((name) => [
      ...name
        .split('.')
        .filter((label) => label !== '')
        .flatMap((label) => [label.length, ...latinText(label)]),
      0,
    ]),
  );
}
