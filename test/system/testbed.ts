/**
 * Where a test of a live switch takes place: namespaces and a directory of its own, daemons in them, virtual machines
 * (namespaces with a TAP) at their ports. Nothing of the host's network is touched. `dispose` takes everything down by
 * what was made here: own namespaces, own pids.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { RpcClient } from '../../src/control/rpc-client.js';
import type { DropRow, FdbRow, JsonObject, PortRow, StatsResult, StatusResult } from '../../src/control/shapes.js';
import { ownName, removeNamespace } from '../suites/leftovers.js';

const ENTRY = process.env.WEFT_ENTRY ?? fileURLToPath(new URL('../../dist/weft.js', import.meta.url));
const PATIENCE_MS = 20_000;
const POLL_MS = 50;

export interface Engine {
  readonly io: 'uring' | 'poll';
  readonly workers: number;
}

export interface Finished {
  readonly status: number | null;
  readonly output: string;
}

let made = 0;

/** Waits until `probe` returns something, and returns that; says what did not come true when it takes too long. */
export async function until<Found>(what: string, probe: () => Promise<Found | undefined | false>): Promise<Found> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await sleep(POLL_MS);
  }
}

/** A program in a namespace; dies with the test run, whatever becomes of it. */
export class Program {
  readonly ended: Promise<Finished>;
  output = '';
  private readonly child: ChildProcess;

  constructor(namespace: string, command: readonly string[]) {
    // Each of these replaces itself by what follows, so the pid is the command's own.
    const words = ['netns', 'exec', namespace, 'setpriv', '--pdeathsig', 'KILL', ...command];
    this.child = spawn('ip', words, { stdio: ['ignore', 'pipe', 'pipe'] });
    const collect = (octets: Buffer): void => {
      this.output += octets.toString();
    };
    this.child.stdout?.on('data', collect);
    this.child.stderr?.on('data', collect);
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', (status) => resolve({ status, output: this.output }));
    });
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  async said(words: string): Promise<void> {
    await until(`"${words}" from ${this.child.spawnargs.join(' ')}: ${this.output}`, async () => {
      if (!this.isRunning && !this.output.includes(words)) throw new Error(`it ended: ${this.output}`);
      return this.output.includes(words);
    });
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Finished> {
    if (this.isRunning) this.child.kill(signal);
    return await this.ended;
  }
}

/** A virtual machine: a namespace whose kernel owns one interface. */
export class Machine {
  readonly namespace: string;
  readonly device: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly mac: string;

  constructor(namespace: string, device: string, last: number) {
    this.namespace = namespace;
    this.device = device;
    this.ipv4 = `192.0.2.${last}`;
    this.ipv6 = `2001:db8::${last}`;
    this.mac = `02:00:00:00:00:${String(last).padStart(2, '0')}`;
  }

  configure(): void {
    ip('-n', this.namespace, 'link', 'set', 'dev', this.device, 'address', this.mac, 'up');
    ip('-n', this.namespace, 'address', 'add', `${this.ipv4}/24`, 'dev', this.device);
    inside(this.namespace, 'sysctl', '-qw', `net.ipv6.conf.${this.device}.disable_ipv6=0`);
    ip('-n', this.namespace, 'address', 'add', `${this.ipv6}/64`, 'dev', this.device, 'nodad');
  }

  setMtu(mtu: number): void {
    ip('-n', this.namespace, 'link', 'set', 'dev', this.device, 'mtu', String(mtu));
  }

  start(...command: readonly string[]): Program {
    return new Program(this.namespace, command);
  }

  async run(...command: readonly string[]): Promise<Finished> {
    return await this.start(...command).ended;
  }
}

export class Daemon {
  readonly namespace: string;
  readonly socket: string;
  readonly state: string;
  private readonly directory: string;
  private readonly engine: Engine;
  private program: Program | undefined;
  private client: RpcClient | undefined;

  constructor(namespace: string, directory: string, engine: Engine) {
    this.namespace = namespace;
    this.directory = directory;
    this.engine = engine;
    this.socket = join(directory, 'control.sock');
    this.state = join(directory, 'state');
  }

  /** Starts it, again after `kill`, and waits until it forwards by its configuration. */
  async start(): Promise<void> {
    const program = this.launch(this.socket, this.state);
    this.program = program;
    await until('the daemon is ready', async () => {
      if (!program.isRunning) throw new Error(`the daemon ended: ${program.output}`);
      // Nothing answers yet at first.
      const status = await this.status().catch(() => undefined);
      return status?.ready;
    });
  }

