/**
 * What it costs frames that an ACL of 10,000 rules is replaced while they pass: the longest way of a datagram from one guest
 * to the other while configurations are applied one after another, beside that of the same train without, in the same
 * round; the slowest round trip alike, in which the guests' own waiting for a CPU counts, too; and how long such an apply
 * takes, from the document's last octet to every worker's forwarding by it.
 */
import { program } from './build-references.mjs';
import { sleep } from './child.mjs';
import { rulesOf } from './policy-scene.mjs';
import { ratios, spread } from './statistics.mjs';
import { startDaemon } from './subjects/weft.mjs';
import { judged, policyApplyTargets } from './targets.mjs';
import { ADDRESS_B, DEVICE_A, DEVICE_B, Testbed } from './testbed.mjs';

const TRAIN_PORT = '5004';
const TRAIN_INTERVAL_US = '200';
const SETTLE_MS = 500;
/** Between two applies: 50 in 15 seconds are a normal load. */
const PAUSE_MS = 100;
const FILE = 'many-rules.json';

/** @typedef {{ sendDocument(text: string): Promise<string>, call(method: string, params: object): Promise<unknown>, close(): void }} Client */
/** @typedef {{ sent: number, lost: number, slowestMilliseconds: number, longestWayMilliseconds: number }} Train */

/** @param {{ rules: number, rounds: number, applies: number }} plan */
export async function measurePolicyApply({ rules, rounds, applies }) {
  const testbed = new Testbed();
  try {
    const { daemon, socketPath } = await startDaemon(testbed, documentOf(rules, 0));
    try {
      testbed.attach(DEVICE_A, 'a');
      testbed.attach(DEVICE_B, 'b');
      const echo = testbed.guest('b', [program('peer'), 'echo', TRAIN_PORT]);
      await echo.line((line) => line === 'listening', 5000);
      return await measureRounds(testbed, socketPath, { rules, rounds, applies });
    } finally {
      await daemon.stop();
    }
  } finally {
    testbed.dispose();
  }
}

/** @param {Testbed} testbed @param {string} socketPath @param {{ rules: number, rounds: number, applies: number }} plan */
async function measureRounds(testbed, socketPath, { rules, rounds, applies }) {
  const { RpcClient } = await import(new URL('../dist/control/rpc-client.js', import.meta.url).href);
  /** @type {Client} */
  const client = await RpcClient.connect(socketPath);
  /** @type {number[]} */
  const times = [];
  /** @type {Train[]} */
  const quiet = [];
  /** @type {Train[]} */
  const disturbed = [];
  let turn = 0;
  try {
    for (let round = 0; round < rounds; round++) {
      const begin = performance.now();
      const withApplies = await train(testbed, async () => {
        for (let apply = 0; apply < applies; apply++) {
          times.push(await applyRules(client, rules, ++turn));
          await sleep(PAUSE_MS);
        }
      });
      const lengthMs = performance.now() - begin;
      disturbed.push(withApplies);
      quiet.push(await train(testbed, () => sleep(lengthMs)));
    }
  } finally {
    client.close();
  }
  return judge({ rules, applyMilliseconds: spread(times), quiet, disturbed });
}

/** A train for as long as `during` takes. @param {Testbed} testbed @param {() => Promise<void>} during @returns {Promise<Train>} */
async function train(testbed, during) {
  const sender = testbed.guest('a', [program('peer'), 'train', ADDRESS_B, TRAIN_PORT, TRAIN_INTERVAL_US]);
  try {
    await sender.line((line) => line === 'begin', 5000);
    await sleep(SETTLE_MS);
    await during();
    sender.process.kill('SIGTERM');
    const { sent, received, slowestNanoseconds, longestWayNanoseconds } = await sender.result(5000);
    return {
      sent,
      lost: sent - received,
      slowestMilliseconds: slowestNanoseconds / 1e6,
      longestWayMilliseconds: longestWayNanoseconds / 1e6,
    };
  } finally {
    await sender.stop();
  }
}

/** Returns milliseconds. @param {Client} client @param {number} rules @param {number} turn */
async function applyRules(client, rules, turn) {
  const upload = await client.sendDocument(JSON.stringify(documentOf(rules, turn)));
  const begin = performance.now();
  await client.call('config.apply', { upload, file: FILE });
  return performance.now() - begin;
}

/** The rules in another order each turn, so that none of what was compiled can be kept. @param {number} rules @param {number} turn */
function documentOf(rules, turn) {
  const all = rulesOf(rules);
  const last = all.splice(-1);
  const first = (turn * 997) % all.length;
  const port = (/** @type {string} */ device) => ({ kind: 'tap', device, network: 'lab', acl: { ingress: 'many' } });
  return {
    version: 1,
    networks: { lab: { type: 'local' } },
    ports: { a: port(DEVICE_A), b: port(DEVICE_B) },
    acls: { many: { default: 'permit', rules: [...all.slice(first), ...all.slice(0, first), ...last] } },
  };
}

/**
 * @param {{ rules: number, applyMilliseconds: import('./statistics.mjs').Spread, quiet: Train[], disturbed: Train[] }} figures
 */
function judge({ rules, applyMilliseconds, quiet, disturbed }) {
  const slowest = (/** @type {Train[]} */ trains) => trains.map(({ slowestMilliseconds }) => slowestMilliseconds);
  const longest = (/** @type {Train[]} */ trains) => trains.map(({ longestWayMilliseconds }) => longestWayMilliseconds);
  const later = (/** @type {(trains: Train[]) => number[]} */ of) => {
    const before = of(quiet);
    return spread(of(disturbed).map((one, round) => one - before[round])).median;
  };
  const lost = disturbed.reduce((sum, one) => sum + one.lost, 0);
  const { applyMilliseconds: applyAtMost, extraMilliseconds } = policyApplyTargets;
  return {
    rules,
    applyMilliseconds,
    slowestQuiet: spread(slowest(quiet)),
    slowestDuring: spread(slowest(disturbed)),
    duringToQuiet: ratios(slowest(disturbed), slowest(quiet)),
    longestWayQuiet: spread(longest(quiet)),
    longestWayDuring: spread(longest(disturbed)),
    sent: disturbed.reduce((sum, one) => sum + one.sent, 0),
    lost,
    targets: judged([
      { name: 'apply, milliseconds', atMost: applyAtMost, value: applyMilliseconds.median },
      { name: 'slowest frame later by, milliseconds', atMost: extraMilliseconds, value: later(longest) },
      { name: 'slowest round trip later by, milliseconds', atMost: extraMilliseconds, value: later(slowest) },
      { name: 'frames lost', atMost: 0, value: lost },
    ]),
  };
}
