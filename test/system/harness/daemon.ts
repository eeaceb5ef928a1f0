/** `weft daemon` under test: as an operator runs it, built, in the switch's namespace, steered through its socket. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { RpcClient } from '../../../src/control/rpc-client.js';
import type {
  ChangeResult,
  DropRow,
  FdbRow,
  JsonObject,
  PortRow,
  StatsResult,
  StatusResult,
} from '../../../src/control/shapes.js';
import { Child, type Ending } from './child.js';
import { type Testbed, WEFT_ENTRY } from './testbed.js';
import { until } from './wait.js';

export interface DaemonFlags {
  readonly io?: 'auto' | 'uring' | 'poll';
  readonly workers?: number;
  readonly metrics?: string;
  /** Label of the namespace it runs in, where a test has several hosts; its directory is called the same. */
  readonly host?: string;
}

export class Daemon {
  readonly socket: string;
  readonly stateDirectory: string;
  readonly configFile: string;
  private readonly testbed: Testbed;
  private readonly flags: DaemonFlags;
  private child: Child | undefined;
  private client: RpcClient | undefined;

  private constructor(testbed: Testbed, flags: DaemonFlags) {
    this.testbed = testbed;
    this.flags = flags;
    const directory = join(testbed.directory, flags.host ?? '');
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.socket = join(directory, 'run', 'control.sock');
    this.stateDirectory = join(directory, 'state');
    this.configFile = join(directory, 'weft.json');
  }

  /** Starts it on a configuration and waits until it is ready. */
  static async start(testbed: Testbed, config: JsonObject, flags: DaemonFlags = {}): Promise<Daemon> {
    if (!existsSync(WEFT_ENTRY)) throw new Error(`${WEFT_ENTRY} is not there: npm run build`);
    const daemon = new Daemon(testbed, flags);
    writeFileSync(daemon.configFile, JSON.stringify(config, null, 2));
    await daemon.start();
    return daemon;
  }

  get pid(): number {
    return this.process.pid;
  }

  /** What it logged, the last of it. */
  get log(): string {
    return this.process.complaints;
  }

  get isRunning(): boolean {
    return this.child?.isRunning === true;
  }

  /** Starts it (again) on the same file, socket and state. */
  async start(): Promise<void> {
    mkdirSync(dirname(this.socket), { recursive: true, mode: 0o700 });
    this.child = this.launch([]);
    await until('the daemon is ready', async () => {
      if (!this.isRunning) return true;
      return (await this.call<StatusResult>('status')).ready;
    });
    if (!this.isRunning) throw new Error(`the daemon ended: ${this.log}`);
  }

  /** One more daemon on the same places; resolves with its end. */
  async second(extra: readonly string[]): Promise<Ending> {
    return await this.launch(extra).end();
  }

  async stop(): Promise<Ending> {
    this.hangUp();
    return await this.process.stop();
  }

  async killHard(): Promise<void> {
    this.hangUp();
    this.process.kill();
    await this.process.end();
  }

  async call<Result>(method: string, params: object = {}): Promise<Result> {
    this.client ??= await RpcClient.connect(this.socket);
    try {
      return (await this.client.call(method, params)) as Result;
    } catch (error) {
      if ((error as Error).name === 'NoDaemonError') this.hangUp();
      throw error;
    }
  }

  async apply(config: JsonObject): Promise<ChangeResult> {
    return await this.call('config.apply', { document: config });
  }

  async port(name: string): Promise<PortRow> {
    const row = (await this.call<PortRow[]>('port.list')).find((candidate) => candidate.name === name);
    if (row === undefined) throw new Error(`there is no port ${name}`);
    return row;
  }

  async fdb(): Promise<FdbRow[]> {
    return await this.call('fdb.list');
  }

  async drops(): Promise<DropRow[]> {
    return await this.call('drops');
  }

  async stats(): Promise<StatsResult> {
    return await this.call('stats');
  }

  /** A command line against it. */
  async weft(...words: string[]): Promise<Ending> {
    const child = new Child(undefined, [process.execPath, WEFT_ENTRY, ...words], { WEFT_SOCKET: this.socket });
    return await child.end();
  }

  /**
   * Every frame is accounted for: on each port rx.frames = forwarded + consumed + dropped, and drops by reason add up.
   * Counters are read in two questions and traffic may still run out, so it holds in the end, not at once.
   */
  async expectConservation(): Promise<void> {
    let failure: string | undefined = '';
    await until('every frame is accounted for', async () => {
      failure = imbalance(await this.stats(), await this.drops());
      return failure === undefined;
    }).catch((error: Error) => {
      throw new Error(failure ?? error.message);
    });
  }

  private launch(extra: readonly string[]): Child {
    const { configFile, socket, stateDirectory, flags } = this;
    const places = ['--config', configFile, '--socket', socket, '--state-dir', stateDirectory];
    const workers = String(flags.workers ?? 1);
    const options = ['--metrics', flags.metrics ?? 'off', '--workers', workers, '--io', flags.io ?? 'auto', ...extra];
    return this.testbed.start(flags.host ?? 's', [process.execPath, WEFT_ENTRY, 'daemon', ...places, ...options]);
  }

  private get process(): Child {
    if (this.child === undefined) throw new Error('the daemon was not started');
    return this.child;
  }

  private hangUp(): void {
    this.client?.close();
    this.client = undefined;
  }
}

function imbalance({ ports }: StatsResult, drops: readonly DropRow[]): string | undefined {
  for (const { name, rx, tx } of ports) {
    if (rx.frames !== rx.forwarded + rx.consumed + rx.dropped) return `${name}: ${JSON.stringify(rx)} does not add up`;
    for (const [of, total] of [['frame', rx.dropped] as const, ['copy', tx.dropped] as const]) {
      const rows = drops.filter((row) => row.port === name && row.of === of);
      const sum = rows.reduce((before, row) => before + row.count, 0);
      if (sum !== total) return `${name}: ${total} drops of: ${of}, by reason ${JSON.stringify(rows)}`;
    }
  }
  return undefined;
}
