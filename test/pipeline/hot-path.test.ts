/**
 * The steady state neither deoptimises nor allocates: V8 itself is asked, in a process that runs what the build makes.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Inside node_modules, so that packages are found from there. */
const built = join(root, 'node_modules', '.cache', `weft-hot-path-${process.pid}`);

interface Script {
  inlineConstants(program: ts.Program): ts.TransformerFactory<ts.SourceFile>;
}
const { inlineConstants } = (await import(join(root, 'scripts/inline-constants.mjs'))) as Script;

function sourcesIn(directory: string): string[] {
  return (readdirSync(join(root, directory), { recursive: true }) as string[])
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.as.ts') && !name.endsWith('.test.ts'))
    .map((name) => join(root, directory, name));
}

/** As scripts/build.mjs does it. */
function build(directories: readonly string[]): void {
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => {} };
  const config = ts.getParsedCommandLineOfConfigFile(join(root, 'tsconfig.json'), undefined, host);
  const options = { ...config!.options, rootDir: root, outDir: built };
  const program = ts.createProgram(directories.flatMap(sourcesIn), options);
  program.emit(undefined, undefined, undefined, undefined, { before: [inlineConstants(program)] });
}

beforeAll(() => {
  mkdirSync(built, { recursive: true });
  writeFileSync(join(built, 'package.json'), '{ "type": "module" }');
  build(['src', 'test/pipeline', 'test/wire', 'test/kernels']);
  copyFileSync(join(root, 'dist/kernels/kernels.wasm'), join(built, 'src/kernels/kernels.wasm'));
}, 120_000);

afterAll(() => rmSync(built, { recursive: true, force: true }));

interface Outcome {
  readonly deoptimised: string[];
  readonly collections: string[];
  readonly result: Readonly<
    Record<
      | 'received'
      | 'sent'
      | 'answered'
      | 'encapsulated'
      | 'decapsulated'
      | 'lost'
      | 'guardedSent'
      | 'connections'
      | 'routed',
      number
    >
  > & {
    readonly nat: { readonly out: number; readonly in: number; readonly drops: Readonly<Record<string, number>> };
    readonly fragmentDrops: readonly number[];
    readonly routerDrops: readonly number[];
    readonly policyDrops: Readonly<Record<string, number>>;
  };
}

function runChild(...args: string[]): Outcome {
  const child = join(built, 'test/pipeline/hot-path-child.js');
  const { stdout, stderr, status } = spawnSync(process.execPath, [child, ...args], {
    encoding: 'utf8',
    timeout: 110_000,
  });
  expect(status, stderr).toBe(0);
  const lines = stdout.split('\n');
  return {
    deoptimised: lines.filter((line) => line.includes('bailout') || line.includes('deoptimizing')),
    collections: lines.filter((line) => /Scavenge|Mark-Compact|Mark-sweep/i.test(line)),
    result: JSON.parse(lines.find((line) => line.startsWith('RESULT '))?.slice(7) ?? '{}') as Outcome['result'],
  };
}

test('a million frames of every kind deoptimise nothing and cause no garbage collection', { timeout: 120_000 }, () => {
  const { deoptimised, collections, result } = runChild();
  expect(result.received).toBeGreaterThanOrEqual(3_000_000);
  expect(result.sent).toBeGreaterThan(result.received / 10);
  expect(result.answered).toBeGreaterThan(1000);
  expect(result.encapsulated).toBeGreaterThan(result.received / 10);
  expect(result.decapsulated).toBeGreaterThan(result.received / 10);
  expect(result.lost).toBe(0);
  for (const count of result.fragmentDrops) expect(count).toBeGreaterThan(0);
  expect(result.connections).toBeGreaterThan(200);
  expect(result.guardedSent).toBeGreaterThan(result.received / 10);
  for (const [reason, count] of Object.entries(result.policyDrops)) expect(count, reason).toBeGreaterThan(0);
  expect(result.routed).toBeGreaterThan(result.received / 20);
  for (const count of result.routerDrops) expect(count).toBeGreaterThan(0);
  expect(result.nat.out).toBeGreaterThan(result.received / 100);
  expect(result.nat.in).toBeGreaterThan(result.received / 100);
  for (const [reason, count] of Object.entries(result.nat.drops)) expect(count, reason).toBeGreaterThan(0);
  expect(deoptimised).toEqual([]);
  expect(collections).toEqual([]);
});

test('the same measurement sees code that allocates and is deoptimised', { timeout: 120_000 }, () => {
  const { deoptimised, collections } = runChild('spoil');
  expect(deoptimised.length).toBeGreaterThan(0);
  expect(collections.length).toBeGreaterThan(0);
});
