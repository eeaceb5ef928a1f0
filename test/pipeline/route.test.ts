/** Routers, through the whole pipeline: what leaves, what the sender is told, and that every frame ends once. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { linkLocalOf, virtualMac } from '../../src/control/virtual-mac.js';
import { RX_CONSUMED } from '../../src/dataplane/counters.js';
import { NEIGHBOR_QUESTIONS_MAX, PENDING_HOPS_PER_PORT } from '../../src/limits.js';
import { PORT_CLOSED } from '../../src/pipeline/snapshot.js';
import { ipText, ipv4Text, macText } from '../../src/wire/address.js';
import { ipv4HeaderChecksum, sumOctets } from '../../src/wire/checksum.js';
import { buildEthernet, buildIcmp, buildIp, buildTcp, buildUdp } from '../../src/wire/frame-build.js';
import { read16 } from '../../src/wire/octets.js';
import { frameLine } from '../../src/wire/print.js';
import { arpFrame, icmp6Sum, ip, mac, ndFrame } from '../wire/neighbor-frames.js';
import { type Received, type Sent, type TestDocument, TestSwitch, vm } from './test-switch.js';

const A = '52:54:00:00:00:0a';
const B = '52:54:00:00:00:0b';
const C = '52:54:00:00:00:0c';

const INTERFACES = { red: ['192.0.2.1/24', '2001:db8:a::1/64'], blue: ['198.51.100.1/24', '2001:db8:b::1/64'] };

function document(router: Record<string, unknown> = {}): TestDocument {
  return {
    networks: { red: { type: 'local' }, blue: { type: 'local' } },
    ports: { a: vm({ network: 'red' }), b: vm({ network: 'blue' }), c: vm({ network: 'blue' }) },
    routers: { r: { interfaces: INTERFACES, ...router } },
  };
}

/** The router's MAC in a network. */
function gateway(network: 'red' | 'blue'): string {
  return macText(virtualMac(network));
}

interface Recipe {
  readonly from?: string;
  readonly to?: string;
  readonly source?: string;
  readonly destination?: string;
  readonly protocol?: number;
  readonly ttl?: number;
  readonly payload?: Uint8Array;
}

const TCP = { sourcePort: 1234, destinationPort: 80, sequence: 1, acknowledgement: 0, flags: 2, window: 64 };

function packet({
  from = A,
  to = gateway('red'),
  source = '192.0.2.5',
  destination = '198.51.100.6',
  protocol = 6,
  ttl = 64,
  payload = buildTcp(TCP, 10),
}: Recipe = {}): Uint8Array {
  const isIpv4 = !source.includes(':');
  const fields = { source: ip(source), destination: ip(destination), protocol, ttl };
  const link = { destination: mac(to), source: mac(from), tags: [] };
  return buildEthernet(link, isIpv4 ? 0x0800 : 0x86dd, buildIp(fields, payload));
}

const from6 = { source: '2001:db8:a::5', destination: '2001:db8:b::6' };
/** B is at .6 and ::6, and says so to its router. */
const announceB = arpFrame({
  from: B,
  to: gateway('blue'),
  operation: 2,
  sender: '198.51.100.6',
  target: '198.51.100.1',
});
const announceB6 = ndFrame({
  from: B,
  source: '2001:db8:b::6',
  destination: '2001:db8:b::1',
  to: gateway('blue'),
  type: 136,
  flags: 0x60,
  target: '2001:db8:b::6',
  options: Uint8Array.from([2, 1, ...mac(B)]),
});

const line = ({ octets }: Sent) => frameLine(octets);

/** Sums of the IPv4 header and of the upper layer, which must both be all ones. */
function expectSound(octets: Uint8Array): void {
  if (read16(octets, 12) === 0x0806) return;
  if (read16(octets, 12) === 0x86dd) {
    if (octets[20] === 58) expect(icmp6Sum(octets)).toBe(0xffff);
    return;
  }
  expect(read16(octets, 24)).toBe(ipv4HeaderChecksum(octets, 14, 20));
  if (octets[23] === 1) expect(sumOctets(octets, 34, read16(octets, 16) - 20, 0)).toBe(0xffff);
}

