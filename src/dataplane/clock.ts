/**
 * Monotonic time in milliseconds since the machine booted: the same for every thread and for a restarted daemon. Nothing
 * in the dataplane reads the wall clock. `performance.now` costs 50 ns and allocates nothing; hrtime is read once. The import
 * matters: the global of the same name is a getter that is looked up at each use.
 */
import { performance } from 'node:perf_hooks';

const startNs = process.hrtime.bigint();
const offsetMs = Number(startNs / 1000n) / 1000 - performance.now();

export type Clock = () => number;

export function monotonicMs(): number {
  return performance.now() + offsetMs;
}
