/**
 * Shell completion scripts, generated from the registry: words and options are in the script, so they appear at once;
 * names of ports, networks and routers are asked of the running daemon by `weft complete KIND`, silently without one. No state.
 */
import type { Command, CompletionHint } from './command.js';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** Options that every command takes. */
export const COMMON_OPTIONS = [
  { name: 'socket', value: 'PATH', summary: "the daemon's control socket", completes: 'file' },
  { name: 'json', summary: 'machine-readable output' },
  { name: 'help', summary: 'how to use the command' },
] as const;

interface Word {
  readonly word: string;
  readonly summary: string;
}

/** What may follow each sequence of words that is not a whole command yet: '' -> port, status, …; 'port' -> list, … */
export function wordTree(commands: readonly Command[]): Map<string, Word[]> {
  const tree = new Map<string, Word[]>();
  for (const { words, summary, hidden } of commands) {
    if (hidden) continue;
    const [first = '', second] = words.split(' ');
    const add = (path: string, word: string, text: string) => {
      const list = tree.get(path) ?? [];
      if (!list.some((known) => known.word === word)) list.push({ word, summary: text });
      tree.set(path, list);
    };
    add('', first, second === undefined ? summary : (NOUNS[first] ?? `commands on ${first}`));
    if (second !== undefined) add(first, second, summary);
  }
  return tree;
}

/** One line on each noun that has several commands. */
export const NOUNS: Readonly<Record<string, string>> = {
  port: 'Ports: where VMs, interfaces and uplinks attach.',
  network: 'Networks: who can reach whom.',
  acl: 'ACLs: what may pass, rule by rule.',
  group: 'Security groups: what machines may send and be sent.',
  router: 'Routers: what leads from network to network.',
  neighbor: 'Stations that routers know, by their addresses.',
  tunnel: 'Tunnels: how networks reach other hosts.',
  dhcp: 'Addresses that the address service has given.',
  fdb: 'Stations: which address is behind which port.',
  conntrack: 'Connections that security groups track.',
  nat: 'What routers translate: floating addresses, forwards, mappings.',
  config: 'The running configuration as a whole.',
};

export function completionScript(shell: Shell, commands: readonly Command[]): string {
  const visible = commands.filter((command) => !command.hidden);
  if (shell === 'bash') return bashScript(visible);
  return shell === 'zsh' ? zshScript(visible) : fishScript(visible);
}

function optionsOf(command: Command) {
  return [...command.options, ...COMMON_OPTIONS];
}

/** How `weft complete` and the scripts call a source of words: a kind, `file`, or the words themselves. */
function source(hint: CompletionHint | undefined): string {
  if (hint === undefined || hint === 'none') return '';
  return typeof hint === 'string' ? `@${hint}` : hint.join(' ');
}

/** Lines of a table in shell: `words|position` and `words|--option` to what completes there. */
function placeCases(commands: readonly Command[], quote: (text: string) => string): string[] {
  const line = (pattern: string, hint: CompletionHint | undefined) =>
    `    ${quote(pattern)}) echo ${quote(source(hint))};;`;
  return commands.flatMap((command) => [
    ...optionsOf(command).flatMap((option) =>
      'value' in option && option.value !== undefined
        ? [line(`${command.words}|--${option.name}`, option.completes)]
        : [],
    ),
    ...command.arguments.map((argument, index) =>
      argument.variadic
        ? `    ${quote(`${command.words}|`)}*) echo ${quote(source(argument.completes))};;`
        : line(`${command.words}|${index}`, argument.completes),
    ),
  ]);
}

const single = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

