#!/usr/bin/env node
// `npm run figures`: writes what `npm run bench` measured (bench/results/latest.json) into the README, between its bench
// markers. No figure stands there that was not measured; the test of the README compares the two.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const markers = /(<!-- bench -->\n)[\s\S]*?(<!-- \/bench -->)/;
const UNMEASURED = 'Not measured yet: `npm run bench` makes the figures, `npm run figures` puts them here.\n';

/** Three significant digits, as a person compares them. @param {number} value */
function shown(value) {
  const prefixes = /** @type {const} */ ([
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ]);
  const [size, prefix] = prefixes.find(([least]) => value >= least) ?? [1, ''];
  const scaled = value / size;
  return `${scaled >= 1000 ? Math.round(scaled) : Number(scaled.toPrecision(3))}${prefix === '' ? '' : ` ${prefix}`}`;
}

/** @typedef {Record<string, any>} Results the contents of bench/results/latest.json */

/** One row a subject: its figure, and how many times as much weft does. @param {Results} run @param {any} workload @param {any} metric */
function tableOf(run, workload, metric) {
  const rows = Object.entries(metric.bySubject).filter(([, figures]) => figures !== null);
  const weftFirst = rows.sort(([left], [right]) => Number(right === 'weft') - Number(left === 'weft'));
  return [
    `**${workload.title}**: ${metric.text} (${metric.unit}, ${metric.better} is better)`,
    '',
    '| switch | median | lowest to highest | weft is |',
    '| --- | --: | --: | --: |',
    ...weftFirst.map(([name, figures]) => {
      const ratio = metric.weftTo[name];
      const title = run.comparison.subjects[name]?.title ?? name;
      const range = `${shown(figures.min)} to ${shown(figures.max)}`;
      return `| ${title} | ${shown(figures.median)} | ${range} | ${ratio ? `${ratio.median.toFixed(2)} x` : ''} |`;
    }),
    '',
  ];
}

/** @param {Results} run @returns {string[]} */
function pipelineLines({ pipeline }) {
  if (!pipeline) return [];
  const ends = (/** @type {any[]} */ rows) => [rows[0], rows[rows.length - 1]];
  const text = (/** @type {any} */ row, /** @type {string} */ what) =>
    `${row.nanoseconds.median.toFixed(0)} ns with ${row.size.toLocaleString('en-US')} ${what}`;
  const cost = [
    ...ends(pipeline.byFdbEntries).map((row) => text(row, 'FDB entries')),
    ...ends(pipeline.byPorts).map((row) => text(row, 'ports')),
  ];
  return [`**The pipeline alone**, a frame on memory ports: ${cost.join(', ')}.`, ''];
}

/** @param {Results} run @returns {string[]} */
function manyPortsLines({ manyPorts }) {
  if (!manyPorts) return [];
  const targets = manyPorts.targets.map((/** @type {any} */ target) => `${target.name} ${shown(target.value)}`);
  return [`**${manyPorts.portCount.toLocaleString('en-US')} TAP ports on one switch**: ${targets.join(', ')}.`, ''];
}

/** @param {Results} run */
export function benchSection(run) {
  const workloads = (run.comparison?.workloads ?? []).filter((/** @type {any} */ workload) =>
    workload.metrics.some((/** @type {any} */ metric) => metric.bySubject.weft),
  );
  if (run.smoke || (workloads.length === 0 && !run.pipeline && !run.manyPorts)) return UNMEASURED;
  const { machine, versions, rounds, seconds, date } = run;
  const tables = workloads.flatMap((/** @type {any} */ workload) =>
    workload.metrics
      .filter((/** @type {any} */ metric) => metric.better !== null && metric.bySubject.weft)
      .flatMap((/** @type {any} */ metric) => tableOf(run, workload, metric)),
  );
  const lines = [
    `Measured ${date} on ${machine.cores} cores of ${machine.processor}, Linux ${machine.kernel}, Node ${versions.node}: ` +
      `medians of ${rounds} rounds of ${seconds} s, all switches interleaved in one run.`,
    '',
    ...tables,
    ...pipelineLines(run),
    ...manyPortsLines(run),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}

/** The README's text with the figures of `results` (JSON text; undefined: there are none). */
export function withFigures(/** @type {string} */ readme, /** @type {string | undefined} */ results) {
  const section = results === undefined ? UNMEASURED : benchSection(JSON.parse(results));
  return readme.replace(markers, (_, start, end) => `${start}${section}${end}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const results = `${root}bench/results/latest.json`;
  const readme = readFileSync(`${root}README.md`, 'utf8');
  writeFileSync(
    `${root}README.md`,
    withFigures(readme, existsSync(results) ? readFileSync(results, 'utf8') : undefined),
  );
}
