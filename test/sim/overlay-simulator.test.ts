/** Runs the simulator of tunnels. `SIM_SEEDS` and `SIM_SEED` as in simulator.test.ts. */
import { expect, test } from 'vitest';
import { OverlaySimulator } from './overlay-simulator.js';

const one = process.env.SIM_SEED;
const count = one === undefined ? Number(process.env.SIM_SEEDS ?? 100) : 1;
const first = one === undefined ? 0 : Number(one);

test(`hosts with tunnels do what the reference does in ${count} seeded runs`, { timeout: 60_000 + count * 300 }, () => {
  let runs = 0;
  for (let seed = first; seed < first + count; seed++) {
    try {
      new OverlaySimulator(seed).run();
    } catch (error) {
      const message = `seed ${seed}: ${(error as Error).message.slice(0, 2000)}`;
      throw new Error(`${message}\nreplay it: SIM_SEED=${seed} npx vitest run test/sim/overlay`, { cause: error });
    }
    runs++;
  }
  expect(runs).toBe(count);
  expect(count).toBeGreaterThan(0);
});
