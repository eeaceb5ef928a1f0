/**
 * A switch with a router that translates: machines a and b inside (red, 192.0.2.0/24), c in a second inside network (blue,
 * 198.51.100.0/25), and o outside (ext, 203.0.113.0/24), who is everybody's way to the rest of the world. What the tests of NAT
 * say and hear is packets; every checksum of what left is looked at.
 */
import { expect } from 'vitest';
import { virtualMac } from '../../src/control/virtual-mac.js';
import { ipText, macText, parseIp } from '../../src/wire/address.js';
import { ipv4HeaderChecksum, pseudoHeaderSum4, pseudoHeaderSum6, sumOctets } from '../../src/wire/checksum.js';
import { buildEthernet, buildIcmp, buildIp, buildTcp, buildUdp } from '../../src/wire/frame-build.js';
import { read16 } from '../../src/wire/octets.js';
import { arpFrame, ip, mac, ndFrame } from '../wire/neighbor-frames.js';
import {
  ALL_FEATURES,
  type Received,
  type Sent,
  type TestDocument,
  TestSwitch,
  type TestSwitchOptions,
  vm,
} from './test-switch.js';

export const MACS = { a: '52:54:00:00:00:0a', b: '52:54:00:00:00:0b', c: '52:54:00:00:00:0c', o: '52:54:00:00:00:0d' };
export type Station = keyof typeof MACS;
export const ADDRESSES = { a: '192.0.2.5', b: '192.0.2.6', c: '198.51.100.5', o: '203.0.113.1' } as const;
export const OUTSIDE = '203.0.113.10';

export interface RouterParts {
  readonly external?: Record<string, unknown>;
  readonly floating?: Record<string, string>;
  readonly forwards?: readonly Record<string, unknown>[];
  readonly routes?: readonly Record<string, unknown>[];
}

export function natDocument({ external, ...rest }: RouterParts = {}, more: Partial<TestDocument> = {}): TestDocument {
  return {
    networks: { red: { type: 'local' }, blue: { type: 'local' }, ext: { type: 'local' } },
    ports: {
      a: vm({ network: 'red' }),
      b: vm({ network: 'red' }),
      c: vm({ network: 'blue' }),
      o: vm({ network: 'ext' }),
    },
    ...more,
    routers: {
      r: {
        interfaces: { red: ['192.0.2.1/24', '2001:db8:a::1/64'], blue: '198.51.100.1/25' },
        external: { network: 'ext', addresses: [`${OUTSIDE}/24`, '2001:db8:e::a/64'], ...external },
        routes: [{ to: '0.0.0.0/0', via: ADDRESSES.o }],
        ...rest,
      },
    },
  };
}

/** A packet by what NAT sees of it. Of ICMP queries `sport` is the identifier. */
export interface Flow {
  readonly proto: 'tcp' | 'udp' | 'icmp';
  readonly src: string;
  readonly dst: string;
  readonly sport: number;
  readonly dport: number;
  readonly flags?: number;
  /** ICMP: 8 asks, 0 answers. */
  readonly type?: number;
  readonly size?: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly ttl?: number;
}

export const SYN = 2;
export const ACK = 16;
const protocols = { tcp: 6, udp: 17, icmp: 1 };

export function payloadOf({
  proto,
  sport,
  dport,
  flags = SYN,
  type = 8,
  size = 12,
  seq = 1,
  ack = 0,
}: Flow): Uint8Array {
  if (proto === 'udp') return buildUdp(sport, dport, size);
  if (proto === 'icmp') return buildIcmp({ type, code: 0, id: sport, sequence: 1 }, size);
  return buildTcp(
    { sourcePort: sport, destinationPort: dport, sequence: seq, acknowledgement: ack, flags, window: 8000 },
    size,
  );
}

export class NatSwitch extends TestSwitch {
  constructor(parts: RouterParts = {}, more: Partial<TestDocument> = {}, options: TestSwitchOptions = {}) {
    super(natDocument(parts, more), { connectionEntries: 4096, ...options });
    this.introduce();
  }

  /** Everybody says where he is. */
  introduce(): void {
    for (const [name, address] of Object.entries(ADDRESSES)) this.announce(name as Station, address);
    this.sent.length = 0;
  }

  announce(name: Station, address: string): void {
    const to = this.gateway(name);
    const target = { a: '192.0.2.1', b: '192.0.2.1', c: '198.51.100.1', o: OUTSIDE }[name];
    if (address.includes(':')) {
      const options = Uint8Array.from([2, 1, ...mac(MACS[name])]);
      const destination = name === 'o' ? '2001:db8:e::a' : '2001:db8:a::1';
      const frame = {
        from: MACS[name],
        source: address,
        destination,
        to,
        type: 136,
        flags: 0x60,
        target: address,
        options,
      };
      this.run({ port: name, octets: ndFrame(frame) });
    } else this.run({ port: name, octets: arpFrame({ from: MACS[name], to, operation: 2, sender: address, target }) });
  }

