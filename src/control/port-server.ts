/**
 * The ports of the running switch: opens them through their kinds, gives their queues to the workers, follows devices that
 * come and go, and closes what is removed only when no worker uses it any more. Main thread only.
 *
 * A worker has a port from the moment it is given the order to attach until it says that it let go, or is dead: while it
 * is dead nobody waits for it, and its successor is given the ports that are open then.
 *
 *   absent --opened--> attached --lost--> detaching --all workers let go--> absent (kind told: released)
 *                          \--removed--> detaching --all workers let go--> closed
 */

import { allocateFrameRing } from '../dataplane/frame-ring.js';
import * as native from '../dataplane/native.js';
import type {
  OpenPort,
  PortAbsence,
  PortHandle,
  PortIntent,
  PortKind,
  PortMemory,
  PortWatcher,
  QueueTransport,
  UnderlayPath,
} from '../dataplane/port.js';
import type { WorkerOrder } from '../dataplane/worker-protocol.js';
import { OperatingError } from '../errors.js';
import type { Snapshot } from '../pipeline/snapshot.js';

/** What the port server needs of the workers. */
export interface WorkerOrders {
  readonly count: number;
  /** False: the worker is dead just now. Its successor begins with `ordersFor`. */
  order(index: number, order: WorkerOrder<Snapshot>): boolean;
}

/** A port as `port list` and the compiler see it. */
export interface PortStatus {
  readonly state: 'up' | 'down' | 'waiting';
  readonly reason?: string;
  /** Its queues are open. */
  readonly open?: OpenPort;
  /** Nothing is behind it just now: what was learned there is to be forgotten. */
  readonly linkIsDown?: boolean;
}

interface ServedPort {
  readonly intent: PortIntent;
  readonly index: number;
  handle: PortHandle | undefined;
  status: PortStatus;
  /** Workers that were given the port's queues and have not said that they let go of them. */
  readonly attachedTo: Set<number>;
  /** Not empty while the workers are asked to let go. */
  whenDetached: (() => void)[];
  /** Being closed: whatever its kind still tells of it is too late. */
  isLeaving: boolean;
  isReleaseDue: boolean;
  /** The worker of the port's first queue; the next queue is the next worker's. */
  firstWorker: number;
  /** By which the other workers send when they can't share the queues: that of worker w lies at its distance from the first. */
  readonly relays: Relay[];
}

type Relay = Extract<QueueTransport, { type: 'relay' }>;

export class PortServer {
  private readonly kinds: ReadonlyMap<string, PortKind>;
  private readonly workers: WorkerOrders;
  private readonly memoryOf: (port: string) => PortMemory;
  private readonly changed: (index: number) => void;
  private readonly ports = new Map<number, ServedPort>();

  /** `changed` is called after a port came, went or changed: a new snapshot is due. */
  constructor(
    kinds: ReadonlyMap<string, PortKind>,
    workers: WorkerOrders,
    memoryOf: (port: string) => PortMemory,
    changed: (index: number) => void,
  ) {
    this.kinds = kinds;
    this.workers = workers;
    this.memoryOf = memoryOf;
    this.changed = changed;
  }

  status(index: number): PortStatus {
    return this.ports.get(index)?.status ?? { state: 'down', reason: 'not there' };
  }

  intent(index: number): PortIntent | undefined {
    return this.ports.get(index)?.intent;
  }

  /** What is known of the ways from an underlay port to its remotes. */
  paths(index: number): readonly UnderlayPath[] {
    return this.ports.get(index)?.handle?.underlay?.paths() ?? [];
  }

  /** Tells an underlay port of its remotes now. */
  setRemotes(index: number, remotes: readonly string[]): void {
    this.ports.get(index)?.handle?.underlay?.follow(remotes);
  }

  /** Something came from a remote of an underlay port. */
  heardFrom(index: number, remote: string): void {
    this.ports.get(index)?.handle?.underlay?.heard(remote);
  }

  /** Tells a port what its networks let pass. What its device makes of it is heard as a change, what goes wrong is its state. */
  setMtu(index: number, mtu: number | undefined): void {
    this.ports.get(index)?.handle?.setMtu?.(mtu);
  }

