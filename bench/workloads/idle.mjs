/** Nothing to do, a moment after there was something: what a switch costs that merely stands there. */
import { sleep } from '../child.mjs';
import { requestResponse } from './request-response.mjs';
import { meterCpu } from './workload.mjs';

/** Long enough for adaptive spinning to have given up. */
const SETTLE_MS = 1000;

/** @type {import('./workload.mjs').Workload} */
export const idle = {
  name: 'idle',
  title: 'Idle',
  offload: true,
  metrics: [{ name: 'corePercent', unit: '% of a core', better: null, text: 'CPU time of a switch without traffic' }],
  async measure(testbed, running, timing) {
    await requestResponse.measure(testbed, running, { ...timing, warmupMs: 0, windowMs: 100 });
    await sleep(SETTLE_MS);
    const cpu = meterCpu(running);
    const begin = process.hrtime.bigint();
    await sleep(timing.windowMs);
    const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
    const used = cpu().subject;
    return { corePercent: used === null ? null : (used / seconds) * 100 };
  },
};
