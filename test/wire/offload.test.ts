/**
 * The matrix of threats 3.2: what guests may write into a virtio-net header, against every kind of frame. An oracle that
 * is told what each frame is (it parses nothing) says what must come of it.
 */
import { describe, expect, test } from 'vitest';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import { checkOffload } from '../../src/wire/offload.js';
import { fillOctets } from '../kernels/reference.js';
import { concatenate } from './reference.js';

interface Kind {
  readonly octets: Uint8Array;
  /** Undefined: not IP, or nothing a checksum could be asked for. Positions from the frame's start. */
  readonly transport?: number;
  readonly protocol?: 'tcp' | 'udp' | 'tunnel' | 'other';
  readonly family?: 4 | 6;
  readonly headersEnd?: number;
  /** First position a tunnel's inner header could have. */
  readonly innerFrom?: number;
  readonly packetEnd?: number;
  readonly isFragment?: boolean;
  readonly isSyn?: boolean;
  readonly hasCwr?: boolean;
}

interface Header {
  readonly flags: number;
  readonly gsoType: number;
  readonly headerLength: number;
  readonly gsoSize: number;
  readonly start: number;
  readonly offset: number;
}

interface Outcome {
  readonly accepted: boolean;
  readonly gsoType: number;
  readonly checksumStart: number;
  readonly headersEnd: number;
}

const ADDRESSES = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
const PAYLOAD = 2900;

function bytes(...parts: readonly (readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flat());
}

function word(value: number): number[] {
  return [value >> 8, value & 0xff];
}

function payload(size: number): number[] {
  const octets = new Uint8Array(size);
  fillOctets(octets, 3);
  return [...octets];
}

function ipv4(protocol: number, content: readonly number[], fragment = 0): number[] {
  const total = word(20 + content.length);
  return [0x45, 0, ...total, 0, 1, ...word(fragment), 64, protocol, 0, 0, 192, 0, 2, 5, 192, 0, 2, 9, ...content];
}

