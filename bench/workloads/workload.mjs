/**
 * What a workload is: traffic between the two guests of a running subject, and figures taken while it flows. Types only.
 *
 * @typedef {{
 *   name: string,
 *   unit: string,
 *   better: 'higher' | 'lower' | null,   // null: for the reader's understanding, not compared
 *   text: string,
 * }} Metric
 *
 * @typedef {{ warmupMs: number, windowMs: number, seed: number }} Timing
 *
 * @typedef {{
 *   name: string,
 *   title: string,
 *   offload: boolean,                    // what the subject's interfaces are opened with
 *   metrics: readonly Metric[],
 *   measure(testbed: import('../testbed.mjs').Testbed, running: import('../subjects/subject.mjs').Running, timing: Timing):
 *     Promise<Record<string, number | null>>,   // by metric; null: has no meaning for this subject
 * }} Workload
 */
import { cpuSeconds, machineBusySeconds } from '../child.mjs';

/**
 * Starts to count CPU time; the returned function says what was used since, in seconds. `subject` is null for a
 * subject without processes.
 * @param {import('../subjects/subject.mjs').Running} running
 */
export function meterCpu(running) {
  const subject = cpuSeconds(running.pids);
  const machine = machineBusySeconds();
  return () => ({
    subject: running.pids.length > 0 ? cpuSeconds(running.pids) - subject : null,
    machine: machineBusySeconds() - machine,
  });
}

/**
 * An amount by the CPU time it took; null where there is no such time, or too little to be seen.
 * @param {number} amount
 * @param {{ subject: number | null }} used
 */
export const perCpuSecond = (amount, used) => (used.subject ? amount / used.subject : null);

/** @type {Metric} */
export const machineCores = {
  name: 'machineCores',
  unit: 'cores',
  better: null,
  text: 'cores busy on the whole machine, traffic programs included',
};
