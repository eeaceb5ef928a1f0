#!/usr/bin/env node
/**
 * weft's benchmark. `npm run bench` builds and runs all of it; see bench/README.md.
 *
 *   node bench/run.mjs [--only NAME,...] [--rounds N] [--seconds S] [--warmup S] [--seed N] [--smoke] [--results DIR]
 *
 * --only takes names of subjects and workloads, and parts: `many-ports`, `pipeline`, `policy` (switches that enforce one
 * between two guests), `nat` (routers that hide one guest from the other, and on memory ports), `overlay` (tunnels between two hosts,
 * and on memory ports), `overlay-pipeline`, `routing-pipeline`, `nat-pipeline`, `merge`; without any of a sort, all of that sort. A workload alone is measured on
 * one switch, together with `overlay` or a subject of its between two hosts.
 * Exit status: 0 measured (whether targets are met or not), 1 something could not be measured, 2 wrong usage.
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { buildReferences } from './build-references.mjs';
import { compare } from './comparison.mjs';
import { describeMachine, describeVersions } from './machine.mjs';
import { measureManyPorts } from './many-ports.mjs';
import { measureMerge, mergeAbsence } from './merge.mjs';
import { measureNatPipeline } from './nat-pipeline.mjs';
import { measureOverlayPipeline } from './overlay-pipeline.mjs';
import { measurePipeline, pipelineAbsence } from './pipeline.mjs';
import { measurePolicyApply } from './policy-apply.mjs';
import { measurePolicyFlood } from './policy-flood.mjs';
import { measurePolicyPipeline } from './policy-pipeline.mjs';
import { printResults, writeResults } from './report.mjs';
import { measureRoutingPipeline } from './routing-pipeline.mjs';
import { natSubjects, overlaySubjects, policySubjects, subjects } from './subjects/registry.mjs';
import { weftAbsence } from './subjects/weft.mjs';
import { natTargets, overlayTargets, policyTargets, targets } from './targets.mjs';
import { guardTestbeds } from './testbed.mjs';
import { natWorkloads, overlayWorkloads, policyWorkloads, workloads } from './workloads/registry.mjs';

const SEED = 20_260;
const full = { rounds: 7, seconds: 3, warmup: 1 };
/** Enough to see a figure above 0 everywhere, short enough to be a test. */
const smoke = { rounds: 1, seconds: 0.3, warmup: 0.1 };
const parts = [
  'many-ports',
  'pipeline',
  'policy',
  'policy-pipeline',
  'policy-flood',
  'policy-apply',
  'nat',
  'routing-pipeline',
  'nat-pipeline',
  'overlay',
  'overlay-pipeline',
  'merge',
];

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
    const known = [
      ...[...subjects, ...overlaySubjects, ...policySubjects, ...natSubjects, ...workloads, ...policyWorkloads].map(
        ({ name }) => name,
      ),
      ...parts,
    ];
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

const isAll = options.only.length === 0;
const named = (/** @type {readonly { name: string }[]} */ all) => all.some(({ name }) => options.only.includes(name));
/** Those of a sort that are named, or all of it. @template {{ name: string, optional?: boolean }} T @param {readonly T[]} all */
const wanted = (all) => all.filter(({ name, optional }) => (named(all) ? options.only.includes(name) : !optional));
const wantsOverlay = isAll || options.only.includes('overlay') || named(overlaySubjects);
const wantsComparison = isAll || named(subjects) || (named(workloads) && !wantsOverlay);

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

/**
 * Measures workloads on subjects; what fails is said and kept.
 * @param {readonly import('./subjects/subject.mjs').Subject[]} allSubjects
 * @param {readonly import('./workloads/workload.mjs').Workload[]} allWorkloads
 * @param {Pick<import('./comparison.mjs').Plan, 'hostCount' | 'targets'>} plan
 */
