/**
 * `weft demo`: a small network, a switch and half a minute of what it does. Runs in the operator's process, as root; the
 * switch is a process of its own. However it ends (the last scene, a failure, Ctrl-C, a signal), everything it made is
 * removed; what a killed demo left is removed by the next.
 */
import { accessSync, constants } from 'node:fs';
import { basename, delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommandLine } from '../control/cli.js';
import type { DemoOptions } from '../control/command.js';
import { commands } from '../control/commands/registry.js';
import { OperatingError } from '../errors.js';
import { Lab, removeLab } from './lab.js';
import { SOCKET, stations } from './lab-plan.js';
import { type DemoReport, type Stage, scenes } from './scenes.js';
import { Screen } from './screen.js';

const ENTRY = fileURLToPath(new URL('../weft.js', import.meta.url));
/** Started as `weft`, not by the path of the script. */
const isInstalled = basename(process.argv[1] ?? '') === 'weft';
/** What the shell reports for a program that a signal ended. */
const SIGNAL_STATUS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
type StopSignal = keyof typeof SIGNAL_STATUS;

/** Resolves to the exit status; throws an OperatingError that says what is missing. */
export async function runDemo(options: DemoOptions): Promise<number> {
  checkRequirements();
  const stop = new AbortController();
  let caught: StopSignal | undefined;
  const onSignal = (signal: StopSignal) => {
    caught ??= signal;
    stop.abort();
  };
  const signals = Object.keys(SIGNAL_STATUS) as StopSignal[];
  // They stay until all is clean: a second Ctrl-C must not end the cleaning.
  for (const signal of signals) process.on(signal, onSignal);
  try {
    await play(options, stop.signal);
    return 0;
  } catch (error) {
    if (caught === undefined) throw error;
    return SIGNAL_STATUS[caught];
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}

async function play(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const screen = screenOf(options, signal);
  const report: DemoReport = { pings: [], transfers: [], fdb: [], traces: [], drops: [] };
  screen.line(screen.paint('bold', 'weft demo') + screen.paint('dim', '   Ctrl-C ends it at any time and cleans up'));
  let lab: Lab | undefined;
  // Not for another demo's lab: `claim` refuses before anything is made.
  let isOurs = true;
  try {
    lab = await Lab.build(ENTRY, signal).catch((error: unknown) => {
      isOurs = !(error instanceof OperatingError && error.code === 'busy');
      throw error;
    });
    const stage = { lab, screen, report, signal, fast: options.fast, weft: commandRunner(screen) };
    await playScenes(stage).catch((error: unknown) => {
      throw stage.lab.explained(error);
    });
    if (options.keep && !options.json) await keepRunning(screen, signal);
  } finally {
    if (isOurs) await cleanUp(lab, screen);
  }
  if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else sayGoodbye(screen);
}

async function playScenes(stage: Stage): Promise<void> {
  for (const [index, { title, play: scene }] of scenes.entries()) {
    stage.screen.heading(`${index + 1}/${scenes.length}  ${title}`);
    await scene(stage);
  }
}

async function cleanUp(lab: Lab | undefined, screen: Screen): Promise<void> {
  await lab?.stop();
  removeLab();
  screen.line();
  screen.good('the switch, the namespaces and the TAPs are gone again');
}

function screenOf({ json, fast }: DemoOptions, signal: AbortSignal): Screen {
  const { stdout, env } = process;
  const interactive = stdout.isTTY === true && !json;
  const colour = interactive && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb';
  // Off a terminal nobody needs time to read.
  const write = json ? () => {} : (text: string) => void stdout.write(text);
  return new Screen({ interactive, colour, fast: fast || !interactive, signal, write });
}

/** Commands run through the real command line, so what is shown is what the reader will see. */
function commandRunner(screen: Screen): Stage['weft'] {
  return async (words) => {
    const output: string[] = [];
    const unused = () => {
      throw new TypeError('the demo starts no daemon or demo through the command line');
    };
    const status = await runCommandLine([...words, '--socket', SOCKET], {
      commands,
      runners: { daemon: unused, demo: unused },
      terminal: { interactive: false, size: unused, write: unused, onResize: unused, onKey: unused },
      version: '',
      environment: {},
      stopped: new Promise(() => {}),
      out: (text) => output.push(text),
      err: (text) => output.push(text),
      readInput: unused,
    });
    screen.command(['weft', ...words.map(quoted)].join(' '));
    screen.block(output.join('\n'));
    if (status !== 0) throw new OperatingError(`weft ${words.join(' ')}: ${output.join(' ')}`);
  };
}

function quoted(word: string): string {
  return /^[\w.:=/@,-]+$/.test(word) ? word : `'${word}'`;
}

/** Leaves the network up until the reader has played enough. */
async function keepRunning(screen: Screen, signal: AbortSignal): Promise<void> {
  const at = `ip netns exec ${stations.vm1.namespace}`;
  screen.heading('Yours to play with');
  screen.block('In another terminal, as root:');
  screen.line();
  screen.block(
    [
      `export WEFT_SOCKET=${SOCKET}`,
      `alias weft='${process.execPath} ${ENTRY}'`,
      'weft top',
      `${at} ping ${stations.vm2.address}`,
      'weft port set vm2 enabled=false',
      'weft drops --watch',
      'weft config show',
    ].join('\n'),
    'cyan',
  );
  screen.line();
  screen.block('Ctrl-C here ends it and cleans up.');
  if (signal.aborted) return;
  // Something has to keep the process alive while it waits; the abort is a normal end here.
  const alive = setInterval(() => {}, 60_000);
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  clearInterval(alive);
}

function sayGoodbye(screen: Screen): void {
  screen.heading('What next');
  if (!isInstalled) screen.block(`weft stands for: node ${ENTRY}`, 'dim');
  screen.block(
    [
      'weft demo --keep           the same, left running for you to play with',
      'weft --help                every command; weft help trace explains one',
      'weft check switch.yaml     your own switch: write its file, have it checked,',
      'weft daemon --config switch.yaml       and start it. README.md has a first one.',
    ].join('\n'),
  );
}

function checkRequirements(): void {
  const refuse = (code: 'no-privilege' | 'no-device' | 'no-package' | 'unsupported', message: string, fix: string) => {
    throw new OperatingError(message, { code, fix });
  };
  if (process.platform !== 'linux')
    refuse('unsupported', 'weft runs on Linux only', 'Run the demo on a Linux machine.');
  if (process.geteuid?.() !== 0)
    refuse('no-privilege', 'the demo needs root, for TAPs and namespaces', 'sudo weft demo');
  if (!canUse('/dev/net/tun')) {
    refuse('no-device', '/dev/net/tun is missing', 'modprobe tun; in a container, pass the device in.');
  }
  const missing = Object.entries({ ip: 'iproute2', ping: 'iputils-ping' }).filter(([program]) => !isOnPath(program));
  if (missing.length > 0) {
    const names = missing.map(([program]) => program).join(' and ');
    const packages = missing.map(([, name]) => name).join(' ');
    refuse('no-package', `${names}: not installed`, `On Debian: apt-get install ${packages}`);
  }
}

function canUse(path: string, mode = constants.R_OK | constants.W_OK): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => canUse(join(folder, program), constants.X_OK));
}
