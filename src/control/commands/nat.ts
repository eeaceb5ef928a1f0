/** `weft nat`: what routers translate. */
import { z } from 'zod';
import { remoteCommand } from '../remote-command.js';
import type { NatRow, NatStatsRow } from '../shapes.js';
import { formatTable } from '../table-text.js';

function renderList(rows: readonly NatRow[]): string {
  if (rows.length === 0) return 'nothing is translated';
  return formatTable(
    [
      { title: 'ROUTER' },
      { title: 'TYPE' },
      { title: 'PROTO' },
      { title: 'INTERNAL' },
      { title: 'EXTERNAL' },
      { title: 'REMOTE' },
    ],
    rows.map(({ router, type, proto, internal, external, remote = '' }) => [
      router,
      type,
      proto,
      internal,
      external,
      remote,
    ]),
  );
}

function renderStats(rows: readonly NatStatsRow[]): string {
  if (rows.length === 0) return 'no router translates';
  const ports = formatTable(
    [
      { title: 'ROUTER' },
      { title: 'EXTERNAL' },
      { title: 'PROTO' },
      { title: 'USED', align: 'right' },
      { title: 'POOL', align: 'right' },
    ],
    rows.flatMap(({ router, ports: all }) =>
      all.map(({ external, proto, used, size }) => [router, external, proto, String(used), String(size)]),
    ),
  );
  const refused = rows.map(
    ({ router, refused: { exhausted, limit } }) =>
      `${router} refused ${exhausted} for want of a port, ${limit} beyond a machine's share`,
  );
  return [ports, ...refused].join('\n');
}

export const natCommands = [
  remoteCommand({
    words: 'nat list',
    summary: 'List what routers translate: floating IPs, forwards, mappings in use.',
    description: [
      'Floating addresses and forwards are those of the configuration. A mapping (snat) is there while a connection uses it; with endpoint-dependent mapping, and of protocols other than TCP, UDP and ICMP, REMOTE says for whom it is good. Of ICMP the number behind the colon is the identifier of the echo.',
      'The connections themselves, in the zone of their router, are shown by weft conntrack list.',
    ],
    examples: [
      { command: 'weft nat list', shows: 'all' },
      { command: 'weft nat list --json | jq \'.[] | select(.type == "snat")\'', shows: 'mappings only' },
    ],
    params: z.strictObject({}),
    serve: (control) => control.natList(),
    render: renderList,
  }),
  remoteCommand({
    words: 'nat stats',
    summary: 'Show how full outside addresses are, and what was refused.',
    description: [
      'USED is the ports (of ICMP: identifiers) that are mapped, POOL how many there are; connections that endpoint-dependent mapping or their protocol hides one by one share ports, and are not counted. What is refused is dropped as nat_exhausted or nat_limit, and the log says so once a second at most.',
    ],
    examples: [{ command: 'weft nat stats', shows: 'whether ports run out' }],
    params: z.strictObject({}),
    serve: (control) => control.natStats(),
    render: renderStats,
  }),
];
