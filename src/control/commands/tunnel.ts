/** `weft tunnel`: how networks reach other hosts. */
import { z } from 'zod';
import { objectName } from '../command.js';
import { remoteCommand } from '../remote-command.js';
import type { MtuStep, TunnelDetail, TunnelRow } from '../shapes.js';
import { countText, formatFields, formatTable } from '../table-text.js';
import { networkArgument } from './common.js';

const right = (title: string) => ({ title, align: 'right' as const });

function idText(id: number | null): string {
  return id === null ? '-' : String(id);
}

function stateText({ state, reason }: { readonly state: string; readonly reason?: string }): string {
  return reason === undefined ? state : `${state}: ${reason}`;
}

function remoteText({ remote, learned }: TunnelRow): string {
  return learned === true ? `${remote} (learned)` : remote;
}

function renderList(rows: readonly TunnelRow[]): string {
  if (rows.length === 0) return 'no tunnels';
  return formatTable(
    [
      { title: 'NETWORK' },
      { title: 'TYPE' },
      right('ID'),
      { title: 'LOCAL' },
      { title: 'REMOTE' },
      right('MTU'),
      right('RX'),
      right('TX'),
      { title: 'STATE' },
    ],
    rows.map((row) => [
      row.network,
      row.type,
      idText(row.id),
      row.local,
      remoteText(row),
      String(row.mtu),
      countText(row.rxFrames),
      countText(row.txFrames),
      stateText(row),
    ]),
  );
}

function renderReckoning(steps: readonly MtuStep[]): string {
  const width = Math.max(...steps.map(({ octets }) => String(octets).length));
  return steps.map(({ what, octets }) => `  ${String(octets).padStart(width)}  ${what}`).join('\n');
}

/** What less passes to. */
function narrowSteps(rows: readonly TunnelRow[]): MtuStep[] {
  return rows.flatMap(({ remote, mtu, pathMtu }) =>
    pathMtu === undefined ? [] : [{ what: `to ${remote}: MTU of the path ${pathMtu}, less the same`, octets: mtu }],
  );
}

function renderDetail(detail: TunnelDetail): string {
  const head = formatFields([
    ['network', detail.network],
    ['type', detail.id === null ? `${detail.type}, no key` : `${detail.type}, id ${detail.id}`],
    ['underlay', `${detail.underlay}, from ${detail.local}`],
    ['state', stateText(detail)],
    ['MTU', String(detail.mtu)],
  ]);
  const reckoning = [...detail.reckoning, ...narrowSteps(detail.tunnels)];
  return [head, renderReckoning(reckoning), renderTunnels(detail.tunnels)].join('\n\n');
}

function renderTunnels(rows: readonly TunnelRow[]): string {
  if (rows.length === 0) return 'no remotes: nothing is sent to other hosts';
  return formatTable(
    [{ title: 'REMOTE' }, right('MTU'), right('RX'), right('TX'), { title: 'STATE' }],
    rows.map((row) => [
      remoteText(row),
      String(row.mtu),
      countText(row.rxFrames),
      countText(row.txFrames),
      stateText(row),
    ]),
  );
}

export const tunnelCommands = [
  remoteCommand({
    words: 'tunnel list',
    summary: 'List the tunnels: network, remote, MTU, frames, state.',
    description: [
      "One line for each network's way to each remote. STATE is up when something came through it within the last minute, unknown when nothing did, and down when there is no way: no route, an ICMP unreachable, an underlay without its address. It says why.",
      'Where the underlay has bfd, the BFD session decides: up when it is up, down when it is not. Floods leave out a remote whose session is down. One that has switched BFD off is judged as if there were none.',
      'A learned remote is not in the configuration: it sent from within allowFrom. It goes when its stations have expired.',
    ],
    examples: [
      { command: 'weft tunnel list', shows: 'all tunnels' },
      {
        command: 'weft tunnel list --json | jq -r \'.[] | select(.state == "down") | .remote\'',
        shows: 'the remotes that can not be reached',
      },
    ],
    params: z.strictObject({}),
    serve: (control) => control.tunnelList(),
    render: renderList,
  }),
  remoteCommand({
    words: 'tunnel show',
    summary: 'Show how one network is carried, and the reckoning of its MTU.',
    description: [
      "The underlay and its state, how the network's MTU comes about line by line, and the network's tunnels. A configured MTU that does not fit is no error: what fits is used, and the reckoning says so. A remote whose path lets less pass has a line of its own; it costs only what goes there.",
    ],
    arguments: [networkArgument],
    examples: [{ command: 'weft tunnel show overlay', shows: 'its remotes, and why its MTU is what it is' }],
    params: z.strictObject({ name: objectName }),
    serve: (control, { name }) => control.tunnelShow(name),
    render: renderDetail,
  }),
];
