/**
 * A router of the kernel's in a network namespace of its own, with nftables rules of a test's: frames go into one of its two
 * TAPs, which the test holds, and each is known again by the number in its IP header when it comes out of the other.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setInterfaceUp } from '../../src/dataplane/interface.js';
import * as native from '../../src/dataplane/native.js';
import { openTapQueues } from '../../src/dataplane/ports/tap-device.js';
import { udp } from '../pipeline/connection-fixture.js';
import { sleep } from '../suites/bench-worker.js';
import { TestNamespace } from '../suites/namespace.js';

export const SIDES = {
  client: { device: 'left', address: '192.0.2.2' },
  server: { device: 'right', address: '198.51.100.2' },
};
export type Side = keyof typeof SIDES;
const routerAddresses = { client: '192.0.2.1/24', server: '198.51.100.1/24' };

const VNET_HEADER_SIZE = 10;
/** Of frames: where the IP header lies, and in it the identification, by which a frame is known again, and the checksum. */
const IP = 14;
const IP_ID = IP + 4;
const IP_CHECKSUM = IP + 10;
/** The number of a datagram that every rule set must let through, to this port of the server. */
const SENTINEL = 0xffff;
export const SENTINEL_PORT = 1;

const sysctls = [
  ...['net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.netfilter.nf_conntrack_tcp_loose=0'],
  ...['net.netfilter.nf_conntrack_checksum=0', 'net.netfilter.nf_conntrack_tcp_be_liberal=0'],
];

/** For the router's ears: with its MAC, a number and the IP checksum, which it insists on. */
function addressed(frame: Uint8Array, mac: string, number: number): Uint8Array {
  const octets = Buffer.from(frame);
  octets.write(mac.replaceAll(':', ''), 0, 'hex');
  octets.writeUInt16BE(number, IP_ID);
  octets.writeUInt16BE(0, IP_CHECKSUM);
  let sum = 0;
  for (let at = IP; at < IP + 20; at += 2) sum += octets.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  octets.writeUInt16BE(~sum & 0xffff, IP_CHECKSUM);
  return octets;
}

export class KernelRouter {
  private readonly namespace: TestNamespace;
  private readonly taps: Readonly<Record<Side, number>>;
  private readonly macs: Readonly<Record<Side, string>>;
  private readonly buffer = Buffer.alloc(4096, 0xa5);
  /** Numbers of the frames that came out. */
  private readonly passed = new Set<number>();

  /** `rules`: for nft(8). */
  constructor(rules: string) {
    demandNft();
    this.namespace = new TestNamespace();
    this.taps = { client: this.addTap('client'), server: this.addTap('server') };
    this.macs = { client: this.macOf('client'), server: this.macOf('server') };
    this.run('nft', ['-f', '-'], rules);
    this.run('sysctl', ['-qw', ...sysctls]);
  }

  private run(program: string, words: readonly string[], input = ''): string {
    const inside = ['netns', 'exec', this.namespace.name, program, ...words];
    return execFileSync('ip', inside, { input, stdio: 'pipe' }).toString();
  }

  private addTap(side: Side): number {
    const { device, address } = SIDES[side];
    const fd = openTapQueues(device, 1, this.namespace.fd)[0]!;
    this.namespace.silence(device);
    this.namespace.ip('address', 'add', routerAddresses[side], 'dev', device);
    setInterfaceUp(device, true, this.namespace.fd);
    this.namespace.ip('neighbour', 'add', address, 'lladdr', '02:00:00:00:00:02', 'dev', device);
    return fd;
  }

  private macOf(side: Side): string {
    return /link\/ether (\S+)/.exec(this.namespace.ip('link', 'show', SIDES[side].device))![1]!;
  }

  /** `number`: below SENTINEL, and nobody else's. */
  send(from: Side, frame: Uint8Array, number: number): void {
    const octets = addressed(frame, this.macs[from], number);
    const message = new Uint8Array(VNET_HEADER_SIZE + octets.length);
    message.set(octets, VNET_HEADER_SIZE);
    native.check(
      'sending a test frame',
      native.write(this.taps[from], native.addressOf(message.buffer), message.length),
    );
    this.listen();
  }

  private listen(): void {
    const address = native.addressOf(this.buffer.buffer) + this.buffer.byteOffset;
    for (const fd of Object.values(this.taps)) {
      while (native.read(fd, address, this.buffer.length) >= VNET_HEADER_SIZE + IP + 20) {
        const frame = this.buffer.subarray(VNET_HEADER_SIZE);
        this.passed.add(frame.readUInt16BE(IP_ID));
      }
    }
  }

  /** Behind everything that was sent before: what has not come out by then never will. */
  async settle(): Promise<void> {
    const end = performance.now() + 10_000;
    this.passed.delete(SENTINEL);
    this.send('client', udp(SIDES.client.address, SIDES.server.address, [1, SENTINEL_PORT]), SENTINEL);
    while (!this.passed.has(SENTINEL)) {
      await sleep(2);
      this.listen();
      if (performance.now() > end) throw new Error('the router lets nothing through');
    }
    await sleep(5);
    this.listen();
  }

  hasPassed(number: number): boolean {
    return this.passed.has(number);
  }

  /** The connections that the router knows, a line each. */
  connections(): string[] {
    // The rules have loaded the module.
    if (!existsSync('/proc/net/nf_conntrack'))
      throw new Error('/proc/net/nf_conntrack is missing: this kernel is built without NF_CONNTRACK_PROCFS');
    return this.run('cat', ['/proc/net/nf_conntrack']).split('\n');
  }

  close(): void {
    for (const fd of Object.values(this.taps)) native.close(fd);
    this.namespace.close();
  }
}

function demandNft(): void {
  if (process.getuid?.() !== 0) throw new Error('this test makes real interfaces: run it as root (sudo npm test)');
  try {
    execFileSync('nft', ['--version'], { stdio: 'ignore' });
  } catch {
    throw new Error('nft is not installed: apt-get install nftables (npm test does so)');
  }
}