  /** One more daemon on this configuration. */
  launch(socket: string, state: string): Program {
    const { io, workers } = this.engine;
    const places = ['--config', join(this.directory, 'weft.json'), '--socket', socket, '--state-dir', state];
    const options = ['--metrics', 'off', '--workers', String(workers), '--io', io, '--log-level', 'warn'];
    return new Program(this.namespace, [process.execPath, ENTRY, 'daemon', ...places, ...options]);
  }

  async kill(): Promise<void> {
    this.hangUp();
    await this.program?.stop('SIGKILL');
  }

  async stop(): Promise<void> {
    this.hangUp();
    const program = this.program;
    if (program === undefined) return;
    await Promise.race([program.stop(), sleep(PATIENCE_MS, undefined, { ref: false })]);
    await program.stop('SIGKILL');
  }

  async call<Result>(method: string, params: object = {}): Promise<Result> {
    this.client ??= await RpcClient.connect(this.socket);
    return (await this.client.call(method, params)) as Result;
  }

  async status(): Promise<StatusResult> {
    return await this.call('status');
  }

  async drops(): Promise<readonly DropRow[]> {
    return await this.call('drops');
  }

  async fdb(): Promise<readonly FdbRow[]> {
    return await this.call('fdb.list');
  }

  async port(name: string): Promise<PortRow> {
    const row = (await this.call<readonly PortRow[]>('port.list')).find((candidate) => candidate.name === name);
    if (row === undefined) throw new Error(`there is no port ${name}`);
    return row;
  }

  async untilUp(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      await until(`port ${name} is up`, async () => (await this.port(name)).state === 'up');
    }
  }

  /** Ports at which received frames are not accounted for. Counters lag behind traffic: it must hold in the end. */
  async unbalanced(): Promise<readonly unknown[]> {
    let off: readonly unknown[] = ['the daemon told no counters'];
    await until('every frame is accounted for', async () => {
      const { ports } = await this.call<StatsResult>('stats');
      if (ports.length === 0) throw new Error('there are no ports to count at');
      off = ports.filter(({ rx }) => rx.frames !== rx.forwarded + rx.consumed + rx.dropped);
      return off.length === 0;
    }).catch(() => undefined);
    return off;
  }

  private hangUp(): void {
    this.client?.close();
    this.client = undefined;
  }
}

export class Testbed {
  readonly daemons: Daemon[] = [];
  private readonly prefix: string;
  private readonly directory: string;
  private readonly namespaces: string[] = [];

  constructor() {
    if (!existsSync(ENTRY)) throw new Error(`${ENTRY} is not there: npm run build`);
    this.prefix = ownName('sys', `t${made++}-`);
    this.directory = mkdtempSync(join(tmpdir(), this.prefix));
  }

  /** A new namespace, in which nobody speaks IPv6 unasked. */
  namespace(label: string): string {
    const name = this.prefix + label;
    ip('netns', 'add', name);
    this.namespaces.push(name);
    inside(name, 'sysctl', '-qw', 'net.ipv6.conf.default.disable_ipv6=1');
    ip('-n', name, 'link', 'set', 'lo', 'up');
    return name;
  }

  /** A daemon of this configuration that is ready. */
  async daemon(namespace: string, engine: Engine, config: JsonObject): Promise<Daemon> {
    const directory = join(this.directory, `${this.daemons.length}`);
    mkdirSync(directory, { mode: 0o700 });
    writeFileSync(join(directory, 'weft.json'), JSON.stringify({ version: 1, ...config }), { mode: 0o600 });
    const daemon = new Daemon(namespace, directory, engine);
    this.daemons.push(daemon);
    await daemon.start();
    return daemon;
  }

  /** Moves the TAP of a port into a machine of its own. */
  async machine(daemon: Daemon, port: string, last: number): Promise<Machine> {
    const machine = new Machine(this.namespace(port), port, last);
    ip('-n', daemon.namespace, 'link', 'set', 'dev', port, 'netns', machine.namespace);
    machine.configure();
    await daemon.untilUp(port);
    return machine;
  }

  async dispose(): Promise<void> {
    for (const daemon of this.daemons) await daemon.stop();
    for (const namespace of this.namespaces) removeNamespace(namespace);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Two namespaces' veth, both ends up. */
export function connect(namespaceA: string, deviceA: string, namespaceB: string, deviceB: string): void {
  ip('-n', namespaceA, 'link', 'add', deviceA, 'type', 'veth', 'peer', 'name', deviceB, 'netns', namespaceB);
  ip('-n', namespaceA, 'link', 'set', 'dev', deviceA, 'up');
  ip('-n', namespaceB, 'link', 'set', 'dev', deviceB, 'up');
}

export function ip(...words: readonly string[]): string {
  return execFileSync('ip', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

export function inside(namespace: string, ...command: readonly string[]): string {
  return ip('netns', 'exec', namespace, ...command);
}
