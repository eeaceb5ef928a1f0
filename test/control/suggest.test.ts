import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { didYouMean, editDistance, nearest } from '../../src/control/suggest.js';

describe('did you mean', () => {
  test('a slip of one letter is found in a short word', () => {
    expect(didYouMean('a3', ['a1', 'web'])).toBe(' (did you mean a1?)');
  });

  test('swapped letters count as one slip', () => {
    expect(editDistance('netwrok', 'network')).toBe(1);
    expect(nearest('netwrok', ['native', 'network'])).toBe('network');
  });

  test('nothing near, nothing said', () => {
    expect(didYouMean('zebra', ['network', 'trunk'])).toBe('');
    expect(didYouMean('ab', ['xy'])).toBe('');
  });

  test('a word of any length is answered at once', () => {
    expect(nearest('x'.repeat(1_000_000), ['x'.repeat(999_999)])).toBeUndefined();
  });

  test('the distance is symmetric and zero only for equal words', () => {
    const word = fc.string({ maxLength: 12 });
    fc.assert(
      fc.property(word, word, (left, right) => {
        expect(editDistance(left, right)).toBe(editDistance(right, left));
        expect(editDistance(left, right) === 0).toBe(left === right);
      }),
    );
  });
});
