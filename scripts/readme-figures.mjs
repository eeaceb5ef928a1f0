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

/** One row a metric, one column a subject; behind another's figure, how many times as much weft has. @param {Results} run @returns {string[]} */
function tableOf(run) {
  /** @type {{ title: string, metric: any }[]} */
  const rows = (run.comparison?.workloads ?? []).flatMap((/** @type {any} */ workload) =>
    workload.metrics
      .filter((/** @type {any} */ metric) => metric.better !== null && metric.bySubject.weft)
      .map((/** @type {any} */ metric) => ({ title: workload.title, metric })),
  );
  if (rows.length === 0) return [];
  const isMeasured = (/** @type {string} */ name) => rows.some((row) => row.metric.bySubject[name]);
  const subjects = Object.keys(run.comparison.subjects).filter(isMeasured);
  const columns = ['weft', ...subjects.filter((name) => name !== 'weft')];
  const cell = (/** @type {any} */ metric, /** @type {string} */ name) => {
    const [figures, ratio] = [metric.bySubject[name], metric.weftTo[name]];
    if (!figures) return '';
    if (name === 'weft') return `**${shown(figures.median)}** (${shown(figures.min)} to ${shown(figures.max)})`;
    return `${shown(figures.median)}${ratio ? `; weft ${ratio.median.toFixed(2)} x` : ''}`;
  };
  return [
    `| | ${columns.map((name) => run.comparison.subjects[name].title).join(' | ')} |`,
    `| --- |${' --: |'.repeat(columns.length)}`,
    ...rows.map(({ title, metric }) => {
      const what = `${title}: ${metric.text}, ${metric.unit}, ${metric.better} is better`;
      return `| ${what} | ${columns.map((name) => cell(metric, name)).join(' | ')} |`;
    }),
    '',
    '![the same as bars](bench/results/comparison.svg)',
    '',
  ];
}

/** @param {Results} run @returns {string[]} */
const overlayTable = ({ overlay }) =>
  tableBySubject(overlay, 'tunnels between two hosts', 'overlay.svg', (metric) => !metric.endsWith('PerCpuSecond'));

/** @param {Results} run @returns {string[]} */
const policyTable = ({ policy }) => tableBySubject(policy, 'policy between two guests', 'policy.svg');

/** @param {Results} run @returns {string[]} */
const natTable = ({ nat }) => tableBySubject(nat, 'a router that translates between two guests', 'nat.svg');

/**
 * A comparison with one row a subject, one column a metric; behind another's figure, how many times as much the weft has
 * that it is set against.
 * @param {any} comparison @param {string} title @param {string} picture @param {(metric: string) => boolean} isShown
 * @returns {string[]}
 */
function tableBySubject(comparison, title, picture, isShown = () => true) {
  /** @type {{ title: string, metric: any }[]} */
  const columns = (comparison?.workloads ?? []).flatMap((/** @type {any} */ workload) =>
    workload.metrics
      .filter((/** @type {any} */ { name, better }) => better !== null && isShown(name))
      .map((/** @type {any} */ metric) => ({ title: workload.title, metric })),
  );
  const isMeasured = (/** @type {string} */ name) => columns.some(({ metric }) => metric.bySubject[name]);
  const subjects = Object.keys(columns[0]?.metric.bySubject ?? {}).filter(isMeasured);
  if (!subjects.some(isOurs)) return [];
  const cell = (/** @type {any} */ metric, /** @type {string} */ name) => {
    const [figures, ratio] = [metric.bySubject[name], metric.weftTo[name]];
    if (!figures) return '';
    const figure = isOurs(name) ? `**${shown(figures.median)}**` : shown(figures.median);
    return `${figure}${ratio ? `; weft ${ratio.median.toFixed(2)} x` : ''}`;
  };
  return [
    `| ${title} | ${columns.map(({ title, metric }) => `${title}: ${metric.text}, ${metric.unit}, ${metric.better} is better`).join(' | ')} |`,
    `| --- |${' --: |'.repeat(columns.length)}`,
    ...subjects.map(
      (name) =>
        `| ${comparison.subjects[name].title} | ${columns.map(({ metric }) => cell(metric, name)).join(' | ')} |`,
    ),
    '',
    `![the same as bars](bench/results/${picture})`,
    '',
  ];
}

