/** Bits of one word are told apart: two engineers once took the same for different things. */
import { describe, expect, test } from 'vitest';
import * as snapshot from '../../src/pipeline/snapshot.js';

const constants = Object.entries(snapshot).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
const isOneBit = (value: number) => value > 0 && (value & (value - 1)) === 0;

/** Names that begin so and are one bit; those that stand for several bits, or number something, are not. */
function bitsOf(prefix: string, others: readonly string[] = []): [string, number][] {
  return constants.filter(([name, value]) => name.startsWith(prefix) && isOneBit(value) && !others.includes(name));
}

const modes = ['PORT_CLOSED', 'PORT_ACCESS', 'PORT_TRUNK', 'PORT_TUNNEL', 'PORT_UNDERLAY'];

describe('no two names are one bit', () => {
  test.each([
    ['portFlags', bitsOf('PORT_', modes)],
    ['portControlFrames', bitsOf('CONTROL_')],
    ['networkFlags', bitsOf('NETWORK_')],
    ['portPolicy and networkPolicy', bitsOf('POLICY_')],
  ])('of %s', (_, bits) => {
    expect(bits.length).toBeGreaterThan(4);
    const byBit = new Map<number, string[]>();
    for (const [name, value] of bits) byBit.set(value, [...(byBit.get(value) ?? []), name]);
    expect([...byBit.values()].filter((names) => names.length > 1)).toEqual([]);
  });
});
