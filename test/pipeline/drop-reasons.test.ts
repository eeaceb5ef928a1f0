/** Every reason of the table can happen, is counted where it belongs, and keeps a sample of the frame that died. */

import { describe, expect, test } from 'vitest';
import { virtualMac } from '../../src/control/virtual-mac.js';
import { type DropReason, dropReasonNumber, dropReasons } from '../../src/dataplane/drop-reason.js';
import { allocateFrameRing } from '../../src/dataplane/frame-ring.js';
import { FRAME_SIZE_MAX, NEIGHBOR_QUESTIONS_MAX, PUNT_RING_SIZE } from '../../src/limits.js';
import { PUNT_BFD, PuntRing } from '../../src/pipeline/punt-ring.js';
import { POLICY_FRAGMENTS, PORT_GUARDED } from '../../src/pipeline/snapshot.js';
import { ipv4HeaderChecksum } from '../../src/wire/checksum.js';
import { solicitation as routerSolicitation } from '../wire/address-frames.js';
import { bfdFrame } from '../wire/bfd-frames.js';
import { fragmentFrame } from '../wire/fragment-frames.js';
import { connect, GroupSwitch } from './group-switch.js';
import { arp, dhcpClient, FOREIGN_MAC, FOREIGN4, guardedSwitch, icmp4, solicitation, udp4 } from './guard-frames.js';
import { NatSwitch } from './nat-switch.js';
import {
  arriving,
  fromX,
  local,
  oneOfEachKind,
  overlayForms,
  overlaySwitch,
  teach,
  toX,
  vxlanForm,
  wrap,
  X,
} from './overlay.js';
import {
  A,
  addressWords,
  B,
  BROADCAST,
  C,
  frame,
  NO_FEATURES,
  type Received,
  TestSwitch,
  tag,
  vm,
} from './test-switch.js';
import { outerFrame } from './underlay-path.js';

const OUTWARD = { proto: 'udp', src: '192.0.2.5', dst: '198.51.100.200', sport: 4000, dport: 80 } as const;
const red = { red: { type: 'vlan', id: 10 } } as const;
const pair = (options = {}) =>
  new TestSwitch({ networks: red, ports: { a: vm({ network: 'red' }), b: vm({ network: 'red' }) } }, options);

/** Runs what is dropped for the reason; returns the switch and the ports by whose name the frame and its copy are counted. */
type Provocation = () => { tested: TestSwitch; port: string; copy?: string };

function dropOf(octets: Uint8Array, tested = pair()): ReturnType<Provocation> {
  tested.run({ port: 'a', octets });
  return { tested, port: 'a' };
}

/** A pair whose first port has an ACL. */
function withAcl(byDefault: 'permit' | 'deny', rules: readonly Readonly<Record<string, unknown>>[]): TestSwitch {
  const ports = { a: vm({ network: 'red', acl: { ingress: 'a1' } }), b: vm({ network: 'red' }) };
  return new TestSwitch({ networks: red, ports, acls: { a1: { default: byDefault, rules } } });
}

/** One datagram from a remote, different in what is said. */
function datagram(different: Partial<Received>, form = vxlanForm): ReturnType<Provocation> {
  const tested = overlaySwitch(form);
  tested.run({ ...arriving(form, 1, fromX()), ...different });
  return { tested, port: form.port };
}

/** Runs what a guarded port may not send. */
const fromGuarded = (octets: Uint8Array) => dropOf(octets, guardedSwitch());

/** A packet from a guarded port, its octets from the IP header on. */
function malformed(type: number, packet: readonly number[]): ReturnType<Provocation> {
  const octets = frame({ type, size: 46 });
  octets.set(packet, 14);
  return fromGuarded(octets);
}

/** An IPv4 packet of 28 octets with this protocol, 192.0.2.1 to 192.0.2.2, and the first octets of its payload. */
const ipv4 = (protocol: number, payload: readonly number[]) =>
  malformed(0x0800, [0x45, 0, 0, 28, 0, 0, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, ...payload]);

/** Fragments of one datagram from a port whose fragments are followed, each in a batch of its own. */
function fragmented(settings: object, ...places: (readonly [start: number, size: number])[]): ReturnType<Provocation> {
  const ports = { a: vm({ network: 'red' }), b: vm({ network: 'red' }) };
  const tested = new TestSwitch({ networks: red, ports, settings: { fragments: settings } });
  (tested.snapshot as { policies: number }).policies = 1;
  tested.snapshot.portPolicy.fill(POLICY_FRAGMENTS);
  for (const [start, size] of places) tested.run({ port: 'a', octets: fragmentFrame({ start, size }) });
  return { tested, port: 'a' };
}

