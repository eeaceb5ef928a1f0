/**
 * Where two virtual machines meet the switch: a network namespace, a directory, a daemon and QEMU guests of this test's
 * own. `close` ends and removes all of it, also when the test failed; for killed runs see ../suites/leftovers.ts.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { JsonObject, PortRow, PortStats, StatsResult } from '../../src/control/shapes.js';
import { ownName, removeNamespace } from '../suites/leftovers.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const KIT = join(ROOT, '../shared/vm');
const GUEST_IMAGE = join(ROOT, '.cache/vm');
const WEFT = join(ROOT, 'dist/weft.js');
/** Guests boot in 2 s on an idle machine; tests share theirs. */
const PATIENCE_MS = 30_000;

export const kitIsThere = existsSync(join(KIT, 'run-vm.sh'));

/** Of the kit's vm-exec.mjs, which has no types. */
interface VmAgent {
  exec(command: string, options?: { timeoutMs?: number }): Promise<{ code: number; output: string }>;
  powerOff(): Promise<void>;
  close(): void;
}
interface VmAgentModule {
  readonly VmAgent: { connect(socket: string, options: { timeoutMs: number }): Promise<VmAgent> };
}

/** Kernel and root file system of the guests; built once, then kept in the cache. */
export function buildGuestImage(): void {
  execFileSync(join(KIT, 'build.sh'), [GUEST_IMAGE], { stdio: ['ignore', 'ignore', 'inherit'] });
}

export async function until(what: string, look: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !(await look()); await sleep(50)) {
    if (performance.now() > end) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
  }
}

/** A process ended by its own pid, and by the kernel should this one die first. */
export class Program {
  output = '';
  private readonly child: ChildProcess;
  private readonly ended: Promise<void>;

  constructor(namespace: string, command: readonly string[]) {
    // ip and setpriv replace themselves by what follows: the pid is the command's.
    const words = ['netns', 'exec', namespace, 'setpriv', '--pdeathsig', 'KILL', ...command];
    this.child = spawn('ip', words, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (octets: Buffer) => {
        this.output = (this.output + octets.toString()).slice(-8192);
      });
    }
    this.ended = new Promise((resolve) => {
      this.child.once('error', () => resolve());
      this.child.once('close', () => resolve());
    });
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  get status(): number | null {
    return this.child.exitCode;
  }

  kill(): void {
    if (this.isRunning) this.child.kill('SIGKILL');
  }

  async end(signal?: NodeJS.Signals): Promise<void> {
    if (signal !== undefined && this.isRunning) this.child.kill(signal);
    const late = setTimeout(() => this.kill(), PATIENCE_MS);
    await this.ended;
    clearTimeout(late);
  }
}

export interface Guest {
  /** Runs a command to its good end and returns what it said. */
  run(command: string, timeoutMs?: number): Promise<string>;
  powerOff(): Promise<void>;
}

/** How a guest reaches its port. */
export interface Attachment {
  readonly port: JsonObject;
  readonly netdev: string;
  /** The port before QEMU is there. */
  readonly before: { readonly state: string; readonly reason: string };
}

/** What a guest boots with beside its name. */
export interface Station {
  /** From 1 to 9: of its MAC. */
  readonly number: number;
  /** `dhcp`, or an address with its prefix length. */
  readonly net: string;
}

export class Lab {
  readonly directory: string;
  private readonly namespace: string;
  /** Of hosts beside the daemon's, by label. */
  private readonly hosts = new Map<string, string>();
  private readonly programs: Program[] = [];
  private readonly agents: VmAgent[] = [];
  private daemon: Program | undefined;
  private readonly atExit = () => this.removeAll();

  constructor(label: string) {
    if (process.getuid?.() !== 0) throw new Error('VM tests make namespaces and TAPs: run them as root');
    this.namespace = ownName('vm', label);
    this.directory = mkdtempSync(join(tmpdir(), `${this.namespace}-`));
    process.on('exit', this.atExit);
    execFileSync('ip', ['netns', 'add', this.namespace]);
    execFileSync('ip', ['-n', this.namespace, 'link', 'set', 'lo', 'up']);
  }

  /** A TAP that QEMU makes, and takes away when it ends. */
  tap(device: string): Attachment {
    return {
      port: { kind: 'netdev', device, network: 'lab' },
      netdev: `tap,ifname=${device},script=no,downscript=no,vhost=off`,
      before: { state: 'waiting', reason: `no interface ${device}` },
    };
  }

  stream(name: string): Attachment {
    const path = join(this.directory, `${name}.sock`);
    return {
      port: { kind: 'qemu', path, network: 'lab' },
      netdev: `stream,server=off,addr.type=unix,addr.path=${path}`,
      before: { state: 'down', reason: 'no QEMU connected' },
    };
  }

