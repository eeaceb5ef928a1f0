/**
 * A frame from one line of text, for `weft trace`: what print.ts prints, the other way round. Not hot.
 *
 *   FRAME   = HEX | WHAT OPTION…
 *   HEX     = the frame's octets in hexadecimal; spaces and colons between them and a leading 0x are passed over
 *   WHAT    = tcp ADDRESS:PORT > ADDRESS:PORT
 *           | udp ADDRESS:PORT > ADDRESS:PORT
 *           | icmp ADDRESS > ADDRESS [echo | reply | type N]     ICMPv6 when the addresses are IPv6; default echo
 *           | ip ADDRESS > ADDRESS proto N
 *           | arp who-has IPV4 tell IPV4
 *           | arp reply IPV4 is-at MAC
 *   OPTION  = src MAC | dst MAC            default 02:00:00:00:00:01 and :02, a group's own address, broadcast for arp
 *           | vlan VID [priority 0-7] [tpid 0x8100|0x88a8]       at most twice, the outer tag first
 *           | ttl N                        IPv4 and IPv6; default 64
 *           | flags LETTERS | none         tcp: any of FSRPAUEW; default S
 *           | seq N | ack N                tcp
 *           | code N | id N                icmp: code of `type N`, id of an echo
 *           | length N                     octets of payload, counting up from 0; default 0
 *
 * An IPv6 address with a port stands in brackets: [2001:db8::5]:1234. Words may be in either case; commas are passed over.
 * Lengths and checksums are right. Everything that is wrong with the text is a UserError that says what was expected.
 */
import { UserError } from '../errors.js';
import { FRAME_SIZE_MAX, VLAN_TAGS_MAX } from '../limits.js';
import { IPV4_SIZE, ipText, parseIp, parseMac } from './address.js';
import { ARP_REPLY, ARP_REQUEST } from './arp.js';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './ethernet.js';
import {
  buildArp,
  buildEthernet,
  buildIcmp,
  buildIp,
  buildTcp,
  buildUdp,
  countingPayload,
  type Tag,
} from './frame-build.js';
import { ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST } from './icmp.js';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from './ip-protocol.js';
import { TCP_ACK, TCP_FLAG_LETTERS, TCP_SYN } from './tcp.js';
import { TPID_CUSTOMER, TPID_SERVICE } from './vlan.js';

const EXAMPLES =
  "'tcp 10.0.0.5:1234 > 10.0.0.9:80 flags S', 'icmp 10.0.0.5 > 10.0.0.9 echo', 'arp who-has 10.0.0.9 tell 10.0.0.5', or a hex string";
const ZERO_MAC = [0, 0, 0, 0, 0, 0];
const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const DEFAULT_SOURCE = [2, 0, 0, 0, 0, 1];
const DEFAULT_DESTINATION = [2, 0, 0, 0, 0, 2];
const DEFAULT_TTL = 64;
const DEFAULT_WINDOW = 65_535;
/** What fits behind the longest headers that can be asked for, in a packet of 65,535 octets. */
const PAYLOAD_MAX = 65_535 - 40 - 20;

interface Options {
  source?: Uint8Array;
  destination?: Uint8Array;
  readonly tags: Tag[];
  ttl: number;
  flags: number;
  sequence: number;
  acknowledgement: number;
  code: number;
  id?: number;
  payloadSize: number;
}

/** The words of the text, taken one after the other. */
class Words {
  private readonly words: readonly string[];
  private index = 0;

  constructor(text: string) {
    this.words = text
      .replaceAll('>', ' > ')
      .split(/[\s,]+/)
      .filter((word) => word !== '');
  }

  get isEmpty(): boolean {
    return this.index === this.words.length;
  }

  /** The next word, which is left where it is; empty at the end. */
  get next(): string {
    return this.words[this.index]?.toLowerCase() ?? '';
  }

  take(expected: string): string {
    if (this.isEmpty) throw fault(`${expected} is missing at the end`);
    return this.words[this.index++].toLowerCase();
  }

  /** Takes the next word if it is this one. */
  takeIf(word: string): boolean {
    if (this.next !== word) return false;
    this.index++;
    return true;
  }

  expect(word: string): void {
    const found = this.take(`'${word}'`);
    if (found !== word) throw fault(`'${word}' was expected where '${found}' stands`);
  }

