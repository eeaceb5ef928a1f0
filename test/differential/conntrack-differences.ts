/**
 * Where weft judges a segment otherwise than the kernel, or finds its connection in another state, and why. An entry must hold exactly: what no longer differs fails.
 * Found with Linux 6.18; an older kernel may differ in what it takes for a reset.
 */

export interface Difference {
  readonly reason: string;
  /** Flags and sender of the segment. */
  readonly segment: string;
  /** What the kernel makes of it; weft the opposite. */
  readonly kernel: 'passes' | 'invalid';
  /** By sequence: the first segment that is judged otherwise, from 1. */
  readonly where: Readonly<Record<string, number>>;
}

const eitherBegins =
  'after a reset either end may begin anew, and rules judge that as any new connection; in the kernel only who had ' +
  'begun the old one may';
const crossing =
  'the reset before it was not one that the other end believes, so the client still asks, and the two SYNs cross';
const olderSyn =
  'acknowledges more than was sent: an answer to an older SYN, whose number may as well lie behind the newer one. The ' +
  'end that asked answers it with a reset, and has to see it for that; it opens nothing here. The kernel lets only ' +
  'numbers before pass';
const notAnswered =
  "the SYN/ACK before acknowledges less than the SYN's number, so for weft nobody has answered yet (RFC 9293 " +
  'section 3.10.7.3: its receiver resets it); the kernel takes the connection for opened';
const overshoot =
  'the kernel lets a sender overshoot the window by as much again, for stacks that send more than they may; weft ' +
  'lets nobody send beyond what the receiver allowed';
const unbelievedReset =
  'a reset that its receiver must not believe: without the number or the acknowledgement that RFC 9293 section ' +
  '3.10.7.3 and RFC 5961 section 3.2 ask for. Outside of established connections the kernel does not look';
const refused =
  'a connection that was refused before it stood has no windows that could be known; the kernel does not check ' +
  'what follows a reset, weft does';
const newAtOnce =
  'a SYN after a reset begins a new connection at once, in which nobody has answered yet; the kernel keeps the ' +
  'old one until somebody has';

const assassination =
  'a reset does not shorten TIME_WAIT (RFC 1337): what is left of the old connection must not meet a new one';
const keptRefusal = 'the kernel forgets a connection that was refused, weft keeps it as closed for its time';
const ownReset =
  'a reset of who asked, against an answer to an older SYN: the attempt goes on. The kernel takes it for ended until ' +
  'the next SYN';
const firstWindow =
  "what the client's SYN allowed counts at once; the kernel waits for its first ACK, and until then lets what the " +
  'server sends pass without an effect';

/** By sequence: the first segment after which the states differ, although its verdict does not. */
export interface StateDifference {
  readonly reason: string;
  readonly here: string;
  readonly kernel: string;
  readonly where: Readonly<Record<string, number>>;
}

export const stateDifferences: readonly StateDifference[] = [
  {
    reason: notAnswered,
    here: 'SYN_SENT',
    kernel: 'SYN_RECV',
    where: {
      'synack_old: an answer to an older SYN, reset by who asked': 2,
      'random 1': 2,
      'random 16': 2,
      'random 17': 2,
      'random 19': 2,
      'random 31': 2,
      'random 36': 2,
      'random 41': 2,
      'random 74': 2,
      'random 93': 2,
      'random 109': 2,
      'random 111': 2,
      'random 128': 2,
      'random 139': 2,
      'random 171': 2,
      'random 184': 2,
      'random 225': 2,
      'random 234': 2,
      'random 296': 2,
    },
  },
  {
    reason: ownReset,
    here: 'SYN_SENT',
    kernel: 'CLOSE',
    where: { 'synack_reuse: ports used again at once, answered from the old connection': 13, 'random 62': 13 },
  },
  {
    reason: keptRefusal,
    here: 'CLOSE',
    kernel: 'NONE',
    where: { refused: 2, 'random 6': 13 },
  },
  {
    reason: assassination,
    here: 'TIME_WAIT',
    kernel: 'CLOSE',
    where: {
      'random 5': 12,
      'random 46': 11,
      'random 50': 12,
      'random 95': 13,
      'random 116': 12,
      'random 120': 13,
      'random 123': 13,
      'random 135': 13,
      'random 145': 11,
      'random 153': 13,
      'random 177': 13,
      'random 193': 12,
      'random 208': 10,
      'random 235': 9,
      'random 244': 10,
      'random 257': 8,
      'random 271': 14,
      'random 294': 9,
    },
  },
  {
    reason: unbelievedReset,
    here: 'SYN_RECV',
    kernel: 'CLOSE',
    where: { 'random 59': 9 },
  },
  {
    reason: firstWindow,
    here: 'FIN_WAIT',
    kernel: 'SYN_RECV',
    where: { 'random 87': 6 },
  },
  {
    reason: unbelievedReset,
    here: 'FIN_WAIT',
    kernel: 'CLOSE',
    where: { 'random 142': 8 },
  },
  {
    reason: unbelievedReset,
    here: 'SYN_SENT2',
    kernel: 'CLOSE',
    where: { 'random 152': 11 },
  },
  {
    reason: newAtOnce,
    here: 'SYN_SENT',
    kernel: 'CLOSE',
    where: { 'random 275': 12 },
  },
  {
    reason: firstWindow,
    here: 'CLOSE_WAIT',
    kernel: 'FIN_WAIT',
    where: { 'random 297': 4 },
  },
];

