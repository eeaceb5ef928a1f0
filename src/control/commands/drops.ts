/** `weft drops`: what died, where, of what, and the last frame that did. */
import { z } from 'zod';
import type { CliContext, CommandInput } from '../command.js';
import { jsonText, remoteCommand } from '../remote-command.js';
import type { DropRow } from '../shapes.js';
import { countText, durationText, formatTable, plainText } from '../table-text.js';

/** Octets of a frame shown in a table: the two addresses, the ethertype and a little more. */
const HEX_SHOWN = 18 * 2;

function lastFrameText({ lastFrame }: DropRow): string {
  if (lastFrame === undefined) return '-';
  const { hex, atSeconds } = lastFrame;
  return `${hex.slice(0, HEX_SHOWN)}${hex.length > HEX_SHOWN ? '…' : ''} (${durationText(atSeconds)} ago)`;
}

function render(rows: readonly DropRow[]): string {
  if (rows.length === 0) return 'nothing was dropped';
  const table = formatTable(
    [
      { title: 'COUNT', align: 'right' },
      { title: 'PORT' },
      { title: 'REASON' },
      { title: 'OF' },
      { title: 'LAST FRAME' },
    ],
    rows.map((row) => [countText(row.count), row.port, row.reason, row.of, lastFrameText(row)]),
  );
  const sentences = new Map(rows.map((row) => [row.reason, row.text]));
  return `${table}\n\n${[...sentences].map(([reason, text]) => `${reason}: ${plainText(text)}`).join('\n')}`;
}

/** One line for each counter that grew: by how much, and in all. */
export function renderGrowth(rows: readonly DropRow[], before: Map<string, number>): string[] {
  return rows.map((row) => {
    const key = `${row.port} ${row.reason} ${row.of}`;
    const grown = row.count - (before.get(key) ?? 0);
    before.set(key, row.count);
    return plainText(`${row.port}  ${row.reason}  +${grown} (${row.count} in all, of ${row.of}): ${row.text}`);
  });
}

async function watch(context: CliContext): Promise<number> {
  const seen = new Map<string, number>();
  const stream = await context.stream('drops', { watch: true }, (params) => {
    const { drops } = params as { drops: readonly DropRow[] };
    if (context.json) context.print(JSON.stringify(drops));
    else for (const line of renderGrowth(drops, seen)) context.print(line);
  });
  const first = stream.result as readonly DropRow[];
  renderGrowth(first, seen);
  context.print(context.json ? JSON.stringify(first) : `${render(first)}\n\nwatching; Ctrl-C ends`);
  const gone = stream.ended.then(() => 'gone' as const);
  if ((await Promise.race([context.stopped, gone])) !== 'gone') return 0;
  context.report([{ code: 'no-daemon', message: 'the daemon went away' }]);
  return 3;
}

async function show(context: CliContext): Promise<number> {
  const rows = (await context.call('drops', {})) as readonly DropRow[];
  context.print(context.json ? jsonText(rows, context) : render(rows));
  return 0;
}

export const dropsCommands = [
  remoteCommand({
    words: 'drops',
    summary: 'Show how many frames were dropped, by port and reason, with the last ones.',
    description: [
      'Lists every drop counter that is not zero, the largest first, with the last frame that died of it (its first octets in hex, which weft trace takes) and a sentence on each reason.',
      "OF says what was dropped: 'frame' is a received frame that reached nobody, counted at the port it came in by; 'copy' is one copy of a frame that could not leave by this port.",
      'With --watch it goes on and prints each counter that grows, about once a second, until Ctrl-C. With --json each look is one line.',
    ],
    options: [{ name: 'watch', summary: 'go on and print what grows' }],
    examples: [
      { command: 'weft drops', shows: 'everything that was dropped since the start' },
      { command: 'weft drops --watch', shows: 'what is being dropped now' },
      { command: "weft drops --json | jq -r '.[0].lastFrame.hex'", shows: 'the last frame of the most frequent drop' },
    ],
    params: z.strictObject({ watch: z.boolean().optional() }),
    serve: async (control, { watch: goesOn }, session) => {
      if (goesOn) session.stream((notify) => control.subscribeDrops((drops) => notify({ drops })));
      return await control.drops();
    },
    render,
    run: (context: CliContext, input: CommandInput) => (input.watch === true ? watch(context) : show(context)),
  }),
];
