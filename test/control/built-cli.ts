/** The executable as it is after a build, made from the sources at hand in about a second (no type check, no kernels). */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';

const ROOT = new URL('../../', import.meta.url).pathname;

export interface BuiltCli {
  readonly script: string;
  remove(): void;
}

/** Below the repository, so that packages are found. */
export function buildCli(): BuiltCli {
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  const place = mkdtempSync(join(ROOT, '.cache', 'cli-'));
  const compilerOptions = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2022 };
  for (const file of sources()) {
    const { outputText } = ts.transpileModule(readFileSync(join(ROOT, file), 'utf8'), { compilerOptions });
    const target = join(place, file.replace(/^src/, 'dist').replace(/\.ts$/, '.js'));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, outputText);
  }
  copyFileSync(join(ROOT, 'package.json'), join(place, 'package.json'));
  return { script: join(place, 'dist', 'weft.js'), remove: () => rmSync(place, { recursive: true, force: true }) };
}

/** What the command line is made of: everything but the kernels, which it does not load. */
function sources(): string[] {
  const config = ts.parseJsonConfigFileContent(
    { include: ['src/**/*.ts'], exclude: ['src/kernels/*.as.ts'] },
    ts.sys,
    ROOT,
  );
  return config.fileNames.map((file) => file.slice(ROOT.length)).filter((file) => !file.endsWith('.d.ts'));
}
