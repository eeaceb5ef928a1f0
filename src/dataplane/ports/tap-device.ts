/**
 * The TUN driver's ioctls: opening a TAP's queues, its offloads, whether it persists, where its kernel end lies.
 * Main thread: may enter another namespace for the length of a call.
 *
 * Sources: linux/if_tun.h, drivers/net/tun.c, Documentation/networking/tuntap.rst.
 */
import { OperatingError } from '../../errors.js';
import { VNET_HEADER_SIZE } from '../../wire/virtio-net.js';
import {
  HERE,
  inNamespace,
  interfaceDriver,
  interfaceRequest,
  type NamespaceFd,
  queryInterface,
  requestedName,
} from '../interface.js';
import * as native from '../native.js';
import { NO_OFFLOAD, type PortFeatures } from '../port.js';

const TUNSETIFF = 0x4004_54ca;
const TUNSETPERSIST = 0x4004_54cb;
const TUNSETOFFLOAD = 0x4004_54d0;
const TUNGETIFF = 0x8004_54d2;
const TUNSETVNETHDRSZ = 0x4004_54d8;
const TUNGETDEVNETNS = 0x54e3;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const OFFLOAD_CHECKSUM = 0x01;
const OFFLOAD_TSO4 = 0x02;
const OFFLOAD_TSO6 = 0x04;
const OFFLOAD_TSO_ECN = 0x08;
const OFFLOAD_USO4 = 0x20;
const OFFLOAD_USO6 = 0x40;
const OFFLOAD_TCP = OFFLOAD_CHECKSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 | OFFLOAD_TSO_ECN;
const OFFLOAD_USO = OFFLOAD_USO4 | OFFLOAD_USO6;

const TUN_DEVICE = '/dev/net/tun';
/** struct ifreq: where the flags lie. */
const IFREQ_FLAGS = 16;

/**
 * Opens `count` queues of the TAP, which is made if the namespace has none of this name. All or none: on failure nothing
 * stays open. Throws an OperatingError that says what is in the way.
 */
export function openTapQueues(device: string, count: number, namespace: NamespaceFd = HERE): number[] {
  const isMultiQueue = queueFlagsOf(device, count, namespace);
  const fds: number[] = [];
  try {
    for (let index = 0; index < count; index++) fds.push(openQueue(device, isMultiQueue, namespace));
  } catch (error) {
    for (const fd of fds) native.close(fd);
    throw error;
  }
  return fds;
}

/**
 * Whether the queues must be opened as a multi-queue device's. What an existing device is can't be asked for in every
 * namespace (sysfs shows one only), so it is tried: the driver answers EINVAL to the wrong one.
 */
function queueFlagsOf(device: string, count: number, namespace: NamespaceFd): boolean {
  const wanted = count > 1;
  if (queryInterface(device, namespace) === undefined) return wanted;
  const first = tryQueue(device, wanted, namespace);
  if (first >= 0) return closed(first, wanted);
  if (first !== -native.EINVAL) throw refusal(device, -first);
  const other = tryQueue(device, !wanted, namespace);
  if (other < 0) throw other === -native.EINVAL ? wrongType(device, namespace) : refusal(device, -other);
  native.close(other);
  if (!wanted) return true;
  throw new OperatingError(`${device} was made with a single queue, and the port asks for ${count}`, {
    code: 'no-device',
    errno: 'EINVAL',
    fix: `set queues: 1, or make it again with: ip tuntap add ${device} mode tap multi_queue`,
  });
}

function closed<Result>(fd: number, result: Result): Result {
  native.close(fd);
  return result;
}

function openQueue(device: string, isMultiQueue: boolean, namespace: NamespaceFd): number {
  const fd = tryQueue(device, isMultiQueue, namespace);
  if (fd < 0) throw refusal(device, -fd);
  const size = native.ioctl(fd, TUNSETVNETHDRSZ, new Int32Array([VNET_HEADER_SIZE]));
  if (size >= 0) return fd;
  const number = native.errno();
  native.close(fd);
  throw native.failure(`setting the vnet header size of ${device}`, number);
}

