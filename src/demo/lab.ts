/**
 * The demo's network: builds the namespaces and their links, starts the switch in one of them, and takes all of it down
 * again. Runs in the operator's process as root; talks to the system only through `ip` and to the switch only through
 * its control socket.
 *
 * Invariant: whatever was made is found by its name (lab-plan.ts), never by memory of having made it. So `dispose` and
 * the next run's clean-up are the same code, and a demo that was killed leaves nothing that the next one can't remove.
 */
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { NoDaemonError, RpcClient } from '../control/rpc-client.js';
import type { PortRow, StatusResult } from '../control/shapes.js';
import { OperatingError } from '../errors.js';
import {
  CONFIG,
  CONFIG_FILE,
  DIRECTORY,
  LOG_FILE,
  NAMESPACE_PREFIX,
  OWNER_FILE,
  PREFIX_LENGTH,
  SOCKET,
  STATE_DIRECTORY,
  type Station,
  SWITCH_NAMESPACE,
  stations,
  UPLINK_PORT,
} from './lab-plan.js';

const NAMED_NAMESPACES = '/run/netns';
const READY_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 5000;
const POLL_MS = 20;

export interface Finished {
  readonly status: number | null;
  readonly output: string;
}

export class Lab {
  readonly client: RpcClient;
  private readonly daemon: ChildProcess;
  private readonly signal: AbortSignal;

  private constructor(client: RpcClient, daemon: ChildProcess, signal: AbortSignal) {
    this.client = client;
    this.daemon = daemon;
    this.signal = signal;
  }

  /**
   * Builds everything and returns when every port is up. `entry` is weft's executable script. On failure, and when
   * `signal` aborts, it throws and leaves what it made: the caller disposes in any case.
   */
  static async build(entry: string, signal: AbortSignal): Promise<Lab> {
    claim();
    makeNamespaces();
    writeFileSync(CONFIG_FILE, CONFIG, { mode: 0o600 });
    const daemon = startDaemon(entry);
    const client = await connect(daemon, signal);
    const lab = new Lab(client, daemon, signal);
    for (const { port, namespace } of [stations.vm1, stations.vm2]) {
      ip('-n', SWITCH_NAMESPACE, 'link', 'set', port, 'netns', namespace);
    }
    for (const station of Object.values(stations)) plugIn(station);
    await lab.until('every port is up', async () => {
      const ports = (await client.call('port.list')) as readonly PortRow[];
      return ports.every((port) => port.state === 'up');
    });
    return lab;
  }

  /** Runs a program at a station and collects what it prints. */
  async run(at: Station, command: readonly string[]): Promise<Finished> {
    return await finished(this.start(at, command));
  }

  /** Starts a program at a station; it ends with the lab. */
  start(at: Station, command: readonly string[]): ChildProcess {
    // A process group of its own: Ctrl-C is for the demo, which then stops the rest in order.
    const options: SpawnOptions = { detached: true, signal: this.signal, stdio: ['ignore', 'pipe', 'pipe'] };
    return spawn('ip', ['netns', 'exec', at.namespace, ...command], options);
  }

  /** Waits until the condition holds; says what did not come true when it takes too long. */
  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + READY_TIMEOUT_MS;
    while (!(await holds())) {
      if (performance.now() > deadline) throw failure(`waited for: ${what}`, this.daemon);
      await sleep(POLL_MS, undefined, { signal: this.signal });
    }
  }

  /** The error to tell of: if the switch died, that is why everything else failed. */
  explained(error: unknown): unknown {
    const isAlive = this.daemon.exitCode === null && this.daemon.signalCode === null;
    return isAlive ? error : failure('the switch ended in the middle of the demo', this.daemon);
  }

  /** Stops the switch as an operator would, so that it takes its TAPs down itself. */
  async stop(): Promise<void> {
    this.client.close();
    if (this.daemon.exitCode !== null || this.daemon.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => this.daemon.once('exit', () => resolve()));
    this.daemon.kill('SIGTERM');
    await Promise.race([ended, sleep(STOP_TIMEOUT_MS, undefined, { ref: false })]);
  }
}

/** Removes every namespace of a demo with all processes in it, and the demo's directory. Safe at any time; never throws. */
export function removeLab(): void {
  for (const namespace of demoNamespaces()) {
    for (const pid of quietly(['netns', 'pids', namespace]).split('\n')) if (pid !== '') killQuietly(Number(pid));
    quietly(['netns', 'delete', namespace]);
  }
  rmSync(DIRECTORY, { recursive: true, force: true });
}

