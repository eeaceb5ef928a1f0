/** Commands that are a method of the control socket: ask, print what came back. */
import type { z } from 'zod';
import {
  type CliContext,
  type Command,
  type CommandArgument,
  type CommandExample,
  type CommandInput,
  type CommandOption,
  type RpcSession,
  rpcMethod,
  UsageError,
} from './command.js';
import { parameterFaults } from './faults.js';
import type { SwitchControl } from './switch-control.js';

export interface RemoteDefinition<Params extends z.ZodObject, Result> {
  readonly words: string;
  readonly summary: string;
  readonly description: readonly string[];
  readonly arguments?: readonly CommandArgument[];
  readonly options?: readonly CommandOption[];
  readonly examples: readonly CommandExample[];
  readonly exitStatus?: readonly string[];
  /** Default: the words joined by dots. */
  readonly method?: string;
  readonly params: Params;
  /** Runs in the daemon. */
  serve(control: SwitchControl, params: z.output<Params>, session: RpcSession): Promise<Result>;
  /** Parameters from the command line; default: they have the names of the arguments and options. */
  toParams?(input: CommandInput, context: CliContext): object | Promise<object>;
  /** Text for a person; no newline at the end. */
  render(result: Result): string | Promise<string>;
  /** Exit status; default 0. */
  exitOf?(result: Result): number;
  /** Replaces asking once and printing. */
  run?(context: CliContext, input: CommandInput): Promise<number>;
}

export function remoteCommand<Params extends z.ZodObject, Result>(
  definition: RemoteDefinition<Params, Result>,
): Command {
  const { words, summary, description, examples, exitStatus, params, serve } = definition;
  const name = definition.method ?? words.replaceAll(' ', '.');
  const method = rpcMethod({ name, summary, params, serve });
  const ask = async (context: CliContext, input: CommandInput): Promise<number> => {
    const wanted = (await definition.toParams?.(input, context)) ?? input;
    const result = (await context.call(name, checkParams(params, wanted))) as Result;
    context.print(context.json ? jsonText(result, context) : await definition.render(result));
    return definition.exitOf?.(result) ?? 0;
  };
  return {
    words,
    summary,
    description,
    arguments: definition.arguments ?? [],
    options: definition.options ?? [],
    examples,
    ...(exitStatus === undefined ? {} : { exitStatus }),
    methods: [method],
    run: definition.run ?? ask,
  };
}

/** Finds wrong usage before a daemon is asked. Returns what to send: the server applies defaults and transforms. */
export function checkParams(schema: z.ZodObject, wanted: object): object {
  const checked = schema.safeParse(wanted);
  if (checked.success) return wanted;
  throw new UsageError(parameterFaults(checked.error, Object.keys(schema.shape)));
}

/** One line for a program, indented for a person. */
export function jsonText(value: unknown, context: Pick<CliContext, 'terminal'>): string {
  return context.terminal.interactive ? JSON.stringify(value, null, 2) : JSON.stringify(value);
}
