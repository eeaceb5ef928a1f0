/**
 * TCP sequences for two judges, chosen ones by name and random ones by number. Sequence numbers are counted from each end's
 * first; every sequence has ports of its own, so none knows of another.
 */
import { numbersFrom } from '../sim/random.js';

export interface Step {
  readonly from: 'client' | 'server';
  readonly flags: string;
  readonly seq: number;
  readonly ack?: number;
  readonly length?: number;
  readonly win?: number;
  readonly scale?: number;
}

export interface Sequence {
  readonly name: string;
  readonly steps: readonly Step[];
}

/** First number of each end: one near the end of its space. */
const C = 0x7fff_fff0;
const S = 0xffff_ff00;

type Rest = Omit<Partial<Step>, 'from' | 'flags'>;
/** Numbers are relative to the ends' first ones. */
const client = (flags: string, seq: number, ack = 0, rest: Rest = {}): Step => ({
  ...{ from: 'client', flags, seq: C + seq, ack: flags.includes('A') ? S + ack : 0, win: 1000 },
  ...rest,
});
const server = (flags: string, seq: number, ack = 0, rest: Rest = {}): Step => ({
  ...{ from: 'server', flags, seq: S + seq, ack: flags.includes('A') ? C + ack : 0, win: 1000 },
  ...rest,
});

const opened = [client('S', 0), server('SA', 0, 1), client('A', 1, 1)];
const talked = [
  ...opened,
  client('PA', 1, 1, { length: 100 }),
  server('PA', 1, 101, { length: 50 }),
  client('A', 101, 51),
];
const closed = [...[client('FA', 101, 51), server('A', 51, 102), server('FA', 51, 102), client('A', 102, 52)]];
const scaled = [client('S', 0, 0, { scale: 7 }), server('SA', 0, 1, { scale: 7 }), client('A', 1, 1)];

/** The six situations of the kernel's own tests of conntrack, and what RFCs 9293, 5961 and 7323 make one ask. */
export const chosen: readonly Sequence[] = [
  { name: 'opened, talked, closed', steps: [...talked, ...closed] },
  {
    name: 'rst_invalid: resets outside the window end nothing',
    steps: [...talked, server('R', 200_000), client('R', -100_000), client('A', 101, 51, { length: 5 })],
  },
  {
    name: 'inexact_rst: a reset in the window is not believed, the exact one is',
    steps: [
      ...talked,
      server('R', 61),
      client('PA', 101, 51, { length: 10 }),
      server('R', 51),
      client('PA', 111, 51, { length: 10 }),
    ],
  },
  {
    name: 'syn_challenge_ack: a SYN into a standing connection, its challenge and the reset',
    steps: [
      ...talked,
      client('S', 50_000),
      server('A', 51, 101),
      client('R', 101),
      client('S', 50_000),
      server('SA', 900, 50_001),
      client('A', 50_001, 901),
    ],
  },
  {
    name: 'synack_old: an answer to an older SYN, reset by who asked',
    steps: [
      client('S', 1000),
      server('SA', 0, 1),
      client('R', 1),
      client('S', 1000),
      server('SA', 500, 1001),
      client('A', 1001, 501),
    ],
  },
  {
    name: 'synack_reuse: ports used again at once, answered from the old connection',
    steps: [
      ...talked,
      ...closed,
      client('S', 70_000),
      server('A', 52, 102),
      client('R', 102),
      client('S', 70_000),
      server('SA', 9000, 70_001),
      client('A', 70_001, 9001),
    ],
  },
  {
    name: 'ack_loss_stall: repeated after acknowledgements were lost',
    steps: [
      ...opened,
      client('PA', 1, 1, { length: 1000 }),
      client('PA', 1, 1, { length: 1000 }),
      server('A', 1, 1001),
      client('PA', 1001, 1, { length: 1000 }),
      client('PA', 1, 1, { length: 1000 }),
      server('A', 1, 2001),
      server('A', 1, 1001),
      client('A', 2001, 1),
    ],
  },
  {
    name: 'simultaneous open',
    steps: [
      client('S', 0),
      server('S', 0),
      client('SA', 0, 1),
      server('SA', 0, 1),
      client('A', 1, 1),
      server('PA', 1, 1, { length: 10 }),
    ],
  },
  {
    name: 'SYN again',
    steps: [client('S', 0), client('S', 0), server('SA', 0, 1), server('SA', 0, 1), client('A', 1, 1)],
  },
  {
    name: 'SYN again with another number',
    steps: [client('S', 0), client('S', 5000), server('SA', 0, 5001), client('A', 5001, 1)],
  },
  {
    name: 'used again in TIME_WAIT by who began',
    steps: [...talked, ...closed, client('S', 100_000), server('SA', 100_000, 100_001), client('A', 100_001, 100_001)],
  },
  {
    name: 'used again in TIME_WAIT by the other end',
    steps: [...talked, ...closed, server('S', 100_000), client('SA', 100_000, 100_001), server('A', 100_001, 100_001)],
  },
  {
    name: 'used again after a reset',
    steps: [...talked, client('R', 101), client('S', 9000), server('SA', 9000, 9001), client('A', 9001, 9001)],
  },
  { name: 'refused', steps: [client('S', 0), server('RA', 0, 1), client('S', 0), server('RA', 0, 1)] },
  { name: 'refused with a number nobody asked for', steps: [client('S', 0), server('RA', 0, 77), server('SA', 0, 1)] },
  { name: 'an ACK begins nothing', steps: [client('A', 1, 1), client('PA', 1, 1, { length: 10 }), server('A', 1, 11)] },
  { name: 'a SYN/ACK begins nothing', steps: [client('SA', 0, 1), server('A', 1, 1)] },
  { name: 'a FIN begins nothing', steps: [client('FA', 0, 1), client('F', 0)] },
  { name: 'a reset begins nothing', steps: [client('R', 0), client('RA', 0, 1)] },
  {
    name: 'half closed by the client, the server goes on',
    steps: [
      ...talked,
      client('FA', 101, 51),
      server('A', 51, 102),
      server('PA', 51, 102, { length: 500 }),
      client('A', 102, 551),
      server('FA', 551, 102),
      client('A', 102, 552),
    ],
  },
  {
    name: 'half closed by the server',
    steps: [
      ...talked,
      server('FA', 51, 101),
      client('A', 101, 52),
      client('PA', 101, 52, { length: 500 }),
      server('A', 52, 601),
      client('FA', 601, 52),
      server('A', 52, 602),
    ],
  },
  {
    name: 'closed by both at once',
    steps: [...talked, client('FA', 101, 51), server('FA', 51, 101), client('A', 102, 52), server('A', 52, 102)],
  },
  {
    name: 'FIN again',
    steps: [
      ...talked,
      client('FA', 101, 51),
      client('FA', 101, 51),
      server('A', 51, 102),
      server('FA', 51, 102),
      server('FA', 51, 102),
      client('A', 102, 52),
      client('A', 102, 52),
    ],
  },
  {
    name: 'data beyond the window',
    steps: [...opened, client('PA', 1, 1, { length: 900 }), client('PA', 5000, 1, { length: 10 }), client('A', 901, 1)],
  },
  {
    name: 'data up to the window',
    steps: [...opened, client('PA', 1, 1, { length: 1000 }), client('PA', 1001, 1, { length: 1 })],
  },
  {
    name: 'acknowledges what was never sent',
    steps: [...opened, client('A', 1, 5000), server('A', 1, 9000), client('A', 1, 1)],
  },
  {
    name: 'a window that is scaled',
    steps: [
      ...scaled,
      client('PA', 1, 1, { length: 1000 }),
      server('A', 1, 1001),
      client('PA', 60_000, 1, { length: 100 }),
      client('PA', 200_000, 1, { length: 100 }),
    ],
  },
  {
    name: 'scaling that only one end offers',
    steps: [
      client('S', 0, 0, { scale: 7 }),
      server('SA', 0, 1),
      client('A', 1, 1),
      server('PA', 1, 1, { length: 1000 }),
      server('PA', 3000, 1, { length: 10 }),
    ],
  },
  {
    name: 'a window of nothing and its probe',
    steps: [
      ...opened,
      server('A', 1, 1, { win: 0 }),
      client('PA', 1, 1, { length: 1 }),
      server('A', 1, 1, { win: 0 }),
      server('A', 1, 2),
    ],
  },
  {
    name: 'flags that make no sense',
    steps: [
      ...talked,
      client('SF', 101),
      client('', 101),
      client('FSRPAU', 101, 51),
      client('SR', 101),
      client('FR', 101),
      client('A', 101, 51),
    ],
  },
  {
    name: 'a SYN/ACK in the wrong direction',
    steps: [client('S', 0), client('SA', 0, 1), server('SA', 0, 1), client('A', 1, 1)],
  },
  {
    name: 'a reset in the middle of opening',
    steps: [client('S', 0), server('SA', 0, 1), client('R', 1), client('A', 1, 1)],
  },
];

