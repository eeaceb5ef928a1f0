/**
 * The sockets of an underlay: what datagrams of tunnels are received and sent by. Main thread; workers then read and write
 * them. All are bound to the underlay's own address, so whatever else the host does with the protocol is left alone.
 *
 *   UDP  receivers  one a worker, bound to the tunnels' port together (SO_REUSEPORT: the kernel chooses by addresses and
 *                   ports, so a flow stays with one). UDP_GRO: several datagrams of one flow come as one message.
 *        senders    bound to ports of the kernel's choice; what is sent to those is thrown away. They come in two sets
 *                   with the same ports when checksums are off (RFC 6935, RFC 7348 section 4.1): the kernel refuses to cut
 *                   a message into datagrams for a socket that sends none (EINVAL from UDP_SEGMENT with SO_NO_CHECK; Linux
 *                   6.18 still), so such messages go by sockets that do. It costs nothing where the device makes them.
 *   GRE  one raw socket for all: each further one would get a copy of every packet. The kernel makes the IP header.
 *
 * What is too long for the path is refused (DF, EMSGSIZE), never fragmented: receivers that reassemble are easily exhausted.
 * A far end that is unreachable must not fail sends to others, so errors are not asked for (IP_RECVERR); see
 * unreachable-watch.ts.
 *
 * Sources: ip(7), ipv6(7), udp(7), raw(7), net/ipv4/udp.c.
 */
import { OperatingError } from '../../errors.js';
import { UNDERLAY_RECEIVE_BUFFER, UNDERLAY_SEND_BUFFER } from '../../limits.js';
import { IPV4_SIZE, ipText } from '../../wire/address.js';
import { PROTOCOL_GRE } from '../../wire/ip-protocol.js';
import { UDP_HEADER_SIZE } from '../../wire/udp.js';
import * as native from '../native.js';
import type { DatagramTransport, RawStreamTransport, UnderlayIntent } from '../port.js';
import { AF_INET, AF_INET6, SOCKET_ADDRESS_SIZE, socketAddress, socketPort } from '../socket-address.js';
import { attachDeafFilter, attachFilter, BPF_RETURN, setReceiveBuffer, setSendBuffer } from '../socket-options.js';

const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOL_SOCKET = 1;
const SO_NO_CHECK = 11;
const SO_REUSEPORT = 15;
const SOL_IP = 0;
const IP_TTL = 2;
const IP_MTU_DISCOVER = 10;
const IP_RECVTOS = 13;
const SOL_UDP = 17;
const UDP_NO_CHECK6_TX = 101;
const UDP_NO_CHECK6_RX = 102;
const UDP_GRO = 104;
const SOL_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_MTU_DISCOVER = 23;
const IPV6_V6ONLY = 26;
const IPV6_DONTFRAG = 62;
const IPV6_RECVTCLASS = 66;
const PMTUDISC_DO = 2;
const EADDRINUSE = 98;
const BPF_LOAD_LENGTH = 0x80;
const BPF_JUMP_IF_GREATER = 0x25;

type UnderlayOptions = Pick<UnderlayIntent, 'type' | 'port' | 'sourcePorts' | 'ttl' | 'checksum'>;

/**
 * Opens what one kind of tunnel needs at `local` (4 or 16 octets): a transport for each receiving socket. All or none.
 * Throws an OperatingError. `descriptors` of it are to be closed.
 */
export function openUnderlaySockets(
  local: Uint8Array,
  options: UnderlayOptions,
  receiverCount: number,
): readonly DatagramTransport[] {
  const opened: number[] = [];
  const open = (type: number, protocol: number) => {
    const family = local.length === IPV4_SIZE ? AF_INET : AF_INET6;
    const flags = native.O_NONBLOCK | native.O_CLOEXEC;
    const fd = native.check('opening an underlay socket', native.socket(family, type | flags, protocol));
    opened.push(fd);
    if (family === AF_INET6 && type === SOCK_DGRAM) setOption(fd, SOL_IPV6, IPV6_V6ONLY, 1);
    return fd;
  };
  try {
    return options.type === 'gre'
      ? [openGre(local, options, () => open(SOCK_RAW, PROTOCOL_GRE))]
      : openUdp(local, options, receiverCount, () => open(SOCK_DGRAM, 0));
  } catch (error) {
    for (const fd of opened) native.close(fd);
    throw error;
  }
}

/** Every descriptor of the transports, once. */
export function descriptorsOf(transports: readonly (DatagramTransport | RawStreamTransport)[]): readonly number[] {
  const all = transports.flatMap((transport) =>
    transport.type === 'rawStream'
      ? [transport.fd]
      : [transport.fd, ...transport.senders, ...(transport.segmentSenders ?? [])],
  );
  return [...new Set(all)];
}

function openGre(local: Uint8Array, options: UnderlayOptions, open: () => number): DatagramTransport {
  const fd = open();
  setSenderOptions(fd, local, options);
  askForTrafficClass(fd, local);
  setReceiveBuffer(fd, UNDERLAY_RECEIVE_BUFFER);
  bindTo(fd, local, 0);
  return { type: 'datagram', protocol: 'gre', family: familyOf(local), fd, senders: [fd], remotePort: 0 };
}

