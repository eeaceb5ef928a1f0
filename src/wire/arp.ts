/** ARP for IPv4 over Ethernet (RFC 826). `position` is the first octet behind the ethertype. @hot */
import {
  ETHERNET_DESTINATION,
  ETHERNET_ETHERTYPE,
  ETHERNET_HEADER_SIZE,
  ETHERNET_SOURCE,
  ETHERTYPE_ARP,
  macHighAt,
  macLowAt,
  writeMac,
} from './ethernet.js';
import { read16, read32, write16, write32 } from './octets.js';

/** Octets from the start of the message. */
export const ARP_HARDWARE_TYPE = 0;
export const ARP_PROTOCOL_TYPE = 2;
export const ARP_SIZES = 4;
export const ARP_OPERATION = 6;
export const ARP_SENDER_MAC = 8;
export const ARP_SENDER_IP = 14;
export const ARP_TARGET_MAC = 18;
export const ARP_TARGET_IP = 24;
export const ARP_SIZE = 28;

export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

/** Hardware type Ethernet and protocol type IPv4; sizes 6 and 4. */
const ETHERNET_IPV4 = (1 << 16) | 0x0800;
const SIZES = (6 << 8) | 4;

/** Whether an ARP message for IPv4 over Ethernet lies whole before `end`. */
export function isArp(octets: Uint8Array, position: number, end: number): boolean {
  return (
    position + ARP_SIZE <= end &&
    read32(octets, position + ARP_HARDWARE_TYPE) === ETHERNET_IPV4 &&
    read16(octets, position + ARP_SIZES) === SIZES
  );
}

/** Octets of the frame that `writeArpRequest` writes. */
export const ARP_REQUEST_FRAME_SIZE = ETHERNET_HEADER_SIZE + ARP_SIZE;

/** Writes at `to` the whole frame in which the station with this MAC and the address `sender` asks everybody for `target`. */
export function writeArpRequest(
  octets: Uint8Array,
  to: number,
  macHigh: number,
  macLow: number,
  sender: number,
  target: number,
): void {
  writeMac(octets, to + ETHERNET_DESTINATION, 0xffff, -1);
  writeMac(octets, to + ETHERNET_SOURCE, macHigh, macLow);
  write16(octets, to + ETHERNET_ETHERTYPE, ETHERTYPE_ARP);
  const message = to + ETHERNET_HEADER_SIZE;
  write32(octets, message + ARP_HARDWARE_TYPE, ETHERNET_IPV4);
  write16(octets, message + ARP_SIZES, SIZES);
  write16(octets, message + ARP_OPERATION, ARP_REQUEST);
  writeMac(octets, message + ARP_SENDER_MAC, macHigh, macLow);
  write32(octets, message + ARP_SENDER_IP, sender);
  writeMac(octets, message + ARP_TARGET_MAC, 0, 0);
  write32(octets, message + ARP_TARGET_IP, target);
}

/** Octets of the frame that `writeArpReply` writes. */
export const ARP_REPLY_FRAME_SIZE = ETHERNET_HEADER_SIZE + ARP_SIZE;

/**
 * Writes at `to` the whole frame that answers the request whose message lies at `request`: the address that was asked for
 * is at `macHigh`, `macLow`, and it is that station which seems to say so.
 */
export function writeArpReply(octets: Uint8Array, request: number, to: number, macHigh: number, macLow: number): void {
  const askerHigh = macHighAt(octets, request + ARP_SENDER_MAC);
  const askerLow = macLowAt(octets, request + ARP_SENDER_MAC);
  writeMac(octets, to + ETHERNET_DESTINATION, askerHigh, askerLow);
  writeMac(octets, to + ETHERNET_SOURCE, macHigh, macLow);
  write16(octets, to + ETHERNET_ETHERTYPE, ETHERTYPE_ARP);
  const message = to + ETHERNET_HEADER_SIZE;
  write32(octets, message + ARP_HARDWARE_TYPE, ETHERNET_IPV4);
  write16(octets, message + ARP_SIZES, SIZES);
  write16(octets, message + ARP_OPERATION, ARP_REPLY);
  writeMac(octets, message + ARP_SENDER_MAC, macHigh, macLow);
  write32(octets, message + ARP_SENDER_IP, read32(octets, request + ARP_TARGET_IP));
  writeMac(octets, message + ARP_TARGET_MAC, askerHigh, askerLow);
  write32(octets, message + ARP_TARGET_IP, read32(octets, request + ARP_SENDER_IP));
}