/** Everybody may reach b by this rule. */
const openTo = (rule: object) => ({
  groups: { web: { rules: [{ direction: 'ingress', ...rule }] } },
  ports: { a: {}, b: { groups: ['web'] } },
});
/** A frame from a to the router of a's network, changed or not. */
function toRouter(change: (packet: Uint8Array) => void = () => {}, type = 0x0800): ReturnType<Provocation> {
  const ports = { a: vm({ network: 'red' }), b: vm({ network: 'blue' }) };
  const tested = new TestSwitch({
    networks: { red: { type: 'local' }, blue: { type: 'local' } },
    ports,
    routers: {
      r: {
        interfaces: { red: '192.0.2.1/24', blue: '198.51.100.1/24' },
        routes: [
          { to: '203.0.113.128/25', via: 'blackhole' },
          { to: '203.0.113.64/26', via: '198.51.100.2' },
        ],
      },
      s: { interfaces: { blue: '198.51.100.2/24' }, routes: [{ to: '203.0.113.64/26', via: '198.51.100.1' }] },
    },
  });
  const header = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 47, 0, 0, 192, 0, 2, 5, 198, 51, 100, 6, 0, 0, 0, 0, 0, 0, 0, 0];
  const packet = Uint8Array.from(header);
  change(packet);
  new DataView(packet.buffer).setUint16(10, ipv4HeaderChecksum(packet, 0, (packet[0]! & 15) * 4));
  const octets = frame({ type });
  octets.set(virtualMac('red'), 0);
  octets.set(packet, 14);
  tested.run({ port: 'a', octets });
  return { tested, port: 'a' };
}

