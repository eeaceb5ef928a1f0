/** Rows that are got into the cache: which are loaded, and what is left alone. */
import { expect, test } from 'vitest';
import { areMany, lastSeen, touchRows } from '../../src/dataplane/touch.js';

/** Row n of 4 words begins with a bit of its own, so that what was loaded can be told. */
const rows = Int32Array.from({ length: 16 * 4 }, (_, word) => (word % 4 === 0 ? 1 << (word / 4) : -1));

/** The rows whose first words were loaded an odd number of times. */
function touched(numbers: Int32Array, count: number): number[] {
  const before = lastSeen();
  touchRows(rows, numbers, count, 4);
  const bits = lastSeen() ^ before;
  return Array.from({ length: 16 }, (_, row) => row).filter((row) => (bits & (1 << row)) !== 0);
}

test('the first word of each row is loaded', () => {
  expect(touched(Int32Array.of(3, 1, 15, 0, 7, 2, 4, 9), 8)).toEqual([0, 1, 2, 3, 4, 7, 9, 15]);
});

test.each([1, 2, 3, 4, 5, 6, 7, 9, 13])('%i rows are filled up to a multiple of eight with the first', (count) => {
  const numbers = new Int32Array(16).fill(1_000_000);
  for (let index = 0; index < count; index++) numbers[index] = index;
  const end = Math.ceil(count / 8) * 8;
  const others = Array.from({ length: count - 1 }, (_, index) => index + 1);
  expect(touched(numbers, count)).toEqual((end - count) % 2 === 0 ? [0, ...others] : others);
  expect([...numbers.slice(count, end)]).toEqual(new Array(end - count).fill(0));
  expect([...numbers.slice(end)]).toEqual(new Array(16 - end).fill(1_000_000));
});

test('of no rows nothing is loaded', () => {
  expect(touched(Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8), 0)).toEqual([]);
});

test('rows are many when the first, the middle or the last differs, and there is more than one round of them', () => {
  const numbers = new Int32Array(16).fill(5);
  expect(areMany(numbers, 16)).toBe(false);
  numbers[15] = 6;
  expect(areMany(numbers, 16)).toBe(true);
  expect(areMany(numbers, 15)).toBe(false);
  numbers[8] = 7;
  expect([areMany(numbers, 16), areMany(numbers, 9), areMany(numbers, 8)]).toEqual([true, true, false]);
});
