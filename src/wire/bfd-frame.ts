/**
 * BFD inside a tunnel, as Open vSwitch speaks it: an Ethernet frame to an address of its own, in it IPv4 from 169.254.1.1 to
 * 169.254.1.0, UDP and the packet (Open vSwitch, lib/bfd.c). It shows that frames get through, not only that the host lives.
 *
 * What an attacker can do: a machine can send such frames, too (CVE-2024-2182). So they are never let into a tunnel that is
 * watched this way, whatever address they are for: Open vSwitch looks at the port alone. @hot
 */
import { BFD_PORT, BFD_SIZE, BFD_SOURCE_PORT_MIN, BFD_TTL } from './bfd.js';
import { ipv4HeaderChecksum, sumOctets } from './checksum.js';
import {
  ETHERNET_ETHERTYPE,
  ETHERNET_HEADER_SIZE,
  ETHERNET_SOURCE,
  ETHERTYPE_IPV4,
  macHighAt,
  macLowAt,
  writeMac,
} from './ethernet.js';
import { PROTOCOL_UDP } from './ip-protocol.js';
import {
  IPV4_CHECKSUM,
  IPV4_FRAGMENT,
  IPV4_HEADER_SIZE_MIN,
  IPV4_PROTOCOL,
  IPV4_TTL,
  ipv4FragmentOffset,
  ipv4IsFragment,
  ipv4PayloadStart,
} from './ipv4.js';
import { read16, write16 } from './octets.js';
import { isUdpHeader, UDP_CHECKSUM, UDP_DESTINATION_PORT, UDP_HEADER_SIZE, UDP_LENGTH, udpLength } from './udp.js';

export const BFD_FRAME_SIZE = ETHERNET_HEADER_SIZE + IPV4_HEADER_SIZE_MIN + UDP_HEADER_SIZE + BFD_SIZE;

/** 00:23:20:00:00:01 */
const DESTINATION_HIGH = 0x0023;
const DESTINATION_LOW = 0x2000_0001;
/** Version and header size, DSCP CS6. */
const IPV4_START = 0x45c0;
const DONT_FRAGMENT = 0x4000;
const LINK_LOCAL = 0xa9fe;
const SOURCE_LOW = 0x0101;
const DESTINATION_IP_LOW = 0x0100;

/** Whether a packet, whose header is expected at `network`, is BFD over IPv4, for whomever. */
export function isBfdPacket(octets: Uint8Array, ethertype: number, network: number, end: number): boolean {
  if (ethertype !== ETHERTYPE_IPV4 || network + IPV4_HEADER_SIZE_MIN > end) return false;
  if (octets[network + IPV4_PROTOCOL] !== PROTOCOL_UDP) return false;
  const payload = ipv4PayloadStart(octets, network, end);
  if (payload < 0 || payload + UDP_HEADER_SIZE > end || ipv4FragmentOffset(octets, network) !== 0) return false;
  return read16(octets, payload + UDP_DESTINATION_PORT) === BFD_PORT;
}

/** Whether the Ethernet frame at `frame` is for whoever watches over the tunnel it came by. */
export function isBfdFrame(
  octets: Uint8Array,
  frame: number,
  ethertype: number,
  network: number,
  end: number,
): boolean {
  return (
    macLowAt(octets, frame) === DESTINATION_LOW &&
    macHighAt(octets, frame) === DESTINATION_HIGH &&
    isBfdPacket(octets, ethertype, network, end)
  );
}

/** Where the BFD packet lies in a frame without tags that begins at `frame`; it ends with the UDP datagram. -1: unsound. */
export function bfdPacketStart(octets: Uint8Array, frame: number, end: number): number {
  const network = frame + ETHERNET_HEADER_SIZE;
  if (network > end || !isBfdFrame(octets, frame, read16(octets, frame + ETHERNET_ETHERTYPE), network, end)) return -1;
  const udp = ipv4PayloadStart(octets, network, end);
  if (ipv4IsFragment(octets, network) || !isUdpHeader(octets, udp, end)) return -1;
  if (octets[network + IPV4_TTL] !== BFD_TTL) return -1;
  return read16(octets, network + IPV4_CHECKSUM) === ipv4HeaderChecksum(octets, network, udp - network)
    ? udp + UDP_HEADER_SIZE
    : -1;
}

/** Where a datagram ends whose payload begins at `payload`. */
export function bfdPacketEnd(octets: Uint8Array, payload: number): number {
  return payload - UDP_HEADER_SIZE + udpLength(octets, payload - UDP_HEADER_SIZE);
}

/** Writes the BFD_FRAME_SIZE octets of a frame from a MAC (6 octets) around a BFD packet of BFD_SIZE octets. */
export function writeBfdFrame(octets: Uint8Array, frame: number, sourceMac: Uint8Array, packet: Uint8Array): void {
  writeMac(octets, frame, DESTINATION_HIGH, DESTINATION_LOW);
  writeMac(octets, frame + ETHERNET_SOURCE, macHighAt(sourceMac, 0), macLowAt(sourceMac, 0));
  write16(octets, frame + ETHERNET_ETHERTYPE, ETHERTYPE_IPV4);
  const network = frame + ETHERNET_HEADER_SIZE;
  const udp = network + IPV4_HEADER_SIZE_MIN;
  write16(octets, network, IPV4_START);
  write16(octets, network + 2, IPV4_HEADER_SIZE_MIN + UDP_HEADER_SIZE + BFD_SIZE);
  write16(octets, network + 4, 0);
  write16(octets, network + IPV4_FRAGMENT, DONT_FRAGMENT);
  octets[network + IPV4_TTL] = BFD_TTL;
  octets[network + IPV4_PROTOCOL] = PROTOCOL_UDP;
  write16(octets, network + 12, LINK_LOCAL);
  write16(octets, network + 14, SOURCE_LOW);
  write16(octets, network + 16, LINK_LOCAL);
  write16(octets, network + 18, DESTINATION_IP_LOW);
  write16(octets, network + IPV4_CHECKSUM, ipv4HeaderChecksum(octets, network, IPV4_HEADER_SIZE_MIN));
  write16(octets, udp, BFD_SOURCE_PORT_MIN);
  write16(octets, udp + UDP_DESTINATION_PORT, BFD_PORT);
  write16(octets, udp + UDP_LENGTH, UDP_HEADER_SIZE + BFD_SIZE);
  for (let index = 0; index < BFD_SIZE; index++) octets[udp + UDP_HEADER_SIZE + index] = packet[index];
  write16(octets, udp + UDP_CHECKSUM, 0);
  // The pseudo-header: addresses, protocol, length.
  const pseudo = sumOctets(octets, network + 12, 8, PROTOCOL_UDP + UDP_HEADER_SIZE + BFD_SIZE);
  const checksum = ~sumOctets(octets, udp, UDP_HEADER_SIZE + BFD_SIZE, pseudo) & 0xffff;
  write16(octets, udp + UDP_CHECKSUM, checksum === 0 ? 0xffff : checksum);
}
