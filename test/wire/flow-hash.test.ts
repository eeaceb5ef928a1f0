import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseIp } from '../../src/wire/address.js';
import { flowHash } from '../../src/wire/flow-hash.js';
import { buildEthernet, buildIcmp, buildIp, buildTcp, buildUdp } from '../../src/wire/frame-build.js';

interface Flow {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** What differs between packets of one flow. */
interface Packet {
  readonly payloadSize: number;
  readonly ttl: number;
  readonly sequence: number;
  readonly flags: number;
  readonly trafficClass: number;
  readonly label: number;
}

const TCP = 6;
const UDP = 17;
const START = 20;
const plain: Packet = { payloadSize: 20, ttl: 64, sequence: 1, flags: 0x10, trafficClass: 0, label: 0 };
const macs = { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2], tags: [] };

function frameOf(flow: Flow, packet: Packet = plain): Uint8Array {
  const { sourcePort, destinationPort, protocol } = flow;
  const ports = { sourcePort, destinationPort };
  const { sequence, flags, payloadSize } = packet;
  const payload =
    protocol === TCP
      ? buildTcp({ ...ports, sequence, acknowledgement: 1, flags, window: 500 }, payloadSize)
      : buildUdp(sourcePort, destinationPort, payloadSize);
  const source = parseIp(flow.source) as Uint8Array;
  const destination = parseIp(flow.destination) as Uint8Array;
  const octets = buildIp({ source, destination, protocol, ttl: packet.ttl }, payload);
  if (source.length === 4) octets[1] = packet.trafficClass;
  else new DataView(octets.buffer).setUint32(0, 0x6000_0000 + packet.trafficClass * 2 ** 20 + packet.label);
  return buildEthernet(macs, source.length === 4 ? 0x0800 : 0x86dd, octets);
}

function hashOf(frame: Uint8Array, fill = 0xa5): number {
  const arena = new Uint8Array(frame.length + 80).fill(fill);
  arena.set(frame, START);
  const ethertype = new DataView(frame.buffer).getUint16(12);
  return flowHash(arena, START, ethertype, START + 14, START + frame.length);
}

const ports = fc.nat(0xffff);
const hosts = fc.integer({ min: 1, max: 254 });
const flows = fc
  .tuple(fc.constantFrom('192.0.2.', '2001:db8::'), hosts, hosts, fc.constantFrom(TCP, UDP), ports, ports)
  .map(([prefix, from, to, protocol, sourcePort, destinationPort]) => {
    return { source: `${prefix}${from}`, destination: `${prefix}${to}`, protocol, sourcePort, destinationPort };
  });
const packets = fc.record({
  payloadSize: fc.nat(100),
  ttl: fc.integer({ min: 1, max: 255 }),
  sequence: fc.nat(),
  flags: fc.nat(255),
  trafficClass: fc.nat(255),
  label: fc.nat(0xf_ffff),
});

/** A thousand flows, as they come: one client's ports counting up, a thousand clients, a thousand servers. */
const families = [
  ['one client of one server', (index: number) => ['192.0.2.1', '198.51.100.1', 32_768 + index, 80]],
  ['a thousand clients', (index: number) => [`203.${index >> 8}.113.${index & 255}`, '198.51.100.1', 5000, 80]],
  ['a thousand servers', (index: number) => ['192.0.2.1', `198.51.${index >> 8}.${index & 255}`, 5000, 80]],
  ['IPv6, ports counting up by two', (index: number) => ['2001:db8::1', '2001:db8::2', 32_768 + 2 * index, 443]],
  ['IPv6, neighbours', (index: number) => [`2001:db8::${index.toString(16)}`, '2001:db8:1::2', 5000, 443]],
] as const;

function thousand(make: (typeof families)[number][1]): number[] {
  return Array.from({ length: 1000 }, (_, index) => {
    const [source, destination, sourcePort, destinationPort] = make(index) as [string, string, number, number];
    return hashOf(frameOf({ source, destination, protocol: UDP, sourcePort, destinationPort }));
  });
}

