/** What policy reads of a packet, field by field, against an independent reader and against what was built. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  FAULT_ARP,
  FAULT_ICMP,
  FAULT_IP,
  FAULT_NONE,
  FAULT_TCP,
  FAULT_TCP_FRAGMENT,
  FAULT_TRANSPORT,
  FAULT_UDP,
  FRAGMENT_FIRST,
  FRAGMENT_LATER,
  FRAGMENT_NONE,
  hasPorts,
  PACKET_ARP,
  PACKET_IPV4,
  PACKET_IPV6,
  PACKET_OTHER,
  PacketReader,
} from '../../src/wire/packet.js';
import { type PacketFacts, readPacket } from './packet-reference.js';

// ---- packets, from the RFCs ---------------------------------------------------------------------------------------

const ARP = 0x0806;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const two = (value: number) => [(value >> 8) & 0xff, value & 0xff];
const fill = (count: number, value = 0x5a) => new Array<number>(count).fill(value);

interface Ipv4Recipe {
  readonly protocol: number;
  readonly payload: readonly number[];
  /** Fragment field as it stands in the header. */
  readonly fragment?: number;
  readonly options?: readonly number[];
  readonly total?: number;
}

function ipv4({ protocol, payload, fragment = 0, options = [], total }: Ipv4Recipe): number[] {
  const size = 20 + options.length;
  const length = two(total ?? size + payload.length);
  const fixed = [0x40 | (size / 4), 0, ...length, 0x12, 0x34, ...two(fragment), 64, protocol, 0, 0];
  return [...fixed, 192, 0, 2, 1, 198, 51, 100, 2, ...options, ...payload];
}

type Extension = readonly [kind: number, octets: readonly number[]];

/** Extension headers in this order; the first octet of each is set to what follows. */
function ipv6(protocol: number, payload: readonly number[], extensions: readonly Extension[] = [], length?: number) {
  const kinds = [...extensions.map(([kind]) => kind), protocol];
  const chain = extensions.flatMap(([, octets], index) => [kinds[index + 1]!, ...octets.slice(1)]);
  const addresses = [0x20, 1, 0x0d, 0xb8, ...fill(11, 0), 1, 0x20, 1, 0x0d, 0xb8, ...fill(11, 0), 2];
  return [
    0x60,
    0,
    0,
    0,
    ...two(length ?? chain.length + payload.length),
    kinds[0]!,
    64,
    ...addresses,
    ...chain,
    ...payload,
  ];
}

/** An extension header of this many times eight octets (AH: of that many words more than two). */
const extension = (kind: number, count = 0): Extension => [
  kind,
  kind === 51 ? [0, count, ...fill(count * 4 + 6, 0)] : [0, count, ...fill(count * 8 + 6, 1)],
];
const fragmentHeader = (offset: number, more: boolean): Extension => [
  44,
  [0, 0, ...two(offset | (more ? 1 : 0)), 9, 9, 9, 9],
];

const tcp = (ports: readonly [number, number], words = 5, length = 4) => [
  ...[...two(ports[0]), ...two(ports[1]), 0, 0, 0, 1, 0, 0, 0, 2, words << 4, 0x10, 1, 0, 0, 0, 0, 0],
  ...fill(words * 4 - 20, 1),
  ...fill(length),
];
const udp = (ports: readonly [number, number], length = 4, said = 8 + length) => [
  ...[...two(ports[0]), ...two(ports[1]), ...two(said), 0, 0],
  ...fill(length),
];
const icmp = (type: number, code: number, identifier: number) => [type, code, 0, 0, ...two(identifier), 0, 1];
const sctp = (ports: readonly [number, number]) => [...two(ports[0]), ...two(ports[1]), ...fill(12)];
const dccp = (ports: readonly [number, number], words: number, isLong: boolean) => [
  ...[...two(ports[0]), ...two(ports[1]), words, 0, 0, 0, isLong ? 1 : 0],
  ...fill(words * 4 - 9),
];
const arp = () => [0, 1, 8, 0, 6, 4, 0, 1, ...fill(20, 7)];

