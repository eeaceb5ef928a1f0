/**
 * DHCP (RFC 2131, 2132) and DHCPv6 (RFC 8415) messages as far as others are judged by them: who sends to whom, and in whose
 * name. `position` is the first octet behind the UDP header. @hot
 *
 * The walk over options never reads behind the message and takes at most one step for each of its octets.
 */
import { read16, read32 } from './octets.js';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;
export const DHCP6_CLIENT_PORT = 546;
export const DHCP6_SERVER_PORT = 547;

/** Octets from the start of a DHCP message. */
export const DHCP_OPERATION = 0;
export const DHCP_HARDWARE = 1;
export const DHCP_RELAY = 24;
export const DHCP_CLIENT_MAC = 28;
/** The fixed part; a cookie and options follow, or what BOOTP had there. */
export const DHCP_SIZE_MIN = 236;

export const DHCP_REQUEST = 1;
export const DHCP_REPLY = 2;

/** Hardware type Ethernet, addresses of six octets. */
const ETHERNET_HARDWARE = (1 << 8) | 6;
const COOKIE = 0x6382_5363;
const OPTION_PAD = 0;
const OPTION_END = 255;
const OPTION_OVERLOAD = 52;
const OPTION_CLIENT_ID = 61;
/** Hardware type and address. */
const MAC_CLIENT_ID_SIZE = 7;

/** Messages that servers send, and what relays send on for others. */
const DHCP6_ADVERTISE = 2;
const DHCP6_REPLY = 7;
const DHCP6_RECONFIGURE = 10;
const DHCP6_RELAY_FORWARD = 12;
const DHCP6_RELAY_REPLY = 13;

/** Whether a message that ends at `end` has the fixed part whole, of an Ethernet host. */
export function isDhcp(octets: Uint8Array, position: number, end: number): boolean {
  return position + DHCP_SIZE_MIN <= end && read16(octets, position + DHCP_HARDWARE) === ETHERNET_HARDWARE;
}

/** What `findClientIdMac` returns besides a position. */
export const CLIENT_ID_NONE = 0;
export const CLIENT_ID_MALFORMED = -1;

/**
 * Position of the MAC in a client identifier (option 61) that is one, in a message that `isDhcp` accepted; NONE when there is
 * none or it is something else (a DUID, a name); MALFORMED when an option is longer than the message, or when the
 * identifier could be another than it seems.
 */
export function findClientIdMac(octets: Uint8Array, position: number, end: number): number {
  let at = position + DHCP_SIZE_MIN;
  if (at + 4 > end || read32(octets, at) !== COOKIE) return CLIENT_ID_NONE;
  let found = CLIENT_ID_NONE;
  let hasClientId = false;
  for (at += 4; at < end; ) {
    const code = octets[at];
    if (code === OPTION_END) return found;
    if (code === OPTION_PAD) {
      at++;
      continue;
    }
    if (at + 2 > end || at + 2 + octets[at + 1] > end) return CLIENT_ID_MALFORMED;
    const size = octets[at + 1];
    // RFC 3396: parts of one option are put together, and options may go on in other fields (52). No client needs that.
    if (code === OPTION_OVERLOAD || (code === OPTION_CLIENT_ID && hasClientId)) return CLIENT_ID_MALFORMED;
    if (code === OPTION_CLIENT_ID) {
      hasClientId = true;
      if (size === MAC_CLIENT_ID_SIZE && octets[at + 2] === 1) found = at + 3;
    }
    at += 2 + size;
  }
  return found;
}

/** Whether a DHCPv6 message of this type comes from a server (or a relay towards its clients). */
export function isDhcp6ServerMessage(type: number): boolean {
  return type === DHCP6_ADVERTISE || type === DHCP6_REPLY || type === DHCP6_RECONFIGURE || type === DHCP6_RELAY_REPLY;
}

/** Whether a DHCPv6 message of this type speaks for another client. */
export function isDhcp6Relayed(type: number): boolean {
  return type === DHCP6_RELAY_FORWARD;
}
