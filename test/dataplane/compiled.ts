/** Source files as worker threads can load them: they run JavaScript from disk, whatever the tests themselves are run by. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import ts from 'typescript';

const source = resolve(import.meta.dirname, '../../src');

/**
 * Compiles files of src (`dataplane/shared-table.ts`) and a script that imports them as `./dataplane/shared-table.js`.
 * The directory lies under node_modules, so that packages are found.
 */
export function compiled(files: readonly string[], script: string): { readonly script: string; remove(): void } {
  const cache = join(source, '../node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const directory = mkdtempSync(join(cache, 'weft-test-'));
  const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true };
  for (const file of files) {
    const path = join(directory, relative(source, join(source, file))).replace(/\.ts$/, '.js');
    mkdirSync(dirname(path), { recursive: true });
    const text = readFileSync(join(source, file), 'utf8');
    writeFileSync(path, ts.transpileModule(text, { compilerOptions: options }).outputText);
  }
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  writeFileSync(join(directory, 'script.js'), script);
  return { script: join(directory, 'script.js'), remove: () => rmSync(directory, { recursive: true, force: true }) };
}
