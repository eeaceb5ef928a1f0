#!/usr/bin/env node
// Builds dist/: the AssemblyScript kernels to WebAssembly, then the TypeScript, then marks dist/weft.js executable.
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { inlineConstants } from './inline-constants.mjs';
import { buildKernels } from './kernels.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const entry = `${root}dist/weft.js`;

/** As `tsc -p tsconfig.json`, with constants inlined. Returns whether there were no errors. */
function compile() {
  const config = ts.getParsedCommandLineOfConfigFile(`${root}tsconfig.json`, undefined, {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: report,
  });
  if (config === undefined) return false;
  const program = ts.createProgram(config.fileNames, config.options);
  const problems = [...config.errors, ...ts.getPreEmitDiagnostics(program)];
  problems.push(
    ...program.emit(undefined, undefined, undefined, undefined, { before: [inlineConstants(program)] }).diagnostics,
  );
  for (const problem of problems) report(problem);
  return problems.length === 0;
}

/** @param {ts.Diagnostic} diagnostic */
function report(diagnostic) {
  const host = { getCanonicalFileName: String, getCurrentDirectory: () => root, getNewLine: () => '\n' };
  process.stderr.write(ts.formatDiagnostics([diagnostic], host));
}

rmSync(`${root}dist`, { recursive: true, force: true });
buildKernels();
process.exitCode = compile() ? 0 : 1;
if (existsSync(entry)) chmodSync(entry, 0o755);
