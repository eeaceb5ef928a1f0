/** Changes as the controller carries them out: real workers and memory ports behind a kind that records and can refuse. */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Controller, type ControllerOptions } from '../../src/control/controller.js';
import { diskFiles } from '../../src/control/store.js';
import { monotonicMs } from '../../src/dataplane/clock.js';
import type { PortHandle, PortKind } from '../../src/dataplane/port.js';
import { memory, memoryStation } from '../../src/dataplane/ports/memory.js';
import { OperatingError } from '../../src/errors.js';
import { SAMPLE_PERIOD_MS } from '../../src/limits.js';
import { sleep, until } from '../suites/bench-worker.js';
import { testFrame } from '../suites/port-suite.js';
import { type BuiltCli, buildCli } from './built-cli.js';

let built: BuiltCli;
let workerFile: string;
beforeAll(() => {
  built = buildCli();
  const dist = dirname(built.script);
  mkdirSync(join(dist, 'kernels'), { recursive: true });
  copyFileSync(join(import.meta.dirname, '../../dist/kernels/kernels.wasm'), join(dist, 'kernels/kernels.wasm'));
  workerFile = join(dist, 'worker.js');
});
afterAll(() => built.remove());

/** Memory ports whose opening and closing is written down, and refused for devices in `refused`. */
class RecordingKind implements PortKind {
  readonly kind = 'memory';
  readonly facesVm = true;
  readonly calls: string[] = [];
  readonly refused = new Set<string>();
  readonly failsToClose = new Set<string>();

  async open(...[intent, watcher, kept]: Parameters<PortKind['open']>): Promise<PortHandle> {
    if (this.refused.has(intent.device)) throw new OperatingError(`${intent.device} is refused`);
    this.calls.push(`open ${intent.device}`);
    const handle = await memory.open(intent, watcher, kept);
    return {
      close: async (fate) => {
        this.calls.push(`${fate} ${intent.device}`);
        await handle.close(fate);
        if (this.failsToClose.has(intent.device)) throw new OperatingError(`${intent.device} can't be closed`);
      },
      released: () => handle.released(),
    };
  }
}

let directory: string;
let kind: RecordingKind;
let controller: Controller | undefined;
const errors: string[] = [];
const warnings: string[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-controller-'));
  kind = new RecordingKind();
  errors.length = 0;
  warnings.length = 0;
});
afterEach(async () => {
  await controller?.close();
  controller = undefined;
  rmSync(directory, { recursive: true, force: true });
});

function options(text: string, more: Partial<ControllerOptions> = {}): ControllerOptions {
  const configFile = join(directory, 'weft.yaml');
  writeFileSync(configFile, text);
  return {
    version: '0',
    configFile,
    stateDirectory: join(directory, 'state'),
    workers: 1,
    io: 'poll',
    workerFile,
    documentFile: join(dirname(workerFile), 'control/document-thread.js'),
    kinds: new Map([['memory', kind]]),
    log: {
      info: () => {},
      warn: (context, message) => warnings.push(`${(context as { port?: string }).port}: ${message}`),
      error: (_, message) => errors.push(message),
    },
    ...more,
  };
}

async function start(text: string, more: Partial<ControllerOptions> = {}): Promise<Controller> {
  controller = await Controller.start(options(text, more));
  return controller;
}

const port = (name: string, more = '') => `  ${name}: { kind: memory, network: lab${more} }\n`;
const config = (...ports: string[]) => `version: 1\nnetworks: { lab: { type: local } }\nports:\n${ports.join('')}`;
const apply = (text: string) => controller!.apply({ text, file: 'test.yaml' }, false);

const A = [0x02, 0, 0, 0, 0, 0x0a];
const B = [0x02, 0, 0, 0, 0, 0x0b];
function frame(to: readonly number[], from: readonly number[]): Uint8Array {
  const octets = testFrame(100);
  octets.set(to, 0);
  octets.set(from, 6);
  return octets;
}

/** Sends from one device and waits for the frame at the other. */
async function passes(from: string, to: string): Promise<boolean> {
  memoryStation(from)?.send(frame(B, A));
  return (await memoryStation(to)?.receiveWithin(2000)) !== undefined;
}

function indexOf(name: string): number {
  const index = controller?.running.indices.port(name);
  if (index === undefined) throw new Error(`no port ${name}`);
  return index;
}

