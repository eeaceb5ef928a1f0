/**
 * What the kernel knows of a network interface, by ioctl, in this process's network namespace or in another one.
 * Main thread only: entering another namespace moves the calling thread, and everything here enters and returns within
 * one synchronous call, so no other code ever runs in the wrong one.
 *
 * Sources: netdevice(7), linux/sockios.h, linux/ethtool.h, setns(2).
 */
import { fstatSync } from 'node:fs';
import { OperatingError } from '../errors.js';
import * as native from './native.js';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const CLONE_NEWNET = 0x4000_0000;

const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const SIOCGIFMTU = 0x8921;
const SIOCSIFMTU = 0x8922;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;
const SIOCETHTOOL = 0x8946;
const ETHTOOL_GDRVINFO = 0x03;
const ETHTOOL_GLINK = 0x0a;
const IFF_UP = 1;
const IFF_LOOPBACK = 8;
const IFF_RUNNING = 0x40;
const ARPHRD_ETHER = 1;

/** struct ifreq: a name of at most 15 octets and a union of 24. */
const IFREQ_SIZE = 40;
const IFREQ_VALUE = 16;
export const INTERFACE_NAME_MAX = 15;

/** An open descriptor of a network namespace; HERE is the one this process lives in. */
export type NamespaceFd = number;
export const HERE: NamespaceFd = -1;

export interface InterfaceState {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  /** aa:bb:cc:dd:ee:ff */
  readonly mac: string;
  /** Administratively up. */
  readonly isUp: boolean;
  /** Up, and its far side is there too. */
  readonly hasCarrier: boolean;
  /** It carries Ethernet frames (not a tunnel, not loopback). */
  readonly isEthernet: boolean;
}

/** A struct ifreq with the interface's name in it. Names longer than the kernel's are refused, not cut off. */
export function interfaceRequest(name: string): Uint8Array {
  const octets = new TextEncoder().encode(name);
  if (octets.length === 0 || octets.length > INTERFACE_NAME_MAX || octets.includes(0x2f)) {
    throw new OperatingError(`'${name}' can't be the name of an interface`, {
      code: 'bad-request',
      fix: `use 1 to ${INTERFACE_NAME_MAX} octets without '/'`,
    });
  }
  const request = new Uint8Array(IFREQ_SIZE);
  request.set(octets);
  return request;
}

/** The name that an ifreq holds. */
export function requestedName(request: Uint8Array): string {
  const end = request.indexOf(0);
  return new TextDecoder().decode(request.slice(0, end < 0 || end > INTERFACE_NAME_MAX ? INTERFACE_NAME_MAX : end));
}

/**
 * Runs `action` with this thread inside the namespace, and comes back. A process that can't come back would make its
 * next devices in somebody else's namespace: it ends instead.
 */
export function inNamespace<Result>(namespace: NamespaceFd, action: () => Result): Result {
  if (namespace === HERE) return action();
  const home = openNamespace('/proc/thread-self/ns/net');
  try {
    native.check(
      'entering a network namespace',
      native.setns(namespace, CLONE_NEWNET),
      'run as root, or grant CAP_SYS_ADMIN: it is needed for interfaces that were moved to another namespace',
    );
    try {
      return action();
    } finally {
      if (native.setns(home, CLONE_NEWNET) < 0) process.abort();
    }
  } finally {
    native.close(home);
  }
}

/** Opens a namespace by its path; the caller closes it. Throws an OperatingError. */
export function openNamespace(path: string): NamespaceFd {
  return native.check(`opening ${path}`, native.open(path, native.O_RDONLY | native.O_CLOEXEC));
}

/** The namespace's inode number: tells it from every other living one. */
export function namespaceInode(namespace: NamespaceFd): number {
  if (namespace !== HERE) return fstatSync(namespace).ino;
  const here = openNamespace('/proc/thread-self/ns/net');
  try {
    return fstatSync(here).ino;
  } finally {
    native.close(here);
  }
}

/** The interface as it is now; undefined when there is none of this name. */
export function queryInterface(name: string, namespace: NamespaceFd = HERE): InterfaceState | undefined {
  return withSocket(namespace, (fd) => {
    const request = interfaceRequest(name);
    const view = new DataView(request.buffer);
    if (!asks(fd, SIOCGIFINDEX, request, name)) return undefined;
    const index = view.getInt32(IFREQ_VALUE, true);
    if (!asks(fd, SIOCGIFFLAGS, request, name)) return undefined;
    const flags = view.getUint16(IFREQ_VALUE, true);
    if (!asks(fd, SIOCGIFMTU, request, name)) return undefined;
    const mtu = view.getInt32(IFREQ_VALUE, true);
    if (!asks(fd, SIOCGIFHWADDR, request, name)) return undefined;
    return {
      name,
      index,
      mtu,
      mac: printMac(request, IFREQ_VALUE + 2),
      isUp: (flags & IFF_UP) !== 0,
      isEthernet: view.getUint16(IFREQ_VALUE, true) === ARPHRD_ETHER && (flags & IFF_LOOPBACK) === 0,
      hasCarrier: (flags & IFF_UP) !== 0 && (askLink(fd, name) ?? (flags & IFF_RUNNING) !== 0),
    };
  });
}

