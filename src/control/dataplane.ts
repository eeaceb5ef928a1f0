/**
 * The dataplane as the control plane holds it: the workers, their shared tables, the ports, and the snapshot in force.
 * Publishes snapshots, hears the workers, repairs what a dead one left, sweeps the FDB. Main thread.
 */
import { randomInt } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { bootId } from '../dataplane/boot-id.js';
import { monotonicMs } from '../dataplane/clock.js';
import { allocateFrameRing } from '../dataplane/frame-ring.js';
import { errnoName } from '../dataplane/native.js';
import type { PortKind } from '../dataplane/port.js';
import { anonymousMemory, fileMemory, type SharedMemory } from '../dataplane/shared-memory.js';
import { WorkerPool } from '../dataplane/worker-pool.js';
import type { IoChoice, WorkerReport } from '../dataplane/worker-protocol.js';
import { OperatingError } from '../errors.js';
import {
  FDB_CAPACITY,
  FDB_SWEEP_ENTRIES,
  FDB_TRIM_ENTRIES,
  INJECTION_RING_SIZE,
  NEIGHBOR_SWEEP_ENTRIES,
  PUNT_RING_SIZE,
  RULE_LOG_RING_SIZE,
  SAMPLE_PERIOD_MS,
} from '../limits.js';
import { ConnectionControl } from '../pipeline/connection-control.js';
import { ConnectionReview } from '../pipeline/connection-review.js';
import { CONNECTION_LAYOUT, connectionTableSize } from '../pipeline/connection-table.js';
import { FDB_LAYOUT, fdbSize } from '../pipeline/fdb.js';
import { FdbControl, MAIN_OWNER } from '../pipeline/fdb-control.js';
import { FragmentTable, fragmentTableSize } from '../pipeline/fragment-table.js';
import { InjectionRing } from '../pipeline/injection-ring.js';
import { LOOP_GUARD_SIZE, LoopGuard } from '../pipeline/loop-guard.js';
import { NeighborControl, type StaticNeighbor } from '../pipeline/neighbor-control.js';
import { neighborTableSize } from '../pipeline/neighbor-table.js';
import {
  PUNT_ADDRESS_SERVICE,
  PUNT_BFD,
  PUNT_GUEST_SERVICE,
  type PuntedFrame,
  PuntRing,
} from '../pipeline/punt-ring.js';
import { RULE_COUNTERS_SIZE, RuleCounters } from '../pipeline/rule-counters.js';
import type { Snapshot } from '../pipeline/snapshot.js';
import type { Names } from '../pipeline/stage.js';
import { TOKEN_BUCKETS_SIZE, TokenBuckets } from '../pipeline/token-bucket.js';
import { type TracedInput, type TraceOutcome, Tracer } from '../pipeline/tracer.js';
import { TUNNEL_LAYOUT, TUNNEL_TABLE_SIZE } from '../pipeline/tunnel-table.js';
import { ipWords, macWordsText } from '../wire/address.js';
import type { Claimant } from './address-probes.js';
import { AddressService } from './address-service.js';
import { Announcer } from './announcer.js';
import { BfdServer } from './bfd-server.js';
import { DnsForwarder } from './dns-forwarder.js';
import { GuestServices } from './guest-services.js';
import { LeaseStore } from './lease-store.js';
import type { Log } from './log.js';
import { MetadataService } from './metadata-service.js';
import { NameService } from './name-service.js';
import { NatRefusalLog } from './nat-refusal-log.js';
import { PortMemories } from './port-memories.js';
import { PortServer } from './port-server.js';
import { RuleLogServer } from './rule-log-server.js';
import { RuleNumbers } from './rule-numbers.js';
import { shownName } from './shown-name.js';
import { Statistics } from './statistics.js';
import { TunnelPaths } from './tunnel-paths.js';
import { TunnelServer } from './tunnel-server.js';