const provocations: Record<Exclude<DropReason, 'none'>, Provocation> = {
  runt: () => dropOf(frame().slice(0, 13)),
  bad_vnet_header: () => {
    const tested = pair();
    const vnet = { flags: 1, gsoType: 0, headerLength: 0, gsoSize: 0, start: 14, offset: 16 };
    tested.run({ port: 'a', octets: frame(), vnet });
    return { tested, port: 'a' };
  },
  too_long: () => dropOf(frame({ size: FRAME_SIZE_MAX - 14 })),
  vlan_not_allowed: () => dropOf(frame({ tags: [tag(10)] })),
  bad_vlan_tag: () => dropOf(frame({ tags: [tag(4095)] })),
  group_source: () => dropOf(frame({ from: '030000000001' })),
  zero_source: () => dropOf(frame({ from: '000000000000' })),
  reserved_group: () => dropOf(frame({ to: '0180c200000f' })),
  control_frame: () => dropOf(frame({ to: '0180c2000000', type: 38 })),
  martian: () => toRouter((packet) => packet.set([127, 0, 0, 1], 12)),
  source_route: () =>
    toRouter((packet) => {
      packet[0] = 0x46;
      packet.set([131, 4, 4, 0], 20);
    }),
  not_routed: () => toRouter(undefined, 0x88b5),
  no_route: () => toRouter((packet) => packet.set([203, 0, 113, 1], 16)),
  blackhole: () => toRouter((packet) => packet.set([203, 0, 113, 129], 16)),
  ttl_exceeded: () => toRouter((packet) => packet.fill(1, 8, 9)),
  routing_loop: () => toRouter((packet) => packet.set([203, 0, 113, 65], 16)),
  neighbor_unresolved: () => {
    const { tested } = toRouter();
    for (let second = 0; second < NEIGHBOR_QUESTIONS_MAX; second++) {
      tested.now += 1000;
      tested.run();
    }
    return { tested, port: 'a' };
  },
  no_service: () => toRouter((packet) => packet.set([192, 0, 2, 1], 16)),
  hairpin: () => {
    const tested = pair();
    tested.run({ port: 'a', octets: frame({ from: B, to: BROADCAST }) }, { port: 'a', octets: frame({ to: B }) });
    return { tested, port: 'a' };
  },
  isolated: () => {
    const isolated = vm({ network: 'red', isolated: true });
    const tested = new TestSwitch({ networks: red, ports: { a: isolated, b: isolated } });
    return { ...dropOf(frame({ to: BROADCAST }), tested), copy: 'b' };
  },
  storm: () => {
    const storm = { broadcast: '10pps' };
    const tested = new TestSwitch({
      networks: red,
      ports: { a: vm({ network: 'red', storm }), b: vm({ network: 'red' }) },
    });
    tested.run({ port: 'a', octets: frame({ to: BROADCAST }) });
    return dropOf(frame({ to: BROADCAST }), tested);
  },
  mac_limit: () => {
    const tested = new TestSwitch({
      networks: red,
      ports: { a: vm({ network: 'red', macLimit: 1 }), b: vm({ network: 'red' }) },
    });
    tested.snapshot.portFlags[tested.index('a')] |= PORT_GUARDED;
    tested.run({ port: 'a', octets: frame() });
    return dropOf(frame({ from: '525400000099' }), tested);
  },
  loop: () => {
    const tested = pair();
    for (let move = 0; move < 22; move++) {
      tested.run({ port: move % 2 === 0 ? 'b' : 'a', octets: frame() });
    }
    return dropOf(frame(), tested);
  },
  no_port: () => dropOf(frame(), new TestSwitch({ networks: red, ports: { a: vm({ network: 'red' }) } })),
  port_down: () => {
    const tested = pair();
    tested.detach('b');
    return { ...dropOf(frame(), tested), copy: 'b' };
  },
  mtu_exceeded: () => ({ ...dropOf(frame({ size: 1501 })), copy: 'b' }),
  tx_full: () => {
    const tested = pair();
    tested.queue('b').room = 0;
    return { ...dropOf(frame(), tested), copy: 'b' };
  },
  tunnel_unknown_source: () => datagram({ from: '203.0.113.9' }),
  tunnel_unknown_id: () => datagram({ octets: wrap(vxlanForm, fromX(), { id: 1 }) }),
  tunnel_bad_header: () => datagram({ octets: wrap(vxlanForm, fromX()).fill(0, 0, 1) }),
  tunnel_option: () => {
    const geneve = oneOfEachKind[1];
    const plain = wrap(geneve, fromX());
    const octets = Uint8Array.of(1, ...plain.slice(1, 8), 1, 2, 0x80, 0, ...plain.slice(8));
    return datagram({ octets }, geneve);
  },
  tunnel_checksum: () => {
    const summed = overlayForms.find(({ type, options }) => type === 'gre' && 'checksum' in options) ?? vxlanForm;
    return datagram({ octets: wrap(summed, fromX()).fill(0x77, 40) }, summed);
  },
  tunnel_ecn: () => {
    const ipv4 = frame({ from: X, type: 0x0800, size: 20 });
    ipv4.set([0x45, 0, 0, 20], 14);
    return datagram({ octets: wrap(vxlanForm, ipv4), trafficClass: 3 });
  },
  tunnel_inner_vlan: () => datagram({ octets: wrap(vxlanForm, frame({ from: X, tags: [tag(1)] })) }),
  tunnel_nested: () => {
    const own = [...addressWords(local(vxlanForm))];
    return datagram({ octets: wrap(vxlanForm, outerFrame(vxlanForm, wrap(vxlanForm, fromX()), own, B + X)) });
  },
  tunnel_down: () => {
    const tested = overlaySwitch(vxlanForm);
    teach(tested, vxlanForm, 1);
    tested.detach(vxlanForm.port);
    tested.run({ port: 'a', octets: toX() });
    return { tested, port: 'a', copy: vxlanForm.port };
  },
  fragment_timeout: () => {
    const provoked = fragmented({ timeout: '2s' }, [8, 8]);
    provoked.tested.now += 3000;
    provoked.tested.run();
    return provoked;
  },
  fragment_overlap: () => fragmented({}, [0, 16], [8, 16]),
  fragment_limit: () => fragmented({}, ...Array.from({ length: 65 }, (_, index) => [index * 8, 8] as const)),
  rate_limited: () => {
    const tested = new TestSwitch({
      networks: red,
      ports: { a: vm({ network: 'red' }), b: vm({ network: 'red' }) },
      subnets: { red6: { network: 'red', cidr: '2001:db8::/64', gateway: '2001:db8::1', ra: { mode: 'slaac' } } },
      settings: { limits: { dhcp: '1pps' } },
    });
    const octets = routerSolicitation('52:54:00:00:00:0a');
    tested.run({ port: 'a', octets }, { port: 'a', octets });
    return { tested, port: 'a' };
  },
  acl_deny: () => dropOf(frame(), withAcl('permit', [{ action: 'deny', ethertype: 0x88b5 }])),
  acl_default: () => dropOf(frame(), withAcl('deny', [{ action: 'permit', ethertype: 0x88b6 }])),
  punt_limit: () => {
    const full = new PuntRing(allocateFrameRing(PUNT_RING_SIZE));
    while (full.put(new Uint8Array(512), 0, 512, PUNT_BFD, 0, 1));
    const tested = overlaySwitch(vxlanForm, { underlay: { bfd: { inside: true } }, test: { punt: full } });
    tested.run(arriving(vxlanForm, 1, bfdFrame({ packet: new Array<number>(400).fill(0) })));
    return { tested, port: vxlanForm.port };
  },
  spoof_mac: () => fromGuarded(frame({ from: C })),
  spoof_ip: () => fromGuarded(udp4({ source: FOREIGN4 })),
  spoof_arp: () => fromGuarded(arp({ sender: FOREIGN4 })),
  spoof_nd: () => fromGuarded(solicitation({ mac: FOREIGN_MAC })),
  spoof_dhcp: () => fromGuarded(dhcpClient({ client: FOREIGN_MAC })),
  ethertype_not_allowed: () => fromGuarded(frame({ type: 0x9000 })),
  llc_snap: () => fromGuarded(frame({ type: 46 })),
  dhcp_server: () => fromGuarded(udp4({ ports: [67, 68] })),
  router_advertisement: () => fromGuarded(icmp4(5)),
  not_parsed: () => malformed(0x0806, [0, 1, 8, 0, 6, 16]),
  bad_ip_header: () => malformed(0x0800, [0x44]),
  bad_tcp_header: () => ipv4(6, []),
  bad_udp_header: () => ipv4(17, [0, 1, 0, 2, 0, 7]),
  bad_icmp: () => ipv4(58, []),
  group_deny: () => {
    const tested = new GroupSwitch(openTo({ proto: 'tcp', port: 80 }));
    tested.send('tcp a:1024 > b:81');
    return { tested, port: 'a', copy: 'b' };
  },
  conntrack_invalid: () => {
    const tested = new GroupSwitch(openTo({}));
    tested.send('tcp a:1024 > b:80 flags A ack 1');
    return { tested, port: 'a', copy: 'b' };
  },
  conntrack_full: () => {
    const tested = new GroupSwitch(openTo({}), { connectionEntries: 1 });
    connect(tested, 'a:1024', 'b:80');
    tested.send('tcp a:1025 > b:80');
    return { tested, port: 'a', copy: 'b' };
  },
  conntrack_port_limit: () => {
    const tested = new GroupSwitch(openTo({}));
    tested.machine.snapshot = { ...tested.snapshot, connectionsPerPort: 1 };
    connect(tested, 'a:1024', 'b:80');
    tested.send('tcp a:1025 > b:80');
    return { tested, port: 'a', copy: 'b' };
  },
  bad_checksum: () => {
    const tested = new NatSwitch();
    tested.say('a', OUTWARD);
    const octets = tested.error(OUTWARD);
    octets[octets.length - 1]! ^= 1;
    tested.run({ port: 'o', octets });
    return { tested, port: 'o' };
  },
  nat_exhausted: () => {
    const tested = new NatSwitch({ external: { pool: '5000' } });
    tested.say('a', OUTWARD);
    tested.say('a', { ...OUTWARD, sport: 4001 });
    return { tested, port: 'a' };
  },
  nat_limit: () => {
    const tested = new NatSwitch({ external: { perVm: 1 } });
    tested.say('a', OUTWARD);
    tested.say('a', { ...OUTWARD, sport: 4001 });
    return { tested, port: 'a' };
  },
  nat_filtered: () => {
    const tested = new NatSwitch();
    tested.say('o', { ...OUTWARD, src: '198.51.100.200', dst: '192.0.2.5' });
    return { tested, port: 'o' };
  },
  nat_protocol: () => {
    const tested = new NatSwitch();
    const solicitation = Uint8Array.of(10, 0, 0xf5, 0xff, 0, 0, 0, 0);
    tested.run({ port: 'a', octets: tested.ipFrame('a', '192.0.2.5', '198.51.100.200', 1, solicitation) });
    return { tested, port: 'a' };
  },
  no_slot: () => {
    const trunk = vm({ trunk: ['red'] });
    const tested = new TestSwitch({ networks: red, ports: { a: vm({ network: 'red' }), b: trunk } }, { slots: 1 });
    return { ...dropOf(frame({ to: BROADCAST }), tested), copy: 'b' };
  },
};

