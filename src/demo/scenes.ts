/**
 * What the demo shows, scene by scene. Each is a function that acts on the lab, says what happened, and adds what it saw
 * to the report. Nothing is staged: every figure and sentence comes from the running switch, through the very commands
 * that the reader can type.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { DropRow, FdbRow, StatsResult, StatusResult, TraceResult } from '../control/shapes.js';
import { bitRate, packetRate, plural, sizeText } from '../control/table-text.js';
import { bar } from '../control/top-view.js';
import { OperatingError } from '../errors.js';
import { finished, type Lab } from './lab.js';
import { BLUE_VLAN, CONFIG, type Station, stations, UPLINK_PORT } from './lab-plan.js';
import type { Screen } from './screen.js';

export interface PingReport {
  readonly from: string;
  readonly to: string;
  readonly sent: number;
  readonly answered: number;
  readonly averageMs?: number;
}

export interface TransferReport {
  readonly from: string;
  readonly to: string;
  readonly bytes: number;
  readonly seconds: number;
  readonly bitsPerSecond: number;
  /** Mean octets of the frames that carried it: far above the MTU when offloads work. */
  readonly frameBytes: number;
}

/** What `weft demo --json` prints. */
export interface DemoReport {
  io?: StatusResult['io'];
  readonly pings: PingReport[];
  readonly transfers: TransferReport[];
  fdb: readonly FdbRow[];
  readonly traces: TraceResult[];
  drops: readonly DropRow[];
}

/** What every scene has at hand. */
export interface Stage {
  readonly lab: Lab;
  readonly screen: Screen;
  readonly report: DemoReport;
  readonly signal: AbortSignal;
  /** Shorter transfers. */
  readonly fast: boolean;
  /** Runs a weft command as the reader would type it, and shows both it and what it printed. */
  weft(words: readonly string[]): Promise<void>;
}

export interface Scene {
  readonly title: string;
  play(stage: Stage): Promise<void>;
}

const PEER = fileURLToPath(new URL('./peer.js', import.meta.url));
const TRANSFER_PORT = 5001;
const PICTURE_MS = 250;
const FDB_LOOK_MS = 50;
const BAR_WIDTH = 14;
const READING_MS = 1500;
const GLANCE_MS = 700;

const NETWORK_PICTURE = [
  '  vm1 192.0.2.11 ──┐',
  '                   ├── weft ──── uplink 192.0.2.1',
  '  vm2 192.0.2.12 ──┘',
].join('\n');

export const scenes: readonly Scene[] = [
  { title: 'Two VMs, one uplink, one switch', play: introduce },
  { title: 'A ping, and what the switch learns from it', play: learnStations },
  { title: 'TCP as fast as it goes', play: transfer },
  { title: 'Why did that frame go there?', play: explainForward },
  { title: 'Break it, and ask why', play: explainDrop },
  { title: 'Change a VLAN while it runs', play: changeVlan },
];

async function introduce({ lab, screen, report }: Stage): Promise<void> {
  const status = (await lab.client.call('status')) as StatusResult;
  report.io = status.io;
  screen.block(NETWORK_PICTURE);
  screen.line();
  screen.block(CONFIG.trimEnd(), 'dim');
  screen.line();
  const engine = status.io === 'uring' ? 'io_uring' : 'poll';
  screen.good(`the switch is up: ${plural(status.workers.length, 'worker')}, I/O by ${engine} (${status.ioReason})`);
  await screen.pause(READING_MS);
}

async function learnStations(stage: Stage): Promise<void> {
  const { lab, screen, report } = stage;
  const before = await labStations(lab);
  screen.block(before.length === 0 ? 'The switch knows nobody yet. vm1 pings vm2:' : 'vm1 pings vm2:');
  const known = new Set(before.map(({ mac }) => mac));
  const ping = pingOf(lab, stations.vm1, stations.vm2, 3);
  const progress = progressOf(ping);
  while (!progress.isOver) {
    await tellNewStations(stage, known);
    await progress.wait(FDB_LOOK_MS, stage.signal);
  }
  tellPing(stage, await ping);
  tellPing(stage, await pingOf(lab, stations.vm1, stations.uplink, 3));
  await tellNewStations(stage, known);
  report.fdb = await labStations(lab);
  screen.line();
  screen.block('The first frame went to everyone (a flood); from then on each goes to one port:');
  await stage.weft(['fdb', 'list']);
  await screen.pause(READING_MS);
}