async function measureComparison(allSubjects, allWorkloads, plan) {
  const present = wanted(allSubjects).filter((subject) => isPresent(subject.name, subject.absence()));
  const timing = { warmupMs: options.warmup * 1000, windowMs: options.seconds * 1000, seed: options.seed };
  const how = { ...plan, rounds: options.rounds, timing, say };
  const { failures, ...comparison } = await compare(present, wanted(allWorkloads), how);
  run.failures.push(...failures);
  return comparison;
}

const wantsPolicy = isAll || options.only.includes('policy');
const wantsNat = isAll || options.only.includes('nat');

if (wantsComparison) run.comparison = await measureComparison(subjects, workloads, { hostCount: 1, targets });
if (wantsPolicy) {
  say('policy: anti-spoof, an ACL and stateful groups between two guests');
  run.policy = await measureComparison(policySubjects, policyWorkloads, { hostCount: 1, targets: policyTargets });
}
if (wantsNat) {
  say('nat: a router that hides one guest from the other');
  run.nat = await measureComparison(natSubjects, natWorkloads, { hostCount: 1, targets: natTargets });
}
if (wantsOverlay) {
  say('overlay: tunnels between two hosts');
  run.overlay = await measureComparison(overlaySubjects, overlayWorkloads, { hostCount: 2, targets: overlayTargets });
}

/**
 * Measures one of the parts; what fails is said and kept, and costs nobody else's figures.
 * @template T
 * @param {string[]} names it is measured for any of these; the first is its own
 * @param {string | null} absence @param {() => Promise<T>} measure
 * @returns {Promise<T | undefined>}
 */
async function measurePart(names, absence, measure) {
  const [name] = names;
  if (!isAll && !names.some((one) => options.only.includes(one))) return undefined;
  if (!isPresent(name, absence)) return undefined;
  say(name);
  try {
    return await measure();
  } catch (error) {
    run.failures.push({ name, message: /** @type {Error} */ (error).message });
    return undefined;
  }
}

run.manyPorts = await measurePart(['many-ports'], weftAbsence(), () =>
  measureManyPorts(
    options.smoke ? { portCount: 16, additions: 1, idleMs: 1000 } : { portCount: 1000, additions: 5, idleMs: 10_000 },
  ),
);
const { smoke: isSmoke, seed, rounds } = options;
run.pipeline = await measurePart(['pipeline'], pipelineAbsence(), () =>
  measurePipeline({ smoke: isSmoke, seed, rounds }),
);
run.policyPipeline = await measurePart(['policy-pipeline', 'policy'], pipelineAbsence(), () =>
  measurePolicyPipeline({ smoke: isSmoke, seed, rounds }),
);
run.policyFlood = await measurePart(['policy-flood', 'policy'], pipelineAbsence(), () =>
  measurePolicyFlood({ smoke: isSmoke, seed }),
);
run.policyApply = await measurePart(['policy-apply', 'policy'], weftAbsence(), () =>
  measurePolicyApply(isSmoke ? { rules: 500, rounds: 1, applies: 1 } : { rules: 10_000, rounds, applies: 5 }),
);
run.routingPipeline = await measurePart(['routing-pipeline', 'nat'], pipelineAbsence(), () =>
  measureRoutingPipeline({ smoke: isSmoke, seed, rounds }),
);
run.natPipeline = await measurePart(['nat-pipeline', 'nat'], pipelineAbsence(), () =>
  measureNatPipeline({ smoke: isSmoke, seed, rounds }),
);
run.overlayPipeline = await measurePart(['overlay-pipeline', 'overlay'], pipelineAbsence(), () =>
  measureOverlayPipeline({ smoke: isSmoke, seed, rounds }),
);
run.merge = await measurePart(['merge', 'overlay'], mergeAbsence(), () => measureMerge({ smoke: isSmoke, rounds }));

printResults(run, say);
// bench/results/ holds whole runs only: part of one, or a smoke run's figures, must not replace them.
const isWhole = !options.smoke && isAll;
if (isWhole || options.results) writeResults(run, options.results);
process.exitCode = run.failures.length > 0 ? 1 : 0;
