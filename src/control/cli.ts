/**
 * The command line: parses it after the registry, runs the command, and turns whatever happens into stdout, stderr and
 * an exit status (0 done, 1 refused, 2 wrong usage, 3 no daemon). Runs in the operator's process.
 *
 * stdout carries the result and nothing else; with --json errors are `{ errors: [...] }` on stderr.
 */
import { CommanderError, Option, Command as Parser } from 'commander';
import type { CliContext, Command, CommandInput, LocalRunners, Terminal } from './command.js';
import { UsageError } from './command.js';
import { faultsOf, faultText } from './faults.js';
import { commandHelp, overviewHelp } from './help-text.js';
import { NoDaemonError, RpcClient, RpcError } from './rpc-client.js';
import { INVALID_PARAMS, METHOD_NOT_FOUND } from './rpc-message.js';
import type { FaultShape } from './shapes.js';

export const DONE = 0;
export const REFUSED_STATUS = 1;
export const WRONG_USAGE = 2;
export const NO_DAEMON = 3;
export const SOCKET_DEFAULT = '/run/weft/control.sock';

/** What the process gives the command line; tests give their own. */
export interface CliSurroundings {
  readonly commands: readonly Command[];
  readonly runners: LocalRunners;
  readonly terminal: Terminal;
  readonly version: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly stopped: Promise<void>;
  out(text: string): void;
  err(text: string): void;
  readInput(): Promise<string>;
}

interface Invocation {
  readonly command: Command;
  readonly input: CommandInput;
  readonly socket?: string;
}

/** Runs one command line (without node and script). Resolves to the exit status; never rejects. */
export async function runCommandLine(words: readonly string[], surroundings: CliSurroundings): Promise<number> {
  const json = wantsJson(words);
  const report = (faults: readonly FaultShape[]) => {
    surroundings.err(
      json ? JSON.stringify({ errors: faults }) : faults.map((fault) => `weft: ${faultText(fault)}`).join('\n'),
    );
  };
  let invocation: Invocation | undefined;
  try {
    invocation = parse(words, surroundings);
  } catch (error) {
    return endOfParsing(error, report, surroundings);
  }
  if (invocation === undefined) return DONE;
  const connection = new LazyConnection(
    invocation.socket ?? (surroundings.environment.WEFT_SOCKET || undefined) ?? SOCKET_DEFAULT,
  );
  try {
    return await invocation.command.run(contextOf(connection, json, report, surroundings), invocation.input);
  } catch (error) {
    const [status, faults] = outcomeOf(error);
    report(faults);
    return status;
  } finally {
    connection.close();
  }
}

function wantsJson(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  return words.slice(0, end === -1 ? words.length : end).includes('--json');
}

/** Status and faults of what a command threw. */
function outcomeOf(error: unknown): readonly [number, readonly FaultShape[]] {
  if (error instanceof UsageError) return [WRONG_USAGE, error.faults];
  if (error instanceof NoDaemonError) return [NO_DAEMON, [{ code: 'no-daemon', message: error.message }]];
  if (error instanceof RpcError) {
    const isUsage = error.rpcCode === INVALID_PARAMS || error.rpcCode === METHOD_NOT_FOUND;
    return [isUsage ? WRONG_USAGE : REFUSED_STATUS, error.faults];
  }
  const faults = faultsOf(error);
  if (faults !== undefined) return [REFUSED_STATUS, faults];
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return [REFUSED_STATUS, [{ code: 'internal', message }]];
}

function endOfParsing(
  error: unknown,
  report: (faults: readonly FaultShape[]) => void,
  surroundings: CliSurroundings,
): number {
  if (error instanceof HelpWanted) {
    if (error.isAnswer) surroundings.out(error.text.trimEnd());
    else surroundings.err(error.text.trimEnd());
    return error.isAnswer ? DONE : WRONG_USAGE;
  }
  if (error instanceof CommanderError) {
    const message = error.message.replace(/^error: /, '').replace('\n', ' ');
    report([{ code: 'bad-request', message }]);
    return WRONG_USAGE;
  }
  const [status, faults] = outcomeOf(error);
  report(faults);
  return status;
}

/** Help that was asked for, or that answers a command line which says too little. */
class HelpWanted extends Error {
  readonly text: string;
  readonly isAnswer: boolean;
  constructor(text: string, isAnswer: boolean) {
    super('help');
    this.text = text;
    this.isAnswer = isAnswer;
  }
}

