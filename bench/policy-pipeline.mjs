/**
 * What policy costs without any I/O: nanoseconds a frame with anti-spoof, an ACL and stateful groups on established
 * connections, by number of connections and of rules; connections begun a second; and how long a large ACL takes to be
 * compiled. In this process, one thread, on the code in dist/.
 */
import { newConnectionsPerSecond } from './connection-scene.mjs';
import { loadSwitch, nanosecondsPerFrame } from './memory-switch.mjs';
import { volumeOf } from './pipeline.mjs';
import { PolicyScene } from './policy-scene.mjs';
import { measureStages } from './stage-clock.mjs';
import { ratios, spread } from './statistics.mjs';
import { judged, policyPipelineTargets } from './targets.mjs';

const CONNECTIONS = [1_000, 10_000, 100_000, 1_000_000];
const SMOKE_CONNECTIONS = [100, 1_000];
const RULES = [10, 100, 1_000, 10_000];
const SMOKE_RULES = [10, 100];
const CONNECTIONS_FIXED = 1_000;
const NEW_CONNECTIONS = 1_000_000;
const SMOKE_NEW_CONNECTIONS = 10_000;

/** @typedef {{ size: number, shape: { connections: number, rules?: number, isPlain?: boolean, isTcp?: boolean }, rounds: number[] }} Row */

/** @param {{ smoke: boolean, seed: number, rounds: number }} plan */
export async function measurePolicyPipeline({ smoke, seed, rounds }) {
  const modules = await loadSwitch();
  const row = (/** @type {number} */ size, /** @type {Row['shape']} */ shape) =>
    /** @type {Row} */ ({ size, shape, rounds: [] });
  const plain = row(0, { connections: CONNECTIONS_FIXED, isPlain: true });
  const tcp = row(CONNECTIONS_FIXED, { connections: CONNECTIONS_FIXED, isTcp: true });
  const byConnections = (smoke ? SMOKE_CONNECTIONS : CONNECTIONS).map((size) => row(size, { connections: size }));
  const byRules = (smoke ? SMOKE_RULES : RULES).map((size) =>
    row(size, { connections: CONNECTIONS_FIXED, rules: size }),
  );
  /** @type {number[]} */
  const perSecond = [];
  for (let round = 0; round < rounds; round++) {
    for (const one of [plain, tcp, ...byConnections, ...byRules])
      one.rounds.push(nanosecondsPerFrame(new PolicyScene(modules, { ...one.shape, seed }), volumeOf(smoke)));
    perSecond.push(newConnections(modules, smoke ? SMOKE_NEW_CONNECTIONS : NEW_CONNECTIONS, seed));
  }
  const rowsOf = (/** @type {Row[]} */ rows) =>
    rows.map((one) => ({ size: one.size, nanoseconds: spread(one.rounds) }));
  const staged = new PolicyScene(modules, { connections: CONNECTIONS_FIXED, seed });
  return {
    plain: spread(plain.rounds),
    tcp: spread(tcp.rounds),
    byConnections: rowsOf(byConnections),
    byRules: rowsOf(byRules),
    newConnectionsPerSecond: spread(perSecond),
    byStage: measureStages(staged, volumeOf(smoke), rounds),
    targets: judge(tcp, byConnections, byRules, perSecond),
  };
}

/** Every frame begins a connection that passes both ends' groups. @param {any} modules @param {number} count @param {number} seed */
function newConnections(modules, count, seed) {
  const scene = new PolicyScene(modules, { connections: 1, seed });
  return newConnectionsPerSecond(scene, Math.ceil(count / scene.batch.capacity));
}

/** @param {Row} tcp @param {Row[]} byConnections @param {Row[]} byRules @param {number[]} perSecond */
function judge(tcp, byConnections, byRules, perSecond) {
  const growth = (/** @type {Row[]} */ rows) => ratios(rows[rows.length - 1].rounds, rows[0].rounds)?.median ?? 0;
  const { nanosecondsPerFrame: most, connectionsGrowth, rulesGrowth, newConnections: least } = policyPipelineTargets;
  return judged([
    { name: 'nanoseconds per frame', atMost: most, value: spread(byConnections[0].rounds).median },
    { name: 'nanoseconds per frame of TCP', atMost: most, value: spread(tcp.rounds).median },
    { name: 'growth with connections', atMost: connectionsGrowth, value: growth(byConnections) },
    { name: 'growth with rules', atMost: rulesGrowth, value: growth(byRules) },
    { name: 'new connections a second', atLeast: least, value: spread(perSecond).median },
  ]);
}