export const differences: readonly Difference[] = [
  {
    reason: eitherBegins,
    segment: 'S server',
    kernel: 'invalid',
    where: { 'random 77': 13, 'random 118': 14, 'random 257': 9, 'random 291': 8, 'random 294': 14 },
  },
  {
    reason: crossing,
    segment: 'S server',
    kernel: 'invalid',
    where: { 'random 62': 14 },
  },
  {
    reason: olderSyn,
    segment: 'SA server',
    kernel: 'invalid',
    where: {
      'random 14': 2,
      'random 43': 2,
      'random 85': 2,
      'random 112': 2,
      'random 136': 2,
      'random 141': 2,
      'random 151': 2,
      'random 179': 2,
      'random 204': 10,
    },
  },
  {
    reason: olderSyn,
    segment: 'SA client',
    kernel: 'invalid',
    where: { 'random 103': 12 },
  },
  {
    reason: notAnswered,
    segment: 'A client',
    kernel: 'passes',
    where: {
      'random 1': 3,
      'random 16': 3,
      'random 19': 3,
      'random 31': 3,
      'random 36': 3,
      'random 41': 3,
      'random 74': 3,
      'random 109': 3,
      'random 111': 3,
      'random 128': 3,
      'random 139': 3,
      'random 171': 3,
      'random 184': 3,
      'random 225': 3,
      'random 234': 3,
      'random 296': 3,
    },
  },
  {
    reason: notAnswered,
    segment: 'PA client',
    kernel: 'passes',
    where: { 'random 17': 5 },
  },
  {
    reason: notAnswered,
    segment: 'A server',
    kernel: 'invalid',
    where: { 'random 93': 4 },
  },
  {
    reason: overshoot,
    segment: 'PA client',
    kernel: 'passes',
    where: { 'a window that is scaled': 7 },
  },
  {
    reason: unbelievedReset,
    segment: 'RA client',
    kernel: 'passes',
    where: { 'random 3': 13 },
  },
  {
    reason: unbelievedReset,
    segment: 'R server',
    kernel: 'passes',
    where: { 'random 29': 5, 'random 48': 5, 'random 71': 7, 'random 107': 12 },
  },
  {
    reason: unbelievedReset,
    segment: 'R client',
    kernel: 'passes',
    where: { 'random 131': 8 },
  },
  {
    reason: unbelievedReset,
    segment: 'RA server',
    kernel: 'passes',
    where: { 'random 218': 9 },
  },
  {
    reason: refused,
    segment: 'A server',
    kernel: 'passes',
    where: { 'random 91': 5 },
  },
  {
    reason: refused,
    segment: 'PA client',
    kernel: 'passes',
    where: { 'random 152': 12 },
  },
  {
    reason: newAtOnce,
    segment: 'PA client',
    kernel: 'passes',
    where: { 'random 275': 13 },
  },
];