let tested: TestSwitch;

/** Runs frames that come one after another by a port and returns what left. */
function run(port: string, ...frames: Uint8Array[]): Sent[] {
  const received: Received[] = frames.map((octets) => ({ port, octets }));
  const sent = tested.run(...received);
  for (const { octets } of sent) expectSound(octets);
  return sent;
}

beforeEach(() => {
  tested = new TestSwitch(document());
});

describe('a packet to a station that is known', () => {
  beforeEach(() => {
    run('b', announceB, announceB6);
    tested.sent.length = 0;
  });

  test('leaves in the other network, from the router there, its TTL one less and all else as it was', () => {
    const before = packet();
    const [sent, ...others] = run('a', before);
    expect(others).toEqual([]);
    expect(sent!.port).toBe('b');
    expect(macText(sent!.octets, 0)).toBe(B);
    expect(macText(sent!.octets, 6)).toBe(gateway('blue'));
    const expected = Uint8Array.from(before);
    expected.set(mac(B), 0);
    expected.set(mac(gateway('blue')), 6);
    expected[22] = 63;
    new DataView(expected.buffer).setUint16(24, ipv4HeaderChecksum(expected, 14, 20));
    expect(sent!.octets).toEqual(expected);
  });

  test('of IPv6 leaves so, too', () => {
    const before = packet(from6);
    const [sent] = run('a', before);
    const expected = Uint8Array.from(before);
    expected.set(mac(B), 0);
    expected.set(mac(gateway('blue')), 6);
    expected[21] = 63;
    expect(sent!.octets).toEqual(expected);
    expect(sent!.port).toBe('b');
  });

  test('has a right checksum whatever its TTL and header were', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 255 }), fc.nat(0xffff), fc.nat(255), (ttl, id, tos) => {
        const octets = packet({ ttl });
        octets[15] = tos;
        new DataView(octets.buffer).setUint16(18, id);
        new DataView(octets.buffer).setUint16(24, ipv4HeaderChecksum(octets, 14, 20));
        const [sent] = run('a', octets);
        expect(sent!.octets[22]).toBe(ttl - 1);
      }),
      { numRuns: 300 },
    );
  });

  test('is dropped at a TTL of 1, and its sender told by the interface it came in by', () => {
    const [sent] = run('a', packet({ ttl: 1 }));
    expect(sent).toMatchObject({ port: 'a', isGenerated: true });
    expect(line(sent!)).toContain('192.0.2.1 > 192.0.2.5');
    expect([sent!.octets[34], sent!.octets[35]]).toEqual([11, 0]);
    const [sent6] = run('a', packet({ ...from6, ttl: 1 }));
    expect(line(sent6!)).toContain('2001:db8:a::1 > 2001:db8:a::5');
    expect([sent6!.octets[54], sent6!.octets[55]]).toEqual([3, 0]);
    expect(tested.dropped('a', 'ttl_exceeded')).toBe(2);
  });

  test('that is too long is dropped, and the answer names what fits', () => {
    const long = buildUdp(1, 2, 1600);
    const whole = packet({ protocol: 17, payload: long });
    whole[20] = 0x40;
    new DataView(whole.buffer).setUint16(24, ipv4HeaderChecksum(whole, 14, 20));
    const [sent] = run('a', whole);
    expect([sent!.octets[34], sent!.octets[35], read16(sent!.octets, 40)]).toEqual([3, 4, 1500]);
    const [sent6] = run('a', packet({ ...from6, protocol: 17, payload: long }));
    expect([sent6!.octets[54], read16(sent6!.octets, 60)]).toEqual([2, 1500]);
    expect(tested.dropped('a', 'mtu_exceeded')).toBe(2);
  });

  test('to a station behind a tunnel is held to what the way there lets pass', () => {
    tested = new TestSwitch({
      networks: {
        red: { type: 'local' },
        blue: { type: 'vxlan', id: 5010, underlay: 'u0', remotes: ['203.0.113.2', '203.0.113.3'] },
      },
      ports: { a: vm({ network: 'red' }), b: vm({ network: 'blue' }) },
      underlays: { u0: { local: '203.0.113.1' } },
      routers: { r: { interfaces: INTERFACES } },
    });
    tested.tunnels.setMtu(tested.tunnel('blue', '203.0.113.3'), 1350);
    const header = Uint8Array.of(8, 0, 0, 0, 0, 5010 >> 8, 5010 & 0xff, 0);
    const arrive = (from: string) => {
      const octets = Uint8Array.of(...header, ...announceB);
      tested.run({ port: 'u0/vxlan', from, octets, trafficClass: 0 });
    };
    const send = (size: number, isWhole = true) => {
      const octets = packet({ protocol: 17, payload: buildUdp(1, 2, size - 28) });
      if (isWhole) octets[20] = 0x40;
      new DataView(octets.buffer).setUint16(24, ipv4HeaderChecksum(octets, 14, 20));
      return tested.run({ port: 'a', octets });
    };
    arrive('203.0.113.2');
    expect(send(1351)).toMatchObject([{ port: 'u0/vxlan' }]);
    arrive('203.0.113.3');
    const [told, ...others] = send(1351);
    expect(others).toEqual([]);
    expect(told).toMatchObject({ port: 'a' });
    expect([told!.octets[34], told!.octets[35], read16(told!.octets, 40)]).toEqual([3, 4, 1350]);
    expect(send(1350)).toMatchObject([{ port: 'u0/vxlan' }]);
    const fragments = send(1351, false).map(({ port, message }) => [port, message?.datagrams[0]?.length]);
    // 1,348 is the most below 1,350 that leaves a whole number of eight octets; the rest has a header of its own.
    expect(fragments).toEqual([
      ['u0/vxlan', 8 + 14 + 1348],
      ['u0/vxlan', 8 + 14 + 20 + 3],
    ]);
  });

  test('goes to the router’s own network again, where it came from', () => {
    run('a', arpFrame({ from: C, to: gateway('red'), operation: 2, sender: '192.0.2.9', target: '192.0.2.1' }));
    const [sent] = run('a', packet({ destination: '192.0.2.9' }));
    expect(sent).toMatchObject({ port: 'a' });
    expect(macText(sent!.octets, 0)).toBe(C);
  });
});

