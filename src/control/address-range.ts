/** Addresses as numbers, to count through pools of either family: control only, where BigInt costs nobody anything. Pure. */
import { IPV4_SIZE, type Prefix, parseIp } from '../wire/address.js';

/** Both ends are in it. */
export interface AddressRange {
  readonly first: bigint;
  readonly last: bigint;
}

export function addressNumber(octets: Uint8Array): bigint {
  return octets.reduce((number, octet) => (number << 8n) | BigInt(octet), 0n);
}

/** `size` is 4 or 16. */
export function addressOctets(number: bigint, size: number): Uint8Array {
  const octets = new Uint8Array(size);
  for (let index = size - 1, rest = number; index >= 0; index--, rest >>= 8n) octets[index] = Number(rest & 0xffn);
  return octets;
}

/** Of an IPv4 address: unsigned, 32 bits. */
export function ipv4Number(octets: Uint8Array): number {
  return Number(addressNumber(octets));
}

export function ipv4Octets(number: number): Uint8Array {
  return addressOctets(BigInt(number), IPV4_SIZE);
}

/** `10.0.0.100-10.0.0.200`; undefined if it is none or runs backwards. */
export function parseAddressRange(text: string): (AddressRange & { readonly size: number }) | undefined {
  const [from, to, more] = text.split('-').map(parseIp);
  if (from === undefined || to === undefined || more !== undefined || from.length !== to.length) return undefined;
  const [first, last] = [addressNumber(from), addressNumber(to)];
  return last < first ? undefined : { first, last, size: from.length };
}

/** Every address of a prefix whose host bits are clear. */
export function rangeOf({ address, length }: Prefix): AddressRange {
  const first = addressNumber(address);
  return { first, last: first + (1n << BigInt(address.length * 8 - length)) - 1n };
}

export function isIn(range: AddressRange, number: bigint): boolean {
  return number >= range.first && number <= range.last;
}

export function doOverlap(one: AddressRange, other: AddressRange): boolean {
  return one.first <= other.last && other.first <= one.last;
}
