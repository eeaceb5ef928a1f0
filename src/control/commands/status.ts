/** `weft status`: is it well, and what does it do now. */
import { z } from 'zod';
import { remoteCommand } from '../remote-command.js';
import type { IoFailure, StatusResult } from '../shapes.js';
import { countText, durationText, formatFields, plural, rateText, shareText } from '../table-text.js';

function renderWorkers(status: StatusResult): (readonly [string, string])[] {
  return status.workers.map((worker) => {
    const restarts = worker.restarts === 0 ? '' : `, ${plural(worker.restarts, 'restart')}`;
    const exit = worker.lastExit === undefined ? '' : ` (last: ${worker.lastExit})`;
    const busy = `${worker.state}, busy ${shareText(worker.busyShare)}`;
    return [`worker ${worker.index}`, `${busy}${restarts}${exit}${failuresText(worker.ioFailures)}`];
  });
}

function failuresText(failures: readonly IoFailure[]): string {
  if (failures.length === 0) return '';
  const calls = failures.map(({ operation, errno, count }) => `${operation} ${errno} ${countText(count)}`);
  return `; failed calls: ${calls.join(', ')}`;
}

function natLine({ nat }: StatusResult): (readonly [string, string])[] {
  if (nat === undefined) return [];
  const { ports, refused } = nat;
  const words = [
    plural(ports, 'port mapped', 'ports mapped'),
    ...(refused.exhausted > 0 ? [`${refused.exhausted} connections refused for want of a port`] : []),
    ...(refused.limit > 0 ? [`${refused.limit} beyond a machine's share`] : []),
  ];
  return [['NAT', words.join(', ')]];
}

/** Once machines have asked for something. */
function serviceLines({ services: { names, metadata } }: StatusResult): (readonly [string, string])[] {
  const lines: (readonly [string, string])[] = [];
  if (names.queries > 0)
    lines.push(['names', `${names.queries} asked, ${names.forwarded} of resolvers, ${names.failed} without an answer`]);
  if (metadata.requests > 0)
    lines.push(['metadata', `${metadata.requests} asked, ${metadata.refused} refused, ${metadata.failed} failed`]);
  return lines;
}

function render(status: StatusResult): string {
  const { ports, rates, fdb, kept } = status;
  return formatFields([
    ['weft', `${status.version}, pid ${status.pid}, up ${durationText(status.uptimeSeconds)}`],
    ['state', status.ready ? 'ready' : 'not ready: not every worker forwards by the configuration asked for'],
    ['I/O', `${status.io}: ${status.ioReason}`],
    ...renderWorkers(status),
    ['ports', `${ports.up} up, ${ports.down} down, ${ports.waiting} waiting`],
    ['received', rateText(rates.rx)],
    ['sent', rateText(rates.tx)],
    ['FDB', `${fdb.entries} of ${fdb.capacity} addresses`],
    ...natLine(status),
    ...serviceLines(status),
    ...(kept === undefined
      ? []
      : [['kept', `${plural(kept.connections, 'connection')}, ${plural(kept.fdb, 'address', 'addresses')}`] as const]),
  ]);
}

export const statusCommands = [
  remoteCommand({
    words: 'status',
    summary: 'Show version, workers, I/O engine, ports and traffic now.',
    description: [
      'Prints one look at the running switch: whether it is ready, which I/O engine moves its frames and why that one, what each worker does, how many ports are up, and what crosses the switch now (averaged over about a second).',
    ],
    examples: [
      { command: 'weft status', shows: 'the summary for a person' },
      { command: 'weft status --json | jq .ready', shows: 'whether it is ready, for a script' },
    ],
    params: z.strictObject({}),
    serve: (control) => control.status(),
    render,
  }),
];
