/**
 * Who floods the switch with questions loses his own answers and nobody else's: every kind of question in floods from one port,
 * and every kind asked once from another, at the same time.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { virtualMac } from '../../src/control/virtual-mac.js';
import { ECHO_REPLIES_PER_SECOND, STORM_BURST_MS } from '../../src/limits.js';
import { PUNT_ADDRESS_SERVICE, type PuntedFrame } from '../../src/pipeline/punt-ring.js';
import { macText } from '../../src/wire/address.js';
import { writeDhcp6 } from '../../src/wire/dhcp6-message.js';
import { buildEthernet, buildIcmp, buildIp, buildUdp } from '../../src/wire/frame-build.js';
import { dhcp6Frame, dhcpFrame, dhcpMessage, solicitation } from '../wire/address-frames.js';
import { arpFrame, ip, mac, ndFrame } from '../wire/neighbor-frames.js';
import { recordPunts } from './recorded-punts.js';
import { type TestDocument, TestSwitch, vm } from './test-switch.js';

const ROUTER = virtualMac('red');
const FLOOD = 300;

interface Machine {
  readonly port: string;
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
}
const flooder: Machine = { port: 'a', mac: '52:54:00:00:00:0a', ipv4: '192.0.2.10', ipv6: '2001:db8::a' };
const other: Machine = { port: 'b', mac: '52:54:00:00:00:0b', ipv4: '192.0.2.11', ipv6: '2001:db8::b' };

function packet(from: Machine, destination: string, protocol: number, payload: Uint8Array, ttl = 64): Uint8Array {
  const source = destination.includes(':') ? from.ipv6 : from.ipv4;
  const fields = { source: ip(source), destination: ip(destination), protocol, ttl };
  const link = { destination: ROUTER, source: mac(from.mac), tags: [] };
  return buildEthernet(link, destination.includes(':') ? 0x86dd : 0x0800, buildIp(fields, payload));
}

const echo = (type: number) => buildIcmp({ type, code: 0, id: 1, sequence: 1 }, 8);

/** One question of each kind, with how many a second a port is answered. */
const questions: Readonly<Record<string, readonly [rate: number, ask: (from: Machine) => Uint8Array]>> = {
  ARP: [1000, ({ mac: from, ipv4 }) => arpFrame({ from, sender: ipv4, target: '192.0.2.1' })],
  ND: [1000, ({ mac: from, ipv6 }) => ndFrame({ from, source: ipv6, target: '2001:db8::1' })],
  'ICMP echo': [ECHO_REPLIES_PER_SECOND, (from) => packet(from, '192.0.2.1', 1, echo(8))],
  'ICMPv6 echo': [ECHO_REPLIES_PER_SECOND, (from) => packet(from, '2001:db8::1', 58, echo(128))],
  'an ICMP error': [100, (from) => packet(from, '203.0.113.9', 17, buildUdp(1, 2, 8))],
  'an ICMPv6 error': [100, (from) => packet(from, '2001:db8:c::9', 17, buildUdp(1, 2, 8))],
  'the ICMP error of a service that is not there': [100, (from) => packet(from, '192.0.2.1', 17, buildUdp(1, 2, 8))],
  'the ICMP error of a TTL that ends': [100, (from) => packet(from, '198.51.100.9', 17, buildUdp(1, 2, 8), 1)],
  DHCPv4: [100, ({ mac: from }) => dhcpFrame(dhcpMessage({ type: 1, chaddr: from }), { from })],
  DHCPv6: [100, ({ mac: from }) => dhcp6Frame(from, writeDhcp6(1, 1, []))],
  RA: [100, ({ mac: from }) => solicitation(from)],
};
const kinds = Object.keys(questions);
/** Buckets that kinds share. */
const bucketOf = (kind: string): string =>
  ['ARP', 'ND'].includes(kind)
    ? 'neighbours'
    : kind.endsWith('echo')
      ? 'echo'
      : kind.includes('error')
        ? 'errors'
        : 'address service';

function questionOf(kind: string, from: Machine): { port: string; octets: Uint8Array } {
  const found = questions[kind];
  if (found === undefined) throw new Error(kind);
  return { port: from.port, octets: found[1](from) };
}

let tested: TestSwitch;
let handed: readonly PuntedFrame[];

beforeEach(() => {
  const recorded = recordPunts();
  handed = recorded.handed;
  const document: TestDocument = {
    networks: { red: { type: 'local' }, blue: { type: 'local' } },
    ports: { a: vm({ network: 'red' }), b: vm({ network: 'red' }), c: vm({ network: 'blue' }) },
    subnets: {
      red4: { network: 'red', cidr: '192.0.2.0/24', gateway: '192.0.2.1', dhcp: { pool: '192.0.2.100-192.0.2.200' } },
      red6: { network: 'red', cidr: '2001:db8::/64', gateway: '2001:db8::1', ra: { mode: 'stateful' } },
    },
    routers: { r: { interfaces: { red: ['192.0.2.1/24', '2001:db8::1/64'], blue: '198.51.100.1/24' } } },
  };
  tested = new TestSwitch(document, { punt: recorded.punt });
});

afterEach(() => {
  for (const { kind } of handed) expect(kind).toBe(PUNT_ADDRESS_SERVICE);
});

/** How many of these questions are answered to who asked, by the switch itself or by the main thread it hands them to. */
function answered(from: Machine, frames: readonly { port: string; octets: Uint8Array }[]): number {
  const before = handed.length;
  const sent = tested.run(...frames);
  const own = sent.filter(
    ({ port, octets, isGenerated }) => isGenerated && port === from.port && macText(octets) === from.mac,
  ).length;
  const member = tested.member(from.port, 'red');
  return own + handed.slice(before).filter((one) => one.member === member).length;
}

describe.each(kinds)('a flood of questions for %s', (kind) => {
  const flood = Array.from({ length: FLOOD }, () => questionOf(kind, flooder));

  test('is answered within the rate of its port, and every question of another port is', () => {
    let count = 0;
    for (const frame of flood) count += answered(flooder, [frame]);
    const [rate = 0] = questions[kind] ?? [];
    expect(count).toBe((rate * STORM_BURST_MS) / 1000);
    for (const asked of kinds) expect([asked, answered(other, [questionOf(asked, other)])]).toEqual([asked, 1]);
    tested.expectConservation();
  });

  test('costs the other ports nothing in the same batch either', () => {
    for (const asked of kinds) {
      tested.now += 1000;
      const mixed = [...flood.slice(0, 200), questionOf(asked, other)];
      expect([asked, answered(other, mixed)]).toEqual([asked, 1]);
    }
    tested.expectConservation();
  });

  test('leaves its own port the answers of other kinds', () => {
    for (const frame of flood) tested.run(frame);
    for (const asked of kinds.filter((one) => bucketOf(one) !== bucketOf(kind)))
      expect([asked, answered(flooder, [questionOf(asked, flooder)])]).toEqual([asked, 1]);
  });
});
