/**
 * The kernel's connection tracking as the oracle for TCP: the same segments pass a router of the kernel's, in a namespace of
 * its own, whose nftables drop what is invalid, and the stages of ours. What each judge
 * makes of each segment must be the same, or stand in `differences` with its reason; and the state that its connection is in
 * afterwards, or stand in `stateDifferences`. Behind the first difference of a sequence no more of it is compared.
 *
 * The router has two TAPs, which the test holds. Sequences go on side by side, a step at a time, each connection by its port.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setInterfaceUp } from '../../src/dataplane/interface.js';
import * as native from '../../src/dataplane/native.js';
import { openTapQueues } from '../../src/dataplane/ports/tap-device.js';
import { COMMITTED } from '../../src/pipeline/connection-table.js';
import { segment, TrackedSwitch, udp } from '../pipeline/connection-fixture.js';
import { sleep } from '../suites/bench-worker.js';
import { TestNamespace } from '../suites/namespace.js';
import { differences, stateDifferences } from './conntrack-differences.js';
import { chosen, randomSequence, type Sequence, type Step } from './conntrack-sequences.js';

const RANDOM_COUNT = 300;
const sequences: readonly Sequence[] = [
  ...chosen,
  ...Array.from({ length: RANDOM_COUNT }, (_, index) => randomSequence(index)),
];
const stepsMax = Math.max(...sequences.map(({ steps }) => steps.length));

/** What a judge makes of a segment. */
type Verdict = 'passes' | 'invalid';

/** And in what state that leaves its connection, in the kernel's words; NONE: there is no connection. */
interface Judgement {
  readonly verdict: Verdict;
  readonly state: string;
}

const SIDES = {
  client: { device: 'left', address: '192.0.2.2' },
  server: { device: 'right', address: '198.51.100.2' },
};
type Side = keyof typeof SIDES;
const routerAddresses = { client: '192.0.2.1/24', server: '198.51.100.1/24' };
const CLIENT_PORTS = 10_000;
const SERVER_PORT = 80;

// Frames. The number by which one is known again is its IP packet's identification.

const IP = 14;
const IP_ID = IP + 4;
const IP_CHECKSUM = IP + 10;
const SENTINEL = 0xffff;

const numberOf = (sequence: number, step: number): number => sequence * stepsMax + step;

function frameOf(sequence: number, { from, flags, seq, ack, length, win, scale }: Step): Uint8Array {
  const port = CLIENT_PORTS + sequence;
  return segment({
    ...({ flags, seq, ack, length, win, scale } as Parameters<typeof segment>[0]),
    from: SIDES[from].address,
    to: SIDES[from === 'client' ? 'server' : 'client'].address,
    ports: from === 'client' ? [port, SERVER_PORT] : [SERVER_PORT, port],
  });
}

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

// The kernel.

const VNET_HEADER_SIZE = 10;
const rules = `
  table ip judge {
    chain forward {
      type filter hook forward priority filter; policy accept;
      ct state invalid drop
      counter
    }
  }
`;
const sysctls = [
  ...['net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.netfilter.nf_conntrack_tcp_loose=0'],
  ...['net.netfilter.nf_conntrack_checksum=0', 'net.netfilter.nf_conntrack_tcp_be_liberal=0'],
];

class Kernel {
  private readonly namespace = new TestNamespace();
  private readonly taps: Readonly<Record<Side, number>>;
  private readonly macs: Readonly<Record<Side, string>>;
  private readonly buffer = Buffer.alloc(4096, 0xa5);
  /** Numbers of the frames that came out. */
  private readonly passed = new Set<number>();

  constructor() {
    this.taps = { client: this.addTap('client'), server: this.addTap('server') };
    this.macs = { client: this.macOf('client'), server: this.macOf('server') };
    this.run('nft', ['-f', '-'], rules);
    this.run('sysctl', ['-qw', ...sysctls]);
  }