  number(what: string, least: number, most: number): number {
    const text = this.take(what);
    const value = /^(?:[0-9]+|0x[0-9a-f]+)$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most)) {
      throw fault(`${what} must be a number from ${least} to ${most}, not '${text}'`);
    }
    return value;
  }

  mac(what: string): Uint8Array {
    const text = this.take(what);
    const mac = parseMac(text);
    if (mac === undefined) throw fault(`${what} must be a MAC address like 52:54:00:00:00:01, not '${text}'`);
    return mac;
  }

  ip(what: string): Uint8Array {
    const text = this.take(what);
    const address = parseIp(text.replace(/^\[(.*)\]$/, '$1'));
    if (address === undefined) throw fault(`${what} must be an IP address, not '${text}'`);
    return address;
  }

  ipv4(what: string): Uint8Array {
    const address = this.ip(what);
    if (address.length !== IPV4_SIZE) throw fault(`${what} must be an IPv4 address, not '${ipText(address)}'`);
    return address;
  }

  endpoint(what: string): { address: Uint8Array; port: number } {
    const text = this.take(what);
    const parts = /^(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,5})$/.exec(text);
    const address = parts === null ? undefined : parseIp(parts[1] ?? parts[2]);
    const port = Number(parts?.[3]);
    if (address === undefined || port > 65_535) {
      throw fault(`${what} must be ADDRESS:PORT like 10.0.0.5:1234 or [2001:db8::5]:1234, not '${text}'`);
    }
    return { address, port };
  }
}

function fault(message: string): UserError {
  return new UserError([
    { code: 'bad-request', message: `frame: ${message}`, fix: `A frame is given as ${EXAMPLES}.` },
  ]);
}

/** The frame's octets, from the Ethernet header on. Throws a UserError. */
export function parseFrame(text: string): Uint8Array {
  const hex = text.trim().replace(/^0x/i, '').replace(/[\s:]/g, '');
  if (/^[0-9a-f]+$/i.test(hex)) return parseHex(hex);
  const words = new Words(text);
  const kind = words.take('the protocol');
  switch (kind) {
    case 'tcp':
    case 'udp':
      return parseWithPorts(words, kind);
    case 'icmp':
      return parseIcmp(words);
    case 'ip':
      return parseOtherIp(words);
    case 'arp':
      return parseArp(words);
    default:
      throw fault(`'${kind}' is none of tcp, udp, icmp, ip, arp`);
  }
}

function parseHex(hex: string): Uint8Array {
  if (hex.length % 2 !== 0) throw fault('the hex string has an odd number of digits');
  if (hex.length / 2 >= FRAME_SIZE_MAX) throw fault(`the hex string is longer than ${FRAME_SIZE_MAX - 1} octets`);
  return Uint8Array.from({ length: hex.length / 2 }, (_, index) =>
    Number.parseInt(hex.slice(2 * index, 2 * index + 2), 16),
  );
}

function parseWithPorts(words: Words, kind: 'tcp' | 'udp'): Uint8Array {
  const source = words.endpoint('the source');
  words.expect('>');
  const destination = words.endpoint('the destination');
  const options = parseOptions(words, kind === 'tcp' ? ['ttl', 'length', 'flags', 'seq', 'ack'] : ['ttl', 'length']);
  const size = options.payloadSize;
  const ends = { source: source.address, destination: destination.address };
  if (kind === 'udp') return ipFrame(ends, PROTOCOL_UDP, buildUdp(source.port, destination.port, size), options);
  const fields = {
    sourcePort: source.port,
    destinationPort: destination.port,
    sequence: options.sequence,
    acknowledgement: (options.flags & TCP_ACK) === 0 ? 0 : options.acknowledgement,
    flags: options.flags,
    window: DEFAULT_WINDOW,
  };
  return ipFrame(ends, PROTOCOL_TCP, buildTcp(fields, size), options);
}

function parseIcmp(words: Words): Uint8Array {
  const ends = parseAddresses(words);
  const isIpv4 = ends.source.length === IPV4_SIZE;
  let type = isIpv4 ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST;
  const isEcho = words.next !== 'type';
  if (words.takeIf('reply')) type = isIpv4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY;
  else if (words.takeIf('type')) type = words.number('the ICMP type', 0, 255);
  else words.takeIf('echo');
  const options = parseOptions(words, ['ttl', 'length', 'code', 'id']);
  const id = options.id ?? (isEcho ? 1 : 0);
  const message = buildIcmp({ type, code: options.code, id, sequence: isEcho ? 1 : 0 }, options.payloadSize);
  return ipFrame(ends, isIpv4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6, message, options);
}

function parseOtherIp(words: Words): Uint8Array {
  const ends = parseAddresses(words);
  words.expect('proto');
  const protocol = words.number('the protocol number', 0, 255);
  const options = parseOptions(words, ['ttl', 'length']);
  return ipFrame(ends, protocol, countingPayload(options.payloadSize), options);
}

