import { isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ipText,
  ipv6Text,
  macText,
  macWords,
  macWordsText,
  networkOf,
  parseIp,
  parseIpv4,
  parseIpv6,
  parseMac,
  parsePrefix,
  prefixContains,
  prefixText,
} from '../../src/wire/address.js';

const octets = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

describe('a MAC address', () => {
  test('is printed and read back the same', () => {
    fc.assert(
      fc.property(octets(6), (mac) => {
        expect(parseMac(macText(mac))).toEqual(mac);
        expect(parseMac(macText(mac).toUpperCase().replaceAll(':', '-'))).toEqual(mac);
        const { high, low } = macWords(mac);
        expect(macWordsText(high, low)).toBe(macText(mac));
      }),
    );
  });

  test.each([
    '',
    '52:54:00:00:00',
    '52:54:00:00:00:0',
    '52:54:00:00:00:01:02',
    '52:54:00-00:00:01',
    '5254.0000.0001',
    '52:54:00:00:00:0g',
    ' 52:54:00:00:00:01',
  ])('is not read from %j', (text) => expect(parseMac(text)).toBeUndefined());
});

describe('an IPv4 address', () => {
  test('is printed and read back the same', () => {
    fc.assert(
      fc.property(octets(4), (address) => {
        expect(parseIpv4(ipText(address))).toEqual(address);
      }),
    );
  });

  test.each([
    '',
    '192.0.2',
    '192.0.2.1.1',
    '192.0.2.256',
    '192.0.2.01',
    '192.0.2.-1',
    '192.0.2.1 ',
    '0xc0.0.2.1',
    '192.0.2.',
    '3221225985',
  ])('is not read from %j', (text) => expect(parseIpv4(text)).toBeUndefined());
});

describe('an IPv6 address', () => {
  const sparse = fc
    .array(fc.constantFrom(0, 0, 0, 1, 0xdb8, 0xffff), { minLength: 8, maxLength: 8 })
    .map((groups) => Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff])));

  test('is printed and read back the same', () => {
    fc.assert(
      fc.property(fc.oneof(octets(16), sparse), (address) => {
        const text = ipv6Text(address);
        expect(isIPv6(text)).toBe(true);
        expect(parseIpv6(text)).toEqual(address);
      }),
      { numRuns: 500 },
    );
  });

  test('is printed as the URL standard prints it, IPv4-mapped ones apart', () => {
    fc.assert(
      fc.property(sparse, (address) => {
        const text = ipv6Text(address);
        fc.pre(!text.includes('.'));
        expect(new URL(`http://[${text}]/`).hostname).toBe(`[${text}]`);
      }),
    );
  });

  test.each([
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
  ])('%s is printed as RFC 5952 says: %s', (text, printed) => {
    expect(ipText(parseIp(text)!)).toBe(printed);
  });

  test('is read exactly where node:net reads one, zones apart', () => {
    const pieces = fc.constantFrom(':', '::', '0', '1', 'ffff', 'db8', '192.0.2.1', 'g', '12345', '%', '/');
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 17 }), (parts) => {
        const text = parts.join('');
        fc.pre(!text.includes('%'));
        expect(parseIpv6(text) !== undefined).toBe(isIPv6(text));
        expect(parseIpv4(text) !== undefined).toBe(isIPv4(text));
      }),
      { numRuns: 5000 },
    );
  });

  test.each([':::', '1:2:3:4:5:6:7:8::', '1:2:3:4:5:6:7', '1::2::3', ':1:2:3:4:5:6:7', '1.2.3.4::', 'fe80::1%eth0'])(
    'is not read from %j',
    (text) => expect(parseIpv6(text)).toBeUndefined(),
  );
});

describe('a prefix', () => {
  test.each(['192.0.2.0/24', '0.0.0.0/0', '192.0.2.5/32', '2001:db8::/32', '::/0', '2001:db8::5/128'])(
    '%s is read and printed the same',
    (text) => expect(prefixText(parsePrefix(text)!)).toBe(text),
  );

  test.each([
    '192.0.2.0',
    '192.0.2.0/',
    '192.0.2.0/33',
    '192.0.2.0/024',
    '2001:db8::/129',
    '/24',
    '192.0.2.0/-1',
    '192.0.2.0/24/1',
  ])('is not read from %j', (text) => expect(parsePrefix(text)).toBeUndefined());

  test('contains what shares its leading bits, and its network is what is left of it', () => {
    const pairs = fc.oneof(fc.tuple(octets(4), octets(4)), fc.tuple(octets(16), octets(16)));
    const bits = (address: Uint8Array) => Array.from(address, (octet) => octet.toString(2).padStart(8, '0')).join('');
    fc.assert(
      fc.property(
        pairs,
        fc.integer({ min: 0, max: 128 }),
        fc.integer({ min: 0, max: 128 }),
        ([address, other], length, shared) => {
          const prefix = { address, length: Math.min(length, address.length * 8) };
          // Make them alike for a while, or they never are.
          const mixed = bits(address).slice(0, shared) + bits(other).slice(shared);
          const near = Uint8Array.from(address, (_, index) =>
            Number.parseInt(mixed.slice(8 * index, 8 * index + 8), 2),
          );
          const isInside = bits(near).startsWith(bits(address).slice(0, prefix.length));
          expect(prefixContains(prefix, near)).toBe(isInside);
          const cleared = bits(address)
            .slice(0, prefix.length)
            .padEnd(address.length * 8, '0');
          expect(bits(networkOf(prefix).address)).toBe(cleared);
        },
      ),
    );
  });

  test('contains nothing of the other family', () => {
    expect(prefixContains(parsePrefix('0.0.0.0/0')!, parseIp('::1')!)).toBe(false);
  });
});
