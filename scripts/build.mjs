#!/usr/bin/env node
// Builds dist/: the AssemblyScript kernels to WebAssembly, then the TypeScript, then marks dist/weft.js executable.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';

const bin = (name) => new URL(`../node_modules/.bin/${name}`, import.meta.url).pathname;
const root = new URL('..', import.meta.url).pathname;
const run = (command, args) => execFileSync(command, args, { cwd: root, stdio: 'inherit' });

rmSync(new URL('../dist', import.meta.url), { recursive: true, force: true });
mkdirSync(new URL('../dist/kernels', import.meta.url), { recursive: true });
if (readdirSync(new URL('../src/kernels', import.meta.url)).some((name) => name.endsWith('.as.ts'))) {
  run(bin('asc'), [
    'src/kernels/kernels.as.ts',
    '--outFile', 'dist/kernels/kernels.wasm',
    '--runtime', 'stub', '--importMemory', '--noExportMemory',
    '--enable', 'simd', '--enable', 'bulk-memory',
    '-O3', '--converge', '--noAssert',
  ]);
}
run(bin('tsc'), ['-p', 'tsconfig.json']);
if (existsSync(new URL('../dist/weft.js', import.meta.url))) chmodSync(new URL('../dist/weft.js', import.meta.url), 0o755);
