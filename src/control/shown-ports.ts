/**
 * The switch's ports as operators count them: all ports of one underlay are one row under its name. Pure.
 */
import type { ResolvedConfig } from './resolved.js';
import type { DropRow, PortStats } from './shapes.js';
import { shownName } from './shown-name.js';

/** Names inside of the ports that have a name outside; all but underlays have one. In the order of the document. */
export function portsByShownName({ ports }: ResolvedConfig): Map<string, string[]> {
  const byName = new Map<string, string[]>();
  for (const port of ports.keys()) {
    const shown = shownName(port);
    const known = byName.get(shown);
    if (known === undefined) byName.set(shown, [port]);
    else known.push(port);
  }
  return byName;
}

/** Sum of the counters of ports that are shown as one. */
export function sumStats(rows: readonly PortStats[]): PortStats {
  return rows.reduce((left, right) => ({
    name: left.name,
    rx: {
      frames: left.rx.frames + right.rx.frames,
      bytes: left.rx.bytes + right.rx.bytes,
      forwarded: left.rx.forwarded + right.rx.forwarded,
      consumed: left.rx.consumed + right.rx.consumed,
      dropped: left.rx.dropped + right.rx.dropped,
    },
    tx: {
      frames: left.tx.frames + right.tx.frames,
      bytes: left.tx.bytes + right.tx.bytes,
      generated: left.tx.generated + right.tx.generated,
      dropped: left.tx.dropped + right.tx.dropped,
    },
    notLearned: left.notLearned + right.notLearned,
    stationMoves: left.stationMoves + right.stationMoves,
  }));
}

/** One row for each reason: counts added, the sample the youngest. */
export function sumDrops(rows: readonly DropRow[]): DropRow[] {
  const byReason = new Map<string, DropRow>();
  for (const row of rows) {
    const key = `${row.reason} ${row.of}`;
    const known = byReason.get(key);
    byReason.set(key, known === undefined ? row : sumDrop(known, row));
  }
  return [...byReason.values()];
}

function sumDrop(left: DropRow, right: DropRow): DropRow {
  const age = ({ lastFrame }: DropRow) => lastFrame?.atSeconds ?? Number.POSITIVE_INFINITY;
  return { ...(age(right) < age(left) ? right : left), count: left.count + right.count };
}
