/**
 * What a command is. A command file in commands/ exports commands, commands/registry.ts lists them; everything else
 * (the method on the control socket, the command line, help, completion) follows from the definition.
 */
import { z } from 'zod';
import { parseIp } from '../wire/address.js';
import type { FaultShape } from './shapes.js';
import type { SwitchControl } from './switch-control.js';

/** What the server keeps for one client while a method runs. */
export interface RpcSession {
  /** The text sent in pieces before (document.begin, document.append); can be taken once. */
  takeDocument(token: string): string;
  /**
   * Goes on after the answer: `start` is called once the answer is sent, and what it passes to `notify` goes to the
   * client as a notification of the same method, until the client closes; then what `start` returned is called.
   */
  stream(start: (notify: (params: object) => void) => () => void): void;
}

export interface RpcMethod {
  readonly name: string;
  readonly summary: string;
  readonly params: z.ZodObject;
  /** `params` have passed the schema. */
  serve(control: SwitchControl, params: unknown, session: RpcSession): Promise<unknown>;
}

/** What can stand at a place of the command line, for completion. A list: these words. */
export type CompletionHint =
  | 'port'
  | 'network'
  | 'router'
  | 'port-key'
  | 'network-key'
  | 'file'
  | 'none'
  | readonly string[];

export interface CommandArgument {
  readonly name: string;
  readonly summary: string;
  readonly required: boolean;
  readonly variadic?: boolean;
  readonly completes: CompletionHint;
}

export interface CommandOption {
  /** As on the command line, without dashes: `dry-run`. Its name as a parameter is camelCase: `dryRun`. */
  readonly name: string;
  readonly short?: string;
  /** What the value is called in the synopsis; absent on a flag. */
  readonly value?: string;
  readonly summary: string;
  /** The value is a whole number. */
  readonly count?: boolean;
  readonly required?: boolean;
  readonly completes?: CompletionHint;
}

export interface CommandExample {
  readonly command: string;
  readonly shows: string;
}

/** Arguments and options by name; absent ones are missing. */
export type CommandInput = Readonly<Record<string, string | readonly string[] | boolean | number>>;

export interface Command {
  /** `port add` */
  readonly words: string;
  readonly summary: string;
  /** Paragraphs. */
  readonly description: readonly string[];
  readonly arguments: readonly CommandArgument[];
  readonly options: readonly CommandOption[];
  readonly examples: readonly CommandExample[];
  /** Lines `N  meaning` that differ from, or add to, the common ones. */
  readonly exitStatus?: readonly string[];
  /** Not shown in help or completion. */
  readonly hidden?: boolean;
  /** Methods of the control socket that this command brings. */
  readonly methods: readonly RpcMethod[];
  /** Runs in the operator's process; returns the exit status. */
  run(context: CliContext, input: CommandInput): Promise<number>;
}

/** The terminal a full-screen view draws on. */
export interface Terminal {
  readonly interactive: boolean;
  size(): { readonly columns: number; readonly rows: number };
  write(text: string): void;
  /** Calls back on a new size. Returns the end of it. */
  onResize(callback: () => void): () => void;
  /** Calls back with each key pressed, and with 'ctrl-c' when asked to end. Returns the end of it. */
  onKey(callback: (key: string) => void): () => void;
}

export interface DaemonOptions {
  readonly config: string;
  readonly stateDir?: string;
  readonly workers: number | 'auto';
  readonly io: 'auto' | 'uring' | 'poll';
  /** HOST:PORT, or off. */
  readonly metrics: string;
  readonly logLevel: string;
  readonly socket: string;
}

export interface DemoOptions {
  readonly json: boolean;
  /** No pauses between the scenes. */
  readonly fast: boolean;
  /** Leave the network up after the last scene, until Ctrl-C. */
  readonly keep: boolean;
}

/** What the command line starts but may not import: given by weft.ts. Each resolves to an exit status. */
export interface LocalRunners {
  daemon(options: DaemonOptions): Promise<number>;
  demo(options: DemoOptions): Promise<number>;
}

/** Where a command runs: its surroundings, all replaceable in tests. */
export interface CliContext {
  readonly json: boolean;
  readonly socket: string;
  readonly commands: readonly Command[];
  readonly runners: LocalRunners;
  readonly terminal: Terminal;
  /** To stdout; a newline is added. */
  print(text: string): void;
  /** To stderr, a line for the operator; nothing with --json. */
  warn(text: string): void;
  /** Errors of a command that goes on (check): to stderr, as text or as `{ errors }`. */
  report(faults: readonly FaultShape[]): void;
  /** All of stdin. */
  readInput(): Promise<string>;
  /** Asks the daemon; connects on first use. */
  call(method: string, params: object): Promise<unknown>;
  /** Sends a document that may be longer than a message; resolves to what names it as the parameter `upload`. */
  sendDocument(text: string): Promise<string>;
  /**
   * Calls a method that goes on after its answer. `callback` gets each notification's parameters, all of them after
   * `result` is known; `ended` resolves when the daemon goes.
   */
  stream(
    method: string,
    params: object,
    callback: (params: unknown) => void,
  ): Promise<{ readonly result: unknown; readonly ended: Promise<void> }>;
  /** Resolves when the operator wants an end (SIGINT, SIGTERM, or nobody reads the output any more). */
  readonly stopped: Promise<void>;
}

/** The command line itself is wrong: exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly faults: readonly FaultShape[];
  constructor(faults: string | readonly FaultShape[]) {
    const list = typeof faults === 'string' ? [{ code: 'bad-request', message: faults }] : faults;
    super(list.map((fault) => fault.message).join('\n'));
    this.faults = list;
  }
}

/** A method whose `serve` sees its parameters typed. */
export function rpcMethod<Params extends z.ZodObject>(definition: {
  readonly name: string;
  readonly summary: string;
  readonly params: Params;
  serve(control: SwitchControl, params: z.output<Params>, session: RpcSession): Promise<unknown>;
}): RpcMethod {
  const { name, summary, params, serve } = definition;
  return {
    name,
    summary,
    params,
    serve: (control, checked, session) => serve(control, checked as z.output<Params>, session),
  };
}

/** Names of objects, as CONFIG.md has them. */
export const objectName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_.-]{0,62}$/, 'expected a name: lower-case letters, digits, and _ . - after the first');

export const ipAddress = z.string().refine((text) => parseIp(text) !== undefined, 'expected an IP address');

export const macAddress = z
  .string()
  .regex(/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/, 'expected a MAC address such as 52:54:00:00:00:01')
  .transform((text) => text.toLowerCase().replaceAll('-', ':'));
