/** Arguments, options and tables that several commands share. */
import type { CommandArgument, CommandOption } from '../command.js';
import type { ChangeResult, ConfigChange, JsonValue } from '../shapes.js';
import { plural } from '../table-text.js';

export const portArgument: CommandArgument = {
  name: 'name',
  summary: 'the port',
  required: true,
  completes: 'port',
};

export const networkArgument: CommandArgument = {
  name: 'name',
  summary: 'the network',
  required: true,
  completes: 'network',
};

export const networkOption: CommandOption = {
  name: 'network',
  value: 'NETWORK',
  summary: 'only this network',
  completes: 'network',
};

export const portOption: CommandOption = { name: 'port', value: 'PORT', summary: 'only this port', completes: 'port' };

/** How values of `add` and `set` are written: the same paragraph in every help. */
export const keyValueHelp =
  'Keys are those of the configuration file. Nested keys are dotted (acl.ingress=a1), lists are comma-separated ' +
  '(groups=web,db), and any value can be written as JSON (trunk=\'["red",{"network":"blue","vlan":7}]\').';

export const savedHelp =
  "The running switch and the daemon's own saved copy change together; the file given to --config is never written.";

const MARKS = { add: '+', change: '~', remove: '-' } as const;

function changeText(change: ConfigChange): string {
  const value = (json: JsonValue | undefined) => (json === undefined ? '' : JSON.stringify(json));
  const head = `${MARKS[change.op]} ${change.path}`;
  if (change.op === 'change') return `${head}: ${value(change.from)} -> ${value(change.to)}`;
  const what = value(change.op === 'add' ? change.to : change.from);
  return what === '' ? head : `${head}: ${what}`;
}

/** The difference, one line a change, and what became of it. */
export function renderChanges(result: ChangeResult): string {
  const warnings = (result.warnings ?? []).map((sentence) => `warning: ${sentence}`);
  if (result.changes.length === 0) return ['no change', ...warnings].join('\n');
  const what = plural(result.changes.length, 'change');
  const outcome = result.applied ? `${what} applied` : `${what}, not applied`;
  return [...result.changes.map(changeText), outcome, ...warnings].join('\n');
}
