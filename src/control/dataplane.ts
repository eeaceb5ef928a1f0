/**
 * The dataplane as the control plane holds it: the workers, their shared tables, the ports, and the snapshot in force.
 * Publishes snapshots, hears the workers, repairs what a dead one left, sweeps the FDB. Main thread.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { monotonicMs } from '../dataplane/clock.js';
import { errnoName } from '../dataplane/native.js';
import type { PortKind } from '../dataplane/port.js';
import { fileMemory, type SharedMemory } from '../dataplane/shared-memory.js';
import { WorkerPool } from '../dataplane/worker-pool.js';
import type { IoChoice, WorkerReport } from '../dataplane/worker-protocol.js';
import { FDB_CAPACITY, FDB_SWEEP_ENTRIES, FDB_TRIM_ENTRIES, SAMPLE_PERIOD_MS } from '../limits.js';
import { FDB_LAYOUT, fdbSize } from '../pipeline/fdb.js';
import { FdbControl } from '../pipeline/fdb-control.js';
import { LOOP_GUARD_SIZE, LoopGuard } from '../pipeline/loop-guard.js';
import type { Snapshot } from '../pipeline/snapshot.js';
import type { Names } from '../pipeline/stage.js';
import { TOKEN_BUCKETS_SIZE, TokenBuckets } from '../pipeline/token-bucket.js';
import { type TraceOutcome, Tracer } from '../pipeline/tracer.js';
import { PortMemories } from './port-memories.js';
import { PortServer } from './port-server.js';
import { Statistics } from './statistics.js';

/** As much of a logger as the control plane uses: pino's shape. */
export interface Log {
  info(detail: object, message: string): void;
  warn(detail: object, message: string): void;
  error(detail: object, message: string): void;
}

export interface DataplaneOptions {
  readonly workers: number;
  readonly io: IoChoice;
  readonly stateDirectory: string;
  /** Module with the worker task. */
  readonly workerFile: string;
  readonly kinds: ReadonlyMap<string, PortKind>;
  readonly log: Log;
  readonly firstSnapshot: Snapshot;
  /** A port came, went or changed: compile and publish a new snapshot. */
  readonly portChanged: (index: number) => void;
}

export class Dataplane {
  readonly fdb: FdbControl;
  readonly ports: PortServer;
  readonly statistics: Statistics;
  readonly workers: WorkerPool<Snapshot>;
  readonly loops: LoopGuard;
  readonly memories: PortMemories;
  /** FDB entries that an earlier daemon left; the controller adopts or drops them. */
  readonly fdbSurvived: boolean;
  private readonly fdbMemory: SharedMemory;
  private readonly storm = new SharedArrayBuffer(TOKEN_BUCKETS_SIZE);
  private readonly loopMemory = new SharedArrayBuffer(LOOP_GUARD_SIZE);
  private readonly log: Log;
  private readonly timer: NodeJS.Timeout;
  /** Until when each port was blocked when that was logged. */
  private readonly loggedBlocks = new Map<number, number>();
  private tracer: Tracer | undefined;
  private current: Snapshot;

