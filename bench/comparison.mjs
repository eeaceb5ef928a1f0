/**
 * Measures every workload on every subject, interleaved: round by round, and within a round workload by workload, each
 * on all subjects in a seeded order that changes, so that a neighbour's load on the machine falls on all alike.
 */
import { randomFrom, ratios, shuffled, spread } from './statistics.mjs';
import { meets, targets } from './targets.mjs';
import { Testbed } from './testbed.mjs';

/**
 * @typedef {import('./subjects/subject.mjs').Subject} Subject
 * @typedef {import('./workloads/workload.mjs').Workload} Workload
 * @typedef {import('./workloads/workload.mjs').Timing} Timing
 * @typedef {{ rounds: number, timing: Timing, say: (line: string) => void }} Plan
 * @typedef {Map<string, (Record<string, number | null> | null)[]>} Samples   by `workload/subject`, one entry a round
 * @typedef {{ name: string, message: string }} Failure
 */

/**
 * @param {readonly Subject[]} subjects those that are present
 * @param {readonly Workload[]} workloads
 * @param {Plan} plan
 */
export async function compare(subjects, workloads, plan) {
  const random = randomFrom(plan.timing.seed);
  /** @type {Samples} */
  const samples = new Map();
  /** @type {Failure[]} */
  const failures = [];
  /** @type {Record<string, unknown>} */
  const facts = {};
  for (let round = 0; round < plan.rounds; round++) {
    for (const workload of workloads) {
      for (const subject of shuffled(subjects, random)) {
        const sample = await measureOne(subject, workload, plan.timing, facts).catch((error) => {
          const name = `${workload.name} on ${subject.name}, round ${round + 1}`;
          failures.push({ name, message: error.message.trim() });
          return null;
        });
        const key = `${workload.name}/${subject.name}`;
        samples.set(key, [...(samples.get(key) ?? []), sample]);
        plan.say(progressLine(round, plan.rounds, workload, subject, sample, failures));
      }
    }
  }
  return { subjects: facts, workloads: workloads.map((workload) => summarise(workload, subjects, samples)), failures };
}

/**
 * @param {Subject} subject
 * @param {Workload} workload
 * @param {Timing} timing
 * @param {Record<string, unknown>} facts
 */
async function measureOne(subject, workload, timing, facts) {
  const testbed = new Testbed();
  try {
    const running = await subject.start(testbed, { offload: workload.offload });
    facts[subject.name] = { title: subject.title, ...running.facts };
    const sample = await workload.measure(testbed, running, timing);
    await running.stop();
    return sample;
  } finally {
    testbed.dispose();
  }
}

/**
 * @param {number} round @param {number} rounds @param {Workload} workload @param {Subject} subject
 * @param {Record<string, number | null> | null} sample @param {Failure[]} failures
 */
function progressLine(round, rounds, workload, subject, sample, failures) {
  const metric = workload.metrics[0];
  const value = sample?.[metric.name];
  const figure =
    sample === null
      ? `FAILED: ${failures[failures.length - 1].message}`
      : value == null
        ? '-'
        : `${shown(value)} ${metric.unit}`;
  return `round ${round + 1}/${rounds}  ${workload.name.padEnd(12)} ${subject.name.padEnd(18)} ${figure}`;
}

/**
 * Figures of one workload: each metric's spread by subject, and the ratio of weft to each other subject.
 * @param {Workload} workload @param {readonly Subject[]} subjects @param {Samples} samples
 */
function summarise(workload, subjects, samples) {
  const metrics = workload.metrics.map((metric) => {
    const values = (/** @type {string} */ name) =>
      (samples.get(`${workload.name}/${name}`) ?? []).map((sample) => sample?.[metric.name] ?? null);
    /** @type {Record<string, import('./statistics.mjs').Spread | null>} */
    const bySubject = {};
    /** @type {Record<string, import('./statistics.mjs').Spread>} */
    const weftTo = {};
    for (const { name } of subjects) {
      const present = values(name).filter((value) => value !== null);
      bySubject[name] = present.length > 0 ? spread(present) : null;
      const ratio = name === 'weft' || metric.better === null ? null : ratios(values('weft'), values(name));
      if (ratio !== null) weftTo[name] = ratio;
    }
    return { ...metric, bySubject, weftTo, targets: judge(workload.name, metric.name, bySubject, weftTo) };
  });
  return { name: workload.name, title: workload.title, offload: workload.offload, metrics };
}

/**
 * @param {string} workload @param {string} metric
 * @param {Record<string, import('./statistics.mjs').Spread | null>} bySubject
 * @param {Record<string, import('./statistics.mjs').Spread>} weftTo
 */
function judge(workload, metric, bySubject, weftTo) {
  return targets
    .filter((target) => target.workload === workload && target.metric === metric)
    .flatMap((target) => {
      const value = target.reference === null ? bySubject.weft?.median : weftTo[target.reference]?.median;
      const { reference, atLeast, atMost } = target;
      return value === undefined ? [] : [{ reference, atLeast, atMost, value, met: meets(target, value) }];
    });
}

/** Three significant digits, thousands separated. @param {number} value */
export function shown(value) {
  return value >= 1000 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)));
}
