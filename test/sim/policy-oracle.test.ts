/**
 * The policy oracle: what every frame of thousands of random configurations may reach, by a reference that was written
 * from the specification. `POLICY_SEEDS=5000` makes a long run, `POLICY_SEED=n` replays one seed:
 *
 *   POLICY_SEED=42 npx vitest run test/sim/policy-oracle.test.ts
 */
import { expect, test } from 'vitest';
import type { Features } from './policy-documents.js';
import { PolicySimulator, type RunCounts, served } from './policy-simulator.js';

const FRAMES_PER_RUN = 320;
const one = process.env.POLICY_SEED;

interface Part {
  readonly name: string;
  readonly features: Features;
  readonly changes: number;
  readonly share: number;
}

const none: Features = { guard: false, acl: false, groups: false };
const parts: readonly Part[] = [
  { name: 'guarded ports', features: { ...none, guard: true }, changes: 0, share: 0.15 },
  { name: 'ACLs', features: { ...none, acl: true }, changes: 0, share: 0.15 },
  { name: 'security groups', features: { ...none, groups: true }, changes: 0, share: 0.25 },
  { name: 'everything', features: served, changes: 0, share: 0.2 },
  { name: 'everything, while the configuration changes', features: served, changes: 4, share: 0.25 },
];
const isThere = ({ guard, acl, groups }: Features) =>
  (!guard || served.guard) && (!acl || served.acl) && (!groups || served.groups) && (guard || acl || groups);

const seeds = Number(process.env.POLICY_SEEDS ?? 800);

for (const [index, { name, features, changes, share }] of parts.entries()) {
  if (!isThere(features)) continue;
  const count = Math.ceil(seeds * share);
  test(`${name}: each frame reaches whom the reference allows, and nobody else`, {
    timeout: 60_000 + count * 2000,
  }, () => {
    const total: RunCounts = { frames: 0, delivered: 0, changes: 0, refused: 0 };
    for (let seed = 0; seed < (one === undefined ? count : 1); seed++) {
      const number = one === undefined ? index * 1_000_000 + seed : Number(one);
      if (Math.floor(number / 1_000_000) !== index) break;
      addUp(total, runSeed(number, features, changes));
    }
    if (one !== undefined) return;
    expect(total.frames).toBeGreaterThan(count * FRAMES_PER_RUN * 0.5);
    // A reference that refuses everything would prove nothing.
    expect(total.delivered).toBeGreaterThan(total.frames * 0.2);
    expect(total.refused).toBe(0);
    if (changes > 0) expect(total.changes).toBe(changes * count);
  });
}

function runSeed(seed: number, features: Features, changes: number): RunCounts {
  try {
    const simulator = new PolicySimulator(seed, features);
    simulator.run(FRAMES_PER_RUN, changes);
    return simulator.counts;
  } catch (error) {
    const replay = `POLICY_SEED=${seed} npx vitest run test/sim/policy-oracle.test.ts`;
    throw new Error(`seed ${seed}: ${(error as Error).message}\nreplay it: ${replay}`, { cause: error });
  }
}

function addUp(total: RunCounts, counts: RunCounts): void {
  for (const key of ['frames', 'delivered', 'changes', 'refused'] as const) total[key] += counts[key];
}