function shellTables(commands: readonly Command[]): string {
  const flags = new Set(
    commands.flatMap(optionsOf).flatMap((option) => ('value' in option && option.value ? [] : [`--${option.name}`])),
  );
  const words = [...wordTree(commands)].map(
    ([path, list]) => `    ${single(path)}) echo ${single(list.map(({ word }) => word).join(' '))};;`,
  );
  const options = commands.map(
    (command) =>
      `    ${single(command.words)}) echo ${single(
        optionsOf(command)
          .map(({ name }) => `--${name}`)
          .join(' '),
      )};;`,
  );
  return `_weft_words() {
  case "$1" in
${words.join('\n')}
  esac
}
_weft_options() {
  case "$1" in
${options.join('\n')}
    *) echo '--help';;
  esac
}
_weft_place() {
  case "$1|$2" in
${placeCases(commands, single).join('\n')}
  esac
}
# Candidates for the last of the words given; "@file" stands for file names.
_weft_candidates() {
  local path='' count=0 index=1 word place option=''
  while [ "$index" -lt "$#" ]; do
    eval "word=\\\${$index}"
    index=$((index + 1))
    if [ -n "$option" ]; then option=''; continue; fi
    case "$word" in
      ${[...flags].join('|')}) ;;
      --*=*) ;;
      --*) option="$word";;
      *)
        place=" $(_weft_words "$path") "
        case "$place" in
          *" $word "*) path="\${path:+$path }$word";;
          *) count=$((count + 1));;
        esac;;
    esac
  done
  eval "word=\\\${$#}"
  if [ -n "$option" ]; then place="$(_weft_place "$path" "$option")"
  else
    case "$word" in
      -*) _weft_options "$path"; return;;
    esac
    place="$(_weft_words "$path")"
    [ -n "$place" ] || place="$(_weft_place "$path" "$count")"
  fi
  case "$place" in
    @file|'') echo "$place";;
    @*) weft complete "\${place#@}" 2>/dev/null;;
    *) echo "$place";;
  esac
}`;
}

function bashScript(commands: readonly Command[]): string {
  return `# bash completion of weft. Load it with: source <(weft completion bash)
${shellTables(commands)}
_weft() {
  local candidates current="\${COMP_WORDS[COMP_CWORD]}"
  candidates="$(_weft_candidates "\${COMP_WORDS[@]:1:COMP_CWORD}")"
  if [ "$candidates" = '@file' ]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    compopt -o filenames 2>/dev/null
  else
    mapfile -t COMPREPLY < <(compgen -W "$candidates" -- "$current")
    case "\${COMPREPLY[*]}" in *=) compopt -o nospace 2>/dev/null;; esac
  fi
}
complete -F _weft weft
`;
}

function zshScript(commands: readonly Command[]): string {
  return `#compdef weft
# zsh completion of weft. Load it with: source <(weft completion zsh)
${shellTables(commands)}
_weft() {
  emulate -L sh
  local candidates
  candidates="$(_weft_candidates "\${words[@]:1:$((CURRENT - 1))}")"
  if [ "$candidates" = '@file' ]; then
    _files
  else
    setopt localoptions shwordsplit
    compadd -- $candidates
  fi
}
compdef _weft weft
`;
}

function fishScript(commands: readonly Command[]): string {
  const lines = ['# fish completion of weft. Load it with: weft completion fish | source', 'complete -c weft -f'];
  const tree = wordTree(commands);
  for (const [path, list] of tree) {
    const others =
      path === ''
        ? '__fish_use_subcommand'
        : `__fish_seen_subcommand_from ${path}; and not __fish_seen_subcommand_from ${list.map(({ word }) => word).join(' ')}`;
    for (const { word, summary } of list)
      lines.push(`complete -c weft -n ${single(others)} -a ${single(word)} -d ${single(summary)}`);
  }
  for (const command of commands) {
    const seen = single(
      command.words
        .split(' ')
        .map((word) => `__fish_seen_subcommand_from ${word}`)
        .join('; and '),
    );
    for (const option of optionsOf(command)) {
      const takes =
        'value' in option && option.value !== undefined
          ? ` -r${fishSource('completes' in option ? option.completes : undefined)}`
          : '';
      lines.push(`complete -c weft -n ${seen} -l ${option.name}${takes} -d ${single(option.summary)}`);
    }
    for (const hint of new Set(command.arguments.map((argument) => argument.completes))) {
      if (hint !== 'none') lines.push(`complete -c weft -n ${seen}${fishSource(hint)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function fishSource(hint: CompletionHint | undefined): string {
  if (hint === undefined || hint === 'none') return '';
  if (hint === 'file') return ' -F';
  return ` -a ${typeof hint === 'string' ? single(`(weft complete ${hint} 2>/dev/null)`) : single(hint.join(' '))}`;
}