describe('a packet to a station that is not known', () => {
  test('is kept while the station is asked for, and leaves when it has answered', () => {
    const asked = run('a', packet());
    expect(asked.map(({ port }) => port).sort()).toEqual(['b', 'c']);
    expect(line(asked[0]!)).toContain('ARP who-has 198.51.100.6 tell 198.51.100.1');
    expect(tested.value('a', RX_CONSUMED)).toBe(0);
    tested.now += 5;
    const sent = run('b', announceB);
    expect(sent.map(({ port }) => port)).toEqual(['b']);
    expect(line(sent[0]!)).toContain('192.0.2.5:1234 > 198.51.100.6:80');
    tested.expectConservation();
  });

  test('of IPv6 is kept likewise, and its station asked by its solicited-node group', () => {
    const asked = run('a', packet(from6));
    expect(asked).toHaveLength(2);
    expect(macText(asked[0]!.octets, 0)).toBe('33:33:ff:00:00:06');
    expect(ipText(asked[0]!.octets.slice(38, 54))).toBe('ff02::1:ff00:6');
    expect(ipText(asked[0]!.octets.slice(62, 78))).toBe('2001:db8:b::6');
    tested.now += 5;
    expect(run('b', announceB6)).toHaveLength(1);
  });

  test('keeps the order and the newest of more than are kept', () => {
    const numbered = (index: number) => packet({ payload: buildTcp({ ...TCP, sourcePort: 1000 + index }, 0) });
    run('a', ...Array.from({ length: 12 }, (_, index) => numbered(index)));
    tested.now += 5;
    const sent = run('b', announceB);
    expect(sent.map(({ octets }) => read16(octets, 34))).toEqual([1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011]);
    expect(tested.dropped('a', 'neighbor_unresolved')).toBe(4);
    tested.expectConservation();
  });

  test('is given up after as many questions as there are, and its sender told', () => {
    expect(run('a', packet())).toHaveLength(2);
    for (let question = 1; question < NEIGHBOR_QUESTIONS_MAX; question++) {
      tested.now += 1000;
      expect(run('a')).toHaveLength(2);
    }
    tested.now += 1000;
    const [sent] = run('a');
    expect(sent).toMatchObject({ port: 'a' });
    expect([sent!.octets[34], sent!.octets[35]]).toEqual([3, 1]);
    expect(tested.dropped('a', 'neighbor_unresolved')).toBe(1);
    tested.expectConservation();
  });

  test('of many addresses causes no more questions at once than one port may', () => {
    const targets = Array.from({ length: 250 }, (_, index) => packet({ destination: `198.51.100.${index + 2}` }));
    for (const target of targets) run('a', target);
    expect(tested.machine.pending.count).toBe(PENDING_HOPS_PER_PORT);
    expect(tested.dropped('a', 'neighbor_unresolved')).toBe(250 - PENDING_HOPS_PER_PORT);
    for (let second = 0; second < 10; second++) {
      tested.now += 1000;
      run('a');
    }
    expect(tested.machine.pending.count).toBe(0);
    expect(tested.machine.pending.packets).toBe(0);
    tested.expectConservation();
  });

  test('finds its station though the port goes on sending to addresses where nobody is (RFC 6583)', () => {
    const nobody = Array.from({ length: PENDING_HOPS_PER_PORT }, (_, index) =>
      packet({ destination: `198.51.100.${index + 20}` }),
    );
    for (let second = 0; second <= NEIGHBOR_QUESTIONS_MAX; second++) {
      run('a', ...nobody);
      tested.now += 1000;
    }
    run('a', ...nobody);
    expect(tested.machine.pending.count).toBe(PENDING_HOPS_PER_PORT);
    const asked = run('a', packet());
    expect(asked.map((frame) => line(frame))).toContainEqual(expect.stringContaining('ARP who-has 198.51.100.6'));
    tested.now += 5;
    expect(run('b', announceB).map(({ port }) => port)).toEqual(['b']);
    tested.expectConservation();
  });
});

