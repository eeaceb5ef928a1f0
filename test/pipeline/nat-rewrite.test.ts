/** What NAT writes, to the octet: partial checksums, none, wrong ones, fragments, and packets quoted by errors. */
import { beforeEach, describe, expect, test } from 'vitest';
import { buildEthernet } from '../../src/wire/frame-build.js';
import { mac } from '../wire/neighbor-frames.js';
import { SERVER } from './nat-flows.js';
import { checksummed, icmp, packet, pseudoHeader, rawPacket, sum, tcp, type Upper, udp } from './nat-octets.js';
import { ADDRESSES, ALL_FEATURES, MACS, NatSwitch, OUTSIDE, type Station } from './nat-switch.js';
import type { Received, Sent } from './test-switch.js';

const FLOATING = '203.0.113.20';
const PORT = 5000;
const routed = { ttl: 63 };
let tested: NatSwitch;
/** Every machine's port 4000 becomes 5000; b floats. */
beforeEach(() => {
  const devices = Object.fromEntries(Object.keys(MACS).map((name) => [name, { mtu: 1500, features: ALL_FEATURES }]));
  // So that a super-frame needs no handshake before it.
  const settings = { conntrack: { midstream: true } };
  tested = new NatSwitch(
    { external: { pool: String(PORT) }, floating: { [FLOATING]: ADDRESSES.b } },
    { settings },
    { devices },
  );
});

function frameOf(name: Station, octets: Uint8Array): Uint8Array {
  return buildEthernet({ destination: mac(tested.gateway(name)), source: mac(MACS[name]), tags: [] }, 0x0800, octets);
}

function run(name: Station, octets: Uint8Array, vnet?: Received['vnet']): Sent[] {
  const frame = { port: name, octets: frameOf(name, octets), ...(vnet !== undefined && { vnet }) };
  return tested.run(frame).filter(({ octets: sent }) => sent[13] !== 6);
}

const hex = (octets: Uint8Array) => Buffer.from(octets).toString('hex');
const texts = (sent: readonly Sent[]) => sent.map(({ port, octets }) => `${port} ${hex(octets.subarray(14))}`);
const left = (port: string, octets: Uint8Array) => [`${port} ${hex(octets)}`];
const put = (octets: Uint8Array, at: number, ...values: readonly number[]) => {
  const copy = octets.slice();
  copy.set(values, at);
  return copy;
};

describe.each([
  ['TCP', tcp(4000, 80, 16, new Uint8Array(4000).fill(7)), 1, 20, 16],
  ['UDP', udp(4000, 80, new Uint8Array(4000).fill(7)), 5, 8, 6],
] as const)('a super-frame of %s with a partial checksum', (_, upper, gsoType, headerSize, offset) => {
  const partial = (source: string, destination: string, of: Upper) => {
    const octets = of.octets.slice();
    const pseudo = sum(pseudoHeader(source, destination, of.protocol, octets.length));
    octets.set([pseudo >>> 8, pseudo & 0xff], offset);
    return octets;
  };
  const vnet = { flags: 1, gsoType, headerLength: 34 + headerSize, gsoSize: 1000, start: 34, offset };

  test('goes out whole, its checksum the sum of the new addresses alone', () => {
    const given = rawPacket(ADDRESSES.a, SERVER, upper.protocol, partial(ADDRESSES.a, SERVER, upper));
    const [sent, ...others] = run('a', given, vnet);
    expect(others).toEqual([]);
    const translated = { ...upper, octets: put(upper.octets, 0, PORT >>> 8, PORT & 0xff) };
    const payload = partial(OUTSIDE, SERVER, translated);
    expect(texts([sent!])).toEqual(left('o', rawPacket(OUTSIDE, SERVER, upper.protocol, payload, routed)));
    expect([sent!.checksumStart, sent!.gsoSize]).toEqual([34, 1000]);
  });
});

