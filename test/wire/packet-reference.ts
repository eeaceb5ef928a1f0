/**
 * What a packet is, read slowly from the RFCs: each layer is cut out as an array of its own, so whatever is not there reads as
 * undefined and throws. The judge of wire/packet.ts; shares no code with src/.
 */

export interface PacketFacts {
  readonly kind: 'other' | 'arp' | 'ipv4' | 'ipv6';
  readonly fault: 'none' | 'arp' | 'ip' | 'tcp' | 'udp' | 'icmp' | 'tcp fragment' | 'transport';
  /** -1: the packet is no IP, or its headers could not be walked. */
  readonly protocol: number;
  readonly fragment: 'none' | 'first' | 'later';
  readonly fragmentOffset: number;
  /** From the packet's start; undefined: there is no upper layer. */
  readonly transport: number | undefined;
  readonly end: number;
  /** Source and destination port; of ICMP type, code, identifier of an echo; of GRE the key's two halves. */
  readonly ports: readonly number[];
}

/** Why a packet can't be read further. */
class Fault extends Error {
  readonly fault: PacketFacts['fault'];

  constructor(fault: PacketFacts['fault']) {
    super(fault);
    this.fault = fault;
  }
}

type Draft = { -readonly [Key in keyof PacketFacts]: PacketFacts[Key] };

/** `packet`: everything behind the ethertype, padding included. */
export function readPacket(ethertype: number, packet: readonly number[]): PacketFacts {
  const draft: Draft = {
    kind: 'other',
    fault: 'none',
    protocol: -1,
    fragment: 'none',
    fragmentOffset: 0,
    transport: undefined,
    end: packet.length,
    ports: [],
  };
  try {
    if (ethertype === 0x0806) readArp(draft, packet);
    if (ethertype === 0x0800) readIpv4(draft, packet);
    if (ethertype === 0x86dd) readIpv6(draft, packet);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    draft.fault = error.fault;
  }
  return draft;
}

function octetsOf(layer: readonly number[], at: number, count: number, fault: PacketFacts['fault']): number[] {
  const octets = layer.slice(at, at + count);
  if (octets.length !== count) throw new Fault(fault);
  return octets;
}

const number = (octets: readonly number[]) => octets.reduce((sum, octet) => sum * 256 + octet, 0);

function readArp(draft: Draft, packet: readonly number[]): void {
  draft.kind = 'arp';
  const fixed = octetsOf(packet, 0, 28, 'arp').slice(0, 6);
  if (fixed.join() !== '0,1,8,0,6,4') throw new Fault('arp');
  draft.end = 28;
}

function readIpv4(draft: Draft, packet: readonly number[]): void {
  draft.kind = 'ipv4';
  const fixed = octetsOf(packet, 0, 20, 'ip');
  const [version, words] = [Math.floor(fixed[0]! / 16), fixed[0]! % 16];
  const total = number(fixed.slice(2, 4));
  if (version !== 4 || words < 5 || total < words * 4) throw new Fault('ip');
  const whole = octetsOf(packet, 0, total, 'ip');
  if (!optionsEndRight(whole.slice(20, words * 4))) throw new Fault('ip');
  draft.end = total;
  draft.protocol = fixed[9]!;
  const bits = number(fixed.slice(6, 8)).toString(2).padStart(16, '0');
  const isMore = bits[2] === '1';
  draft.fragmentOffset = Number.parseInt(bits.slice(3), 2) * 8;
  noteFragment(draft, isMore, words * 4, total - words * 4);
  readUpper(draft, whole.slice(words * 4), words * 4);
}

/** RFC 791 3.1: an end, one octet that does nothing, or a type with a length that counts both. */
function optionsEndRight(options: readonly number[]): boolean {
  const [type, length = 0] = options;
  if (type === undefined || type === 0) return true;
  if (type === 1) return optionsEndRight(options.slice(1));
  return length >= 2 && length <= options.length && optionsEndRight(options.slice(length));
}

const AUTHENTICATION = 51;
const FRAGMENT = 44;
const HOP_BY_HOP = 0;
/** RFC 7045's list of what may stand before the upper layer, without those that end a chain. */
const extensions = [HOP_BY_HOP, 43, FRAGMENT, AUTHENTICATION, 60, 135, 139, 140];
/** DESIGN.md, section 3, rule 6. */
const EXTENSIONS_MAX = 8;