function ipv6(next: number, content: readonly number[]): number[] {
  const address = (last: number) => [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
  return [0x60, 0, 0, 0, ...word(content.length), next, 64, ...address(5), ...address(9), ...content];
}

function tcp(flags: number, size = PAYLOAD): number[] {
  return [4, 210, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 255, 255, 0, 0, 0, 0, ...payload(size)];
}

function udp(size = PAYLOAD): number[] {
  return [4, 210, 18, 181, ...word(8 + size), 0, 0, ...payload(size)];
}

function ethernet(type: number, content: readonly number[], ...tags: readonly number[]): Uint8Array {
  return bytes(ADDRESSES, ...tags.map((tpid) => [...word(tpid), 0, 10]), word(type), content);
}

function ip(family: 4 | 6, protocol: 'tcp' | 'udp' | 'tunnel' | 'other', octets: Uint8Array, transport: number): Kind {
  const headersEnd = transport + (protocol === 'tcp' ? 20 : 8);
  const innerFrom = protocol === 'udp' ? headersEnd : Number.POSITIVE_INFINITY;
  return { octets, transport, protocol, family, headersEnd, innerFrom, packetEnd: octets.length };
}

const ACK = 0x10;
const plainTcp4 = ethernet(0x0800, ipv4(6, tcp(ACK)));
const destinationOptions = [6, 0, 1, 4, 0, 0, 0, 0];
const vxlanInner = [8, 0, 0, 0, 0, 0, 5, 0, ...ethernet(0x0800, ipv4(6, tcp(ACK, 600)))];

const kinds: Readonly<Record<string, Kind>> = {
  TCP4: ip(4, 'tcp', plainTcp4, 34),
  TCP6: ip(6, 'tcp', ethernet(0x86dd, ipv6(6, tcp(ACK))), 54),
  UDP4: ip(4, 'udp', ethernet(0x0800, ipv4(17, udp())), 34),
  UDP6: ip(6, 'udp', ethernet(0x86dd, ipv6(17, udp())), 54),
  'TCP4 with CWR': { ...ip(4, 'tcp', ethernet(0x0800, ipv4(6, tcp(ACK | 0x80))), 34), hasCwr: true },
  'TCP4 SYN': { ...ip(4, 'tcp', ethernet(0x0800, ipv4(6, tcp(0x02))), 34), isSyn: true },
  'TCP4 RST': { ...ip(4, 'tcp', ethernet(0x0800, ipv4(6, tcp(0x04))), 34), isSyn: true },
  'TCP4 behind a tag': ip(4, 'tcp', ethernet(0x0800, ipv4(6, tcp(ACK)), 0x8100), 38),
  'TCP6 behind two tags': ip(6, 'tcp', ethernet(0x86dd, ipv6(6, tcp(ACK)), 0x88a8, 0x8100), 62),
  'TCP4 behind four tags': { octets: ethernet(0x0800, ipv4(6, tcp(ACK)), 0x88a8, 0x8100, 0x8100, 0x8100) },
  'TCP6 behind destination options': ip(6, 'tcp', ethernet(0x86dd, ipv6(60, [...destinationOptions, ...tcp(ACK)])), 62),
  'TCP4 first fragment': { ...ip(4, 'tcp', ethernet(0x0800, ipv4(6, tcp(ACK), 0x2000)), 34), isFragment: true },
  'TCP4 later fragment': { ...ip(4, 'tcp', ethernet(0x0800, ipv4(6, tcp(ACK), 0x00b9)), 34), isFragment: true },
  'TCP6 fragment': {
    ...ip(6, 'tcp', ethernet(0x86dd, ipv6(44, [6, 0, 0, 1, 0, 0, 0, 7, ...tcp(ACK)])), 62),
    isFragment: true,
  },
  'TCP4 with octets behind the packet': {
    ...ip(4, 'tcp', concatenate(plainTcp4, new Uint8Array(6)), 34),
    packetEnd: plainTcp4.length,
  },
  'VXLAN of a guest': ip(
    4,
    'udp',
    ethernet(0x0800, ipv4(17, [4, 210, 18, 181, ...word(8 + vxlanInner.length), 0, 0, ...vxlanInner])),
    34,
  ),
  'GRE of a guest': {
    ...ip(4, 'tunnel', ethernet(0x0800, ipv4(47, [0, 0, 8, 0, ...ipv4(6, tcp(ACK))])), 34),
    innerFrom: 38,
  },
  'IPv6 in IPv4': { ...ip(4, 'tunnel', ethernet(0x0800, ipv4(41, ipv6(6, tcp(ACK)))), 34), innerFrom: 74 },
  SCTP: ip(4, 'other', ethernet(0x0800, ipv4(132, payload(200))), 34),
  ICMP: ip(4, 'other', ethernet(0x0800, ipv4(1, [8, 0, 0, 0, 0, 1, 0, 1, ...payload(1400)])), 34),
  ARP: { octets: ethernet(0x0806, [0, 1, 8, 0, 6, 4, 0, 1, ...payload(38)]) },
  'IPv6 jumbogram': { octets: ethernet(0x86dd, [...ipv6(0, []), 6, 0, 0xc2, 4, 0, 0, 12, 0, ...tcp(ACK)]) },
  'IPv4 that claims to be longer than its frame': { octets: plainTcp4.slice(0, 1000) },
};

/** What must come of it, from what the frame is known to be. */
function oracle(kind: Kind, header: Header): Outcome {
  const refused = { accepted: false, gsoType: 0, checksumStart: 0, headersEnd: 0 };
  if (header.flags % 2 === 0) return header.gsoType === 0 ? { ...refused, accepted: true } : refused;
  if (kind.transport === undefined || kind.isFragment === true) return refused;
  const { transport, protocol, headersEnd, packetEnd, innerFrom } = kind as Required<Kind>;
  const plain = { accepted: true, gsoType: 0, checksumStart: header.start, headersEnd: 0 };
  if (header.start !== transport) {
    const fits = header.start >= innerFrom && header.start + header.offset + 2 <= packetEnd;
    return fits && [6, 16].includes(header.offset) && header.gsoType === 0 ? plain : refused;
  }
  if (!(protocol === 'tcp' && header.offset === 16) && !(protocol === 'udp' && header.offset === 6)) return refused;
  if (header.gsoType === 0) return plain;
  if (packetEnd !== kind.octets.length || header.gsoSize === 0) return refused;
  const carried = kind.octets.length - headersEnd;
  if (protocol === 'udp') {
    if (header.gsoType !== 5) return refused;
    if (carried <= header.gsoSize) return plain;
    return header.gsoSize >= 8 ? { ...plain, gsoType: 5, headersEnd } : refused;
  }
  const type = kind.family === 4 ? 1 : 4;
  if (header.gsoType !== type && header.gsoType !== type + 0x80) return refused;
  if (carried <= header.gsoSize) return plain;
  if (header.gsoSize < 48 || kind.isSyn === true) return refused;
  return { ...plain, gsoType: type + (kind.hasCwr === true ? 0x80 : 0), headersEnd };
}

const pool = new FramePool(2);
const SLOT = 1;

function load(octets: Uint8Array): number {
  const start = pool.frameStart(SLOT);
  pool.octets.fill(0xa5, start - 64, start + octets.length + 64);
  pool.octets.set(octets, start);
  return start;
}

function check(length: number, header: Header): Outcome {
  pool.receive(SLOT, 0, length);
  pool.offload(SLOT, header.flags, header.gsoType, header.headerLength, header.gsoSize, header.start, header.offset);
  const accepted = checkOffload(pool, SLOT);
  const start = pool.frameStart(SLOT);
  const relative = (position: number) => (position === 0 ? 0 : position - start);
  return {
    accepted,
    gsoType: pool.gsoType[SLOT],
    checksumStart: relative(pool.checksumStart[SLOT]),
    headersEnd: relative(pool.headersEnd[SLOT]),
  };
}

function honest(kind: Kind): Header {
  const isUdp = kind.protocol === 'udp';
  return {
    flags: 1,
    gsoType: isUdp ? 5 : kind.family === 6 ? 4 : 1,
    headerLength: kind.headersEnd ?? 54,
    gsoSize: 1400,
    start: kind.transport ?? 34,
    offset: isUdp ? 6 : 16,
  };
}

const gsoTypes = [0, 1, 2, 3, 4, 5, 0x80, 0x81, 0x84, 0x85, 0xff];
const gsoSizes = [0, 1, 7, 8, 47, 48, 535, 1460, 65_535];
const flagsValues = [0, 1, 2, 3];
const offsets = [0, 6, 16, 65_535];

function starts(kind: Kind): number[] {
  const length = kind.octets.length;
  return [0, 13, 14, 34, 38, 54, 62, 84, length - 18, length - 8, length - 7, length - 2, length, 65_535];
}

/** Every kind with every pair of values on the axes that decide together; the other fields honest. */
function* cases(): Generator<[string, Kind, Header]> {
  for (const [name, kind] of Object.entries(kinds)) {
    for (const gsoType of gsoTypes) {
      for (const gsoSize of gsoSizes) {
        yield [`${name}, gso type ${gsoType}, size ${gsoSize}`, kind, { ...honest(kind), gsoType, gsoSize }];
      }
    }
    for (const start of starts(kind)) {
      for (const offset of offsets) {
        for (const gsoType of [0, honest(kind).gsoType]) {
          const title = `${name}, gso type ${gsoType}, checksum start ${start}, offset ${offset}`;
          yield [title, kind, { ...honest(kind), gsoType, start, offset }];
        }
      }
    }
  }
}

describe('a virtio-net header', () => {
  test.each([...cases()])('is judged as the frame allows: %s', (_, kind, header) => {
    load(kind.octets);
    expect(check(kind.octets.length, header)).toEqual(oracle(kind, header));
  });

  test.each(Object.keys(kinds))('is judged alike whatever its own header length says: %s', (name) => {
    const kind = kinds[name];
    load(kind.octets);
    for (const headerLength of [0, 14, 53, 54, 55, kind.octets.length, 65_535]) {
      const header = { ...honest(kind), headerLength };
      expect(check(kind.octets.length, header)).toEqual(oracle(kind, header));
    }
  });

  test('agrees with the oracle in every combination of all fields', () => {
    let accepted = 0;
    for (const [name, kind] of Object.entries(kinds)) {
      load(kind.octets);
      for (const flags of flagsValues)
        for (const gsoType of gsoTypes)
          for (const gsoSize of gsoSizes)
            for (const start of starts(kind))
              for (const offset of offsets) {
                const header = { flags, gsoType, headerLength: 0, gsoSize, start, offset };
                const found = check(kind.octets.length, header);
                const expected = oracle(kind, header);
                if (found.accepted) accepted++;
                if (
                  found.accepted !== expected.accepted ||
                  found.gsoType !== expected.gsoType ||
                  found.checksumStart !== expected.checksumStart ||
                  found.headersEnd !== expected.headersEnd
                ) {
                  expect({ name, header, ...found }).toEqual({ name, header, ...expected });
                }
              }
    }
    expect(accepted).toBeGreaterThan(1000);
  });

  test.each(Object.keys(kinds))('on a frame cut off at any octet gets a verdict from the frame alone: %s', (name) => {
    const kind = kinds[name];
    const start = load(kind.octets);
    for (let length = kind.octets.length; length >= 14; length--) {
      // What lies behind the cut is seen to be without effect: first the rest of the frame, then noise.
      const header = honest(kind);
      pool.octets.set(kind.octets.subarray(length), start + length);
      const found = check(length, header);
      pool.octets.fill(0xa5, start + length, start + kind.octets.length);
      const again = check(length, header);
      if (JSON.stringify(found) !== JSON.stringify(again)) expect.fail(`octets behind ${length} have an effect`);
      if (length < (kind.packetEnd ?? 0) && found.accepted) expect.fail(`accepted when cut off at ${length}`);
    }
    expect(pool.octets.subarray(start - 64, start).every((octet) => octet === 0xa5)).toBe(true);
  });

  test('may not make more segments of a UDP super-frame than the limit', () => {
    const octets = ethernet(0x0800, ipv4(17, udp(30_000)));
    load(octets);
    const header = { flags: 1, gsoType: 5, headerLength: 0, gsoSize: 8, start: 34, offset: 6 };
    expect(check(octets.length, header).accepted).toBe(false);
    expect(check(octets.length, { ...header, gsoSize: 22 }).accepted).toBe(true);
  });

  test('for UDP whose own length differs from the packet is refused as a super-frame', () => {
    const octets = ethernet(0x0800, ipv4(17, udp()));
    octets[39]--;
    load(octets);
    const header = { flags: 1, gsoType: 5, headerLength: 0, gsoSize: 1400, start: 34, offset: 6 };
    expect(check(octets.length, header).accepted).toBe(false);
    expect(check(octets.length, { ...header, gsoType: 0 }).accepted).toBe(true);
  });

  test('for TCP whose data offset lies outside the packet is refused', () => {
    const octets = ethernet(0x0800, ipv4(6, tcp(ACK, 10)));
    for (const dataOffset of [0, 4, 8, 15]) {
      octets[34 + 12] = dataOffset << 4;
      load(octets);
      const header = { flags: 1, gsoType: 0, headerLength: 0, gsoSize: 0, start: 34, offset: 16 };
      expect(check(octets.length, header).accepted).toBe(false);
    }
  });
});
