/**
 * The running switch: holds the configuration in force, brings the dataplane from one configuration to the next, and
 * answers what the control socket asks. Main thread.
 *
 * Changes are carried out in the order they were asked for. One change: check the document as a whole, open the ports that
 * are new, save, compile, publish and wait until every worker forwards by it, close what is gone. What is refused leaves
 * the running state as it was. A port that comes, goes or changes by itself leads to a new snapshot of the same
 * configuration; it takes turns with changes, but does not wait while one's document is checked.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { monotonicMs } from '../dataplane/clock.js';
import type { PortKind } from '../dataplane/port.js';
import type { IoChoice } from '../dataplane/worker-protocol.js';
import { OperatingError, UserError } from '../errors.js';
import { MEMBERS_MAX } from '../limits.js';
import { type CheckedDocument, checkDocument } from './check.js';
import { compile, type UpPort } from './compile.js';
import { AclCompiler } from './compile-acls.js';
import { GroupCompiler } from './compile-groups.js';
import { routerZone } from './compile-nat.js';
import { RouterCompiler } from './compile-routers.js';
import { Dataplane } from './dataplane.js';
import { diff } from './diff.js';
import { documentOf } from './document.js';
import { DocumentChecks } from './document-checks.js';
import { type Edit, editDocument } from './edit.js';
import { Indices, readIndices } from './indices.js';
import { undoLeftPorts } from './left-ports.js';
import type { Log } from './log.js';
import { allowedTranslations } from './nat-connections.js';
import { deviceMtu } from './overlay-mtu.js';
import { planPorts } from './port-plan.js';
import type { ResolvedConfig, ResolvedPort } from './resolved.js';
import type { ChangeResult, ConfigChange, JsonObject, JsonValue } from './shapes.js';
import { shownName } from './shown-name.js';
import { chooseStart, fileHashAfterApply, type OperatorFile } from './startup.js';
import { staticNeighbors } from './static-neighbors.js';
import { ConfigStore, type StoreFiles } from './store.js';
import type { SubmittedDocument } from './switch-control.js';
import { Turns } from './turns.js';

export interface ControllerOptions {
  readonly version: string;
  readonly configFile: string;
  readonly stateDirectory: string;
  readonly workers: number;
  readonly io: IoChoice;
  /** Module with the worker task. */
  readonly workerFile: string;
  /** Module with the task that checks long documents. */
  readonly documentFile: string;
  readonly kinds: ReadonlyMap<string, PortKind>;
  readonly log: Log;
  /** How the configuration is saved; the disk by default. */
  readonly storeFiles?: StoreFiles;
  /** Aborted when the daemon is told to end while it still starts. */
  readonly stopping?: AbortSignal;
}

/** What is in force. */
export interface Running {
  readonly checked: CheckedDocument;
  readonly indices: Indices;
}

const EMPTY = checkDocument(documentOf({ version: 1 }));

export class Controller {
  readonly options: ControllerOptions;
  readonly dataplane: Dataplane;
  readonly startedMs = monotonicMs();
  /** FDB entries that were taken over from an earlier daemon. */
  keptFdb = 0;
  /** Connections that an earlier daemon left. */
  keptConnections = 0;
  isReady = false;
  private readonly store: ConfigStore;
  private inForce: Running;
  private epoch = 1;
  private generation: number;
  private fileHash: string | undefined;
  /** Ports that must stay closed in the next snapshots: they are about to be opened anew or removed. */
  private readonly closing = new Set<string>();
  private readonly checks: DocumentChecks;
  private readonly acls: AclCompiler;
  /** What operators ask for, from before its check to its end. */
  private readonly changes = new Turns();
  /** What leads to a snapshot. */
  private readonly snapshots = new Turns();
  /** Ports that changed by themselves since the last snapshot. */
  private readonly changedPorts = new Set<number>();
  private readonly groups = new GroupCompiler();
  private readonly routers = new RouterCompiler();
  private closed = false;

