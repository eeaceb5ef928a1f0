/**
 * Messages of rtnetlink: put together, taken apart, and one request with its answer. Main thread.
 *
 * Sources: netlink(7), rtnetlink(7), linux/netlink.h. Everything is in the host's order, little-endian on what we support.
 */
import * as native from './native.js';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_RCVTIMEO = 20;
const NLMSG_ERROR = 2;
const HEADER_SIZE = 16;
const ANSWER_SIZE = 8192;

export const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;

/** One message as it arrived. */
export interface NetlinkMessage {
  readonly type: number;
  readonly body: Uint8Array;
}

/** A bound rtnetlink socket that is told of `groups`. Throws an OperatingError. */
export function openNetlink(groups: number, receiveBuffer = 0): number {
  const fd = native.check(
    'opening a netlink socket',
    native.socket(AF_NETLINK, SOCK_RAW | native.O_CLOEXEC | native.O_NONBLOCK, NETLINK_ROUTE),
  );
  // Without the privilege to force it, the default holds some hundred messages; losses are noticed by ENOBUFS either way.
  if (receiveBuffer > 0) native.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, new Int32Array([receiveBuffer]));
  const address = new Uint8Array(12);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_NETLINK, true);
  view.setUint32(8, groups, true);
  if (native.bind(fd, address) >= 0) return fd;
  const number = native.errno();
  native.close(fd);
  throw native.failure('binding a netlink socket', number);
}

/** An attribute: length, type, payload, padded to four. */
export function attribute(type: number, ...payload: readonly Uint8Array[]): Uint8Array {
  const size = payload.reduce((sum, part) => sum + part.length, 4);
  const octets = new Uint8Array((size + 3) & ~3);
  const view = new DataView(octets.buffer);
  view.setUint16(0, size, true);
  view.setUint16(2, type, true);
  let at = 4;
  for (const part of payload) {
    octets.set(part, at);
    at += part.length;
  }
  return octets;
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`);
}

export function uint16(value: number): Uint8Array {
  return new Uint8Array(new Uint16Array([value]).buffer);
}

export function uint32(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}

/** Sends one request and waits (a second at most) for its acknowledgement. Returns 0 or a positive errno. */
export function request(type: number, flags: number, ...parts: readonly Uint8Array[]): number {
  const fd = openNetlink(0);
  try {
    // Answered before sendto returns, so a blocking socket never really waits; the timeout is for a kernel that says nothing.
    native.fcntl(fd, F_SETFL, 0);
    native.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, new Int32Array([1, 0, 0, 0]));
    if (native.send(fd, frame(type, flags | NLM_F_REQUEST | NLM_F_ACK, parts)) < 0) return native.errno();
    const answer = new Uint8Array(ANSWER_SIZE);
    const size = native.recv(fd, answer);
    if (size < 0) return native.errno();
    for (const message of messages(answer, size)) {
      if (message.type === NLMSG_ERROR)
        return -new DataView(message.body.buffer, message.body.byteOffset).getInt32(0, true);
    }
    return native.EINVAL;
  } finally {
    native.close(fd);
  }
}

const F_SETFL = 4;

function frame(type: number, flags: number, parts: readonly Uint8Array[]): Uint8Array {
  const size = parts.reduce((sum, part) => sum + part.length, HEADER_SIZE);
  const octets = new Uint8Array(size);
  const view = new DataView(octets.buffer);
  view.setUint32(0, size, true);
  view.setUint16(4, type, true);
  view.setUint16(6, flags, true);
  view.setUint32(8, 1, true);
  let at = HEADER_SIZE;
  for (const part of parts) {
    octets.set(part, at);
    at += part.length;
  }
  return octets;
}

/** The whole messages in the first `size` octets; what is cut off is left out. */
export function* messages(octets: Uint8Array, size: number): Generator<NetlinkMessage> {
  const view = new DataView(octets.buffer, octets.byteOffset, size);
  for (let at = 0; at + HEADER_SIZE <= size; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER_SIZE || at + length > size) return;
    yield { type: view.getUint16(at + 4, true), body: octets.subarray(at + HEADER_SIZE, at + length) };
    at += (length + 3) & ~3;
  }
}

/** The payload of the first attribute of this type behind `start`; undefined when there is none. */
export function findAttribute(body: Uint8Array, start: number, type: number): Uint8Array | undefined {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  for (let at = start; at + 4 <= body.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > body.length) return undefined;
    if (view.getUint16(at + 2, true) === type) return body.subarray(at + 4, at + length);
    at += (length + 3) & ~3;
  }
  return undefined;
}