  /** Starts serving a port. Throws an OperatingError for what no waiting mends; the port is not served then. */
  async add(index: number, intent: PortIntent): Promise<void> {
    const kind = this.kinds.get(intent.kind);
    if (kind === undefined)
      throw new OperatingError(`this version has no port kind ${intent.kind}`, { code: 'no-kernel-feature' });
    const port: ServedPort = {
      intent,
      index,
      handle: undefined,
      status: { state: 'waiting', reason: 'opening' },
      attachedTo: new Set(),
      whenDetached: [],
      isLeaving: false,
      isReleaseDue: false,
      firstWorker: 0,
      relays: [],
    };
    if (this.ports.has(index)) throw new TypeError(`index ${index} is another port's`);
    this.ports.set(index, port);
    try {
      port.handle = await kind.open(intent, this.watcher(port), this.memoryOf(intent.name));
    } catch (error) {
      // It may have been opened before it failed; no worker may go on with descriptors that are closed.
      await this.letGo(port);
      throw error;
    }
    // It was lost, and the workers let go, before there was a handle to tell it to.
    if (port.isReleaseDue) this.release(port);
  }

  /** Stops serving a port: resolves when no worker uses it and its descriptors are closed. The snapshot closed it before. */
  async remove(index: number, fate: 'remove' | 'keep' = 'remove'): Promise<void> {
    const port = this.ports.get(index);
    if (port === undefined) return;
    await this.letGo(port);
    await port.handle?.close(fate);
  }

  /** The daemon ends; the ports' devices stay as they are for the next one. */
  async close(): Promise<void> {
    await Promise.all([...this.ports.keys()].map((index) => this.remove(index, 'keep')));
  }

  /** Orders that give a (re)started worker the ports that are up. It has them from now on. */
  ordersFor(worker: number): WorkerOrder<Snapshot>[] {
    const orders: WorkerOrder<Snapshot>[] = [];
    for (const port of this.ports.values()) {
      const order = port.status.open === undefined ? undefined : this.attachOrder(port, port.status.open, worker);
      if (order === undefined) continue;
      port.attachedTo.add(worker);
      orders.push(order);
    }
    return orders;
  }

  /** A worker says that it uses the port's descriptors no more. */
  workerLetGo(worker: number, index: number): void {
    const port = this.ports.get(index);
    if (port === undefined || !port.attachedTo.delete(worker)) return;
    if (port.whenDetached.length > 0) this.orderDetachOfLast(port);
    if (port.attachedTo.size > 0) return;
    for (const resolve of port.whenDetached.splice(0)) resolve();
  }

  /** A worker died: what it held it holds no more, and its successor is given `ordersFor`. */
  workerDied(worker: number): void {
    for (const port of this.ports.values()) this.workerLetGo(worker, port.index);
  }

  /** A worker found the port's device failing. */
  deviceFailed(index: number, errnoName: string): void {
    const port = this.ports.get(index);
    if (port?.status.open !== undefined) this.lose(port, { state: 'down', reason: `the device failed: ${errnoName}` });
  }

  private watcher(port: ServedPort): PortWatcher {
    return {
      opened: (open) => this.attach(port, open),
      lost: (absence) => this.lose(port, absence),
      changed: (open) => {
        // Of a port that was lost by a worker's report its kind does not know yet.
        if (port.isLeaving || port.status.open === undefined) return;
        port.status = this.statusOf(port, open);
        this.changed(port.index);
      },
    };
  }

  private statusOf(port: ServedPort, open: OpenPort): PortStatus {
    if (open.linkDown === undefined) return { state: 'up', open };
    const isAdvisory = this.kinds.get(port.intent.kind)?.linkIsAdvisory === true;
    return { state: isAdvisory ? 'up' : 'down', reason: open.linkDown, open, linkIsDown: true };
  }

  private attach(port: ServedPort, open: OpenPort): void {
    if (port.isLeaving) return;
    if (port.attachedTo.size > 0) {
      // New queues before the workers let go of the old ones: they let go first.
      void this.detach(port).then(() => this.attach(port, open));
      return;
    }
    port.firstWorker = this.leastLoaded();
    port.status = this.statusOf(port, open);
    this.makeRelays(port, open);
    for (let worker = 0; worker < this.workers.count; worker++) {
      const order = this.attachOrder(port, open, worker);
      if (order !== undefined && this.workers.order(worker, order)) port.attachedTo.add(worker);
    }
    this.changed(port.index);
  }

