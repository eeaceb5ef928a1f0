/** Machines at the switch's ports: kernels with addresses that answer, and stations that send and see raw frames. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Child } from './child.js';
import { ip, type Testbed } from './testbed.js';

/** Names of what the peers' programs report. */
export interface PingsResult {
  readonly sent: number;
  readonly lost: number;
  readonly wrong: number;
  readonly badSize: number;
}
export interface TrainResult {
  readonly sent: number;
  readonly lost: number;
  readonly firstLost: number;
}

/** The device's name inside a machine, whatever it was called at the switch. */
export const DEVICE = 'eth0';

/** A namespace with one interface, the far end of a port, and the kernel's own IPv4 and IPv6 on it. */
export class Machine {
  readonly label: string;
  readonly number: number;
  private readonly testbed: Testbed;

  /** `number` 1 to 250 makes the addresses. */
  constructor(testbed: Testbed, label: string, number: number) {
    this.testbed = testbed;
    this.label = label;
    this.number = number;
  }

  get ipv4(): string {
    return `192.0.2.${this.number}`;
  }

  get ipv6(): string {
    return `2001:db8::${this.number.toString(16)}`;
  }

  get mac(): string {
    return `02:00:00:00:00:${this.number.toString(16).padStart(2, '0')}`;
  }

  get namespace(): string {
    return this.testbed.namespace(this.label);
  }

  /** Takes an interface from the namespace of `from` (default: the switch's) and makes it this machine's own. */
  take(device: string, from = 's'): this {
    ip('-n', this.testbed.namespace(from), 'link', 'set', device, 'netns', this.namespace, 'name', DEVICE);
    return this.configure();
  }

  /** Addresses and link; also after the device has moved, which takes both away. */
  configure(): this {
    const { testbed, label } = this;
    testbed.run(
      label,
      'sysctl',
      '-qw',
      `net.ipv6.conf.${DEVICE}.disable_ipv6=0`,
      `net.ipv6.conf.${DEVICE}.accept_ra=0`,
    );
    testbed.ip(label, 'link', 'set', DEVICE, 'address', this.mac, 'up');
    testbed.ip(label, 'address', 'replace', `${this.ipv4}/24`, 'dev', DEVICE);
    testbed.ip(label, 'address', 'replace', `${this.ipv6}/64`, 'dev', DEVICE, 'nodad');
    return this;
  }

  peer(...words: string[]): Child {
    return this.testbed.peer(this.label, ...words);
  }

  /** Echoes of these sizes (`0-1500,2000-65507:499`) must all come back as they went. */
  async expectPings(to: string, sizes: string): Promise<number> {
    const result = await this.peer('pings', to, sizes).result<PingsResult>(120_000);
    expect({ ...result, to }).toEqual({ sent: result.sent, lost: 0, wrong: 0, badSize: 0, to });
    expect(result.sent).toBeGreaterThan(0);
    return result.sent;
  }

  /** TCP: that many octets there and as many back, every one compared. */
  async expectTransfer(to: Machine, address: string, octets: number): Promise<void> {
    const server = await to.peer('serve', address, '40000').ready();
    try {
      const { received } = await this.peer('transfer', address, '40000', String(octets)).result<{ received: number }>();
      expect(received).toBe(octets);
    } finally {
      await server.stop();
    }
  }

  /** A train of echoes until `during` is over; how many of them were lost. */
  async train(to: string, during: () => Promise<void>, intervalUs = 1000): Promise<TrainResult> {
    const train = await this.peer('train', to, String(intervalUs)).ready();
    try {
      await during();
    } finally {
      train.signal('SIGTERM');
    }
    return await train.result<TrainResult>();
  }

  /** Switches all offloads of its interface off, as a guest may. */
  withoutOffloads(): void {
    const features = ['tx', 'rx', 'sg', 'tso', 'gso', 'gro'].flatMap((feature) => [feature, 'off']);
    this.testbed.run(this.label, 'ethtool', '-K', DEVICE, ...features);
  }
}

export interface Delivered {
  readonly frames: number;
  /** Frames whose checksum was left to the receiver; completed as a network card would before they were judged. */
  readonly partial: number;
  readonly superFrames: number;
  /** Checksums that tcpdump found right. */
  readonly right: number;
}

/** What is delivered to a machine meanwhile, judged by tcpdump: no checksum of any layer may be wrong. */
export async function expectGoodChecksums(
  testbed: Testbed,
  machine: Machine,
  during: () => Promise<void>,
): Promise<Delivered> {
  const file = join(testbed.directory, `${machine.label}.pcap`);
  const capture = await machine.peer('capture', DEVICE, file).ready();
  try {
    await during();
  } finally {
    capture.signal('SIGTERM');
  }
  const counts = await capture.result<Omit<Delivered, 'right'>>();
  const lines = execFileSync('tcpdump', ['-nvvr', file], {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
    stdio: ['ignore', 'pipe', 'ignore'],
  }).split('\n');
  expect(lines.filter((line) => /incorrect|bad .{0,5}cksum|wrong/.test(line)).slice(0, 5)).toEqual([]);
  return { ...counts, right: lines.filter((line) => /\(correct\)|udp sum ok|icmp6 sum ok/.test(line)).length };
}