// ---- reading them -------------------------------------------------------------------------------------------------

const kinds = { other: PACKET_OTHER, arp: PACKET_ARP, ipv4: PACKET_IPV4, ipv6: PACKET_IPV6 };
const faults = {
  ...{ none: FAULT_NONE, arp: FAULT_ARP, ip: FAULT_IP, tcp: FAULT_TCP, udp: FAULT_UDP, icmp: FAULT_ICMP },
  ...{ 'tcp fragment': FAULT_TCP_FRAGMENT, transport: FAULT_TRANSPORT },
};
const fragments = { none: FRAGMENT_NONE, first: FRAGMENT_FIRST, later: FRAGMENT_LATER };

/** Where packets lie: nowhere special, with 0xa5 all around. */
const START = 37;
const reader = new PacketReader();

interface Found {
  readonly kind: number;
  readonly fault: number;
  readonly protocol: number;
  readonly fragment: number;
  readonly fragmentOffset: number;
  readonly transport: number;
  readonly end: number;
  readonly ports: number;
}

function read(ethertype: number, packet: readonly number[]): Found {
  const octets = new Uint8Array(START + packet.length + 200).fill(0xa5);
  octets.set(packet, START);
  reader.read(octets, ethertype, START, START + packet.length);
  const { kind, fault, protocol, fragment, fragmentOffset, transport, end, ports } = reader;
  return { kind, fault, protocol, fragment, fragmentOffset, transport, end, ports };
}

function expected(ethertype: number, packet: readonly number[]): Found {
  const facts: PacketFacts = readPacket(ethertype, packet);
  const [first = 0, second = 0] = facts.ports;
  return {
    kind: kinds[facts.kind],
    fault: faults[facts.fault],
    protocol: facts.protocol,
    fragment: fragments[facts.fragment],
    fragmentOffset: facts.fragmentOffset,
    transport: facts.transport === undefined ? 0 : START + facts.transport,
    end: START + facts.end,
    ports: (first << 16) | second,
  };
}

/** What is said of a packet with a fault in its IP header means nothing, but for the fault. */
function comparable(found: Found): object {
  const { kind, fault } = found;
  return fault === FAULT_IP || fault === FAULT_ARP ? { kind, fault } : found;
}

function expectAsReference(ethertype: number, packet: readonly number[], what = ''): void {
  const words = `${what} ${Buffer.from(packet).toString('hex')}`;
  expect(comparable(read(ethertype, packet)), words).toEqual(comparable(expected(ethertype, packet)));
}

