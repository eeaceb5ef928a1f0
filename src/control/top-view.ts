/** One picture of `weft top`, from two looks at the switch. Pure: looks and size in, lines out. */
import type { DropRow, PortRow, Rate, StatusResult } from './shapes.js';
import { bitRate, countText, durationText, packetRate, plainText, shareText } from './table-text.js';

/** What is shown of a port. */
export type TopPort = Pick<PortRow, 'name' | 'state' | 'reason' | 'rxFrames' | 'rxBytes' | 'txFrames' | 'txBytes'>;

/** What one look asks for. */
export interface TopLook {
  /** Milliseconds, monotonic. */
  readonly atMs: number;
  readonly status: StatusResult;
  readonly ports: readonly PortRow[];
  /** Shown like ports. */
  readonly underlays: readonly TopPort[];
  readonly drops: readonly DropRow[];
}

export interface TopSize {
  readonly columns: number;
  readonly rows: number;
}

interface PortRates {
  readonly port: TopPort;
  readonly rx: Rate;
  readonly tx: Rate;
  readonly busyness: number;
}

const BAR_WIDTH = 10;
const BAR_PARTS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
/** Drop lines shown at most; ports get the rest of the screen. */
const DROPS_SHOWN = 6;

/** `share` of `width` cells in eighths, padded. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0)) * width * 8);
  return `${'█'.repeat(eighths >> 3)}${BAR_PARTS[eighths & 7]}`.padEnd(width);
}

function difference(now: number, before: number | undefined, seconds: number): number {
  // A port that was made anew counts from zero again.
  return before === undefined || now < before || seconds <= 0 ? 0 : (now - before) / seconds;
}

/** What each port carried between the two looks, the busiest first. */
export function portRates(previous: TopLook | undefined, current: TopLook): PortRates[] {
  const seconds = previous === undefined ? 0 : (current.atMs - previous.atMs) / 1000;
  const portsOf = ({ ports, underlays }: TopLook): readonly TopPort[] => [...ports, ...underlays];
  const before = new Map(previous && portsOf(previous).map((port) => [port.name, port]));
  const rates = portsOf(current).map((port) => {
    const old = before.get(port.name);
    const rate = (frames: 'rxFrames' | 'txFrames', bytes: 'rxBytes' | 'txBytes'): Rate => ({
      framesPerSecond: difference(port[frames], old?.[frames], seconds),
      bitsPerSecond: difference(port[bytes], old?.[bytes], seconds) * 8,
    });
    const rx = rate('rxFrames', 'rxBytes');
    const tx = rate('txFrames', 'txBytes');
    return { port, rx, tx, busyness: rx.bitsPerSecond + tx.bitsPerSecond };
  });
  const rank = ({ port }: PortRates) => (port.state === 'up' ? 0 : 1);
  return rates.sort(
    (left, right) =>
      right.busyness - left.busyness || rank(left) - rank(right) || (left.port.name < right.port.name ? -1 : 1),
  );
}

function header(look: TopLook): string[] {
  const { status } = look;
  const state = status.ready ? 'ready' : 'NOT READY';
  const { ports, fdb } = status;
  return [
    `weft ${status.version}  up ${durationText(status.uptimeSeconds)}  ${status.io}  ${state}  ports ${ports.up} up ${ports.down} down ${ports.waiting} waiting`,
    `FDB      [${bar(fdb.entries / fdb.capacity, BAR_WIDTH)}] ${fdb.entries} of ${fdb.capacity} addresses`,
    ...status.workers.map((worker) => {
      const name = `worker ${worker.index}`.padEnd(9);
      const restarts = worker.restarts === 0 ? '' : `  restarts ${worker.restarts}`;
      return `${name}[${bar(worker.busyShare, BAR_WIDTH)}] ${shareText(worker.busyShare).padStart(5)}  ${packetRate(worker.framesPerSecond)}  ${worker.state}${restarts}`;
    }),
  ];
}

/** Bars are relative to the busiest direction of any port, so that they compare with each other. */
function portTable(rates: readonly PortRates[], room: number): string[] {
  const most = Math.max(1, ...rates.flatMap(({ rx, tx }) => [rx.bitsPerSecond, tx.bitsPerSecond]));
  const side = (rate: Rate) =>
    `${bar(rate.bitsPerSecond / most, BAR_WIDTH)} ${packetRate(rate.framesPerSecond).padStart(9)} ${bitRate(rate.bitsPerSecond).padStart(12)}`;
  const title = `${'PORT'.padEnd(11)}${'RECEIVED'.padEnd(BAR_WIDTH + 24)}SENT`;
  const shown = rates.length > room ? rates.slice(0, room - 1) : rates;
  const lines = shown.map(({ port, rx, tx }) => {
    const name = port.name.slice(0, 10).padEnd(11);
    return port.state === 'up' ? `${name}${side(rx)} ${side(tx)}` : `${name}${port.state}: ${port.reason ?? ''}`;
  });
  return [
    title,
    ...lines,
    ...(shown.length < rates.length ? [`… and ${rates.length - shown.length} quieter ports`] : []),
  ];
}

/** Drops with the newest last, as a log reads. */
function dropTable(previous: TopLook | undefined, current: TopLook, room: number): string[] {
  const key = (row: DropRow) => `${row.port} ${row.reason} ${row.of}`;
  const before = new Map(previous?.drops.map((row) => [key(row), row.count]));
  const age = (row: DropRow) => row.lastFrame?.atSeconds ?? Number.POSITIVE_INFINITY;
  const rows = [...current.drops]
    .sort((left, right) => age(right) - age(left) || left.count - right.count)
    .slice(-room);
  if (rows.length === 0) return ['DROPS      none'];
  return [
    'DROPS',
    ...rows.map((row) => {
      const grown = previous === undefined ? 0 : row.count - (before.get(key(row)) ?? 0);
      const growth = grown > 0 ? `+${countText(grown)}` : '';
      return `${row.port.slice(0, 10).padEnd(11)}${row.reason.padEnd(20)} ${countText(row.count).padStart(9)} ${growth.padStart(8)}  ${row.text}`;
    }),
  ];
}

/** Exactly `size.rows` lines of at most `size.columns` cells. */
export function topLines(previous: TopLook | undefined, current: TopLook, size: TopSize): string[] {
  const head = header(current);
  const dropRoom = Math.max(1, Math.min(DROPS_SHOWN, Math.floor((size.rows - head.length) / 3)));
  const drops = dropTable(previous, current, dropRoom);
  const portRoom = Math.max(1, size.rows - head.length - drops.length - 4);
  const ports = portTable(portRates(previous, current), portRoom);
  const body = [...head, '', ...ports, '', ...drops];
  const lines = [...body.slice(0, size.rows - 1), ...Array<string>(Math.max(0, size.rows - 1 - body.length)).fill('')];
  return [...lines, 'q quits'].map((line) => plainText(line).slice(0, size.columns));
}
