/**
 * What stands on the underlay's wire, as tcpdump and tshark read it: both must decode every layer of every packet, outer
 * and inner, and find every checksum right.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Child } from './child.js';
import type { Testbed } from './testbed.js';
import { until } from './wait.js';

/** A datagram without a checksum is none with a wrong one, over IPv6 too (RFC 6935). */
const CHECKS = [
  'ip.check_checksum',
  'tcp.check_checksum',
  'udp.check_checksum',
  'udp.ignore_ipv6_zero_checksum',
].flatMap((name) => ['-o', `${name}:TRUE`]);
const COMPLAINT = /incorrect|bad .{0,9}cksum (?!0x0000 )|wrong|truncated|\[\|/;
/**
 * Linux writes a TCP checksum of zero as 0xffff where it makes it in software (CSUM_MANGLED_0), one segment in 65,536. tshark
 * calls that bad; the sum is right, as tcpdump finds.
 */
const BAD = [
  // What streams carry is not judged: where a segment was lost and sent again, pieces of a message overlap.
  '(_ws.malformed && !(_ws.malformed.reassembly && tcp.analysis.flags))',
  '_ws.short',
  '(tcp.checksum.status == "Bad" && !(tcp.checksum == 0xffff))',
  ...['ip', 'udp', 'icmp', 'icmpv6', 'gre'].map((layer) => `${layer}.checksum.status == "Bad"`),
].join(' || ');

export interface Heard {
  readonly file: string;
  readonly packets: number;
  /** Lines of `tcpdump -nvv`. */
  readonly lines: readonly string[];
}

export class WireCapture {
  private readonly child: Child;
  private readonly file: string;

  private constructor(child: Child, file: string) {
    this.child = child;
    this.file = file;
  }

  /** Hears what passes an interface, in both directions; `filter` in pcap-filter syntax. */
  static async start(testbed: Testbed, label: string, device: string, filter: string): Promise<WireCapture> {
    const file = join(testbed.directory, `${label}-${device}-${count++}.pcap`);
    // Immediately: else what the last block holds is lost when it is told to stop. Its ring has room for that many whole
    // packets, so they must not be longer than those of a wire.
    const options = ['-i', device, '-n', '--immediate-mode', '-s', '2048', '-B', '65536', '-w', file, filter];
    const child = testbed.start(label, ['tcpdump', ...options]);
    await until('tcpdump listens', () => child.complaints.includes('listening on'));
    return new WireCapture(child, file);
  }

  async stop(): Promise<Heard> {
    this.child.signal('SIGINT');
    const { stderr } = await this.child.end();
    expect(stderr).toMatch(/\b0 packets dropped by kernel/);
    const output = execFileSync('tcpdump', ['-nvv', '-r', this.file], {
      encoding: 'utf8',
      maxBuffer: 1 << 30,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return { file: this.file, packets: Number(/(\d+) packets captured/.exec(stderr)?.[1]), lines: output.split('\n') };
  }
}

let count = 0;

/** Nothing that was heard is malformed or has a wrong checksum, in any layer. */
export function expectSound({ file, packets, lines }: Heard): void {
  expect(packets).toBeGreaterThan(0);
  expect(lines.filter((line) => COMPLAINT.test(line)).slice(0, 5)).toEqual([]);
  expect(tshark(file, BAD, ['frame.number', '_ws.col.Info']).slice(0, 5)).toEqual([]);
}

/** Fields of each packet that passes a display filter, a line each, tabs between; of a field that occurs in the outer and in the inner packet, both, with commas. */
export function tshark(file: string, filter: string, fields: readonly string[]): string[] {
  const words = [
    '-r',
    file,
    '-n',
    ...CHECKS,
    '-Y',
    filter,
    '-T',
    'fields',
    ...fields.flatMap((field) => ['-e', field]),
  ];
  const output = execFileSync('tshark', words, {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return output.split('\n').filter((line) => line !== '');
}
