/**
 * Gets rows of a table into the cache before they are asked for one by one: eight loads in a row without a branch, so that
 * what they wait for overlaps. V8's code for a loop of one load each lets three of them overlap (21.7 ns a line; so 7.7). @hot
 */

/** What was seen last. Somebody has to want it, or the loads are optimised away. */
let seen = 0;

/**
 * Loads the first word of the rows of these numbers, `rowWords` each. The array of numbers has room up to a multiple of eight;
 * what is behind `count` there is overwritten.
 */
export function touchRows(words: Int32Array, numbers: Int32Array, count: number, rowWords: number): void {
  for (let index = count; (index & 7) !== 0; index++) numbers[index] = numbers[0];
  for (let index = 0; index < count; index += 8) {
    seen ^=
      words[numbers[index] * rowWords] ^
      words[numbers[index + 1] * rowWords] ^
      words[numbers[index + 2] * rowWords] ^
      words[numbers[index + 3] * rowWords] ^
      words[numbers[index + 4] * rowWords] ^
      words[numbers[index + 5] * rowWords] ^
      words[numbers[index + 6] * rowWords] ^
      words[numbers[index + 7] * rowWords];
  }
}

/** Whether the numbers are hardly all the same, which spares the touching: by three of them. */
export function areMany(numbers: Int32Array, count: number): boolean {
  return count > 8 && (numbers[0] !== numbers[count >> 1] || numbers[0] !== numbers[count - 1]);
}

/** For tests. */
export function lastSeen(): number {
  return seen;
}
