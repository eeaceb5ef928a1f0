/**
 * What tunnels cost without any I/O: nanoseconds that encapsulation and decapsulation add to a frame of 64 octets, and
 * whether that grows with the number of networks (VNIs) and remotes. In this process, one thread, on the code in dist/.
 */
import { loadSwitch, nanosecondsPerFrame } from './memory-switch.mjs';
import { OverlayScene } from './overlay-scene.mjs';
import { volumeOf } from './pipeline.mjs';
import { measureStages } from './stage-clock.mjs';
import { ratios, spread } from './statistics.mjs';
import { judged, overlayPipelineTargets } from './targets.mjs';

const NETWORKS = [1, 10, 100, 1_000, 10_000];
const REMOTES = [1, 10, 100, 1_000];
const SMOKE_NETWORKS = [1, 100];
const SMOKE_REMOTES = [1, 100];
/** Pairs of stations in these two series, however many networks they are in: the FDB's size is not what is measured. */
const PAIRS = 10_000;
const SMOKE_PAIRS = 500;
/** In the others. */
const PAIRS_FEW = 500;
const TYPES = /** @type {const} */ (['vxlan', 'geneve', 'gre']);
const DIRECTIONS = /** @type {const} */ (['out', 'in']);

/** @typedef {Omit<import('./overlay-scene.mjs').OverlayShape, 'seed'>} Shape */
/** @typedef {{ name: string, shape: Shape, rounds: number[] }} Row */

/** @param {{ smoke: boolean, seed: number, rounds: number }} plan */
export async function measureOverlayPipeline({ smoke, seed, rounds }) {
  const modules = await loadSwitch();
  const works = workRows();
  const pairs = smoke ? SMOKE_PAIRS : PAIRS;
  /** @type {Shape} */
  const fixed = { kind: 'vxlan', networks: 1, remotes: 1, pairs, direction: 'both' };
  const byNetworks = (smoke ? SMOKE_NETWORKS : NETWORKS).map((size) => sizeRow(size, { ...fixed, networks: size }));
  const byRemotes = (smoke ? SMOKE_REMOTES : REMOTES).map((size) => sizeRow(size, { ...fixed, remotes: size }));
  for (let round = 0; round < rounds; round++) {
    for (const row of [...works, ...byNetworks, ...byRemotes])
      row.rounds.push(nanosecondsPerFrame(new OverlayScene(modules, { ...row.shape, seed }), volumeOf(smoke)));
  }
  const sizes = (/** @type {typeof byNetworks} */ rows) =>
    rows.map((row) => ({ size: row.size, nanoseconds: spread(row.rounds) }));
  return {
    byWork: works.map((row) => ({ work: row.name, nanoseconds: spread(row.rounds) })),
    byNetworks: sizes(byNetworks),
    byRemotes: sizes(byRemotes),
    byStage: DIRECTIONS.map((direction) => {
      const shape = /** @type {const} */ ({ kind: 'vxlan', direction, networks: 1, remotes: 1, pairs: PAIRS_FEW });
      const scene = new OverlayScene(modules, { ...shape, seed });
      return { work: `vxlan, ${direction}`, stages: measureStages(scene, volumeOf(smoke), rounds) };
    }),
    targets: judge(works, byNetworks, byRemotes),
  };
}

/** The same frames through the L2 pipeline alone and through each kind of tunnel, one way at a time. @returns {Row[]} */
function workRows() {
  const row = (
    /** @type {string} */ name,
    /** @type {Shape['kind']} */ kind,
    /** @type {'in' | 'out'} */ direction,
  ) => ({
    name,
    shape: { kind, direction, networks: 1, remotes: 1, pairs: PAIRS_FEW },
    rounds: [],
  });
  return [
    row('L2, out', null, 'out'),
    row('L2, in', null, 'in'),
    ...TYPES.flatMap((type) => [row(`${type}, out`, type, 'out'), row(`${type}, in`, type, 'in')]),
  ];
}

/** @param {number} size @param {Shape} shape */
const sizeRow = (size, shape) => ({ name: String(size), size, shape, rounds: /** @type {number[]} */ ([]) });

/** @param {Row[]} works @param {Row[]} byNetworks @param {Row[]} byRemotes */
function judge(works, byNetworks, byRemotes) {
  const roundsOf = (/** @type {string} */ name) => works.find((row) => row.name === name)?.rounds ?? [];
  const added = (/** @type {string} */ type) =>
    spread(
      roundsOf(`${type}, out`).map(
        (out, round) => out - roundsOf('L2, out')[round] + roundsOf(`${type}, in`)[round] - roundsOf('L2, in')[round],
      ),
    );
  const growth = (/** @type {Row[]} */ rows) => ratios(rows[rows.length - 1].rounds, rows[0].rounds);
  const { addedNanoseconds, growth: growthMax } = overlayPipelineTargets;
  const target = (/** @type {string} */ name, /** @type {number} */ atMost, /** @type {any} */ figures) => {
    const { median: value = Number.NaN, min, max } = figures ?? {};
    return { name, atMost, value, min, max };
  };
  return judged([
    ...TYPES.map((type) => target(`${type}: encap + decap, ns beyond L2`, addedNanoseconds, added(type))),
    target('growth with VNIs', growthMax, growth(byNetworks)),
    target('growth with remotes', growthMax, growth(byRemotes)),
  ]);
}
