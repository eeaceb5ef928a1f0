/**
 * What hot-path-child.ts translates: a router with a network inside and one outside, every way through it (SNAT by port and by
 * protocol, answers, a floating address, a forward, hairpins, errors) and every reason to refuse. Connections begin and give
 * way all the time: the pool, a machine's mappings and the port's share of the table are small.
 */
import { virtualMac } from '../../src/control/virtual-mac.js';
import { macText } from '../../src/wire/address.js';
import { buildEthernet } from '../../src/wire/frame-build.js';
import { arpFrame, mac } from '../wire/neighbor-frames.js';
import { gre, icmp, other, packet, sctp, tcp, type Upper, udp, udpLite } from './nat-octets.js';

const OUTER_MAC = '52:54:00:ad:00:01';
const inner = (number: number) => `52:54:00:ac:00:${number.toString(16).padStart(2, '0')}`;
const OUTSIDE = '203.0.113.10';
const FLOATING = '203.0.113.20';
const WORLD = '203.0.113.1';
const HOSTS = 6;
const POOL = 64;

export const natDocument = {
  networks: { inner: { type: 'local' }, outer: { type: 'local' } },
  ports: { inner: { kind: 'tap', network: 'inner' }, outer: { kind: 'tap', network: 'outer' } },
  routers: {
    n: {
      interfaces: { inner: '198.19.0.1/24' },
      routes: [{ to: '0.0.0.0/0', via: WORLD }],
      external: {
        network: 'outer',
        addresses: [`${OUTSIDE}/24`],
        pool: `2000-${1999 + POOL}`,
        filtering: 'address-dependent',
        perVm: 70,
      },
      floating: { [FLOATING]: '198.19.0.2' },
      forwards: [{ proto: 'udp', port: '8000-8003', to: '198.19.0.3:53-56' }],
    },
  },
};

const server = (number: number) => `198.51.100.${number}`;
const host = (number: number) => `198.19.0.${number}`;

/** `outerMac`: of the router's interface outside. */
export function makeTranslated(below: (count: number) => number, outerMac: string) {
  const kind = below(24);
  const number = 2 + below(HOSTS);
  if (kind === 0)
    return { port: 'inner' as const, octets: announcement('inner', inner(number), host(number), '198.19.0.1') };
  if (kind === 1) return { port: 'outer' as const, octets: announcement('outer', OUTER_MAC, WORLD, OUTSIDE, outerMac) };
  if (kind < 14) return { port: 'inner' as const, octets: outward(kind, number, below) };
  return { port: 'outer' as const, octets: inward(kind, below, outerMac) };
}

function announcement(network: string, from: string, sender: string, target: string, to?: string): Uint8Array {
  return arpFrame({ from, to: to ?? macText(virtualMac(network)), operation: 2, sender, target });
}

function outward(kind: number, number: number, below: (count: number) => number): Uint8Array {
  const port = 3000 + below(40);
  const to = server(1 + below(20));
  const uppers: Readonly<Record<number, Upper>> = {
    2: udp(port, 53),
    3: udp(port, 53),
    4: icmp(8, port),
    5: icmp(13, port),
    6: gre(below(4)),
    7: sctp(port, 80),
    8: udpLite(port, 80),
    9: icmp(40, 1),
    12: other(50),
  };
  const upper = uppers[kind] ?? tcp(port, 80);
  const destinations: Readonly<Record<number, string>> = { 10: FLOATING, 11: OUTSIDE };
  const octets = packet(host(number), destinations[kind] ?? to, kind === 11 ? udp(port, 8000) : upper);
  return frame(virtualMac('inner'), inner(number), octets);
}

function inward(kind: number, below: (count: number) => number, outerMac: string): Uint8Array {
  const from = server(1 + below(20));
  const port = 2000 + below(POOL);
  const uppers: Readonly<Record<number, Upper>> = {
    14: udp(53, port),
    15: tcp(80, port, 0x12),
    16: icmp(0, port),
    17: icmp(14, port),
    18: udp(99, port),
    19: udp(99, 8000 + below(6)),
    22: gre(below(4)),
  };
  if (kind === 23) {
    const quoted = packet(OUTSIDE, from, udp(port, 53), { ttl: 1 });
    const message = Uint8Array.of(11, 0, 0, 0, 0, 0, 0, 0, ...quoted);
    return frame(
      mac(outerMac),
      OUTER_MAC,
      packet(WORLD, OUTSIDE, { protocol: 1, octets: message, checksumAt: 2, isPlain: true }),
    );
  }
  const destination = kind === 20 || kind === 21 ? FLOATING : OUTSIDE;
  return frame(
    mac(outerMac),
    OUTER_MAC,
    packet(from, destination, uppers[kind] ?? (kind === 20 ? tcp(99, 22) : udp(99, 22))),
  );
}

function frame(destination: Uint8Array, source: string, octets: Uint8Array): Uint8Array {
  return buildEthernet({ destination, source: mac(source), tags: [] }, 0x0800, octets);
}
