/** `weft schema`: the configuration's JSON Schema, made from the definition that also validates. */
import type { CliContext, Command } from '../command.js';

async function run(context: CliContext): Promise<number> {
  // Loaded here: other commands start faster without it.
  const { configJsonSchema } = await import('../json-schema.js');
  context.print(JSON.stringify(configJsonSchema(), null, 2));
  return 0;
}

const schema: Command = {
  words: 'schema',
  summary: 'Print the JSON Schema of the configuration file.',
  description: [
    'Every key with its type, default and meaning, generated from the definition that validates the file. Editors that know JSON Schema complete and check a configuration with it. What a schema cannot say (dangling names, overlapping ids) is found by weft check.',
  ],
  arguments: [],
  options: [],
  examples: [{ command: 'weft schema > weft.schema.json', shows: 'the schema in a file, for an editor' }],
  methods: [],
  run,
};

export const schemaCommands = [schema];