function openUdp(
  local: Uint8Array,
  options: UnderlayOptions,
  receiverCount: number,
  open: () => number,
): readonly DatagramTransport[] {
  const receivers = Array.from({ length: receiverCount }, () => openReceiver(open(), local, options.port));
  const senders = Array.from({ length: options.sourcePorts }, () => openSender(open(), local, options, 0));
  // The port was free for one socket alone; only then is it shared.
  const segmentSenders = options.checksum
    ? undefined
    : senders.map((sender) => {
        setOption(sender, SOL_SOCKET, SO_REUSEPORT, 1);
        return openSender(open(), local, options, boundPort(sender));
      });
  if (!options.checksum) for (const sender of senders) leaveOutChecksums(sender, local);
  return receivers.map((fd) => ({
    type: 'datagram',
    protocol: 'udp',
    family: familyOf(local),
    fd,
    senders,
    ...(segmentSenders === undefined ? {} : { segmentSenders }),
    remotePort: options.port,
  }));
}

/**
 * An empty datagram, which no tunnel sends, would end the multishot reception and cost a breath each. A filter's length is
 * the datagram's with its UDP header.
 */
function attachEmptyFilter(fd: number): void {
  attachFilter(fd, [
    { code: BPF_LOAD_LENGTH, value: 0 },
    { code: BPF_JUMP_IF_GREATER, value: UDP_HEADER_SIZE, whenFalse: 1 },
    { code: BPF_RETURN, value: -1 },
    { code: BPF_RETURN, value: 0 },
  ]);
}

/** Bound last, so that nothing arrives before every option holds. */
function openReceiver(fd: number, local: Uint8Array, port: number): number {
  setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  askForTrafficClass(fd, local);
  // Without it (before Linux 5.0) datagrams come one by one.
  native.setsockopt(fd, SOL_UDP, UDP_GRO, new Int32Array([1]));
  if (!isIpv4(local)) setOption(fd, SOL_UDP, UDP_NO_CHECK6_RX, 1);
  attachEmptyFilter(fd);
  setReceiveBuffer(fd, UNDERLAY_RECEIVE_BUFFER);
  bindTo(fd, local, port);
  return fd;
}

/** `port` 0: one that nobody has. */
function openSender(fd: number, local: Uint8Array, options: UnderlayOptions, port: number): number {
  attachDeafFilter(fd);
  setSenderOptions(fd, local, options);
  if (port !== 0) setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  bindTo(fd, local, port);
  return fd;
}

function setSenderOptions(fd: number, local: Uint8Array, options: UnderlayOptions): void {
  if (isIpv4(local)) {
    setOption(fd, SOL_IP, IP_MTU_DISCOVER, PMTUDISC_DO);
    setOption(fd, SOL_IP, IP_TTL, options.ttl);
  } else {
    setOption(fd, SOL_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DO);
    setOption(fd, SOL_IPV6, IPV6_DONTFRAG, 1);
    setOption(fd, SOL_IPV6, IPV6_UNICAST_HOPS, options.ttl);
  }
  setSendBuffer(fd, UNDERLAY_SEND_BUFFER);
}

function leaveOutChecksums(fd: number, local: Uint8Array): void {
  if (isIpv4(local)) setOption(fd, SOL_SOCKET, SO_NO_CHECK, 1);
  else setOption(fd, SOL_UDP, UDP_NO_CHECK6_TX, 1);
}

function askForTrafficClass(fd: number, local: Uint8Array): void {
  if (isIpv4(local)) setOption(fd, SOL_IP, IP_RECVTOS, 1);
  else setOption(fd, SOL_IPV6, IPV6_RECVTCLASS, 1);
}

function bindTo(fd: number, local: Uint8Array, port: number): void {
  if (native.bind(fd, socketAddress(local, port)) >= 0) return;
  const number = native.errno();
  const fix =
    number === EADDRINUSE ? `end the program or remove the interface that has UDP port ${port}, or choose another` : '';
  const failure = native.failure(`binding to ${ipText(local)}${port === 0 ? '' : ` port ${port}`}`, number);
  throw fix === '' ? failure : new OperatingError(failure.message, { code: 'busy', errno: 'EADDRINUSE', fix });
}

function boundPort(fd: number): number {
  const address = new Uint8Array(SOCKET_ADDRESS_SIZE);
  native.check("asking for a socket's port", native.getsockname(fd, address));
  return socketPort(address);
}

function setOption(fd: number, level: number, name: number, value: number): void {
  const result = native.setsockopt(fd, level, name, new Int32Array([value]));
  native.check(`setting option ${name} of level ${level} on an underlay socket`, result);
}

function isIpv4(local: Uint8Array): boolean {
  return local.length === IPV4_SIZE;
}

function familyOf(local: Uint8Array): 4 | 6 {
  return isIpv4(local) ? 4 : 6;
}
