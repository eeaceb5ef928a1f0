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

export const STATION_A = '02:00:00:00:01:0a';
export const STATION_B = '02:00:00:00:01:0b';
const FLOWS = 64;
/** Announcements are repeated: the first may meet a port that is not up yet. */
const ANNOUNCEMENTS = 3;

/** For the first frame of a window. */
const PATIENCE_MS = 5000;

const lastCore = cpus().length - 1;

/** @param {import('../subjects/subject.mjs').Running} running */
function keepOffGeneratorsCore(running) {
  if (lastCore === 0) return;
  for (const pid of running.pids)
    execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', `0-${lastCore - 1}`, String(pid)], {
      stdio: 'ignore',
    });
}

/** @type {import('./workload.mjs').Metric[]} */
const metrics = [
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
];

/**
 * Runs a program of the generator that ends by itself.
 * @param {import('../testbed.mjs').Testbed} testbed @param {'a' | 'b'} side @param {string[]} args
 */
async function generate(testbed, side, ...args) {
  const run = testbed.guest(side, [program('generator'), ...args]);
  while (!run.exited) await run.change(1000);
  if (run.stderr) throw new Error(`generator: ${run.stderr}`);
}

/** @param {import('../testbed.mjs').Testbed} testbed */
async function announce(testbed) {
  for (let count = 0; count < ANNOUNCEMENTS; count++) {
    await generate(testbed, 'b', 'announce', DEVICE_B, STATION_B);
    await sleep(50);
  }
}

/**
 * Every flow sends, is answered, and sends again.
 * @param {import('../testbed.mjs').Testbed} testbed @param {import('../subjects/subject.mjs').Running} running @param {number} seed
 */
async function establish(testbed, { router }, seed) {
  const frames = ['64', String(FLOWS), String(seed)];
  if (router) await claim(testbed, router);
  const outside = router ? [router.outside] : [];
  for (let count = 0; count < ANNOUNCEMENTS; count++) {
    await generate(testbed, 'a', 'once', DEVICE_A, STATION_A, router?.macs.a ?? STATION_B, ...frames);
    await sleep(50);
    await generate(testbed, 'b', 'answer', DEVICE_B, STATION_B, router?.macs.b ?? STATION_A, ...frames, ...outside);
    await sleep(50);
  }
}

/**
 * Tells the router that the guests' addresses are at the stations that send and receive, not at the guests' own interfaces.
 * @param {import('../testbed.mjs').Testbed} testbed @param {NonNullable<import('../subjects/subject.mjs').Running['router']>} router
 */
async function claim(testbed, { guests }) {
  for (const side of /** @type {const} */ (['a', 'b']))
    execFileSync('ip', ['netns', 'exec', testbed.namespaces[side], 'sysctl', '-qw', 'net.ipv4.conf.all.arp_ignore=8']);
  for (let count = 0; count < ANNOUNCEMENTS; count++) {
    await generate(testbed, 'a', 'claim', DEVICE_A, STATION_A, guests.a);
    await generate(testbed, 'b', 'claim', DEVICE_B, STATION_B, guests.b);
    await sleep(50);
  }
}

/**
 * What arrives of a flood that a program of the generator makes.
 * @param {'send' | 'fresh'} mode
 * @param {import('../testbed.mjs').Testbed} testbed @param {import('../subjects/subject.mjs').Running} running
 * @param {import('./workload.mjs').Timing} timing
 */
async function flood(mode, testbed, running, { warmupMs, windowMs, seed }) {
  const send = [mode, DEVICE_A, STATION_A, running.router?.macs.a ?? STATION_B, '64', String(FLOWS), String(seed)];
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
    let after = look();
    // Where others have the machine a short window may pass without a frame; figures are by the time it took.
    for (const end = Date.now() + PATIENCE_MS; after.received === before.received && Date.now() < end; after = look())
      await sleep(50);
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
}

/** @type {import('./workload.mjs').Workload} */
export const frames64 = {
  name: 'frames-64',
  title: '64-byte frames',
  offload: true,
  metrics,
  async measure(testbed, running, timing) {
    await announce(testbed);
    return flood('send', testbed, running, timing);
  },
};

/** As frames-64, of flows that were answered: for switches that track connections these are established. @type {import('./workload.mjs').Workload} */
export const frames64Established = {
  name: 'frames-64-established',
  title: '64-byte frames of established connections',
  offload: true,
  metrics,
  async measure(testbed, running, timing) {
    await establish(testbed, running, timing.seed);
    return flood('send', testbed, running, timing);
  },
};

/** Every frame begins another connection. @type {import('./workload.mjs').Workload} */
export const newConnections = {
  name: 'new-connections',
  title: 'New connections (64-byte UDP)',
  offload: true,
  metrics,
  async measure(testbed, running, timing) {
    await establish(testbed, running, timing.seed);
    return flood('fresh', testbed, running, timing);
  },
};
