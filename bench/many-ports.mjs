/**
 * One switch with very many TAP ports: how long it takes to start, what it costs when idle, and whether adding one more
 * disturbs a train of datagrams between two of the others.
 */
import { program } from './build-references.mjs';
import { cpuSeconds, sleep } from './child.mjs';
import { call } from './control-client.mjs';
import { spread } from './statistics.mjs';
import { startDaemon } from './subjects/weft.mjs';
import { judged, manyPortsTargets } from './targets.mjs';
import { ADDRESS_B, Testbed } from './testbed.mjs';

const TRAIN_PORT = '5003';
const TRAIN_INTERVAL_US = '1000';
const SETTLE_MS = 2000;

/** @param {number} index */
const portName = (index) => `p${index}`;
/** @param {number} index */
const portConfig = (index) => ({ kind: 'tap', device: `weft-${portName(index)}`, network: 'lab' });

/**
 * @param {{ portCount: number, additions: number, idleMs: number }} plan
 */
export async function measureManyPorts({ portCount, additions, idleMs }) {
  const testbed = new Testbed();
  try {
    const ports = Object.fromEntries(
      Array.from({ length: portCount }, (_, index) => [portName(index), portConfig(index)]),
    );
    const begin = process.hrtime.bigint();
    const { daemon, socketPath } = await startDaemon(testbed, {
      version: 1,
      networks: { lab: { type: 'local' } },
      ports,
    });
    const readySeconds = Number(process.hrtime.bigint() - begin) / 1e9;
    try {
      const idleCorePercent = await idleShare(daemon.pid, idleMs);
      testbed.attach(portConfig(0).device, 'a');
      testbed.attach(portConfig(1).device, 'b');
      const { addMilliseconds, train } = await addDuringTrain(testbed, socketPath, portCount, additions);
      const { ports: states } = await call(socketPath, 'status');
      return judge({ portCount, readySeconds, idleCorePercent, addMilliseconds, train, portsUp: states.up });
    } finally {
      await daemon.stop();
    }
  } finally {
    testbed.dispose();
  }
}

/** @param {number} pid @param {number} idleMs */
async function idleShare(pid, idleMs) {
  await sleep(SETTLE_MS);
  const used = cpuSeconds([pid]);
  const begin = process.hrtime.bigint();
  await sleep(idleMs);
  const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
  return ((cpuSeconds([pid]) - used) / seconds) * 100;
}

/**
 * @param {Testbed} testbed @param {string} socketPath @param {number} portCount @param {number} additions
 */
async function addDuringTrain(testbed, socketPath, portCount, additions) {
  const echo = testbed.guest('b', [program('peer'), 'echo', TRAIN_PORT]);
  await echo.line((line) => line === 'listening', 5000);
  const train = testbed.guest('a', [program('peer'), 'train', ADDRESS_B, TRAIN_PORT, TRAIN_INTERVAL_US]);
  try {
    await train.line((line) => line === 'begin', 5000);
    await sleep(500);
    /** @type {number[]} */
    const times = [];
    for (let index = portCount; index < portCount + additions; index++) {
      const begin = process.hrtime.bigint();
      await call(socketPath, 'port.add', { name: portName(index), ...portConfig(index) });
      times.push(Number(process.hrtime.bigint() - begin) / 1e6);
      await sleep(200);
    }
    train.process.kill('SIGTERM');
    const { sent, received, slowestNanoseconds } = await train.result(5000);
    return {
      addMilliseconds: spread(times),
      train: { sent, lost: sent - received, slowestMilliseconds: slowestNanoseconds / 1e6 },
    };
  } finally {
    await train.stop();
    await echo.stop();
  }
}

/**
 * @param {{ portCount: number, portsUp: number, readySeconds: number, idleCorePercent: number,
 *   addMilliseconds: import('./statistics.mjs').Spread, train: { sent: number, lost: number, slowestMilliseconds: number } }} figures
 */
function judge(figures) {
  return {
    ...figures,
    targets: judged([
      { name: 'readySeconds', atMost: manyPortsTargets.readySeconds, value: figures.readySeconds },
      { name: 'addMilliseconds', atMost: manyPortsTargets.addMilliseconds, value: figures.addMilliseconds.median },
      { name: 'lost', atMost: manyPortsTargets.lost, value: figures.train.lost },
      { name: 'idleCorePercent', atMost: manyPortsTargets.idleCorePercent, value: figures.idleCorePercent },
    ]),
  };
}
