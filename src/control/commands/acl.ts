/** `weft acl`: what ACLs' rules did. */
import { z } from 'zod';
import { type CommandArgument, objectName } from '../command.js';
import { remoteCommand } from '../remote-command.js';
import type { AclDetail, AclRow } from '../shapes.js';
import { countText, formatFields, formatTable } from '../table-text.js';

const right = (title: string) => ({ title, align: 'right' as const });

const aclArgument: CommandArgument = { name: 'name', summary: 'the ACL', required: true, completes: 'none' };

function renderList(rows: readonly AclRow[]): string {
  if (rows.length === 0) return 'no ACLs';
  return formatTable(
    [{ title: 'NAME' }, { title: 'DEFAULT' }, right('RULES'), right('HITS'), { title: 'USED BY' }],
    rows.map((row) => [
      row.name,
      row.default,
      String(row.ruleCount),
      countText(row.hits),
      row.usedBy.length === 0 ? 'nobody' : row.usedBy.join(' '),
    ]),
  );
}

function ageText(seconds: number | undefined): string {
  return seconds === undefined ? '-' : `${Math.round(seconds)} s ago`;
}

function renderDetail(detail: AclDetail): string {
  const head = formatFields([
    ['name', detail.name],
    ['default', `${detail.default}: ${countText(detail.defaultFrames)} frames that no rule matched`],
    ['used by', detail.usedBy.length === 0 ? 'nobody' : detail.usedBy.join(' ')],
  ]);
  if (detail.rules.length === 0) return `${head}\n\nno rules`;
  const table = formatTable(
    [right('#'), right('FRAMES'), right('BYTES'), { title: 'LAST HIT' }, { title: 'RULE' }],
    detail.rules.map((rule) => [
      String(rule.index),
      countText(rule.frames),
      countText(rule.bytes),
      ageText(rule.lastHitSeconds),
      rule.text,
    ]),
  );
  return `${head}\n\n${table}`;
}

export const aclCommands = [
  remoteCommand({
    words: 'acl list',
    summary: 'List the ACLs: default, rules, hits, and where they are used.',
    description: ['HITS is how many frames matched a rule of the ACL since it is what it is now.'],
    examples: [{ command: 'weft acl list', shows: 'all ACLs' }],
    params: z.strictObject({}),
    serve: (control) => control.aclList(),
    render: renderList,
  }),
  remoteCommand({
    words: 'acl show',
    summary: "Show an ACL's rules with how often each matched.",
    description: [
      'Frames, octets and the last hit of each rule, over all places the ACL is used at. Counts begin at zero when the ACL changes; changes elsewhere leave them alone.',
      'Rules are tried in their order, and the first that matches decides. Their numbers are those that weft trace and weft drops name.',
    ],
    arguments: [aclArgument],
    examples: [
      { command: 'weft acl show a1', shows: 'its rules, the first at the top' },
      {
        command: "weft acl show a1 --json | jq '.rules[] | select(.frames == 0) | .text'",
        shows: 'the rules that nothing has matched',
      },
    ],
    params: z.strictObject({ name: objectName }),
    serve: (control, { name }) => control.aclShow(name),
    render: renderDetail,
  }),
];
