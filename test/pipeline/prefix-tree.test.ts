/** Longest-prefix match against an obvious search through all prefixes. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Prefix, PrefixTreeBuilder } from '../../src/control/build-prefix-tree.js';
import {
  bitCount,
  longestPrefix4,
  longestPrefix6,
  NO_PREFIX,
  type PrefixTrees,
} from '../../src/pipeline/prefix-tree.js';
import { parseIp } from '../../src/wire/address.js';

const prefix = (text: string, value: number): Prefix => {
  const [address, length] = text.split('/');
  return { address: parseIp(address!)!, length: Number(length), value };
};

function treeOf(prefixes: readonly Prefix[]): { trees: PrefixTrees; root: number } {
  const builder = new PrefixTreeBuilder();
  const root = builder.add(prefixes);
  return { trees: builder.finish(), root };
}

function covers({ address, length }: Prefix, candidate: Uint8Array): boolean {
  for (let bit = 0; bit < length; bit++) {
    const mask = 0x80 >>> (bit & 7);
    if ((address[bit >>> 3]! & mask) !== (candidate[bit >>> 3]! & mask)) return false;
  }
  return true;
}

/** The later of two equal ones. */
function slowMatch(prefixes: readonly Prefix[], address: Uint8Array): number {
  let best: Prefix | undefined;
  for (const one of prefixes) if (covers(one, address) && one.length >= (best?.length ?? 0)) best = one;
  return best?.value ?? NO_PREFIX;
}

const found = (trees: PrefixTrees, root: number, address: Uint8Array) =>
  address.length === 4 ? longestPrefix4(trees, root, address, 0) : longestPrefix6(trees, root, address, 0);

describe('the longest prefix', () => {
  test('wins over shorter ones, whatever their order', () => {
    const prefixes = [
      prefix('198.51.100.0/24', 1),
      prefix('0.0.0.0/0', 2),
      prefix('198.51.100.128/25', 3),
      prefix('198.51.100.130/32', 4),
      prefix('198.0.0.0/7', 5),
    ];
    for (const list of [prefixes, [...prefixes].reverse()]) {
      const { trees, root } = treeOf(list);
      const of = (text: string) => longestPrefix4(trees, root, parseIp(text)!, 0);
      expect(of('198.51.100.7')).toBe(1);
      expect(of('203.0.113.7')).toBe(2);
      expect(of('198.51.100.131')).toBe(3);
      expect(of('198.51.100.130')).toBe(4);
      expect(of('199.1.2.3')).toBe(5);
    }
  });

  test('of none is said, in an empty tree too', () => {
    const { trees, root } = treeOf([]);
    expect(longestPrefix4(trees, root, parseIp('192.0.2.1')!, 0)).toBe(NO_PREFIX);
    const some = treeOf([prefix('192.0.2.0/24', 7)]);
    expect(longestPrefix4(some.trees, some.root, parseIp('192.0.3.1')!, 0)).toBe(NO_PREFIX);
  });

  test('given twice counts as given last, host bits or not', () => {
    const { trees, root } = treeOf([prefix('192.0.2.0/24', 1), prefix('192.0.2.77/24', 2)]);
    expect(longestPrefix4(trees, root, parseIp('192.0.2.1')!, 0)).toBe(2);
  });

  test('of IPv6 is found at every length', () => {
    const prefixes = Array.from({ length: 129 }, (_, length) => ({
      address: parseIp('2001:db8:1234:5678:9abc:def0:1357:9bdf')!,
      length,
      value: length,
    }));
    const { trees, root } = treeOf(prefixes);
    for (let length = 0; length <= 128; length++) {
      const address = Uint8Array.from(prefixes[0]!.address);
      if (length < 128) address[length >>> 3]! ^= 0x80 >>> (length & 7);
      expect(longestPrefix6(trees, root, address, 0)).toBe(length);
    }
  });

  test('is that of the tree that is asked', () => {
    const builder = new PrefixTreeBuilder();
    const first = builder.add([prefix('192.0.2.0/24', 1)]);
    const second = builder.add([prefix('192.0.2.0/24', 2)]);
    const third = builder.add([prefix('2001:db8::/32', 3)]);
    const trees = builder.finish();
    expect(longestPrefix4(trees, first, parseIp('192.0.2.1')!, 0)).toBe(1);
    expect(longestPrefix4(trees, second, parseIp('192.0.2.1')!, 0)).toBe(2);
    expect(longestPrefix6(trees, third, parseIp('2001:db8::1')!, 0)).toBe(3);
  });

  test('is what an obvious search says, for any prefixes and addresses', () => {
    // Few different octets, so that prefixes lie in one another.
    const octet = fc.constantFrom(0, 1, 127, 128, 200, 255);
    for (const size of [4, 16]) {
      const address = fc.array(octet, { minLength: size, maxLength: size }).map((octets) => Uint8Array.from(octets));
      const any = fc.record({ address, length: fc.nat(size * 8), value: fc.nat(1000) });
      fc.assert(
        fc.property(fc.array(any, { maxLength: 40 }), fc.array(address, { maxLength: 40 }), (prefixes, addresses) => {
          const { trees, root } = treeOf(prefixes);
          for (const one of [...addresses, ...prefixes.map((given) => given.address)])
            expect(found(trees, root, one)).toBe(slowMatch(prefixes, one));
        }),
        { numRuns: 300 },
      );
    }
  });
});

test('100,000 prefixes take less than 16 MiB, and each is found', () => {
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return state >>> 8;
  };
  const prefixes = Array.from({ length: 100_000 }, (_, value) => {
    const word = (random() << 8) >>> 0;
    return { address: Uint8Array.of(word >>> 24, word >>> 16, word >>> 8, 0), length: 24, value };
  });
  const { trees, root } = treeOf(prefixes);
  expect(trees.nodes.byteLength + trees.values.byteLength).toBeLessThan(16 * 1024 * 1024);
  const last = new Map(prefixes.map((one) => [one.address.join('.'), one.value]));
  for (const { address } of prefixes)
    if (longestPrefix4(trees, root, address, 0) !== last.get(address.join('.')))
      expect.fail(`${address.join('.')} is not found`);
});

test('bits are counted', () => {
  for (const [word, count] of [
    [0, 0],
    [-1, 32],
    [1, 1],
    [-2147483648, 1],
    [0x5555_5555, 16],
  ] as const)
    expect(bitCount(word)).toBe(count);
});