const PORTS = [1234, 80] as const;
const destinationOptions = extension(60);
/** Sound packets by name. */
const sound: Readonly<Record<string, readonly [number, number[]]>> = {
  ARP: [ARP, arp()],
  'no IP': [0x88b5, fill(30)],
  'TCP over IPv4': [IPV4, ipv4({ protocol: 6, payload: tcp(PORTS) })],
  'TCP with options over IPv4 with options': [
    IPV4,
    ipv4({ protocol: 6, payload: tcp(PORTS, 10), options: [1, 7, 7, 4, 9, 9, 9, 9, 148, 4, 0, 0] }),
  ],
  'UDP over IPv4': [IPV4, ipv4({ protocol: 17, payload: udp(PORTS) })],
  'UDP-Lite over IPv4': [IPV4, ipv4({ protocol: 136, payload: udp(PORTS, 4, 0) })],
  'an echo over IPv4': [IPV4, ipv4({ protocol: 1, payload: icmp(8, 0, 0xbeef) })],
  'an ICMP error over IPv4': [IPV4, ipv4({ protocol: 1, payload: [...icmp(3, 13, 0xbeef), ...fill(28)] })],
  'SCTP over IPv4': [IPV4, ipv4({ protocol: 132, payload: sctp(PORTS) })],
  'DCCP over IPv4': [IPV4, ipv4({ protocol: 33, payload: dccp(PORTS, 3, false) })],
  'DCCP with long numbers': [IPV4, ipv4({ protocol: 33, payload: dccp(PORTS, 5, true) })],
  'GRE with a key': [IPV4, ipv4({ protocol: 47, payload: [0x20, 0, 0x65, 0x58, 0xde, 0xad, 0xbe, 0xef, 1, 2] })],
  'GRE with a checksum and a key': [
    IPV4,
    ipv4({ protocol: 47, payload: [0xa0, 0, 0x65, 0x58, 1, 2, 0, 0, 0xde, 0xad, 0xbe, 0xef] }),
  ],
  'GRE of version 1': [IPV4, ipv4({ protocol: 47, payload: [0x20, 1, 0x88, 0x0b, 0, 4, 0, 9] })],
  'GRE without a key': [IPV4, ipv4({ protocol: 47, payload: [0, 0, 8, 0, 1, 2, 3, 4] })],
  'another protocol': [IPV4, ipv4({ protocol: 89, payload: fill(24) })],
  'no payload': [IPV4, ipv4({ protocol: 253, payload: [] })],
  'a first fragment of UDP': [IPV4, ipv4({ protocol: 17, payload: udp(PORTS, 8, 3000), fragment: 0x2000 })],
  'a later fragment': [IPV4, ipv4({ protocol: 17, payload: fill(16), fragment: 0x2000 | 185 })],
  'the last fragment': [IPV4, ipv4({ protocol: 6, payload: fill(3), fragment: 370 })],
  'TCP over IPv6': [IPV6, ipv6(6, tcp(PORTS))],
  'UDP over IPv6': [IPV6, ipv6(17, udp(PORTS))],
  'an echo over IPv6': [IPV6, ipv6(58, icmp(128, 0, 0xbeef))],
  'neighbour discovery': [IPV6, ipv6(58, [...icmp(135, 0, 0xbeef), ...fill(16)])],
  'UDP behind every kind of extension header': [
    IPV6,
    ipv6(17, udp(PORTS), [
      extension(0),
      extension(60, 1),
      extension(43, 2),
      extension(51, 3),
      extension(135),
      extension(139),
      extension(140),
    ]),
  ],
  'an atomic fragment': [IPV6, ipv6(17, udp(PORTS), [fragmentHeader(0, false)])],
  'a first fragment over IPv6': [
    IPV6,
    ipv6(17, udp(PORTS, 8, 3000), [extension(0), fragmentHeader(0, true), destinationOptions]),
  ],
  'a later fragment over IPv6': [IPV6, ipv6(17, fill(16), [destinationOptions, fragmentHeader(1480, true)])],
  'no next header': [IPV6, ipv6(59, [])],
  'ESP, which ends a chain': [IPV6, ipv6(50, fill(16), [extension(0)])],
};

describe('every field of', () => {
  test.each(Object.keys(sound))('%s is as an independent reader has it, and nothing is wrong', (what) => {
    const [ethertype, packet] = sound[what]!;
    expect(read(ethertype, packet).fault).toBe(FAULT_NONE);
    expectAsReference(ethertype, packet);
  });

  test('a few packets is what was built, so that both readers are not wrong together', () => {
    const tcp4 = read(...sound['TCP with options over IPv4 with options']!);
    const at = { transport: START + 32, end: START + 76 };
    expect(tcp4).toMatchObject({ kind: PACKET_IPV4, protocol: 6, ports: (1234 << 16) | 80, ...at });
    expect(read(...sound['an echo over IPv6']!)).toMatchObject({ protocol: 58, ports: (128 << 24) | 0xbeef });
    expect(read(...sound['an ICMP error over IPv4']!).ports, 'no identifier').toBe((3 << 24) | (13 << 16));
    expect(read(...sound['GRE with a checksum and a key']!).ports).toBe(0xdeadbeef | 0);
    expect(read(...sound['UDP behind every kind of extension header']!)).toMatchObject({
      protocol: 17,
      transport: START + 40 + 8 + 16 + 24 + 20 + 8 + 8 + 8,
    });
    const later = read(...sound['a later fragment over IPv6']!);
    expect(later).toMatchObject({
      fragment: FRAGMENT_LATER,
      fragmentOffset: 1480,
      transport: 0,
      ports: 0,
      protocol: 17,
    });
  });

  test('a packet is the same whatever is padded behind it', () => {
    for (const [what, [ethertype, packet]] of Object.entries(sound)) {
      if (ethertype === 0x88b5) continue;
      const alone = read(ethertype, packet);
      for (const size of [1, 7, 46]) expect(read(ethertype, [...packet, ...fill(size, 0)]), what).toEqual(alone);
    }
  });
});

