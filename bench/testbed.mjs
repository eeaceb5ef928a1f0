/**
 * Where a measurement takes place: three network namespaces of our own, one for the switch and one for each of its two
 * guests. A testbed serves one measurement: what one subject leaves behind (interfaces that vanish a little late, a
 * daemon that did not start) can't reach the next. Nothing of the host's network is touched, and everything is gone
 * when the harness ends, however it ends.
 *
 *   namespace …-a              namespace …-s              namespace …-b
 *   192.0.2.1  weft-a  <-----  the subject  ----->  weft-b  192.0.2.2
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Child } from './child.mjs';

const PREFIX = 'weft-bench-';

/** Names of the two guests' interfaces, which every subject makes and hands over with `attach`. */
export const DEVICE_A = 'weft-a';
export const DEVICE_B = 'weft-b';
export const ADDRESS_A = '192.0.2.1';
export const ADDRESS_B = '192.0.2.2';

/** @typedef {'a' | 'b'} Side */
const sides = {
  a: { address: ADDRESS_A, mac: '02:00:00:00:00:0a' },
  b: { address: ADDRESS_B, mac: '02:00:00:00:00:0b' },
};

/** @param {...string} args */
export function ip(...args) {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** @type {Set<Testbed>} */
const open = new Set();

export class Testbed {
  constructor() {
    this.switchNamespace = `${PREFIX}${process.pid}-s`;
    this.namespaces = { a: `${PREFIX}${process.pid}-a`, b: `${PREFIX}${process.pid}-b` };
    /** Private directory for sockets, databases and configurations. */
    this.directory = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
    /** @type {Child[]} */
    this.children = [];
    open.add(this);
    for (const namespace of this.all()) makeNamespace(namespace);
    // A process in each namespace makes its counters readable under /proc/PID/net, without a program run per look.
    this.holders = { a: this.guest('a', ['sleep', 'infinity']), b: this.guest('b', ['sleep', 'infinity']) };
  }

  /** @private */
  all() {
    return [this.switchNamespace, this.namespaces.a, this.namespaces.b];
  }

  /**
   * Hands an interface of the switch's namespace to a guest and gives it the guest's addresses.
   * @param {string} device
   * @param {Side} side
   */
  attach(device, side) {
    ip('-n', this.switchNamespace, 'link', 'set', device, 'netns', this.namespaces[side]);
    ip('-n', this.namespaces[side], 'link', 'set', device, 'address', sides[side].mac, 'up');
    ip('-n', this.namespaces[side], 'address', 'add', `${sides[side].address}/24`, 'dev', device);
  }

  /**
   * Starts a program in a guest's namespace.
   * @param {Side} side
   * @param {string[]} command
   */
  guest(side, command) {
    return this.start(new Child(this.namespaces[side], command));
  }

  /**
   * Starts a program in the switch's namespace.
   * @param {string[]} command
   * @param {NodeJS.ProcessEnv} [environment]
   */
  host(command, environment) {
    return this.start(new Child(this.switchNamespace, command, environment));
  }

  /** @private @param {Child} child */
  start(child) {
    this.children.push(child);
    return child;
  }

  /**
   * The guest's own counters of its interface.
   * @param {Side} side
   * @param {string} device
   */
  counters(side, device) {
    const table = readFileSync(`/proc/${this.holders[side].pid}/net/dev`, 'utf8');
    const line = table.split('\n').find((candidate) => candidate.trimStart().startsWith(`${device}:`));
    if (line === undefined) throw new Error(`guest ${side} has no interface ${device}`);
    const fields = line
      .slice(line.indexOf(':') + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    return { rxFrames: fields[1], txFrames: fields[9], txDropped: fields[11] };
  }

  /** Undoes everything. Synchronous, because it also runs when the process exits. */
  dispose() {
    if (!open.delete(this)) return;
    for (const child of this.children) child.kill();
    for (const namespace of this.all()) removeNamespace(namespace);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** To be called once: cleans up at every end of the process that can be seen, and after those that could not. */
export function guardTestbeds() {
  process.on('exit', () => {
    for (const testbed of open) testbed.dispose();
  });
  process.on('SIGINT', () => process.exit(130));
  process.on('SIGTERM', () => process.exit(143));
  removeAbandoned();
}

/** @param {string} namespace */
function makeNamespace(namespace) {
  ip('netns', 'add', namespace);
  ip('-n', namespace, 'link', 'set', 'lo', 'up');
  // Router solicitations and the like would be counted as delivered frames.
  const quiet = ['sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1'];
  execFileSync('ip', ['netns', 'exec', namespace, ...quiet], { stdio: 'ignore' });
}

/** @param {string} namespace */
function removeNamespace(namespace) {
  try {
    ip('netns', 'delete', namespace);
  } catch {
    // It was never made.
  }
}

/** Namespaces and directories of a harness that was killed too hard to clean up. */
function removeAbandoned() {
  const isAbandoned = (/** @type {string} */ name) => {
    const pid = /^weft-bench-(\d+)-/.exec(name)?.[1];
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  for (const line of ip('netns', 'list').split('\n')) {
    const namespace = line.split(' ')[0];
    if (isAbandoned(namespace)) removeNamespace(namespace);
  }
  for (const name of readdirSync(tmpdir())) {
    if (isAbandoned(name)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}