test('every reason of the table is provoked by a test', () => {
  expect(Object.keys(provocations).sort()).toEqual(dropReasons.filter((reason) => reason !== 'none').sort());
});

describe.each(Object.entries(provocations) as [DropReason, Provocation][])('%s', (reason, provoke) => {
  test('is counted once for the frame on its ingress port, and once for each copy on its egress port', () => {
    const { tested, port, copy } = provoke();
    expect(tested.dropped(port, reason)).toBe(1);
    for (const each of [...tested.queues.keys(), ...tested.underlays.keys()])
      expect(tested.copiesDropped(each, reason)).toBe(each === copy ? 1 : 0);
  });

  test('keeps the head of the frame that died of it', () => {
    const { tested, port } = provoke();
    const found = tested.machine.samples
      .list()
      .find(
        (sample) => sample.reason === dropReasonNumber[reason] && sample.port === tested.index(port) && sample.of === 0,
      );
    expect(found).toBeDefined();
    expect(Buffer.from(found?.octets ?? []).toString('hex').length).toBeGreaterThan(0);
    expect(found?.atMs).toBe(tested.now);
  });
});

test('a frame of the longest size that is not cut off is not dropped for its length', () => {
  const tested = pair({ devices: { b: { mtu: 65_521, features: NO_FEATURES } } });
  tested.run({ port: 'a', octets: frame({ size: 65_521, to: B, from: A }) });
  expect(tested.drops()).toEqual({});
});
