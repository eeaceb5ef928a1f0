import { describe, expect, test } from 'vitest';
import { parseIp } from '../../src/wire/address.js';
import { buildEthernet, buildIp, buildTcp, buildUdp } from '../../src/wire/frame-build.js';
import { isFrom, isTo, NO_TUNNEL, tunnelPortOf, UNKNOWN_TUNNEL } from '../../src/wire/nested-tunnel.js';

const UDP = 17;
const TCP = 6;
const GRE = 47;
const VXLAN = 4789;
const START = 18;
const macs = { destination: [2, 0, 0, 0, 0, 1], source: [2, 0, 0, 0, 0, 2], tags: [] };

const families = [
  { family: 'IPv4', own: '192.0.2.1', remote: '192.0.2.2', other: '198.51.100.9', near: '192.0.2.129' },
  { family: 'IPv6', own: '2001:db8::1', remote: '2001:db8::2', other: '2001:db8:9::1', near: '2001:db8::8001' },
] as const;

/** The address of an underlay as snapshots have it: four words in memory's order, behind another port's. */
function localOf(text: string): Int32Array {
  const octets = new Uint8Array(32).fill(0xa5);
  const address = parseIp(text) as Uint8Array;
  octets.fill(0, 16, 26);
  octets.fill(0xff, 26, 28);
  octets.set(address, 32 - address.length);
  return new Int32Array(octets.buffer);
}

function packet(from: string, to: string, protocol: number, payload: Uint8Array): Uint8Array {
  const source = parseIp(from) as Uint8Array;
  return buildIp({ source, destination: parseIp(to) as Uint8Array, protocol, ttl: 64 }, payload);
}

function judge(octets: Uint8Array, udpPort: number, local: string, length = octets.length, fill = 0xa5): boolean {
  const ethertype = octets[0] >> 4 === 4 ? 0x0800 : 0x86dd;
  const frame = buildEthernet(macs, ethertype, octets.subarray(0, length));
  const arena = new Uint8Array(frame.length + 100).fill(fill);
  arena.set(frame, START);
  const found = tunnelPortOf(arena, ethertype, START + 14, START + frame.length);
  if (found === NO_TUNNEL || (found !== udpPort && found !== UNKNOWN_TUNNEL)) return false;
  const words = localOf(local);
  return isTo(arena, ethertype, START + 14, words, 4) || isFrom(arena, ethertype, START + 14, words, 4);
}

const toPort = (port: number) => buildUdp(50_000, port, 40);

