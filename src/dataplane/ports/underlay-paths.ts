/**
 * What the kernel's routes say of the ways to an underlay's remotes: is there one, and which packets fit it. Asked by
 * connecting a UDP socket, which sends nothing: the answer then has whatever decides, rules, metrics and what routers said
 * of the path's MTU (RFC 1191, RFC 8201). About 5 us a remote. Main thread.
 *
 * What an attacker can do: who forges an ICMP message that quotes one of our datagrams lowers the MTU the kernel believes
 * in of the path to that remote, for ten minutes and to no less than 552 octets (1280 with IPv6): that is path-MTU
 * discovery, for any of the host's traffic.
 */
import { networkInterfaces } from 'node:os';
import { IPV4_SIZE, ipText, parseIp } from '../../wire/address.js';
import { queryInterface } from '../interface.js';
import * as native from '../native.js';
import type { UnderlayPath } from '../port.js';
import { AF_INET, AF_INET6, socketAddress } from '../socket-address.js';

const SOCK_DGRAM = 2;
const SOL_IP = 0;
const IP_MTU = 14;
const SOL_IPV6 = 41;
const IPV6_MTU = 24;
/** Any port: nothing is sent to it. */
const DISCARD = 9;
/** Of Ethernet: when neither a route nor an interface says one. */
const MTU_DEFAULT = 1500;

/**
 * The paths from `local` to each remote; undefined when this host does not have the address. Throws an OperatingError when
 * there is no socket to ask by.
 */
export function askForPaths(local: Uint8Array, remotes: readonly string[]): UnderlayPath[] | undefined {
  const isIpv4 = local.length === IPV4_SIZE;
  const type = SOCK_DGRAM | native.O_CLOEXEC | native.O_NONBLOCK;
  const fd = native.check('opening a socket', native.socket(isIpv4 ? AF_INET : AF_INET6, type, 0));
  try {
    // The kernel lets nobody bind to what is not its own (ip_nonlocal_bind aside), nor while an IPv6 address is tentative.
    if (native.bind(fd, socketAddress(local, 0)) < 0) {
      if (native.errno() === native.EADDRNOTAVAIL) return undefined;
      throw native.failure(`binding to ${ipText(local)}`, native.errno());
    }
    return remotes.map((remote) => pathTo(fd, remote, isIpv4));
  } finally {
    native.close(fd);
  }
}

function pathTo(fd: number, remote: string, isIpv4: boolean): UnderlayPath {
  const address = parseIp(remote);
  if (address === undefined || (address.length === IPV4_SIZE) !== isIpv4)
    return { remote, mtu: 0, state: 'down', reason: `${remote} is of another family than the local address` };
  if (native.connect(fd, socketAddress(address, DISCARD)) < 0)
    return { remote, mtu: 0, state: 'down', reason: reasonOf(native.errno(), remote) };
  const mtu = new Int32Array(1);
  const result = isIpv4 ? native.getsockopt(fd, SOL_IP, IP_MTU, mtu) : native.getsockopt(fd, SOL_IPV6, IPV6_MTU, mtu);
  if (result < 0) return { remote, mtu: 0, state: 'down', reason: reasonOf(native.errno(), remote) };
  return { remote, mtu: mtu[0], state: 'up' };
}

function reasonOf(errno: number, remote: string): string {
  const isRoute = errno === native.ENETUNREACH || errno === native.EHOSTUNREACH;
  return isRoute ? `no route to ${remote}` : `no way to ${remote}: ${native.errnoName(errno)}`;
}

/** The MTU of the device, which paths may be narrower than; without a device, that of the widest path. */
export function underlayMtu(device: string | undefined, paths: readonly UnderlayPath[]): number {
  const own = device === undefined ? undefined : queryInterface(device)?.mtu;
  return own ?? (paths.reduce((most, { mtu }) => Math.max(most, mtu), 0) || MTU_DEFAULT);
}

/**
 * The interface that has the address and is running; undefined: there is none, or it is the loopback, by which nothing leaves
 * (the address is there where routers are told of it). Costs milliseconds where there are thousands of interfaces.
 */
export function deviceOf(local: Uint8Array): string | undefined {
  const text = ipText(local);
  for (const [name, addresses] of Object.entries(networkInterfaces()))
    for (const { address, internal } of addresses ?? [])
      if (!internal && ipText(parseIp(address)!) === text) return name;
  return undefined;
}

/** Ways through which less passes than `mtu`: remote and what does, as text to compare. */
export function narrowWays(paths: readonly UnderlayPath[], mtu: number): string {
  const narrow = paths.filter((path) => path.mtu > 0 && path.mtu < mtu);
  return narrow.map((path) => `${path.remote} ${path.mtu}`).join();
}
