/**
 * Names of what tests make on this machine outside of their process: namespaces, directories, interfaces. Each carries the
 * process's number, so what a run that was killed too hard to clean up has left is known by its name. It goes when the
 * next process asks for its first name; what belongs to a living process is never touched.
 *
 *   weft-<part>-<pid>-<rest>   namespaces and directories      <prefix><pid>_<number>   interfaces
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const NAMED_NAMESPACES = '/run/netns';
const PLACE = /^weft-[a-z]+-(\d+)-/;
const INTERFACE = /^wp[a-z](\d+)_[0-9a-z]+$/;

let hasSwept = false;
let count = 0;

/** A namespace's or a directory's name, or the beginning of one. */
export function ownName(part: string, rest: string | number): string {
  sweepOnce();
  return `weft-${part}-${process.pid}-${rest}`;
}

/** A name that no other interface on this machine has; `prefix` is `wp` and a letter. */
export function ownInterface(prefix: string): string {
  sweepOnce();
  return `${prefix}${process.pid}_${(count++).toString(36)}`;
}

/** Removes what dead test processes left. */
export function removeLeftovers(): void {
  for (const name of namesIn(NAMED_NAMESPACES)) if (isAbandoned(name, PLACE)) removeNamespace(name);
  for (const name of namesIn('/sys/class/net')) if (isAbandoned(name, INTERFACE)) quietly('link', 'delete', name);
  for (const name of namesIn(tmpdir())) {
    if (isAbandoned(name, PLACE)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

/** Removes a namespace with the processes in it, which would keep it alive without a name. */
export function removeNamespace(name: string): void {
  for (const pid of quietly('netns', 'pids', name).split('\n')) {
    try {
      if (pid !== '') process.kill(Number(pid), 'SIGKILL');
    } catch {
      // it ended meanwhile
    }
  }
  quietly('netns', 'delete', name);
}

function sweepOnce(): void {
  if (hasSwept) return;
  hasSwept = true;
  removeLeftovers();
}

function isAbandoned(name: string, pattern: RegExp): boolean {
  const pid = pattern.exec(name)?.[1];
  return pid !== undefined && !isTestProcess(pid);
}

/** Numbers are given out again: only a Node process may be the one that made something. */
function isTestProcess(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('node');
  } catch {
    return false;
  }
}

function namesIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}

/** ip(8) on what may be gone already. */
function quietly(...words: string[]): string {
  try {
    return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}
