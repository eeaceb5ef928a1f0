/**
 * Two routers of one switch that share a network: two tenants' routers in the network outside, and routers that are each
 * other's next hops.
 */
import { beforeEach, describe, expect, test } from 'vitest';
import { virtualMac } from '../../src/control/virtual-mac.js';
import { ROUTERS_PER_PACKET_MAX } from '../../src/limits.js';
import { ipText, macText } from '../../src/wire/address.js';
import { ipv4HeaderChecksum, pseudoHeaderSum4 } from '../../src/wire/checksum.js';
import { buildEthernet, buildIp, buildUdp } from '../../src/wire/frame-build.js';
import { read16, write16 } from '../../src/wire/octets.js';
import { GSO_TCP4, VNET_NEEDS_CHECKSUM } from '../../src/wire/virtio-net.js';
import { fragmentFrame } from '../wire/fragment-frames.js';
import { arpFrame, ip, mac } from '../wire/neighbor-frames.js';
import { ACK, expectSound, type Flow, type Heard, heardOf, payloadOf, SYN } from './nat-switch.js';
import { ALL_FEATURES, type TestDocument, TestSwitch, type TestSwitchOptions, vm } from './test-switch.js';
import { traced } from './traced.js';

/** Machines a (red, behind router ra) and s (blue, behind router rs); o is outside, in ext, with both routers. */
const MACS = { a: '52:54:00:00:00:0a', s: '52:54:00:00:00:0b', o: '52:54:00:00:00:0d' };
type Station = keyof typeof MACS;
const ADDRESSES = { a: '192.0.2.5', s: '198.51.100.5', o: '203.0.113.1' };
const GATEWAYS = { a: '192.0.2.1', s: '198.51.100.1', o: '203.0.113.10' };
const OUTSIDE_A = '203.0.113.10';
const OUTSIDE_S = '203.0.113.20';
const FLOATING = '203.0.113.30';

const networks = { red: { type: 'local' }, blue: { type: 'local' }, ext: { type: 'local' } } as const;
const ports = { a: vm({ network: 'red' }), s: vm({ network: 'blue' }), o: vm({ network: 'ext' }) };
const router = (inside: object, address: string, more: object = {}) => ({
  interfaces: inside,
  external: { network: 'ext', addresses: [`${address}/24`] },
  routes: [{ to: '0.0.0.0/0', via: ADDRESSES.o }],
  ...more,
});

const tenants = (more: Partial<TestDocument> = {}): TestDocument => ({
  networks,
  ports,
  routers: {
    ra: router({ red: '192.0.2.1/24' }, OUTSIDE_A),
    rs: router({ blue: '198.51.100.1/24' }, OUTSIDE_S, {
      floating: { [FLOATING]: ADDRESSES.s },
      forwards: [{ proto: 'tcp', port: 8080, to: `${ADDRESSES.s}:80` }],
    }),
  },
  ...more,
});

class Tenants extends TestSwitch {
  constructor(document = tenants(), options: TestSwitchOptions = {}, names?: readonly Station[]) {
    super(document, { connectionEntries: 4096, ...options });
    this.introduce(names);
  }

  introduce(names: readonly Station[] = ['a', 's', 'o']): void {
    for (const name of names) {
      const addresses = { sender: ADDRESSES[name], target: GATEWAYS[name] };
      this.run({
        port: name,
        octets: arpFrame({ from: MACS[name], to: this.gateway(name), operation: 2, ...addresses }),
      });
    }
  }

  gateway(name: Station): string {
    return macText(name === 'o' ? virtualMac('ext', `ra ${OUTSIDE_A}`) : virtualMac(name === 'a' ? 'red' : 'blue'));
  }

  frame(name: Station, flow: Flow): Uint8Array {
    const protocol = { tcp: 6, udp: 17, icmp: 1 }[flow.proto];
    const fields = { source: ip(flow.src), destination: ip(flow.dst), protocol, ttl: flow.ttl ?? 64 };
    const link = { destination: mac(this.gateway(name)), source: mac(MACS[name]), tags: [] };
    return buildEthernet(link, 0x0800, buildIp(fields, payloadOf(flow)));
  }

