/**
 * Small frames one way, more than any subject carries: how many arrive. The destination is a known station behind
 * guest b, learned from an announcement, so a switch forwards and does not flood.
 *
 * The generator has the last core for itself, the subject's threads share the others. Left to the scheduler, generator
 * and switch landed on one core in some rounds (each wakes the other), and the figure was half.
 */
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { program } from '../build-references.mjs';
import { sleep } from '../child.mjs';
import { DEVICE_A, DEVICE_B } from '../testbed.mjs';
import { machineCores, meterCpu, perCpuSecond } from './workload.mjs';

const STATION_A = '02:00:00:00:01:0a';
const STATION_B = '02:00:00:00:01:0b';
const FLOWS = 64;
/** Announcements are repeated: the first may meet a port that is not up yet. */
const ANNOUNCEMENTS = 3;

const lastCore = cpus().length - 1;

/** @param {import('../subjects/subject.mjs').Running} running */
function keepOffGeneratorsCore(running) {
  if (lastCore === 0) return;
  for (const pid of running.pids)
    execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', `0-${lastCore - 1}`, String(pid)], {
      stdio: 'ignore',
    });
}

/** @type {import('./workload.mjs').Workload} */
export const frames64 = {
  name: 'frames-64',
  title: '64-byte frames',
  offload: true,
  metrics: [
    { name: 'framesPerSecond', unit: 'frames/s', better: 'higher', text: 'frames delivered to the far guest' },
    {
      name: 'framesPerCpuSecond',
      unit: 'frames/CPU-s',
      better: 'higher',
      text: 'frames by CPU time of the switch',
    },
    {
      name: 'offeredPerSecond',
      unit: 'frames/s',
      better: null,
      text: 'frames the generator made; near the delivered ones, it is the limit',
    },
    machineCores,
  ],
  async measure(testbed, running, { warmupMs, windowMs, seed }) {
    for (let count = 0; count < ANNOUNCEMENTS; count++) {
      const announcement = testbed.guest('b', [program('generator'), 'announce', DEVICE_B, STATION_B]);
      while (!announcement.exited) await announcement.change(1000);
      if (announcement.stderr) throw new Error(`generator: ${announcement.stderr}`);
      await sleep(50);
    }
    const send = ['send', DEVICE_A, STATION_A, STATION_B, '64', String(FLOWS), String(seed)];
    keepOffGeneratorsCore(running);
    const generator = testbed.guest('a', ['taskset', '--cpu-list', String(lastCore), program('generator'), ...send]);
    try {
      await generator.line((line) => line === 'sending', 5000);
      await sleep(warmupMs);
      const look = () => ({
        at: process.hrtime.bigint(),
        received: testbed.counters('b', DEVICE_B).rxFrames,
        sent: testbed.counters('a', DEVICE_A),
      });
      const cpu = meterCpu(running);
      const before = look();
      await sleep(windowMs);
      const after = look();
      const used = cpu();
      if (generator.exited) throw new Error(`generator ended early: ${generator.stderr}`);
      const seconds = Number(after.at - before.at) / 1e9;
      const delivered = after.received - before.received;
      const offered = after.sent.txFrames + after.sent.txDropped - before.sent.txFrames - before.sent.txDropped;
      return {
        framesPerSecond: delivered / seconds,
        framesPerCpuSecond: perCpuSecond(delivered, used),
        offeredPerSecond: offered / seconds,
        machineCores: used.machine / seconds,
      };
    } finally {
      await generator.stop();
    }
  },
};
