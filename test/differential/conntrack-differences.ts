/**
 * Where weft judges a segment otherwise than the kernel, and why. An entry must hold exactly: what no longer differs fails.
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

const restartedServer =
  "a server's SYN from the port it serves: the kernel knows only clients that have restarted, weft treats both " +
  'ends alike. The SYN passes and changes nothing; the other end answers it with a challenge ACK';
const olderSyn =
  'acknowledges more than was sent: perhaps the answer to an older SYN that weft has not seen. The end that asked' +
  ' answers it with a reset, and has to see it for that; it opens nothing here';
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

export const differences: readonly Difference[] = [
  {
    reason: restartedServer,
    segment: 'S server',
    kernel: 'invalid',
    where: {
      'random 6': 7,
      'random 7': 4,
      'random 22': 12,
      'random 25': 10,
      'random 27': 5,
      'random 34': 5,
      'random 35': 5,
      'random 40': 5,
      'random 44': 11,
      'random 54': 12,
      'random 62': 14,
      'random 69': 4,
      'random 77': 13,
      'random 80': 11,
      'random 87': 7,
      'random 89': 9,
      'random 118': 14,
      'random 123': 9,
      'random 127': 5,
      'random 142': 7,
      'random 148': 6,
      'random 149': 5,
      'random 150': 5,
      'random 157': 5,
      'random 159': 9,
      'random 162': 4,
      'random 205': 9,
      'random 222': 7,
      'random 229': 8,
      'random 236': 4,
      'random 240': 4,
      'random 242': 10,
      'random 257': 9,
      'random 274': 7,
      'random 284': 6,
      'random 285': 5,
      'random 291': 8,
      'random 294': 14,
      'random 295': 4,
    },
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
