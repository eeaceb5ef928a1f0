#!/usr/bin/env node
/**
 * weft's benchmark. `npm run bench` builds and runs all of it; see bench/README.md.
 *
 *   node bench/run.mjs [--only NAME,...] [--rounds N] [--seconds S] [--warmup S] [--seed N] [--smoke] [--results DIR]
 *
 * --only takes names of subjects and workloads, `many-ports` and `pipeline`; without any of a sort, all of that sort.
 * Exit status: 0 measured (whether targets are met or not), 1 something could not be measured, 2 wrong usage.
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { buildReferences } from './build-references.mjs';
import { compare } from './comparison.mjs';
import { describeMachine, describeVersions } from './machine.mjs';
import { measureManyPorts } from './many-ports.mjs';
import { measurePipeline, pipelineAbsence } from './pipeline.mjs';
import { printResults, writeResults } from './report.mjs';
import { subjects } from './subjects/registry.mjs';
import { weftAbsence } from './subjects/weft.mjs';
import { guardTestbeds } from './testbed.mjs';
import { workloads } from './workloads/registry.mjs';

const SEED = 20_260;
const full = { rounds: 7, seconds: 3, warmup: 1 };
/** Enough to see a figure above 0 everywhere, short enough to be a test. */
const smoke = { rounds: 1, seconds: 0.3, warmup: 0.1 };
const extras = ['many-ports', 'pipeline'];

/** @param {string} message @returns {never} */
function refuse(message, status = 2) {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(status);
}

/** @param {string | undefined} text @param {number} otherwise @param {string} name */
function positive(text, otherwise, name) {
  const value = text === undefined ? otherwise : Number(text);
  return value > 0 ? value : refuse(`--${name} needs a number above 0, not ${text}`);
}

function readOptions() {
  const flag = /** @type {const} */ ({ type: 'string' });
  try {
    const { values } = parseArgs({
      options: {
        only: flag,
        rounds: flag,
        seconds: flag,
        warmup: flag,
        seed: flag,
        results: flag,
        smoke: { type: 'boolean', default: false },
      },
    });
    const defaults = values.smoke ? smoke : full;
    const only = values.only?.split(',').filter(Boolean) ?? [];
    const known = [...subjects.map(({ name }) => name), ...workloads.map(({ name }) => name), ...extras];
    const unknown = only.filter((name) => !known.includes(name));
    if (unknown.length > 0) refuse(`--only knows no ${unknown.join(', ')}; there are ${known.join(', ')}`);
    return {
      only,
      smoke: values.smoke === true,
      results: values.results,
      rounds: Math.ceil(positive(values.rounds, defaults.rounds, 'rounds')),
      seconds: positive(values.seconds, defaults.seconds, 'seconds'),
      warmup: positive(values.warmup, defaults.warmup, 'warmup'),
      seed: positive(values.seed, SEED, 'seed'),
    };
  } catch (error) {
    return refuse(/** @type {Error} */ (error).message);
  }
}

function checkPrerequisites() {
  if (process.getuid?.() !== 0) refuse('needs root, for network namespaces and TAPs: sudo npm run bench', 1);
  if (!existsSync('/dev/net/tun')) refuse('needs /dev/net/tun: modprobe tun', 1);
}

/** @param {string} line */
const say = (line) => process.stdout.write(`${line}\n`);

const options = readOptions();
checkPrerequisites();
guardTestbeds();
buildReferences();

const named = (/** @type {readonly { name: string }[]} */ all) => all.some(({ name }) => options.only.includes(name));
const wantedSubjects = subjects.filter(({ name, optional }) =>
  named(subjects) ? options.only.includes(name) : !optional,
);
const onlyExtras = options.only.length > 0 && !named(subjects) && !named(workloads);
const wantedWorkloads = workloads.filter(
  ({ name }) => !onlyExtras && (!named(workloads) || options.only.includes(name)),
);

/** @type {{ name: string, reason: string }[]} */
const absent = [];
/** @param {string} name @param {string | null} reason */
function isPresent(name, reason) {
  if (reason !== null) {
    absent.push({ name, reason });
    say(`left out: ${name}: ${reason}`);
  }
  return reason === null;
}

const presentSubjects = wantedSubjects.filter(
  (subject) => wantedWorkloads.length > 0 && isPresent(subject.name, subject.absence()),
);
/** @type {import('./report.mjs').Results} */
const run = {
  date: new Date().toISOString().slice(0, 10),
  machine: describeMachine(),
  versions: describeVersions(),
  seed: options.seed,
  rounds: options.rounds,
  seconds: options.seconds,
  warmupSeconds: options.warmup,
  smoke: options.smoke,
  absent,
  failures: [],
};

if (wantedWorkloads.length > 0) {
  const timing = { warmupMs: options.warmup * 1000, windowMs: options.seconds * 1000, seed: options.seed };
  const { failures, ...comparison } = await compare(presentSubjects, wantedWorkloads, {
    rounds: options.rounds,
    timing,
    say,
  });
  run.comparison = comparison;
  run.failures.push(...failures);
}

/**
 * Measures one of the extras; what fails is said and kept, and costs nobody else's figures.
 * @template T
 * @param {string} name @param {string | null} absence @param {() => Promise<T>} measure
 * @returns {Promise<T | undefined>}
 */
async function measureExtra(name, absence, measure) {
  if ((options.only.length > 0 && !options.only.includes(name)) || !isPresent(name, absence)) return undefined;
  say(name);
  try {
    return await measure();
  } catch (error) {
    run.failures.push({ name, message: /** @type {Error} */ (error).message });
    return undefined;
  }
}

run.manyPorts = await measureExtra('many-ports', weftAbsence(), () =>
  measureManyPorts(
    options.smoke ? { portCount: 16, additions: 1, idleMs: 1000 } : { portCount: 1000, additions: 5, idleMs: 10_000 },
  ),
);
run.pipeline = await measureExtra('pipeline', pipelineAbsence(), () =>
  measurePipeline({ smoke: options.smoke, seed: options.seed, rounds: options.rounds }),
);

printResults(run, say);
// bench/results/ holds whole runs only: part of one, or a smoke run's figures, must not replace them.
const isWhole = !options.smoke && options.only.length === 0;
if (isWhole || options.results) writeResults(run, options.results);
process.exitCode = run.failures.length > 0 ? 1 : 0;
