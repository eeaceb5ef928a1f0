/** `weft fdb`: which station is behind which port. */
import { z } from 'zod';
import { type CliContext, type CommandInput, ipAddress, macAddress, objectName } from '../command.js';
import { checkParams, jsonText, remoteCommand } from '../remote-command.js';
import type { FdbRow } from '../shapes.js';
import { durationText, formatTable, plural } from '../table-text.js';
import { networkOption, portOption } from './common.js';

/** Entries asked for at once; the table can hold more than one answer may. */
const PAGE_SIZE = 10_000;

const listParams = z.strictObject({
  network: objectName.optional(),
  port: objectName.optional(),
  offset: z.int().min(0).optional(),
  limit: z.int().min(1).optional(),
});

function renderRows(rows: readonly FdbRow[]): string {
  if (rows.length === 0) return 'no addresses';
  return formatTable(
    [{ title: 'NETWORK' }, { title: 'MAC' }, { title: 'PORT' }, { title: 'REMOTE' }, { title: 'AGE', align: 'right' }],
    rows.map((row) => [
      row.network,
      row.mac,
      row.port,
      row.remote ?? '-',
      row.static ? 'static' : durationText(row.ageSeconds),
    ]),
  );
}

/** Asks in parts; an address that is learned or forgotten meanwhile may be seen twice or not at all. */
async function list(context: CliContext, input: CommandInput): Promise<number> {
  const wanted = checkParams(listParams, input) as z.input<typeof listParams>;
  const most = wanted.limit ?? Number.POSITIVE_INFINITY;
  const first = wanted.offset ?? 0;
  const rows: FdbRow[] = [];
  while (rows.length < most) {
    const limit = Math.min(PAGE_SIZE, most - rows.length);
    const page = (await context.call('fdb.list', { ...wanted, offset: first + rows.length, limit })) as FdbRow[];
    for (const row of page) rows.push(row);
    if (page.length < limit) break;
  }
  context.print(context.json ? jsonText(rows, context) : renderRows(rows));
  return 0;
}

const place = [
  { name: 'network', summary: 'the network', required: true, completes: 'network' },
  { name: 'mac', summary: "the station's address", required: true, completes: 'none' },
] as const;

export const fdbCommands = [
  remoteCommand({
    words: 'fdb list',
    summary: 'List the stations the switch knows: network, address, port, age.',
    description: [
      'The forwarding database (FDB) says behind which port each address of each network is. AGE is the time since the station last sent something; an entry is forgotten when it reaches the macAge of its network. Static entries never age.',
      'For a station at the far end of a tunnel PORT is the underlay and REMOTE its endpoint.',
    ],
    options: [
      networkOption,
      portOption,
      { name: 'limit', value: 'N', summary: 'at most this many', count: true },
      { name: 'offset', value: 'N', summary: 'leave out this many at the start', count: true },
    ],
    examples: [
      { command: 'weft fdb list --network red', shows: 'the stations of one network' },
      { command: "weft fdb list --json | jq 'length'", shows: 'how many there are' },
    ],
    params: listParams,
    serve: (control, { network, port, offset, limit }) =>
      control.fdbList({
        ...(network === undefined ? {} : { network }),
        ...(port === undefined ? {} : { port }),
        ...(offset === undefined ? {} : { offset }),
        ...(limit === undefined ? {} : { limit }),
      }),
    render: renderRows,
    run: list,
  }),
  remoteCommand({
    words: 'fdb add',
    summary: 'Pin a station to a port.',
    description: [
      'Adds a static entry: frames for this address go to this port, wherever the address is seen sending. A learned entry of the same address becomes static. Static entries neither age nor move, and a flush keeps them.',
      'A station at the far end of a tunnel is pinned to its underlay and the address of its host. What that host sends is taken only if it is one of the remotes or within allowFrom.',
    ],
    arguments: [
      ...place,
      { name: 'port', summary: 'the port it is behind, or the underlay', required: true, completes: 'port' },
      { name: 'remote', summary: 'with an underlay: the far end of the tunnel', required: false, completes: 'none' },
    ],
    examples: [
      { command: 'weft fdb add red 52:54:00:00:00:01 vm1', shows: 'the address pinned to vm1' },
      {
        command: 'weft fdb add overlay 52:54:00:00:00:02 u0 192.0.2.2',
        shows: 'the address pinned to a host behind underlay u0',
      },
    ],
    params: z.strictObject({ network: objectName, mac: macAddress, port: objectName, remote: ipAddress.optional() }),
    serve: (control, { network, mac, port, remote }) => control.fdbAdd(network, mac, port, remote),
    render: (row) =>
      `${row.mac} in ${row.network} is pinned to ${row.port}${row.remote === undefined ? '' : ` at ${row.remote}`}`,
  }),
  remoteCommand({
    words: 'fdb remove',
    summary: 'Forget a station, learned or pinned.',
    description: ['Removes one entry. If the station sends again it is learned again.'],
    arguments: place,
    examples: [{ command: 'weft fdb remove red 52:54:00:00:00:01', shows: 'the entry that was removed' }],
    params: z.strictObject({ network: objectName, mac: macAddress }),
    serve: (control, { network, mac }) => control.fdbRemove(network, mac),
    render: (row) =>
      `${row.mac} in ${row.network} was behind ${row.port}${row.remote === undefined ? '' : ` at ${row.remote}`}; forgotten`,
  }),
  remoteCommand({
    words: 'fdb flush',
    summary: 'Forget every learned station, or those of a network or port.',
    description: [
      'Static entries stay. Until the stations send again, frames for them are flooded in their network; no frame is lost.',
    ],
    options: [networkOption, portOption],
    examples: [
      { command: 'weft fdb flush', shows: 'how many were forgotten' },
      { command: 'weft fdb flush --network red --port vm1', shows: 'the same, only what is behind vm1 in red' },
    ],
    params: z.strictObject({ network: objectName.optional(), port: objectName.optional() }),
    serve: async (control, { network, port }) => ({
      flushed: await control.fdbFlush({
        ...(network === undefined ? {} : { network }),
        ...(port === undefined ? {} : { port }),
      }),
    }),
    render: ({ flushed }) => `${plural(flushed, 'address', 'addresses')} forgotten`,
  }),
];