/** A descriptor, or a negative errno of TUNSETIFF. The driver looks for the device in the namespace it was opened in. */
function tryQueue(device: string, isMultiQueue: boolean, namespace: NamespaceFd): number {
  const request = interfaceRequest(device);
  const flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (isMultiQueue ? IFF_MULTI_QUEUE : 0);
  new DataView(request.buffer).setUint16(IFREQ_FLAGS, flags, true);
  const fd = inNamespace(namespace, openTun);
  if (native.ioctl(fd, TUNSETIFF, request) >= 0) return fd;
  const number = native.errno();
  native.close(fd);
  return -number;
}

function openTun(): number {
  const fd = native.open(TUN_DEVICE, native.O_RDWR | native.O_NONBLOCK | native.O_CLOEXEC);
  if (fd >= 0) return fd;
  const number = native.errno();
  const name = native.errnoName(number);
  if (name === 'ENOENT' || name === 'ENODEV' || name === 'ENXIO') {
    throw new OperatingError(`there is no ${TUN_DEVICE}`, {
      code: 'no-device',
      errno: name,
      fix: `load it with: modprobe tun; a container needs: --device ${TUN_DEVICE}`,
    });
  }
  throw native.failure(`opening ${TUN_DEVICE}`, number);
}

function refusal(device: string, number: number): OperatingError {
  const errno = native.errnoName(number);
  if (number === native.EBUSY) {
    return new OperatingError(`${device} is held by another process`, {
      code: 'busy',
      errno,
      fix: 'end the process that has it open; a TAP that QEMU holds is attached with kind: netdev',
    });
  }
  if (number === native.EPERM) {
    return new OperatingError(`no permission to open the TAP ${device}`, {
      code: 'no-privilege',
      errno,
      fix: `run as root, grant CAP_NET_ADMIN, or make it for this user: ip tuntap add ${device} mode tap vnet_hdr user NAME`,
    });
  }
  return native.failure(`opening the TAP ${device}`, number);
}

function wrongType(device: string, namespace: NamespaceFd): OperatingError {
  const found = interfaceDriver(device, namespace);
  const isTun = found?.driver === 'tun';
  const what = isTun
    ? 'is a TUN device, which carries no Ethernet'
    : `is no TAP${found ? ` (driver ${found.driver})` : ''}`;
  return new OperatingError(`${device} ${what}`, {
    code: 'no-device',
    errno: 'EINVAL',
    fix: isTun ? 'choose another device name' : 'use kind: netdev for it, or choose another device name',
  });
}

/**
 * Sets which offloads the kernel end may leave to us; returns what the port takes in turn. A kernel before 6.2 knows no
 * USO and refuses the whole set, so it is asked for a second time without.
 */
export function setTapOffload(fd: number, offload: 'auto' | 'off'): PortFeatures {
  if (offload === 'off') {
    native.check('switching off TAP offloads', native.ioctlInt(fd, TUNSETOFFLOAD, 0));
    return NO_OFFLOAD;
  }
  const udp = native.ioctlInt(fd, TUNSETOFFLOAD, OFFLOAD_TCP | OFFLOAD_USO) >= 0;
  if (!udp) native.check('setting TAP offloads', native.ioctlInt(fd, TUNSETOFFLOAD, OFFLOAD_TCP));
  return { checksum: true, tcp4: true, tcp6: true, udp };
}

/** A persistent TAP outlives its last descriptor. */
export function setTapPersistent(fd: number, persistent: boolean): void {
  native.check('making a TAP persistent', native.ioctlInt(fd, TUNSETPERSIST, persistent ? 1 : 0));
}

/** The device's name now, in whatever namespace it is; undefined when it was deleted. */
export function tapName(fd: number): string | undefined {
  const request = new Uint8Array(40);
  return native.ioctl(fd, TUNGETIFF, request) < 0 ? undefined : requestedName(request);
}

/** The namespace the kernel end lies in, to be closed by the caller; undefined when the device was deleted. */
export function tapNamespace(fd: number): NamespaceFd | undefined {
  const namespace = native.ioctlInt(fd, TUNGETDEVNETNS, 0);
  if (namespace >= 0) return namespace;
  const number = native.errno();
  if (number === native.EBADFD) return undefined;
  throw native.failure(
    "asking for a TAP's namespace",
    number,
    'the kernel must be 5.2 or newer, and the process needs CAP_NET_ADMIN',
  );
}
