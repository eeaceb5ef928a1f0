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

/** @param {Results} run */
function pipelinePicture(run) {
  const pointsOf = (/** @type {any[]} */ rows) => rows.map((row) => ({ x: row.size, y: row.nanoseconds.median }));
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
  const pointsOf = (/** @type {any[]} */ rows) => rows.map((row) => ({ x: row.size, y: row.nanoseconds.median }));
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
  if (run.policy) {
    say('\nPolicy between two guests');
    printComparison(run.policy, say);
  }
  if (run.nat) {
    say('\nA router that translates between two guests');
    printComparison(run.nat, say);
  }
  if (run.overlay) {
    say('\nTunnels between two hosts');
    printComparison(run.overlay, say);
  }
  if (run.manyPorts) {
    say(`\n${run.manyPorts.portCount} TAP ports on one switch`);
    for (const target of run.manyPorts.targets)
      say(`  ${target.name.padEnd(20)} ${shown(target.value).padStart(10)}   ${verdict(target)}`);
  }
  if (run.pipeline) printPipeline(run.pipeline, say);
  if (run.policyPipeline) printPolicyPipeline(run.policyPipeline, say);
  if (run.policyFlood) printPolicyFlood(run.policyFlood, say);
  if (run.policyApply) printPolicyApply(run.policyApply, say);
  if (run.routingPipeline) printRoutingPipeline(run.routingPipeline, say);
  if (run.natPipeline) printNatPipeline(run.natPipeline, say);
  if (run.overlayPipeline) printOverlayPipeline(run.overlayPipeline, say);
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

/** @param {any} pipeline @param {(line: string) => void} say */
function printPipeline(pipeline, say) {
  say('\nPipeline on memory ports [ns a frame]');
  const rows = (/** @type {any[]} */ list, /** @type {string} */ what) => {
    for (const row of list) say(`  ${`${shown(row.size)} ${what}`.padEnd(40)} ${shown(row.nanoseconds.median)}`);
  };
  rows(pipeline.byFdbEntries, 'FDB entries, all talking');
  rows(pipeline.byFdbEntriesFewTalk, 'FDB entries, few talking');
  rows(pipeline.byPorts, 'ports');
  for (const row of pipeline.byStage) say(`  ${`stage ${row.stage}`.padEnd(40)} ${shown(row.nanoseconds.median)}`);
  for (const target of pipeline.targets) say(`  ${target.name.padEnd(40)} ${shown(target.value)}   ${verdict(target)}`);
}

/** @param {any} policyPipeline @param {(line: string) => void} say */
function printPolicyPipeline({ plain, byConnections, byRules, newConnectionsPerSecond, byStage, targets }, say) {
  say('\nPolicy on memory ports [ns a frame]');
  const row = (/** @type {string} */ name, /** @type {any} */ figures) =>
    say(`  ${name.padEnd(40)} ${shown(figures.median)}  (${shown(figures.min)} .. ${shown(figures.max)})`);
  row('no policy', plain);
  for (const { size, nanoseconds } of byConnections) row(`${shown(size)} connections`, nanoseconds);
  for (const { size, nanoseconds } of byRules) row(`${shown(size)} rules`, nanoseconds);
  for (const { stage, nanoseconds } of byStage) row(`stage ${stage}`, nanoseconds);
  row('new connections a second', newConnectionsPerSecond);
  for (const target of targets) say(`  ${target.name.padEnd(40)} ${shown(target.value)}   ${verdict(target)}`);
}

/** @param {any} policyFlood @param {(line: string) => void} say */
function printPolicyFlood({ seconds, synsPerSecond, capacity, targets }, say) {
  say(`\n${seconds} s of ${shown(synsPerSecond)} SYNs a second into ${shown(capacity)} connections`);
  for (const target of targets) say(`  ${target.name.padEnd(40)} ${shown(target.value)}   ${verdict(target)}`);
}

/** @param {any} policyApply @param {(line: string) => void} say */
function printPolicyApply({ rules, applyMilliseconds, slowestQuiet, slowestDuring, sent, targets }, say) {
  say(`\nAn ACL of ${shown(rules)} rules replaced while ${shown(sent)} datagrams pass [ms]`);
  const row = (/** @type {string} */ name, /** @type {any} */ figures) =>
    say(`  ${name.padEnd(40)} ${shown(figures.median)}  (${shown(figures.min)} .. ${shown(figures.max)})`);
  row('apply', applyMilliseconds);
  row('slowest round trip without', slowestQuiet);
  row('slowest round trip meanwhile', slowestDuring);
  for (const target of targets) say(`  ${target.name.padEnd(40)} ${shown(target.value)}   ${verdict(target)}`);
}

/** @param {any} routingPipeline @param {(line: string) => void} say */
function printRoutingPipeline({ plain, byPrefixes, targets }, say) {
  say('\nRouting on memory ports [ns a frame]');
  const row = (/** @type {string} */ name, /** @type {any} */ figures) =>
    say(`  ${name.padEnd(40)} ${shown(figures.median)}  (${shown(figures.min)} .. ${shown(figures.max)})`);
  row('switched in one network', plain);
  for (const { size, nanoseconds } of byPrefixes) row(`${shown(size)} prefixes`, nanoseconds);
  for (const target of targets) say(`  ${target.name.padEnd(40)} ${shown(target.value)}   ${verdict(target)}`);
}

/** @param {any} natPipeline @param {(line: string) => void} say */
function printNatPipeline({ byWay, byConnections, byStage, newConnectionsPerSecond, targets }, say) {
  say('\nRouting with NAT on memory ports [ns a frame]');
  const row = (/** @type {string} */ name, /** @type {any} */ figures) =>
    say(`  ${name.padEnd(40)} ${shown(figures.median)}  (${shown(figures.min)} .. ${shown(figures.max)})`);
  for (const { way, nanoseconds } of byWay) row(way, nanoseconds);
  for (const { size, nanoseconds } of byConnections) row(`${shown(size)} connections`, nanoseconds);
  for (const { stage, nanoseconds } of byStage) row(`stage ${stage}`, nanoseconds);
  row('new connections a second', newConnectionsPerSecond);
  for (const target of targets) say(`  ${target.name.padEnd(40)} ${shown(target.value)}   ${verdict(target)}`);
}

/** @param {any} overlayPipeline @param {(line: string) => void} say */
function printOverlayPipeline({ byWork, byNetworks, byRemotes, byStage, targets }, say) {
  say('\nTunnels on memory ports [ns a frame]');
  const row = (/** @type {string} */ name, /** @type {any} */ figures) =>
    say(`  ${name.padEnd(40)} ${shown(figures.median)}  (${shown(figures.min)} .. ${shown(figures.max)})`);
  for (const { work, nanoseconds } of byWork) row(work, nanoseconds);
  for (const { size, nanoseconds } of byNetworks) row(`${shown(size)} VNIs`, nanoseconds);
  for (const { size, nanoseconds } of byRemotes) row(`${shown(size)} remotes`, nanoseconds);
  for (const { work, stages } of byStage)
    for (const { stage, nanoseconds } of stages) row(`${work}: ${stage}`, nanoseconds);
  for (const target of targets) say(`  ${target.name.padEnd(40)} ${shown(target.value)}   ${verdict(target)}`);
}

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
