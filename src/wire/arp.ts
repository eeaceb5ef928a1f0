/** ARP for IPv4 over Ethernet (RFC 826). `position` is the first octet behind the ethertype. @hot */
import { read16, read32 } from './octets.js';

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
