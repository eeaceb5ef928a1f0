#!/usr/bin/env node
// `npm run demo`: from a fresh clone to traffic through the switch. Installs what is missing, builds, and runs `weft demo`
// as root. Arguments go on to it: `npm run demo -- --keep`.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { installNodePackages } from './node-packages.mjs';
import { installSystemPackages, isRoot, systemPackages } from './system-packages.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const entry = `${root}dist/weft.js`;

/** @param {string} message @returns {never} */
function refuse(message) {
  process.stderr.write(`demo: ${message}\n`);
  process.exit(1);
}

function isBuilt() {
  if (!existsSync(entry) || !existsSync(`${root}dist/kernels/kernels.wasm`)) return false;
  const built = statSync(entry).mtimeMs;
  return readdirSync(`${root}src`, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .every((file) => statSync(`${file.parentPath}/${file.name}`).mtimeMs <= built);
}

if (process.platform !== 'linux') refuse('weft runs on Linux only.');
const { missing } = installSystemPackages(systemPackages.demo, { sudo: true });
if (missing.length > 0) refuse(`these programs' packages are missing, please install them: ${missing.join(' ')}`);
if (!installNodePackages()) refuse('npm ci failed; its message is above.');
if (!isBuilt()) {
  process.stdout.write('building\n');
  if (
    spawnSync(process.execPath, [`${root}scripts/build.mjs`], { stdio: ['ignore', 'inherit', 'inherit'] }).status !== 0
  )
    refuse('the build failed; its message is above.');
}
const command = [process.execPath, entry, 'demo', ...process.argv.slice(2)];
const demo = isRoot
  ? spawn(command[0], command.slice(1), { stdio: 'inherit' })
  : spawn('sudo', ['--', ...command], { stdio: 'inherit' });
demo.on('error', () => refuse('it needs root for TAPs and namespaces: run this as root, or install sudo.'));
// Ctrl-C reaches the demo by itself; this process waits for it to clean up. A kill of this process alone is passed on.
process.on('SIGINT', () => {});
for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP'])) process.on(signal, () => demo.kill(signal));
demo.on('exit', (status, signal) => {
  process.exitCode = status ?? (signal === null ? 1 : 128);
});