/**
 * The link as the driver knows it now; undefined if it does not say. IFF_RUNNING follows only when the kernel's link watch
 * has run: of 300 TAPs asked right after they were attached, 2 were still said to be without a carrier, which would flush
 * what a restarted daemon has of the stations behind them.
 */
function askLink(fd: number, name: string): boolean | undefined {
  // struct ethtool_value, in an array that V8 keeps outside its heap.
  const value = new Uint8Array(256);
  const view = new DataView(value.buffer);
  view.setUint32(0, ETHTOOL_GLINK, true);
  const request = interfaceRequest(name);
  new DataView(request.buffer).setBigUint64(IFREQ_VALUE, BigInt(native.addressOf(value.buffer)), true);
  return native.ioctl(fd, SIOCETHTOOL, request) < 0 ? undefined : view.getUint32(4, true) !== 0;
}

export function setInterfaceMtu(name: string, mtu: number, namespace: NamespaceFd = HERE): void {
  const request = interfaceRequest(name);
  new DataView(request.buffer).setInt32(IFREQ_VALUE, mtu, true);
  withSocket(namespace, (fd) => {
    if (native.ioctl(fd, SIOCSIFMTU, request) >= 0) return;
    const number = native.errno();
    throw native.failure(
      `setting the MTU of ${name} to ${mtu}`,
      number,
      number === native.EINVAL ? 'choose an MTU that the device can carry' : undefined,
    );
  });
}

export function setInterfaceUp(name: string, up: boolean, namespace: NamespaceFd = HERE): void {
  withSocket(namespace, (fd) => {
    const request = interfaceRequest(name);
    const view = new DataView(request.buffer);
    native.check(`reading the flags of ${name}`, native.ioctl(fd, SIOCGIFFLAGS, request));
    const flags = view.getUint16(IFREQ_VALUE, true);
    view.setUint16(IFREQ_VALUE, up ? flags | IFF_UP : flags & ~IFF_UP, true);
    native.check(`setting ${name} ${up ? 'up' : 'down'}`, native.ioctl(fd, SIOCSIFFLAGS, request));
  });
}

/** Driver and bus of an interface as ethtool says them: 'tun' and 'tap' for a TAP, 'veth' and '' for a veth. */
export function interfaceDriver(
  name: string,
  namespace: NamespaceFd = HERE,
): { driver: string; bus: string } | undefined {
  return withSocket(namespace, (fd) => {
    // Larger than what V8 keeps inside its heap, so it stays where it is for the length of the call.
    const information = new Uint8Array(256);
    new DataView(information.buffer).setUint32(0, ETHTOOL_GDRVINFO, true);
    const request = interfaceRequest(name);
    new DataView(request.buffer).setBigUint64(IFREQ_VALUE, BigInt(native.addressOf(information.buffer)), true);
    if (native.ioctl(fd, SIOCETHTOOL, request) < 0) return undefined;
    return { driver: textAt(information, 4), bus: textAt(information, 100) };
  });
}

function withSocket<Result>(namespace: NamespaceFd, action: (fd: number) => Result): Result {
  const fd = inNamespace(namespace, () => native.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0));
  native.check('opening a socket', fd);
  try {
    return action(fd);
  } finally {
    native.close(fd);
  }
}

/** False when there is no such interface; other failures throw. */
function asks(fd: number, command: number, request: Uint8Array, name: string): boolean {
  if (native.ioctl(fd, command, request) >= 0) return true;
  const number = native.errno();
  if (number === native.ENODEV) return false;
  throw native.failure(`asking for interface ${name}`, number);
}

function printMac(octets: Uint8Array, start: number): string {
  return Array.from(octets.slice(start, start + 6), (octet) => octet.toString(16).padStart(2, '0')).join(':');
}

function textAt(octets: Uint8Array, start: number): string {
  const end = octets.indexOf(0, start);
  return new TextDecoder().decode(octets.slice(start, Math.min(end < 0 ? start + 32 : end, start + 32)));
}
