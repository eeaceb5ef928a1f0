/** Runs command lines in this process, against a fake switch behind a real control socket or without one. */
import { type CliSurroundings, runCommandLine } from '../../src/control/cli.js';
import type { Command, DaemonOptions, DemoOptions } from '../../src/control/command.js';
import { commands } from '../../src/control/commands/registry.js';

export interface Outcome {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

export interface CliOptions {
  readonly socket?: string;
  readonly input?: string;
  readonly interactive?: boolean;
  readonly stopped?: Promise<void>;
  readonly started?: (DaemonOptions | DemoOptions)[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly commands?: readonly Command[];
  /** What is printed, line by line, while the command still runs. */
  readonly printed?: string[];
  /** What is written to the terminal, and keys to press. */
  readonly screen?: string[];
  readonly keys?: { press?: (key: string) => void };
  readonly size?: { readonly columns: number; readonly rows: number };
}

export async function runCli(words: readonly string[], options: CliOptions = {}): Promise<Outcome> {
  const out = options.printed ?? [];
  const err: string[] = [];
  const start = async (wanted: DaemonOptions | DemoOptions) => {
    options.started?.push(wanted);
    return 0;
  };
  const surroundings: CliSurroundings = {
    commands: options.commands ?? commands,
    runners: { daemon: start, demo: start },
    terminal: {
      interactive: options.interactive ?? false,
      size: () => options.size ?? { columns: 80, rows: 24 },
      write: (text) => options.screen?.push(text),
      onResize: () => () => {},
      onKey: (callback) => {
        if (options.keys !== undefined) options.keys.press = callback;
        return () => {};
      },
    },
    version: '0.1.0',
    environment: options.environment ?? (options.socket === undefined ? {} : { WEFT_SOCKET: options.socket }),
    stopped: options.stopped ?? new Promise(() => {}),
    out: (text) => out.push(text),
    err: (text) => err.push(text),
    readInput: async () => options.input ?? '',
  };
  const status = await runCommandLine(words, surroundings);
  return { status, out: out.join('\n'), err: err.join('\n') };
}
