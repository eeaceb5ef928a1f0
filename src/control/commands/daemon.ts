/** `weft daemon`: starts the switch. The daemon itself is given by weft.ts; this is its command line. */

import { WORKERS_MAX } from '../../limits.js';
import { type CliContext, type Command, type CommandInput, type DaemonOptions, UsageError } from '../command.js';

const IO_ENGINES = ['auto', 'uring', 'poll'] as const;
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export const METRICS_DEFAULT = '127.0.0.1:9617';

function workersOf(text: string): number | 'auto' {
  if (text === 'auto') return 'auto';
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= WORKERS_MAX) return count;
  throw new UsageError(`--workers ${text}: expected auto or 1 to ${WORKERS_MAX}`);
}

function choice<Word extends string>(option: string, text: string, words: readonly Word[]): Word {
  const word = words.find((candidate) => candidate === text);
  if (word !== undefined) return word;
  throw new UsageError(`--${option} ${text}: expected ${words.join(', ')}`);
}

function optionsOf(context: CliContext, input: CommandInput): DaemonOptions {
  const text = (name: string, absent: string) => String(input[name] ?? absent);
  const stateDir = input.stateDir;
  return {
    config: text('config', ''),
    ...(stateDir === undefined ? {} : { stateDir: String(stateDir) }),
    workers: workersOf(text('workers', 'auto')),
    io: choice('io', text('io', 'auto'), IO_ENGINES),
    metrics: text('metrics', METRICS_DEFAULT),
    logLevel: choice('log-level', text('logLevel', 'info'), LOG_LEVELS),
    socket: context.socket,
  };
}

const daemon: Command = {
  words: 'daemon',
  summary: 'Run the switch in the foreground.',
  description: [
    'Reads the configuration, opens its ports, and forwards frames until SIGTERM or SIGINT. Needs CAP_NET_ADMIN and CAP_NET_RAW for TAPs and interfaces (root has both).',
    'At start the file wins if it changed since it was last applied, else the saved copy in the state directory, which has in it what was changed while running. A file with a fault does not stop a switch that has a good saved copy.',
  ],
  arguments: [],
  options: [
    { name: 'config', value: 'FILE', summary: 'the configuration file', required: true, completes: 'file' },
    { name: 'state-dir', value: 'DIR', summary: 'where state survives a restart', completes: 'file' },
    {
      name: 'workers',
      value: 'N|auto',
      summary: 'dataplane threads (default: auto)',
      completes: ['auto', '1', '2', '4'],
    },
    { name: 'io', value: 'auto|uring|poll', summary: 'I/O engine (default: auto)', completes: IO_ENGINES },
    {
      name: 'metrics',
      value: 'HOST:PORT|off',
      summary: `Prometheus listener (default: ${METRICS_DEFAULT})`,
      completes: ['off'],
    },
    { name: 'log-level', value: 'L', summary: `${LOG_LEVELS.join(', ')} (default: info)`, completes: LOG_LEVELS },
  ],
  examples: [
    { command: 'weft daemon --config switch.yaml', shows: 'a switch in the foreground' },
    { command: 'weft daemon --config switch.yaml --metrics off --io poll', shows: 'one without io_uring and metrics' },
  ],
  methods: [],
  run: (context, input) => context.runners.daemon(optionsOf(context, input)),
};

export const daemonCommands = [daemon];