  private constructor(
    options: ControllerOptions,
    store: ConfigStore,
    checks: DocumentChecks,
    indices: Indices,
    generation: number,
    { conntrack, neighbors }: ResolvedConfig,
  ) {
    this.options = options;
    this.store = store;
    this.checks = checks;
    this.generation = generation;
    this.inForce = { checked: EMPTY, indices };
    this.dataplane = new Dataplane({
      workers: options.workers,
      io: options.io,
      stateDirectory: options.stateDirectory,
      workerFile: options.workerFile,
      kinds: options.kinds,
      log: options.log,
      firstSnapshot: compile(EMPTY.resolved, indices, () => undefined, this.epoch),
      connectionCapacity: conntrack.capacity,
      neighborCapacity: neighbors.capacity,
      routerName: (index) => this.inForce.indices.routerName(index),
      portChanged: (index) => this.askRecompile(index),
    });
    this.acls = new AclCompiler(this.dataplane.ruleNumbers);
  }

  /** Starts forwarding by the configuration in force (the file's, or the saved one). Throws what prevents that. */
  static async start(options: ControllerOptions): Promise<Controller> {
    const directory = join(options.stateDirectory, 'config');
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const store = new ConfigStore(directory, options.storeFiles);
    const loaded = await store.load();
    const checks = new DocumentChecks(options.documentFile);
    const check = checks.check.bind(checks);
    const start = await chooseStart(readOperatorFile(options.configFile), loaded, check);
    for (const warning of start.warnings) options.log.warn({}, warning);
    const indices = readIndices(start.saved?.indices);
    const generation = loaded.nextGeneration - 1;
    const controller = new Controller(options, store, checks, indices ?? new Indices(), generation, start.resolved);
    try {
      await controller.dataplane.workers.started();
      controller.adoptFdb(start.resolved, indices !== undefined);
      controller.undoLeftPorts(start.resolved);
      await controller.snapshots.take(() => controller.bringTo(start, start.fileHash));
      controller.isReady = true;
      return controller;
    } catch (error) {
      await controller.close();
      throw error;
    }
  }

  get running(): Running {
    return this.inForce;
  }

  /** Every worker forwards by the latest snapshot. */
  get snapshotEpoch(): number {
    return this.epoch;
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.checks.close();
    await this.changes.over();
    await this.snapshots.over();
    await this.dataplane.close();
  }

  /** Makes the running switch match a document; `dryRun` only says what would change. */
  async apply(submitted: SubmittedDocument, dryRun: boolean): Promise<ChangeResult> {
    return await this.inTurn(async () => {
      const checked = await this.check(submitted);
      return await this.snapshots.take(() => this.change(checked, dryRun, this.hashAfter(submitted.text)));
    });
  }

  /** One change of one object. */
  async edit(edit: Edit): Promise<ChangeResult> {
    return await this.inTurn(async () => {
      const checked = checkDocument(documentOf(editDocument(this.inForce.checked.source.value, edit)));
      return await this.snapshots.take(() => this.change(checked, false, this.fileHash));
    });
  }

  private async inTurn(change: () => Promise<ChangeResult>): Promise<ChangeResult> {
    return await this.changes.take(() => this.dataplane.workers.whileComputing(change));
  }

  /** What a document would be if it were applied. Throws a UserError with every fault and its line. */
  async check({ text, file }: SubmittedDocument): Promise<CheckedDocument> {
    return await this.checks.check(text, file);
  }

  /** The running configuration as a document. */
  document(): JsonObject {
    return this.inForce.checked.source.value as JsonObject;
  }

  /** A static FDB entry is gone: so are tunnels that only it referred to. */
  releaseTunnels(): void {
    this.dataplane.tunnels.release(this.inForce.checked.resolved, this.inForce.indices);
  }

  private hashAfter(applied: string): string | undefined {
    return fileHashAfterApply(applied, readOperatorFile(this.options.configFile), this.fileHash);
  }

  /** `fileHash`: of the file the document is, so that a restart with the same file starts with what was made of it since. */
  private async change(checked: CheckedDocument, dryRun: boolean, fileHash: string | undefined): Promise<ChangeResult> {
    const changes: ConfigChange[] = diff(this.inForce.checked.config, checked.config);
    if (dryRun) return { changes, applied: false };
    const warning = await this.bringTo(checked, fileHash);
    return { changes, applied: true, ...(warning === undefined ? {} : { warnings: [warning] }) };
  }