test('every sound packet cut off at every octet is read as the independent reader reads it, and nothing behind the cut counts', () => {
  let whole = 0;
  for (const [what, [ethertype, packet]] of Object.entries(sound))
    for (let size = 0; size < packet.length; size++) {
      expectAsReference(ethertype, packet.slice(0, size), `${what}, ${size} octets`);
      if (read(ethertype, packet.slice(0, size)).fault === FAULT_NONE) whole++;
    }
  // Only what is no IP has no length to contradict.
  expect(whole).toBe(30);
});

test('every sound packet whose IP length says less than there is, down to nothing, is read as the independent reader reads it', () => {
  for (const [what, [ethertype, packet]] of Object.entries(sound)) {
    if (ethertype !== IPV4 && ethertype !== IPV6) continue;
    const field = ethertype === IPV4 ? 2 : 4;
    for (let length = 0; length <= packet.length + 41; length++) {
      const lying = [...packet];
      lying.splice(field, 2, ...two(length));
      expectAsReference(ethertype, lying, `${what}, length ${length}`);
    }
  }
});

describe('the length of UDP', () => {
  const faultOf = (said: number, length: number, rest: Partial<Ipv4Recipe> = {}) =>
    read(IPV4, ipv4({ protocol: 17, payload: udp(PORTS, length, said), ...rest })).fault;

  test.each([
    [0, FAULT_UDP],
    [7, FAULT_UDP],
    [8, FAULT_NONE],
    [11, FAULT_NONE],
    [12, FAULT_NONE],
    [13, FAULT_UDP],
    [65_535, FAULT_UDP],
  ])('%i of a datagram of 12 octets: fault %i', (said, fault) => {
    expect(faultOf(said, 4)).toBe(fault);
    expect(read(IPV6, ipv6(17, udp(PORTS, 4, said))).fault).toBe(fault);
  });

  test('is of the whole datagram in a first fragment, and is not asked there; that of UDP-Lite is another field', () => {
    for (const said of [0, 8, 3000, 65_535]) {
      expect(faultOf(said, 8, { fragment: 0x2000 })).toBe(FAULT_NONE);
      expect(read(IPV4, ipv4({ protocol: 136, payload: udp(PORTS, 4, said) })).fault).toBe(FAULT_NONE);
    }
    for (let size = 0; size < 8; size++)
      expect(read(IPV4, ipv4({ protocol: 136, payload: fill(size) })).fault, `${size}`).toBe(FAULT_UDP);
  });
});

