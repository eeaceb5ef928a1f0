/** The daemon as a process: who gets the socket and the state directory, what signals do, and how it ends. */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { getPriority, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { RpcClient } from '../../src/control/rpc-client.js';
import type { StatusResult } from '../../src/control/shapes.js';
import { sleep } from '../suites/bench-worker.js';
import { type BuiltCli, buildCli } from './built-cli.js';

let built: BuiltCli;
let directory: string;
const running = new Set<ChildProcess>();

beforeAll(() => {
  built = buildCli();
  const kernels = join(dirname(built.script), 'kernels');
  mkdirSync(kernels, { recursive: true });
  copyFileSync(join(import.meta.dirname, '../../dist/kernels/kernels.wasm'), join(kernels, 'kernels.wasm'));
});
afterAll(() => built.remove());
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-daemon-'));
  writeFileSync(
    join(directory, 'weft.yaml'),
    'version: 1\nnetworks: { lab: { type: local } }\nports: { a: { kind: memory, network: lab } }\n',
  );
});
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

interface Daemon {
  readonly socket: string;
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

function start(socketName = 'control', stateName = 'state', more: readonly string[] = []): Daemon {
  const socket = join(directory, socketName, 'socket');
  const where = [
    '--config',
    join(directory, 'weft.yaml'),
    '--socket',
    socket,
    '--state-dir',
    join(directory, stateName),
  ];
  const args = [built.script, 'daemon', ...where, '--metrics', 'off', '--io', 'poll', ...more];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  running.add(child);
  let stderr = '';
  child.stderr?.on('data', (octets: Buffer) => {
    stderr += octets.toString();
  });
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (status, signal) => {
      running.delete(child);
      resolve({ status, signal, stderr });
    });
  });
  return { socket, child, ended };
}

/** The first status that says ready. */
async function ready(daemon: Daemon): Promise<StatusResult> {
  const end = performance.now() + 20_000;
  for (;;) {
    try {
      const client = await RpcClient.connect(daemon.socket);
      const status = (await client.call('status')) as StatusResult;
      client.close();
      if (status.ready) return status;
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await sleep(5);
  }
}

test('it is ready with its ports, ends in order when told to, and leaves no socket', async () => {
  const daemon = start();
  expect(await ready(daemon)).toMatchObject({ pid: daemon.child.pid, ports: { up: 1, down: 0, waiting: 0 } });
  daemon.child.kill('SIGTERM');
  expect(await daemon.ended).toMatchObject({ status: 0, signal: null });
  expect(existsSync(daemon.socket)).toBe(false);
});

test('a second one at the same socket, or in the same state directory, refuses and leaves the first alone', async () => {
  const first = start();
  await ready(first);
  const sameState = await start('elsewhere').ended;
  expect(sameState).toMatchObject({ status: 1 });
  expect(sameState.stderr).toContain(`another daemon (process ${first.child.pid}) uses the state directory`);
  expect(existsSync(join(directory, 'elsewhere'))).toBe(false);
  const sameSocket = await start('control', 'other').ended;
  expect(sameSocket).toMatchObject({ status: 1 });
  expect(sameSocket.stderr).toContain('another daemon answers at');
  expect(existsSync(join(directory, 'other/config'))).toBe(false);
  expect((await ready(first)).ports.up).toBe(1);
});

test('one that is killed is followed by another on the same socket and state', async () => {
  const first = start();
  await ready(first);
  first.child.kill('SIGKILL');
  await first.ended;
  const second = start();
  expect(await ready(second)).toMatchObject({ pid: second.child.pid, ready: true });
});

test('told to end while it starts it ends in order, whenever that is', async () => {
  for (const delayMs of [150, 300, 450, 600]) {
    const daemon = start();
    await sleep(delayMs);
    daemon.child.kill('SIGTERM');
    const { status, signal } = await daemon.ended;
    // Before it listens for signals (Node is still loading) the signal itself ends it.
    expect(status === 0 || signal === 'SIGTERM', `${delayMs} ms: ${status} ${signal}`).toBe(true);
    expect(existsSync(daemon.socket)).toBe(false);
  }
  await ready(start());
});

test('a configuration that is refused leaves the socket and the state free', async () => {
  const good = join(directory, 'weft.yaml');
  writeFileSync(good, 'version: 1\nports: { a: { kind: memory, network: nowhere } }\n');
  const refused = await start().ended;
  expect(refused.status).toBe(1);
  expect(refused.stderr).toContain('nowhere');
  writeFileSync(good, 'version: 1\n');
  await ready(start());
});

test('threads that work in the background give way to the main thread and the workers', async () => {
  const daemon = start('control', 'state', ['--workers', '2']);
  await ready(daemon);
  const tasks = `/proc/${daemon.child.pid}/task`;
  const niceOf = (thread: string) =>
    Number(readFileSync(`${tasks}/${thread}/stat`, 'utf8').split(') ')[1].split(' ')[16]);
  const nice = Object.fromEntries(readdirSync(tasks).map((thread) => [thread, niceOf(thread)]));
  const own = niceOf(String(daemon.child.pid));
  expect(own).toBe(getPriority(process.pid));
  // V8 has four of them.
  expect(Object.values(nice).filter((one) => one === own + 5).length).toBeGreaterThanOrEqual(4);
  expect(Object.values(nice).filter((one) => one === own).length).toBeGreaterThanOrEqual(3);
});
