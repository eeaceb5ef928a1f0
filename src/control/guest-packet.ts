/**
 * What machines send to the switch's services, and what these send back, as frames: link, IP and the place of the TCP or UDP
 * header between them. Checksums are verified and made here. Pure; main thread.
 *
 * The worker has seen that the headers are whole (pipeline/guest-service.ts), but what is read here is judged once more:
 * lengths, checksums, and that the sender's address is one that can be answered. An answer goes back to the MAC that it was
 * asked from and comes from the MAC that was asked, which may be that of the machine's gateway.
 */
import { IPV4_SIZE, IPV6_SIZE } from '../wire/address.js';
import { ipv4HeaderChecksum, pseudoHeaderSum4, pseudoHeaderSum6, sumOctets } from '../wire/checksum.js';
import { ETHERNET_HEADER_SIZE, ETHERTYPE_IPV4, ETHERTYPE_IPV6, isGroupAt, MAC_SIZE } from '../wire/ethernet.js';
import { buildEthernet, buildIp } from '../wire/frame-build.js';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip-protocol.js';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  ipv4HeaderSize,
  ipv4IsFragment,
  ipv4PayloadStart,
  ipv4TotalLength,
  isHostIpv4,
} from '../wire/ipv4.js';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_SIZE,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  isHostIpv6,
} from '../wire/ipv6.js';
import { read16 } from '../wire/octets.js';
import { tcpPayloadStart } from '../wire/tcp.js';
import { isUdpHeader, UDP_CHECKSUM, udpLength } from '../wire/udp.js';

const TTL = 64;

/** Who talks with whom, as the machine sees it. */
export interface GuestLink {
  /** The machine. */
  readonly guest: Uint8Array;
  readonly guestMac: Uint8Array;
  /** The service. */
  readonly server: Uint8Array;
  readonly serverMac: Uint8Array;
}

export interface GuestPacket extends GuestLink {
  readonly protocol: number;
  /** The segment or datagram: octets[start .. end). Good as long as the frame's octets are. */
  readonly octets: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** `isPartial`: the machine left the checksum to its device. Undefined: it can't be what it says. */
export function readGuestPacket(octets: Uint8Array, isPartial: boolean): GuestPacket | undefined {
  if (octets.length < ETHERNET_HEADER_SIZE || isGroupAt(octets, MAC_SIZE)) return undefined;
  const type = read16(octets, ETHERNET_HEADER_SIZE - 2);
  if (type !== ETHERTYPE_IPV4 && type !== ETHERTYPE_IPV6) return undefined;
  const isIpv4 = type === ETHERTYPE_IPV4;
  const found = isIpv4 ? find4(octets) : find6(octets);
  if (found === undefined || !isWhole(octets, found)) return undefined;
  const { protocol, start } = found;
  const isUnsummed = isPartial || (protocol === PROTOCOL_UDP && isIpv4 && read16(octets, start + UDP_CHECKSUM) === 0);
  if (!isUnsummed && !isSumRight(octets, isIpv4, found)) return undefined;
  const [from, to, size] = isIpv4
    ? [IPV4_SOURCE, IPV4_DESTINATION, IPV4_SIZE]
    : [IPV6_SOURCE, IPV6_DESTINATION, IPV6_SIZE];
  const at = (position: number) =>
    octets.slice(ETHERNET_HEADER_SIZE + position, ETHERNET_HEADER_SIZE + position + size);
  const macs = { serverMac: octets.slice(0, MAC_SIZE), guestMac: octets.slice(MAC_SIZE, 2 * MAC_SIZE) };
  return { guest: at(from), server: at(to), ...macs, octets, ...found };
}

interface Upper {
  readonly protocol: number;
  readonly start: number;
  readonly end: number;
}

function find4(octets: Uint8Array): Upper | undefined {
  const ip = ETHERNET_HEADER_SIZE;
  const start = ipv4PayloadStart(octets, ip, octets.length);
  if (start < 0 || ipv4IsFragment(octets, ip) || !isHostIpv4(octets, ip + IPV4_SOURCE)) return undefined;
  const checksum = ipv4HeaderChecksum(octets, ip, ipv4HeaderSize(octets, ip));
  if (checksum !== read16(octets, ip + IPV4_CHECKSUM)) return undefined;
  return { protocol: octets[ip + IPV4_PROTOCOL], start, end: ip + ipv4TotalLength(octets, ip) };
}

function find6(octets: Uint8Array): Upper | undefined {
  const ip = ETHERNET_HEADER_SIZE;
  const start = ip + IPV6_HEADER_SIZE;
  if (start > octets.length || octets[ip] >>> 4 !== 6 || !isHostIpv6(octets, ip + IPV6_SOURCE)) return undefined;
  const end = start + read16(octets, ip + IPV6_PAYLOAD_LENGTH);
  return end > octets.length ? undefined : { protocol: octets[ip + IPV6_NEXT_HEADER], start, end };
}

function isWhole(octets: Uint8Array, { protocol, start, end }: Upper): boolean {
  if (protocol === PROTOCOL_UDP) return isUdpHeader(octets, start, end) && start + udpLength(octets, start) === end;
  return protocol === PROTOCOL_TCP && tcpPayloadStart(octets, start, end) >= 0;
}

function isSumRight(octets: Uint8Array, isIpv4: boolean, { protocol, start, end }: Upper): boolean {
  const pseudo = isIpv4 ? pseudoHeaderSum4 : pseudoHeaderSum6;
  return sumOctets(octets, start, end - start, pseudo(octets, ETHERNET_HEADER_SIZE, protocol, end - start)) === 0xffff;
}

/** The frame to the machine with this segment or datagram in it, whose checksum is made. `standIn`: for a group's MAC. */
export function guestFrame(link: GuestLink, protocol: number, payload: Uint8Array, standIn: Uint8Array): Uint8Array {
  const { guest, guestMac, server, serverMac } = link;
  const packet = buildIp({ source: server, destination: guest, protocol, ttl: TTL }, payload);
  const source = isGroupAt(serverMac, 0) ? standIn : serverMac;
  const ethertype = guest.length === IPV4_SIZE ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;
  return buildEthernet({ destination: guestMac, source, tags: [] }, ethertype, packet);
}