describe('routes', () => {
  test('lead to the next router, the longest prefix first', () => {
    const routes = [
      { to: '0.0.0.0/0', via: '198.51.100.7' },
      { to: '203.0.113.0/24', via: '198.51.100.6' },
      { to: '203.0.113.128/25', via: 'blackhole' },
    ];
    tested = new TestSwitch(document({ routes }));
    const other = arpFrame({
      from: C,
      to: gateway('blue'),
      operation: 2,
      sender: '198.51.100.7',
      target: '198.51.100.1',
    });
    run('b', announceB);
    run('c', other);
    const port = (destination: string) => run('a', packet({ destination })).map((sent) => sent.port);
    expect(port('203.0.113.5')).toEqual(['b']);
    expect(port('203.0.112.5')).toEqual(['c']);
    expect(port('203.0.113.200')).toEqual([]);
    expect(tested.dropped('a', 'blackhole')).toBe(1);
  });

  test('that several hops share take each flow by one of them, and use all', () => {
    tested = new TestSwitch(document({ routes: [{ to: '203.0.113.0/24', via: ['198.51.100.6', '198.51.100.7'] }] }));
    run('b', announceB);
    run('c', arpFrame({ from: C, to: gateway('blue'), operation: 2, sender: '198.51.100.7', target: '198.51.100.1' }));
    const counts = new Map<string, number>();
    for (let flow = 0; flow < 100; flow++) {
      const octets = packet({ destination: '203.0.113.5', payload: buildTcp({ ...TCP, sourcePort: flow }, 0) });
      const ports = run('a', octets, octets).map(({ port }) => port);
      expect(ports[0]).toBe(ports[1]);
      counts.set(ports[0]!, (counts.get(ports[0]!) ?? 0) + 1);
    }
    expect(counts.get('b')).toBeGreaterThan(25);
    expect(counts.get('c')).toBeGreaterThan(25);
  });

  test('that are missing are told the sender', () => {
    const [sent] = run('a', packet({ destination: '203.0.113.5' }));
    expect([sent!.octets[34], sent!.octets[35]]).toEqual([3, 0]);
    const [sent6] = run('a', packet({ ...from6, destination: '2001:db8:c::1' }));
    expect([sent6!.octets[54], sent6!.octets[55]]).toEqual([1, 0]);
    expect(tested.dropped('a', 'no_route')).toBe(2);
  });

  test('of two routers with the same prefixes do not meet', () => {
    tested = new TestSwitch({
      networks: { red: { type: 'local' }, blue: { type: 'local' }, red2: { type: 'local' }, blue2: { type: 'local' } },
      ports: {
        a: vm({ network: 'red' }),
        b: vm({ network: 'blue' }),
        a2: vm({ network: 'red2' }),
        b2: vm({ network: 'blue2' }),
      },
      routers: {
        r: { interfaces: { red: '192.0.2.1/24', blue: '198.51.100.1/24' } },
        s: { interfaces: { red2: '192.0.2.1/24', blue2: '198.51.100.1/24' } },
      },
    });
    const to = macText(virtualMac('red2'));
    const blue2 = macText(virtualMac('blue2'));
    run('b', announceB);
    run('b2', arpFrame({ from: C, to: blue2, operation: 2, sender: '198.51.100.6', target: '198.51.100.1' }));
    expect(run('a', packet()).map(({ port }) => port)).toEqual(['b']);
    const [sent] = run('a2', packet({ to }));
    expect(sent).toMatchObject({ port: 'b2' });
    expect(macText(sent!.octets, 0)).toBe(C);
  });
});

