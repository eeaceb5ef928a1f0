/** Socket addresses of IP as the kernel has them: sockaddr_in and sockaddr_in6, from and to parsed addresses. Main thread. */
import { IPV4_SIZE, IPV6_SIZE } from '../wire/address.js';

export const AF_INET = 2;
export const AF_INET6 = 10;
/** Octets that hold either. */
export const SOCKET_ADDRESS_SIZE = 28;

const IPV4_AT = 4;
const IPV6_AT = 8;

/** `address` has 4 or 16 octets. */
export function socketAddress(address: Uint8Array, port: number): Uint8Array {
  const isIpv4 = address.length === IPV4_SIZE;
  const octets = new Uint8Array(isIpv4 ? 16 : SOCKET_ADDRESS_SIZE);
  octets[0] = isIpv4 ? AF_INET : AF_INET6;
  octets[2] = port >> 8;
  octets[3] = port;
  octets.set(address, isIpv4 ? IPV4_AT : IPV6_AT);
  return octets;
}

export function socketPort(octets: Uint8Array): number {
  return (octets[2] << 8) | octets[3];
}

/** The address in it, with 4 or 16 octets. */
export function socketIp(octets: Uint8Array): Uint8Array {
  const isIpv4 = octets[0] === AF_INET;
  const from = isIpv4 ? IPV4_AT : IPV6_AT;
  return octets.slice(from, from + (isIpv4 ? IPV4_SIZE : IPV6_SIZE));
}
