/**
 * "Did you mean": the nearest of some known words to one that is not known. Pure; runs anywhere. What is compared comes
 * from an operator and is cut to a word's length first, so a long one costs nothing.
 */
const WORD_LENGTH_MAX = 64;

/** The known word nearest to `word`, if it is near enough to be a slip of the fingers. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  if (word.length > WORD_LENGTH_MAX) return undefined;
  // A slip of one in short words, of two in middling, of three in long ones: a1 for a3, netwrok, unkownUnicats.
  const bound = word.length <= 4 ? 1 : word.length <= 9 ? 2 : 3;
  let best: string | undefined;
  let bestDistance = bound + 1;
  for (const candidate of known) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** ` (did you mean x?)` or nothing: to be put behind a message. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const candidate = nearest(word, known);
  return candidate === undefined ? '' : ` (did you mean ${candidate}?)`;
}

/** Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment). */
export function editDistance(left: string, right: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1];
      let cost = Math.min(previous[column] + 1, current[column - 1] + 1, previous[column - 1] + (same ? 0 : 1));
      const swapped =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (swapped) cost = Math.min(cost, beforePrevious[column - 2] + 1);
      current.push(cost);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[right.length];
}