describe('the hash of a flow', () => {
  test('is the same for all of its packets, and 31 bits', () => {
    fc.assert(
      fc.property(flows, packets, packets, (flow, one, other) => {
        const hash = hashOf(frameOf(flow, one));
        expect(hashOf(frameOf(flow, other))).toBe(hash);
        expect(Number.isInteger(hash) && hash >= 0 && hash < 2 ** 31).toBe(true);
      }),
    );
  });

  test('is another one if one bit of addresses, protocol or ports is another', () => {
    const flow = { source: '192.0.2.1', destination: '198.51.100.2', protocol: UDP, sourcePort: 5, destinationPort: 6 };
    const frame = frameOf(flow);
    const hashes = [hashOf(frame), hashOf(frameOf({ ...flow, protocol: TCP }))];
    for (let bit = 8 * (14 + 12); bit < 8 * (14 + 24); bit++) {
      const changed = frame.slice();
      changed[bit >> 3] ^= 1 << (bit & 7);
      hashes.push(hashOf(changed));
    }
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  test.each(families)('reaches at least 100 of 128 source ports with %s', (_, make) => {
    const hashes = thousand(make);
    expect(new Set(hashes.map((hash) => hash % 128)).size).toBeGreaterThanOrEqual(100);
    expect(new Set(hashes.map((hash) => hash % 64)).size).toBe(64);
    // The upper bits are as good: whoever divides the range instead of taking a remainder spreads as well.
    expect(new Set(hashes.map((hash) => Math.floor(hash / 2 ** 24))).size).toBeGreaterThanOrEqual(100);
  });

  test.each(families)('has each of its 31 bits set in about half of %s', (_, make) => {
    const hashes = thousand(make);
    for (let bit = 0; bit < 31; bit++) {
      const count = hashes.filter((hash) => ((hash >> bit) & 1) === 1).length;
      // A fair coin leaves these bounds once in 10^9 such tests.
      expect(count, `bit ${bit}`).toBeGreaterThan(400);
      expect(count, `bit ${bit}`).toBeLessThan(600);
    }
  });
});

describe('fragments', () => {
  test('of one IPv4 datagram, and of all between two hosts in one protocol, hash alike', () => {
    const flow = { source: '192.0.2.1', destination: '198.51.100.2', protocol: UDP, sourcePort: 5, destinationPort: 6 };
    const asFragment = (other: Partial<Flow>, field: number) => {
      const frame = frameOf({ ...flow, ...other });
      new DataView(frame.buffer).setUint16(20, field);
      return hashOf(frame);
    };
    const first = asFragment({}, 0x2000);
    expect(asFragment({ sourcePort: 999 }, 0x2010)).toBe(first);
    expect(asFragment({ sourcePort: 77 }, 0x0020)).toBe(first);
    expect(asFragment({ protocol: TCP }, 0x2000)).not.toBe(first);
    expect(hashOf(frameOf(flow))).not.toBe(first);
    // "Don't fragment" makes no fragment.
    expect(asFragment({}, 0x4000)).toBe(hashOf(frameOf(flow)));
  });

  test('of one IPv6 datagram hash alike, also when the first one has another header in front of its ports', () => {
    const source = parseIp('2001:db8::1') as Uint8Array;
    const destination = parseIp('2001:db8::2') as Uint8Array;
    const fragment = (field: number, next: number, rest: readonly number[]) => {
      const payload = Uint8Array.of(next, 0, field >> 8, field & 0xff, 0, 0, 0, 1, ...rest);
      return hashOf(buildEthernet(macs, 0x86dd, buildIp({ source, destination, protocol: 44, ttl: 64 }, payload)));
    };
    const first = fragment(1, 60, [UDP, 0, 1, 4, 0, 0, 0, 0, 0, 5, 0, 6, 0, 8, 0, 0]);
    expect(fragment(0x11, 60, new Array(16).fill(7))).toBe(first);
    expect(fragment(0x20, 60, new Array(16).fill(9))).toBe(first);
    const atomic = fragment(0, UDP, [0, 5, 0, 6, 0, 8, 0, 0]);
    expect(atomic).not.toBe(first);
    expect(fragment(0, UDP, [0, 5, 0, 7, 0, 8, 0, 0])).not.toBe(atomic);
  });
});

describe('a frame without ports', () => {
  test('hashes by addresses and protocol if it is IP: ICMP of two hosts is one flow', () => {
    const source = parseIp('192.0.2.1') as Uint8Array;
    const ping = (to: string, id: number) => {
      const message = buildIcmp({ type: 8, code: 0, id, sequence: id }, 10);
      const packet = buildIp({ source, destination: parseIp(to) as Uint8Array, protocol: 1, ttl: 64 }, message);
      return hashOf(buildEthernet(macs, 0x0800, packet));
    };
    expect(ping('198.51.100.1', 1)).toBe(ping('198.51.100.1', 2));
    expect(ping('198.51.100.1', 1)).not.toBe(ping('198.51.100.2', 1));
  });

  test('hashes by its two MACs if it is anything else', () => {
    const frame = (last: number, ethertype: number, fill: number) =>
      hashOf(buildEthernet({ ...macs, source: [2, 0, 0, 0, 0, last] }, ethertype, new Uint8Array(46).fill(fill)));
    expect(frame(2, 0x0806, 1)).toBe(frame(2, 0x88b5, 9));
    expect(frame(2, 0x0806, 1)).not.toBe(frame(3, 0x0806, 1));
  });

  test('does not take what pads its frame for ports', () => {
    for (const [from, to] of [
      ['192.0.2.1', '192.0.2.2'],
      ['2001:db8::1', '2001:db8::2'],
    ]) {
      const fields = { source: parseIp(from) as Uint8Array, destination: parseIp(to) as Uint8Array };
      const packet = buildIp({ ...fields, protocol: UDP, ttl: 64 }, new Uint8Array(3));
      const padded = (fill: number) => {
        const payload = new Uint8Array(packet.length + 8).fill(fill);
        payload.set(packet);
        return hashOf(buildEthernet(macs, from.includes(':') ? 0x86dd : 0x0800, payload));
      };
      expect(padded(1)).toBe(padded(2));
    }
  });

  test('that is cut off at any octet hashes by what is there, not by what lies behind', () => {
    const flow = { protocol: UDP, sourcePort: 5, destinationPort: 6 };
    for (const [source, destination] of [
      ['192.0.2.1', '192.0.2.2'],
      ['2001:db8::1', '2001:db8::2'],
    ]) {
      const frame = frameOf({ ...flow, source, destination });
      for (let length = 14; length <= frame.length; length++) {
        const cut = frame.slice(0, length);
        expect(hashOf(cut, 0), `${length} octets`).toBe(hashOf(cut, 0xff));
      }
    }
  });
});
