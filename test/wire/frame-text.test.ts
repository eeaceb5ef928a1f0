/** Frames as text in both directions: what is printed can be typed, what is typed has right checksums and lengths. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UserError } from '../../src/errors.js';
import { ipText } from '../../src/wire/address.js';
import { parseFrame } from '../../src/wire/frame-text.js';
import { frameLine } from '../../src/wire/print.js';
import { referenceSum } from '../kernels/reference.js';

const ends = '02:00:00:00:00:01 > 02:00:00:00:00:02';

describe('a frame given as text', () => {
  test.each([
    ['tcp 192.0.2.5:1234 > 192.0.2.9:80 flags S', `${ends}, tcp 192.0.2.5:1234 > 192.0.2.9:80 flags S length 0`],
    [
      'tcp 192.0.2.5:1234>192.0.2.9:80 flags sa length 7',
      `${ends}, tcp 192.0.2.5:1234 > 192.0.2.9:80 flags SA length 7`,
    ],
    ['tcp 192.0.2.5:1 > 192.0.2.9:2 flags none', `${ends}, tcp 192.0.2.5:1 > 192.0.2.9:2 flags none length 0`],
    ['udp 192.0.2.5:53 > 192.0.2.9:5353 length 1400', `${ends}, udp 192.0.2.5:53 > 192.0.2.9:5353 length 1400`],
    ['UDP [2001:DB8::5]:53 > [2001:db8::9]:53', `${ends}, udp [2001:db8::5]:53 > [2001:db8::9]:53 length 0`],
    ['icmp 192.0.2.5 > 192.0.2.9', `${ends}, icmp 192.0.2.5 > 192.0.2.9 echo length 0`],
    ['icmp 192.0.2.5 > 192.0.2.9 echo length 56', `${ends}, icmp 192.0.2.5 > 192.0.2.9 echo length 56`],
    ['icmp 192.0.2.5 > 192.0.2.9 reply', `${ends}, icmp 192.0.2.5 > 192.0.2.9 reply length 0`],
    ['icmp 192.0.2.5 > 192.0.2.9 type 3 code 4', `${ends}, icmp 192.0.2.5 > 192.0.2.9 unreachable code 4 length 0`],
    ['icmp 2001:db8::5 > 2001:db8::9 echo', `${ends}, icmp 2001:db8::5 > 2001:db8::9 echo length 0`],
    ['ip 192.0.2.5 > 192.0.2.9 proto 47 length 20', `${ends}, ip 192.0.2.5 > 192.0.2.9 proto 47 length 20`],
    [
      'arp who-has 192.0.2.9 tell 192.0.2.5',
      '02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ARP who-has 192.0.2.9 tell 192.0.2.5',
    ],
    [
      'arp reply 192.0.2.9 is-at 52:54:00:00:00:09',
      '52:54:00:00:00:09 > 02:00:00:00:00:02, ARP reply 192.0.2.9 is-at 52:54:00:00:00:09',
    ],
    [
      'arp who-has 10.0.0.1 tell 10.0.0.5 vlan 10 src 52:54:00:00:00:01',
      '52:54:00:00:00:01 > ff:ff:ff:ff:ff:ff, vlan 10, ARP who-has 10.0.0.1 tell 10.0.0.5',
    ],
    [
      'udp 192.0.2.5:1 > 192.0.2.9:2 vlan 100 priority 5 tpid 0x88a8, vlan 20, dst 52:54:00:00:00:02',
      '02:00:00:00:00:01 > 52:54:00:00:00:02, vlan 100 priority 5 tpid 0x88a8, vlan 20, udp 192.0.2.5:1 > 192.0.2.9:2 length 0',
    ],
    [
      'udp 192.0.2.5:1 > 255.255.255.255:2',
      '02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, udp 192.0.2.5:1 > 255.255.255.255:2 length 0',
    ],
    [
      'udp 192.0.2.5:1 > 233.252.128.1:2',
      '02:00:00:00:00:01 > 01:00:5e:7c:80:01, udp 192.0.2.5:1 > 233.252.128.1:2 length 0',
    ],
    [
      'udp [fe80::1]:1 > [ff02::fb]:2',
      '02:00:00:00:00:01 > 33:33:00:00:00:fb, udp [fe80::1]:1 > [ff02::fb]:2 length 0',
    ],
  ])('%s is printed in the same words', (text, line) => {
    expect(frameLine(parseFrame(text))).toBe(line);
  });

  test('has the ttl, sequence numbers and ids that were asked for', () => {
    const tcp = new DataView(parseFrame('tcp 192.0.2.5:1 > 192.0.2.9:2 flags A seq 4294967295 ack 0x10 ttl 1').buffer);
    expect([tcp.getUint8(22), tcp.getUint32(38), tcp.getUint32(42)]).toEqual([1, 4294967295, 16]);
    const ip6 = parseFrame('icmp 2001:db8::5 > 2001:db8::9 echo id 77 ttl 255');
    expect([ip6[21], ip6[58] * 256 + ip6[59]]).toEqual([255, 77]);
  });

  const ports = fc.integer({ min: 0, max: 65_535 });
  const address4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(ipText);
  const address6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((address) => `[${ipText(address)}]`);
  const pairs = fc.oneof(fc.tuple(address4, address4), fc.tuple(address6, address6));

  test('has lengths that agree with it and checksums that verify', () => {
    const kinds = fc.constantFrom('tcp', 'udp', 'icmp');
    fc.assert(
      fc.property(
        kinds,
        pairs,
        ports,
        ports,
        fc.integer({ min: 0, max: 3000 }),
        (kind, [from, to], source, destination, size) => {
          const withPort = (address: string, port: number) => (kind === 'icmp' ? address : `${address}:${port}`);
          const frame = parseFrame(`${kind} ${withPort(from, source)} > ${withPort(to, destination)} length ${size}`);
          const view = new DataView(frame.buffer);
          const isIpv4 = view.getUint16(12) === 0x0800;
          const transport = isIpv4 ? 34 : 54;
          const length = frame.length - transport;
          const protocol = { tcp: 6, udp: 17, icmp: isIpv4 ? 1 : 58 }[kind]!;
          if (isIpv4) {
            expect(referenceSum(frame, 14, 20)).toBe(0xffff);
            expect(view.getUint16(16)).toBe(frame.length - 14);
          } else expect(view.getUint16(18)).toBe(length);
          const addresses = isIpv4 ? frame.slice(26, 34) : frame.slice(22, 54);
          const pseudo = protocol === 1 ? [] : [...addresses, 0, protocol, length >> 8, length & 0xff];
          const covered = Uint8Array.from([...pseudo, ...frame.slice(transport)]);
          expect(referenceSum(covered, 0, covered.length)).toBe(0xffff);
        },
      ),
    );
  });

  test('may be its octets in hexadecimal', () => {
    const frame = parseFrame('tcp 192.0.2.5:1234 > 192.0.2.9:80');
    const hex = Buffer.from(frame).toString('hex');
    expect(parseFrame(hex)).toEqual(frame);
    expect(parseFrame(`0x${hex.toUpperCase()}`)).toEqual(frame);
    expect(parseFrame(hex.replace(/../g, '$&:').slice(0, -1))).toEqual(frame);
    expect(parseFrame(` ${hex.replace(/.{32}/g, '$&\n')} `)).toEqual(frame);
  });

  test.each([
    ['', 'the protocol is missing at the end'],
    ['sctp 192.0.2.5:1 > 192.0.2.9:2', "'sctp' is none of tcp, udp, icmp, ip, arp"],
    [
      'tcp 192.0.2.5 > 192.0.2.9',
      "the source must be ADDRESS:PORT like 10.0.0.5:1234 or [2001:db8::5]:1234, not '192.0.2.5'",
    ],
    ['tcp 192.0.2.5:99999 > 192.0.2.9:1', 'the source must be ADDRESS:PORT'],
    ['tcp 2001:db8::5:80 > 192.0.2.9:1', 'the source must be ADDRESS:PORT'],
    ['tcp 192.0.2.5:1 192.0.2.9:2', "'>' was expected where '192.0.2.9:2' stands"],
    ['tcp 192.0.2.5:1 >', 'the destination is missing at the end'],
    ['tcp 192.0.2.5:1 > [2001:db8::9]:2', 'one address is IPv4 and the other IPv6'],
    ['tcp 192.0.2.5:1 > 192.0.2.9:2 flags SX', "'X' is no TCP flag; they are F, S, R, P, A, U, E, W, or none"],
    [
      'tcp 192.0.2.5:1 > 192.0.2.9:2 flag S',
      "'flag' is none of the options that fit here: src, dst, vlan, ttl, length, flags, seq, ack",
    ],
    ['udp 192.0.2.5:1 > 192.0.2.9:2 flags S', "'flags' is none of the options that fit here"],
    ['udp 192.0.2.5:1 > 192.0.2.9:2 ttl 256', "ttl must be a number from 0 to 255, not '256'"],
    ['udp 192.0.2.5:1 > 192.0.2.9:2 length 1e3', "length must be a number from 0 to 65475, not '1e3'"],
    ['udp 192.0.2.5:1 > 192.0.2.9:2 vlan 4096', "the VLAN id must be a number from 0 to 4095, not '4096'"],
    ['udp 192.0.2.5:1 > 192.0.2.9:2 vlan 1 vlan 2 vlan 3', 'at most 2 VLAN tags can be given'],
    ['udp 192.0.2.5:1 > 192.0.2.9:2 vlan 1 tpid 0x9100', 'tpid must be 0x8100 or 0x88a8'],
    ['udp 192.0.2.5:1 > 192.0.2.9:2 src 1', "src must be a MAC address like 52:54:00:00:00:01, not '1'"],
    [
      'arp who-has 2001:db8::1 tell 192.0.2.5',
      "the address that is asked for must be an IPv4 address, not '2001:db8::1'",
    ],
    ['arp 192.0.2.1', "'who-has' was expected where '192.0.2.1' stands"],
    ['abc', 'the hex string has an odd number of digits'],
    ['00'.repeat(65_600), 'the hex string is longer than 65599 octets'],
  ])('%.60s is refused with what was expected', (text, message) => {
    let error: unknown;
    try {
      parseFrame(text);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(UserError);
    const [fault] = (error as UserError).faults;
    expect(fault.message).toContain(message);
    expect(fault.code).toBe('bad-request');
    expect(fault.fix).toContain('arp who-has');
  });

  test('is a frame or a UserError, whatever the text', () => {
    const pieces = fc.constantFrom(
      'tcp',
      'udp',
      'icmp',
      'arp',
      'ip',
      '192.0.2.5:1',
      '>',
      '192.0.2.9:2',
      '192.0.2.5',
      'vlan',
      '10',
      'proto',
      'flags',
      'S',
      '[',
      ':',
      'who-has',
      'tell',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(pieces).map((parts) => parts.join(' ')),
        ),
        (text) => {
          try {
            expect(parseFrame(text).length).toBeLessThan(65_600);
          } catch (error) {
            expect(error).toBeInstanceOf(UserError);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