  /** Sends one packet; returns what left, each with sound checksums. */
  say(name: Station, flow: Flow): Heard[] {
    const sent = this.run({ port: name, octets: this.frame(name, flow) });
    for (const one of sent) expectSound(one);
    return sent.map(heardOf);
  }
}

const toFloating = (more: Partial<Flow> = {}): Flow => ({
  ...{ proto: 'tcp', src: ADDRESSES.a, dst: FLOATING, sport: 4000, dport: 80, size: 0 },
  ...more,
});
const back = ({ src, dst, sport, dport }: Heard, more: Partial<Flow> = {}): Flow => ({
  ...{ proto: 'tcp', src: dst, dst: src, sport: dport, dport: sport, size: 0, ...more },
});
const ttlOf = ({ sent }: Heard) => sent.octets[22];
const link = ({ sent }: Heard) => [macText(sent.octets, 0), macText(sent.octets, 6)];

let tested: Tenants;
beforeEach(() => {
  tested = new Tenants();
});

describe("two tenants' routers in one network outside", () => {
  test('one machine reaches the floating address of another: a TCP connection, each side with the addresses it may see', () => {
    const [syn, ...others] = tested.say('a', toFloating());
    expect(others).toEqual([]);
    expect(syn).toMatchObject({ port: 's', src: OUTSIDE_A, dst: ADDRESSES.s, dport: 80 });
    expect(link(syn!)).toEqual([MACS.s, tested.gateway('s')]);
    expect(ttlOf(syn!)).toBe(62);
    const [answer] = tested.say('s', back(syn!, { flags: SYN | ACK, seq: 900, ack: 2 }));
    expect(answer).toMatchObject({ port: 'a', src: FLOATING, dst: ADDRESSES.a, sport: 80, dport: 4000 });
    expect(link(answer!)).toEqual([MACS.a, tested.gateway('a')]);
    expect(ttlOf(answer!)).toBe(62);
    const [ack] = tested.say('a', toFloating({ flags: ACK, seq: 2, ack: 901, size: 100 }));
    expect(ack).toMatchObject({ port: 's', src: OUTSIDE_A, dst: ADDRESSES.s });
    expect(tested.drops()).toEqual({});
  });

  test('also through a forward of the other router, and the other way round', () => {
    const [syn] = tested.say('a', toFloating({ dst: OUTSIDE_S, dport: 8080 }));
    expect(syn).toMatchObject({ port: 's', src: OUTSIDE_A, dst: ADDRESSES.s, dport: 80 });
    const [answer] = tested.say('s', back(syn!, { flags: SYN | ACK, seq: 900, ack: 2 }));
    expect(answer).toMatchObject({ port: 'a', src: OUTSIDE_S, sport: 8080, dport: 4000 });
    const flow = { src: ADDRESSES.s, dst: OUTSIDE_A, proto: 'udp', sport: 7, dport: 9999, size: 8 } as const;
    const [error] = tested.say('s', flow);
    expect(error).toMatchObject({ port: 's', src: OUTSIDE_A, dst: ADDRESSES.s, protocol: 1 });
  });

  test('where connections are tracked and groups judge them', () => {
    const groups = {
      out: { rules: [{ direction: 'egress' }] },
      web: { rules: [{ direction: 'ingress', proto: 'tcp', port: 80, remote: `${OUTSIDE_A}/32` }] },
    };
    const judged = {
      a: vm({ network: 'red', groups: ['out'] } as never),
      s: vm({ network: 'blue', groups: ['web'] } as never),
      o: ports.o,
    };
    tested = new Tenants({ ...tenants({ ports: judged }), groups } as never);
    const [syn] = tested.say('a', toFloating());
    expect(syn).toMatchObject({ port: 's', src: OUTSIDE_A });
    expect(tested.say('s', back(syn!, { flags: SYN | ACK, seq: 900, ack: 2 }))).toMatchObject([{ port: 'a' }]);
    expect(tested.say('a', toFloating({ sport: 4001, dport: 81 }))).toEqual([]);
    expect(tested.copiesDropped('s', 'group_deny')).toBe(1);
    const pinged = tested.say('a', toFloating({ proto: 'icmp', dst: OUTSIDE_S, sport: 77, dport: 77, size: 8 }));
    expect(pinged).toMatchObject([{ port: 'a', src: OUTSIDE_S, dst: ADDRESSES.a, sport: 77 }]);
  });

  test('a ping of the other router is answered, to who asked', () => {
    const pinged = tested.say('a', toFloating({ proto: 'icmp', dst: OUTSIDE_S, sport: 77, dport: 77, size: 8 }));
    expect(pinged).toMatchObject([{ port: 'a', src: OUTSIDE_S, dst: ADDRESSES.a, sport: 77, protocol: 1 }]);
    expect(pinged[0]!.sent.octets[34]).toBe(0);
    expect(pinged[0]!.sent.isGenerated).toBe(true);
  });

  test('errors of the other router reach who asked, with what he had sent', () => {
    const closed = toFloating({ proto: 'udp', dst: OUTSIDE_S, dport: 9 });
    const late = toFloating({ proto: 'udp', ttl: 2 });
    const cases: [Flow, string, number, number][] = [
      [closed, OUTSIDE_S, 3, 3],
      [late, OUTSIDE_S, 11, 0],
      [toFloating({ proto: 'udp', ttl: 1 }), GATEWAYS.a, 11, 0],
    ];
    for (const [flow, from, type, code] of cases) {
      const [error, ...others] = tested.say('a', flow);
      expect(others).toEqual([]);
      expect(error).toMatchObject({ port: 'a', src: from, dst: ADDRESSES.a, protocol: 1 });
      const { octets } = error!.sent;
      expect([octets[34], octets[35]]).toEqual([type, code]);
      expect([ipText(octets.slice(54, 58)), ipText(octets.slice(58, 62))]).toEqual([ADDRESSES.a, flow.dst]);
      expect([read16(octets, 62), read16(octets, 64)]).toEqual([flow.sport, flow.dport]);
    }
    expect(tested.drops()).toEqual({ 'a no_service': 1, 'a ttl_exceeded': 2 });
  });

  test('what is too long behind the other router is told to who sent it', () => {
    tested = new Tenants(tenants({ networks: { ...networks, blue: { type: 'local', mtu: 1280 } } }));
    const octets = tested.frame('a', toFloating({ proto: 'udp', size: 1400 }));
    octets[20] = 0x40;
    write16(octets, 24, ipv4HeaderChecksum(octets, 14, 20));
    const [error] = tested.run({ port: 'a', octets });
    expectSound(error!);
    expect(heardOf(error!)).toMatchObject({ port: 'a', src: OUTSIDE_S, dst: ADDRESSES.a });
    expect([error!.octets[34], error!.octets[35], read16(error!.octets, 40)]).toEqual([3, 4, 1280]);
    expect(tested.drops()).toEqual({ 'a mtu_exceeded': 1 });
  });

  test('what another station says of such an address is not heeded', () => {
    const claim = { from: MACS.o, to: tested.gateway('o'), operation: 2, sender: FLOATING, target: OUTSIDE_A };
    tested.run({ port: 'o', octets: arpFrame(claim) });
    expect(tested.say('a', toFloating())).toMatchObject([{ port: 's' }]);
  });

  test('a packet waits for the machine behind the other router, and comes to it when it is found', () => {
    const unknown = new TestSwitch(tenants(), { connectionEntries: 4096 });
    const asked = unknown.run({ port: 'a', octets: tested.frame('a', toFloating()) });
    expect(asked.map(({ port, octets }) => [port, read16(octets, 12)])).toEqual([['s', 0x0806]]);
    expect(unknown.machine.pending.packets).toBe(1);
    unknown.now += 10;
    const answer = { sender: ADDRESSES.s, target: GATEWAYS.s };
    const sent = unknown.run({
      port: 's',
      octets: arpFrame({ from: MACS.s, to: tested.gateway('s'), operation: 2, ...answer }),
    });
    expect(sent.map(heardOf)).toMatchObject([{ port: 's', src: OUTSIDE_A, dst: ADDRESSES.s, dport: 80 }]);
    expectSound(sent[0]!);
    expect(unknown.drops()).toEqual({});
  });

  test('a packet that waits behind a router that goes ends', () => {
    const waiting = new TestSwitch(tenants(), { connectionEntries: 4096 });
    waiting.run({ port: 'a', octets: tested.frame('a', toFloating()) });
    waiting.configure(tenants({ routers: { ra: router({ red: '192.0.2.1/24' }, OUTSIDE_A) } }));
    waiting.now += 10;
    expect(waiting.run()).toEqual([]);
    expect(waiting.machine.pending.packets).toBe(0);
    expect(waiting.drops()).toEqual({ 'a neighbor_unresolved': 1 });
  });

  test('a super-frame crosses as one', () => {
    tested = new Tenants(tenants(), { devices: { a: { features: ALL_FEATURES }, s: { features: ALL_FEATURES } } });
    const [syn] = tested.say('a', toFloating());
    tested.say('s', back(syn!, { flags: SYN | ACK, seq: 900, ack: 2 }));
    const octets = tested.frame('a', toFloating({ flags: ACK, seq: 2, ack: 901, size: 6000 }));
    write16(octets, 50, pseudoHeaderSum4(octets, 14, 6, octets.length - 34));
    const vnet = {
      flags: VNET_NEEDS_CHECKSUM,
      gsoType: GSO_TCP4,
      headerLength: 54,
      gsoSize: 1400,
      start: 34,
      offset: 16,
    };
    const sent = tested.run({ port: 'a', octets, vnet });
    expect(sent).toMatchObject([{ port: 's', gsoSize: 1400, checksumStart: 34 }]);
    expectSound(sent[0]!);
    expect(heardOf(sent[0]!)).toMatchObject({ src: OUTSIDE_A, dst: ADDRESSES.s });
    expect(sent[0]!.octets).toHaveLength(octets.length);
  });

  test('the fragments of a datagram cross, the later ones first', () => {
    const link = { from: MACS.a, to: tested.gateway('a') };
    const whole = { ...link, source: ADDRESSES.a, destination: FLOATING, ports: [4000, 53] } as const;
    const fragments = [
      fragmentFrame({ ...whole, start: 0, size: 48, isLast: false }),
      fragmentFrame({ ...whole, start: 48, size: 24, isLast: true }),
    ];
    for (const octets of fragments) write16(octets, 24, ipv4HeaderChecksum(octets, 14, 20));
    const sent = fragments.reverse().flatMap((octets) => tested.run({ port: 'a', octets }));
    expect(sent.map((one) => [one.port, heardOf(one).src, heardOf(one).dst])).toEqual([
      ['s', OUTSIDE_A, ADDRESSES.s],
      ['s', OUTSIDE_A, ADDRESSES.s],
    ]);
  });

  test('a whole batch crosses', () => {
    for (let index = 0; index < 200; index++)
      tested.receive({ port: 'a', octets: tested.frame('a', toFloating({ proto: 'udp', sport: 5000 + index })) });
    tested.runBatch();
    expect(tested.sent.splice(0).map(({ port }) => port)).toEqual(new Array(200).fill('s'));
    tested.expectConservation();
  });

  test('trace shows both routers', () => {
    const outcome = traced(tested, 'a', tested.frame('a', toFloating()));
    expect(outcome.verdict).toBe('forward');
    const [first, second, ...others] = outcome.stages.filter(({ stage }) => stage === 'route');
    expect(others).toEqual([]);
    expect(first).toMatchObject({ decision: 'continue', text: expect.stringContaining("another router's") });
    expect(first!.changes).toContain(`source address ${ADDRESSES.a} -> ${OUTSIDE_A}`);
    expect(second!.changes).toEqual(
      expect.arrayContaining([`destination address ${FLOATING} -> ${ADDRESSES.s}`, 'TTL 63 -> 62']),
    );
    expect(outcome.outputs).toMatchObject([{ port: tested.index('s') }]);
  });
});

