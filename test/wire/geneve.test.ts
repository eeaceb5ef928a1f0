import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { geneveOptions, OPTIONS_CRITICAL, OPTIONS_MALFORMED, OPTIONS_SKIPPABLE } from '../../src/wire/geneve.js';

interface Option {
  readonly type: number;
  readonly words: number;
}

const options = fc.array(fc.record({ type: fc.nat(255), words: fc.nat(31) }), { maxLength: 6 });

const encode = (list: readonly Option[]) =>
  list.flatMap(({ type, words }) => [0xff, 0x02, type, words | 0xe0, ...new Array(4 * words).fill(0x80)]);

/** By cutting options off the front of a list. */
function reference(octets: readonly number[]): number {
  if (octets.length === 0) return OPTIONS_SKIPPABLE;
  if (octets.length < 4) return OPTIONS_MALFORMED;
  const size = 4 + 4 * (octets[3] % 32);
  if (size > octets.length) return OPTIONS_MALFORMED;
  const rest = reference(octets.slice(size));
  return rest === OPTIONS_SKIPPABLE && octets[2] >= 128 ? OPTIONS_CRITICAL : rest;
}

describe('Geneve options', () => {
  test('are critical if one of them is', () => {
    fc.assert(
      fc.property(options, (list) => {
        const octets = encode(list);
        const expected = list.some(({ type }) => type >= 128) ? OPTIONS_CRITICAL : OPTIONS_SKIPPABLE;
        expect(geneveOptions(Uint8Array.from(octets), 0, octets.length)).toBe(expected);
      }),
    );
  });

  test('that are cut off anywhere are malformed, except between two of them', () => {
    fc.assert(
      fc.property(options, (list) => {
        const octets = encode(list);
        const arena = Uint8Array.of(...octets, 0, 0, 0, 0);
        for (let length = 0; length <= octets.length; length++) {
          expect(geneveOptions(arena, 0, length)).toBe(reference(octets.slice(0, length)));
        }
      }),
      { numRuns: 40 },
    );
  });

  test('of any octets are judged as by who cuts them apart one by one', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 252 }), (octets) => {
        expect(geneveOptions(octets, 0, octets.length)).toBe(reference([...octets]));
      }),
      { numRuns: 500 },
    );
  });
});
