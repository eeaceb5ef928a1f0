/**
 * Sends the main thread's few datagrams from one address to another: BFD packets, beside tunnels or inside them. Main thread.
 *
 * What can't be sent is lost, and the next one is tried anew: an address that is not there yet, a route that is missing.
 */
import { randomInt } from 'node:crypto';
import { IPV4_SIZE } from '../wire/address.js';
import { PROTOCOL_GRE } from '../wire/ip-protocol.js';
import * as native from './native.js';
import { AF_INET, AF_INET6, socketAddress } from './socket-address.js';
import { attachDeafFilter } from './socket-options.js';

const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOL_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;
const SOL_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_TCLASS = 67;
const EADDRINUSE = 98;
const ECONNREFUSED = 111;
/** The dynamic ports of RFC 6335 section 6, which BFD asks for (RFC 5881 section 4). */
const SOURCE_PORT_MIN = 49_152;
const SOURCE_PORT_END = 65_536;
/** Source ports tried before the next datagram's turn. */
const PORT_TRIES = 16;

export interface DatagramWay {
  /** 4 or 16 octets, both alike. */
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
  readonly protocol: 'udp' | 'gre';
  /** UDP port it is sent to; 0 for GRE. */
  readonly port: number;
  readonly ttl: number;
  /** TOS or traffic class octet. */
  readonly trafficClass: number;
}

export class DatagramSender {
  private readonly way: DatagramWay;
  private fd = -1;

  constructor(way: DatagramWay) {
    this.way = way;
  }

  send(octets: Uint8Array): void {
    if (this.fd < 0) this.open();
    if (this.fd < 0) return;
    // That a datagram before was refused is told instead of sending this one.
    if (native.send(this.fd, octets) < 0 && native.errno() === ECONNREFUSED) native.send(this.fd, octets);
  }

  close(): void {
    if (this.fd >= 0) native.close(this.fd);
    this.fd = -1;
  }

  /** Connected, so that the kernel looks for the route only when routes have changed. Hears nothing. */
  private open(): void {
    const { local, remote, protocol, port } = this.way;
    const family = local.length === IPV4_SIZE ? AF_INET : AF_INET6;
    const flags = native.O_NONBLOCK | native.O_CLOEXEC;
    const isUdp = protocol === 'udp';
    const fd = native.socket(family, (isUdp ? SOCK_DGRAM : SOCK_RAW) | flags, isUdp ? 0 : PROTOCOL_GRE);
    if (fd < 0) return;
    attachDeafFilter(fd);
    this.setOptions(fd);
    const isBound = isUdp ? bindToDynamicPort(fd, local) : native.bind(fd, socketAddress(local, 0)) >= 0;
    if (isBound && native.connect(fd, socketAddress(remote, port)) >= 0) this.fd = fd;
    else native.close(fd);
  }

  private setOptions(fd: number): void {
    const { local, ttl, trafficClass } = this.way;
    const isIpv4 = local.length === IPV4_SIZE;
    const level = isIpv4 ? SOL_IP : SOL_IPV6;
    native.setsockopt(fd, level, isIpv4 ? IP_TTL : IPV6_UNICAST_HOPS, new Int32Array([ttl]));
    native.setsockopt(fd, level, isIpv4 ? IP_TOS : IPV6_TCLASS, new Int32Array([trafficClass]));
  }
}

function bindToDynamicPort(fd: number, local: Uint8Array): boolean {
  for (let attempt = 0; attempt < PORT_TRIES; attempt++) {
    const port = randomInt(SOURCE_PORT_MIN, SOURCE_PORT_END);
    if (native.bind(fd, socketAddress(local, port)) >= 0) return true;
    if (native.errno() !== EADDRINUSE) return false;
  }
  return false;
}
