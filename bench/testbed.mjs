/**
 * Where a measurement takes place: network namespaces of our own, one for each of two guests, and one for the switch
 * between them, or one for each of two hosts with a switch that have a link between them (the underlay). A testbed serves
 * one measurement: what one subject leaves behind (interfaces that vanish a little late, a daemon that did not start)
 * can't reach the next. Nothing of the host's network is touched, and everything is gone when the harness ends, however it
 * ends.
 *
 *   namespace …-a              namespace …-s              namespace …-b
 *   192.0.2.1  weft-a  <-----  the subject  ----->  weft-b  192.0.2.2
 *
 *   …-a                     …-sa                                       …-sb                  …-b
 *   weft-a  <-----  subject, weft-u  <-- 198.51.100.1, .2 -->  weft-u, subject  ----->  weft-b
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
/** The hosts' ends of the link between them. Its frames are 1500 octets, as most networks' are. */
export const UNDERLAY_DEVICE = 'weft-u';
/**
 * What guests on two hosts may send: 1500 less the largest of the headers in use, 50 octets. The same for every kind of
 * tunnel and every subject, so that all carry the same segments.
 */
const OVERLAY_MTU = 1450;

/** @typedef {'a' | 'b'} Side */
export const SIDES = /** @type {const} */ (['a', 'b']);
/** The hosts' ends of the underlay. */
export const underlay = {
  a: { address: '198.51.100.1', mac: '02:00:00:00:02:0a' },
  b: { address: '198.51.100.2', mac: '02:00:00:00:02:0b' },
};
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
  /** @param {1 | 2} [hostCount] */
  constructor(hostCount = 1) {
    const host = `${PREFIX}${process.pid}-s`;
    /** Namespace of the switch that each guest is at. */
    this.hosts = hostCount === 1 ? { a: host, b: host } : { a: `${host}a`, b: `${host}b` };
    this.guestMtu = hostCount === 1 ? null : OVERLAY_MTU;
    this.namespaces = { a: `${PREFIX}${process.pid}-a`, b: `${PREFIX}${process.pid}-b` };
    /** Private directory for sockets, databases and configurations. */
    this.directory = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
    /** @type {Child[]} */
    this.children = [];
    open.add(this);
    for (const namespace of this.all()) makeNamespace(namespace);
    if (hostCount === 2) this.linkHosts();
    // A process in each namespace makes its counters readable under /proc/PID/net, without a program run per look.
    this.holders = { a: this.guest('a', ['sleep', 'infinity']), b: this.guest('b', ['sleep', 'infinity']) };
  }

  /** @private */
  all() {
    return [...new Set([this.hosts.a, this.hosts.b]), this.namespaces.a, this.namespaces.b];
  }

  /** @private */
  linkHosts() {
    ip(
      ...['link', 'add', UNDERLAY_DEVICE, 'netns', this.hosts.a, 'type', 'veth'],
      ...['peer', 'name', UNDERLAY_DEVICE, 'netns', this.hosts.b],
    );
    for (const side of SIDES) this.hostIp(side, 'link', 'set', UNDERLAY_DEVICE, 'address', underlay[side].mac, 'up');
  }

  /** Runs `ip` on a host. @param {Side} side @param {...string} args */
  hostIp(side, ...args) {
    return ip('-n', this.hosts[side], ...args);
  }

  /**
   * Gives a host its address in the underlay.
   * @param {Side} side
   * @param {string} device the link's end, or what the subject put in front of it
   */
  addressHost(side, device) {
    this.hostIp(side, 'address', 'add', `${underlay[side].address}/24`, 'dev', device);
  }

  /**
   * Hands an interface of the switch's namespace to the guest on its side and gives it the guest's addresses.
   * @param {string} device
   * @param {Side} side
   */
  attach(device, side) {
    const mtu = this.guestMtu === null ? [] : ['mtu', String(this.guestMtu)];
    this.hostIp(side, 'link', 'set', device, 'netns', this.namespaces[side]);
    ip('-n', this.namespaces[side], 'link', 'set', device, 'address', sides[side].mac, ...mtu, 'up');
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
   * Starts a program in the namespace of the switch, or of the one on that side.
   * @param {string[]} command
   * @param {{ side?: Side, environment?: NodeJS.ProcessEnv }} [where]
   */
  host(command, { side = 'a', environment } = {}) {
    return this.start(new Child(this.hosts[side], command, environment));
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
