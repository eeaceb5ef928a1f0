/** Options that sockets of several kinds are given. Main thread. Sources: socket(7), linux/filter.h. */
import * as native from './native.js';

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_ATTACH_FILTER = 26;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;

/** Octets the kernel keeps for the socket. What may not be forced is asked for, and the kernel gives what it allows. */
export function setReceiveBuffer(fd: number, size: number): void {
  setBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, size);
}

export function setSendBuffer(fd: number, size: number): void {
  setBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, size);
}

function setBuffer(fd: number, force: number, ask: number, size: number): void {
  const value = new Int32Array([size]);
  if (native.setsockopt(fd, SOL_SOCKET, force, value) < 0) native.setsockopt(fd, SOL_SOCKET, ask, value);
}

/** An instruction of classic BPF: struct sock_filter. */
export interface FilterInstruction {
  readonly code: number;
  /** Instructions to skip if the comparison is true, and if not. */
  readonly whenTrue?: number;
  readonly whenFalse?: number;
  readonly value: number;
}

const INSTRUCTION_SIZE = 8;
export const BPF_RETURN = 0x06;

/** Keeps no octet of what arrives: for sockets that only send. */
export function attachDeafFilter(fd: number): void {
  attachFilter(fd, [{ code: BPF_RETURN, value: 0 }]);
}

/** What the program returns 0 for never reaches the socket. */
export function attachFilter(fd: number, instructions: readonly FilterInstruction[]): void {
  // Larger than what V8 keeps inside its heap, so it stays where it is for the length of the call.
  const program = new DataView(new ArrayBuffer(Math.max(256, instructions.length * INSTRUCTION_SIZE)));
  for (const [index, { code, whenTrue = 0, whenFalse = 0, value }] of instructions.entries()) {
    const at = index * INSTRUCTION_SIZE;
    program.setUint16(at, code, true);
    program.setUint8(at + 2, whenTrue);
    program.setUint8(at + 3, whenFalse);
    program.setInt32(at + 4, value, true);
  }
  // struct sock_fprog: a count, and the program's address.
  const description = new Uint8Array(16);
  const view = new DataView(description.buffer);
  view.setUint16(0, instructions.length, true);
  view.setBigUint64(8, BigInt(native.addressOf(program.buffer)), true);
  native.check('attaching a filter', native.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, description));
}
