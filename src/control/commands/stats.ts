/** `weft stats`: every counter, exact in JSON. */
import { z } from 'zod';
import { objectName } from '../command.js';
import { remoteCommand } from '../remote-command.js';
import type { StatsResult } from '../shapes.js';
import { countText, durationText, formatTable, sizeText } from '../table-text.js';

const number = (title: string) => ({ title, align: 'right' as const });

function render({ ports, workers }: StatsResult): string {
  const portTable = formatTable(
    [
      { title: 'PORT' },
      number('RX FRAMES'),
      number('BYTES'),
      number('FORWARDED'),
      number('CONSUMED'),
      number('DROPPED'),
      number('TX FRAMES'),
      number('BYTES'),
      number('GENERATED'),
      number('DROPPED'),
    ],
    ports.map(({ name, rx, tx }) => [
      name,
      countText(rx.frames),
      sizeText(rx.bytes),
      countText(rx.forwarded),
      countText(rx.consumed),
      countText(rx.dropped),
      countText(tx.frames),
      sizeText(tx.bytes),
      countText(tx.generated),
      countText(tx.dropped),
    ]),
  );
  const workerTable = formatTable(
    [
      { title: 'WORKER' },
      number('FRAMES'),
      number('BATCHES'),
      number('MEAN BATCH'),
      number('BUSY'),
      number('FREE SLOTS'),
    ],
    workers.map((worker) => [
      String(worker.index),
      countText(worker.frames),
      countText(worker.batches),
      worker.batches === 0 ? '-' : (worker.frames / worker.batches).toFixed(1),
      durationText(worker.busySeconds),
      countText(worker.slotsFree),
    ]),
  );
  return workers.length === 0 ? portTable : `${portTable}\n\n${workerTable}`;
}

export const statsCommands = [
  remoteCommand({
    words: 'stats',
    summary: 'Show the counters of every port, or of one, and of the workers.',
    description: [
      'Every received frame is counted exactly once as forwarded (at least one copy was sent), consumed (the switch itself took or answered it) or dropped, so that frames = forwarded + consumed + dropped. On the sending side, dropped counts the copies that this port could not send.',
      "Large numbers are shortened on a terminal; --json prints them exactly. Counters are at most 200 ms old. 'weft drops' says why frames were dropped.",
    ],
    arguments: [{ name: 'port', summary: 'show this port only', required: false, completes: 'port' }],
    examples: [
      { command: 'weft stats', shows: 'all ports' },
      { command: "weft stats vm1 --json | jq '.ports[0].rx'", shows: 'the exact receive counters of vm1' },
    ],
    params: z.strictObject({ port: objectName.optional() }),
    serve: (control, { port }) => control.stats(port),
    render,
  }),
];