describe('the router itself', () => {
  const echo = buildIcmp({ type: 8, code: 0, id: 7, sequence: 9 }, 33);
  const echo6 = buildIcmp({ type: 128, code: 0, id: 7, sequence: 9 }, 33);

  test.each(['192.0.2.1', '198.51.100.1'])('answers a ping of its address %s', (destination) => {
    const [sent, ...others] = run('a', packet({ destination, protocol: 1, payload: echo }));
    expect(others).toEqual([]);
    expect(ipv4Text(sent!.octets, 26)).toBe(destination);
    expect([sent!.octets[34], read16(sent!.octets, 38), read16(sent!.octets, 40)]).toEqual([0, 7, 9]);
    expect(sent!.octets.slice(42)).toEqual(echo.slice(8));
    expect(tested.value('a', RX_CONSUMED)).toBe(1);
  });

  test('answers a ping by IPv6', () => {
    const [sent] = run('a', packet({ ...from6, destination: '2001:db8:b::1', protocol: 58, payload: echo6 }));
    expect(sent!.octets[54]).toBe(129);
    expect(ipText(sent!.octets.slice(22, 38))).toBe('2001:db8:b::1');
  });

  test('says of other services that there are none', () => {
    const [sent] = run('a', packet({ destination: '192.0.2.1', protocol: 17, payload: buildUdp(5, 33_434, 4) }));
    expect([sent!.octets[34], sent!.octets[35]]).toEqual([3, 3]);
    expect(run('a', packet({ destination: '192.0.2.1', protocol: 47, payload: new Uint8Array(8) }))).toEqual([]);
    expect(tested.dropped('a', 'no_service')).toBe(2);
  });

  test('is asked no more than it answers', () => {
    const pings = Array.from({ length: 200 }, () => packet({ destination: '192.0.2.1', protocol: 1, payload: echo }));
    let answers = 0;
    for (const ping of pings) answers += run('a', ping).length;
    expect(answers).toBe(100);
    expect(tested.dropped('a', 'rate_limited')).toBe(100);
  });
});

describe('who asks for the router', () => {
  test('by ARP is answered for its addresses in that network', () => {
    const ask = (target: string) => run('a', arpFrame({ from: A, sender: '192.0.2.5', target }));
    const [sent, ...others] = ask('192.0.2.1');
    expect(others).toEqual([]);
    expect(line(sent!)).toContain(`192.0.2.1 is-at ${gateway('red')}`);
    expect(ask('198.51.100.1')).toEqual([]);
  });

  test('by a neighbour solicitation is answered that it is a router', () => {
    const [sent] = run('a', ndFrame({ from: A, source: '2001:db8:a::5', target: '2001:db8:a::1' }));
    expect([sent!.octets[54], sent!.octets[58]! & 0x80]).toEqual([136, 0x80]);
    expect(macText(sent!.octets, 6)).toBe(gateway('red'));
  });
});

