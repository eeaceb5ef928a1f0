/** `weft nat`: what routers translate. */
import { z } from 'zod';
import { remoteCommand } from '../remote-command.js';
import type { NatRow } from '../shapes.js';
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
];
