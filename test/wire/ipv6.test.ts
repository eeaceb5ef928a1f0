import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CHAIN_MALFORMED, CHAIN_TOO_LONG, CHAIN_TRUNCATED, CHAIN_WHOLE, Ipv6Chain } from '../../src/wire/ipv6.js';

const START = 50;
const TCP = 6;
const FRAGMENT = 44;
const AH = 51;
const chain = new Ipv6Chain();

interface Extension {
  readonly kind: number;
  /** The length octet. */
  readonly length: number;
  readonly fragment: number;
}

function sizeOf({ kind, length }: Extension): number {
  if (kind === FRAGMENT) return 8;
  return kind === AH ? 4 * (length + 2) : 8 * (length + 1);
}

/** A packet between guards; `extensions` in order, then `upper` and its payload. */
function arenaWith(extensions: readonly Extension[], upper: number, payloadSize: number): [Uint8Array, number] {
  const kinds = [...extensions.map((extension) => extension.kind), upper];
  const body: number[] = [];
  for (const [index, extension] of extensions.entries()) {
    const octets = new Array(sizeOf(extension)).fill(0);
    octets[0] = kinds[index + 1];
    octets[1] = extension.length;
    if (extension.kind === FRAGMENT) {
      octets[2] = extension.fragment >> 8;
      octets[3] = extension.fragment & 0xff;
    }
    body.push(...octets);
  }
  body.push(...new Array(payloadSize).fill(1));
  const arena = new Uint8Array(START + 40 + body.length + 50).fill(0xa5);
  arena.fill(0, START, START + 40);
  arena.set([0x60, 0, 0, 0, body.length >> 8, body.length & 0xff, kinds[0], 64], START);
  arena.set(body, START + 40);
  return [arena, START + 40 + body.length];
}

const extensions = fc.record({
  kind: fc.constantFrom(0, 43, FRAGMENT, AH, 60, 135, 139, 140),
  length: fc.integer({ min: 1, max: 5 }),
  fragment: fc.constantFrom(0, 1, 8, 9, 0xfff8),
});

/** What a reader of RFC 8200 with a pencil would say of a whole packet. */
function reference(chainOf: readonly Extension[], upper: number): object {
  let position = START + 40;
  let hasRouting = false;
  let isFragment = false;
  let fragmentSeen = false;
  for (const [index, extension] of chainOf.entries()) {
    if (index === 8) return { verdict: CHAIN_TOO_LONG };
    if (extension.kind === 0 && index > 0) return { verdict: CHAIN_MALFORMED };
    if (extension.kind === FRAGMENT && fragmentSeen) return { verdict: CHAIN_MALFORMED };
    position += sizeOf(extension);
    if (extension.kind === 43) hasRouting = true;
    if (extension.kind !== FRAGMENT) continue;
    fragmentSeen = true;
    isFragment = extension.fragment !== 0;
    const protocol = chainOf[index + 1]?.kind ?? upper;
    if (extension.fragment >> 3 !== 0) {
      return { verdict: CHAIN_WHOLE, protocol, position, isFragment, isLaterFragment: true, hasRouting };
    }
  }
  return { verdict: CHAIN_WHOLE, protocol: upper, position, isFragment, isLaterFragment: false, hasRouting };
}

function walk(arena: Uint8Array, end: number): object {
  const verdict = chain.walk(arena, START, end);
  if (verdict !== CHAIN_WHOLE) return { verdict };
  const { protocol, position, isFragment, isLaterFragment, hasRouting } = chain;
  return { verdict, protocol, position, isFragment, isLaterFragment, hasRouting };
}

describe('a chain of extension headers', () => {
  test('is read as the reference reads it', () => {
    const uppers = fc.constantFrom(TCP, 17, 58, 59, 50, 132, 255);
    fc.assert(
      fc.property(fc.array(extensions, { maxLength: 10 }), uppers, (chainOf, upper) => {
        const [arena, end] = arenaWith(chainOf, upper, 24);
        expect(walk(arena, end)).toEqual(reference(chainOf, upper));
      }),
      { numRuns: 1000 },
    );
  });

  test('of a packet cut off at any octet gets a verdict that octets behind the cut cannot change', () => {
    fc.assert(
      fc.property(fc.array(extensions, { maxLength: 9 }), (chainOf) => {
        const [arena, end] = arenaWith(chainOf, TCP, 20);
        const before = arena.slice();
        for (let cut = START; cut < end; cut++) {
          const found = chain.walk(arena, START, cut);
          expect(found).not.toBe(CHAIN_WHOLE);
          const noise = arena.slice();
          noise.fill(0x3c, cut);
          expect(chain.walk(noise, START, cut)).toBe(found);
        }
        expect(arena).toEqual(before);
      }),
      { numRuns: 50 },
    );
  });

  test('whose packet says it is shorter ends inside the packet or is truncated', () => {
    const [arena, end] = arenaWith([{ kind: 60, length: 2, fragment: 0 }], TCP, 20);
    for (let length = 0; length <= end - START - 40; length++) {
      arena[START + 5] = length;
      const verdict = chain.walk(arena, START, end);
      expect(verdict).toBe(length < 24 ? CHAIN_TRUNCATED : CHAIN_WHOLE);
      if (verdict === CHAIN_WHOLE) expect(chain.end).toBe(START + 40 + length);
    }
  });

  test('of eight headers is read, of nine and of forty is too long', () => {
    const header = { kind: 60, length: 0, fragment: 0 };
    const verdicts = [8, 9, 40].map((count) => {
      const [arena, end] = arenaWith(new Array<Extension>(count).fill(header), TCP, 20);
      return chain.walk(arena, START, end);
    });
    expect(verdicts).toEqual([CHAIN_WHOLE, CHAIN_TOO_LONG, CHAIN_TOO_LONG]);
  });

  test('with an atomic fragment header is no fragment', () => {
    const [arena, end] = arenaWith([{ kind: FRAGMENT, length: 0, fragment: 0 }], TCP, 20);
    expect(chain.walk(arena, START, end)).toBe(CHAIN_WHOLE);
    expect([chain.isFragment, chain.fragmentHeader]).toEqual([false, START + 40]);
  });

  test('of a jumbogram or another version is malformed', () => {
    const [jumbo, jumboEnd] = arenaWith([{ kind: 0, length: 0, fragment: 0 }], TCP, 20);
    jumbo[START + 5] = 0;
    expect(chain.walk(jumbo, START, jumboEnd)).toBe(CHAIN_MALFORMED);
    const [other, end] = arenaWith([], TCP, 20);
    other[START] = 0x40;
    expect(chain.walk(other, START, end)).toBe(CHAIN_MALFORMED);
  });
});
