/** Compiles the C references and traffic programs into bench/out/, once a run. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const sources = fileURLToPath(new URL('./reference/', import.meta.url));
const out = fileURLToPath(new URL('./out/', import.meta.url));

const programs = /** @type {const} */ (['patch-readwrite', 'patch-uring', 'generator', 'peer']);

/**
 * Path of a compiled program.
 * @param {(typeof programs)[number]} name
 */
export const program = (name) => `${out}${name}`;

export function buildReferences() {
  mkdirSync(out, { recursive: true });
  for (const name of programs) {
    try {
      execFileSync('gcc', ['-O2', '-Wall', '-o', `${out}${name}`, `${sources}${name}.c`], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
    } catch (error) {
      const missing = /** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT';
      if (missing) throw new Error('The benchmark needs a C compiler: apt-get install gcc libc6-dev linux-libc-dev');
      throw error;
    }
  }
}
