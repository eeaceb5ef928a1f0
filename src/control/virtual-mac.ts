/**
 * The MAC addresses of what the switch is itself in a network: its router's interface there and its address service, which
 * are one station for those behind it. Pure.
 *
 * Made from names, so that every host with the same configuration has the same: a machine that moves to another host, or
 * whose daemon is restarted, keeps its gateway. Locally administered (the second lowest bit of the first octet), unicast.
 */
import { createHash } from 'node:crypto';
import { MAC_SIZE } from '../wire/ethernet.js';

/**
 * Of the switch in a network. A network's second router, which is not the gateway of its subnets, is another station: it gives
 * its own name.
 */
export function virtualMac(network: string, router = ''): Uint8Array {
  const digest = createHash('sha256').update(`weft station\0${network}\0${router}`).digest();
  const mac = Uint8Array.from(digest.subarray(0, MAC_SIZE));
  mac[0] = (mac[0] & 0xfc) | 0x02;
  return mac;
}

/** The link-local address that a MAC makes (RFC 4291 appendix A): fe80::/64 and the modified EUI-64. */
export function linkLocalOf(mac: Uint8Array): Uint8Array {
  const address = new Uint8Array(16);
  address.set([0xfe, 0x80]);
  address.set([mac[0] ^ 0x02, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]], 8);
  return address;
}
