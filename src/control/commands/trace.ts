/** `weft trace`: what would happen to this frame, and why. */
import { z } from 'zod';
import { UserError } from '../../errors.js';
import { FRAME_SIZE_MAX } from '../../limits.js';
import { readCapturedFrame } from '../captured-frame.js';
import { type CliContext, type CommandInput, objectName, UsageError } from '../command.js';
import { remoteCommand } from '../remote-command.js';
import type { TraceResult } from '../shapes.js';
import { plainText } from '../table-text.js';
import { portOption } from './common.js';

/** What surely fits a message; a longer frame in hex is sent in pieces, like a document. */
const FRAME_TEXT_MAX = 60_000;

function outputText({ port, tags, remote }: TraceResult['outputs'][number]): string {
  const how = tags.length === 0 ? 'untagged' : tags.join(', ');
  return `${port} (${how}${remote === undefined ? '' : `, to ${remote}`})`;
}

function verdictText(result: TraceResult): string {
  const { verdict, reason, rule, outputs } = result;
  const by = rule === undefined ? '' : `, by ${rule}`;
  if (verdict === 'drop') return `DROPPED: ${reason ?? 'no reason given'}${by}`;
  if (verdict === 'consume') return `TAKEN by the switch itself${by}`;
  const what = verdict === 'flood' ? 'FLOODED' : 'FORWARDED';
  return `${what}${by} to ${outputs.map(outputText).join(', ') || 'nobody'}`;
}

function render(result: TraceResult): string {
  const width = Math.max(0, ...result.stages.map(({ stage }) => stage.length));
  const decisionWidth = Math.max(0, ...result.stages.map(({ decision }) => decision.length));
  const indent = ' '.repeat(width + decisionWidth + 6);
  const stages = result.stages.flatMap(({ stage, decision, text, rule, changes }, index) => {
    const died = result.verdict === 'drop' && index === result.stages.length - 1;
    const by = rule === undefined ? '' : ` [${rule}]`;
    const line = `${died ? 'x' : '|'} ${stage.padEnd(width)}  ${decision.padEnd(decisionWidth)}  ${text}${by}`;
    return [line, ...(changes ?? []).map((change) => `${died ? ' ' : '|'}${indent.slice(1)}${change}`)];
  });
  return [...stages, verdictText(result)].map(plainText).join('\n');
}

function traceable(hex: string): string {
  if (hex.length <= 2 * FRAME_SIZE_MAX) return hex;
  throw new UserError([{ code: 'bad-request', message: `a frame is at most ${FRAME_SIZE_MAX} octets` }]);
}

async function toParams(input: CommandInput, context: CliContext): Promise<object> {
  const frame = (input.frame as readonly string[]).join(' ');
  if (!frame.startsWith('pcap:')) return { port: input.port, frame };
  const place = /^pcap:(.+)#(\d+)$/.exec(frame);
  if (place === null) throw new UsageError(`${frame}: expected pcap:FILE#N, N counted from 1`);
  const [, file = '', number = ''] = place;
  const octets = await readCapturedFrame(file, Number(number), context);
  const hex = Buffer.from(octets).toString('hex');
  if (hex.length <= FRAME_TEXT_MAX) return { port: input.port, frame: hex };
  return { port: input.port, upload: await context.sendDocument(hex) };
}

export const traceCommands = [
  remoteCommand({
    words: 'trace',
    summary: 'Show stage by stage what would happen to a frame.',
    description: [
      'Runs the very stages that forward real frames, on a copy of the state, and prints what each decided and why. Nothing is sent, learned or counted.',
      "FRAME is a description ('tcp 10.0.0.5:1234 > 10.0.0.9:80 flags S'), the octets in hex from the destination address on, or pcap:FILE#N for the Nth frame of a capture file. The drops command shows the last frame of each drop in hex.",
      'The port may be an underlay: FRAME is then the whole outer frame, and the first stage shows what is unpacked from it.',
    ],
    arguments: [{ name: 'frame', summary: 'the frame', required: true, variadic: true, completes: 'file' }],
    options: [{ ...portOption, summary: 'the port it comes in by', required: true }],
    examples: [
      { command: "weft trace --port vm1 'icmp 10.0.0.5 > 10.0.0.9'", shows: 'whether a ping would pass' },
      { command: 'weft trace --port eth0 pcap:uplink.pcap#3', shows: 'what happens to the third captured frame' },
      {
        command: 'weft trace --port vm1 "$(weft drops --json | jq -r \'.[0].lastFrame.hex\')"',
        shows: 'why the last dropped frame died',
      },
    ],
    params: z
      .strictObject({
        port: objectName,
        frame: z.string().min(1).max(FRAME_TEXT_MAX).optional(),
        upload: z.string().optional(),
      })
      .refine(
        ({ frame, upload }) => (frame === undefined) !== (upload === undefined),
        'expected either frame or upload',
      ),
    serve: (control, { port, frame, upload }, session) =>
      control.trace(port, upload === undefined ? (frame ?? '') : traceable(session.takeDocument(upload))),
    toParams,
    render,
  }),
];