describe('a checksum', () => {
  test('of UDP that is not there is not there afterwards, either way', () => {
    const none = (source: number, destination: number) =>
      put(checksummed(SERVER, OUTSIDE, udp(source, destination)), 6, 0, 0);
    const sent = run('a', rawPacket(ADDRESSES.a, SERVER, 17, none(4000, 80)));
    expect(texts(sent)).toEqual(left('o', rawPacket(OUTSIDE, SERVER, 17, none(PORT, 80), routed)));
    const back = run('o', rawPacket(SERVER, OUTSIDE, 17, none(80, PORT)));
    expect(texts(back)).toEqual(left('a', rawPacket(SERVER, ADDRESSES.a, 17, none(80, 4000), routed)));
  });

  test('of UDP that comes to 0 is sent as all ones', () => {
    // What the payload has to be for that.
    const bare = udp(PORT, 80, Uint8Array.of(0, 0));
    const rest = 0xffff - sum(pseudoHeader(OUTSIDE, SERVER, 17, 10), bare.octets.with(5, 10));
    const body = Uint8Array.of(rest >>> 8, rest & 0xff);
    expect(sum(pseudoHeader(OUTSIDE, SERVER, 17, 10), udp(PORT, 80, body).octets)).toBe(0xffff);
    const [sent] = run('a', packet(ADDRESSES.a, SERVER, udp(4000, 80, body)));
    expect(hex(sent!.octets.subarray(40, 42))).toBe('ffff');
    expect(texts([sent!])).toEqual(left('o', packet(OUTSIDE, SERVER, udp(PORT, 80, body), routed)));
  });

  test.each([1, 0x5555, 0xfffe])('of TCP that is wrong by %i is wrong by as much afterwards', (error) => {
    const good = checksummed(ADDRESSES.a, SERVER, tcp(4000, 80));
    const wrong = (good[16]! * 256 + good[17]! + error) % 0xffff;
    const [sent] = run('a', rawPacket(ADDRESSES.a, SERVER, 6, put(good, 16, wrong >>> 8, wrong & 0xff)));
    const upper = sent!.octets.subarray(34);
    const found = sum(pseudoHeader(OUTSIDE, SERVER, 6, upper.length), upper);
    expect(found).toBe(
      sum(pseudoHeader(ADDRESSES.a, SERVER, 6, good.length), put(good, 16, wrong >>> 8, wrong & 0xff)),
    );
    expect(found).not.toBe(0xffff);
  });

  test('of the IP header that is wrong is the packet’s end', () => {
    const given = packet(ADDRESSES.a, SERVER, udp(4000, 80));
    given[10]! ^= 1;
    expect(run('a', given)).toEqual([]);
    expect(tested.dropped('a', 'bad_ip_header')).toBe(1);
  });
});

describe('fragments', () => {
  const body = new Uint8Array(2400).map((_, index) => index & 0xff);
  const MORE = 0x2000;
  /** The datagram in three, of 1000 octets each but the last. */
  const pieces = (source: string, destination: string, upper: Upper, options = {}) => {
    const whole = checksummed(source, destination, upper);
    return [0, 1000, 2000].map((at) => {
      const part = whole.subarray(at, at + 1000);
      const fragment = (at >> 3) | (at + 1000 < whole.length ? MORE : 0);
      return rawPacket(source, destination, upper.protocol, part, { fragment, ...options });
    });
  };
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [2, 1, 0],
  ];
  const uppers: Record<string, readonly [inside: Upper, outside: Upper]> = {
    UDP: [udp(4000, 80, body), udp(PORT, 80, body)],
    ping: [icmp(8, 4000, 1, body), icmp(8, PORT, 1, body)],
  };

  test.each(Object.keys(uppers).flatMap((name) => orders.map((order) => [name, order] as const)))(
    'of %s that come in order %j are translated as one',
    (name, order) => {
      const [inside, outside] = uppers[name]!;
      const given = pieces(ADDRESSES.a, SERVER, inside);
      const sent = order.flatMap((index) => run('a', given[index]!));
      sent.push(...tested.run());
      const expected = pieces(OUTSIDE, SERVER, outside, routed).flatMap((octets) => left('o', octets));
      expect(texts(sent).sort()).toEqual(expected.sort());
    },
  );

  test('that come back reach who had sent', () => {
    run('a', packet(ADDRESSES.a, SERVER, udp(4000, 80)));
    const given = pieces(SERVER, OUTSIDE, udp(80, PORT, body));
    const sent = [2, 0, 1].flatMap((index) => run('o', given[index]!));
    sent.push(...tested.run());
    const expected = pieces(SERVER, ADDRESSES.a, udp(80, 4000, body), routed).flatMap((octets) => left('a', octets));
    expect(texts(sent).sort()).toEqual(expected.sort());
  });
});