describe.each(families)('of $family packets', ({ own, remote, other, near }) => {
  test('those between the underlay and anybody on its UDP port are its own, whichever way they go', () => {
    for (const [from, to] of [
      [own, remote],
      [remote, own],
      [own, other],
      [own, own],
    ]) {
      expect(judge(packet(from, to, UDP, toPort(VXLAN)), VXLAN, own), `${from} to ${to}`).toBe(true);
    }
  });

  test('those of other addresses are guests', () => {
    for (const [from, to] of [
      [remote, other],
      [near, remote],
      [other, near],
    ]) {
      expect(judge(packet(from, to, UDP, toPort(VXLAN)), VXLAN, own), `${from} to ${to}`).toBe(false);
    }
  });

  test('those on other ports, from the port, or in other protocols are none of its tunnels', () => {
    expect(judge(packet(own, remote, UDP, toPort(4790)), VXLAN, own)).toBe(false);
    expect(judge(packet(own, remote, UDP, buildUdp(VXLAN, 53, 10)), VXLAN, own)).toBe(false);
    const fields = { sourcePort: 1, destinationPort: VXLAN, sequence: 1, acknowledgement: 1, flags: 2, window: 9 };
    expect(judge(packet(own, remote, TCP, buildTcp(fields, 10)), VXLAN, own)).toBe(false);
    expect(judge(packet(own, remote, GRE, new Uint8Array(30)), VXLAN, own)).toBe(false);
  });

  test('GRE of the underlay is its own where its tunnels are GRE, and UDP is not', () => {
    expect(judge(packet(own, remote, GRE, new Uint8Array(30)), 0, own)).toBe(true);
    expect(judge(packet(remote, own, GRE, new Uint8Array(30)), 0, own)).toBe(true);
    expect(judge(packet(remote, other, GRE, new Uint8Array(30)), 0, own)).toBe(false);
    expect(judge(packet(own, remote, UDP, toPort(VXLAN)), 0, own)).toBe(false);
    expect(judge(packet(own, remote, UDP, toPort(0)), 0, own)).toBe(false);
  });

  test('one that is cut off at any octet is judged by what is there, not by what lies behind', () => {
    // A port whose octets are what lies behind the packet, so that reading too far would find it.
    const port = 0x1212;
    const whole = packet(own, remote, UDP, toPort(port));
    const headersEnd = whole.length - 40;
    for (let length = 0; length <= whole.length; length++) {
      const verdict = judge(whole, port, own, length, 0);
      expect(judge(whole, port, own, length, 0x12), `${length} octets`).toBe(verdict);
      if (length < headersEnd) expect(verdict, `${length} octets`).toBe(false);
    }
    expect(judge(whole, port, own)).toBe(true);
  });

  test('an address of the other family is never the same', () => {
    const [four, six] = families;
    const foreign = own === four.own ? six.own : four.own;
    expect(judge(packet(own, remote, UDP, toPort(VXLAN)), VXLAN, foreign)).toBe(false);
    // Nor one that ends alike.
    const alike = parseIp(own)?.length === 4 ? `::${own}` : '::ffff:0.0.0.1';
    expect(judge(packet(own, remote, UDP, toPort(VXLAN)), VXLAN, alike)).toBe(false);
  });
});

test('an IPv6 packet to the underlay is its own behind extension headers, too', () => {
  const [, { own, remote }] = families;
  const options = Uint8Array.of(UDP, 0, 1, 4, 0, 0, 0, 0, ...toPort(VXLAN));
  expect(judge(packet(remote, own, 60, options), VXLAN, own)).toBe(true);
});

test('an IPv6 packet with more extension headers than are looked at may be anybody’s, so between these addresses it is its own', () => {
  const [, { own, remote, other }] = families;
  const chained = (count: number) => {
    const headers = Array.from({ length: count }, (_, index) => [index + 1 === count ? TCP : 60, 0, 1, 4, 0, 0, 0, 0]);
    return Uint8Array.of(...headers.flat(), ...new Uint8Array(40));
  };
  expect(judge(packet(remote, own, 60, chained(9)), VXLAN, own)).toBe(true);
  expect(judge(packet(remote, own, 60, chained(9)), 0, own)).toBe(true);
  expect(judge(packet(remote, own, 60, chained(8)), VXLAN, own)).toBe(false);
  expect(judge(packet(remote, other, 60, chained(9)), VXLAN, own)).toBe(false);
});

test('an IPv4 packet with options is judged by the port behind them', () => {
  const [{ own, remote }] = families;
  // A protocol without a checksum that the builder would write in its usual place.
  const octets = packet(own, remote, 253, Uint8Array.of(1, 1, 1, 1, ...toPort(VXLAN)));
  octets[0] = 0x46;
  octets[9] = UDP;
  expect(judge(octets, VXLAN, own)).toBe(true);
});

test('a later fragment has no port, so it is a guest of UDP and the own of GRE', () => {
  const [{ own, remote }] = families;
  const later = (protocol: number) => {
    const octets = packet(own, remote, protocol, toPort(VXLAN));
    octets[7] = 10;
    return octets;
  };
  expect(judge(later(UDP), VXLAN, own)).toBe(false);
  expect(judge(later(GRE), 0, own)).toBe(true);
});
