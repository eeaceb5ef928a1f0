/** Network namespaces and interfaces of a test's own; needs root, and says so. */
import { execFileSync } from 'node:child_process';
import {
  inNamespace,
  type NamespaceFd,
  openNamespace,
  queryInterface,
  setInterfaceUp,
} from '../../src/dataplane/interface.js';
import * as native from '../../src/dataplane/native.js';
import { openPacketSockets } from '../../src/dataplane/ports/packet-socket.js';
import { ownName, removeNamespace } from './leftovers.js';

let count = 0;

/** Runs ip(8) with these words. */
export function ip(...words: string[]): string {
  if (process.getuid?.() !== 0) throw new Error('this test makes real interfaces: run it as root (sudo npm test)');
  return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** As ip, for cleaning up: what is gone already is fine. */
export function ipIfThere(...words: string[]): void {
  try {
    ip(...words);
  } catch {
    // gone already
  }
}

export class TestNamespace {
  readonly name: string;
  readonly fd: NamespaceFd;

  constructor() {
    this.name = ownName('ports', count++);
    ip('netns', 'add', this.name);
    this.fd = openNamespace(`/run/netns/${this.name}`);
    setInterfaceUp('lo', true, this.fd);
  }

  ip(...words: string[]): string {
    return ip('-n', this.name, ...words);
  }

  /** Interfaces made in here speak no IPv6 of their own accord. */
  silence(device: string): void {
    execFileSync('ip', ['netns', 'exec', this.name, 'sysctl', '-qw', `net.ipv6.conf.${device}.disable_ipv6=1`]);
  }

  close(): void {
    native.close(this.fd);
    removeNamespace(this.name);
  }
}

const VNET_HEADER_SIZE = 10;

/** Plays the machine at the other end of an interface: raw frames out of and into it. */
export class RawStation {
  private readonly fd: number;
  private readonly buffer = new Uint8Array(70_000);

  constructor(device: string, namespace: NamespaceFd) {
    const state = queryInterface(device, namespace);
    if (state === undefined) throw new Error(`no ${device}`);
    this.fd = inNamespace(namespace, () => openPacketSockets(device, state.index, 1, 'auto')).fds[0];
  }

  /** `header` is a vnet header of ten octets, all zero by default. */
  send(octets: Uint8Array, header: Uint8Array = new Uint8Array(VNET_HEADER_SIZE)): void {
    const message = new Uint8Array(VNET_HEADER_SIZE + octets.length);
    message.set(header);
    message.set(octets, VNET_HEADER_SIZE);
    native.check('sending a test frame', native.send(this.fd, message));
  }

  receive(): Uint8Array | undefined {
    const size = native.recv(this.fd, this.buffer);
    return size < 0 ? undefined : this.buffer.slice(VNET_HEADER_SIZE, size);
  }

  close(): void {
    native.close(this.fd);
  }
}
