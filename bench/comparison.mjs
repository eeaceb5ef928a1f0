/**
 * Measures every workload on every subject, interleaved: round by round, and within a round workload by workload, each
 * on all subjects in a seeded order that changes, so that a neighbour's load on the machine falls on all alike.
 */
import { randomFrom, ratios, shuffled, spread } from './statistics.mjs';
import { meets } from './targets.mjs';
import { Testbed } from './testbed.mjs';

/**
 * @typedef {import('./subjects/subject.mjs').Subject} Subject
 * @typedef {import('./workloads/workload.mjs').Workload} Workload
 * @typedef {import('./workloads/workload.mjs').Timing} Timing
 * @typedef {import('./targets.mjs').Target} Target
 * @typedef {{ hostCount: 1 | 2, targets: readonly Target[], rounds: number, timing: Timing, say: (line: string) => void }} Plan
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
        const sample = await measureOne(subject, workload, plan, facts).catch((error) => {
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
  const summaries = workloads.map((workload) => summarise(workload, subjects, samples, plan.targets));
  return { subjects: facts, workloads: summaries, failures };
}

/**
 * @param {Subject} subject
 * @param {Workload} workload
 * @param {Plan} plan
 * @param {Record<string, unknown>} facts
 */
async function measureOne(subject, workload, { hostCount, timing }, facts) {
  const testbed = new Testbed(hostCount);
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
 * Figures of one workload: each metric's spread by subject, and how many times as much (or little) the one of ours has that
 * a subject is set against.
 * @param {Workload} workload @param {readonly Subject[]} subjects @param {Samples} samples @param {readonly Target[]} targets
 */
function summarise(workload, subjects, samples, targets) {
  const metrics = workload.metrics.map((metric) => {
    const values = (/** @type {string} */ name) =>
      (samples.get(`${workload.name}/${name}`) ?? []).map((sample) => sample?.[metric.name] ?? null);
    const ratio = (/** @type {string} */ ours, /** @type {string} */ name) => ratios(values(ours), values(name));
    /** @type {Record<string, import('./statistics.mjs').Spread | null>} */
    const bySubject = {};
    /** @type {Record<string, import('./statistics.mjs').Spread>} */
    const weftTo = {};
    for (const { name, against = 'weft' } of subjects) {
      const present = values(name).filter((value) => value !== null);
      bySubject[name] = present.length > 0 ? spread(present) : null;
      const compared = against === null || against === name || metric.better === null ? null : ratio(against, name);
      if (compared !== null) weftTo[name] = compared;
    }
    const wanted = targets.filter((target) => target.workload === workload.name && target.metric === metric.name);
    const spreadOf = (/** @type {Target} */ { subject = 'weft', reference }) =>
      reference === null ? bySubject[subject] : ratio(subject, reference);
    return { ...metric, bySubject, weftTo, targets: wanted.flatMap((target) => judge(target, spreadOf(target))) };
  });
  return { name: workload.name, title: workload.title, offload: workload.offload, metrics };
}

/** What became of a target; nothing where it was not measured. @param {Target} target @param {import('./statistics.mjs').Spread | null | undefined} figures */
function judge(target, figures) {
  if (!figures) return [];
  const { subject = 'weft', reference, atLeast, atMost } = target;
  const { median: value, min, max } = figures;
  return [{ subject, reference, atLeast, atMost, value, min, max, met: meets(target, value) }];
}

/** Three significant digits, thousands separated. @param {number} value */
export function shown(value) {
  return value >= 1000 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toPrecision(3)));
}