/** @param {string} name of a subject between two hosts */
const isOurs = (name) => name.startsWith('weft');

/** @param {Results} run @returns {string[]} */
function overlayPipelineLines({ overlayPipeline }) {
  if (!overlayPipeline) return [];
  const cost = overlayPipeline.targets.map((/** @type {any} */ { name, value }) => `${name} ${shown(value)}`);
  return [`**Tunnels in the pipeline alone**, frames of 64 octets on memory ports: ${cost.join(', ')}.`, ''];
}

/** @param {Results} run @returns {string[]} */
function policyPipelineLines({ policyPipeline }) {
  if (!policyPipeline) return [];
  const cost = policyPipeline.targets.map((/** @type {any} */ { name, value }) => `${name} ${shown(value)}`);
  return [`**Policy in the pipeline alone**, frames of 64 octets on memory ports: ${cost.join(', ')}.`, ''];
}

/** @param {Results} run @returns {string[]} */
function routingPipelineLines({ routingPipeline, natPipeline }) {
  const cost = [routingPipeline, natPipeline].flatMap((part) =>
    (part?.targets ?? []).map((/** @type {any} */ { name, value }) => `${name} ${shown(value)}`),
  );
  if (cost.length === 0) return [];
  return [`**Routing and NAT in the pipeline alone**, frames of 64 octets on memory ports: ${cost.join(', ')}.`, ''];
}

/** @param {Results} run @returns {string[]} */
function policyFloodLines({ policyFlood }) {
  if (!policyFlood) return [];
  const { seconds, synsPerSecond, capacity, targets } = policyFlood;
  const flood = `${seconds} s of ${synsPerSecond.toLocaleString('en-US')} SYNs a second`;
  const what = `**A flood of new connections**, ${flood} from one port into a table of ${capacity.toLocaleString('en-US')}`;
  return [`${what}: ${targets.map((/** @type {any} */ { name, value }) => `${name} ${shown(value)}`).join(', ')}.`, ''];
}

/** @param {Results} run @returns {string[]} */
function mergeLines({ merge }) {
  if (!merge) return [];
  const works = { cut: 'segmentation', merge: 'merging', copy: 'memory copy' };
  const families = merge.map((/** @type {any} */ { family, works: rows }) => {
    const speeds = rows.map(
      (/** @type {{ work: keyof typeof works, gigabytesPerSecond: number }} */ { work, gigabytesPerSecond }) =>
        `${works[work]} ${shown(gigabytesPerSecond)}`,
    );
    return `${family}: ${speeds.join(', ')}`;
  });
  return [`**Segmentation and merging in software**, GB/s of payload, ${families.join('; ')}.`, ''];
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
  const measured = [
    ...[...tableOf(run), ...policyTable(run), ...natTable(run), ...overlayTable(run)],
    ...[
      ...pipelineLines(run),
      ...policyPipelineLines(run),
      ...policyFloodLines(run),
      ...routingPipelineLines(run),
      ...overlayPipelineLines(run),
      ...mergeLines(run),
      ...manyPortsLines(run),
    ],
  ];
  if (run.smoke || measured.length === 0) return UNMEASURED;
  const { machine, versions, rounds, seconds, date } = run;
  const where = `${machine.cores} cores of ${machine.processor}, Linux ${machine.kernel}, Node ${versions.node}`;
  const how = `medians of ${rounds} rounds of ${seconds} s, all switches interleaved in one run`;
  return `${[`Measured ${date} on ${where}: ${how}.`, '', ...measured].join('\n').trimEnd()}\n`;
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
