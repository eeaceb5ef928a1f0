/**
 * DHCP options as configuration writes them, `66: "tftp.example.org"`: text to the octets of the option's kind. Pure.
 *
 * Any option may be written as octets, `"hex:0a000001"`. Addresses, numbers and routes are written as such where the
 * option's kind is known; everything else is text.
 */
import { parseIpv4, parsePrefix } from '../wire/address.js';
import { classlessRoutes, domainNames, latinText, OPTION_ROUTES, OPTION_SEARCH } from '../wire/dhcp-message.js';
import { ipv4Number } from './address-range.js';

/** Lists of IPv4 addresses (RFC 2132; 150: RFC 5859). */
const ADDRESS_OPTIONS = new Set([
  1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 28, 32, 41, 42, 44, 45, 48, 49, 65, 68, 69, 70, 71, 72, 73, 74, 75, 76, 150,
]);
const OCTET_OPTIONS = new Set([19, 20, 23, 27, 29, 30, 31, 34, 36, 37, 39, 46, 116]);
const WORD_OPTIONS = new Set([13, 22, 26]);
const LONG_OPTIONS = new Set([2, 24, 35, 38, 58, 59]);
/** What only the server knows, or what says how the message is to be read. */
const RESERVED_OPTIONS = new Set([0, 50, 51, 52, 53, 54, 55, 57, 61, 82, 255]);

/** The octets, or a clause that says what is wrong. */
export function dhcpOptionValue(code: number, text: string): Uint8Array | string {
  if (code > 255 || RESERVED_OPTIONS.has(code)) return `option ${code} is not one that can be set`;
  if (text.startsWith('hex:')) return hexValue(text.slice(4));
  if (ADDRESS_OPTIONS.has(code)) return addresses(text);
  if (OCTET_OPTIONS.has(code)) return number(text, 1);
  if (WORD_OPTIONS.has(code)) return number(text, 2);
  if (LONG_OPTIONS.has(code)) return number(text, 4);
  if (code === OPTION_ROUTES) return routes(text);
  if (code === OPTION_SEARCH) return names(text);
  if ([...text].some((character) => character.charCodeAt(0) > 255)) return 'has characters that are not Latin-1';
  return latinText(text);
}

function hexValue(text: string): Uint8Array | string {
  const digits = text.replaceAll(/[: ]/g, '');
  if (!/^([0-9a-f]{2})+$/i.test(digits)) return 'expected octets in hexadecimal behind hex:';
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

const items = (text: string) => text.split(',').map((item) => item.trim());

function addresses(text: string): Uint8Array | string {
  const parsed = items(text).map(parseIpv4);
  if (parsed.some((address) => address === undefined)) return `expected IPv4 addresses, not "${text}"`;
  return Uint8Array.from(parsed.flatMap((address) => [...(address ?? [])]));
}

function number(text: string, size: number): Uint8Array | string {
  const value = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value < 2 ** (8 * size))) return `expected a number below ${2 ** (8 * size)}, not "${text}"`;
  return Uint8Array.from({ length: size }, (_, index) => Math.floor(value / 2 ** (8 * (size - 1 - index))) & 0xff);
}

/** `10.0.0.0/8 10.0.0.1, 0.0.0.0/0 10.0.0.254`. */
function routes(text: string): Uint8Array | string {
  const parsed = items(text).map((item) => {
    const [to = '', via = ''] = item.split(/ +/);
    const [prefix, hop] = [parsePrefix(to), parseIpv4(via)];
    if (prefix?.address.length !== 4 || hop === undefined) return undefined;
    return { destination: ipv4Number(prefix.address), prefixLength: prefix.length, via: ipv4Number(hop) };
  });
  const whole = parsed.filter((route) => route !== undefined);
  return whole.length === parsed.length
    ? classlessRoutes(whole)
    : `expected routes like "10.0.0.0/8 10.0.0.1", not "${text}"`;
}

function names(text: string): Uint8Array | string {
  const wrong = items(text).find((name) => !isDomainName(name));
  return wrong === undefined ? domainNames(items(text)) : `"${wrong}" is not a domain name`;
}

/** RFC 1035 2.3.4: labels of at most 63 octets, 253 together. Underscores are in use. */
export function isDomainName(name: string): boolean {
  const plain = name.endsWith('.') ? name.slice(0, -1) : name;
  return (
    plain.length <= 253 && plain.split('.').every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label))
  );
}
