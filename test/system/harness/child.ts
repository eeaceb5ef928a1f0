/**
 * Processes of a system test: started in a network namespace, heard line by line, ended by their own pid. Each dies with
 * the test run (parent-death signal), whatever becomes of it.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

const OUTPUT_KEPT = 64 * 1024;
const STOP_PATIENCE_MS = 20_000;

export interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Child {
  readonly command: string;
  private readonly process: ChildProcessByStdio<Writable, Readable, Readable>;
  private readonly ended: Promise<Ending>;
  private ending: Ending | undefined;
  private stdout = '';
  private stderr = '';
  private partialLine = '';
  private readonly lineListeners = new Set<(line: string) => void>();

  /** `namespace` undefined: the test's own. */
  constructor(namespace: string | undefined, command: readonly string[], environment: NodeJS.ProcessEnv = {}) {
    const inside = namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace];
    // Each of these replaces itself by what follows, so the pid is the command's own.
    const [program = '', ...rest] = [...inside, 'setpriv', '--pdeathsig', 'KILL', ...command];
    this.command = command.slice(0, 4).join(' ');
    this.process = spawn(program, rest, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
    this.process.stdin.on('error', () => {}); // it ended; whoever waits for an answer is told
    this.process.stdout.setEncoding('utf8').on('data', (text: string) => this.hear(text));
    this.process.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-OUTPUT_KEPT);
    });
    this.ended = new Promise((resolve) => {
      const end = (status: number | null, signal: NodeJS.Signals | null) => {
        this.ending ??= { status, signal, stdout: this.stdout, stderr: this.stderr };
        resolve(this.ending);
      };
      this.process.on('error', (error) => {
        this.stderr += error.message;
        end(null, null);
      });
      this.process.on('close', end);
    });
  }

  get pid(): number {
    if (this.process.pid === undefined) throw new Error(`${this.command} did not start: ${this.stderr}`);
    return this.process.pid;
  }

  get isRunning(): boolean {
    return this.ending === undefined;
  }

  /** What it said on stderr, the last of it. */
  get complaints(): string {
    return this.stderr;
  }

  write(text: string): void {
    this.process.stdin.write(text);
  }

  onLine(listener: (line: string) => void): void {
    this.lineListeners.add(listener);
  }

  /** Waits until it says "ready". */
  async ready(timeoutMs = 20_000): Promise<this> {
    let isReady = false;
    this.onLine((line) => {
      isReady ||= line === 'ready';
    });
    isReady ||= this.stdout.includes('ready\n');
    for (const deadline = Date.now() + timeoutMs; !isReady; await sleep(5)) {
      if (!this.isRunning) throw new Error(`${this.command} ended early: ${this.stderr.trim()}`);
      if (Date.now() > deadline) throw new Error(`${this.command} was not ready in ${timeoutMs} ms: ${this.stderr}`);
    }
    return this;
  }

  /** Waits for its end. */
  async end(timeoutMs = 60_000): Promise<Ending> {
    const timer = new AbortController();
    const late = sleep(timeoutMs, undefined, { signal: timer.signal }).catch(() => undefined);
    const ending = await Promise.race([this.ended, late]);
    timer.abort();
    if (ending !== undefined) return ending;
    this.kill();
    throw new Error(`${this.command} did not end in ${timeoutMs} ms. ${this.stdout} ${this.stderr}`);
  }

  /** Waits for a good end and reads the line of JSON it left. */
  async result<Result>(timeoutMs = 60_000): Promise<Result> {
    const { status, stdout, stderr } = await this.end(timeoutMs);
    if (status !== 0) throw new Error(`${this.command}: status ${status}: ${stderr.trim()}`);
    const line = stdout.split('\n').find((candidate) => candidate.startsWith('{'));
    if (line === undefined) throw new Error(`${this.command} gave no result: ${stdout} ${stderr}`);
    return JSON.parse(line) as Result;
  }

  signal(name: NodeJS.Signals): void {
    if (this.isRunning) this.process.kill(name);
  }

  /** Asks it to end and waits for that. */
  async stop(): Promise<Ending> {
    this.signal('SIGTERM');
    return await this.end(STOP_PATIENCE_MS);
  }

  /** Ends it at once, without waiting. */
  kill(): void {
    this.signal('SIGKILL');
  }

  private hear(text: string): void {
    if (this.lineListeners.size === 0 || this.stdout.length < OUTPUT_KEPT) {
      this.stdout = (this.stdout + text).slice(-OUTPUT_KEPT);
    }
    const lines = (this.partialLine + text).split('\n');
    this.partialLine = lines.pop() ?? '';
    for (const line of lines) for (const listener of this.lineListeners) listener(line);
  }
}
