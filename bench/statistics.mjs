/** Medians, spreads and ratios of rounds. */

/** @typedef {{ median: number, min: number, max: number, lowerQuartile: number, upperQuartile: number, rounds: number[] }} Spread */

/**
 * The value below which the share lies, linearly between neighbours.
 * @param {number[]} ascending
 * @param {number} share
 */
function quantile(ascending, share) {
  const position = (ascending.length - 1) * share;
  const below = Math.floor(position);
  const above = Math.ceil(position);
  return ascending[below] + (ascending[above] - ascending[below]) * (position - below);
}

/** @param {number[]} values at least one @returns {Spread} */
export function spread(values) {
  const ascending = [...values].sort((a, b) => a - b);
  return {
    median: quantile(ascending, 0.5),
    min: ascending[0],
    max: ascending[ascending.length - 1],
    lowerQuartile: quantile(ascending, 0.25),
    upperQuartile: quantile(ascending, 0.75),
    rounds: values,
  };
}

/**
 * Ratios round by round, so that a disturbance that lasts longer than a round falls on both sides of the ratio.
 * Rounds in which either is missing are left out.
 * @param {(number | null)[]} subject
 * @param {(number | null)[]} reference
 * @returns {Spread | null}
 */
export function ratios(subject, reference) {
  /** @type {number[]} */
  const values = [];
  subject.forEach((value, round) => {
    const other = reference[round];
    if (value !== null && typeof other === 'number' && other > 0) values.push(value / other);
  });
  return values.length > 0 ? spread(values) : null;
}

/**
 * Random numbers in [0, 1) from a seed (mulberry32): the same seed gives the same order of measurements.
 * @param {number} seed
 */
export function randomFrom(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * @template T
 * @param {readonly T[]} items
 * @param {() => number} random
 */
export function shuffled(items, random) {
  const result = [...items];
  for (let index = result.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [result[index], result[other]] = [result[other], result[index]];
  }
  return result;
}