describe('an ICMP error', () => {
  const ROUTER = '203.0.113.99';
  /** The error about a packet, from its type on; of the packet the first `size` octets. */
  const error = (quoted: Uint8Array, size: number): Upper => ({
    protocol: 1,
    octets: Uint8Array.of(11, 0, 0, 0, 0, 0, 0, 0, ...quoted.subarray(0, size)),
    checksumAt: 2,
    isPlain: true,
  });
  const flows: Record<string, readonly [inside: Upper, outside: Upper]> = {
    UDP: [udp(4000, 80), udp(PORT, 80)],
    TCP: [tcp(4000, 80), tcp(PORT, 80)],
    ping: [icmp(8, 4000), icmp(8, PORT)],
  };

  test.each(Object.entries(flows))(
    'about %s, cut off anywhere behind its ports, is translated as far as it goes',
    (_, [inside, outside]) => {
      run('a', packet(ADDRESSES.a, SERVER, inside));
      const [asSent, asCame] = [
        packet(OUTSIDE, SERVER, outside, { ttl: 1 }),
        packet(ADDRESSES.a, SERVER, inside, { ttl: 1 }),
      ];
      for (let size = 28; size <= asSent.length; size++) {
        const heard = run('o', packet(ROUTER, OUTSIDE, error(asSent, size)));
        // Half a checksum can't be mended.
        const expected = asCame.slice();
        if (size === 20 + (inside.checksumAt ?? 0) + 1) expected[size - 1] = asSent[size - 1]!;
        expect(texts(heard)).toEqual(left('a', packet(ROUTER, ADDRESSES.a, error(expected, size), routed)));
      }
    },
  );

  test('cut off before the ports is dropped', () => {
    run('a', packet(ADDRESSES.a, SERVER, udp(4000, 80)));
    const quoted = packet(OUTSIDE, SERVER, udp(PORT, 80));
    for (let size = 0; size < 24; size++) {
      const heard = run('o', packet(ROUTER, OUTSIDE, error(quoted, size)));
      expect(heard.filter(({ port }) => port !== 'o')).toEqual([]);
    }
  });

  test('from inside about what came by the floating address hides the inside, quoted checksums included', () => {
    run('o', packet(SERVER, FLOATING, udp(80, 9)));
    const quoted = packet(SERVER, ADDRESSES.b, udp(80, 9), { ttl: 1 });
    const heard = run('b', packet(ADDRESSES.b, SERVER, error(quoted, quoted.length)));
    const expected = packet(SERVER, FLOATING, udp(80, 9), { ttl: 1 });
    expect(texts(heard)).toEqual(left('o', packet(FLOATING, SERVER, error(expected, expected.length), routed)));
  });

  test('that quotes a packet without a UDP checksum quotes none afterwards', () => {
    const none = (source: string, upper: Upper) => rawPacket(source, SERVER, 17, upper.octets, { ttl: 1 });
    run('a', rawPacket(ADDRESSES.a, SERVER, 17, udp(4000, 80).octets));
    const heard = run('o', packet(ROUTER, OUTSIDE, error(none(OUTSIDE, udp(PORT, 80)), 28)));
    const expected = error(none(ADDRESSES.a, udp(4000, 80)), 28);
    expect(texts(heard)).toEqual(left('a', packet(ROUTER, ADDRESSES.a, expected, routed)));
  });

  test('whose own checksum is wrong is dropped, since it would be made right', () => {
    run('a', packet(ADDRESSES.a, SERVER, udp(4000, 80)));
    const message = checksummed(ROUTER, OUTSIDE, error(packet(OUTSIDE, SERVER, udp(PORT, 80)), 28));
    expect(run('o', rawPacket(ROUTER, OUTSIDE, 1, put(message, 3, message[3]! ^ 1)))).toEqual([]);
    expect(tested.dropped('o', 'bad_checksum')).toBe(1);
  });
});