async function transfer(stage: Stage): Promise<void> {
  await transferBetween(stage, stations.vm1, stations.vm2, stage.fast ? 0.8 : 2.5);
  await stage.screen.pause(GLANCE_MS);
  await transferBetween(stage, stations.vm2, stations.uplink, stage.fast ? 0.8 : 1.5);
  await stage.screen.pause(GLANCE_MS);
}

async function explainForward(stage: Stage): Promise<void> {
  stage.screen.block('The stages that forward frames also explain them. This sends nothing:');
  await traced(stage, stations.vm1, stations.vm2);
  await stage.screen.pause(READING_MS);
}

async function explainDrop(stage: Stage): Promise<void> {
  const { lab, screen, report } = stage;
  screen.block('Isolated ports reach the uplink, but not each other:');
  for (const port of ['vm1', 'vm2']) await stage.weft(['port', 'set', port, 'isolated=true']);
  tellPing(stage, await pingOf(lab, stations.vm1, stations.vm2, 2));
  tellPing(stage, await pingOf(lab, stations.vm1, stations.uplink, 2));
  await screen.pause(GLANCE_MS);
  screen.line();
  screen.block('Nothing is lost in silence. Who died, where, of what:');
  await stage.weft(['drops']);
  report.drops = (await lab.client.call('drops')) as readonly DropRow[];
  await screen.pause(READING_MS);
  await traced(stage, stations.vm1, stations.vm2);
  await screen.pause(READING_MS);
  screen.line();
  screen.block('And mended, without a frame of anybody else lost:');
  for (const port of ['vm1', 'vm2']) await stage.weft(['port', 'set', port, 'isolated=null']);
  tellPing(stage, await pingOf(lab, stations.vm1, stations.vm2, 2));
  await screen.pause(GLANCE_MS);
}

async function changeVlan(stage: Stage): Promise<void> {
  const { screen } = stage;
  await stage.weft(['port', 'set', 'vm2', 'network=blue']);
  screen.block(`vm2 is in another network now; on the uplink its frames carry VLAN ${BLUE_VLAN}:`);
  await traced(stage, stations.vm2, stations.uplink);
  await stage.weft(['port', 'set', 'vm2', 'network=lab']);
  await screen.pause(READING_MS);
}

async function labStations(lab: Lab): Promise<readonly FdbRow[]> {
  const own = new Set<string>(Object.values(stations).map(({ mac }) => mac));
  const rows = (await lab.client.call('fdb.list')) as readonly FdbRow[];
  return rows.filter(({ mac }) => own.has(mac));
}

async function tellNewStations({ lab, screen }: Stage, known: Set<string>): Promise<void> {
  for (const { mac, port } of await labStations(lab)) {
    if (known.has(mac)) continue;
    known.add(mac);
    screen.line(`  ${screen.paint('yellow', '+')} learned: ${mac} is behind ${port}`);
  }
}

async function pingOf(lab: Lab, from: Station, to: Station, count: number): Promise<PingReport> {
  const options = ['-n', '-q', '-c', String(count), '-i', '0.2', '-W', '1'];
  const { output } = await lab.run(from, ['ping', ...options, to.address]);
  const answered = /(\d+) (?:packets )?received/.exec(output);
  if (answered === null) throw new OperatingError(`ping did not work: ${output.trim()}`);
  const average = /= [\d.]+\/([\d.]+)\//.exec(output);
  return {
    from: from.name,
    to: to.name,
    sent: count,
    answered: Number(answered[1]),
    ...(average === null ? {} : { averageMs: Number(average[1]) }),
  };
}

function tellPing({ screen, report }: Stage, ping: PingReport): void {
  report.pings.push(ping);
  const who = `ping ${ping.from} → ${ping.to}`;
  const time = ping.averageMs === undefined ? '' : `, ${ping.averageMs} ms there and back`;
  if (ping.answered === 0) screen.bad(`${who}: no answer`);
  else screen.good(`${who}: ${ping.answered} of ${ping.sent} answered${time}`);
}

