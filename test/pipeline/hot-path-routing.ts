/**
 * What hot-path-child.ts routes: two networks, one of them with a short MTU, and every kind of packet a router meets. The same
 * packets again and again, so tables reach a steady state.
 */
import { virtualMac } from '../../src/control/virtual-mac.js';
import { macText } from '../../src/wire/address.js';
import { ipv4HeaderChecksum } from '../../src/wire/checksum.js';
import { buildEthernet, buildIcmp, buildIp, buildTcp, buildUdp } from '../../src/wire/frame-build.js';
import { write16 } from '../../src/wire/octets.js';
import { advertisement, arpFrame, ip, mac } from '../wire/neighbor-frames.js';

export const routingDocument = {
  networks: { near: { type: 'local' }, far: { type: 'local', mtu: 600 } },
  ports: { near: { kind: 'tap', network: 'near' }, far: { kind: 'tap', network: 'far' } },
  routers: {
    r: {
      interfaces: {
        near: ['198.18.0.1/24', '2001:db8:e::1/64'],
        far: ['198.18.1.1/24', '2001:db8:f::1/64'],
      },
      routes: [
        { to: '203.0.113.0/25', via: ['198.18.1.2', '198.18.1.3'] },
        { to: '203.0.113.128/25', via: 'blackhole' },
        { to: '198.19.0.0/16', via: '198.18.1.254' },
      ],
    },
    // What is behind this one comes back by it, or goes round between the two.
    next: {
      interfaces: { far: '198.18.1.254/24' },
      routes: [
        { to: '198.19.0.0/24', via: '198.18.1.2' },
        { to: '0.0.0.0/0', via: '198.18.1.1' },
      ],
    },
  },
};

const STATIONS = 8;
const NEAR = '52:54:00:0e:00:01';
const far = (number: number) => `52:54:00:0f:00:${number.toString(16).padStart(2, '0')}`;
const TCP = { sourcePort: 1234, destinationPort: 80, sequence: 1, acknowledgement: 0, flags: 16, window: 64 };

/** A frame for the router from port `near`, or from `far`, whose stations say where they are. */
export function makeRouted(below: (count: number) => number): { port: 'near' | 'far'; octets: Uint8Array } {
  const number = 2 + below(STATIONS);
  const kind = below(16);
  if (kind === 0) return { port: 'far', octets: announcement(number) };
  if (kind === 1) return { port: 'far', octets: advertisement({ from: far(number), source: `2001:db8:f::${number}` }) };
  return { port: 'near', octets: packet(kind, number, below) };
}

function announcement(number: number): Uint8Array {
  const to = macText(virtualMac('far'));
  const addresses = { sender: `198.18.1.${number}`, target: '198.18.1.1' };
  return arpFrame({ from: far(number), to, operation: 2, ...addresses });
}

function packet(kind: number, number: number, below: (count: number) => number): Uint8Array {
  const isIpv4 = kind !== 3 && kind !== 4;
  const source = isIpv4 ? '198.18.0.5' : '2001:db8:e::5';
  const destinations: Readonly<Record<number, string>> = {
    5: '203.0.113.5',
    6: '203.0.113.200',
    7: '192.0.2.1',
    8: '198.18.0.1',
    // Nobody is there: asked for, kept, given up.
    9: `198.18.1.${100 + below(4)}`,
    13: '198.19.0.1',
    14: '198.19.1.1',
    15: '198.18.1.254',
  };
  const destination = destinations[kind] ?? (isIpv4 ? `198.18.1.${number}` : `2001:db8:f::${number}`);
  const protocol = kind === 8 || kind === 15 ? 1 : kind === 10 ? 17 : 6;
  const long = kind === 10 || kind === 11 || kind === 4 ? 1200 : 10;
  const payload =
    protocol === 1
      ? buildIcmp({ type: 8, code: 0, id: 1, sequence: 1 }, 33)
      : kind === 10
        ? buildUdp(1, 2, long)
        : buildTcp({ ...TCP, sourcePort: 1000 + below(100) }, long);
  const fields = { source: ip(source), destination: ip(destination), protocol, ttl: kind === 12 ? 1 : 64 };
  const link = { destination: virtualMac('near'), source: mac(NEAR), tags: [] };
  const octets = buildEthernet(link, isIpv4 ? 0x0800 : 0x86dd, buildIp(fields, payload));
  if (kind === 11) {
    write16(octets, 20, 0x4000);
    write16(octets, 24, ipv4HeaderChecksum(octets, 14, 20));
  }
  return octets;
}