  /** Brings the dataplane to a checked configuration. On failure everything is as before. Returns the save's warning. */
  private async bringTo(checked: CheckedDocument, fileHash: string | undefined): Promise<string | undefined> {
    const before = this.inForce;
    const plan = planPorts(before.checked.resolved, checked.resolved);
    const grown = before.indices.allocate(checked.resolved);
    const opened: string[] = [];
    const { tunnels } = this.dataplane;
    const closedFirst = [...plan.replaced, ...plan.yielding];
    let warning: string | undefined;
    try {
      // A device that is to be opened anew must be let go of first; meanwhile its port is closed.
      for (const name of closedFirst) this.closing.add(name);
      if (closedFirst.length > 0) await this.publish(before.checked.resolved, before.indices);
      for (const name of closedFirst) {
        await this.dataplane.ports.remove(
          indexOf(before.indices, name),
          plan.keepsDevice.has(name) ? 'keep' : 'remove',
        );
      }
      tunnels.intern(checked.resolved, grown);
      for (const name of plan.added) this.dataplane.statistics.begin(indexOf(grown, name));
      for (const name of [...plan.replaced, ...plan.added]) {
        this.options.stopping?.throwIfAborted();
        await this.openPort(name, checked.resolved, grown);
        opened.push(name);
      }
      warning = await this.save(checked, grown, fileHash);
    } catch (error) {
      await this.undo(before, opened, closedFirst, plan.added, grown);
      throw error;
    }
    this.closing.clear();
    this.inForce = { checked, indices: grown };
    this.dataplane.paths.follow(checked.resolved, grown);
    await this.publish(checked.resolved, grown);
    this.dataplane.addresses.follow(checked.resolved, grown);
    this.dataplane.services.follow(checked.resolved, grown);
    this.dataplane.announcer.follow(checked.resolved, grown);
    this.followRemotes(checked.resolved, grown);
    await this.releaseWhatIsGone(before, checked.resolved, plan.removed);
    return warning;
  }

  /** Saved and in force by now: what goes wrong with sessions is not the change's failure. The next change tries again. */
  private followRemotes(config: ResolvedConfig, indices: Indices): void {
    try {
      this.dataplane.bfd.follow(config, indices);
    } catch (error) {
      this.options.log.error({ err: error }, 'the remotes that live by BFD could not be followed');
    }
  }

  /** Without learning, unicast floods: also to where a station was learned to be before. */
  private flushWhatLearnsNoMore(before: ResolvedConfig): void {
    const { checked, indices } = this.inForce;
    for (const [name, { learning }] of checked.resolved.networks) {
      const network = indices.network(name);
      if (learning || network === undefined || !before.networks.get(name)?.learning) continue;
      this.dataplane.fdb.flush({ network });
    }
  }

  /**
   * Saved before it is in force: whatever is learned under a new index must find that index's owner after a crash, and a
   * change that was acknowledged must not be lost.
   */
  private async save(
    checked: CheckedDocument,
    indices: Indices,
    fileHash: string | undefined,
  ): Promise<string | undefined> {
    this.generation++;
    const warning = await this.store.save({
      generation: this.generation,
      document: checked.source.value,
      indices: indices.toJSON() as unknown as JsonValue,
      ...(fileHash === undefined ? {} : { fileHash }),
    });
    this.fileHash = fileHash;
    if (warning !== undefined) this.options.log.warn({}, warning);
    return warning;
  }

  private async openPort(name: string, config: ResolvedConfig, indices: Indices): Promise<void> {
    const index = indexOf(indices, name);
    const port = config.ports.get(name);
    if (port === undefined) throw new TypeError(`no port ${name}`);
    // Every worker receives from a socket of its own.
    const intent = port.underlay === undefined ? port.intent : { ...port.intent, queues: this.options.workers };
    try {
      await this.dataplane.ports.add(index, intent);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      throw new UserError([
        faultOf(error, `${port.underlay === undefined ? 'ports' : 'underlays'}.${shownName(name)}`),
      ]);
    }
  }

