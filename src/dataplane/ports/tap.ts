/**
 * TAP ports: the switch holds the descriptors, the kernel end belongs to a VM or container and may be moved to another
 * network namespace, or renamed, while running; the descriptors stay attached. Runs on the main thread.
 *
 * A TAP that weft made is persistent, so that it outlives a killed daemon, and is removed with its port wherever its end
 * lies; one that was there before stays. After kill -9 a device looks the same either way, and one whose end was moved is
 * not found by name: TUNSETIFF would silently make a second one. So what a later daemon must know is kept in PortMemory
 * (TapRecord), and a TAP whose port left the configuration meanwhile is removed by it. Whether the kernel end is up is the guest's business: it is reported (`linkDown`), never changed, and a
 * write meanwhile is a counted copy drop (EIO, `port_down`).
 *
 *   attached --device deleted--> lost --workers let go (released)--> absent --remade or found--> attached
 *
 * What a guest can do here: move, rename, down, re-MTU or delete its own kernel end. Each is seen by one look in turn. That
 * it leaves home is looked at as soon as the kernel tells of it: with 1,000 ports its turn may be a minute away, and where
 * it went must be in the record before the daemon may be killed.
 */
import { OperatingError } from '../../errors.js';
import { QUEUES_PER_PORT_MAX } from '../../limits.js';
import {
  HERE,
  type InterfaceState,
  type NamespaceFd,
  namespaceInode,
  queryInterface,
  setInterfaceMtu,
} from '../interface.js';
import * as native from '../native.js';
import { type LinkEvent, watchLinks } from '../netlink.js';
import type { OpenPort, PortFeatures, PortHandle, PortIntent, PortKind, PortMemory, PortWatcher } from '../port.js';
import { type Looker, lookRounds } from './look-rounds.js';
import { openTapQueues, setTapOffload, setTapPersistent, tapName, tapNamespace } from './tap-device.js';
import { TapRecord } from './tap-record.js';

export const tap: PortKind = {
  kind: 'tap',
  facesVm: true,
  linkIsAdvisory: true,
  leftBehind: {
    deviceOf: (memory) => new TapRecord(memory).device,
    undo: removeLeft,
  },
  async open(intent, watcher, memory) {
    if (intent.queues > QUEUES_PER_PORT_MAX) {
      throw new OperatingError(`a port has at most ${QUEUES_PER_PORT_MAX} queues`, {
        code: 'limit',
        fix: 'ask for fewer',
      });
    }
    const port = new TapPort(intent, watcher, memory);
    port.start();
    return port;
  },
};

class TapPort implements PortHandle, Looker {
  private readonly intent: PortIntent;
  private readonly watcher: PortWatcher;
  private readonly record: TapRecord;
  private fds: number[] = [];
  private features: PortFeatures | undefined;
  /** What the watcher was told last; undefined while the port is lost or absent. */
  private opened: OpenPort | undefined;
  /** The device while it lies in this process's namespace, where the kernel tells of its links. */
  private atHome: InterfaceState | undefined;
  private stopWatching = () => {};
  private absence = '';
  private closed = false;
  /** What the networks let pass, and the device's MTU before it was set to that. */
  private networkMtu: number | undefined;
  private mtuBefore: number | undefined;
  /** It is yet to be set; afterwards it is the device's owner who may change it. */
  private isMtuDue = false;

  constructor(intent: PortIntent, watcher: PortWatcher, memory: PortMemory) {
    this.intent = intent;
    this.watcher = watcher;
    this.record = new TapRecord(memory);
  }

  /** Throws only for what no waiting mends. */
  start(): void {
    lookRounds.join(this);
    try {
      this.stopWatching = watchLinks((event) => this.hear(event));
      this.attach();
    } catch (error) {
      if (!(error instanceof OperatingError) || error.code === 'no-privilege') {
        this.stopLooking();
        throw error;
      }
      this.absent(error);
    }
  }

  /** The workers have let go of the descriptors: the device was deleted, or failed under them. */
  released(): void {
    this.opened = undefined;
    this.closeQueues();
    if (!this.closed) this.tryAttach();
  }

