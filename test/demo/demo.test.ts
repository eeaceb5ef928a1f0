/** `weft demo` as a newcomer runs it: the built executable, real TAPs and namespaces. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { removeAbandonedLab } from '../../src/demo/lab.js';
import { DIRECTORY, NAMESPACE_PREFIX } from '../../src/demo/lab-plan.js';
import type { DemoReport } from '../../src/demo/scenes.js';

const entry = fileURLToPath(new URL('../../dist/weft.js', import.meta.url));
const TIMEOUT_MS = 120_000;

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

const running = new Set<ChildProcess>();

class Run {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  private stdout = '';
  private stderr = '';
  private readonly waiting: { text: string; found: () => void }[] = [];

  constructor(args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
    this.child = spawn(process.execPath, [entry, 'demo', ...args], { env: { ...process.env, ...environment } });
    running.add(this.child);
    this.child.stdout?.on('data', (octets: Buffer) => {
      this.stdout += octets.toString();
      for (const { text, found } of this.waiting) if (this.stdout.includes(text)) found();
    });
    this.child.stderr?.on('data', (octets: Buffer) => {
      this.stderr += octets.toString();
    });
    this.ended = new Promise((resolve) => {
      this.child.once('close', (status, signal) => {
        running.delete(this.child);
        resolve({ status, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  /** Until the demo printed this text; fails if it ends before. */
  async printed(text: string): Promise<void> {
    const found = new Promise<'found'>((resolve) => this.waiting.push({ text, found: () => resolve('found') }));
    const first = await Promise.race([found, this.ended]);
    expect(first, `the demo ended before it printed "${text}"`).toBe('found');
  }
}

/** What of the demo is on this machine. */
function remains(): string[] {
  const namespaces = existsSync('/run/netns') ? readdirSync('/run/netns') : [];
  const processes = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && commandLineOf(pid).includes(DIRECTORY));
  return [
    ...namespaces.filter((name) => name.startsWith(NAMESPACE_PREFIX)),
    ...(existsSync(DIRECTORY) ? [DIRECTORY] : []),
    ...processes.map((pid) => `process ${pid}: ${commandLineOf(pid)}`),
  ];
}

function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

describe('weft demo', { timeout: TIMEOUT_MS }, () => {
  beforeAll(() => {
    if (process.getuid?.() !== 0) throw new Error('The demo needs root, for TAPs and namespaces: sudo npm test');
    if (!existsSync(entry)) throw new Error('dist/weft.js is not there: npm run build');
    removeAbandonedLab();
    expect(remains(), 'left by something else').toEqual([]);
  });

  afterEach(async () => {
    for (const child of running) child.kill('SIGTERM');
    while (running.size > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  });

  it('tells a newcomer everything in order, in plain text where there is no terminal, and leaves nothing', async () => {
    const { status, stdout, stderr } = await new Run(['--fast']).ended;
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const headings = [...stdout.matchAll(/^(\d)\/6 {2}/gm)].map(([, number]) => number);
    expect(headings).toEqual(['1', '2', '3', '4', '5', '6']);
    expect(stdout).toContain('+ learned: 52:54:00:00:00:11 is behind vm1');
    expect(stdout).toMatch(/✓ vm1 → vm2: .*bit\/s/);
    expect(stdout).toContain('FORWARDED to vm2 (untagged)');
    expect(stdout).toContain('DROPPED: isolated');
    expect(stdout).toContain('802.1Q vid 20');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
    expect(remains()).toEqual([]);
  });

  it('reports as JSON what it saw', async () => {
    const { status, stdout, stderr } = await new Run(['--json', '--fast']).ended;
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const report = JSON.parse(stdout) as DemoReport;
    expect(report.pings.map(({ from, to, answered }) => `${from} ${to} ${answered > 0}`)).toEqual([
      'vm1 vm2 true',
      'vm1 uplink true',
      'vm1 vm2 false',
      'vm1 uplink true',
      'vm1 vm2 true',
    ]);
    expect(report.transfers.map(({ from, to }) => `${from} ${to}`)).toEqual(['vm1 vm2', 'vm2 uplink']);
    for (const { bytes, bitsPerSecond } of report.transfers) {
      expect(bytes).toBeGreaterThan(1_000_000);
      expect(bitsPerSecond).toBeGreaterThan(0);
    }
    expect(report.fdb.map(({ mac, port }) => `${mac} ${port}`).sort()).toEqual([
      '52:54:00:00:00:01 eth0',
      '52:54:00:00:00:11 vm1',
      '52:54:00:00:00:12 vm2',
    ]);
    expect(report.traces.map(({ verdict }) => verdict)).toEqual(['forward', 'drop', 'flood']);
    expect(report.drops).toContainEqual(expect.objectContaining({ reason: 'isolated', port: 'vm1', of: 'frame' }));
    expect(remains()).toEqual([]);
  });

  it.each([
    ['SIGINT', 130, 'weft demo'],
    ['SIGTERM', 143, '2/6'],
    ['SIGINT', 130, 'sends'],
    ['SIGHUP', 129, '5/6'],
  ] as const)('cleans up and ends with its status on %s (%i) after "%s"', async (signal, expected, moment) => {
    const run = new Run(['--fast']);
    await run.printed(moment);
    run.child.kill(signal);
    const { status, stderr } = await run.ended;
    expect(stderr).toBe('');
    expect(status).toBe(expected);
    expect(remains()).toEqual([]);
  });

  it('is left running with --keep, refuses a second one meanwhile, and ends well on Ctrl-C', async () => {
    const run = new Run(['--fast', '--keep']);
    await run.printed('Ctrl-C here ends it');
    const second = await new Run(['--fast']).ended;
    expect(second.status).toBe(1);
    expect(second.stderr).toContain(`another demo is running (process ${run.child.pid})`);
    const status = execFileSync(process.execPath, [entry, 'status', '--json', '--socket', `${DIRECTORY}/control.sock`]);
    expect(JSON.parse(status.toString())).toMatchObject({ ready: true, ports: { up: 3, down: 0, waiting: 0 } });
    run.child.kill('SIGINT');
    const ended = await run.ended;
    expect(ended.status).toBe(0);
    expect(remains()).toEqual([]);
  });

  it('clears away what a killed demo left', async () => {
    const killed = new Run(['--fast']);
    await killed.printed('2/6');
    killed.child.kill('SIGKILL');
    await killed.ended;
    expect(remains()).not.toEqual([]);
    const { status, stderr } = await new Run(['--fast']).ended;
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(remains()).toEqual([]);
  });

  it('says which program is missing and what to install', async () => {
    const { status, stdout, stderr } = await new Run([], { PATH: '/nowhere' }).ended;
    expect(status).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain('ip and ping: not installed');
    expect(stderr).toContain('apt-get install iproute2 iputils-ping');
  });
});
