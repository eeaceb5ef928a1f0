/**
 * The kernel's connection tracking as the oracle for TCP: the same segments pass a router of the kernel's, in a namespace of
 * its own, whose nftables drop what is invalid, and the stages of ours. What each judge
 * makes of each segment must be the same, or stand in `differences` with its reason; and the state that its connection is in
 * afterwards, or stand in `stateDifferences`. Behind the first difference of a sequence no more of it is compared.
 *
 * Sequences go on side by side, a step at a time, each connection by its port.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { COMMITTED } from '../../src/pipeline/connection-table.js';
import { segment, TrackedSwitch } from '../pipeline/connection-fixture.js';
import { differences, stateDifferences } from './conntrack-differences.js';
import { chosen, randomSequence, type Sequence, type Step } from './conntrack-sequences.js';
import { KernelRouter, SIDES } from './kernel-router.js';

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

const CLIENT_PORTS = 10_000;
const SERVER_PORT = 80;

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

// The kernel.

const rules = `
  table ip judge {
    chain forward {
      type filter hook forward priority filter; policy accept;
      ct state invalid drop
      counter
    }
  }
`;

/** States by sequence; a connection is known by its client's port, whoever began it. */
function statesOf(router: KernelRouter): Map<number, string> {
  const states = new Map<number, string>();
  for (const line of router.connections()) {
    const [, state, source, destination] = /^ipv4 .* tcp +6 \d+ (\w+) .*? sport=(\d+) dport=(\d+)/.exec(line) ?? [];
    const port = Number(source) === SERVER_PORT ? Number(destination) : Number(source);
    if (state !== undefined) states.set(port - CLIENT_PORTS, state);
  }
  return states;
}

async function judgeThere(router: KernelRouter): Promise<Judgement[][]> {
  await router.settle();
  const states: Map<number, string>[] = [];
  for (let step = 0; step < stepsMax; step++) {
    for (const [index, { steps }] of sequences.entries()) {
      const one = steps[step];
      if (one !== undefined) router.send(one.from, frameOf(index, one), numberOf(index, step));
    }
    await router.settle();
    states.push(statesOf(router));
  }
  return sequences.map(({ steps }, index) =>
    steps.map((_, step) => ({
      verdict: router.hasPassed(numberOf(index, step)) ? 'passes' : 'invalid',
      state: states[step]!.get(index) ?? 'NONE',
    })),
  );
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
  let router: KernelRouter | undefined;
  let there: readonly Judgement[][] = [];
  let here: readonly Judgement[][] = [];

  beforeAll(async () => {
    router = new KernelRouter(rules);
    there = await judgeThere(router);
    here = judgeHere();
  }, 50_000);

  afterAll(() => router?.close());

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
