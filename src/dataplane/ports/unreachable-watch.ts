/**
 * Hears what routers and remote hosts say of datagrams they could not deliver: ICMP destination unreachable (RFC 792, RFC
 * 1191) and ICMPv6 destination unreachable, packet too big and parameter problem (RFC 4443), addressed to the underlay's
 * own address and quoting one of its datagrams. By a raw socket and not by the sockets' own error queues (IP_RECVERR),
 * because those make the next send to anybody fail. Main thread only.
 *
 * What an attacker can do: who can send such messages with forged quotations makes a remote look down in lists. Nothing is
 * decided by it. Floods are bounded: MESSAGES_MAX a turn of the event loop, the rest lost in a small socket buffer.
 */
import { IPV4_SIZE, ipText } from '../../wire/address.js';
import {
  ICMP_HEADER_SIZE,
  ICMP_UNREACHABLE,
  ICMPV6_PACKET_TOO_BIG,
  ICMPV6_PARAMETER_PROBLEM,
  ICMPV6_UNREACHABLE,
} from '../../wire/icmp.js';
import { PROTOCOL_GRE, PROTOCOL_UDP } from '../../wire/ip-protocol.js';
import { type DescriptorWatch, watchDescriptor } from '../descriptor-watch.js';
import * as native from '../native.js';
import { AF_INET, AF_INET6, SOCKET_ADDRESS_SIZE, socketAddress, socketIp } from '../socket-address.js';

const SOCK_RAW = 3;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;
const SOL_RAW = 255;
const ICMP_FILTER = 1;
const ICMP6_FILTER = 1;
const ICMP_FRAGMENTATION_NEEDED = 4;
const MESSAGES_MAX = 64;
const MESSAGE_SIZE = 2048;
const IPV6_HEADER_SIZE = 40;

/** By code. */
const UNREACHABLE: readonly string[] = ['network', 'host', 'protocol', 'port'];
const UNREACHABLE_V6: readonly string[] = ['network', 'network', 'network', 'host', 'port'];

/** Whose datagrams: those from `local` to the UDP port, or GRE packets when it is 0. */
export interface QuotedFlow {
  readonly local: Uint8Array;
  readonly port: number;
}

export interface UnreachableListener {
  /** `reason`: `port unreachable by 192.0.2.2`. */
  unreachable(remote: string, reason: string): void;
  /** A datagram was too long for the path: the kernel knows a new MTU. */
  tooBig(remote: string): void;
}

/** Listens until the returned function is called. Throws an OperatingError. */
export function watchUnreachable(flow: QuotedFlow, listener: UnreachableListener): () => void {
  const fd = openIcmp(flow.local);
  const watch: DescriptorWatch = watchDescriptor(fd, native.POLLIN, () => readMessages(fd, flow, listener));
  return () => {
    watch.stop();
    native.close(fd);
  };
}

function openIcmp(local: Uint8Array): number {
  const isIpv4 = local.length === IPV4_SIZE;
  const type = SOCK_RAW | native.O_NONBLOCK | native.O_CLOEXEC;
  const fd = isIpv4 ? native.socket(AF_INET, type, IPPROTO_ICMP) : native.socket(AF_INET6, type, IPPROTO_ICMPV6);
  native.check('opening an ICMP socket', fd);
  // A set bit keeps messages of that type out.
  const blocked = new Int32Array(isIpv4 ? 1 : 8).fill(-1);
  blocked[0] = isIpv4
    ? ~(1 << ICMP_UNREACHABLE)
    : ~((1 << ICMPV6_UNREACHABLE) | (1 << ICMPV6_PACKET_TOO_BIG) | (1 << ICMPV6_PARAMETER_PROBLEM));
  const result = isIpv4
    ? native.setsockopt(fd, SOL_RAW, ICMP_FILTER, blocked)
    : native.setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, blocked);
  if (result >= 0 && native.bind(fd, socketAddress(local, 0)) >= 0) return fd;
  const number = native.errno();
  native.close(fd);
  throw native.failure(`listening for ICMP at ${ipText(local)}`, number);
}

function readMessages(fd: number, flow: QuotedFlow, listener: UnreachableListener): void {
  const octets = new Uint8Array(MESSAGE_SIZE);
  const sender = new Uint8Array(SOCKET_ADDRESS_SIZE);
  for (let count = 0; count < MESSAGES_MAX; count++) {
    const size = native.recvfrom(fd, octets, sender);
    if (size < 0) return;
    const message = octets.subarray(0, Math.min(size, MESSAGE_SIZE));
    if (flow.local.length === IPV4_SIZE) tellOfIpv4(message, ipText(socketIp(sender)), flow, listener);
    else tellOfIpv6(message, ipText(socketIp(sender)), flow, listener);
  }
}

/** A raw socket of IPv4 gives the IP header with the message. */
function tellOfIpv4(packet: Uint8Array, from: string, flow: QuotedFlow, listener: UnreachableListener): void {
  const message = packet.subarray((packet[0] & 0x0f) << 2);
  if (message[0] !== ICMP_UNREACHABLE) return;
  const quoted = message.subarray(ICMP_HEADER_SIZE);
  const headerSize = (quoted[0] & 0x0f) << 2;
  if (headerSize < 20 || quoted.length < headerSize + 8 || quoted[0] >> 4 !== 4) return;
  if (!isOurs(quoted, 12, IPV4_SIZE, quoted[9], headerSize, flow)) return;
  const remote = ipText(quoted.slice(16, 20));
  if (message[1] === ICMP_FRAGMENTATION_NEEDED) listener.tooBig(remote);
  else listener.unreachable(remote, `${UNREACHABLE[message[1]] ?? 'administratively'} unreachable by ${from}`);
}

function tellOfIpv6(message: Uint8Array, from: string, flow: QuotedFlow, listener: UnreachableListener): void {
  const quoted = message.subarray(ICMP_HEADER_SIZE);
  if (quoted.length < IPV6_HEADER_SIZE + 8 || quoted[0] >> 4 !== 6) return;
  // Our datagrams have no extension headers.
  if (!isOurs(quoted, 8, 16, quoted[6], IPV6_HEADER_SIZE, flow)) return;
  const remote = ipText(quoted.slice(24, 40));
  const [type, code] = message;
  if (type === ICMPV6_PACKET_TOO_BIG) listener.tooBig(remote);
  else if (type === ICMPV6_UNREACHABLE)
    listener.unreachable(remote, `${UNREACHABLE_V6[code] ?? 'administratively'} unreachable by ${from}`);
  // An unrecognized next header is what IPv4 calls an unreachable protocol.
  else if (type === ICMPV6_PARAMETER_PROBLEM && code === 1)
    listener.unreachable(remote, `protocol unreachable by ${from}`);
}

function isOurs(
  quoted: Uint8Array,
  sourceAt: number,
  size: number,
  protocol: number,
  payload: number,
  { local, port }: QuotedFlow,
): boolean {
  if (!local.every((octet, index) => quoted[sourceAt + index] === octet) || local.length !== size) return false;
  if (port === 0) return protocol === PROTOCOL_GRE;
  return protocol === PROTOCOL_UDP && ((quoted[payload + 2] << 8) | quoted[payload + 3]) === port;
}
