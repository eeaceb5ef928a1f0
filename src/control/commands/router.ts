/** `weft router` and `weft neighbor`: what leads from network to network, and which stations routers know there. */
import { z } from 'zod';
import { type CommandArgument, objectName } from '../command.js';
import { remoteCommand } from '../remote-command.js';
import type { JsonObject, NeighborRow, RouterDetail, RouterRow } from '../shapes.js';
import { durationText, formatFields, formatTable } from '../table-text.js';

const routerArgument: CommandArgument = { name: 'name', summary: 'the router', required: true, completes: 'router' };

function renderList(rows: readonly RouterRow[]): string {
  if (rows.length === 0) return 'no routers';
  return formatTable(
    [{ title: 'NAME' }, { title: 'INTERFACES' }, { title: 'ROUTES', align: 'right' }, { title: 'EXTERNAL' }],
    rows.map(({ name, interfaces, routeCount, external }) => [
      name,
      interfaces.map(({ network, addresses }) => `${network}:${addresses.join(',')}`).join(' '),
      String(routeCount),
      external ?? '-',
    ]),
  );
}

function renderDetail({ name, interfaces, routes, external, floating, forwards }: RouterDetail): string {
  const head = formatFields([
    ['name', name],
    ['external', external === undefined ? 'none' : externalText(external)],
  ]);
  const places = formatTable(
    [{ title: 'NETWORK' }, { title: 'MAC' }, { title: 'ADDRESSES' }],
    interfaces.map(({ network, mac, addresses }) => [network, mac, addresses.join(' ')]),
  );
  const ways = formatTable(
    [{ title: 'TO' }, { title: 'VIA' }, { title: 'STATE' }],
    routes.map(({ to, via, state }) => [to, typeof via === 'string' ? via : via.join(' '), state]),
  );
  const translated = [
    ...Object.entries(floating ?? {}).map(([outside, inside]) => `floating ${outside} to ${inside}`),
    ...(forwards ?? []).map(forwardText),
  ];
  const parts = [head, places, routes.length === 0 ? 'no static routes' : ways, translated.join('\n')];
  return parts.filter((part) => part !== '').join('\n\n');
}

function externalText({ network, snat }: JsonObject): string {
  return `${String(network)}, ${snat === false ? 'inside addresses are seen there' : 'inside addresses are hidden (snat)'}`;
}

function forwardText({ proto, address, port, to }: JsonObject): string {
  return `forward ${String(proto)} ${address === undefined ? '' : `${String(address)} `}port ${String(port)} to ${String(to)}`;
}

function renderNeighbors(rows: readonly NeighborRow[]): string {
  if (rows.length === 0) return 'no neighbours';
  return formatTable(
    [
      { title: 'ROUTER' },
      { title: 'NETWORK' },
      { title: 'ADDRESS' },
      { title: 'MAC' },
      { title: 'PORT' },
      { title: 'AGE', align: 'right' },
      { title: 'STATE' },
    ],
    rows.map(({ router, network, address, mac, port, ageSeconds, state, contested }) => [
      router,
      network,
      address,
      mac,
      port ?? '-',
      state === 'static' ? '-' : durationText(ageSeconds),
      contested === true ? `${state}, contested` : state,
    ]),
  );
}

export const routerCommands = [
  remoteCommand({
    words: 'router list',
    summary: 'List the routers: their addresses by network, routes, and the network outside.',
    description: ['ROUTES counts the static ones. Networks that a router has an address in need none.'],
    examples: [{ command: 'weft router list', shows: 'all routers' }],
    params: z.strictObject({}),
    serve: (control) => control.routerList(),
    render: renderList,
  }),
  remoteCommand({
    words: 'router show',
    summary: "Show a router's interfaces with their MACs, and its routes with their state.",
    description: [
      'STATE of a route is that of its next hop: static (the configuration says where it is), reachable (heard lately), stale (not heard for a while; it is asked again when packets go there), unresolved (not known; the first packet that goes there asks), or blackhole.',
      'A MAC towards the inside is the same on every host that has the router, so a machine that moves finds its gateway again.',
    ],
    arguments: [routerArgument],
    examples: [
      { command: 'weft router show r1', shows: 'its interfaces and routes' },
      { command: "weft router show r1 --json | jq -r '.interfaces[].mac'", shows: 'the MACs machines see' },
    ],
    params: z.strictObject({ name: objectName }),
    serve: (control, { name }) => control.routerShow(name),
    render: renderDetail,
  }),
  remoteCommand({
    words: 'neighbor list',
    summary: 'List the stations that routers know: address, MAC, port, age, state.',
    description: [
      'Learned from the ARP and ND messages of the stations, and from the addresses of ports in the configuration (static). A stale one is still used, and asked whether it is there when packets go to it. A contested address was claimed by two MACs lately; packets go to the one heard last.',
    ],
    examples: [
      { command: 'weft neighbor list', shows: 'all of them' },
      { command: 'weft neighbor list --json | jq \'.[] | select(.state == "stale")\'', shows: 'who is silent' },
    ],
    params: z.strictObject({}),
    serve: (control) => control.neighborList(),
    render: renderNeighbors,
  }),
];