async function transferBetween(stage: Stage, from: Station, to: Station, seconds: number): Promise<void> {
  const { lab, screen, report } = stage;
  const receiver = lab.start(to, [process.execPath, PEER, 'receive', String(TRANSFER_PORT)]);
  const received = finished(receiver);
  // Awaited only after the sender; an interruption in between must not go unhandled.
  received.catch(() => {});
  await Promise.race([new Promise((resolve) => receiver.stdout?.once('data', resolve)), received]);
  const before = await statsByPort(lab);
  const sending = lab.run(from, [process.execPath, PEER, 'send', to.address, String(TRANSFER_PORT), String(seconds)]);
  const progress = progressOf(sending);
  const pictures = new RatePictures(before);
  const everyMs = screen.interactive ? PICTURE_MS : seconds * 400;
  screen.line();
  while (!progress.isOver) {
    await progress.wait(everyMs, stage.signal);
    if (!progress.isOver) screen.picture(pictures.next(await statsByPort(lab)));
  }
  const ended = await sending;
  const { output, status } = await received;
  const result = /\{.*\}/.exec(output);
  if (ended.status !== 0 || status !== 0 || result === null) {
    throw new OperatingError(`the TCP transfer failed: ${ended.output.trim()} ${output.trim()}`);
  }
  const after = await statsByPort(lab);
  const { bytes, seconds: taken } = JSON.parse(result[0]) as { bytes: number; seconds: number };
  const rx = (stats: StatsByPort) => stats.get(from.port)?.rx ?? { frames: 0, bytes: 0 };
  const frames = rx(after).frames - rx(before).frames;
  const frameBytes = Math.round((rx(after).bytes - rx(before).bytes) / Math.max(1, frames));
  const bitsPerSecond = (bytes * 8) / taken;
  report.transfers.push({ from: from.name, to: to.name, bytes, seconds: taken, bitsPerSecond, frameBytes });
  const what = `${from.name} → ${to.name}: ${sizeText(bytes)} in ${taken.toFixed(1)} s, ${bitRate(bitsPerSecond)}`;
  screen.good(`${what}, in frames of ${sizeText(frameBytes)} on average`);
}

interface Progress {
  readonly isOver: boolean;
  /** Until it is over, at most so long. Throws when the demo is interrupted. */
  wait(milliseconds: number, signal: AbortSignal): Promise<void>;
}

/** Lets a scene look in on something that runs. Its outcome is for whoever awaits the promise itself. */
function progressOf(running: Promise<unknown>): Progress {
  let isOver = false;
  const end = () => {
    isOver = true;
  };
  const ended = running.then(end, end);
  return {
    get isOver() {
      return isOver;
    },
    async wait(milliseconds, signal) {
      await Promise.race([ended, sleep(milliseconds, undefined, { signal })]);
    },
  };
}

type StatsByPort = ReadonlyMap<string, StatsResult['ports'][number]>;

async function statsByPort(lab: Lab): Promise<StatsByPort> {
  const { ports } = (await lab.client.call('stats')) as StatsResult;
  return new Map(ports.map((port) => [port.name, port]));
}

/** Bars of what each port sends and gets, from one look at the counters to the next. */
class RatePictures {
  private previous: StatsByPort;
  private previousMs = performance.now();
  /** The fullest bar so far: bars of later pictures compare with earlier ones. */
  private most = 1;

  constructor(before: StatsByPort) {
    this.previous = before;
  }

  next(current: StatsByPort): string[] {
    const nowMs = performance.now();
    const seconds = (nowMs - this.previousMs) / 1000;
    const rows = [stations.vm1.port, stations.vm2.port, UPLINK_PORT].map((port) => {
      const [old, now] = [this.previous.get(port), current.get(port)];
      const rate = (side: 'rx' | 'tx', unit: 'frames' | 'bytes') =>
        ((now?.[side][unit] ?? 0) - (old?.[side][unit] ?? 0)) / seconds;
      return { port, sent: rate('rx', 'bytes') * 8, got: rate('tx', 'bytes') * 8, frames: rate('rx', 'frames') };
    });
    this.previous = current;
    this.previousMs = nowMs;
    this.most = Math.max(this.most, ...rows.flatMap(({ sent, got }) => [sent, got]));
    const side = (bits: number) => `${bar(bits / this.most, BAR_WIDTH)} ${bitRate(bits).padStart(12)}`;
    const width = BAR_WIDTH + 13;
    const title = `${''.padEnd(6)}${'sends'.padEnd(width + 14)}gets`;
    const line = ({ port, sent, got, frames }: (typeof rows)[number]) =>
      `${port.padEnd(6)}${side(sent)} ${packetRate(frames).padStart(10)}   ${side(got)}`;
    return [title, ...rows.map(line)];
  }
}

/** A TCP SYN from one station to another, as `weft trace` explains it. */
async function traced(stage: Stage, from: Station, to: Station): Promise<void> {
  const frame = `tcp ${from.address}:40000 > ${to.address}:80 src ${from.mac} dst ${to.mac}`;
  stage.report.traces.push((await stage.lab.client.call('trace', { port: from.port, frame })) as TraceResult);
  await stage.weft(['trace', '--port', from.port, frame]);
}
