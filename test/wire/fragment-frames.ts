/** Fragments of IPv4 and IPv6 datagrams in Ethernet frames, built octet by octet; shares no code with src/ but the parsers of written addresses. */
import { ip, mac } from './neighbor-frames.js';
import { concatenate } from './reference.js';

export interface FragmentRecipe {
  readonly from?: string;
  readonly to?: string;
  readonly isIpv6?: boolean;
  readonly source?: string;
  readonly destination?: string;
  readonly id?: number;
  /** Of the upper layer, as the fragment's own header names it. */
  readonly protocol?: number;
  /** Octets of payload in front, a multiple of eight. */
  readonly start: number;
  readonly size: number;
  readonly isLast?: boolean;
  /** What a first fragment begins with. */
  readonly ports?: readonly [number, number];
  /** Begins the payload instead of what `protocol` asks for. */
  readonly head?: Uint8Array;
  /** The octet that fills the rest. */
  readonly fill?: number;
}

const word = (value: number) => [(value >>> 8) & 255, value & 255];

export function fragmentFrame(recipe: FragmentRecipe): Uint8Array {
  const { from = '52:54:00:00:00:01', to = '52:54:00:00:00:02', isIpv6 = false } = recipe;
  const packet = isIpv6 ? ipv6(recipe) : ipv4(recipe);
  return concatenate(mac(to), mac(from), Uint8Array.from(word(isIpv6 ? 0x86dd : 0x0800)), packet);
}

function ipv4(recipe: FragmentRecipe): Uint8Array {
  const { source = '192.0.2.1', destination = '192.0.2.2', id = 1, protocol = 17, start, isLast = false } = recipe;
  const payload = payloadOf(recipe);
  const field = (start >>> 3) | (isLast ? 0 : 0x2000);
  const fixed = [0x45, 0, ...word(20 + payload.length), ...word(id), ...word(field), 64, protocol, 0, 0];
  return concatenate(Uint8Array.from(fixed), ip(source), ip(destination), payload);
}

function ipv6(recipe: FragmentRecipe): Uint8Array {
  const { source = '2001:db8::1', destination = '2001:db8::2', id = 1, protocol = 17, start, isLast = false } = recipe;
  const payload = payloadOf(recipe);
  const fixed = [0x60, 0, 0, 0, ...word(8 + payload.length), 44, 64];
  const header = [protocol, 0, ...word(start | (isLast ? 0 : 1)), ...word(id >>> 16), ...word(id)];
  return concatenate(Uint8Array.from(fixed), ip(source), ip(destination), Uint8Array.from(header), payload);
}

function payloadOf({
  start,
  size,
  ports = [1000, 2000],
  head,
  protocol = 17,
  fill = 0x11,
}: FragmentRecipe): Uint8Array {
  const payload = new Uint8Array(size).fill(fill);
  const isEcho = protocol === 1 || protocol === 58;
  const first = isEcho ? [protocol === 1 ? 8 : 128, 0, 0, 0, ...word(ports[0]), 0, 1] : ports.flatMap(word);
  const begin = head ?? (start === 0 ? Uint8Array.from(first) : new Uint8Array(0));
  payload.set(begin.subarray(0, size));
  return payload;
}