  async close(fate: 'remove' | 'keep'): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.stopLooking();
    if (fate === 'remove') {
      const first = this.fds[0];
      if (first !== undefined && this.record.isMade && tapName(first) !== undefined) setTapPersistent(first, false);
      this.record.forget();
    }
    this.closeQueues();
  }

  setMtu(mtu: number | undefined): void {
    if (this.intent.mtu !== undefined || mtu === this.networkMtu) return;
    this.networkMtu = mtu;
    this.isMtuDue = true;
    if (this.opened !== undefined) this.tryExamine(this.fds[0]!, this.opened);
  }

  get isAbsent(): boolean {
    return this.fds.length === 0;
  }

  look(): void {
    if (this.fds.length === 0) this.tryAttach();
    else if (this.opened !== undefined) this.tryExamine(this.fds[0]!, this.opened);
    // Otherwise it is lost, and the workers have not let go yet.
  }

  /** Lost events: it may be anything. A name that is new is as needed for finding it again as a namespace that is. */
  private hear(event: LinkEvent | undefined): void {
    const { atHome } = this;
    if (atHome === undefined) return;
    if (event !== undefined && event.index !== atHome.index) return;
    if (event === undefined || event.isGone || event.name !== atHome.name) this.look();
  }

  private stopLooking(): void {
    this.stopWatching();
    lookRounds.leave(this);
  }

  private tryAttach(): void {
    try {
      this.attach();
    } catch (error) {
      this.absent(error as Error);
    }
  }

  /** Tells of a new reason once, not every second. */
  private absent(error: Error): void {
    this.closeQueues();
    if (this.absence === error.message) return;
    this.absence = error.message;
    this.watcher.lost({ state: 'down', reason: error.message });
  }

  private lose(error: Error): void {
    this.opened = undefined;
    this.absence = error.message;
    this.watcher.lost({ state: 'down', reason: error.message });
  }

  private attach(): void {
    const found = this.record.find(this.intent.device);
    if (found === undefined) this.record.forget();
    try {
      this.openAt(found?.name ?? this.intent.device, found?.namespace ?? HERE);
    } finally {
      if (found !== undefined && found.namespace !== HERE) native.close(found.namespace);
    }
    this.absence = '';
    this.watcher.opened(this.opened!);
  }

  private openAt(name: string, namespace: NamespaceFd): void {
    const isNew = queryInterface(name, namespace) === undefined;
    if (isNew) this.record.making(name);
    try {
      this.fds = openTapQueues(name, this.intent.queues, namespace);
    } catch (error) {
      if (isNew) this.record.forget();
      throw error;
    }
    const first = this.fds[0]!;
    if (isNew) setTapPersistent(first, true);
    this.features = setTapOffload(first, this.intent.offload);
    if (this.intent.mtu !== undefined) setInterfaceMtu(name, this.intent.mtu, namespace);
    else {
      this.isMtuDue = this.networkMtu !== undefined;
      this.fitNetwork(name, namespace);
    }
    const state = queryInterface(name, namespace);
    if (state === undefined) throw gone(this.intent.device);
    this.locate(namespaceInode(namespace), state);
    this.opened = this.describe(state);
  }

  /**
   * Sets the MTU that the networks let pass; without such puts back what it was before. A device that takes no such MTU keeps
   * its own: what does not fit is told its sender.
   */
  private fitNetwork(name: string, namespace: NamespaceFd): void {
    const { networkMtu, mtuBefore } = this;
    const mtu = networkMtu ?? mtuBefore;
    if (mtu === undefined || !this.isMtuDue) return;
    this.isMtuDue = false;
    const now = queryInterface(name, namespace)?.mtu;
    this.mtuBefore = networkMtu === undefined ? undefined : (mtuBefore ?? now);
    if (now === mtu) return;
    try {
      setInterfaceMtu(name, mtu, namespace);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
    }
  }

  /** A look that fails, say for want of descriptors, tells nothing of the device. */
  private tryExamine(fd: number, opened: OpenPort): void {
    try {
      this.examine(fd, opened);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
    }
  }

  /** Asks the device itself, not rtnetlink, for its end may lie in another namespace. */
  private examine(fd: number, opened: OpenPort): void {
    const name = tapName(fd);
    const namespace = name === undefined ? undefined : tapNamespace(fd);
    if (name === undefined || namespace === undefined) {
      // We held it and saw it go, so it exists nowhere else: it may be made again at home.
      this.record.forget();
      this.lose(gone(this.intent.device));
      return;
    }
    try {
      const inode = namespaceInode(namespace);
      const where = inode === namespaceInode(HERE) ? HERE : namespace;
      this.fitNetwork(name, where);
      const state = queryInterface(name, where);
      if (state === undefined) return; // moved or renamed since we asked: the next look finds it
      this.locate(inode, state);
      this.tell(this.describe(state), opened);
    } finally {
      native.close(namespace);
    }
  }

  private locate(inode: number, state: InterfaceState): void {
    this.atHome = inode === namespaceInode(HERE) ? state : undefined;
    this.record.located(this.intent.device, inode, state);
  }

  private tell(now: OpenPort, before: OpenPort): void {
    if (now.mtu === before.mtu && now.mac === before.mac && now.linkDown === before.linkDown) return;
    this.opened = now;
    this.watcher.changed(now);
  }

  private describe(state: InterfaceState): OpenPort {
    const linkDown = linkDownReason(state);
    return {
      queues: this.fds.map((fd) => ({ type: 'tap', fd, vnetHeader: true })),
      features: this.features!,
      mtu: state.mtu,
      mac: state.mac,
      ...(linkDown === undefined ? {} : { linkDown }),
    };
  }

  private closeQueues(): void {
    for (const fd of this.fds) native.close(fd);
    this.fds = [];
    this.opened = undefined;
    this.atHome = undefined;
  }
}

/** Of a port that is no more: its TAP goes if weft made it, wherever its end lies. */
function removeLeft(memory: PortMemory): void {
  const record = new TapRecord(memory);
  const place = record.findMade();
  if (place !== undefined) {
    try {
      const [fd] = openTapQueues(place.name, 1, place.namespace);
      setTapPersistent(fd!, false);
      native.close(fd!);
    } finally {
      if (place.namespace !== HERE) native.close(place.namespace);
    }
  }
  record.forget();
}

function gone(device: string): OperatingError {
  return new OperatingError(`${device} was deleted`, { code: 'no-device', errno: 'EBADFD' });
}

function linkDownReason(state: InterfaceState): string | undefined {
  if (!state.isUp) return `${state.name} is administratively down`;
  return state.hasCarrier ? undefined : `${state.name} has no carrier`;
}
