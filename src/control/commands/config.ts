/** `weft apply` and `weft config`: the whole configuration at once. */
import { z } from 'zod';
import type { CliContext, CommandInput, RpcSession } from '../command.js';
import { readDocument, writeDocument } from '../document-file.js';
import { jsonText, remoteCommand } from '../remote-command.js';
import type { ChangeResult, JsonObject } from '../shapes.js';
import type { SubmittedDocument } from '../switch-control.js';
import { renderChanges, savedHelp } from './common.js';

/** A document comes as text, as JSON, or was sent in pieces before (document.begin). */
const documentParams = z.strictObject({
  document: z.union([z.string(), z.record(z.string(), z.json())]).optional(),
  upload: z.string().optional(),
  file: z.string().max(4096).default('the document'),
});
const exactlyOne = 'expected either document or upload';

function submitted(params: z.output<typeof documentParams>, session: RpcSession): SubmittedDocument {
  const { document, upload, file } = params;
  if (upload !== undefined) return { text: session.takeDocument(upload), file };
  return { text: typeof document === 'string' ? document : JSON.stringify(document), file };
}

const isOneSource = (params: { document?: unknown; upload?: unknown }) =>
  (params.document === undefined) !== (params.upload === undefined);

const diffParams = documentParams.refine(isOneSource, exactlyOne);
const applyParams = documentParams.extend({ dryRun: z.boolean().default(false) }).refine(isOneSource, exactlyOne);

/** Always in pieces: the text may be longer than a message, and how it is quoted in JSON decides by how much. */
async function upload(context: CliContext, input: CommandInput): Promise<object> {
  const file = String(input.file);
  return { upload: await context.sendDocument(await readDocument(file, context)), file };
}

const fileArgument = {
  name: 'file',
  summary: 'a configuration file, or - for stdin',
  required: true,
  completes: 'file',
} as const;

/** Loads the YAML package only now: other commands start faster without it. */
async function yamlText(document: JsonObject): Promise<string> {
  const { stringify } = await import('yaml');
  return stringify(document);
}

async function save(context: CliContext, input: CommandInput): Promise<number> {
  const file = String(input.file);
  const running = (await context.call('config.show', {})) as JsonObject;
  await writeDocument(file, file.endsWith('.json') ? `${JSON.stringify(running, null, 2)}\n` : await yamlText(running));
  context.print(context.json ? jsonText({ file }, context) : `the running configuration is in ${file}`);
  return 0;
}

export const configCommands = [
  remoteCommand({
    words: 'apply',
    method: 'config.apply',
    summary: 'Make the running switch match a file; print the difference.',
    description: [
      'Validates the whole file, changes what differs and nothing else, and returns when every worker forwards by the new configuration. It takes effect as one: no frame sees half of it, and ports that do not change lose no frame. A file with a fault changes nothing; every fault is printed with its path and line.',
      "The daemon's saved copy follows, so the configuration survives a restart.",
    ],
    arguments: [fileArgument],
    options: [{ name: 'dry-run', summary: 'print what would change and change nothing' }],
    examples: [
      { command: 'weft apply switch.yaml --dry-run', shows: 'what it would change' },
      { command: 'weft apply switch.yaml', shows: 'what it changed' },
    ],
    params: applyParams,
    serve: (control, params, session) => {
      const { dryRun, ...rest } = params;
      return control.configApply(submitted(rest, session), dryRun);
    },
    toParams: async (input, context) => ({ ...(await upload(context, input)), dryRun: input.dryRun === true }),
    render: renderChanges,
  }),
  remoteCommand({
    words: 'config show',
    summary: 'Print the running configuration.',
    description: [
      'Prints the configuration the switch forwards by, as YAML that weft apply takes; with --json the same document as JSON. It has in it what was changed by weft port set and the like.',
    ],
    examples: [{ command: 'weft config show', shows: 'the running configuration' }],
    params: z.strictObject({}),
    serve: (control) => control.configShow(),
    render: async (running) => (await yamlText(running)).trimEnd(),
  }),
  remoteCommand({
    words: 'config diff',
    summary: 'Compare a file with the running configuration.',
    description: ['Prints what weft apply FILE would change. Changes nothing.'],
    arguments: [fileArgument],
    examples: [{ command: 'weft config diff switch.yaml', shows: 'what differs' }],
    exitStatus: ['0  the file and the running configuration are equal', '1  they differ, or the daemon refused'],
    params: diffParams,
    serve: (control, params, session) => control.configDiff(submitted(params, session)),
    toParams: (input, context) => upload(context, input),
    render: renderChanges,
    exitOf: (result: ChangeResult) => (result.changes.length === 0 ? 0 : 1),
  }),
  remoteCommand({
    words: 'config save',
    summary: 'Write the running configuration to a file.',
    description: ['Writes YAML, or JSON if the name ends in .json, as a whole or not at all.', savedHelp],
    arguments: [{ ...fileArgument, summary: 'the file to write; replaced if it is there' }],
    examples: [{ command: 'weft config save backup.yaml', shows: 'the running configuration as a file' }],
    params: z.strictObject({}),
    serve: async (control) => ({ text: await yamlText(await control.configShow()) }),
    render: ({ text }) => text,
    run: save,
  }),
];