/** Numbers from 0 to below what is asked. */
export function randomOf(seed: number): (below: number) => number {
  const next = numbersFrom(seed);
  return (below) => next() % below;
}

interface End {
  next: number;
  readonly first: number;
  window: number;
}

const SHIFTS = [-100_000, -2000, -1, 1, 500, 2000, 100_000];
const STEPS = 14;

/** Two ends that mostly do what TCP does; one segment in sixteen is not what it should be. */
export function randomSequence(number: number): Sequence {
  const random = randomOf(number * 7919 + 1);
  const ends = { client: newEnd(random), server: newEnd(random) };
  const steps: Step[] = [];
  const send = (from: 'client' | 'server', flags: string, length: number): void => {
    const [own, other] = from === 'client' ? [ends.client, ends.server] : [ends.server, ends.client];
    const isOdd = random(16) === 0;
    const shift = () => (isOdd && random(2) === 0 ? SHIFTS[random(SHIFTS.length)]! : 0);
    const seq = (flags.includes('S') ? own.first : own.next) + shift();
    const ack = flags.includes('A') ? other.next + shift() : 0;
    steps.push({ from, flags, seq, ack, length, win: own.window });
    if (!isOdd) own.next = seq + length + (/[SF]/.test(flags) ? 1 : 0);
  };
  send('client', 'S', 0);
  if (random(16) !== 0) send('server', 'SA', 0);
  if (random(16) !== 0) send('client', 'A', 0);
  const often = ['A', 'PA', 'PA', 'FA'];
  const seldom = ['R', 'RA', 'S', 'SA'];
  while (steps.length < STEPS) {
    const kinds = random(8) === 0 ? seldom : often;
    const flags = kinds[random(4)]!;
    send(random(2) === 0 ? 'client' : 'server', flags, flags === 'PA' ? 1 + random(600) : 0);
  }
  return { name: `random ${number}`, steps };
}

function newEnd(random: (below: number) => number): End {
  const first = random(2 ** 32);
  return { first, next: first, window: 1000 + random(30_000) };
}
