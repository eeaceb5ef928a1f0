/**
 * AF_PACKET sockets of an interface, made so that no frame arrives before every option holds: protocol 0 first, bound
 * last. Main thread; the sockets are then read and written by workers.
 *
 *   PACKET_VNET_HDR         super-frames and partial checksums, both ways; the kernel segments for an interface without TSO
 *   PACKET_AUXDATA          the outer VLAN tag, which the kernel takes out of the frame
 *   PACKET_IGNORE_OUTGOING  not what the host or others send on the interface
 *   PACKET_QDISC_BYPASS     is off: with it nothing segments, and tcpdump does not see what is sent
 *   PACKET_FANOUT           frames of a flow go to the same one of several sockets
 *
 * Sources: packet(7), linux/if_packet.h, net/packet/af_packet.c.
 */
import { release } from 'node:os';
import { PACKET_SOCKET_BUFFER } from '../../limits.js';
import * as native from '../native.js';
import { NO_OFFLOAD, type PortFeatures } from '../port.js';
import { attachDeafFilter, setReceiveBuffer, setSendBuffer } from '../socket-options.js';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const ETH_P_ALL_NETWORK_ORDER = 0x0300;
const SOL_SOCKET = 1;
const SO_DETACH_FILTER = 27;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_AUXDATA = 8;
const PACKET_VNET_HDR = 15;
const PACKET_FANOUT = 18;
const PACKET_IGNORE_OUTGOING = 23;
const PACKET_MR_PROMISC = 1;
const FANOUT_HASH = 0;
const FANOUT_FLAG_UNIQUE_ID = 0x2000;

/** The kernel from which on a vnet header may ask for UDP segmentation. */
const UDP_SEGMENTATION_SINCE = [6, 2] as const;

export interface PacketSockets {
  readonly fds: readonly number[];
  readonly vnetHeader: boolean;
  readonly features: PortFeatures;
}

/** Opens `count` sockets that share the interface's frames by flow. All or none. Throws an OperatingError. */
export function openPacketSockets(
  device: string,
  index: number,
  count: number,
  offload: 'auto' | 'off',
): PacketSockets {
  const fds: number[] = [];
  try {
    for (let queue = 0; queue < count; queue++)
      fds.push(native.check(`opening a packet socket for ${device}`, openSocket()));
    const vnetHeader = fds.map(setOptions).every((accepted) => accepted);
    if (!vnetHeader) for (const fd of fds) setFlag(fd, PACKET_VNET_HDR, 0);
    if (count === 1) bindTo(fds[0], device, index);
    else joinFanout(fds, device, index);
    for (const fd of fds) addPromiscuous(fd, device, index);
    return { fds, vnetHeader, features: vnetHeader && offload === 'auto' ? allFeatures() : NO_OFFLOAD };
  } catch (error) {
    for (const fd of fds) native.close(fd);
    throw error;
  }
}

function openSocket(): number {
  return native.socket(AF_PACKET, SOCK_RAW | native.O_NONBLOCK | native.O_CLOEXEC, 0);
}

/** Returns whether the kernel gives vnet headers; every other option it must know (Linux 4.20). */
function setOptions(fd: number): boolean {
  const vnetHeader = setFlag(fd, PACKET_VNET_HDR, 1) >= 0;
  const fix = 'Linux 4.20 or newer is needed';
  native.check('asking for VLAN tags (PACKET_AUXDATA)', setFlag(fd, PACKET_AUXDATA, 1), fix);
  native.check('leaving out sent frames (PACKET_IGNORE_OUTGOING)', setFlag(fd, PACKET_IGNORE_OUTGOING, 1), fix);
  // The default holds three super-frames.
  setReceiveBuffer(fd, PACKET_SOCKET_BUFFER);
  setSendBuffer(fd, PACKET_SOCKET_BUFFER);
  return vnetHeader;
}

function setFlag(fd: number, option: number, value: number): number {
  return native.setsockopt(fd, SOL_PACKET, option, new Int32Array([value]));
}

function bindTo(fd: number, device: string, index: number): void {
  // struct sockaddr_ll
  const address = new Uint8Array(20);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, ETH_P_ALL_NETWORK_ORDER, true);
  view.setInt32(4, index, true);
  native.check(`binding to ${device}`, native.bind(fd, address));
}

/**
 * Bound sockets that have not joined yet would all get every frame, so they are deaf until all have: a filter that keeps
 * nothing is on each of them meanwhile.
 */
function joinFanout(fds: readonly number[], device: string, index: number): void {
  let group = 0;
  for (const [queue, fd] of fds.entries()) {
    attachDeafFilter(fd);
    bindTo(fd, device, index);
    const how = queue === 0 ? FANOUT_FLAG_UNIQUE_ID | FANOUT_HASH : FANOUT_HASH;
    native.check(`sharing ${device} among queues (PACKET_FANOUT)`, setFlag(fd, PACKET_FANOUT, group | (how << 16)));
    if (queue === 0) group = fanoutGroup(fd);
  }
  for (const fd of fds) native.setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, new Int32Array([0]));
}

function fanoutGroup(fd: number): number {
  const value = new Int32Array(1);
  native.check('asking for the fanout group', native.getsockopt(fd, SOL_PACKET, PACKET_FANOUT, value));
  return value[0] & 0xffff;
}

function addPromiscuous(fd: number, device: string, index: number): void {
  // struct packet_mreq { int ifindex; u16 type; u16 alen; u8 address[8] }; it ends with the socket.
  const membership = new Uint8Array(16);
  const view = new DataView(membership.buffer);
  view.setInt32(0, index, true);
  view.setUint16(4, PACKET_MR_PROMISC, true);
  native.check(`making ${device} promiscuous`, native.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership));
}

function allFeatures(): PortFeatures {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  const [sinceMajor, sinceMinor] = UDP_SEGMENTATION_SINCE;
  return {
    checksum: true,
    tcp4: true,
    tcp6: true,
    udp: major > sinceMajor || (major === sinceMajor && minor >= sinceMinor),
  };
}