interface Ends {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

function parseAddresses(words: Words): Ends {
  const source = words.ip('the source');
  words.expect('>');
  return { source, destination: words.ip('the destination') };
}

function parseArp(words: Words): Uint8Array {
  if (words.takeIf('reply')) {
    const senderIp = words.ipv4('the address that is told');
    words.expect('is-at');
    const senderMac = words.mac('the MAC address that is told');
    const options = parseOptions(words, []);
    options.source ??= senderMac;
    const targetMac = options.destination ?? DEFAULT_DESTINATION;
    const message = buildArp({ operation: ARP_REPLY, senderMac, senderIp, targetMac, targetIp: senderIp });
    return ethernetFrame(ETHERTYPE_ARP, message, options, DEFAULT_DESTINATION);
  }
  words.expect('who-has');
  const targetIp = words.ipv4('the address that is asked for');
  words.expect('tell');
  const senderIp = words.ipv4('the address that asks');
  const options = parseOptions(words, []);
  const senderMac = options.source ?? DEFAULT_SOURCE;
  const message = buildArp({ operation: ARP_REQUEST, senderMac, senderIp, targetMac: ZERO_MAC, targetIp });
  return ethernetFrame(ETHERTYPE_ARP, message, options, BROADCAST);
}

/** Reads options to the end of the text: those every frame has, and `own`. */
function parseOptions(words: Words, own: readonly string[]): Options {
  const options: Options = {
    tags: [],
    ttl: DEFAULT_TTL,
    flags: TCP_SYN,
    sequence: 1,
    acknowledgement: 1,
    code: 0,
    payloadSize: 0,
  };
  const known = ['src', 'dst', 'vlan', ...own];
  while (!words.isEmpty) {
    const name = words.take('an option');
    if (!known.includes(name)) throw fault(`'${name}' is none of the options that fit here: ${known.join(', ')}`);
    parseOption(words, name, options);
  }
  return options;
}

function parseOption(words: Words, name: string, options: Options): void {
  switch (name) {
    case 'src':
      options.source = words.mac('src');
      break;
    case 'dst':
      options.destination = words.mac('dst');
      break;
    case 'vlan':
      if (options.tags.length === VLAN_TAGS_MAX) throw fault(`at most ${VLAN_TAGS_MAX} VLAN tags can be given`);
      options.tags.push(parseTag(words));
      break;
    case 'ttl':
      options.ttl = words.number('ttl', 0, 255);
      break;
    case 'length':
      options.payloadSize = words.number('length', 0, PAYLOAD_MAX);
      break;
    case 'flags':
      options.flags = parseFlags(words.take('the TCP flags'));
      break;
    case 'seq':
      options.sequence = words.number('seq', 0, 0xffffffff);
      break;
    case 'ack':
      options.acknowledgement = words.number('ack', 0, 0xffffffff);
      break;
    case 'code':
      options.code = words.number('code', 0, 255);
      break;
    default:
      options.id = words.number('id', 0, 0xffff);
  }
}

function parseTag(words: Words): Tag {
  const vid = words.number('the VLAN id', 0, 4095);
  const priority = words.takeIf('priority') ? words.number('priority', 0, 7) : 0;
  const tpid = words.takeIf('tpid') ? words.number('tpid', 0, 0xffff) : TPID_CUSTOMER;
  if (tpid !== TPID_CUSTOMER && tpid !== TPID_SERVICE) throw fault('tpid must be 0x8100 or 0x88a8');
  return { vid, priority, tpid };
}

function parseFlags(text: string): number {
  if (text === 'none') return 0;
  let flags = 0;
  for (const letter of text.toUpperCase()) {
    const bit = TCP_FLAG_LETTERS.indexOf(letter);
    if (bit < 0) throw fault(`'${letter}' is no TCP flag; they are ${[...TCP_FLAG_LETTERS].join(', ')}, or none`);
    flags |= 1 << bit;
  }
  return flags;
}

function ipFrame(ends: Ends, protocol: number, payload: Uint8Array, options: Options): Uint8Array {
  if (ends.source.length !== ends.destination.length) throw fault('one address is IPv4 and the other IPv6');
  const packet = buildIp({ ...ends, protocol, ttl: options.ttl }, payload);
  const ethertype = ends.source.length === IPV4_SIZE ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
  return ethernetFrame(ethertype, packet, options, defaultDestination(ends.destination));
}

/** Where a packet to this address goes by default: a group's own MAC (RFC 1112 6.4, RFC 2464 7), or some station. */
function defaultDestination(address: Uint8Array): readonly number[] {
  if (address.length !== IPV4_SIZE) {
    return address[0] === 0xff ? [0x33, 0x33, ...address.subarray(12)] : DEFAULT_DESTINATION;
  }
  if (address.every((octet) => octet === 0xff)) return BROADCAST;
  return address[0] >>> 4 === 14 ? [0x01, 0x00, 0x5e, address[1] & 0x7f, address[2], address[3]] : DEFAULT_DESTINATION;
}

function ethernetFrame(
  ethertype: number,
  payload: Uint8Array,
  options: Options,
  destination: readonly number[],
): Uint8Array {
  const fields = {
    destination: options.destination ?? destination,
    source: options.source ?? DEFAULT_SOURCE,
    tags: options.tags,
  };
  return buildEthernet(fields, ethertype, payload);
}
