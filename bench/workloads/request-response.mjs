/** One octet there and one back over TCP, one at a time: what sleeping and waking in the switch costs. */
import { program } from '../build-references.mjs';
import { ADDRESS_B } from '../testbed.mjs';
import { machineCores, meterCpu } from './workload.mjs';

const PORT = '5002';
const START_TIMEOUT_MS = 20_000;

/** @type {import('./workload.mjs').Workload} */
export const requestResponse = {
  name: 'rr',
  title: 'TCP request/response',
  offload: true,
  metrics: [
    { name: 'p50', unit: 'us', better: 'lower', text: 'median round trip' },
    { name: 'p99', unit: 'us', better: 'lower', text: '99th percentile' },
    { name: 'p999', unit: 'us', better: null, text: '99.9th percentile' },
    { name: 'transactionsPerSecond', unit: '1/s', better: null, text: 'round trips' },
    { name: 'switchCores', unit: 'cores', better: null, text: 'CPU time of the switch' },
    machineCores,
  ],
  async measure(testbed, running, { warmupMs, windowMs }) {
    const responder = testbed.guest('b', [program('peer'), 'respond', PORT]);
    await responder.line((line) => line === 'listening', START_TIMEOUT_MS);
    const timing = [String(warmupMs), String(windowMs)];
    const requester = testbed.guest('a', [program('peer'), 'request', ADDRESS_B, PORT, ...timing]);
    try {
      await requester.line((line) => line === 'begin', START_TIMEOUT_MS + warmupMs);
      const cpu = meterCpu(running);
      const begin = process.hrtime.bigint();
      const result = await requester.result(windowMs + START_TIMEOUT_MS);
      const used = cpu();
      const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
      return {
        p50: result.p50 / 1000,
        p99: result.p99 / 1000,
        p999: result.p999 / 1000,
        transactionsPerSecond: result.count / seconds,
        switchCores: used.subject === null ? null : used.subject / seconds,
        machineCores: used.machine / seconds,
      };
    } finally {
      await requester.stop();
      await responder.stop();
    }
  },
};
