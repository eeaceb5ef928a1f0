/** `weft port`: where VMs, interfaces and uplinks attach. */
import { z } from 'zod';
import { objectName } from '../command.js';
import { portSchema } from '../config-keys.js';
import { parseKeyValues } from '../key-values.js';
import { remoteCommand } from '../remote-command.js';
import type { PortDetail, PortRow } from '../shapes.js';
import { countText, formatFields, formatTable, plural, rateText, sizeText } from '../table-text.js';
import { keyValueHelp, portArgument, renderChanges, savedHelp } from './common.js';

function networksText(port: PortRow): string {
  if (port.network !== null) return port.network;
  const members = (port.trunk ?? []).map(({ network, vlan }) => `${network}:${vlan}`);
  const native = port.native === undefined ? [] : [`${port.native} (native)`];
  return [...native, ...members].join(' ') || '-';
}

function stateText(port: PortRow): string {
  return port.reason === undefined ? port.state : `${port.state}: ${port.reason}`;
}

function renderList(ports: readonly PortRow[]): string {
  if (ports.length === 0) return 'no ports';
  return formatTable(
    [
      { title: 'NAME' },
      { title: 'KIND' },
      { title: 'DEVICE' },
      { title: 'NETWORK' },
      { title: 'MTU', align: 'right' },
      { title: 'RX', align: 'right' },
      { title: 'TX', align: 'right' },
      { title: 'DROPS', align: 'right' },
      { title: 'STATE' },
    ],
    ports.map((port) => [
      port.name,
      port.kind,
      port.device,
      networksText(port),
      String(port.mtu),
      countText(port.rxFrames),
      countText(port.txFrames),
      countText(port.rxDrops + port.txDrops),
      stateText(port),
    ]),
  );
}

function renderDetail(port: PortDetail): string {
  const head = formatFields([
    ['port', `${port.name} (${port.kind}, device ${port.device})`],
    ['state', stateText(port)],
    ['network', networksText(port)],
    ['MTU', String(port.mtu)],
    ...(port.mac === undefined ? [] : [['MAC', port.mac] as const]),
    ['received', `${countText(port.rxFrames)} frames, ${sizeText(port.rxBytes)}, now ${rateText(port.rates.rx)}`],
    ['sent', `${countText(port.txFrames)} frames, ${sizeText(port.txBytes)}, now ${rateText(port.rates.tx)}`],
    ['dropped', `${countText(port.rxDrops)} received, ${countText(port.txDrops)} copies to send`],
    ['FDB', plural(port.fdbEntries, 'address', 'addresses')],
  ]);
  const drops = port.drops.map((row) => [countText(row.count), row.reason, row.of, row.text]);
  const columns = [
    { title: 'COUNT', align: 'right' as const },
    { title: 'REASON' },
    { title: 'OF' },
    { title: 'MEANING' },
  ];
  return drops.length === 0 ? head : `${head}\n\n${formatTable(columns, drops)}`;
}

const pairs = {
  name: 'pairs',
  summary: 'key=value, as in the configuration file',
  required: false,
  variadic: true,
  completes: 'port-key',
} as const;

const configParams = z.object({ name: objectName }).catchall(z.json());

const toParams = async (input: { readonly [key: string]: unknown }) => ({
  ...parseKeyValues((input.pairs ?? []) as readonly string[], await portSchema()),
  name: input.name,
});

export const portCommands = [
  remoteCommand({
    words: 'port list',
    summary: 'List the ports with their networks, counters and state.',
    description: [
      "One line a port. NETWORK lists a trunk's networks with their VIDs. RX counts what came from the VM or the wire, TX what was sent to it. A port that is not up says why: 'waiting: no interface vnet3' comes up by itself when the interface appears.",
    ],
    examples: [
      { command: 'weft port list', shows: 'all ports' },
      {
        command: 'weft port list --json | jq -r \'.[] | select(.state != "up") | .name\'',
        shows: 'those that are not up',
      },
    ],
    params: z.strictObject({}),
    serve: (control) => control.portList(),
    render: renderList,
  }),
  remoteCommand({
    words: 'port show',
    summary: 'Show one port: state, rates, drops.',
    description: ['Everything about one port. With --json also its section of the running configuration.'],
    arguments: [portArgument],
    examples: [
      { command: 'weft port show vm1', shows: 'the port and what died there' },
      { command: 'weft port show vm1 --json | jq .config', shows: 'its configuration' },
    ],
    params: z.strictObject({ name: objectName }),
    serve: (control, { name }) => control.portShow(name),
    render: renderDetail,
  }),
  remoteCommand({
    words: 'port add',
    summary: 'Attach a port to the running switch.',
    description: [
      'Opens the device and lets frames through as soon as the whole policy of the port is in place. A port says which networks it carries by exactly one of network, trunk and tunnel. An interface that is not there yet is waited for.',
      keyValueHelp,
      savedHelp,
    ],
    arguments: [{ ...portArgument, summary: 'a new name', completes: 'none' }, pairs],
    examples: [
      { command: 'weft port add vm1 kind=tap network=red', shows: 'a TAP called vm1 in network red' },
      { command: 'weft port add vm2 kind=netdev device=vnet3 network=red', shows: 'a TAP that QEMU owns' },
      { command: 'weft port add fw kind=tap trunk=red,blue native=lab', shows: 'a trunk with a native network' },
    ],
    params: configParams,
    serve: (control, { name, ...config }) => control.portAdd(name, config),
    toParams,
    render: renderChanges,
  }),
  remoteCommand({
    words: 'port set',
    summary: 'Change keys of a port; no other port notices.',
    description: [
      'Changes the keys that are named and leaves the others. key=null takes a key back to its default. The change takes effect as one, between two batches of frames.',
      keyValueHelp,
      savedHelp,
    ],
    arguments: [portArgument, { ...pairs, required: true }],
    examples: [
      { command: 'weft port set vm1 network=blue', shows: 'vm1 moved to another network' },
      { command: 'weft port set vm1 storm.broadcast=500pps isolated=true', shows: 'two keys changed as one' },
      { command: 'weft port set vm1 enabled=false', shows: 'the port closed, its device kept' },
    ],
    params: configParams,
    serve: (control, { name, ...config }) => control.portSet(name, config),
    toParams,
    render: renderChanges,
  }),
  remoteCommand({
    words: 'port remove',
    summary: 'Detach a port.',
    description: [
      'The port forwards nothing more, its addresses are forgotten and its device is closed. A TAP that weft made is removed with it; one that was there before stays.',
      savedHelp,
    ],
    arguments: [portArgument],
    examples: [{ command: 'weft port remove vm1', shows: 'what was removed' }],
    params: z.strictObject({ name: objectName }),
    serve: (control, { name }) => control.portRemove(name),
    render: renderChanges,
  }),
];
