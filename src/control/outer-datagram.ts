/**
 * What `weft trace` makes of a frame that comes in by an underlay: the datagram that the kernel would have given to one of
 * the underlay's sockets. A frame that it would not have is refused with the reason, because the switch never sees it. Pure.
 */
import { UserError } from '../errors.js';
import { FRAME_SIZE_MIN, VLAN_TAGS_MAX } from '../limits.js';
import type { TracedInput } from '../pipeline/tracer.js';
import { tunnelKindIndex, tunnelKinds } from '../tunnels/registry.js';
import { ipText, ipWords, parseIp } from '../wire/address.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from '../wire/ethernet.js';
import { PROTOCOL_GRE, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import {
  IPV4_DESTINATION,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  ipv4IsFragment,
  ipv4PayloadStart,
  ipv4TotalLength,
} from '../wire/ipv4.js';
import { CHAIN_WHOLE, IPV6_DESTINATION, IPV6_SOURCE, Ipv6Chain } from '../wire/ipv6.js';
import { read16 } from '../wire/octets.js';
import { frameLine } from '../wire/print.js';
import { isUdpHeader, UDP_DESTINATION_PORT, UDP_HEADER_SIZE, udpLength } from '../wire/udp.js';
import { ethertypePosition } from '../wire/vlan.js';
import type { ResolvedPort } from './resolved.js';

interface Packet {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly trafficClass: number;
  readonly protocol: number;
  /** Where what the protocol carries begins and ends. */
  readonly start: number;
  readonly end: number;
}

/** The underlay port of those given, all of the underlay `name`, whose socket would get the frame, and what it would get. */
export function outerDatagram(
  name: string,
  ports: readonly ResolvedPort[],
  frame: Uint8Array,
): { port: ResolvedPort; input: TracedInput } {
  const packet = packetOf(frame);
  if (packet === undefined) throw refusal(`${name} hears whole IPv4 and IPv6 packets only`, frame);
  const destination = ipText(packet.destination);
  const here = ports.filter(
    ({ intent }) => ipText(parseIp(intent.underlay?.local ?? '') ?? packet.source) === destination,
  );
  if (here.length === 0) throw refusal(`${destination} is not the address of ${name}`, frame);
  for (const port of here) {
    const start = payloadStart(port, packet, frame);
    if (start === undefined) continue;
    const end = packet.protocol === PROTOCOL_UDP ? packet.start + udpLength(frame, packet.start) : packet.end;
    const { trafficClass } = packet;
    const outer = { source: ipWords(packet.source), trafficClass, text: frameLine(frame) };
    return { port, input: { octets: frame.slice(start, end), outer } };
  }
  const sockets = here.map(({ intent }) => intent.device).join(', ');
  throw refusal(`the packet is for none of the sockets of ${name} (${sockets})`, frame);
}

/** Where the tunnel's header begins, if the packet is for the port's socket. */
function payloadStart({ intent }: ResolvedPort, packet: Packet, frame: Uint8Array): number | undefined {
  const { type, port } = intent.underlay ?? { type: '', port: 0 };
  const kind = tunnelKinds[tunnelKindIndex(type)];
  if (kind?.protocol === 'gre') return packet.protocol === PROTOCOL_GRE ? packet.start : undefined;
  if (packet.protocol !== PROTOCOL_UDP || !isUdpHeader(frame, packet.start, packet.end)) return undefined;
  return read16(frame, packet.start + UDP_DESTINATION_PORT) === port ? packet.start + UDP_HEADER_SIZE : undefined;
}

function packetOf(frame: Uint8Array): Packet | undefined {
  if (frame.length < FRAME_SIZE_MIN) return undefined;
  const at = ethertypePosition(frame, 0, frame.length, VLAN_TAGS_MAX);
  const ethertype = read16(frame, at);
  if (ethertype === ETHERTYPE_IPV4) return ipv4Packet(frame, at + 2);
  return ethertype === ETHERTYPE_IPV6 ? ipv6Packet(frame, at + 2) : undefined;
}

function ipv4Packet(frame: Uint8Array, at: number): Packet | undefined {
  const start = ipv4PayloadStart(frame, at, frame.length);
  if (start < 0 || ipv4IsFragment(frame, at)) return undefined;
  return {
    source: frame.slice(at + IPV4_SOURCE, at + IPV4_SOURCE + 4),
    destination: frame.slice(at + IPV4_DESTINATION, at + IPV4_DESTINATION + 4),
    trafficClass: frame[at + 1],
    protocol: frame[at + IPV4_PROTOCOL],
    start,
    end: at + ipv4TotalLength(frame, at),
  };
}

function ipv6Packet(frame: Uint8Array, at: number): Packet | undefined {
  const chain = new Ipv6Chain();
  if (chain.walk(frame, at, frame.length) !== CHAIN_WHOLE || chain.isFragment) return undefined;
  return {
    source: frame.slice(at + IPV6_SOURCE, at + IPV6_SOURCE + 16),
    destination: frame.slice(at + IPV6_DESTINATION, at + IPV6_DESTINATION + 16),
    trafficClass: (read16(frame, at) >> 4) & 0xff,
    protocol: chain.protocol,
    start: chain.position,
    end: chain.end,
  };
}

function refusal(message: string, frame: Uint8Array): UserError {
  return new UserError([
    {
      code: 'bad-request',
      message: `the kernel would not give this frame to the switch: ${message} (${frameLine(frame)})`,
    },
  ]);
}
