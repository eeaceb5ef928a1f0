/** `--help`, laid out like a manual page and made from the command's definition alone. No state. */
import type { Command, CommandArgument, CommandOption } from './command.js';
import { wordTree } from './completion.js';

const WIDTH = 80;
const INDENT = '       ';
const COMMON_STATUS = [
  '0  done',
  '1  the daemon refused; the reason is on stderr',
  '2  wrong usage',
  '3  no daemon answers',
];

/** Words of `text` in lines that begin with `indent` and fit the page. */
export function wrap(text: string, indent: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    if (line !== '' && indent.length + line.length + 1 + word.length > WIDTH) {
      lines.push(indent + line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, indent + line].join('\n');
}

function section(title: string, body: string): string {
  return body === '' ? '' : `${title}\n${body}\n\n`;
}

function argumentWord({ name, required, variadic }: CommandArgument): string {
  const word = `${name.toUpperCase()}${variadic ? '...' : ''}`;
  return required ? word : `[${word}]`;
}

function optionWord(option: CommandOption): string {
  const word = `--${option.name}${option.value === undefined ? '' : ` ${option.value}`}`;
  return option.required ? word : `[${word}]`;
}

function entries(list: readonly (readonly [string, string])[]): string {
  return list.map(([name, text]) => `${INDENT}${name}\n${wrap(text, `${INDENT}    `)}`).join('\n');
}

export function synopsis(command: Command): string {
  const parts = [
    ...command.options.map(optionWord),
    ...command.arguments.map(argumentWord),
    '[--socket PATH] [--json]',
  ];
  return `weft ${command.words} ${parts.join(' ')}`;
}

/** The page of one command. */
export function commandHelp(command: Command): string {
  const options = [
    ...command.options.map((option) => [optionWord({ ...option, required: true }), option.summary] as const),
    ['--socket PATH', "the daemon's control socket (default: $WEFT_SOCKET, else /run/weft/control.sock)"] as const,
    ['--json', 'machine-readable output with stable field names; errors as { errors: [...] } on stderr'] as const,
  ];
  const status = command.exitStatus ?? [];
  const own = new Set(status.map((line) => line.charAt(0)));
  const allStatus = [...status, ...COMMON_STATUS.filter((line) => !own.has(line.charAt(0)))].sort();
  return `${[
    section('NAME', wrap(`weft ${command.words} - ${command.summary}`, INDENT)),
    section('SYNOPSIS', wrap(synopsis(command), INDENT)),
    section('DESCRIPTION', command.description.map((paragraph) => wrap(paragraph, INDENT)).join('\n\n')),
    section('ARGUMENTS', entries(command.arguments.map((argument) => [argument.name.toUpperCase(), argument.summary]))),
    section('OPTIONS', entries(options)),
    section(
      'EXAMPLES',
      command.examples
        .map(({ command: line, shows }) => `${INDENT}${line}\n${wrap(shows, `${INDENT}    `)}`)
        .join('\n'),
    ),
    section('EXIT STATUS', allStatus.map((line) => `${INDENT}${line}`).join('\n')),
  ]
    .join('')
    .trimEnd()}\n`;
}

/** The page of `weft`, or of a noun: what there is. */
export function overviewHelp(commands: readonly Command[], noun: string): string {
  const words = wordTree(commands).get(noun) ?? [];
  const width = Math.max(...words.map(({ word }) => word.length));
  const list = words.map(({ word, summary }) => `${INDENT}${word.padEnd(width)}  ${summary}`).join('\n');
  const name = noun === '' ? 'weft - a virtual switch that explains every drop' : `weft ${noun}`;
  const usage =
    noun === '' ? 'weft COMMAND ... [--socket PATH] [--json]' : `weft ${noun} COMMAND ... [--socket PATH] [--json]`;
  const more =
    noun === ''
      ? "'weft COMMAND --help' explains a command. 'weft demo' shows it all."
      : `'weft ${noun} COMMAND --help' explains a command.`;
  return `${section('NAME', INDENT + name)}${section('SYNOPSIS', INDENT + usage)}${section('COMMANDS', list)}${wrap(more, INDENT)}\n`;
}