function readIpv6(draft: Draft, packet: readonly number[]): void {
  draft.kind = 'ipv6';
  const fixed = octetsOf(packet, 0, 40, 'ip');
  if (Math.floor(fixed[0]! / 16) !== 6) throw new Fault('ip');
  const length = number(fixed.slice(4, 6));
  // RFC 2675: such a packet is a jumbogram.
  if (length === 0 && fixed[6] === HOP_BY_HOP) throw new Fault('ip');
  const whole = octetsOf(packet, 0, 40 + length, 'ip');
  const seen: number[] = [];
  let next = fixed[6]!;
  let at = 40;
  let fragmentAt = 0;
  let more = false;
  while (extensions.includes(next) && draft.fragment !== 'later') {
    if (seen.length === EXTENSIONS_MAX) throw new Fault('ip');
    if (next === HOP_BY_HOP && seen.length > 0) throw new Fault('ip');
    if (next === FRAGMENT && seen.includes(FRAGMENT)) throw new Fault('ip');
    const [following, count] = octetsOf(whole, at, 8, 'ip') as [number, number];
    const size = next === FRAGMENT ? 8 : next === AUTHENTICATION ? (count + 2) * 4 : (count + 1) * 8;
    octetsOf(whole, at, size, 'ip');
    if (next === FRAGMENT) {
      const field = number(whole.slice(at + 2, at + 4));
      fragmentAt = at;
      more = field % 2 === 1;
      draft.fragmentOffset = Math.floor(field / 8) * 8;
      draft.fragment = draft.fragmentOffset > 0 ? 'later' : more ? 'first' : 'none';
    }
    seen.push(next);
    next = following;
    at += size;
  }
  draft.end = whole.length;
  draft.protocol = next;
  if (draft.fragment !== 'none') noteFragment(draft, more, fragmentAt - 40, whole.length - fragmentAt - 8);
  readUpper(draft, whole.slice(at), at);
}

/** `before`: octets that the datagram's length counts besides what its fragments carry. */
function noteFragment(draft: Draft, isMore: boolean, before: number, size: number): void {
  draft.fragment = draft.fragmentOffset > 0 ? 'later' : isMore ? 'first' : 'none';
  if (draft.fragment === 'none') return;
  if (size === 0 || (isMore && size % 8 !== 0)) throw new Fault('ip');
  if (before + draft.fragmentOffset + size > 65_535) throw new Fault('ip');
}

function readUpper(draft: Draft, upper: readonly number[], at: number): void {
  if (draft.fragment === 'later') {
    if (draft.protocol === 6 && draft.fragmentOffset === 8) throw new Fault('tcp fragment');
    return;
  }
  draft.transport = at;
  draft.ports = portsOf(draft, upper);
}

function portsOf({ kind, protocol, fragment }: Draft, upper: readonly number[]): number[] {
  const ports = (fault: PacketFacts['fault'], size: number) => {
    const header = octetsOf(upper, 0, size, fault);
    return [number(header.slice(0, 2)), number(header.slice(2, 4))];
  };
  switch (protocol) {
    case 6: {
      const size = Math.floor(octetsOf(upper, 0, 20, 'tcp')[12]! / 16) * 4;
      if (size < 20) throw new Fault('tcp');
      return ports('tcp', size);
    }
    case 17: {
      const length = number(octetsOf(upper, 0, 8, 'udp').slice(4, 6));
      if (fragment === 'none' && (length < 8 || length > upper.length)) throw new Fault('udp');
      return ports('udp', 8);
    }
    case 136:
      return ports('udp', 8);
    case 132:
      return ports('transport', 12);
    case 33: {
      // RFC 4340 5.1: the data offset in words; with X the sequence number is longer.
      const header = octetsOf(upper, 0, 12, 'transport');
      const size = header[4]! * 4;
      if (size < (header[8]! % 2 === 1 ? 16 : 12)) throw new Fault('transport');
      return ports('transport', size);
    }
    case 1:
    case 58: {
      if ((protocol === 1) !== (kind === 'ipv4')) throw new Fault('icmp');
      const [type, code, , , ...identifier] = octetsOf(upper, 0, 8, 'icmp') as [number, number, ...number[]];
      const isEcho = (protocol === 1 ? [0, 8] : [128, 129]).includes(type);
      return [type * 256 + code, isEcho ? number(identifier.slice(0, 2)) : 0];
    }
    case 47:
      return greKeyOf(upper);
    default:
      return [];
  }
}

/** RFC 2784 and 2890; of version 0 only, and only if it is whole. */
function greKeyOf(header: readonly number[]): number[] {
  if (header.length < 4 || header[1]! % 8 !== 0) return [];
  const flags = header[0]!.toString(2).padStart(8, '0');
  const key = header.slice(flags[0] === '1' ? 8 : 4).slice(0, 4);
  return flags[2] === '1' && key.length === 4 ? [number(key.slice(0, 2)), number(key.slice(2))] : [];
}