  /** A namespace that is another host's; ended with the lab. */
  host(label: string): string {
    const known = this.hosts.get(label);
    if (known !== undefined) return known;
    const name = `${this.namespace}-${label}`;
    execFileSync('ip', ['netns', 'add', name]);
    this.hosts.set(label, name);
    execFileSync('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    return name;
  }

  /** ip(8) on a host's namespace, or without a label on the daemon's. */
  ip(label: string | undefined, ...words: string[]): string {
    const namespace = label === undefined ? this.namespace : this.host(label);
    return execFileSync('ip', ['-n', namespace, ...words], { encoding: 'utf8' });
  }

  /** Starts a program on a host. */
  startOn(label: string, command: readonly string[]): Program {
    const program = new Program(this.host(label), command);
    this.programs.push(program);
    return program;
  }

  async startDaemon(ports: Record<string, JsonObject>, more: JsonObject = {}): Promise<void> {
    const config = join(this.directory, 'weft.json');
    const document = { version: 1, networks: { lab: { type: 'local' } }, ...more, ports };
    writeFileSync(config, JSON.stringify(document));
    mkdirSync(join(this.directory, 'run'), { mode: 0o700 });
    const places = ['--config', config, '--socket', this.socket, '--state-dir', join(this.directory, 'state')];
    const options = ['--metrics', 'off', '--workers', '1', '--log-level', 'warn'];
    this.daemon = this.start([process.execPath, WEFT, 'daemon', ...places, ...options]);
    await until('the daemon answers', async () => {
      if (this.daemon?.isRunning !== true) throw new Error(`the daemon ended: ${this.daemon?.output}`);
      return await this.ports().then(
        () => true,
        () => false,
      );
    });
  }

  /** Ends it in order; its exit status. */
  async stopDaemon(): Promise<number | null | undefined> {
    await this.daemon?.end('SIGTERM');
    return this.daemon?.status;
  }

  async ports(): Promise<PortRow[]> {
    return (await this.weft('port', 'list')) as PortRow[];
  }

  async stats(): Promise<readonly PortStats[]> {
    return ((await this.weft('stats')) as StatsResult).ports;
  }

  /** Boots a guest in the daemon's namespace, and waits until it takes commands. */
  async boot(name: string, attachment: Attachment, { number, net }: Station): Promise<Guest> {
    const agentSocket = join(this.directory, `${name}.agent`);
    const words = ['--dir', GUEST_IMAGE, '--name', name, '--agent', agentSocket, '--netdev', attachment.netdev];
    const station = ['--mac', `52:54:00:00:00:0${number}`, '--net', net];
    // The command instead of the script's own start: QEMU is then a child of this process and ends with it.
    const command = execFileSync(join(KIT, 'run-vm.sh'), [...words, ...station, '--print'], { encoding: 'utf8' });
    const qemu = this.start(['bash', '-c', `exec ${command}`]);
    const { VmAgent } = (await import(join(KIT, 'vm-exec.mjs'))) as VmAgentModule;
    const agent = await VmAgent.connect(agentSocket, { timeoutMs: PATIENCE_MS }).catch((error: Error) => {
      throw new Error(`${name}: ${error.message}: ${qemu.output}`);
    });
    this.agents.push(agent);
    return {
      run: async (script, timeoutMs = PATIENCE_MS) => {
        const { code, output } = await agent.exec(script, { timeoutMs });
        if (code !== 0) throw new Error(`${name}: '${script}' ended with ${code}: ${output}`);
        return output;
      },
      powerOff: async () => {
        await agent.powerOff();
        await qemu.end();
      },
    };
  }

  async close(): Promise<void> {
    for (const agent of this.agents) agent.close();
    for (const program of this.programs) program.kill();
    await Promise.all(this.programs.map((program) => program.end()));
    process.off('exit', this.atExit);
    this.removeAll();
  }

  private get socket(): string {
    return join(this.directory, 'run/control.sock');
  }

  private start(command: readonly string[]): Program {
    const program = new Program(this.namespace, command);
    this.programs.push(program);
    return program;
  }

  /** What a command of weft prints as JSON. */
  async weft(...words: string[]): Promise<unknown> {
    const args = [WEFT, ...words, '--socket', this.socket, '--json'];
    return JSON.parse((await promisify(execFile)(process.execPath, args)).stdout);
  }

  private removeAll(): void {
    for (const program of this.programs) program.kill();
    for (const namespace of [...this.hosts.values(), this.namespace]) removeNamespace(namespace);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
