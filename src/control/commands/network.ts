/** `weft network`: the broadcast domains. */
import { z } from 'zod';
import { objectName } from '../command.js';
import { networkSchema } from '../config-keys.js';
import { parseKeyValues } from '../key-values.js';
import { remoteCommand } from '../remote-command.js';
import type { NetworkDetail, NetworkRow } from '../shapes.js';
import { formatFields, formatTable } from '../table-text.js';
import { keyValueHelp, networkArgument, renderChanges, savedHelp } from './common.js';

/** Ports named in a row of the list; the rest is counted. */
const PORTS_SHOWN = 8;

function portsText(ports: readonly string[]): string {
  const shown = ports.slice(0, PORTS_SHOWN).join(' ');
  return ports.length > PORTS_SHOWN ? `${shown} and ${ports.length - PORTS_SHOWN} more` : shown || '-';
}

function renderList(networks: readonly NetworkRow[]): string {
  if (networks.length === 0) return 'no networks';
  return formatTable(
    [
      { title: 'NAME' },
      { title: 'TYPE' },
      { title: 'ID', align: 'right' },
      { title: 'MTU', align: 'right' },
      { title: 'PORTS' },
    ],
    networks.map((network) => [
      network.name,
      network.type,
      network.id === undefined ? '-' : String(network.id),
      String(network.mtu),
      portsText(network.ports),
    ]),
  );
}

function renderDetail(network: NetworkDetail): string {
  return formatFields([
    ['network', network.name],
    ['type', network.id === undefined ? network.type : `${network.type}, id ${network.id}`],
    ['MTU', String(network.mtu)],
    ['ports', network.ports.join(' ') || 'none'],
    ...(network.remotes === undefined ? [] : [['remotes', network.remotes.join(' ') || 'none'] as const]),
    ['FDB', `${network.fdb.entries} of ${network.fdb.limit} addresses`],
  ]);
}

const pairs = {
  name: 'pairs',
  summary: 'key=value, as in the configuration file',
  required: true,
  variadic: true,
  completes: 'network-key',
} as const;

const configParams = z.object({ name: objectName }).catchall(z.json());

const toParams = async (input: { readonly [key: string]: unknown }) => ({
  ...parseKeyValues((input.pairs ?? []) as readonly string[], await networkSchema()),
  name: input.name,
});

export const networkCommands = [
  remoteCommand({
    words: 'network list',
    summary: 'List the networks with type, id, MTU and ports.',
    description: ['One line a network: who can reach whom. PORTS are those that carry it, tagged or not.'],
    examples: [{ command: 'weft network list', shows: 'all networks' }],
    params: z.strictObject({}),
    serve: (control) => control.networkList(),
    render: renderList,
  }),
  remoteCommand({
    words: 'network show',
    summary: 'Show one network: its ports and how full its FDB is.',
    description: ['Everything about one network. With --json also its section of the running configuration.'],
    arguments: [networkArgument],
    examples: [{ command: 'weft network show red', shows: 'its ports and addresses' }],
    params: z.strictObject({ name: objectName }),
    serve: (control, { name }) => control.networkShow(name),
    render: renderDetail,
  }),
  remoteCommand({
    words: 'network add',
    summary: 'Add a network.',
    description: [
      'A network of type vlan or flat names the uplink it leaves the host by; a local one stays inside; one of type vxlan, gre or geneve names the underlay that its tunnels go through, and the remotes at their far ends.',
      keyValueHelp,
      savedHelp,
    ],
    arguments: [{ ...networkArgument, summary: 'a new name', completes: 'none' }, pairs],
    examples: [
      { command: 'weft network add lab type=local', shows: 'a network inside this switch' },
      { command: 'weft network add red type=vlan id=10 uplink=eth0', shows: 'VLAN 10 of the physical network' },
      {
        command: 'weft network add overlay type=vxlan id=5010 underlay=u0 remotes=192.0.2.2,192.0.2.3',
        shows: 'a network of three hosts',
      },
    ],
    params: configParams,
    serve: (control, { name, ...config }) => control.networkAdd(name, config),
    toParams,
    render: renderChanges,
  }),
  remoteCommand({
    words: 'network set',
    summary: 'Change keys of a network.',
    description: [
      'Changes the keys that are named and leaves the others. key=null takes a key back to its default.',
      keyValueHelp,
      savedHelp,
    ],
    arguments: [networkArgument, pairs],
    examples: [{ command: 'weft network set lab macAge=60s macLimit=1024', shows: 'two keys changed as one' }],
    params: configParams,
    serve: (control, { name, ...config }) => control.networkSet(name, config),
    toParams,
    render: renderChanges,
  }),
  remoteCommand({
    words: 'network remove',
    summary: 'Remove a network that no port carries.',
    description: ['Refused while a port still carries it: the refusal names the ports.', savedHelp],
    arguments: [networkArgument],
    examples: [{ command: 'weft network remove lab', shows: 'what was removed' }],
    params: z.strictObject({ name: objectName }),
    serve: (control, { name }) => control.networkRemove(name),
    render: renderChanges,
  }),
];