  /**
   * What a worker does with a port: it receives from the queues that are its own, and sends by its own queue if it has
   * one, else by a shared one. A stream can't be shared: one worker has it, and the others send through relays to it.
   */
  private attachOrder(port: ServedPort, open: OpenPort, worker: number): WorkerOrder<Snapshot> | undefined {
    const { count } = this.workers;
    const distance = (worker - port.firstWorker + count) % count;
    const own = open.queues.filter((_, queue) => queue % count === distance);
    const isShareable = canShare(open);
    if (own.length > 0) {
      const relays =
        isShareable || distance !== 0 ? [] : port.relays.map((relay) => ({ ...relay, end: 'to' as const }));
      return { type: 'attach', port: port.index, transports: [...own, ...relays], receives: true };
    }
    const shared = isShareable ? open.queues[distance % open.queues.length] : port.relays[distance - 1];
    if (shared === undefined) return undefined;
    return { type: 'attach', port: port.index, transports: [shared], receives: false };
  }

  /** The worker that reads the fewest queues: ports of one queue must not all be the first one's. */
  private leastLoaded(): number {
    const { count } = this.workers;
    const queues = new Array<number>(count).fill(0);
    for (const { status, firstWorker } of this.ports.values()) {
      const { length } = status.open?.queues ?? [];
      for (let queue = 0; queue < length; queue++) queues[(firstWorker + queue) % count]!++;
    }
    return queues.indexOf(Math.min(...queues));
  }

  /** One relay for each worker but the first, when the port is one that workers can't share. */
  private makeRelays(port: ServedPort, open: OpenPort): void {
    this.closeRelays(port);
    if (canShare(open)) return;
    for (let worker = 1; worker < this.workers.count; worker++) {
      const wakeFd = native.check('eventfd', native.eventfd());
      port.relays.push({ type: 'relay', end: 'from', ring: allocateFrameRing(), wakeFd });
    }
  }

  /** No worker uses them any more. */
  private closeRelays(port: ServedPort): void {
    for (const { wakeFd } of port.relays.splice(0)) native.close(wakeFd);
  }

  private lose(port: ServedPort, absence: PortAbsence): void {
    if (port.isLeaving) return;
    const wasOpen = port.status.open !== undefined;
    port.status = absence;
    this.changed(port.index);
    if (wasOpen) void this.detach(port).then(() => this.release(port));
  }

  /** The kind may close the descriptors, and look for the device again; not when it is about to be closed for good. */
  private release(port: ServedPort): void {
    if (port.isLeaving) return;
    port.isReleaseDue = port.handle === undefined;
    try {
      port.handle?.released();
    } catch (error) {
      port.status = { state: 'down', reason: (error as Error).message };
      this.changed(port.index);
    }
  }

  /** The end of a port on this side: no worker has it, and nothing of it is kept. Its handle is to be closed next. */
  private async letGo(port: ServedPort): Promise<void> {
    port.isLeaving = true;
    await this.detach(port);
    this.closeRelays(port);
    this.ports.delete(port.index);
  }

  private detach(port: ServedPort): Promise<void> {
    if (port.status.open !== undefined) port.status = { state: 'down', reason: 'being removed' };
    if (port.attachedTo.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      // Asked twice a worker would answer twice, the second time while the kernel still has the queues of the first.
      const isAsked = port.whenDetached.length > 0;
      port.whenDetached.push(resolve);
      if (isAsked) return;
      for (const worker of port.attachedTo) if (!isLast(port, worker)) this.orderDetach(port, worker);
      this.orderDetachOfLast(port);
    });
  }

  /** The worker that empties a port's relays detaches when nobody fills them any more, or frames would be lost in them. */
  private orderDetachOfLast(port: ServedPort): void {
    const [worker] = port.attachedTo;
    if (port.attachedTo.size === 1 && isLast(port, worker!)) this.orderDetach(port, worker!);
  }

  private orderDetach(port: ServedPort, worker: number): void {
    this.workers.order(worker, { type: 'detach', port: port.index });
  }
}

const SHAREABLE: ReadonlySet<string> = new Set(['tap', 'packet', 'datagram']);

/** Whether every worker can write to the port's queues by itself. Raw streams come one for each worker. */
function canShare(open: OpenPort): boolean {
  return open.queues.every(({ type }) => SHAREABLE.has(type)) || open.queues.every(({ type }) => type === 'rawStream');
}

/** Whether the worker is to detach after the others. */
function isLast(port: ServedPort, worker: number): boolean {
  return port.relays.length > 0 && worker === port.firstWorker;
}
