#!/usr/bin/env node
// Builds dist/: the AssemblyScript kernels to WebAssembly, then the TypeScript, then marks dist/weft.js executable.
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { buildKernels } from './kernels.mjs';

const bin = (name) => new URL(`../node_modules/.bin/${name}`, import.meta.url).pathname;
const root = new URL('..', import.meta.url).pathname;

rmSync(new URL('../dist', import.meta.url), { recursive: true, force: true });
buildKernels();
execFileSync(bin('tsc'), ['-p', 'tsconfig.json'], { cwd: root, stdio: 'inherit' });
if (existsSync(new URL('../dist/weft.js', import.meta.url)))
  chmodSync(new URL('../dist/weft.js', import.meta.url), 0o755);
