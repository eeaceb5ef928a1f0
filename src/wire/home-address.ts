/**
 * The home address option (RFC 6275 6.3): a destination option that makes a packet count as sent from another address than
 * its source. Who judges sources must know it. @hot
 *
 * The packet's chain of extension headers has been walked (wire/ipv6.ts) and found whole, so its headers lie in the packet
 * and are few. Options are walked with bounds of their own: at most one step for each octet of their header.
 */
import { IPV6_EXTENSION_HEADERS_MAX } from '../limits.js';
import { PROTOCOL_AH, PROTOCOL_DESTINATION_OPTIONS, PROTOCOL_FRAGMENT, PROTOCOL_HOP_BY_HOP } from './ip-protocol.js';
import { IPV6_FRAGMENT_HEADER_SIZE, IPV6_HEADER_SIZE, IPV6_NEXT_HEADER } from './ipv6.js';

const OPTION_PAD1 = 0;
const OPTION_HOME_ADDRESS = 0xc9;
const ADDRESS_SIZE = 16;

export const HOME_ADDRESS_NONE = 0;
export const HOME_ADDRESS_MALFORMED = -1;

/**
 * Position of the home address in the IPv6 packet at `position` whose upper layer begins at `upper`; NONE; or MALFORMED when
 * options do not end where their header does, there are two home addresses, or one has another length than addresses have.
 */
export function findHomeAddress(octets: Uint8Array, position: number, upper: number): number {
  let found = HOME_ADDRESS_NONE;
  let kind = octets[position + IPV6_NEXT_HEADER];
  let at = position + IPV6_HEADER_SIZE;
  for (let count = 0; at < upper && count < IPV6_EXTENSION_HEADERS_MAX; count++) {
    let size = (octets[at + 1] + 1) << 3;
    if (kind === PROTOCOL_FRAGMENT) size = IPV6_FRAGMENT_HEADER_SIZE;
    else if (kind === PROTOCOL_AH) size = (octets[at + 1] + 2) << 2;
    else if (kind === PROTOCOL_HOP_BY_HOP || kind === PROTOCOL_DESTINATION_OPTIONS) {
      const inside = findInOptions(octets, at + 2, at + size);
      if (inside === HOME_ADDRESS_MALFORMED || (inside !== HOME_ADDRESS_NONE && found !== HOME_ADDRESS_NONE))
        return HOME_ADDRESS_MALFORMED;
      if (inside !== HOME_ADDRESS_NONE) found = inside;
    }
    kind = octets[at];
    at += size;
  }
  return found;
}

/** The same among the options from `at` to `end` (RFC 8200 4.2). */
function findInOptions(octets: Uint8Array, start: number, end: number): number {
  let found = HOME_ADDRESS_NONE;
  for (let at = start; at < end; ) {
    if (octets[at] === OPTION_PAD1) {
      at++;
      continue;
    }
    if (at + 2 > end || at + 2 + octets[at + 1] > end) return HOME_ADDRESS_MALFORMED;
    if (octets[at] === OPTION_HOME_ADDRESS) {
      if (octets[at + 1] !== ADDRESS_SIZE || found !== HOME_ADDRESS_NONE) return HOME_ADDRESS_MALFORMED;
      found = at + 2;
    }
    at += 2 + octets[at + 1];
  }
  return found;
}
