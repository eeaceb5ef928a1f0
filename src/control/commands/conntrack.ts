/** `weft conntrack`: the connections that the switch tracks. */
import { z } from 'zod';
import { objectName } from '../command.js';
import { remoteCommand } from '../remote-command.js';
import type { ConntrackEnd, ConntrackRow, ConntrackStats } from '../shapes.js';
import { countText, formatFields, formatTable, plural } from '../table-text.js';
import { portOption } from './common.js';

const right = (title: string) => ({ title, align: 'right' as const });

/** Rows of `list` when no limit is given: a table of four million would take minutes to print. */
const LIST_LIMIT_DEFAULT = 1000;
const LIST_LIMIT_MAX = 100_000;

function endText({ src, dst, srcPort, dstPort, icmpId }: ConntrackEnd): string {
  if (icmpId !== undefined) return `${src} > ${dst} id ${icmpId}`;
  if (srcPort === undefined) return `${src} > ${dst}`;
  const at = (address: string, port: number | undefined) =>
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
  return `${at(src, srcPort)} > ${at(dst, dstPort)}`;
}

function renderList(rows: readonly ConntrackRow[]): string {
  if (rows.length === 0) return 'no connections';
  return formatTable(
    [
      { title: 'ZONE' },
      { title: 'PROTO' },
      { title: 'STATE' },
      { title: 'ORIGINAL' },
      { title: 'PORT' },
      right('TIMEOUT'),
    ],
    rows.map((row) => [row.zone, row.proto, row.state, endText(row.original), row.port, `${row.timeoutSeconds}s`]),
  );
}

function renderStats(stats: ConntrackStats): string {
  const sum = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `${name} ${countText(count)}`)
      .join(', ') || 'none';
  const head = formatFields([
    ['connections', `${countText(stats.used)} of ${countText(stats.capacity)}`],
    ['by state', sum(stats.byState)],
    ['created', countText(stats.created)],
    ['expired', countText(stats.expired)],
    ['refused', sum(stats.refused)],
  ]);
  if (stats.byPort.length === 0) return head;
  const table = formatTable(
    [{ title: 'PORT' }, right('USED'), right('LIMIT')],
    stats.byPort.map(({ port, used, limit }) => [port, countText(used), countText(limit)]),
  );
  return `${head}\n\n${table}`;
}

export const conntrackCommands = [
  remoteCommand({
    words: 'conntrack list',
    summary: 'List the connections: ends, state, timeout.',
    description: [
      'Connections of networks in which a port has stateful groups. PORT is the one whose share the connection counts against. TIMEOUT is what is left if nothing more comes.',
      `At most ${LIST_LIMIT_DEFAULT} are listed unless --limit says otherwise, in no order.`,
    ],
    options: [portOption, { name: 'limit', value: 'N', summary: 'at most this many', count: true }],
    examples: [
      { command: 'weft conntrack list --port vm1', shows: 'what runs by vm1' },
      { command: 'weft conntrack list --limit 20', shows: 'any twenty' },
    ],
    params: z.strictObject({
      port: objectName.optional(),
      limit: z.int().min(1).max(LIST_LIMIT_MAX).default(LIST_LIMIT_DEFAULT),
    }),
    serve: (control, { port, limit }) => control.conntrackList(port, limit),
    render: renderList,
  }),
  remoteCommand({
    words: 'conntrack flush',
    summary: 'Forget connections: the next packet of each is judged as a new one.',
    description: [
      'Of one port, both ways, or all. TCP connections that stand are cut unless settings.conntrack.midstream is on.',
    ],
    options: [portOption],
    examples: [{ command: 'weft conntrack flush --port vm1', shows: 'forgets what runs by vm1' }],
    params: z.strictObject({ port: objectName.optional() }),
    serve: async (control, { port }) => ({ flushed: await control.conntrackFlush(port) }),
    render: ({ flushed }) => `${plural(flushed, 'connection')} forgotten`,
  }),
  remoteCommand({
    words: 'conntrack stats',
    summary: 'Show how full the table is, by port and state, and what was refused.',
    description: [
      'REFUSED counts new connections: full (table), port and network (their share), busy (a worker died while it was writing, and for some milliseconds nobody could).',
    ],
    examples: [{ command: 'weft conntrack stats', shows: 'sizes, shares and counts' }],
    params: z.strictObject({}),
    serve: (control) => control.conntrackStats(),
    render: renderStats,
  }),
];
