/** Long documents are checked beside the main thread: with the same outcome, and while the daemon goes on answering. */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { compiledRulesOf } from '../../src/control/compile-acls.js';
import { DocumentChecks } from '../../src/control/document-checks.js';
import type { ResolvedAcl } from '../../src/control/resolved.js';
import { RpcClient } from '../../src/control/rpc-client.js';
import type { ChangeResult, StatusResult } from '../../src/control/shapes.js';
import type { UserError, UserFault } from '../../src/errors.js';
import { CONTROL_DOCUMENTS_MAX, DOCUMENT_DIRECT_LENGTH_MAX } from '../../src/limits.js';
import { sleep } from '../suites/bench-worker.js';
import { type BuiltCli, buildCli } from './built-cli.js';
import { check, faultsOf } from './configs.js';

const HEAD = 'version: 1\nnetworks: { lab: { type: local } }\nports:\n';
const PORT = '  a: { kind: memory, network: lab }\n';
/** Faults far into it, of the text and of what it means. */
const broken = (filling: string) => `${HEAD}${PORT}${filling}  b: { kind: memory, network: lba }\n  c: { knd: tap }\n`;
const comments = (length: number) => `# ${'x'.repeat(98)}\n`.repeat(Math.ceil(length / 101));

let built: BuiltCli;
let checks: DocumentChecks;
beforeAll(() => {
  built = buildCli();
  const kernels = join(dirname(built.script), 'kernels');
  mkdirSync(kernels, { recursive: true });
  copyFileSync(join(import.meta.dirname, '../../dist/kernels/kernels.wasm'), join(kernels, 'kernels.wasm'));
});
afterAll(() => built.remove());
beforeEach(() => {
  checks = new DocumentChecks(join(dirname(built.script), 'control/document-thread.js'));
  return () => checks.close();
});

async function refusals(text: string): Promise<readonly UserFault[]> {
  return await checks.check(text, 'switch.yaml').then(
    () => [],
    (error: UserError) => error.faults,
  );
}

test.each([
  ['short', ''],
  ['long', comments(DOCUMENT_DIRECT_LENGTH_MAX)],
])('a %s document is what it says, and its faults have their paths and lines', async (_length, filling) => {
  const whole = `${HEAD}${PORT}${filling}`;
  const { source, config, resolved } = await checks.check(whole, 'switch.yaml');
  expect({ value: source.value, config, resolved }).toEqual({
    value: check(whole).source.value,
    config: check(whole).config,
    resolved: check(whole).resolved,
  });
  const faults = await refusals(broken(filling));
  expect(faults.map(({ path }) => path)).toContain('ports.b.network');
  expect(faults).toEqual(faultsOf(() => check(broken(filling))));
  const cut = `${whole}  b: [1,\n`;
  expect(await refusals(cut)).toEqual(faultsOf(() => check(cut)));
});

