// Compiles the AssemblyScript kernels. Used by the build and, when the module is missing or stale, by the tests.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const source = `${root}src/kernels/kernels.as.ts`;
const target = `${root}dist/kernels/kernels.wasm`;

/** Compiles into a file of its own and renames it, so that a test run beside a build never loads half a module. */
export function buildKernels() {
  mkdirSync(`${root}dist/kernels`, { recursive: true });
  const fresh = `${target}.${process.pid}`;
  const asc = [
    'src/kernels/kernels.as.ts',
    '--outFile',
    fresh,
    '--runtime',
    'stub',
    '--importMemory',
    '--noExportMemory',
    '--enable',
    'simd',
    '--enable',
    'bulk-memory',
    '-O3',
    '--converge',
    '--noAssert',
  ];
  execFileSync(`${root}node_modules/.bin/asc`, asc, { cwd: root, stdio: 'inherit' });
  renameSync(fresh, target);
}

export function kernelsAreStale() {
  return !existsSync(target) || statSync(target).mtimeMs < statSync(source).mtimeMs;
}
