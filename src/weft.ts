#!/usr/bin/env node
/**
 * The `weft` executable: gives the command line its process (streams, signals, terminal) and the commands that start
 * something bigger (daemon, demo), which are loaded only when asked for, so that the others start at once.
 */
import { readFileSync } from 'node:fs';
import { runCommandLine } from './control/cli.js';
import type { DaemonOptions, DemoOptions, LocalRunners, Terminal } from './control/command.js';
import { commands } from './control/commands/registry.js';

const COLUMNS_DEFAULT = 80;
const ROWS_DEFAULT = 24;

function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** A module of the daemon's side, by its place beside this file: found when it is needed, not when weft starts. */
async function load<Module>(place: string): Promise<Module> {
  return (await import(new URL(place, import.meta.url).href)) as Module;
}

const runners: LocalRunners = {
  daemon: async (options) => {
    const { runDaemon } = await load<{ runDaemon(options: DaemonOptions): Promise<number> }>('./daemon.js');
    return await runDaemon(options);
  },
  demo: async (options) => {
    const { runDemo } = await load<{ runDemo(options: DemoOptions): Promise<number> }>('./demo/demo.js');
    return await runDemo(options);
  },
};

const terminal: Terminal = {
  interactive: process.stdout.isTTY === true,
  size: () => ({ columns: process.stdout.columns ?? COLUMNS_DEFAULT, rows: process.stdout.rows ?? ROWS_DEFAULT }),
  write: (text) => {
    process.stdout.write(text);
  },
  onResize: (callback) => {
    process.stdout.on('resize', callback);
    return () => process.stdout.off('resize', callback);
  },
  onKey: (callback) => {
    const { stdin } = process;
    if (!stdin.isTTY) return () => {};
    const onData = (octets: Buffer) => callback(octets.toString());
    stdin.setRawMode(true).resume().on('data', onData);
    return () => {
      stdin.off('data', onData).setRawMode(false).pause();
    };
  },
};

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** Resolves on SIGINT and SIGTERM, and when nobody reads the output any more (`weft drops --watch | head`). */
function stopWanted(isLocal: boolean): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      resolve();
      if (!isLocal) process.exit(0);
    });
    if (isLocal) return;
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
}

const words = process.argv.slice(2);
// The daemon and the demo end in their own way; they handle signals themselves.
const isLocal = words[0] === 'daemon' || words[0] === 'demo';
process.exitCode = await runCommandLine(words, {
  commands,
  runners,
  terminal,
  version: version(),
  environment: process.env,
  stopped: stopWanted(isLocal),
  out: (text) => process.stdout.write(`${text}\n`),
  err: (text) => process.stderr.write(`${text}\n`),
  readInput,
});