describe('what no router takes', () => {
  const damaged = (change: (octets: Uint8Array) => unknown) => {
    const octets = packet();
    change(octets);
    return octets;
  };
  const withOptions = (...options: number[]) => {
    const plain = packet();
    const octets = new Uint8Array(plain.length + options.length);
    octets.set(plain.slice(0, 34));
    octets.set(options, 34);
    octets.set(plain.slice(34), 34 + options.length);
    octets[14] = 0x45 + options.length / 4;
    new DataView(octets.buffer).setUint16(16, octets.length - 14);
    new DataView(octets.buffer).setUint16(24, ipv4HeaderChecksum(octets, 14, 20 + options.length));
    return octets;
  };

  /** Of this type, one address, all segments left, and TCP behind it. */
  const routingHeader = (type: number) =>
    Uint8Array.of(6, 2, type, 1, 0, 0, 0, 0, ...ip('2001:db8:c::1'), ...buildTcp(TCP, 10));
  /** Telling of a better way, with the beginning of a packet behind it. */
  const redirect = (destination: string) =>
    packet({ destination, protocol: 1, payload: buildIcmp({ type: 5, code: 1, id: 0xc000, sequence: 0x0209 }, 28) });
  const redirect6 = (destination: string) =>
    packet({
      ...from6,
      destination,
      protocol: 58,
      ttl: 255,
      payload: buildIcmp({ type: 137, code: 0, id: 0, sequence: 0 }, 32),
    });

  test.each([
    ['a header checksum that is wrong', damaged((octets) => octets.fill(0xff, 24, 25)), 'bad_ip_header'],
    ['a source that is a group', packet({ source: '224.0.0.1' }), 'martian'],
    ['a source that is the loopback', packet({ source: '127.0.0.1' }), 'martian'],
    ['a destination that is the loopback', packet({ destination: '127.0.0.1' }), 'martian'],
    ['a destination in class E', packet({ destination: '240.0.0.1' }), 'martian'],
    ['a link-local source', packet({ source: '169.254.1.1' }), 'martian'],
    ['a link-local IPv6 source', packet({ ...from6, source: 'fe80::5' }), 'martian'],
    ['an IPv6 group', packet({ ...from6, destination: 'ff0e::1' }), 'martian'],
    ["the router's own address as source", packet({ source: '192.0.2.1' }), 'martian'],
    ["the router's own IPv6 address as source", packet({ ...from6, source: '2001:db8:a::1' }), 'martian'],
    ['the unspecified source', packet({ source: '0.0.0.0' }), 'martian'],
    ['the unspecified IPv6 source', packet({ ...from6, source: '::' }), 'martian'],
    ['a broadcast source', packet({ source: '255.255.255.255' }), 'martian'],
    ['the IPv6 loopback as destination', packet({ ...from6, destination: '::1' }), 'martian'],
    ['an IPv6 routing header of type 0', packet({ ...from6, protocol: 43, payload: routingHeader(0) }), 'source_route'],
    ['a redirect to the router', redirect('192.0.2.1'), 'router_advertisement'],
    ['a redirect to a machine behind it', redirect('198.51.100.6'), 'router_advertisement'],
    ['an IPv6 redirect to a machine behind it', redirect6('2001:db8:b::6'), 'router_advertisement'],
    ['an IPv6 redirect to the router', redirect6('2001:db8:a::1'), 'router_advertisement'],
    ['a loose source route', withOptions(131, 3, 4, 0), 'source_route'],
    ['a strict source route behind others', withOptions(1, 137, 3, 4), 'source_route'],
    ['options without end', withOptions(7, 0, 0, 0), 'bad_ip_header'],
    ['no IP', damaged((octets) => octets.set([0x88, 0xb5], 12)), 'not_routed'],
    ['a packet that is cut off', packet().slice(0, 40), 'bad_ip_header'],
  ] as const)('%s', (_, octets, reason) => {
    expect(run('a', octets).filter(({ port }) => port !== 'a')).toEqual([]);
    expect(tested.drops()).toEqual({ [`a ${reason}`]: 1 });
  });

  test('every truncation of a packet is a verdict, and no frame leaves that was not whole', () => {
    run('b', announceB);
    for (const octets of [packet(), packet(from6)])
      for (let size = 14; size < octets.length; size++) {
        const sent = run('a', octets.slice(0, size));
        expect(sent.filter(({ port }) => port === 'b')).toEqual([]);
      }
    tested.expectConservation();
  });
});