/** Removes what a demo that was killed left, and nothing of one that lives. */
export function removeAbandonedLab(): void {
  if (livingOwner() === undefined) removeLab();
}

/** Runs `ip`; its complaint is the error's message. */
function ip(...args: readonly string[]): void {
  try {
    execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
  } catch (error) {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
    throw new OperatingError(`ip ${args.join(' ')}: ${stderr}`, {
      fix: 'The demo needs network namespaces, TAPs and veth: run it as root on a host, or in a privileged container.',
    });
  }
}

function quietly(args: readonly string[]): string {
  try {
    return execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' });
  } catch {
    return '';
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended meanwhile.
  }
}

function demoNamespaces(): string[] {
  try {
    return readdirSync(NAMED_NAMESPACES).filter((name) => name.startsWith(NAMESPACE_PREFIX));
  } catch {
    return [];
  }
}

/** Makes the demo's directory ours: refuses while another demo lives, clears away what a dead one left. */
function claim(): void {
  const owner = livingOwner();
  if (owner !== undefined) {
    throw new OperatingError(`another demo is running (process ${owner})`, {
      code: 'busy',
      fix: `Let it end, or stop it: kill ${owner}`,
    });
  }
  removeLab();
  mkdirSync(DIRECTORY, { mode: 0o700 });
  writeFileSync(OWNER_FILE, String(process.pid), { mode: 0o600 });
}

function livingOwner(): number | undefined {
  try {
    const pid = Number(readFileSync(OWNER_FILE, 'utf8'));
    // A number is given out again: only a process that looks like a demo counts.
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return pid !== process.pid && words.includes('demo') ? pid : undefined;
  } catch {
    return undefined;
  }
}

function makeNamespaces(): void {
  const all = [SWITCH_NAMESPACE, ...Object.values(stations).map(({ namespace }) => namespace)];
  for (const namespace of all) {
    ip('netns', 'add', namespace);
    // Only what the demo sends shall be seen; IPv6 speaks up by itself.
    const silence = 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6 || true';
    ip('netns', 'exec', namespace, 'sh', '-c', silence);
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
  }
  const veth = ['type', 'veth', 'peer', 'name', UPLINK_PORT, 'netns', stations.uplink.namespace];
  ip('-n', SWITCH_NAMESPACE, 'link', 'add', UPLINK_PORT, ...veth);
  ip('-n', SWITCH_NAMESPACE, 'link', 'set', UPLINK_PORT, 'up');
}

function plugIn({ namespace, port, mac, address }: Station): void {
  ip('-n', namespace, 'link', 'set', port, 'address', mac);
  ip('-n', namespace, 'address', 'add', `${address}/${PREFIX_LENGTH}`, 'dev', port);
  ip('-n', namespace, 'link', 'set', port, 'up');
}

function startDaemon(entry: string): ChildProcess {
  const log = openSync(LOG_FILE, 'w', 0o600);
  const options = ['--config', CONFIG_FILE, '--socket', SOCKET, '--state-dir', STATE_DIRECTORY];
  const command = [process.execPath, entry, 'daemon', ...options, '--metrics', 'off', '--log-level', 'warn'];
  try {
    return spawn('ip', ['netns', 'exec', SWITCH_NAMESPACE, ...command], {
      detached: true,
      stdio: ['ignore', log, log],
    });
  } finally {
    closeSync(log);
  }
}

/** Resolves once the switch forwards by its configuration. */
async function connect(daemon: ChildProcess, signal: AbortSignal): Promise<RpcClient> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < deadline && daemon.exitCode === null && daemon.signalCode === null) {
    try {
      const client = await RpcClient.connect(SOCKET);
      if (((await client.call('status')) as StatusResult).ready) return client;
      client.close();
    } catch (error) {
      if (!(error instanceof NoDaemonError)) throw error;
    }
    await sleep(POLL_MS, undefined, { signal });
  }
  throw failure('the switch did not start', daemon);
}

function failure(message: string, daemon: ChildProcess): OperatingError {
  const ended = daemon.exitCode !== null ? ` It ended with status ${daemon.exitCode}.` : '';
  return new OperatingError(`${message}.${ended} Its log: ${readLog() || '(empty)'}`);
}

function readLog(): string {
  try {
    return readFileSync(LOG_FILE, 'utf8').trim();
  } catch {
    return '';
  }
}

/** What a program printed and how it ended. Rejects if it could not be started or the demo was interrupted. */
export async function finished(child: ChildProcess): Promise<Finished> {
  let output = '';
  const collect = (octets: Buffer) => {
    output += octets.toString();
  };
  child.stdout?.on('data', collect);
  child.stderr?.on('data', collect);
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, output }));
  });
}