describe('a change', () => {
  test('is in force when it returns, and touches only what it names', async () => {
    const { dataplane } = await start(config(port('a'), port('b')));
    await apply(config(port('a'), port('b'), port('c')));
    expect(kind.calls).toEqual(['open a', 'open b', 'open c']);
    expect(await passes('a', 'c')).toBe(true);
    expect(dataplane.statistics.port(indexOf('a'), 'a').rx).toMatchObject({ frames: 1, forwarded: 1 });
  });

  test('that is only looked at changes nothing', async () => {
    await start(config(port('a')));
    const before = JSON.stringify(controller!.document());
    const result = await controller!.apply({ text: config(port('b')), file: 'test.yaml' }, true);
    expect(result.applied).toBe(false);
    expect(result.changes.length).toBeGreaterThan(0);
    expect(kind.calls).toEqual(['open a']);
    expect(JSON.stringify(controller!.document())).toBe(before);
  });

  test('whose save fails behind the rename is in force, told with a warning, and there after a restart', async () => {
    let fails = false;
    const sync = (path: string) =>
      fails && path.endsWith('/config') ? Promise.reject(new Error('EIO')) : diskFiles.sync(path);
    const storeFiles = { ...diskFiles, sync };
    await start(config(port('a')), { storeFiles });
    fails = true;
    const result = await apply(config(port('a'), port('b')));
    expect(result).toMatchObject({ applied: true, warnings: [expect.stringContaining('may not survive a power cut')] });
    expect(await passes('a', 'b')).toBe(true);
    await controller!.close();
    await start(config(port('a')));
    expect([...controller!.running.checked.resolved.ports.keys()]).toEqual(['a', 'b']);
  });

  test('whose save fails before the rename is undone, and not there after a restart', async () => {
    let fails = false;
    const rename = (from: string, to: string) =>
      fails ? Promise.reject(new Error('EIO')) : diskFiles.rename(from, to);
    await start(config(port('a')), { storeFiles: { ...diskFiles, rename } });
    fails = true;
    await expect(apply(config(port('a'), port('b')))).rejects.toThrow('could not be saved');
    expect([...controller!.running.checked.resolved.ports.keys()]).toEqual(['a']);
    await controller!.close();
    await start(config(port('a')));
    expect([...controller!.running.checked.resolved.ports.keys()]).toEqual(['a']);
  });

  test('of a port’s device settings closes it, keeps the device, and opens it again', async () => {
    await start(config(port('a'), port('b')));
    await apply(config(port('a', ', mtu: 1400'), port('b')));
    expect(kind.calls).toEqual(['open a', 'open b', 'keep a', 'open a']);
    expect(controller!.dataplane.snapshot.portMtu[indexOf('a')]).toBe(1400);
    expect(await passes('b', 'a')).toBe(true);
  });

  test('of a port’s device gives the old one up', async () => {
    await start(config(port('a'), port('b')));
    await apply(config(port('a', ', device: other'), port('b')));
    expect(kind.calls).toEqual(['open a', 'open b', 'remove a', 'open other']);
  });

  test('that gives a removed port’s device to another closes the one before it opens the other', async () => {
    await start(config(port('a'), port('b')));
    await apply(config(port('renamed', ', device: a'), port('b')));
    expect(kind.calls).toEqual(['open a', 'open b', 'remove a', 'open a']);
    expect(await passes('b', 'a')).toBe(true);
  });

  test('that swaps two devices closes both before it opens either', async () => {
    await start(config(port('a', ', device: one'), port('b', ', device: two')));
    await apply(config(port('a', ', device: two'), port('b', ', device: one')));
    expect(kind.calls.slice(2)).toEqual(['remove one', 'remove two', 'open two', 'open one']);
    expect(await passes('one', 'two')).toBe(true);
  });
});

describe('a change that fails', () => {
  test('in the middle of opening leaves everything as it was, and says which port', async () => {
    await start(config(port('a'), port('b'), port('old')));
    kind.refused.add('bad');
    const refused = apply(config(port('a', ', mtu: 1400'), port('b'), port('c'), port('d', ', device: bad')));
    await expect(refused).rejects.toThrow('ports.d: bad is refused');
    expect([...controller!.running.checked.resolved.ports.keys()]).toEqual(['a', 'b', 'old']);
    expect(controller!.dataplane.ports.status(indexOf('a'))).toMatchObject({ state: 'up', open: { mtu: 1500 } });
    expect(memoryStation('c')).toBeUndefined();
    expect(await passes('a', 'b')).toBe(true);
    expect(await passes('a', 'old')).toBe(true);
  });

  test('to be saved leaves everything as it was', async () => {
    await start(config(port('a'), port('b')));
    rmSync(join(directory, 'state/config'), { recursive: true });
    await expect(apply(config(port('a'), port('c')))).rejects.toThrow('could not be saved');
    expect(memoryStation('c')).toBeUndefined();
    expect(await passes('a', 'b')).toBe(true);
    mkdirSync(join(directory, 'state/config'), { mode: 0o700 });
    await apply(config(port('a'), port('c')));
    expect(await passes('a', 'c')).toBe(true);
  });

  test('to close a removed port is in force all the same, and logged', async () => {
    await start(config(port('a'), port('b'), port('c')));
    kind.failsToClose.add('c');
    await apply(config(port('a'), port('b')));
    expect(errors).toEqual(['a port could not be closed']);
    expect([...controller!.running.indices.ports.keys()]).toEqual(['a', 'b']);
    expect(await passes('a', 'b')).toBe(true);
  });
});

