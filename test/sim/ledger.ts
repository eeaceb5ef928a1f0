/** What the counters must say: kept from the reference switch's verdicts, compared with the real ones at rest. */
import {
  type Counters,
  DROP_OF_COPY,
  DROP_OF_FRAME,
  NOT_LEARNED,
  RX_BYTES,
  RX_CONSUMED,
  RX_DROPPED,
  RX_FORWARDED,
  RX_FRAMES,
  STATION_MOVES,
  TX_BYTES,
  TX_DROPPED,
  TX_FRAMES,
} from '../../src/dataplane/counters.js';
import { type DropReason, dropReasonNumber, dropReasons } from '../../src/dataplane/drop-reason.js';

/** A received frame on its way to its one end. */
export interface FrameRecord {
  /** Index of its port. */
  readonly port: number;
  readonly octets: number;
  reason?: DropReason | undefined;
  /** Copies that nobody has reported yet. */
  open: number;
  sent: number;
  readonly failures: Set<DropReason>;
}

const FIELDS = {
  RX_FRAMES,
  RX_BYTES,
  RX_FORWARDED,
  RX_CONSUMED,
  RX_DROPPED,
  TX_FRAMES,
  TX_BYTES,
  TX_DROPPED,
  NOT_LEARNED,
  STATION_MOVES,
};

export class Ledger {
  private readonly counters: Counters;
  private readonly portCount: number;
  private readonly values = new Map<string, number>();
  private readonly drops = new Map<string, number>();
  /** Frames of which every copy failed, for different reasons: any of them may be the frame's. */
  private ambiguous: FrameRecord[] = [];

  constructor(counters: Counters, portCount: number) {
    this.counters = counters;
    this.portCount = portCount;
    this.adopt();
  }

  add(port: number, field: keyof typeof FIELDS, amount = 1): void {
    const key = `${port} ${field}`;
    this.values.set(key, (this.values.get(key) ?? 0) + amount);
  }

  sent(record: FrameRecord, port: number, octets: number): void {
    record.sent++;
    this.add(port, 'TX_FRAMES');
    this.add(port, 'TX_BYTES', octets);
  }

  copyDropped(record: FrameRecord, port: number, reason: DropReason): void {
    record.failures.add(reason);
    this.add(port, 'TX_DROPPED');
    this.addDrop(port, reason, DROP_OF_COPY);
  }

  /** The frame has ended. */
  settle(record: FrameRecord): void {
    this.add(record.port, 'RX_FRAMES');
    this.add(record.port, 'RX_BYTES', record.octets);
    if (record.sent > 0) {
      this.add(record.port, 'RX_FORWARDED');
      return;
    }
    this.add(record.port, 'RX_DROPPED');
    const reasons = record.reason === undefined ? [...record.failures] : [record.reason];
    if (reasons.length === 1) this.addDrop(record.port, reasons[0], DROP_OF_FRAME);
    else this.ambiguous.push(record);
  }

  /** A worker died with frames nobody will ever report: what is counted now is where counting goes on. */
  adopt(): void {
    this.values.clear();
    this.drops.clear();
    this.ambiguous = [];
    for (let port = 0; port < this.portCount; port++) {
      for (const [name, field] of Object.entries(FIELDS)) {
        this.values.set(`${port} ${name}`, this.counters.portValue(port, field));
      }
      for (const [reason, of] of everyDrop) {
        this.drops.set(`${port} ${reason} ${of}`, this.counters.dropValue(port, dropReasonNumber[reason], of));
      }
    }
  }

  /** Every difference, in words. */
  differences(): string[] {
    const found: string[] = [];
    for (let port = 0; port < this.portCount; port++) {
      for (const [name, field] of Object.entries(FIELDS)) {
        const actual = this.counters.portValue(port, field);
        const expected = this.values.get(`${port} ${name}`) ?? 0;
        if (actual !== expected) found.push(`port ${port}: ${name} is ${actual}, expected ${expected}`);
      }
      this.dropDifferences(port, found);
    }
    return found;
  }

  private dropDifferences(port: number, found: string[]): void {
    const ambiguous = this.ambiguous.filter((record) => record.port === port);
    let open = ambiguous.length;
    for (const [reason, of] of everyDrop) {
      const actual = this.counters.dropValue(port, dropReasonNumber[reason], of);
      const least = this.drops.get(`${port} ${reason} ${of}`) ?? 0;
      const possible = of === DROP_OF_FRAME ? ambiguous.filter(({ failures }) => failures.has(reason)).length : 0;
      open -= of === DROP_OF_FRAME ? actual - least : 0;
      if (actual >= least && actual <= least + possible) continue;
      const expected = possible === 0 ? `${least}` : `${least} to ${least + possible}`;
      found.push(
        `port ${port}: ${reason} of ${of === DROP_OF_COPY ? 'copy' : 'frame'} is ${actual}, expected ${expected}`,
      );
    }
    if (open !== 0) found.push(`port ${port}: ${open} drops are missing`);
  }

  private addDrop(port: number, reason: DropReason, of: number): void {
    const key = `${port} ${reason} ${of}`;
    this.drops.set(key, (this.drops.get(key) ?? 0) + 1);
  }
}

const everyDrop = dropReasons.flatMap((reason): [DropReason, number][] => [
  [reason, DROP_OF_FRAME],
  [reason, DROP_OF_COPY],
]);
