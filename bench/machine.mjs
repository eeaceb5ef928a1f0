/** What every result says of the machine and the versions it was taken with. No host name, no paths. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { openVswitchVersion } from './subjects/open-vswitch.mjs';

/** @param {string} command @param {string[]} args */
function output(command, args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return null;
  }
}

const root = new URL('..', import.meta.url);

export function describeMachine() {
  return {
    cores: cpus().length,
    processor: cpus()[0]?.model ?? 'unknown',
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    loadAtStart: loadavg()[0],
  };
}

export function describeVersions() {
  return {
    weft: JSON.parse(readFileSync(new URL('package.json', root), 'utf8')).version,
    commit: output('git', ['-C', root.pathname, 'describe', '--always', '--dirty']),
    node: process.version,
    gcc: output('gcc', ['-dumpfullversion']),
    openVswitch: openVswitchVersion(),
  };
}