describe('a port that takes over an index', () => {
  test('begins with no counts, no addresses, no block and full buckets', async () => {
    const { dataplane } = await start(config(port('a'), port('old')));
    await passes('old', 'a');
    const index = indexOf('old');
    await until('learned', () => dataplane.fdb.learnedByPort(index) === 1);
    // Blocked as a loop's later end is: 21 moves of one station within a second.
    for (let move = 0; move < 21; move++) dataplane.loops.noteMove(1, 2, 3, index, 1000);
    expect(dataplane.loops.blockedUntil(index) > 1000).toBe(true);
    await apply(config(port('a')));
    expect(dataplane.fdb.learnedByPort(index)).toBe(0);
    await apply(config(port('a'), port('new')));
    expect(indexOf('new')).toBe(index);
    expect(dataplane.loops.blockedUntil(index) > 1000).toBe(false);
    expect(dataplane.statistics.port(index, 'new').rx.frames).toBe(0);
    expect(await passes('new', 'a')).toBe(true);
  });
});

describe('a port that is blocked for a loop', () => {
  test('is logged once for each block', async () => {
    const { dataplane } = await start(config(port('a'), port('b')));
    const now = monotonicMs();
    for (let move = 0; move < 21; move++) dataplane.loops.noteMove(1, 2, indexOf('a'), indexOf('b'), now);
    await until('logged', () => warnings.length > 0);
    expect(warnings).toEqual(['b: a station keeps moving: the port is blocked (loop)']);
    await sleep(SAMPLE_PERIOD_MS * 1.5);
    expect(warnings).toHaveLength(1);
  });
});

describe('ports that come and go by themselves', () => {
  test('while a change is running are seen when it is over', async () => {
    await start(config(port('a'), port('b')));
    const change = apply(config(port('a'), port('b'), port('c')));
    memoryStation('b')?.vanish();
    await change;
    expect(controller!.dataplane.ports.status(indexOf('b')).state).toBe('waiting');
    const { dataplane } = controller!;
    await until('the port is closed', () => dataplane.snapshot.portMode[indexOf('b')] === 0);
    memoryStation('b')?.appear();
    await until('it is open again', () => dataplane.snapshot.portMode[indexOf('b')] !== 0);
    expect(await passes('a', 'b')).toBe(true);
  });

  test('and are removed in the same moment are gone', async () => {
    await start(config(port('a'), port('b')));
    memoryStation('b')?.vanish();
    await apply(config(port('a')));
    await sleep(20);
    expect(memoryStation('b')).toBeUndefined();
    expect(kind.calls).toEqual(['open a', 'open b', 'remove b']);
  });
});

describe('a worker that dies', () => {
  /** An order that no controller gives ends a worker by an exception. */
  const killWorker = () =>
    controller!.dataplane.workers.order(0, { type: 'attach', port: 4000, transports: null as never, receives: true });

  test('goes on where it was: ports, addresses, and the change that was under way', async () => {
    const { dataplane } = await start(config(port('a'), port('b')));
    await passes('a', 'b');
    killWorker();
    await apply(config(port('a'), port('b'), port('c')));
    await until('it is back', () => dataplane.workers.seats[0]?.restarts === 1);
    expect(await passes('a', 'b')).toBe(true);
    expect(dataplane.fdb.learnedByPort(indexOf('a'))).toBe(1);
    expect(await passes('b', 'c')).toBe(true);
  });

  test('leaves no descriptor behind, by either engine', async () => {
    for (const io of ['poll', 'uring'] as const) {
      await start(config(port('a'), port('b')), { io });
      const before = readdirSync('/proc/self/fd').length;
      for (let death = 1; death <= 3; death++) {
        killWorker();
        await until('it is back', () => {
          const seat = controller?.dataplane.workers.seats[0];
          return seat?.restarts === death && seat.state === 'running';
        });
      }
      expect(readdirSync('/proc/self/fd').length, io).toBe(before);
      await controller?.close();
    }
  });
});

describe('a start', () => {
  test('that fails keeps the devices it had opened: machines may be behind them', async () => {
    kind.refused.add('bad');
    await expect(start(config(port('a'), port('b', ', device: bad')))).rejects.toThrow('ports.b: bad is refused');
    expect(kind.calls).toEqual(['open a', 'keep a']);
  });

  test('that is told to stop opens no more ports, and keeps those it opened', async () => {
    const stopping = new AbortController();
    const open = kind.open.bind(kind);
    kind.open = async (...given) => {
      stopping.abort();
      return await open(...given);
    };
    const started = start(config(port('a'), port('b')), { stopping: stopping.signal });
    await expect(started).rejects.toThrow(/abort/);
    expect(kind.calls).toEqual(['open a', 'keep a']);
  });

  test('with workers that can not run says why, instead of waiting for ever', async () => {
    const broken = join(directory, 'broken.mjs');
    writeFileSync(broken, 'export function runWorker() { throw new Error("io_uring_setup: EPERM"); }');
    const started = start(config(port('a')), { workerFile: broken });
    await expect(started).rejects.toThrow("worker 0 can't start: io_uring_setup: EPERM");
    expect(kind.calls).toEqual([]);
  });
});

test('closing the controller keeps the devices', async () => {
  await start(config(port('a')));
  await controller?.close();
  expect(kind.calls).toEqual(['open a', 'keep a']);
});