describe('two routers whose routes lead to each other', () => {
  const transit = (toBlue: string, toRed: string): TestDocument => ({
    networks,
    ports,
    routers: {
      ra: {
        interfaces: { red: ['192.0.2.1/24', '2001:db8:a::1/64'], ext: ['203.0.113.10/24', '2001:db8:e::a/64'] },
        routes: [
          { to: toBlue, via: OUTSIDE_S },
          { to: '2001:db8:b::/64', via: '2001:db8:e::b' },
        ],
      },
      rs: {
        interfaces: { blue: ['198.51.100.1/24', '2001:db8:b::1/64'], ext: ['203.0.113.20/24', '2001:db8:e::b/64'] },
        routes: [
          { to: toRed, via: OUTSIDE_A },
          { to: '2001:db8:a::/64', via: '2001:db8:e::a' },
        ],
      },
    },
  });
  const plain = (more: Partial<Flow> = {}) => toFloating({ dst: ADDRESSES.s, proto: 'udp', ...more });

  beforeEach(() => {
    tested = new Tenants(transit('198.51.100.0/24', '192.0.2.0/24'), {}, ['a', 's']);
  });

  test('carry packets and answers, and each takes one from the TTL', () => {
    const [there] = tested.say('a', plain());
    expect(there).toMatchObject({ port: 's', src: ADDRESSES.a, dst: ADDRESSES.s });
    expect(ttlOf(there!)).toBe(62);
    expect(tested.say('s', back(there!, { proto: 'udp' }))).toMatchObject([{ port: 'a', src: ADDRESSES.s }]);
  });

  test('answer for both of their addresses, and say where a packet ended', () => {
    const ping = plain({ proto: 'icmp', dst: GATEWAYS.s, sport: 77, dport: 77, size: 8 });
    expect(tested.say('a', ping)).toMatchObject([{ port: 'a', src: GATEWAYS.s, dst: ADDRESSES.a }]);
    expect(tested.say('a', plain({ ttl: 2 }))).toMatchObject([{ port: 'a', src: OUTSIDE_S, protocol: 1 }]);
    expect(tested.say('a', plain({ ttl: 3 }))).toMatchObject([{ port: 's', protocol: 17 }]);
  });

  test('say so of a station that is not there', () => {
    tested.say('a', plain({ dst: '198.51.100.77' }));
    const heard = [];
    for (let second = 0; second < 5; second++) {
      tested.now += 1001;
      heard.push(...tested.run().filter(({ octets }) => read16(octets, 12) === 0x0800));
    }
    expect(heard.map(heardOf)).toMatchObject([{ port: 'a', src: OUTSIDE_S, dst: ADDRESSES.a, protocol: 1 }]);
    expect(heard[0]!.octets.slice(34, 36)).toEqual(Uint8Array.from([3, 1]));
    expect(tested.drops()).toEqual({ 'a neighbor_unresolved': 1 });
  });

  test('carry IPv6, too', () => {
    const fields = { source: ip('2001:db8:a::5'), destination: ip('2001:db8:b::1'), protocol: 17, ttl: 64 };
    const ends = { destination: mac(tested.gateway('a')), source: mac(MACS.a), tags: [] };
    const octets = buildEthernet(ends, 0x86dd, buildIp(fields, buildUdp(9, 9, 8)));
    tested.run({ port: 'a', octets });
    // Nobody listens there: the error waits for the machine, which is asked for.
    expect(tested.drops()).toEqual({ 'a no_service': 1 });
    expect(tested.machine.pending.packets).toBe(1);
  });

  test('end a packet that goes round between them: by its TTL, or when it has been to too many', () => {
    tested = new Tenants(transit('0.0.0.0/0', '0.0.0.0/0'), {}, ['a', 's']);
    const lost = plain({ dst: '198.18.0.1', ttl: 64 });
    expect(tested.say('a', lost)).toEqual([]);
    expect(tested.drops()).toEqual({ 'a routing_loop': 1 });
    const old = tested.say('a', { ...lost, ttl: 4 });
    expect(old).toMatchObject([{ port: 'a', dst: ADDRESSES.a, protocol: 1 }]);
    expect(tested.drops()).toEqual({ 'a routing_loop': 1, 'a ttl_exceeded': 1 });
    expect(tested.say('a', { ...lost, ttl: ROUTERS_PER_PACKET_MAX + 1 })).toEqual([]);
  });
});