test.each([
  [
    'IPv4',
    {
      announced: announceB,
      route: { to: '203.0.113.0/24', via: '198.51.100.6' },
      away: { destination: '203.0.113.5' },
    },
  ],
  [
    'IPv6',
    {
      announced: announceB6,
      route: { to: '2001:db8:c::/64', via: '2001:db8:b::6' },
      away: { ...from6, destination: '2001:db8:c::1' },
    },
  ],
] as const)('a loop of routes through a station ends with the TTL (%s)', (_, { announced, route, away }) => {
  tested = new TestSwitch(document({ routes: [route] }));
  run('b', announced);
  let rounds = 0;
  let [sent] = run('a', packet({ ...away, ttl: 16 }));
  while (sent?.isGenerated === false) {
    expect(sent.port).toBe('b');
    // B's own way there leads by the router.
    const octets = Uint8Array.of(...virtualMac('blue'), ...mac(B), ...sent.octets.slice(12));
    [sent] = run('b', octets);
    rounds++;
  }
  expect(sent?.isGenerated).toBe(true);
  expect(rounds).toBe(15);
  expect(tested.drops()).toEqual({ 'b ttl_exceeded': 1 });
});

test('a frame that is not for the router is switched as without one', () => {
  const sent = run('b', packet({ from: B, to: C, source: '198.51.100.6', destination: '198.51.100.7' }));
  expect(sent.map(({ port }) => port)).toEqual(['c']);
  expect(sent[0]!.octets[22]).toBe(64);
});

test('what is addressed to a router teaches where its sender is', () => {
  run('a', packet({ destination: '203.0.113.1' }));
  const known = tested.fdb.find(
    tested.network('red'),
    (mac(A)[0]! << 8) | mac(A)[1]!,
    new DataView(mac(A).buffer).getInt32(2),
    1000,
    300,
  );
  expect(known).toBeGreaterThan(0);
});

describe('a router is no way round', () => {
  test('the storm limits, and they are none of its own', () => {
    run('b', announceB);
    const frames = Array.from({ length: 400 }, (_, index) =>
      packet({ payload: buildTcp({ ...TCP, sourcePort: index }, 0) }),
    );
    tested = new TestSwitch({ ...document(), ports: { ...document().ports, a: { kind: 'tap', network: 'red' } } });
    run('b', announceB);
    for (const octets of frames) expect(run('a', octets)).toHaveLength(1);
    expect(tested.drops()).toEqual({});
  });

  test('isolation, where it sends back into the same network', () => {
    const isolated = vm({ network: 'red', isolated: true });
    tested = new TestSwitch({ ...document(), ports: { a: isolated, b: isolated, c: vm({ network: 'red' }) } });
    const at = (from: string, sender: string) =>
      arpFrame({ from, to: gateway('red'), operation: 2, sender, target: '192.0.2.1' });
    run('b', at(B, '192.0.2.6'));
    run('c', at(C, '192.0.2.7'));
    expect(run('a', packet({ destination: '192.0.2.6' }))).toEqual([]);
    expect(tested.copiesDropped('b', 'isolated')).toBe(1);
    expect(run('a', packet({ destination: '192.0.2.7' })).map(({ port }) => port)).toEqual(['c']);
  });

  test('the network of a tag that a tunnel port carries', () => {
    tested = new TestSwitch({
      ...document(),
      ports: { a: vm({ tunnel: { network: 'red' } }), b: vm({ network: 'blue' }), c: vm({ network: 'red' }) },
    });
    run('b', announceB);
    const plain = packet();
    const tagged = Uint8Array.from([...plain.slice(0, 12), 0x81, 0, 0, 7, ...plain.slice(12)]);
    expect(tested.run({ port: 'a', octets: tagged }).map(({ port }) => port)).toEqual(['c']);
  });

  test('a reject of the far network’s ACL: nobody is answered in a network he is not in', () => {
    tested = new TestSwitch({
      ...document(),
      ports: { ...document().ports, b: vm({ network: 'blue', acl: { egress: 'no' } }) },
      acls: { no: { default: 'permit', rules: [{ action: 'reject', proto: 'tcp' }] } },
    });
    run('b', announceB);
    expect(run('a', packet())).toEqual([]);
    expect(tested.copiesDropped('b', 'acl_deny')).toBe(1);
  });
});

