/** `weft top`: a live full-screen view. Polls the control socket like any client; the picture is top-view.ts. */
import type { CliContext, Command, CommandInput, Terminal } from '../command.js';
import { UsageError } from '../command.js';
import { jsonText } from '../remote-command.js';
import type { DropRow, PortRow, StatsResult, StatusResult } from '../shapes.js';
import { type TopLook, type TopPort, topLines } from '../top-view.js';

const ENTER_SCREEN = '\u001b[?1049h\u001b[?25l\u001b[2J';
const LEAVE_SCREEN = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const CLEAR_LINE_END = '\u001b[K';

/** What has counters but no row in the list of ports. */
function underlaysOf(stats: StatsResult, ports: readonly PortRow[]): TopPort[] {
  const listed = new Set(ports.map(({ name }) => name));
  const own = stats.ports.filter(({ name }) => !listed.has(name));
  return own.map(({ name, rx, tx }) => ({
    name,
    state: 'up',
    rxFrames: rx.frames,
    rxBytes: rx.bytes,
    txFrames: tx.frames,
    txBytes: tx.bytes,
  }));
}

async function look(context: CliContext): Promise<TopLook> {
  const [status, listed, drops, stats] = await Promise.all([
    context.call('status', {}),
    context.call('port.list', {}),
    context.call('drops', {}),
    context.call('stats', {}),
  ]);
  const ports = listed as readonly PortRow[];
  return {
    atMs: performance.now(),
    status: status as StatusResult,
    ports,
    underlays: underlaysOf(stats as StatsResult, ports),
    drops: drops as readonly DropRow[],
  };
}

/** Resolves when the time is over or the operator wants an end; true then. */
async function pause(ms: number, ended: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const isEnd = await Promise.race([over, ended.then(() => true as const)]);
  clearTimeout(timer);
  return isEnd;
}

function draw(terminal: Terminal, previous: TopLook | undefined, current: TopLook): void {
  const lines = topLines(previous, current, terminal.size());
  terminal.write(HOME + lines.map((line) => line + CLEAR_LINE_END).join('\r\n'));
}

/** The screen is given back whatever ends the loop: a key, a signal, a daemon that went away. */
async function live(context: CliContext, intervalMs: number): Promise<void> {
  const { terminal } = context;
  let quit: () => void = () => {};
  const ended = Promise.race([
    context.stopped,
    new Promise<void>((resolve) => {
      quit = resolve;
    }),
  ]);
  const offKey = terminal.onKey((key) => {
    if (key === 'q' || key === 'Q' || key === '\u0003' || key === '\u001b') quit();
  });
  let previous: TopLook | undefined;
  let current = await look(context).catch((error: unknown) => {
    offKey();
    throw error;
  });
  const offResize = terminal.onResize(() => draw(terminal, previous, current));
  terminal.write(ENTER_SCREEN);
  try {
    draw(terminal, previous, current);
    while (!(await pause(intervalMs, ended))) {
      previous = current;
      current = await look(context);
      draw(terminal, previous, current);
    }
  } finally {
    offResize();
    offKey();
    terminal.write(LEAVE_SCREEN);
  }
}

/** Two looks, so that there are rates, and one picture with no more lines than it needs. */
async function once(context: CliContext, intervalMs: number): Promise<void> {
  const previous = await look(context);
  if (await pause(intervalMs, context.stopped)) return;
  const current = await look(context);
  if (context.json) {
    const { status, ports, drops } = current;
    context.print(jsonText({ status, ports, drops }, context));
    return;
  }
  const { columns, rows } = context.terminal.size();
  const lines = topLines(previous, current, { columns, rows: Math.max(rows, current.ports.length + 24) });
  context.print(lines.slice(0, -1).join('\n').trimEnd());
}

async function run(context: CliContext, input: CommandInput): Promise<number> {
  const seconds = Number(input.interval ?? 1);
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > 60)
    throw new UsageError('--interval: expected 1 to 60 seconds');
  if (context.terminal.interactive && !context.json) await live(context, seconds * 1000);
  else await once(context, seconds * 1000);
  return 0;
}

const top: Command = {
  words: 'top',
  summary: 'Watch the switch live, full screen.',
  description: [
    'Shows how busy each worker is, what each port and underlay receives and sends (the busiest first, bars relative to the busiest direction), how full the FDB is, and the drops with the newest last. q or Ctrl-C ends it.',
    'If stdout is no terminal it prints one picture, and with --json one look as JSON.',
  ],
  arguments: [],
  options: [{ name: 'interval', value: 'SECONDS', summary: 'time between two looks (default: 1)', count: true }],
  examples: [
    { command: 'weft top', shows: 'the live view' },
    { command: 'weft top | cat', shows: 'one picture as text' },
  ],
  methods: [],
  run,
};

export const topCommands = [top];