  /** Puts back what a failed change had begun: closes what it opened, opens again what it had closed. */
  private async undo(
    before: Running,
    opened: readonly string[],
    closed: readonly string[],
    added: readonly string[],
    grown: Indices,
  ): Promise<void> {
    // A start that fails leaves the devices as they are: machines may be behind them, waiting for the next daemon.
    const fate = this.isReady ? 'remove' : 'keep';
    for (const name of opened) {
      await this.attempt(name, 'could not be closed', () => this.dataplane.ports.remove(indexOf(grown, name), fate));
    }
    for (const name of added) this.dataplane.statistics.end(indexOf(grown, name));
    for (const name of closed) {
      const reopen = () => this.openPort(name, before.checked.resolved, before.indices);
      await this.attempt(name, 'could not be opened again', reopen);
    }
    this.closing.clear();
    await this.publish(before.checked.resolved, before.indices);
    try {
      this.dataplane.tunnels.release(before.checked.resolved, before.indices);
    } catch (error) {
      this.options.log.error({ err: error }, 'tunnels of a refused change could not be taken away');
    }
  }

  /** For what must not keep the rest from being done. False: it failed, and is in the log. */
  private async attempt(port: string, failure: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      this.options.log.error({ port, err: error }, `a port ${failure}`);
      return false;
    }
  }

  /**
   * After no worker forwards by them any more: closes removed ports, forgets what was learned behind removed members. The
   * change is in force by now, so what fails here is logged, and tried again with the next change; until then the indices
   * stay taken, or a new port would inherit what could not be forgotten.
   */
  private async releaseWhatIsGone(before: Running, config: ResolvedConfig, removed: readonly string[]): Promise<void> {
    for (const name of removed) {
      const index = indexOf(before.indices, name);
      await this.attempt(name, 'could not be closed', () => this.dataplane.ports.remove(index));
      this.dataplane.statistics.end(index);
      this.dataplane.forgetPort(index);
    }
    const { indices } = this.inForce;
    const kept = indices.release(config);
    try {
      this.flushWhatLearnsNoMore(before.checked.resolved);
      for (const [key, member] of indices.members) {
        if (!kept.members.has(key)) this.dataplane.fdb.releaseMember(member);
      }
      this.dropConnections(kept, config);
      for (const name of removed) this.dataplane.neighbors.flushPort(indexOf(before.indices, name));
      this.dataplane.tunnels.release(config, indices);
    } catch (error) {
      this.options.log.error({ err: error }, 'what was learned behind removed ports could not be forgotten');
      return;
    }
    this.inForce = { checked: this.inForce.checked, indices: kept };
  }

  /** Whoever gets the number of a port or network that is gone inherits neither its connections nor its share. */
  private dropConnections(kept: Indices, config: ResolvedConfig): void {
    const zones = [...kept.networks.values(), ...[...kept.routers.values()].map(routerZone)];
    const [ports, zonesLeft] = [new Set(kept.ports.values()), new Set(zones)];
    this.dataplane.connections.keepOnly(
      (port) => ports.has(port),
      (zone) => zonesLeft.has(zone),
    );
    this.dataplane.connections.keepTranslations(allowedTranslations(config, kept));
  }

  private async publish(config: ResolvedConfig, indices: Indices): Promise<void> {
    this.epoch++;
    const upPort = (name: string) => this.upPort(name, indices);
    const remotesOf = (member: number, remotes: readonly string[]) => this.dataplane.tunnels.numbers(member, remotes);
    this.warnOfCapacities(config);
    const snapshot = compile(config, indices, upPort, this.epoch, remotesOf, this.groups, this.acls, this.routers);
    this.dataplane.paths.settle(config, indices);
    await this.dataplane.publish(snapshot, staticNeighbors(config, indices));
    for (const [name, port] of config.ports) this.tellMtu(name, port, config, indices);
  }

  private warnOfCapacities({ conntrack, neighbors }: ResolvedConfig): void {
    const { dataplane, options } = this;
    if (conntrack.capacity !== dataplane.connections.capacity)
      options.log.warn(
        { capacity: conntrack.capacity },
        'settings.conntrack.capacity counts from the next start, without the connections there are',
      );
    if (neighbors.capacity !== dataplane.neighbors.capacity)
      options.log.warn({ capacity: neighbors.capacity }, 'settings.neighbors.capacity counts from the next start');
  }

  /** Whoever is behind an untagged port of a tunnelled network is to know what fits, not to find out. */
  private tellMtu(name: string, port: ResolvedPort, config: ResolvedConfig, indices: Indices): void {
    const { ports } = this.dataplane;
    const [member] = port.members;
    const network = port.mode === 'access' && member !== undefined ? config.networks.get(member.network) : undefined;
    const underlayMtu = (underlay: string) => this.upPort(underlay, indices)?.mtu;
    const mtu = network?.tunnel === undefined ? undefined : deviceMtu(network, config, underlayMtu);
    ports.setMtu(indices.port(name) ?? -1, mtu);
  }

  private upPort(name: string, indices: Indices): UpPort | undefined {
    const index = indices.port(name);
    if (index === undefined || this.closing.has(name)) return undefined;
    const status = this.dataplane.ports.status(index);
    return status.state === 'up' ? status.open : undefined;
  }

  /** A port came, went or changed. Several such events lead to one snapshot. */
  private askRecompile(port: number): void {
    const isAsked = this.changedPorts.size > 0;
    this.changedPorts.add(port);
    if (isAsked || this.closed) return;
    const work = async () => {
      const changed = [...this.changedPorts];
      this.changedPorts.clear();
      if (this.closed) return;
      await this.publish(this.inForce.checked.resolved, this.inForce.indices);
      for (const index of changed) this.flushIfDown(index);
    };
    this.snapshots
      .take(work)
      .catch((error: unknown) => this.options.log.error({ err: error }, 'a snapshot could not be published'));
  }

  /** What was learned behind a port goes when the port goes down: IEEE 802.1Q 8.8. */
  private flushIfDown(port: number): void {
    const { state, linkIsDown } = this.dataplane.ports.status(port);
    if (state === 'up' && linkIsDown !== true) return;
    this.dataplane.fdb.flush({ port });
    this.dataplane.neighbors.flushPort(port);
  }

  private undoLeftPorts({ ports }: ResolvedConfig): void {
    const { kinds, log } = this.options;
    const intents = [...ports.values()].map(({ intent }) => intent);
    undoLeftPorts(this.dataplane.memories, kinds.values(), intents, log);
  }

  /** Keeps what an earlier daemon learned behind members that still exist, if their numbers are still theirs. */
  private adoptFdb(config: ResolvedConfig, indicesAreKnown: boolean): void {
    const { dataplane, inForce } = this;
    const owned = indicesAreKnown ? inForce.indices.release(config) : new Indices();
    const [members, ports] = [new Set(owned.members.values()), new Set(owned.ports.values())];
    dataplane.tunnels.adopt(
      (member) => members.has(member),
      (port) => ports.has(port),
    );
    if (dataplane.connectionsSurvived) {
      this.dropConnections(owned, config);
      this.keptConnections = dataplane.connections.used;
    }
    if (!dataplane.fdbSurvived) return;
    if (!indicesAreKnown) {
      for (let member = 0; member < MEMBERS_MAX; member++) dataplane.fdb.releaseMember(member);
      return;
    }
    const kept = inForce.indices.release(config);
    for (const [key, member] of inForce.indices.members) {
      if (!kept.members.has(key)) dataplane.fdb.releaseMember(member);
    }
    this.inForce = { checked: EMPTY, indices: kept };
    this.keptFdb = dataplane.fdb.counts().entries;
  }
}

function readOperatorFile(name: string): OperatorFile {
  try {
    return { name, text: readFileSync(name, 'utf8') };
  } catch (error) {
    return { name, text: { unreadable: (error as NodeJS.ErrnoException).code ?? String(error) } };
  }
}

function indexOf(indices: Indices, name: string): number {
  const index = indices.port(name);
  if (index === undefined) throw new TypeError(`no index was allocated for port ${name}`);
  return index;
}

function faultOf(
  error: OperatingError,
  path: string,
): { code: OperatingError['code']; message: string; path: string; fix?: string } {
  return { code: error.code, message: error.message, path, ...(error.fix === undefined ? {} : { fix: error.fix }) };
}