  constructor(options: DataplaneOptions) {
    this.log = options.log;
    this.current = options.firstSnapshot;
    this.loops = new LoopGuard(this.loopMemory);
    mkdirSync(options.stateDirectory, { recursive: true, mode: 0o700 });
    this.fdbMemory = fileMemory(join(options.stateDirectory, 'fdb'), { ...FDB_LAYOUT, size: fdbSize(FDB_CAPACITY) });
    this.fdbSurvived = this.fdbMemory.survived;
    this.fdb = new FdbControl(this.fdbMemory.buffer, { byteOffset: this.fdbMemory.byteOffset });
    if (this.fdbSurvived) this.fdb.recover();
    this.memories = new PortMemories(join(options.stateDirectory, 'ports'));
    const orders = {
      count: options.workers,
      order: (index: number, order: Parameters<PortOrders>[1]) => this.workers.order(index, order),
    };
    this.ports = new PortServer(options.kinds, orders, (port) => this.memories.of(port), options.portChanged);
    this.workers = new WorkerPool<Snapshot>({
      count: options.workers,
      io: options.io,
      filename: options.workerFile,
      task: 'runWorker',
      shared: {
        storm: this.storm,
        loops: this.loopMemory,
        fdb: { memory: this.fdbMemory.descriptor, capacity: FDB_CAPACITY },
      },
      current: (index) => ({ snapshot: this.current, orders: this.ports.ordersFor(index) }),
      onReport: (index, report) => this.hear(index, report),
      onDeath: (index, reason) => this.bury(index, reason),
    });
    this.statistics = new Statistics(() => this.workers.seats);
    this.timer = setInterval(() => this.tick(), SAMPLE_PERIOD_MS);
    this.timer.unref();
  }

  get snapshot(): Snapshot {
    return this.current;
  }

  /** Makes every worker forward by this snapshot; resolves when they do. */
  async publish(snapshot: Snapshot): Promise<void> {
    this.current = snapshot;
    this.workers.orderAll({ type: 'snapshot', snapshot });
    await this.workers.reached(snapshot.epoch);
  }

  /** The port is no more: whoever gets its number must not inherit a block, empty storm buckets or kept frames. */
  forgetPort(port: number): void {
    this.workers.orderAll({ type: 'forget', port });
    this.loops.unblock(port);
    this.loggedBlocks.delete(port);
    new TokenBuckets(this.storm).forgetPort(port);
  }

  /** Runs the pipeline on a copy of the tables. */
  trace(port: number, frame: Uint8Array, names: Names): TraceOutcome {
    this.tracer ??= new Tracer();
    const state = {
      snapshot: this.current,
      fdb: this.fdb.copy(),
      loops: copyOf(this.loopMemory),
      storm: copyOf(this.storm),
      nowMs: monotonicMs(),
    };
    return this.tracer.trace(state, port, frame, names);
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.ports.close();
    await this.workers.stop();
    this.fdbMemory.close();
  }

  private hear(index: number, report: WorkerReport): void {
    if (report.type === 'detached') this.ports.workerLetGo(index, report.port);
    else if (report.type === 'failed') {
      const errno = errnoName(report.errno);
      this.log.warn({ port: this.ports.intent(report.port)?.name, errno }, 'a device failed');
      this.ports.deviceFailed(report.port, errno);
    } else this.log.info({ worker: index, io: report.io, reason: report.ioReason }, 'worker runs');
  }

  private bury(index: number, reason: string): void {
    this.log.error({ worker: index, reason }, 'worker died; replacing it');
    this.fdb.breakLock(index);
    this.ports.workerDied(index);
  }

  /** Once for each block. */
  private logLoops(): void {
    const now = monotonicMs();
    for (let port = 0; port < this.current.portMode.length; port++) {
      const until = this.loops.blockedUntil(port);
      if (until <= now || this.loggedBlocks.get(port) === until) continue;
      this.loggedBlocks.set(port, until);
      const seconds = Math.ceil((until - now) / 1000);
      this.log.warn(
        { port: this.ports.intent(port)?.name, seconds },
        'a station keeps moving: the port is blocked (loop)',
      );
    }
  }

  private tick(): void {
    this.logLoops();
    this.statistics.sample();
    this.fdb.sweep(Math.floor(monotonicMs() / 1000), this.current.networkMacAge, FDB_SWEEP_ENTRIES);
    this.fdb.trim(this.current, FDB_TRIM_ENTRIES);
  }
}

type PortOrders = WorkerPool<Snapshot>['order'];

function copyOf(memory: SharedArrayBuffer): ArrayBuffer {
  const copy = new ArrayBuffer(memory.byteLength);
  new Uint8Array(copy).set(new Uint8Array(memory));
  return copy;
}