  /** MAC of the router where the station is. */
  gateway(name: Station): string {
    if (name !== 'o') return macText(virtualMac(name === 'c' ? 'blue' : 'red'));
    const { routing } = this.snapshot;
    const outer = routing.interfaceExternal.indexOf(1);
    const octets = new Uint8Array(6);
    new DataView(octets.buffer).setUint16(0, routing.interfaceMacHigh[outer]!);
    new DataView(octets.buffer).setInt32(2, routing.interfaceMacLow[outer]!);
    return macText(octets);
  }

  /** A frame from the station to its router. */
  frame(name: Station, flow: Flow): Uint8Array {
    return this.ipFrame(name, flow.src, flow.dst, protocols[flow.proto], payloadOf(flow), flow.ttl);
  }

  ipFrame(
    name: Station,
    source: string,
    destination: string,
    protocol: number,
    payload: Uint8Array,
    ttl = 64,
  ): Uint8Array {
    const link = { destination: mac(this.gateway(name)), source: mac(MACS[name]), tags: [] };
    const fields = { source: ip(source), destination: ip(destination), protocol, ttl };
    return buildEthernet(link, source.includes(':') ? 0x86dd : 0x0800, buildIp(fields, payload));
  }

  /** Sends one packet; returns what left by which ports, ARP left out. */
  say(name: Station, flow: Flow): Heard[] {
    return this.hear({ port: name, octets: this.frame(name, flow) });
  }

  /** The ICMP error about a flow from inside, as one hears it at the outside address: from `from`, quoting 28 octets. */
  error(
    flow: Flow,
    { outside = flow.sport, from = '203.0.113.99', type = 11, code = 0, source = OUTSIDE } = {},
  ): Uint8Array {
    const quoted = buildIp(
      { source: ip(source), destination: ip(flow.dst), protocol: protocols[flow.proto], ttl: 1 },
      payloadOf({ ...flow, src: source, sport: outside }),
    );
    return this.errorFrame('o', from, source, quoted, type, code);
  }

  errorFrame(name: Station, from: string, to: string, quoted: Uint8Array, type = 11, code = 0): Uint8Array {
    const message = new Uint8Array(8 + quoted.length);
    message[0] = type;
    message[1] = code;
    message.set(quoted, 8);
    new DataView(message.buffer).setUint16(2, ~sumOctets(message, 0, message.length, 0) & 0xffff);
    return this.ipFrame(name, from, to, 1, message);
  }

  hear(...received: Received[]): Heard[] {
    const sent = this.run(...received).filter(({ octets }) => read16(octets, 12) !== 0x0806);
    for (const one of sent) expectSound(one);
    return sent.map(heardOf);
  }
}

export interface Heard {
  readonly port: string;
  readonly src: string;
  readonly dst: string;
  readonly sport: number;
  readonly dport: number;
  readonly protocol: number;
  readonly sent: Sent;
}

export function heardOf(sent: Sent): Heard {
  const { octets, port } = sent;
  const isIpv4 = read16(octets, 12) === 0x0800;
  const upper = isIpv4 ? 14 + (octets[14]! & 15) * 4 : 54;
  const protocol = octets[isIpv4 ? 23 : 20]!;
  const isQuery = protocol === 1 || protocol === 58;
  return {
    port,
    src: ipText(octets.slice(isIpv4 ? 26 : 22, isIpv4 ? 30 : 38)),
    dst: ipText(octets.slice(isIpv4 ? 30 : 38, isIpv4 ? 34 : 54)),
    sport: read16(octets, isQuery ? upper + 4 : upper),
    dport: read16(octets, isQuery ? upper + 4 : upper + 2),
    protocol,
    sent,
  };
}

/** Every checksum of the frame, made anew, is what is there; a partial one is the sum of the pseudo-header. */
export function expectSound({ octets, checksumStart }: Sent): void {
  const isIpv4 = read16(octets, 12) === 0x0800;
  const size = isIpv4 ? (octets[14]! & 15) * 4 : 40;
  const upper = 14 + size;
  const length = isIpv4 ? read16(octets, 16) - size : read16(octets, 18);
  const protocol = octets[isIpv4 ? 23 : 20]!;
  if (isIpv4) expect(read16(octets, 24)).toBe(ipv4HeaderChecksum(octets, 14, size));
  if (isIpv4 && (read16(octets, 20) & 0x3fff) !== 0) return;
  const offset = { 6: 16, 17: 6, 1: 2, 58: 2 }[protocol];
  if (offset === undefined) return;
  let pseudo = isIpv4 ? pseudoHeaderSum4(octets, 14, protocol, length) : pseudoHeaderSum6(octets, 14, protocol, length);
  if (protocol === 1) pseudo = 0;
  if (checksumStart !== 0) {
    expect(read16(octets, upper + offset) % 0xffff).toBe(pseudo % 0xffff);
    return;
  }
  if (protocol === 17 && read16(octets, upper + offset) === 0) return;
  expect(sumOctets(octets, upper, length, pseudo)).toBe(0xffff);
}

export { ALL_FEATURES, parseIp };
