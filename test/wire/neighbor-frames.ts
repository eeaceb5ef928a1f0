/**
 * ARP and neighbour discovery frames, built and taken apart by arrays as RFC 826 and RFC 4861 draw them; shares no code with
 * src/ but the parsers of written addresses.
 */
import { parseIp, parseMac } from '../../src/wire/address.js';
import { referenceSum } from '../kernels/reference.js';
import { concatenate } from './reference.js';

export const BROADCAST_MAC = 'ff:ff:ff:ff:ff:ff';
export const NO_MAC = '00:00:00:00:00:00';

export function mac(text: string): Uint8Array {
  const octets = parseMac(text);
  if (octets === undefined) throw new Error(`no MAC: ${text}`);
  return octets;
}

export function ip(text: string): Uint8Array {
  const octets = parseIp(text);
  if (octets === undefined) throw new Error(`no address: ${text}`);
  return octets;
}

export interface ArpRecipe {
  readonly from: string;
  /** Ethernet destination. */
  readonly to?: string;
  readonly operation?: number;
  /** The sender's MAC as the message says it; `from` when absent. */
  readonly senderMac?: string;
  readonly sender: string;
  readonly targetMac?: string;
  readonly target: string;
}

export function arpFrame({
  from,
  to = BROADCAST_MAC,
  operation = 1,
  senderMac = from,
  sender,
  targetMac = NO_MAC,
  target,
}: ArpRecipe): Uint8Array {
  return concatenate(
    mac(to),
    mac(from),
    Uint8Array.of(8, 6, 0, 1, 8, 0, 6, 4, 0, operation),
    mac(senderMac),
    ip(sender),
    mac(targetMac),
    ip(target),
  );
}

export interface NdRecipe {
  readonly from: string;
  /** Ethernet destination; that of the IPv6 group when absent. */
  readonly to?: string;
  readonly source: string;
  /** IPv6 destination; the target's solicited-node group when absent. */
  readonly destination?: string;
  readonly type?: number;
  readonly code?: number;
  readonly hopLimit?: number;
  /** The octet of an advertisement's flags. */
  readonly flags?: number;
  readonly target: string;
  /** Octets behind the target; a link-layer option with `from` when absent. */
  readonly options?: Uint8Array;
  /** Added to the right checksum. */
  readonly checksumError?: number;
}

/** A link-layer option: type 1 of a solicitation, 2 of an advertisement. */
export function linkLayer(type: number, address: string): Uint8Array {
  return concatenate(Uint8Array.of(type, 1), mac(address));
}

export function ndFrame(recipe: NdRecipe): Uint8Array {
  const { from, source, type = 135, code = 0, hopLimit = 255, flags = 0, target, checksumError = 0 } = recipe;
  const options = recipe.options ?? linkLayer(type === 135 ? 1 : 2, from);
  const destination = recipe.destination === undefined ? solicitedNode(ip(target)) : ip(recipe.destination);
  const group = concatenate(Uint8Array.of(0x33, 0x33), destination.slice(12));
  const head = Uint8Array.of(type, code, 0, 0, flags, 0, 0, 0);
  const message = concatenate(head, ip(target), options);
  const size = [message.length >> 8, message.length & 0xff];
  const pseudo = concatenate(ip(source), destination, Uint8Array.of(0, 0, ...size, 0, 0, 0, 58));
  const covered = concatenate(pseudo, message);
  const checksum = (0xffff - referenceSum(covered, 0, covered.length) + checksumError) & 0xffff;
  message.set([checksum >> 8, checksum & 0xff], 2);
  return concatenate(
    recipe.to === undefined ? group : mac(recipe.to),
    mac(from),
    Uint8Array.of(0x86, 0xdd, 0x60, 0, 0, 0, ...size, 58, hopLimit),
    ip(source),
    destination,
    message,
  );
}

/** An advertisement from `source` for itself, to all nodes unless said otherwise; overrides. */
export function advertisement(recipe: Omit<NdRecipe, 'type' | 'target'> & { readonly target?: string }): Uint8Array {
  const all = { destination: 'ff02::1', flags: 0x20, target: recipe.source };
  return ndFrame({ ...all, ...recipe, type: 136 });
}

function solicitedNode(target: Uint8Array): Uint8Array {
  return concatenate(ip('ff02::1:ff00:0').slice(0, 13), target.slice(13));
}

/** The Internet checksum over an ICMPv6 message with its pseudo-header, checksum field included: right when it is 0xffff. */
export function icmp6Sum(frame: Uint8Array): number {
  const message = frame.slice(54);
  const size = [message.length >> 8, message.length & 0xff];
  const covered = concatenate(frame.slice(22, 54), Uint8Array.of(0, 0, ...size, 0, 0, 0, 58), message);
  return referenceSum(covered, 0, covered.length);
}