test('a long document brings the ACLs in use compiled, as they would be here', async () => {
  const rules = Array.from({ length: 1500 }, (_, index) => ({
    action: 'deny',
    proto: index % 2 === 0 ? 'tcp' : 'udp',
    dst: `198.51.${index >> 8}.${index & 255}/32`,
    dstPort: String(1000 + index),
  }));
  const acl = (at: string) => ({ default: at, rules: at === 'permit' ? rules : rules.toReversed() });
  const document = (used: string) => ({
    version: 1,
    networks: { lab: { type: 'local' } },
    ports: { a: { kind: 'memory', network: 'lab', acl: { egress: used } } },
    acls: { one: acl('permit'), other: acl('deny') },
  });
  const texts = [document('one'), document('one'), document('other')].map((one) => JSON.stringify(one));
  for (const [turn, text] of texts.entries()) {
    expect(text.length).toBeGreaterThan(DOCUMENT_DIRECT_LENGTH_MAX);
    const { resolved } = await checks.check(text, 'switch.json');
    const here = check(text).resolved;
    const [used, unused] = turn < 2 ? ['one', 'other'] : ['other', 'one'];
    expect(resolved.acls.get(unused)).toEqual(here.acls.get(unused));
    const [there, expected] = [resolved, here].map(({ acls }) => acls.get(used) as ResolvedAcl);
    expect(there.matching).toEqual({ compiled: compiledRulesOf(expected) });
    expect('compiled' in there.matching && there.matching.compiled.words.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect({ ...there, matching: 0 }).toEqual({ ...expected, matching: 0 });
  }
});

test('only so many long documents wait; one more is refused, and the rest is checked', async () => {
  const text = `${HEAD}${PORT}${comments(DOCUMENT_DIRECT_LENGTH_MAX)}`;
  const asked = Array.from({ length: CONTROL_DOCUMENTS_MAX + 1 }, () => refusals(text));
  const faults = (await Promise.all(asked)).map(([fault]) => fault?.code);
  expect(faults).toEqual([...Array(CONTROL_DOCUMENTS_MAX).fill(undefined), 'busy']);
  expect(await refusals(text)).toEqual([]);
});

test('one being checked when the switch stops is refused', async () => {
  const refused = refusals(`${HEAD}${PORT}${comments(DOCUMENT_DIRECT_LENGTH_MAX)}`);
  await checks.close();
  expect(await refused).toMatchObject([{ code: 'busy', message: 'the switch is stopping' }]);
});

/** A daemon of its own, killed at the end of the work. */
async function withDaemon(work: (socket: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'weft-documents-'));
  const config = join(directory, 'weft.yaml');
  const socket = join(directory, 'run', 'socket');
  writeFileSync(config, HEAD + PORT);
  const places = ['--config', config, '--socket', socket, '--state-dir', join(directory, 'state')];
  const words = [built.script, 'daemon', ...places, '--metrics', 'off', '--io', 'poll'];
  const child: ChildProcess = spawn(process.execPath, words, { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('close', resolve));
  try {
    for (let isReady = false; !isReady && child.exitCode === null; await sleep(5)) {
      isReady = await status(socket)
        .then(({ ready }) => ready)
        .catch(() => false);
    }
    await work(socket);
  } finally {
    child.kill('SIGKILL');
    await ended;
    rmSync(directory, { recursive: true, force: true });
  }
}

async function status(socket: string): Promise<StatusResult> {
  const client = await RpcClient.connect(socket);
  try {
    return (await client.call('status')) as StatusResult;
  } finally {
    client.close();
  }
}

/** About 12 MiB, with so many values that it takes seconds. */
function longDocument(): string {
  const port = (index: number) => `  p${index}: { kind: memory, network: lab, enabled: false }\n${comments(400)}`;
  return HEAD + PORT + Array.from({ length: 28_000 }, (_, index) => port(index)).join('');
}

test('while a document of 12 MiB is checked the daemon answers others', { timeout: 120_000 }, async () => {
  const text = `${longDocument()}  b: { kind: memory, network: lba }\n`;
  expect(text.length).toBeGreaterThan(12_000_000);
  const begun = performance.now();
  const expected = faultsOf(() => check(text));
  const directMs = performance.now() - begun;
  await withDaemon(async (socket) => {
    const sender = await RpcClient.connect(socket);
    const upload = await sender.sendDocument(text);
    let isOver = false;
    const applied = sender
      .call('config.apply', { upload, file: 'switch.yaml' })
      .then(
        (result) => (result as ChangeResult).changes,
        (error: unknown) => error,
      )
      .finally(() => {
        isOver = true;
      });
    const waits: number[] = [];
    const other = await RpcClient.connect(socket);
    for (let asked = performance.now(); !isOver; asked = performance.now()) {
      await other.call('status');
      waits.push(performance.now() - asked);
      await sleep(1);
    }
    expect(await applied).toMatchObject({ faults: expected });
    // The check takes as long as here; nobody waited for a good part of it.
    expect(waits.length).toBeGreaterThan(10);
    expect(Math.max(...waits)).toBeLessThan(directMs / 2);
    other.close();
    sender.close();
  });
});
