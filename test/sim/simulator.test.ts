/**
 * Runs the simulator. `SIM_SEEDS=100000` makes a long run, `SIM_SEED=n` replays one seed:
 *
 *   SIM_SEED=42 npx vitest run test/sim
 */
import { expect, test } from 'vitest';
import { Simulator } from './simulator.js';

const one = process.env.SIM_SEED;
const count = one === undefined ? Number(process.env.SIM_SEEDS ?? 2000) : 1;
const first = one === undefined ? 0 : Number(one);

test(`the switch does what the reference switch does in ${count} seeded runs`, {
  timeout: 60_000 + count * 300,
}, () => {
  let runs = 0;
  for (let seed = first; seed < first + count; seed++) {
    try {
      new Simulator(seed).run();
    } catch (error) {
      const message = `seed ${seed}: ${(error as Error).message}`;
      throw new Error(`${message}\nreplay it: SIM_SEED=${seed} npx vitest run test/sim`, { cause: error });
    }
    runs++;
  }
  expect(runs).toBe(count);
  expect(count).toBeGreaterThan(0);
});
