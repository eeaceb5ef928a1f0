/**
 * What the pipeline costs without any I/O: nanoseconds a frame, by table size and by stage. In this process, one thread,
 * on the code in dist/.
 */
import { existsSync } from 'node:fs';
import { loadSwitch, nanosecondsPerFrame } from './memory-switch.mjs';
import { PipelineScene } from './pipeline-scene.mjs';
import { measureStages } from './stage-clock.mjs';
import { spread } from './statistics.mjs';
import { judged, pipelineTargets } from './targets.mjs';

const entry = new URL('../dist/pipeline/pipeline.js', import.meta.url);

/** Stations in the FDB. The smallest conversation has two. */
const FDB_ENTRIES = [2, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
const PORTS = [2, 10, 100, 1_000];
const SMOKE_FDB_ENTRIES = [2, 1_000];
const SMOKE_PORTS = [2, 16];
/** Pairs that send in the third series: the table is large, the traffic is not. */
const TALKING_PAIRS_FEW = 500;
/** What the other dimension stands at while one varies. */
const PORTS_FIXED = 2;
const FDB_ENTRIES_FIXED = 2_000;

/** Whose row the largest table's is set against where traffic is the same: the pairs that talk are all the stations there are. */
const ENTRIES_OF_FEW = 2 * TALKING_PAIRS_FEW;

export const pipelineAbsence = () => (existsSync(entry) ? null : 'dist/pipeline is not built (npm run build)');

/** @typedef {import('./memory-switch.mjs').Volume} Volume */

/** How many frames a measurement is. @param {boolean} smoke @returns {Volume} */
export const volumeOf = (smoke) =>
  smoke ? { frames: 20_000, warmupFrames: 20_000 } : { frames: 1_000_000, warmupFrames: 1_000_000 };

/** @param {{ smoke: boolean, seed: number, rounds: number }} plan */
export async function measurePipeline({ smoke, seed, rounds }) {
  const modules = await loadSwitch();
  const volume = volumeOf(smoke);
  const shapes = (
    /** @type {number[]} */ sizes,
    /** @type {(size: number) => { ports: number, stations: number }} */ shapeOf,
  ) => sizes.map((size) => ({ size, shape: shapeOf(size), rounds: /** @type {number[]} */ ([]) }));
  const byFdbEntries = shapes(smoke ? SMOKE_FDB_ENTRIES : FDB_ENTRIES, (size) => ({
    ports: PORTS_FIXED,
    stations: size,
  }));
  const byFdbEntriesFewTalk = byFdbEntries.map((row) => ({
    size: row.size,
    shape: { ...row.shape, talkingPairs: TALKING_PAIRS_FEW },
    rounds: /** @type {number[]} */ ([]),
  }));
  const byPorts = shapes(smoke ? SMOKE_PORTS : PORTS, (size) => ({ ports: size, stations: FDB_ENTRIES_FIXED }));

  for (let round = 0; round < rounds; round++) {
    for (const row of [...byFdbEntries, ...byFdbEntriesFewTalk, ...byPorts])
      row.rounds.push(nanosecondsPerFrame(new PipelineScene(modules, { ...row.shape, seed }), volume));
  }
  const rowsOf = (/** @type {typeof byPorts} */ rows) =>
    rows.map((row) => ({ size: row.size, nanoseconds: spread(row.rounds) }));
  const figures = {
    byFdbEntries: rowsOf(byFdbEntries),
    byFdbEntriesFewTalk: rowsOf(byFdbEntriesFewTalk),
    byPorts: rowsOf(byPorts),
  };
  const staged = new PipelineScene(modules, { ports: PORTS_FIXED, stations: FDB_ENTRIES_FIXED, seed });
  return { ...figures, byStage: measureStages(staged, volume, rounds), targets: judge(figures) };
}

/**
 * @typedef {{ size: number, nanoseconds: import('./statistics.mjs').Spread }} Row
 * @param {{ byFdbEntries: Row[], byFdbEntriesFewTalk: Row[], byPorts: Row[] }} figures
 */
function judge({ byFdbEntries, byFdbEntriesFewTalk, byPorts }) {
  const growth = (/** @type {Row[]} */ rows) => rows[rows.length - 1].nanoseconds.median / rows[0].nanoseconds.median;
  const { nanosecondsPerFrame, growth: growthMax } = pipelineTargets;
  return judged([
    { name: 'nanoseconds per frame', atMost: nanosecondsPerFrame, value: byFdbEntries[0].nanoseconds.median },
    { name: 'growth with FDB entries, all talking', atMost: growthMax, value: growth(byFdbEntries) },
    {
      name: `growth with FDB entries, ${TALKING_PAIRS_FEW} pairs talking`,
      atMost: growthMax,
      value: growth(byFdbEntriesFewTalk),
    },
    {
      // What the table's size alone costs: in smaller tables fewer pairs talk, and their entries lie in nearer caches.
      name: `growth with FDB entries from ${ENTRIES_OF_FEW.toLocaleString('en-US')} on, ${TALKING_PAIRS_FEW} pairs talking`,
      atMost: growthMax,
      value: growth(byFdbEntriesFewTalk.filter(({ size }) => size >= ENTRIES_OF_FEW)),
    },
    { name: 'growth with ports', atMost: growthMax, value: growth(byPorts) },
  ]);
}
