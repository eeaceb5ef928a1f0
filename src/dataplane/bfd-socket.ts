/**
 * BFD packets in UDP over a single hop (RFC 5881): hears at a local address for all sessions there. What sends is a socket
 * a session (datagram-sender.ts), since each is to have a source port of its own (section 4). Main thread.
 *
 * "Received packets MUST be discarded if the TTL is not 255" (section 5): the kernel does that, by a filter on the socket, so
 * whoever is further away than one hop can't even fill the socket's buffer.
 *
 * Nothing here fails for good: an address that is not there yet, a port that is taken are tried again.
 */
import { IPV4_SIZE, ipText } from '../wire/address.js';
import { BFD_PORT, BFD_TTL } from '../wire/bfd.js';
import { type DescriptorWatch, watchDescriptor } from './descriptor-watch.js';
import * as native from './native.js';
import { AF_INET, AF_INET6, SOCKET_ADDRESS_SIZE, socketAddress, socketIp } from './socket-address.js';
import { attachFilter, BPF_RETURN } from './socket-options.js';

const SOCK_DGRAM = 2;
const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;
const EADDRINUSE = 98;

const BPF_LOAD_OCTET = 0x30;
const BPF_JUMP_IF_EQUAL = 0x15;
/** From here on a filter's offsets count from the IP header. */
const SKF_NET_OFF = -0x10_0000;
const IPV4_TTL_AT = 8;
const IPV6_HOP_LIMIT_AT = 7;

/** Longer than any BFD packet: what is cut off was none. */
const DATAGRAM_SIZE = 512;
/** Datagrams read before the event loop gets its turn. */
const DATAGRAMS_MAX = 256;
const RETRY_MS = 1000;

/** Octets are good until the call returns. */
export type BfdHearer = (remote: Uint8Array, octets: Uint8Array) => void;

/** Hears at `local` (4 or 16 octets) until closed. */
export class BfdListener {
  private readonly local: Uint8Array;
  private readonly hear: BfdHearer;
  private readonly octets = new Uint8Array(DATAGRAM_SIZE);
  private readonly sender = new Uint8Array(SOCKET_ADDRESS_SIZE);
  private fd = -1;
  private watch: DescriptorWatch | undefined;
  private retryTimer: NodeJS.Timeout | undefined;
  private trouble: string | undefined;

  constructor(local: Uint8Array, hear: BfdHearer) {
    this.local = local;
    this.hear = hear;
    this.open();
  }

  /** Why nothing can be heard just now: one clause. */
  get problem(): string | undefined {
    return this.trouble;
  }

  /** Hears what waits. */
  drain(): void {
    for (let count = 0; count < DATAGRAMS_MAX && this.fd >= 0; count++) {
      const size = native.recvfrom(this.fd, this.octets, this.sender);
      if (size < 0) return;
      this.hear(socketIp(this.sender), this.octets.subarray(0, size));
    }
  }

  close(): void {
    clearTimeout(this.retryTimer);
    this.watch?.stop();
    if (this.fd >= 0) native.close(this.fd);
    this.fd = -1;
  }

  private open(): void {
    const fd = openSocket(this.local);
    if (fd >= 0) {
      const failure = this.prepare(fd);
      if (failure === 0) {
        this.fd = fd;
        this.trouble = undefined;
        this.watch = watchDescriptor(fd, native.POLLIN, () => this.drain());
        return;
      }
      native.close(fd);
      this.trouble = this.reasonOf(failure);
    } else this.trouble = this.reasonOf(native.errno());
    this.retryTimer = setTimeout(() => this.open(), RETRY_MS).unref();
  }

  /** Bound last, so that nothing arrives before the filter holds. Returns 0 or an errno. */
  private prepare(fd: number): number {
    attachTtlFilter(fd, this.local.length === IPV4_SIZE);
    return native.bind(fd, socketAddress(this.local, BFD_PORT)) < 0 ? native.errno() : 0;
  }

  private reasonOf(errno: number): string {
    const place = `${ipText(this.local)} UDP port ${BFD_PORT}`;
    if (errno === EADDRINUSE) return `another program hears at ${place}`;
    if (errno === native.EADDRNOTAVAIL) return `no address ${ipText(this.local)} on this host`;
    return `can't hear at ${place}: ${native.errnoName(errno)}`;
  }
}

function openSocket(local: Uint8Array): number {
  const isIpv4 = local.length === IPV4_SIZE;
  const type = SOCK_DGRAM | native.O_NONBLOCK | native.O_CLOEXEC;
  const fd = native.socket(isIpv4 ? AF_INET : AF_INET6, type, 0);
  if (fd >= 0 && !isIpv4) native.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, new Int32Array([1]));
  return fd;
}

function attachTtlFilter(fd: number, isIpv4: boolean): void {
  attachFilter(fd, [
    { code: BPF_LOAD_OCTET, value: SKF_NET_OFF + (isIpv4 ? IPV4_TTL_AT : IPV6_HOP_LIMIT_AT) },
    { code: BPF_JUMP_IF_EQUAL, value: BFD_TTL, whenFalse: 1 },
    { code: BPF_RETURN, value: 0xffff },
    { code: BPF_RETURN, value: 0 },
  ]);
}
