#!/usr/bin/env node
// Builds dist/: the AssemblyScript kernels to WebAssembly, then the TypeScript, then marks dist/weft.js executable.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildKernels } from './kernels.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const entry = `${root}dist/weft.js`;

rmSync(`${root}dist`, { recursive: true, force: true });
buildKernels();
const { status } = spawnSync(`${root}node_modules/.bin/tsc`, ['-p', 'tsconfig.json'], { cwd: root, stdio: 'inherit' });
if (existsSync(entry)) chmodSync(entry, 0o755);
process.exitCode = status ?? 1;