export interface DataplaneOptions {
  readonly workers: number;
  readonly io: IoChoice;
  readonly stateDirectory: string;
  /** Module with the worker task. */
  readonly workerFile: string;
  readonly kinds: ReadonlyMap<string, PortKind>;
  readonly log: Log;
  readonly firstSnapshot: Snapshot;
  /** Connections that there is room for. */
  readonly connectionCapacity: number;
  /** Stations' addresses that there is room for. */
  readonly neighborCapacity: number;
  /** By a router's number. */
  readonly routerName: (index: number) => string | undefined;
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
  readonly tunnels: TunnelServer;
  readonly paths: TunnelPaths;
  readonly bfd: BfdServer;
  readonly neighbors: NeighborControl;
  readonly connections: ConnectionControl;
  private readonly review: ConnectionReview;
  private isReviewing = false;
  /** There are connections that an earlier daemon left. */
  readonly connectionsSurvived: boolean;
  readonly addresses: AddressService;
  readonly services: GuestServices;
  /** Frames of its own leave by the first worker. */
  readonly announcer = new Announcer((frame, network, destination) => this.inject(0, frame, network, destination));
  readonly ruleNumbers: RuleNumbers;
  /** FDB entries that an earlier daemon left; the controller adopts or drops them. */
  readonly fdbSurvived: boolean;
  private readonly fdbMemory: SharedMemory;
  private readonly connectionMemory: SharedMemory;
  private readonly neighborMemory: SharedMemory;
  private readonly fragmentMemory = anonymousMemory(fragmentTableSize());
  private readonly fragments: FragmentTable;
  private readonly storm = new SharedArrayBuffer(TOKEN_BUCKETS_SIZE);
  private readonly loopMemory = new SharedArrayBuffer(LOOP_GUARD_SIZE);
  /** By worker: frames that it is to send. */
  private readonly injections: InjectionRing[] = [];
  private readonly log: Log;
  private readonly ending = new AbortController();
  private readonly timer: NodeJS.Timeout;
  /** Until when each port was blocked when that was logged. */
  private readonly loggedBlocks = new Map<number, number>();
  private readonly ruleLog: RuleLogServer;
  private readonly natRefusalLog: NatRefusalLog;
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
    const capacity = options.connectionCapacity;
    const connectionFile = join(options.stateDirectory, 'connections');
    this.connectionMemory = fileMemory(connectionFile, { ...CONNECTION_LAYOUT, size: connectionTableSize(capacity) });
    this.connectionsSurvived = this.connectionMemory.survived;
    const { buffer, byteOffset } = this.connectionMemory;
    this.connections = new ConnectionControl(buffer, { byteOffset, capacity });
    this.review = new ConnectionReview(this.connections);
    if (this.connectionsSurvived) this.connections.recover();
    const tunnelFile = join(options.stateDirectory, 'tunnels');
    const tunnelMemory = fileMemory(tunnelFile, { ...TUNNEL_LAYOUT, size: TUNNEL_TABLE_SIZE });
    this.tunnels = new TunnelServer(tunnelMemory, this.fdb, () => this.workers.seats);
    this.bfd = new BfdServer(this.tunnels, options.log);
    const neighborRoom = { capacity: options.neighborCapacity };
    this.neighborMemory = anonymousMemory(neighborTableSize(neighborRoom.capacity));
    this.neighbors = new NeighborControl(this.neighborMemory.buffer, neighborRoom);
    this.fragments = new FragmentTable(this.fragmentMemory.buffer, MAIN_OWNER);
    this.addresses = this.openAddressService(options.stateDirectory);
    this.services = this.openGuestServices();
    const ruleCounters = Array.from({ length: options.workers }, () => new SharedArrayBuffer(RULE_COUNTERS_SIZE));
    const ruleLogs = Array.from({ length: options.workers }, () => allocateFrameRing(RULE_LOG_RING_SIZE));
    const counters = ruleCounters.map((memory) => new RuleCounters(memory));
    this.ruleNumbers = new RuleNumbers(counters);
    const portName = (index: number) => shownName(this.ports.intent(index)?.name ?? '');
    this.ruleLog = new RuleLogServer(options.log, this.ruleNumbers, counters, portName);
    this.ruleLog.read(ruleLogs, this.ending.signal);
    this.natRefusalLog = new NatRefusalLog(options.log, this.connections.refusals, options.routerName, portName);
    this.memories = new PortMemories(join(options.stateDirectory, 'ports'));
    const orders = {
      count: options.workers,
      order: (index: number, order: Parameters<PortOrders>[1]) => this.workers.order(index, order),
    };
    this.ports = new PortServer(options.kinds, orders, (port) => this.memories.of(port), options.portChanged);
    this.paths = new TunnelPaths(this.tunnels, this.ports);
    this.workers = new WorkerPool<Snapshot>({
      count: options.workers,
      io: options.io,
      filename: options.workerFile,
      task: 'runWorker',
      shared: {
        storm: this.storm,
        loops: this.loopMemory,
        fdb: { memory: this.fdbMemory.descriptor, capacity: FDB_CAPACITY },
        tunnels: this.tunnels.descriptor,
        punts: this.readPunts(options.workers),
        injections: this.openInjections(options.workers),
        neighbors: { memory: this.neighborMemory.descriptor, ...neighborRoom },
        connections: { memory: this.connectionMemory.descriptor, capacity },
        fragments: this.fragmentMemory.descriptor,
        ruleCounters,
        ruleLogs,
      },
      current: (index) => ({ snapshot: this.current, orders: this.ports.ordersFor(index) }),
      onReport: (index, report) => this.hear(index, report),
      onDeath: (index, reason) => this.bury(index, reason),
    });
    const ruleName = (number: number, atMs: number) => this.ruleNumbers.nameOf(number, atMs);
    this.statistics = new Statistics(() => this.workers.seats, ruleName);
    this.timer = setInterval(() => this.tick(), SAMPLE_PERIOD_MS);
    this.timer.unref();
  }

  get snapshot(): Snapshot {
    return this.current;
  }

  /** Makes every worker forward by this snapshot, and `neighbors` the static ones; resolves when that is so. */
  async publish(snapshot: Snapshot, neighbors: readonly StaticNeighbor[]): Promise<void> {
    this.current = snapshot;
    this.workers.orderAll({ type: 'snapshot', snapshot });
    await this.workers.reached(snapshot.epoch);
    this.reviewConnections();
    this.settleNeighbors(snapshot, neighbors);
  }

  /** Nothing that is forwarded depends on it, so what fails is logged, and done with the next snapshot. */
  private settleNeighbors(snapshot: Snapshot, neighbors: readonly StaticNeighbor[]): void {
    try {
      const left = this.neighbors.settle(neighbors, snapshot.networkFlags);
      if (left > 0) this.log.warn({ left }, 'there is no room for all addresses of ports to be answered for');
    } catch (error) {
      this.log.error({ err: error }, 'which addresses are answered for could not be brought up to date');
    }
  }

  /** The port is no more: whoever gets its number must not inherit a block, empty storm buckets or kept frames. */
  forgetPort(port: number): void {
    this.workers.orderAll({ type: 'forget', port });
    this.loops.unblock(port);
    this.loggedBlocks.delete(port);
    new TokenBuckets(this.storm).forgetPort(port);
  }

  /** Runs the pipeline on a copy of the tables. */
  trace(port: number, input: TracedInput, names: Names): TraceOutcome {
    this.tracer ??= new Tracer();
    const state = {
      snapshot: this.current,
      fdb: this.fdb.copy(),
      tunnels: this.tunnels.copy(),
      neighbors: this.neighbors.copy(),
      connections: this.connections.frozen(),
      fragments: this.fragments.copy(),
      loops: copyOf(this.loopMemory),
      storm: copyOf(this.storm),
      nowMs: monotonicMs(),
    };
    const outcome = this.tracer.trace(state, port, input, names);
    const { punted } = outcome;
    if (punted === undefined || punted.kind === PUNT_BFD) return outcome;
    const isAddress = punted.kind === PUNT_ADDRESS_SERVICE;
    const text = isAddress
      ? this.addresses.explain(punted.member, punted.octets)
      : this.services.explain(punted.member, punted.octets, punted.tunnel === 1);
    const stage = isAddress ? 'address-service' : 'guest-services';
    return { ...outcome, stages: [...outcome.stages, { stage, decision: 'consume', text, changes: [] }] };
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    this.ending.abort();
    this.bfd.close();
    await this.addresses.close();
    this.services.close();
    await this.ports.close();
    await this.workers.stop();
    this.fdbMemory.close();
    this.connectionMemory.close();
    this.tunnels.close();
  }

  /** A ring for each worker, which its successor goes on with. */
  private readPunts(workers: number): SharedArrayBuffer[] {
    const memories = Array.from({ length: workers }, () => allocateFrameRing(PUNT_RING_SIZE));
    for (const [worker, memory] of memories.entries()) {
      const hear = (frame: PuntedFrame) => {
        if (frame.kind === PUNT_BFD) this.bfd.hearInside(frame.octets, frame.tunnel);
        else if (frame.kind === PUNT_GUEST_SERVICE) this.services.hear(worker, frame);
        else this.addresses.hear(worker, frame);
      };
      void new PuntRing(memory).read(hear, this.ending.signal);
    }
    return memories;
  }

  private openInjections(workers: number): SharedArrayBuffer[] {
    const memories = Array.from({ length: workers }, () => allocateFrameRing(INJECTION_RING_SIZE));
    for (const memory of memories) this.injections.push(new InjectionRing(memory));
    return memories;
  }

  /**
   * Has a worker send a frame of the switch's own by a member, or to TO_NETWORK or TO_STATIONS of the network, through all
   * egress stages. Where its ring is full the frame is not sent: slow protocols repeat what matters.
   */
  inject(worker: number, frame: Uint8Array, network: number, member: number): void {
    if (this.injections[worker]?.put(frame, network, member)) this.workers.nudge(worker);
  }

  private openAddressService(stateDirectory: string): AddressService {
    const clocks = { monotonicMs, wallMs: Date.now, bootId: bootId() };
    return new AddressService({
      store: new LeaseStore(stateDirectory, clocks),
      log: this.log,
      clock: monotonicMs,
      random: Math.random,
      send: (worker, frame, network, member) => this.inject(worker, frame, network, member),
      memberMtu: (member) => this.current.memberMtu[member] ?? 0,
      tunnelMtu: (network) => this.current.networkMtu[network] ?? 0,
      probes: {
        claimant: (network, address, sinceSeconds) => this.claimantOf(network, address, sinceSeconds),
        later: (ms, act) => void setTimeout(act, ms).unref(),
      },
    });
  }

  private claimantOf(network: number, address: Uint8Array, sinceSeconds: number): Claimant | undefined {
    const nowSeconds = Math.floor(monotonicMs() / 1000);
    const found = this.neighbors.at(network, ipWords(address), nowSeconds, nowSeconds - sinceSeconds);
    const port = found === undefined ? undefined : this.ports.intent(found.port)?.name;
    if (found === undefined || port === undefined) return undefined;
    return { mac: macWordsText(found.macHigh, found.macLow), port };
  }

  private openGuestServices(): GuestServices {
    const forwarder = new DnsForwarder({ randomBelow: randomInt, clock: monotonicMs });
    return new GuestServices({
      log: this.log,
      names: new NameService({ clock: monotonicMs, leases: this.addresses, forwarder }),
      metadata: new MetadataService({ log: this.log }),
      clock: monotonicMs,
      randomWord: () => randomInt(2 ** 32),
      send: (worker, frame, network, member) => this.inject(worker, frame, network, member),
      memberMtu: (member) => this.current.memberMtu[member] ?? 0,
    });
  }

  private hear(index: number, report: WorkerReport): void {
    if (report.type === 'detached') this.ports.workerLetGo(index, report.port);
    else if (report.type === 'failed') {
      const errno = errnoName(report.errno);
      this.log.warn({ port: shownName(this.ports.intent(report.port)?.name ?? ''), errno }, 'a device failed');
      this.ports.deviceFailed(report.port, errno);
    } else this.log.info({ worker: index, io: report.io, reason: report.ioReason }, 'worker runs');
  }

  private bury(index: number, reason: string): void {
    this.log.error({ worker: index, reason }, 'worker died; replacing it');
    this.fdb.breakLock(index);
    this.tunnels.workerDied(index);
    this.neighbors.breakLock(index);
    this.connections.breakLock(index);
    this.fragments.breakLock(index);
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
    this.ruleLog.tick();
    this.natRefusalLog.tick();
    this.statistics.sample();
    this.addresses.tick();
    this.announcer.tick();
    const nowSeconds = Math.floor(monotonicMs() / 1000);
    this.fdb.sweep(nowSeconds, this.current.networkMacAge, FDB_SWEEP_ENTRIES);
    this.fdb.trim(this.current, FDB_TRIM_ENTRIES);
    this.expireTunnels(nowSeconds);
    this.paths.tick(nowSeconds, (member) => this.current.memberPort[member]);
    for (const port of this.current.underlays) this.contradict(port, nowSeconds);
    this.expireConnections(nowSeconds);
    this.neighbors.sweep(nowSeconds, this.current.networkMacAge, NEIGHBOR_SWEEP_ENTRIES);
  }

  /** Those that groups do not allow any more, in turns as well: the first before a change is acknowledged. */
  private reviewConnections(): void {
    if (this.isReviewing || this.ending.signal.aborted) return;
    if (this.review.turn(this.current.groups, monotonicMs)) return;
    this.isReviewing = true;
    setImmediate(() => {
      this.isReviewing = false;
      this.reviewConnections();
    });
  }

  /** In turns, so that clients of the control socket get theirs when a million are due in one second. */
  private expireConnections(nowSeconds: number): void {
    if (this.ending.signal.aborted) return;
    if (this.connections.expire(nowSeconds, this.current.connectionTimeouts, monotonicMs)) return;
    setImmediate(() => this.expireConnections(nowSeconds));
  }

  /** A worker that died with a lock, or was stopped for long, is no reason to end the daemon: the next second tries again. */
  private expireTunnels(nowSeconds: number): void {
    try {
      this.tunnels.tick(nowSeconds, this.current.networkMacAge);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.log.warn({ error: error.message }, 'tunnels were not looked through');
    }
  }

  /** A remote that something came from just now is not unreachable, whatever a router has said. */
  private contradict(port: number, nowSeconds: number): void {
    const unreachable = this.ports.paths(port).filter(({ state }) => state === 'down');
    if (unreachable.length === 0) return;
    const heard = this.tunnels.heardSince(nowSeconds - 1, (member) => this.current.memberPort[member] === port);
    for (const { remote } of unreachable) if (heard.has(remote)) this.ports.heardFrom(port, remote);
  }
}

type PortOrders = WorkerPool<Snapshot>['order'];

function copyOf(memory: SharedArrayBuffer): ArrayBuffer {
  const copy = new ArrayBuffer(memory.byteLength);
  new Uint8Array(copy).set(new Uint8Array(memory));
  return copy;
}
