/** What a run leaves: JSON and pictures in bench/results/, and tables on the terminal. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { shown } from './comparison.mjs';
import { barChart, lineChart } from './plot.mjs';
import { pipelineTargets } from './targets.mjs';

const results = fileURLToPath(new URL('./results/', import.meta.url));

/** @typedef {Record<string, any>} Results everything of a run, as written to latest.json */

/** @param {Results} run @param {string} directory */
export function writeResults(run, directory = results) {
  mkdirSync(directory, { recursive: true });
  const write = (/** @type {string} */ name, /** @type {string} */ text) => writeFileSync(`${directory}/${name}`, text);
  write('latest.json', `${JSON.stringify(run, null, 2)}\n`);
  const picture = (/** @type {any} */ comparison, /** @type {string} */ name, /** @type {string} */ description) => {
    if (comparison?.workloads.length > 0) write(name, comparisonPicture(run, comparison, description));
  };
  picture(run.comparison, 'comparison.svg', 'weft measured beside other switches');
  picture(run.policy, 'policy.svg', "weft's policy measured beside others'");
  picture(run.nat, 'nat.svg', "weft's router with NAT measured beside others'");
  picture(run.overlay, 'overlay.svg', "weft's tunnels between two hosts measured beside others'");
  if (run.pipeline) write('pipeline.svg', pipelinePicture(run));
  if (run.overlayPipeline) write('overlay-pipeline.svg', overlayPipelinePicture(run));
}

/** @param {Results} run */
function takenOn({ machine, versions, date }) {
  return `${date}, ${machine.cores} cores of ${machine.processor}, Linux ${machine.kernel}, Node ${versions.node}`;
}

/**
 * One row a workload: its main metric, and the second beside it.
 * @param {Results} run @param {any} comparison @param {string} description
 */
function comparisonPicture(run, comparison, description) {
  const panels = comparison.workloads.flatMap((/** @type {any} */ workload) => {
    const compared = workload.metrics.filter((/** @type {any} */ metric) => metric.better !== null);
    const row = compared.slice(0, 2).map((/** @type {any} */ metric) => panelOf(comparison, workload, metric));
    return row.length === 1 ? [...row, null] : row;
  });
  const footer = `${takenOn(run)}; median of ${run.rounds} rounds of ${run.seconds} s, whiskers: lowest and highest`;
  return barChart(description, panels, footer);
}

/** @param {any} comparison @param {any} workload @param {any} metric */
function panelOf(comparison, workload, metric) {
  const bars = Object.entries(metric.bySubject)
    .filter(([, figures]) => figures !== null)
    .map(([name, figures]) => ({
      label: comparison.subjects[name].title,
      emphasis: name.startsWith('weft'),
      value: figures.median,
      min: figures.min,
      max: figures.max,
      text: shown(figures.median),
    }));
  return { title: workload.title, note: `${metric.text}, ${metric.unit}; ${metric.better} is better`, bars };
}

/** @param {any[]} rows */
const pointsOf = (rows) => rows.map((row) => ({ x: row.size, y: row.nanoseconds.median }));

/** @param {Results} run */
function pipelinePicture(run) {
  return lineChart({
    description: "Cost of a frame in weft's pipeline by table size",
    title: 'Pipeline on memory ports: cost of a frame',
    note: 'ns a frame through the whole L2 pipeline with VLANs, without I/O',
    xLabel: 'entries in the table',
    yLimit: pipelineTargets.nanosecondsPerFrame,
    series: [
      { label: 'FDB entries, all talking', emphasis: true, points: pointsOf(run.pipeline.byFdbEntries) },
      { label: 'FDB entries, few talking', emphasis: true, points: pointsOf(run.pipeline.byFdbEntriesFewTalk) },
      { label: 'ports', emphasis: false, points: pointsOf(run.pipeline.byPorts) },
    ],
    footer: `${takenOn(run)}; median of ${run.rounds} rounds`,
  });
}

