/**
 * NAT against a reference that was written from the RFCs: whatever leaves is what that would have sent. `NAT_SEEDS=2000` makes a
 * long run, `NAT_SEED=n` replays one seed:
 *
 *   NAT_SEED=42 npx vitest run test/sim/nat-simulator.test.ts
 */
import { expect, test } from 'vitest';
import { type NatCounts, NatSimulator } from './nat-simulator.js';

const PACKETS = 500;
const one = process.env.NAT_SEED;
const seeds = Number(process.env.NAT_SEEDS ?? 6);

function runSeed(seed: number, changes: number): NatCounts {
  try {
    const simulator = new NatSimulator(seed);
    simulator.run(PACKETS, changes);
    return simulator.counts;
  } catch (error) {
    const replay = `NAT_SEED=${seed} npx vitest run test/sim/nat-simulator.test.ts`;
    throw new Error(`seed ${seed}: ${(error as Error).message}\nreplay it: ${replay}`, { cause: error });
  }
}

test.each([
  ['one configuration', 0],
  ['a configuration that changes', 5],
])(
  'each packet under %s leaves as the reference allows, or not at all',
  { timeout: 60_000 + seeds * 3000 },
  (_, changes) => {
    const total: NatCounts = { packets: 0, delivered: 0, required: 0, errors: 0, changes: 0 };
    const first = one === undefined ? changes * 1_000_000 : Number(one);
    if (one !== undefined && Math.floor(first / 1_000_000) !== changes) return;
    for (let seed = first; seed < first + (one === undefined ? seeds : 1); seed++) {
      const counts = runSeed(seed, changes);
      for (const key of Object.keys(total) as (keyof NatCounts)[]) total[key] += counts[key];
    }
    expect(total.packets).toBeGreaterThanOrEqual(PACKETS * 0.9);
    // A reference that refuses everything, or asks for nothing, would prove nothing.
    expect(total.delivered).toBeGreaterThan(total.packets * 0.4);
    expect(total.required).toBeGreaterThan(total.delivered * 0.4);
    expect(total.errors).toBeGreaterThan(total.packets * 0.01);
  },
);
