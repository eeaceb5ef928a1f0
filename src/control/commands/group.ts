/** `weft group`: security groups, their members, and what their rules did. */
import { z } from 'zod';
import { type CommandArgument, objectName } from '../command.js';
import { remoteCommand } from '../remote-command.js';
import type { GroupDetail, GroupRow } from '../shapes.js';
import { countText, formatFields, formatTable } from '../table-text.js';

const right = (title: string) => ({ title, align: 'right' as const });

const groupArgument: CommandArgument = { name: 'name', summary: 'the group', required: true, completes: 'none' };

const listed = (names: readonly string[]) => (names.length === 0 ? 'none' : names.join(' '));

function renderList(rows: readonly GroupRow[]): string {
  if (rows.length === 0) return 'no security groups';
  return formatTable(
    [{ title: 'NAME' }, { title: 'STATEFUL' }, right('RULES'), right('HITS'), { title: 'PORTS' }],
    rows.map((row) => [
      row.name,
      row.stateful ? 'yes' : 'no',
      String(row.ruleCount),
      countText(row.hits),
      listed(row.ports),
    ]),
  );
}

function renderDetail(detail: GroupDetail): string {
  const head = formatFields([
    ['name', detail.name],
    ['stateful', detail.stateful ? 'yes: answers pass by themselves' : 'no: each direction needs its rule'],
    ['ports', listed(detail.ports)],
    ['members', listed(detail.members)],
  ]);
  if (detail.rules.length === 0) return `${head}\n\nno rules: only what is always allowed passes`;
  const table = formatTable(
    [right('#'), { title: 'DIRECTION' }, right('FRAMES'), right('BYTES'), { title: 'LAST HIT' }, { title: 'RULE' }],
    detail.rules.map((rule) => [
      String(rule.index),
      rule.direction,
      countText(rule.frames),
      countText(rule.bytes),
      rule.lastHitSeconds === undefined ? '-' : `${Math.round(rule.lastHitSeconds)} s ago`,
      rule.text,
    ]),
  );
  return `${head}\n\n${table}`;
}

export const groupCommands = [
  remoteCommand({
    words: 'group list',
    summary: 'List the security groups: rules, hits, and the ports in them.',
    description: ['HITS is how many frames a rule of the group let pass by itself. Of a connection that is its first.'],
    examples: [{ command: 'weft group list', shows: 'all security groups' }],
    params: z.strictObject({}),
    serve: (control) => control.groupList(),
    render: renderList,
  }),
  remoteCommand({
    words: 'group show',
    summary: "Show a security group's rules with their hits, and its members.",
    description: [
      'The direction ingress is towards the machine, egress from it. What no rule allows is dropped (group_deny), but for what every machine needs: ARP, the client side of DHCP, and the ICMPv6 of its link. Frames that are neither ARP nor IP are dropped too, unless the port lists them in allowEthertypes.',
      'A stateful rule counts the frames that begin connections; what follows passes by its connection. Members are the addresses and allowed pairs of the ports in the group: what remoteGroup stands for.',
    ],
    arguments: [groupArgument],
    examples: [{ command: 'weft group show web', shows: 'its rules and members' }],
    params: z.strictObject({ name: objectName }),
    serve: (control, { name }) => control.groupShow(name),
    render: renderDetail,
  }),
];