test('ports are read whole at their ends, of every protocol that has them, and of none else', () => {
  const ends = [0, 1, 127, 128, 255, 256, 32_767, 32_768, 65_534, 65_535];
  for (const source of ends)
    for (const destination of ends) {
      const ports = [source, destination] as const;
      const packed = (source << 16) | destination;
      for (const [protocol, payload] of [
        [6, tcp(ports)],
        [17, udp(ports)],
        [136, udp(ports)],
        [132, sctp(ports)],
        [33, dccp(ports, 3, false)],
      ] as const) {
        expect(hasPorts(protocol)).toBe(true);
        expect(read(IPV4, ipv4({ protocol, payload: [...payload] })).ports, `${protocol} ${ports}`).toBe(packed);
        expect(read(IPV6, ipv6(protocol, payload)).ports, `${protocol} ${ports}`).toBe(packed);
      }
    }
  for (let protocol = 0; protocol < 256; protocol++) {
    if ([1, 6, 17, 33, 47, 58, 132, 136].includes(protocol)) continue;
    expect(hasPorts(protocol)).toBe(false);
    expect(read(IPV4, ipv4({ protocol, payload: fill(40) })).ports, `${protocol}`).toBe(0);
  }
});

describe('chains of extension headers', () => {
  const kindsOfExtensions = [0, 43, 44, 51, 60, 135, 139, 140];
  const someExtension = (kind: number, count = 0): Extension =>
    kind === 44 ? fragmentHeader(0, false) : extension(kind, count);

  test('of every two kinds, in both orders, are as the independent reader has them', () => {
    for (const first of kindsOfExtensions)
      for (const second of kindsOfExtensions) {
        const packet = ipv6(17, udp(PORTS), [someExtension(first), someExtension(second, 1)]);
        expectAsReference(IPV6, packet, `${first} then ${second}`);
        const isFault = second === 0 || (first === 44 && second === 44);
        expect(read(IPV6, packet).fault, `${first} then ${second}`).toBe(isFault ? FAULT_IP : FAULT_NONE);
      }
  });

  test('are walked for eight headers and no further', () => {
    for (let count = 0; count <= 40; count++) {
      const packet = ipv6(17, udp(PORTS), new Array<Extension>(count).fill(destinationOptions));
      expect(read(IPV6, packet).fault, `${count}`).toBe(count <= 8 ? FAULT_NONE : FAULT_IP);
      expectAsReference(IPV6, packet, `${count}`);
    }
  });

  test('cut by their own lengths, each at every length, are as the independent reader has them', () => {
    for (const kind of kindsOfExtensions)
      for (let count = 0; count < 256; count++) {
        const [, octets] = someExtension(kind);
        const lying: Extension = [kind, [0, count, ...octets.slice(2)]];
        expectAsReference(IPV6, ipv6(17, udp(PORTS, 40), [lying]), `${kind} of ${count}`);
      }
  });

  test('with a fragment header at every place: what stands behind a later fragment’s is not read', () => {
    for (const before of [0, 1, 2])
      for (const [offset, more] of [
        [0, false],
        [0, true],
        [8, true],
        [8, false],
        [65_528, false],
        [65_528, true],
      ] as const) {
        const chain = [...new Array<Extension>(before).fill(destinationOptions), fragmentHeader(offset, more)];
        expectAsReference(IPV6, ipv6(17, udp(PORTS, 8), chain), `${before} ${offset} ${more}`);
        expectAsReference(
          IPV6,
          ipv6(60, [44, 0, ...fill(14, 0)], chain),
          `${before} ${offset} ${more}, headers behind`,
        );
      }
  });
});