function parse(words: readonly string[], surroundings: CliSurroundings): Invocation | undefined {
  const { commands, version } = surroundings;
  const [first = '', second = ''] = words;
  if (first === '') throw new HelpWanted(overviewHelp(commands, ''), false);
  if (first === 'help') throw new HelpWanted(helpFor(words.slice(1), commands), true);
  if (first === '--version' || first === '-V') throw new HelpWanted(version, true);
  if (first === '--help' || first === '-h') throw new HelpWanted(overviewHelp(commands, ''), true);
  const isNoun = commands.some((command) => command.words.startsWith(`${first} `));
  if (isNoun && (second === '' || second === '--help' || second === '-h')) {
    throw new HelpWanted(overviewHelp(commands, first), second !== '');
  }
  let found: Invocation | undefined;
  const parser = buildParser(commands, (invocation) => {
    found = invocation;
  });
  parser.parse([...words], { from: 'user' });
  return found;
}

function helpFor(words: readonly string[], commands: readonly Command[]): string {
  const wanted = words.join(' ');
  const command = commands.find((candidate) => candidate.words === wanted);
  if (command !== undefined) return commandHelp(command);
  if (wanted === '' || commands.some((candidate) => candidate.words.startsWith(`${wanted} `))) {
    return overviewHelp(commands, wanted);
  }
  throw new UsageError(`there is no command ${wanted}`);
}

function buildParser(commands: readonly Command[], run: (invocation: Invocation) => void): Parser {
  const root = quiet(new Parser('weft')).helpOption(false).helpCommand(false);
  const nouns = new Map<string, Parser>();
  for (const command of commands) {
    const [first = '', second] = command.words.split(' ');
    let parent = root;
    if (second !== undefined) {
      parent = nouns.get(first) ?? quiet(root.command(first)).helpOption(false).helpCommand(false);
      nouns.set(first, parent);
    }
    addCommand(parent.command(second ?? first, { hidden: command.hidden ?? false }), command, run);
  }
  return root;
}

/** Throws instead of ending the process, and leaves all printing to this file. */
function quiet(parser: Parser): Parser {
  return parser
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} })
    .showSuggestionAfterError(true);
}

function addCommand(parser: Parser, command: Command, run: (invocation: Invocation) => void): void {
  quiet(parser).helpOption(false).helpCommand(false).allowExcessArguments(false);
  for (const { name, required, variadic } of command.arguments) {
    const word = `${name}${variadic ? '...' : ''}`;
    parser.argument(required ? `<${word}>` : `[${word}]`);
  }
  for (const option of command.options) {
    const value = option.value === undefined ? '' : ' <value>';
    const built = new Option(`${option.short === undefined ? '' : `-${option.short}, `}--${option.name}${value}`);
    if (option.count) built.argParser((text) => countOf(option.name, text));
    parser.addOption(built);
  }
  parser.option('--socket <path>').option('--json').option('-h, --help');
  // Help is asked for before a missing argument is complained about.
  parser.on('option:help', () => {
    throw new HelpWanted(commandHelp(command), true);
  });
  parser.action(() => {
    const { socket, json: _json, help: _help, ...options } = parser.opts<Record<string, string | boolean | number>>();
    requireOptions(command, options);
    const input = { ...argumentsOf(command, parser), ...options };
    run({ command, input, ...(socket === undefined ? {} : { socket: String(socket) }) });
  });
}

/** After parsing, so that help and unknown options are answered first. */
function requireOptions(command: Command, options: Readonly<Record<string, unknown>>): void {
  for (const { name, required, value } of command.options) {
    const key = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    if (required && options[key] === undefined)
      throw new UsageError(`weft ${command.words} needs --${name} ${value ?? ''}`.trim());
  }
}

function argumentsOf(command: Command, parser: Parser): CommandInput {
  const given = parser.processedArgs as (string | readonly string[] | undefined)[];
  return Object.fromEntries(
    command.arguments.flatMap(({ name }, index) => {
      const value = given[index];
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}

function countOf(option: string, text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new UsageError(`--${option} ${text}: expected a whole number`);
}

/** Connects when the first question is asked: local commands need no daemon. */
class LazyConnection {
  readonly path: string;
  private client: Promise<RpcClient> | undefined;

  constructor(path: string) {
    this.path = path;
  }

  open(): Promise<RpcClient> {
    this.client ??= RpcClient.connect(this.path);
    return this.client;
  }

  close(): void {
    this.client?.then((client) => client.close()).catch(() => {});
  }
}

function contextOf(
  connection: LazyConnection,
  json: boolean,
  report: (faults: readonly FaultShape[]) => void,
  surroundings: CliSurroundings,
): CliContext {
  const { commands, runners, terminal, stopped } = surroundings;
  return {
    json,
    socket: connection.path,
    commands,
    runners,
    terminal,
    stopped,
    report,
    print: (text) => surroundings.out(text),
    warn: (text) => {
      if (!json) surroundings.err(`weft: ${text}`);
    },
    readInput: () => surroundings.readInput(),
    call: async (method, params) => (await connection.open()).call(method, params),
    sendDocument: async (text) => (await connection.open()).sendDocument(text),
    stream: async (method, params, callback) => {
      const client = await connection.open();
      client.onNotification(method, callback);
      return { result: await client.call(method, params), ended: client.closed() };
    },
  };
}
