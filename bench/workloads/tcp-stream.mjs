/** One TCP stream from guest a to guest b, as fast as it goes: octets that the receiving program got. */
import { program } from '../build-references.mjs';
import { ADDRESS_B } from '../testbed.mjs';
import { machineCores, meterCpu, perCpuSecond } from './workload.mjs';

const PORT = '5001';
const START_TIMEOUT_MS = 20_000;

/**
 * @param {string} name
 * @param {string} title
 * @param {boolean} offload
 * @returns {import('./workload.mjs').Workload}
 */
function tcpStream(name, title, offload) {
  return {
    name,
    title,
    offload,
    metrics: [
      { name: 'gigabitsPerSecond', unit: 'Gbit/s', better: 'higher', text: 'payload delivered' },
      {
        name: 'gigabitsPerCpuSecond',
        unit: 'Gbit/CPU-s',
        better: 'higher',
        text: 'payload by CPU time of the switch',
      },
      machineCores,
    ],
    async measure(testbed, running, { warmupMs, windowMs }) {
      const sink = testbed.guest('b', [program('peer'), 'sink', PORT, String(warmupMs), String(windowMs)]);
      await sink.line((line) => line === 'listening', START_TIMEOUT_MS);
      const source = testbed.guest('a', [program('peer'), 'source', ADDRESS_B, PORT]);
      try {
        await sink.line((line) => line === 'begin', START_TIMEOUT_MS + warmupMs);
        const cpu = meterCpu(running);
        const result = await sink.result(windowMs + START_TIMEOUT_MS);
        const used = cpu();
        const gigabits = (result.octets * 8) / 1e9;
        const seconds = result.nanoseconds / 1e9;
        return {
          gigabitsPerSecond: gigabits / seconds,
          gigabitsPerCpuSecond: perCpuSecond(gigabits, used),
          machineCores: used.machine / seconds,
        };
      } finally {
        await source.stop();
        await sink.stop();
      }
    },
  };
}

export const tcpOffload = tcpStream('tcp-offload', 'TCP, one stream, with offloads', true);
export const tcpPlain = tcpStream('tcp-plain', 'TCP, one stream, 1500-byte frames', false);
