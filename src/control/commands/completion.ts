/** `weft completion SHELL`, and what its scripts ask while the operator types. */
import { type CliContext, type Command, type CommandInput, UsageError } from '../command.js';
import { completionScript, SHELLS } from '../completion.js';
import { networkSchema, portSchema } from '../config-keys.js';
import { keysOf } from '../key-values.js';
import type { NetworkRow, PortRow, RouterRow } from '../shapes.js';
import { didYouMean } from '../suggest.js';

async function printScript(context: CliContext, input: CommandInput): Promise<number> {
  const wanted = String(input.shell);
  const shell = SHELLS.find((name) => name === wanted);
  if (shell === undefined) {
    throw new UsageError(`${wanted}: expected ${SHELLS.join(', ')}${didYouMean(wanted, SHELLS)}`);
  }
  context.print(completionScript(shell, context.commands).trimEnd());
  return 0;
}

/** Names of a kind, one a line. Whatever goes wrong is silence: the operator is in the middle of typing. */
async function printNames(context: CliContext, input: CommandInput): Promise<number> {
  const names = await namesOf(String(input.kind), context).catch(() => []);
  if (names.length > 0) context.print(names.join('\n'));
  return 0;
}

async function namesOf(kind: string, context: CliContext): Promise<readonly string[]> {
  if (kind === 'port') return ((await context.call('port.list', {})) as readonly PortRow[]).map(({ name }) => name);
  if (kind === 'network')
    return ((await context.call('network.list', {})) as readonly NetworkRow[]).map(({ name }) => name);
  if (kind === 'router')
    return ((await context.call('router.list', {})) as readonly RouterRow[]).map(({ name }) => name);
  const schema = kind === 'port-key' ? await portSchema() : kind === 'network-key' ? await networkSchema() : {};
  return (keysOf(schema) ?? []).map((key) => `${key}=`);
}

const completion: Command = {
  words: 'completion',
  summary: 'Print a completion script for bash, zsh or fish.',
  description: [
    'Commands, options and configuration keys complete at once; names of ports, networks and routers are asked of the running daemon, and silently left out without one.',
  ],
  arguments: [{ name: 'shell', summary: SHELLS.join(', '), required: true, completes: SHELLS }],
  options: [],
  examples: [
    { command: 'source <(weft completion bash)', shows: 'completion in this shell' },
    { command: 'weft completion fish | source', shows: 'the same in fish' },
  ],
  methods: [],
  run: printScript,
};

const complete: Command = {
  words: 'complete',
  summary: 'Print the names of a kind, for completion scripts.',
  description: [
    'Prints port, network, router, port-key or network-key names, one a line; nothing if no daemon answers.',
  ],
  arguments: [{ name: 'kind', summary: 'what to name', required: true, completes: 'none' }],
  options: [],
  examples: [{ command: 'weft complete port', shows: 'the names of the ports' }],
  hidden: true,
  methods: [],
  run: printNames,
};

export const completionCommands = [completion, complete];