/** @param {Results} run */
function overlayPipelinePicture(run) {
  const { byNetworks, byRemotes } = run.overlayPipeline;
  return lineChart({
    description: "Cost of a frame through weft's pipeline with VXLAN by number of networks and remotes",
    title: 'VXLAN on memory ports: cost of a frame',
    note: 'ns a frame through the whole pipeline, half of the frames encapsulated, half decapsulated, without I/O',
    xLabel: 'VNIs, or remotes of one VNI; 10,000 pairs of stations talk',
    series: [
      { label: 'VNIs', emphasis: true, points: pointsOf(byNetworks) },
      { label: 'remotes', emphasis: false, points: pointsOf(byRemotes) },
    ],
    footer: `${takenOn(run)}; median of ${run.rounds} rounds`,
  });
}

/** @param {{ met: boolean, atLeast?: number, atMost?: number }} target */
const verdict = (target) =>
  `${target.met ? 'met' : 'MISSED'} (${target.atLeast === undefined ? `at most ${target.atMost}` : `at least ${target.atLeast}`})`;

/** @param {Results} run @param {(line: string) => void} say */
export function printResults(run, say) {
  if (run.comparison) printComparison(run.comparison, say);
  for (const [part, title] of /** @type {const} */ ([
    ['policy', 'Policy between two guests'],
    ['nat', 'A router that translates between two guests'],
    ['overlay', 'Tunnels between two hosts'],
  ])) {
    if (!run[part]) continue;
    say(`\n${title}`);
    printComparison(run[part], say);
  }
  if (run.manyPorts) {
    say(`\n${run.manyPorts.portCount} TAP ports on one switch`);
    for (const target of run.manyPorts.targets)
      say(`  ${target.name.padEnd(20)} ${shown(target.value).padStart(10)}   ${verdict(target)}`);
  }
  for (const [part, tableOf] of Object.entries(tables)) if (run[part]) printTable(tableOf(run[part]), say);
  if (run.merge) printMerge(run.merge, say);
  for (const { name, message } of run.failures) say(`FAILED ${name}: ${message}`);
  for (const { name, reason } of run.absent) say(`left out: ${name}: ${reason}`);
}

/** @param {any} comparison @param {(line: string) => void} say */
function printComparison(comparison, say) {
  for (const workload of comparison.workloads) {
    for (const metric of workload.metrics)
      if (metric.better !== null || metric.targets.length > 0) printMetric(workload, metric, say);
  }
}

/** @param {{ median: number, min: number, max: number }} ratio */
const times = ({ median, min, max }) => `${median.toFixed(2)} x (${min.toFixed(2)} .. ${max.toFixed(2)})`;

/** @param {any} workload @param {any} metric @param {(line: string) => void} say */
function printMetric(workload, metric, say) {
  const rows = Object.entries(metric.bySubject).filter(([, figures]) => figures !== null);
  if (rows.length === 0) return;
  say(`\n${workload.title}: ${metric.text} [${metric.unit}]`);
  for (const [name, figures] of rows) {
    const ratio = metric.weftTo[name];
    const figure = `  ${name.padEnd(18)} ${shown(figures.median).padStart(10)}  (${shown(figures.min)} .. ${shown(figures.max)})`;
    say(`${figure.padEnd(62)}${ratio ? `weft is ${times(ratio)}` : ''}`.trimEnd());
  }
  for (const target of metric.targets) {
    const { subject, reference, value, min, max } = target;
    const figure = reference === null ? shown(value) : `to ${reference} ${times({ median: value, min, max })}`;
    say(`    target: ${subject} ${figure}  ${verdict(target)}`);
  }
}

/**
 * A part that is not a comparison: figures by name, and what is asked of them.
 * @typedef {{ title: string, rows?: [name: string, figures: { median: number, min: number, max: number }][], targets: any[] }} Table
 */

/** @param {Table} table @param {(line: string) => void} say */
function printTable({ title, rows = [], targets }, say) {
  say(`\n${title}`);
  for (const [name, { median, min, max }] of rows)
    say(`  ${name.padEnd(40)} ${shown(median)}  (${shown(min)} .. ${shown(max)})`);
  for (const target of targets) say(`  ${target.name.padEnd(40)} ${shown(target.value)}   ${verdict(target)}`);
}

