/**
 * Stateful rules of the kernel's nftables as the oracle for security groups: the same rules, the same packets of UDP, TCP and
 * ICMP in an order that nobody has thought about, and each packet must pass both or neither. What the states of TCP are is
 * compared in conntrack.test.ts: here is compared what rules make of new, established, related and invalid.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { icmp, quoted, segment, udp } from '../pipeline/connection-fixture.js';
import { documentWith } from '../pipeline/group-switch.js';
import { TestSwitch } from '../pipeline/test-switch.js';
import { randomOf } from './conntrack-sequences.js';
import { KernelRouter, SENTINEL_PORT, SIDES, type Side } from './kernel-router.js';

const SEQUENCES = 250;
const STEPS = 16;

const ingress = { direction: 'ingress', family: 'ipv4' };
const egress = { direction: 'egress', family: 'ipv4' };
/** Of the server: what may come to it, and what it may begin. */
const groupRules = [
  { ...ingress, proto: 'tcp', port: 80 },
  { ...ingress, proto: 'udp', port: 53 },
  { ...ingress, proto: 'icmp', icmpType: 'echo-request' },
  { ...ingress, proto: 'udp', port: '60-62', remote: '192.0.2.0/28' },
  { ...ingress, proto: 'tcp', port: 81, remote: '203.0.113.0/24' },
  { ...egress, proto: 'tcp', port: 443 },
  { ...egress, proto: 'udp', port: 123 },
];
const kernelRules = `
  table ip judge {
    chain forward {
      type filter hook forward priority filter; policy drop;
      udp dport ${SENTINEL_PORT} accept
      ct state established,related accept
      ct state invalid drop
      iifname "left" tcp dport 80 accept
      iifname "left" udp dport 53 accept
      iifname "left" icmp type echo-request accept
      iifname "left" ip saddr 192.0.2.0/28 udp dport 60-62 accept
      iifname "left" ip saddr 203.0.113.0/24 tcp dport 81 accept
      iifname "right" tcp dport 443 accept
      iifname "right" udp dport 123 accept
    }
  }
`;

interface Step {
  readonly from: Side;
  readonly octets: Uint8Array;
  readonly text: string;
}

const other = { client: 'server', server: 'client' } as const;

/** Packets of one sequence: its own ports and identifiers, so that none knows of another. */
class Talk {
  readonly steps: Step[] = [];
  private readonly number: number;
  private readonly random: (below: number) => number;

  constructor(number: number) {
    this.number = number;
    this.random = randomOf(number * 7919 + 13);
    while (this.steps.length < STEPS) this.add();
  }

  private pick<Value>(values: readonly Value[]): Value {
    return values[this.random(values.length)]!;
  }

  private add(): void {
    const from: Side = this.pick(['client', 'server']);
    const { octets, text } = this.random(4) === 0 ? this.error(from) : this.packet(from);
    this.steps.push({ from, octets, text: `${text} from the ${from}` });
  }

  /** A packet that this side might send, asked for or not. */
  private packet(from: Side): { octets: Uint8Array; text: string } {
    const [source, destination] = [SIDES[from].address, SIDES[other[from]].address];
    const kind = this.random(5);
    if (kind === 0) {
      const type = this.pick([0, 8]);
      return { octets: icmp(source, destination, type, this.number), text: `ICMP type ${type}` };
    }
    // Who serves: either end does.
    const isToService = this.random(2) === 0;
    const own = (from === 'client') === isToService ? 10_000 + this.number : 20_000 + this.number;
    const service = this.pick(kind < 3 ? [53, 60, 63, 123] : [80, 81, 443]);
    const ports: [number, number] = isToService ? [own, service] : [service, own];
    if (kind < 3) return { octets: udp(source, destination, ports), text: `UDP ${ports}` };
    const flags = isToService ? this.pick(['S', 'S', 'A']) : this.pick(['SA', 'A']);
    const numbers = {
      ...(isToService ? { seq: flags === 'S' ? 100 : 101 } : { seq: flags === 'SA' ? 500 : 501 }),
      ack: flags === 'S' ? 0 : isToService ? 501 : 101,
    };
    return {
      octets: segment({ flags, ...numbers, ports, from: source, to: destination }),
      text: `TCP ${flags} ${ports}`,
    };
  }

  /** An ICMP error about a packet that the other side sent before, or might have sent. */
  private error(from: Side): { octets: Uint8Array; text: string } {
    const sent = this.steps.filter((step) => step.from === other[from] && !step.text.startsWith('error'));
    const about = sent.length > 0 && this.random(3) !== 0 ? this.pick(sent) : { ...this.packet(other[from]) };
    const type = this.pick([3, 11]);
    const octets = icmp(SIDES[from].address, SIDES[other[from]].address, type, 0, quoted(about.octets, 28));
    return { octets, text: `error ${type} about ${about.text}` };
  }
}

const talks = Array.from({ length: SEQUENCES }, (_, number) => new Talk(number));
const numberOf = (talk: number, step: number) => talk * STEPS + step;

async function judgeThere(router: KernelRouter): Promise<boolean[][]> {
  await router.settle();
  for (let step = 0; step < STEPS; step++) {
    for (const [index, { steps }] of talks.entries()) {
      const { from, octets } = steps[step]!;
      router.send(from, octets, numberOf(index, step));
    }
    await router.settle();
  }
  return talks.map(({ steps }, index) => steps.map((_, step) => router.hasPassed(numberOf(index, step))));
}

const PORTS = { client: 'a', server: 'b' } as const;
const MACS = { client: [0x52, 0x54, 0, 0, 0, 0x0a], server: [0x52, 0x54, 0, 0, 0, 0x0b] };

function judgeHere(): boolean[][] {
  const document = documentWith({
    groups: { server: { rules: groupRules } },
    ports: { a: {}, b: { groups: ['server'] } },
  });
  return talks.map(({ steps }) => {
    const tested = new TestSwitch(document);
    return steps.map(({ from, octets }) => {
      const frame = octets.slice();
      frame.set(MACS[other[from]], 0);
      frame.set(MACS[from], 6);
      return tested.run({ port: PORTS[from], octets: frame }).some(({ port }) => port === PORTS[other[from]]);
    });
  });
}

describe("security groups as the kernel's stateful rules", () => {
  let router: KernelRouter | undefined;
  let there: readonly boolean[][] = [];
  let here: readonly boolean[][] = [];

  beforeAll(async () => {
    router = new KernelRouter(kernelRules);
    there = await judgeThere(router);
    here = judgeHere();
  }, 50_000);

  afterAll(() => router?.close());

  it('were compared over packets of every kind that pass, and of every kind that do not', () => {
    const seen = new Set<string>();
    for (const [index, { steps }] of talks.entries())
      for (const [step, { text, from }] of steps.entries())
        seen.add(`${text.split(' ')[0]} from the ${from}: ${there[index]![step]}`);
    for (const kind of ['UDP', 'TCP', 'ICMP', 'error'])
      for (const from of ['client', 'server'])
        for (const passes of [true, false]) expect(seen).toContain(`${kind} from the ${from}: ${passes}`);
  });

  it.each(talks.map((_, index) => index))('let the same packets pass: sequence %i', (index) => {
    const texts = (verdicts: readonly boolean[]) =>
      talks[index]!.steps.map(({ text }, step) => `${text}: ${verdicts[step] ? 'passes' : 'dropped'}`);
    expect(texts(here[index]!)).toEqual(texts(there[index]!));
  });
});
