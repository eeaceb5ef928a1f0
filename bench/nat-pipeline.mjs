/**
 * What a router with NAT costs without any I/O: nanoseconds a frame of 64 octets, switched, routed, and routed with its source
 * or destination translated on established connections, by number of connections and by stage; connections begun a second;
 * and whether the last free port of a range is found as fast as the first. In this process, one thread, on the code in dist/.
 */
import { newConnectionsPerSecond, timedNew } from './connection-scene.mjs';
import { loadSwitch, nanosecondsPerFrame, prepare } from './memory-switch.mjs';
import { NatScene } from './nat-scene.mjs';
import { volumeOf } from './pipeline.mjs';
import { measureStages } from './stage-clock.mjs';
import { ratios, spread } from './statistics.mjs';
import { judged, natPipelineTargets } from './targets.mjs';

/** @typedef {import('./nat-scene.mjs').Way} Way */

const CONNECTIONS = [1_000, 100_000, 1_000_000];
const SMOKE_CONNECTIONS = [100, 1_000];
const CONNECTIONS_FIXED = 1_000;
/** Each connection has an inside endpoint, and so a port outside, of its own. */
const NEW = { insides: 64, portsEach: 8_192, outsides: 16 };
const SMOKE_NEW_CONNECTIONS = 10_240;
/** Ports whose last free ones are looked for. */
const RANGE = { first: 1_024, last: 65_535 };
const SMOKE_RANGE = { first: 60_000, last: 65_535 };
const PORT_ROUNDS = 64;
const SMOKE_PORT_ROUNDS = 4;

/** @param {{ smoke: boolean, seed: number, rounds: number }} plan */
export async function measureNatPipeline({ smoke, seed, rounds }) {
  const modules = await loadSwitch();
  const row = (/** @type {Way} */ way, /** @type {number} */ size) => ({
    way,
    size,
    rounds: /** @type {number[]} */ ([]),
  });
  const byWay = /** @type {Way[]} */ (['switched', 'routed', 'translated']).map((way) => row(way, CONNECTIONS_FIXED));
  const byConnections = (smoke ? SMOKE_CONNECTIONS : CONNECTIONS).map((size) => row('translated', size));
  /** @type {number[]} */
  const perSecond = [];
  /** @type {number[]} */
  const lastPort = [];
  for (let round = 0; round < rounds; round++) {
    for (const { way, size, rounds: figures } of [...byWay, ...byConnections])
      figures.push(nanosecondsPerFrame(new NatScene(modules, { connections: size, seed, way }), volumeOf(smoke)));
    perSecond.push(newConnections(modules, smoke, seed));
    lastPort.push(lastPortToFirst(modules, smoke, seed));
  }
  const staged = (/** @type {Way} */ way) =>
    measureStages(new NatScene(modules, { connections: CONNECTIONS_FIXED, seed, way }), volumeOf(smoke), rounds);
  const figures = {
    byWay: byWay.map(({ way, rounds: values }) => ({ way, nanoseconds: spread(values) })),
    byConnections: byConnections.map(({ size, rounds: values }) => ({ size, nanoseconds: spread(values) })),
    newConnectionsPerSecond: spread(perSecond),
    lastPortToFirst: spread(lastPort),
    byStage: staged('translated'),
  };
  const growth = ratios(byConnections[byConnections.length - 1].rounds, byConnections[0].rounds)?.median ?? 0;
  return { ...figures, targets: judge(figures, growth) };
}

/** Every frame begins a connection with a port outside of its own. @param {any} modules @param {boolean} smoke @param {number} seed */
function newConnections(modules, smoke, seed) {
  const count = smoke ? SMOKE_NEW_CONNECTIONS : NEW.insides * NEW.portsEach;
  const scene = new NatScene(modules, { connections: 1, seed, portFirst: 2_048, ...NEW });
  // The first has begun before, and the last batch goes no further than there are endpoints.
  scene.next = 1;
  return newConnectionsPerSecond(scene, Math.ceil(count / scene.batch.capacity) - 1);
}

/**
 * How many times as long a batch of new connections takes that gets the last free ports of a range, which lie all over it, as
 * one that gets the first. None of them can keep its port.
 * @param {any} modules @param {boolean} smoke @param {number} seed
 */
function lastPortToFirst(modules, smoke, seed) {
  const { first, last } = smoke ? SMOKE_RANGE : RANGE;
  const count = last - first + 1;
  const scene = new NatScene(modules, {
    ...{ connections: 1, seed, insides: 2, portsEach: count, portFirst: first, pool: `${first}-${last}` },
  });
  const pipeline = new modules.pipeline.Pipeline(scene.machine);
  const batch = scene.batch.capacity;
  prepare(scene, pipeline, { frames: 0, warmupFrames: batch });
  const other = scene.inside(count);
  /** The second inside address begins a batch of connections from ports that the first one has, again and again. */
  const timeOfOthers = () => {
    let spent = 0;
    for (let round = 0; round < (smoke ? SMOKE_PORT_ROUNDS : PORT_ROUNDS); round++) {
      scene.next = count;
      spent += timedNew(scene, pipeline);
      scene.forget((inside) => inside === other);
    }
    return spent;
  };
  scene.next = 0;
  timedNew(scene, pipeline);
  timeOfOthers();
  const early = timeOfOthers();
  for (scene.next = batch; scene.next < count; ) timedNew(scene, pipeline);
  const distance = Math.floor(count / batch);
  scene.forget((_, port) => (last - port) % distance === 0 && (last - port) / distance < batch);
  return timeOfOthers() / early;
}

/** @param {{ byWay: any[], newConnectionsPerSecond: any, lastPortToFirst: any }} figures @param {number} growth */
function judge({ byWay, newConnectionsPerSecond: perSecond, lastPortToFirst: lastPort }, growth) {
  const {
    nanosecondsPerFrame: most,
    connectionsGrowth,
    newConnections: least,
    lastPort: lastPortMost,
  } = natPipelineTargets;
  const translated = byWay.find(({ way }) => way === 'translated').nanoseconds.median;
  return judged([
    { name: 'nanoseconds per frame', atMost: most, value: translated },
    { name: 'growth with connections', atMost: connectionsGrowth, value: growth },
    { name: 'last free port to the first', atMost: lastPortMost, value: lastPort.median },
    { name: 'new connections a second', atLeast: least, value: perSecond.median },
  ]);
}
