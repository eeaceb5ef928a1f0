/** `weft check`: every fault of a configuration file, without a daemon. */
import type { CliContext, Command, CommandInput } from '../command.js';
import { readDocument } from '../document-file.js';
import { faultsOf } from '../faults.js';
import { jsonText } from '../remote-command.js';
import { plural } from '../table-text.js';

async function run(context: CliContext, input: CommandInput): Promise<number> {
  const file = String(input.file);
  const text = await readDocument(file, context);
  // Loaded here: other commands start faster without them.
  const [{ checkDocument }, { parseDocument }] = await Promise.all([import('../check.js'), import('../document.js')]);
  try {
    const { config } = checkDocument(parseDocument(text, file));
    const counts = { networks: Object.keys(config.networks).length, ports: Object.keys(config.ports).length };
    const summary = `${file} is valid: ${plural(counts.networks, 'network')}, ${plural(counts.ports, 'port')}`;
    context.print(context.json ? jsonText({ valid: true, ...counts }, context) : summary);
    return 0;
  } catch (error) {
    const faults = faultsOf(error);
    if (faults === undefined) throw error;
    context.report(faults);
    return 1;
  }
}

const check: Command = {
  words: 'check',
  summary: 'Validate a configuration file: every fault, with its path and line.',
  description: [
    'Finds everything that would keep the file from being applied: unknown keys, dangling names, overlapping ids, impossible values. All faults are printed at once, each with what was probably meant. Needs no daemon and no privilege.',
  ],
  arguments: [{ name: 'file', summary: 'a configuration file, or - for stdin', required: true, completes: 'file' }],
  options: [],
  examples: [
    { command: 'weft check switch.yaml', shows: 'that it is valid, or what is wrong' },
    { command: "weft check switch.yaml --json 2>&1 | jq -r '.errors[]?.path'", shows: 'where the faults are' },
  ],
  exitStatus: ['0  the file is valid', '1  it has faults', "2  it can't be read, or wrong usage"],
  methods: [],
  run,
};

export const checkCommands = [check];