  private run(program: string, words: readonly string[], input = ''): void {
    execFileSync('ip', ['netns', 'exec', this.namespace.name, program, ...words], { input, stdio: 'pipe' });
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

  private send(from: Side, frame: Uint8Array, number: number): void {
    const octets = addressed(frame, this.macs[from], number);
    const message = new Uint8Array(VNET_HEADER_SIZE + octets.length);
    message.set(octets, VNET_HEADER_SIZE);
    native.check(
      'sending a test frame',
      native.write(this.taps[from], native.addressOf(message.buffer), message.length),
    );
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
  private async settle(): Promise<void> {
    const end = performance.now() + 10_000;
    this.passed.delete(SENTINEL);
    this.send('client', udp(SIDES.client.address, SIDES.server.address, [1, 1]), SENTINEL);
    while (!this.passed.has(SENTINEL)) {
      await sleep(2);
      this.listen();
      if (performance.now() > end) throw new Error('the router lets nothing through');
    }
    await sleep(5);
    this.listen();
  }

  /** States by sequence; a connection is known by its client's port, whoever began it. */
  private states(): Map<number, string> {
    const listing = execFileSync('ip', ['netns', 'exec', this.namespace.name, 'cat', '/proc/net/nf_conntrack']);
    const states = new Map<number, string>();
    for (const line of listing.toString().split('\n')) {
      const [, state, source, destination] = /^ipv4 .* tcp +6 \d+ (\w+) .*? sport=(\d+) dport=(\d+)/.exec(line) ?? [];
      const port = Number(source) === SERVER_PORT ? Number(destination) : Number(source);
      if (state !== undefined) states.set(port - CLIENT_PORTS, state);
    }
    return states;
  }

  async judge(): Promise<Judgement[][]> {
    await this.settle();
    const states: Map<number, string>[] = [];
    for (let step = 0; step < stepsMax; step++) {
      for (const [index, { steps }] of sequences.entries()) {
        const one = steps[step];
        if (one === undefined) continue;
        this.send(one.from, frameOf(index, one), numberOf(index, step));
        this.listen();
      }
      await this.settle();
      states.push(this.states());
    }
    return sequences.map(({ steps }, index) =>
      steps.map((_, step) => ({
        verdict: this.passed.has(numberOf(index, step)) ? 'passes' : 'invalid',
        state: states[step]!.get(index) ?? 'NONE',
      })),
    );
  }

  close(): void {
    for (const fd of Object.values(this.taps)) native.close(fd);
    this.namespace.close();
  }
}

// Ours.

/** Ours by the kernel's name, where it is another word. */
const kernelNames: Readonly<Record<string, string>> = { SYN_RECEIVED: 'SYN_RECV', CLOSED: 'CLOSE' };

function judgeHere(): Judgement[][] {
  return sequences.map(({ steps }, index) => {
    const tracked = new TrackedSwitch();
    let connection = 0;
    return steps.map((step) => {
      const { what, result, entry } = tracked.one(step.from === 'client' ? 'a' : 'b', frameOf(index, step));
      if (entry > 0) connection = entry;
      const state = tracked.tcpState(connection).toUpperCase();
      const verdict = what === 'invalid' || result !== COMMITTED ? 'invalid' : 'passes';
      return { verdict, state: kernelNames[state] ?? state };
    });
  });
}

function demandWhatIsNeeded(): void {
  if (process.getuid?.() !== 0) throw new Error('this test makes real interfaces: run it as root (sudo npm test)');
  try {
    execFileSync('nft', ['--version'], { stdio: 'ignore' });
  } catch {
    throw new Error('nft is not installed: apt-get install nftables (npm test does so)');
  }
}

/** The first segment of which the two make different things: `4 PA server: kernel passes`. */
function differenceOf(
  { steps }: Sequence,
  here: readonly Judgement[],
  there: readonly Judgement[],
): string | undefined {
  const at = firstDifference(here, there);
  if (at === here.length) return undefined;
  return textOf(at + 1, `${steps[at]!.flags} ${steps[at]!.from}`, there[at]!.verdict);
}

/** Number of segments that both judge alike before they differ. */
function firstDifference(here: readonly Judgement[], there: readonly Judgement[]): number {
  const at = here.findIndex(({ verdict }, step) => verdict !== there[step]!.verdict);
  return at < 0 ? here.length : at;
}

/** The first segment after which the two are in different states, of those that both judge alike. */
function stateDifferenceOf(here: readonly Judgement[], there: readonly Judgement[]): string | undefined {
  const compared = here.slice(0, firstDifference(here, there));
  const at = compared.findIndex(({ state }, step) => state !== there[step]!.state);
  return at < 0 ? undefined : stateText(at + 1, here[at]!.state, there[at]!.state);
}

const stateText = (step: number, here: string, kernel: string): string => `${step}: ${here}, kernel ${kernel}`;

const textOf = (step: number, segment: string, kernel: Verdict): string => `${step} ${segment}: kernel ${kernel}`;

describe("TCP as the kernel's connection tracking has it", () => {
  let kernel: Kernel | undefined;
  let there: readonly Judgement[][] = [];
  let here: readonly Judgement[][] = [];

  beforeAll(async () => {
    demandWhatIsNeeded();
    kernel = new Kernel();
    // Its rules have loaded the module.
    if (!existsSync('/proc/net/nf_conntrack'))
      throw new Error('/proc/net/nf_conntrack is missing: this kernel is built without NF_CONNTRACK_PROCFS');
    there = await kernel.judge();
    here = judgeHere();
  }, 50_000);

  afterAll(() => kernel?.close());

  it('was compared over segments of all kinds', () => {
    for (const verdict of ['passes', 'invalid'] as const)
      expect(there.flat().filter((one) => one.verdict === verdict).length, verdict).toBeGreaterThan(100);
  });

  it('differs only where there is a sequence', () => {
    const names = sequences.map(({ name }) => name);
    for (const list of [differences, stateDifferences]) {
      const named = list.flatMap(({ where }) => Object.keys(where));
      expect(named.filter((name) => !names.includes(name))).toEqual([]);
      expect(new Set(named).size).toBe(named.length);
    }
  });

  it.each(sequences.map(({ name }, index) => ({ name, index })))('is the same, or known to differ: $name', (one) => {
    const known = differences.find(({ where }) => one.name in where);
    const found = differenceOf(sequences[one.index]!, here[one.index]!, there[one.index]!);
    const expected = known && textOf(known.where[one.name]!, known.segment, known.kernel);
    expect(found, known?.reason ?? 'no difference is known here').toBe(expected);
  });

  it('knew the states that connections can be in', () => {
    const states = new Set(there.flat().map(({ state }) => state));
    for (const state of ['NONE', 'SYN_SENT', 'SYN_SENT2', 'SYN_RECV', 'ESTABLISHED', 'FIN_WAIT', 'CLOSE_WAIT'])
      expect(states, state).toContain(state);
    for (const state of ['LAST_ACK', 'TIME_WAIT', 'CLOSE']) expect(states, state).toContain(state);
    expect(new Set(here.flat().map(({ state }) => state))).toEqual(states);
  });

  it.each(sequences.map(({ name }, index) => ({ name, index })))(
    'leaves the connection in the same state after each segment, or one known to differ: $name',
    (one) => {
      const known = stateDifferences.find(({ where }) => one.name in where);
      const found = stateDifferenceOf(here[one.index]!, there[one.index]!);
      const expected = known && stateText(known.where[one.name]!, known.here, known.kernel);
      expect(found, known?.reason ?? 'no difference is known here').toBe(expected);
    },
  );
});