describe('the link', () => {
  const echo6 = buildIcmp({ type: 128, code: 0, id: 7, sequence: 9 }, 3);
  const linkLocal = ipText(linkLocalOf(virtualMac('red')));

  test('has the router’s own link-local address, which answers, and no other is routed', () => {
    tested = new TestSwitch(document({ routes: [{ to: '::/0', via: '2001:db8:b::6' }] }));
    run('b', announceB6);
    const link = { source: 'fe80::5', protocol: 58, payload: echo6 };
    const [sent, ...others] = run('a', packet({ ...link, destination: linkLocal }));
    expect(others).toEqual([]);
    expect(sent!.octets[54]).toBe(129);
    expect(run('a', packet({ ...link, destination: 'fe80::99' }))).toEqual([]);
    expect(tested.dropped('a', 'martian')).toBe(1);
  });

  test('that is down is not told the sender as an MTU of nothing', () => {
    run('b', announceB);
    tested.snapshot.portMode[tested.index('b')] = PORT_CLOSED;
    tested.snapshot.memberMtu[tested.member('b', 'blue')] = 0;
    expect(run('a', packet())).toEqual([]);
    expect(tested.copiesDropped('b', 'port_down')).toBe(1);
  });

  test('of a station that no frame came from lately is found by a flood within the storm limits', () => {
    const station = { kind: 'tap', network: 'blue', mac: B, addresses: ['198.51.100.6/24'] } as const;
    tested = new TestSwitch({
      ...document(),
      ports: { a: { kind: 'tap', network: 'red' }, b: station, c: vm({ network: 'blue' }) },
    });
    let copies = 0;
    for (let count = 0; count < 300; count++) copies += run('a', packet()).length;
    expect(copies).toBe(400);
    expect(tested.dropped('a', 'storm')).toBe(100);
  });
});

describe('a packet that waits', () => {
  test('meets the policy that is in force when it goes on', () => {
    run('a', packet());
    const strict = { deny: { default: 'deny', rules: [] } } as const;
    tested.configure({
      ...document(),
      ports: { ...document().ports, a: vm({ network: 'red', acl: { ingress: 'deny' } }) },
      acls: strict,
    });
    tested.now += 5;
    expect(run('b', announceB)).toEqual([]);
    expect(tested.dropped('a', 'acl_default')).toBe(1);
    tested.expectConservation();
  });

  test('ends when its port is in another network, or its router is gone', () => {
    run('a', packet());
    tested.configure({ ...document(), ports: { ...document().ports, a: vm({ network: 'blue' }) } });
    tested.now += 5;
    expect(run('b', announceB)).toEqual([]);
    expect(tested.dropped('a', 'neighbor_unresolved')).toBe(1);
    tested = new TestSwitch(document());
    run('a', packet());
    const { routers: _, ...without } = document();
    tested.configure(without);
    for (let second = 0; second < 5; second++) {
      tested.now += 1000;
      // Switched as any frame, in the network it is in.
      for (const { port } of run('b')) expect(port).not.toMatch(/^[bc]$/);
    }
    tested.expectConservation();
  });

  test('does not make another port’s packet for the same station give way', () => {
    tested = new TestSwitch({ ...document(), ports: { ...document().ports, d: vm({ network: 'red' }) } });
    run('a', packet());
    for (let index = 0; index < 20; index++) run('d', packet({ from: C, source: '192.0.2.9' }));
    expect(tested.dropped('a', 'neighbor_unresolved')).toBe(0);
    tested.now += 5;
    const sent = run('b', announceB);
    expect(ipv4Text(sent[0]!.octets, 26)).toBe('192.0.2.5');
    expect(sent).toHaveLength(8);
  });
});