/** @param {any[]} list @param {string} what @returns {NonNullable<Table['rows']>} */
const bySize = (list, what) => list.map(({ size, nanoseconds }) => [`${shown(size)} ${what}`, nanoseconds]);

/** @param {any[]} list @param {string} key of what is measured @param {string} [before] @returns {NonNullable<Table['rows']>} */
const byName = (list, key, before = '') => list.map((row) => [`${before}${row[key]}`, row.nanoseconds]);

/** What is printed of each part. @type {Record<string, (figures: any) => Table>} */
const tables = {
  pipeline: ({ byFdbEntries, byFdbEntriesFewTalk, byPorts, byStage, targets }) => ({
    title: 'Pipeline on memory ports [ns a frame]',
    rows: [
      ...bySize(byFdbEntries, 'FDB entries, all talking'),
      ...bySize(byFdbEntriesFewTalk, 'FDB entries, few talking'),
      ...bySize(byPorts, 'ports'),
      ...byName(byStage, 'stage', 'stage '),
    ],
    targets,
  }),
  policyPipeline: ({ plain, tcp, byConnections, byRules, newConnectionsPerSecond, byStage, targets }) => ({
    title: 'Policy on memory ports [ns a frame]',
    rows: [
      ['no policy', plain],
      ...bySize(byConnections, 'connections'),
      ['TCP, 1,000 connections', tcp],
      ...bySize(byRules, 'rules'),
      ...byName(byStage, 'stage', 'stage '),
      ['new connections a second', newConnectionsPerSecond],
    ],
    targets,
  }),
  policyFlood: ({ seconds, synsPerSecond, capacity, targets }) => ({
    title: `${seconds} s of ${shown(synsPerSecond)} SYNs a second into ${shown(capacity)} connections`,
    targets,
  }),
  policyApply: ({
    rules,
    applyMilliseconds,
    longestWayQuiet,
    longestWayDuring,
    slowestQuiet,
    slowestDuring,
    sent,
    targets,
  }) => ({
    title: `An ACL of ${shown(rules)} rules replaced while ${shown(sent)} datagrams pass [ms]`,
    rows: [
      ['apply', applyMilliseconds],
      ['longest way of a frame without', longestWayQuiet],
      ['longest way of a frame meanwhile', longestWayDuring],
      ['slowest round trip without', slowestQuiet],
      ['slowest round trip meanwhile', slowestDuring],
    ],
    targets,
  }),
  routingPipeline: ({ plain, byPrefixes, targets }) => ({
    title: 'Routing on memory ports [ns a frame]',
    rows: [['switched in one network', plain], ...bySize(byPrefixes, 'prefixes')],
    targets,
  }),
  natPipeline: ({ byWay, byConnections, byStage, newConnectionsPerSecond, targets }) => ({
    title: 'Routing with NAT on memory ports [ns a frame]',
    rows: [
      ...byName(byWay, 'way'),
      ...bySize(byConnections, 'connections'),
      ...byName(byStage, 'stage', 'stage '),
      ['new connections a second', newConnectionsPerSecond],
    ],
    targets,
  }),
  overlayPipeline: ({ byWork, byNetworks, byRemotes, byStage, targets }) => ({
    title: 'Tunnels on memory ports [ns a frame]',
    rows: [
      ...byName(byWork, 'work'),
      ...bySize(byNetworks, 'VNIs'),
      ...bySize(byRemotes, 'remotes'),
      ...byStage.flatMap((/** @type {any} */ { work, stages }) => byName(stages, 'stage', `${work}: `)),
    ],
    targets,
  }),
};

/** @param {any[]} merge @param {(line: string) => void} say */
function printMerge(merge, say) {
  say('\nSegmentation and merging in software, of payload [GB/s]');
  for (const { family, works } of merge) {
    for (const { work, nanoseconds, gigabytesPerSecond, toCopy } of works) {
      const ratio = work === 'copy' ? '' : `   ${toCopy ? times(toCopy) : '-'} the time of a copy`;
      say(
        `  ${`${family}, ${work}`.padEnd(40)} ${shown(gigabytesPerSecond)}   ${shown(nanoseconds.median)} ns a segment${ratio}`,
      );
    }
  }
}