describe('fragments', () => {
  test.each([
    ['without payload', 0x2000, 0, FAULT_IP],
    ['not of whole eight octets, and not the last', 0x2000 | 10, 12, FAULT_IP],
    ['not of whole eight octets, but the last', 10, 12, FAULT_NONE],
    ['up to the longest datagram', 8188, 11, FAULT_NONE],
    ['one octet past it', 8188, 12, FAULT_IP],
    ['with "do not fragment" set as well', 0x6000, 16, FAULT_NONE],
    ['that would write over the flags of TCP', 1, 16, FAULT_TCP_FRAGMENT],
    ['behind the flags of TCP', 2, 16, FAULT_NONE],
  ])('%s', (_, field, size, fault) => {
    const payload =
      field === 0x6000 || field === 0x2000 ? tcp(PORTS, 5, 4).slice(0, size === 16 ? 24 : size) : fill(size);
    const packet = ipv4({ protocol: 6, payload, fragment: field });
    expect(read(IPV4, packet).fault).toBe(fault);
    expectAsReference(IPV4, packet);
  });

  test('threats 10: end past the longest datagram in neither version, whatever stands in front of their header', () => {
    for (const before of [0, 1, 2]) {
      const chain = new Array<Extension>(before).fill(destinationOptions);
      for (const size of [1, 7, 8, 9, 1000]) {
        // What the payload length of the whole would be: the headers in front, what is before the fragment, and the fragment.
        const limit = 65_535 - before * 8 - size;
        for (const offset of [limit & ~7, (limit & ~7) + 8].filter((one) => one < 65_536)) {
          const packet = ipv6(17, fill(size), [...chain, fragmentHeader(offset, false)]);
          expect(read(IPV6, packet).fault, `${before} ${size} ${offset}`).toBe(offset > limit ? FAULT_IP : FAULT_NONE);
          const total = 65_535 - 20 - size;
          const at = offset === (limit & ~7) ? total >> 3 : (total >> 3) + 1;
          if (at > 8191) continue;
          const short = ipv4({ protocol: 17, payload: fill(size), fragment: at });
          expect(read(IPV4, short).fault, `${size} ${at}`).toBe(at * 8 > total ? FAULT_IP : FAULT_NONE);
        }
      }
    }
  });

  test('need the whole upper header in the first one (RFC 7112, RFC 3128)', () => {
    for (const size of [8, 16]) {
      expect(read(IPV4, ipv4({ protocol: 6, payload: tcp(PORTS).slice(0, size), fragment: 0x2000 })).fault).toBe(
        FAULT_TCP,
      );
      expect(read(IPV6, ipv6(6, tcp(PORTS).slice(0, size), [fragmentHeader(0, true)])).fault).toBe(FAULT_TCP);
    }
  });
});

test('ICMP belongs to IPv4 and ICMPv6 to IPv6', () => {
  expect(read(IPV4, ipv4({ protocol: 58, payload: icmp(128, 0, 1) })).fault).toBe(FAULT_ICMP);
  expect(read(IPV6, ipv6(1, icmp(8, 0, 1))).fault).toBe(FAULT_ICMP);
});

test('options of IPv4 at every length and place are as the independent reader has them', () => {
  for (let type = 0; type < 4; type++)
    for (let length = 0; length < 16; length++)
      for (let place = 0; place < 8; place++) {
        const options = fill(8, 1);
        options[place] = type;
        if (place < 7) options[place + 1] = length;
        expectAsReference(IPV4, ipv4({ protocol: 17, payload: udp(PORTS), options }), `${type} ${length} at ${place}`);
      }
});

test('any packet, with any of its octets changed and cut off anywhere, is read as the independent reader reads it', () => {
  const seen = new Set<number>();
  const wanted = [FAULT_NONE, FAULT_IP, FAULT_TCP, FAULT_UDP];
  const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
  const anyPacket = fc.property(
    fc.constantFrom(...Object.values(sound)),
    fc.array(change, { maxLength: 3 }),
    fc.option(fc.nat(), { nil: undefined }),
    ([ethertype, packet], changes, cut) => {
      const octets = [...packet];
      // Mostly in the headers, where it matters.
      for (const [at, value] of changes) octets[at % Math.min(octets.length, 64)] = value;
      const size = cut === undefined ? octets.length : cut % (octets.length + 1);
      expectAsReference(ethertype, octets.slice(0, size));
      seen.add(read(ethertype, octets.slice(0, size)).fault);
    },
  );
  // A fault of TCP is one packet in thousands: once in a while 8,000 have none.
  for (let turn = 0; turn < 5 && (turn === 0 || !wanted.every((fault) => seen.has(fault))); turn++)
    fc.assert(anyPacket, { numRuns: 8000 });
  expect([...seen].sort()).toEqual(expect.arrayContaining(wanted));
});
