/**
 * netdev ports: an interface that somebody else owns (a TAP that QEMU or libvirt made, a veth, the physical uplink), by
 * AF_PACKET. The port is an intent: the interface may come, go and come back, and is followed by rtnetlink events. Runs on
 * the main thread.
 *
 *   waiting (no interface) --appears--> set up and silenced once --> open
 *   open --vanished, renamed away, set down--> lost --workers let go (released)--> waiting or down --> ...
 *
 * A new interface that is down is set up, for attaching it to a switch says that it shall work; one that is set down
 * later stays down until its owner sets it up again. The host's own stack is kept off it: see host-silence.ts.
 */
import { OperatingError } from '../../errors.js';
import { QUEUES_PER_PORT_MAX } from '../../limits.js';
import { type InterfaceState, queryInterface } from '../interface.js';
import * as native from '../native.js';
import { type LinkEvent, watchLinks } from '../netlink.js';
import type { OpenPort, PortAbsence, PortHandle, PortIntent, PortKind, PortMemory, PortWatcher } from '../port.js';
import { silencedDevice, silenceHost, unsilenceHost, wasSilenced } from './host-silence.js';
import { openPacketSockets, type PacketSockets } from './packet-socket.js';

/** How soon opening is tried again after it failed although the interface is there and up. */
const RETRY_MS = 1000;

export const netdev: PortKind = {
  kind: 'netdev',
  facesVm: false,
  leftBehind: {
    deviceOf: silencedDevice,
    undo(memory) {
      const device = silencedDevice(memory);
      if (device !== undefined) unsilenceHost(device, memory);
    },
  },
  async open(intent, watcher, memory) {
    if (intent.queues > QUEUES_PER_PORT_MAX) {
      throw new OperatingError(`a port has at most ${QUEUES_PER_PORT_MAX} queues`, {
        code: 'limit',
        fix: 'ask for fewer',
      });
    }
    const port = new NetdevPort(intent, watcher, memory);
    port.start();
    return port;
  },
};

/** The interface that is served now. */
interface Served {
  readonly index: number;
  readonly sockets: PacketSockets;
  told: OpenPort;
  /** Reported lost; the workers have not let go yet. */
  isLost: boolean;
}

class NetdevPort implements PortHandle {
  private readonly intent: PortIntent;
  private readonly watcher: PortWatcher;
  private readonly memory: PortMemory;
  private served: Served | undefined;
  /** The last interface of the name that was set up and silenced. */
  private silencedIndex = 0;
  private absence = '';
  private stopWatching = () => {};
  private retryTimer: NodeJS.Timeout | undefined;
  private isClosed = false;

  constructor(intent: PortIntent, watcher: PortWatcher, memory: PortMemory) {
    this.intent = intent;
    this.watcher = watcher;
    this.memory = memory;
  }

  /** Listens before it looks, so that nothing falls between. Throws only for what no waiting mends. */
  start(): void {
    this.stopWatching = watchLinks((event) => this.hear(event));
    try {
      this.look();
    } catch (error) {
      if (error instanceof OperatingError && error.code !== 'no-privilege' && error.code !== 'bad-request')
        this.failed(error);
      else {
        this.stopWatching();
        throw error;
      }
    }
  }

  released(): void {
    if (this.isClosed) return;
    this.closeSockets();
    this.tryLook();
  }

  async close(fate: 'remove' | 'keep'): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    clearTimeout(this.retryTimer);
    this.stopWatching();
    this.closeSockets();
    // A daemon that is about to come back leaves the host silent meanwhile: nobody else is to answer.
    if (fate === 'remove') unsilenceHost(this.intent.device, this.memory);
  }

  private hear(event: LinkEvent | undefined): void {
    // By its number too: an interface that is renamed away, also while it is down and not served, is told of by its new name.
    const concerns = event === undefined || event.name === this.intent.device || event.index === this.silencedIndex;
    if (concerns) this.tryLook();
  }

  private tryLook(): void {
    try {
      this.look();
    } catch (error) {
      this.failed(error as Error);
    }
  }

  /** Compares what the kernel says now with what was told last, and acts on the difference. */
  private look(): void {
    const { served } = this;
    if (served?.isLost === true) return;
    const state = queryInterface(this.intent.device);
    if (served === undefined) this.lookForNew(state);
    else if (state?.index !== served.index) this.lose(served, this.missing());
    else if (!state.isUp) this.lose(served, isDown(state));
    else this.tell(served, this.describe(state, served.sockets));
  }

  private lookForNew(found: InterfaceState | undefined): void {
    if (found === undefined) {
      this.absent(this.missing());
      return;
    }
    if (!found.isEthernet) {
      this.absent({ state: 'down', reason: `${found.name} carries no Ethernet frames` });
      return;
    }
    const isNew = found.index !== this.silencedIndex && (found.isUp || !wasSilenced(found.index, this.memory));
    if (isNew) silenceHost(this.intent.device, this.memory);
    this.silencedIndex = found.index;
    const state = isNew ? queryInterface(this.intent.device) : found;
    if (state === undefined) this.absent(this.missing());
    else if (!state.isUp) this.absent(isDown(state));
    else this.openAt(state);
  }

  private openAt(state: InterfaceState): void {
    const { device, queues, offload } = this.intent;
    const sockets = openPacketSockets(device, state.index, queues, offload);
    const told = this.describe(state, sockets);
    this.served = { index: state.index, sockets, told, isLost: false };
    this.absence = '';
    this.watcher.opened(told);
  }

  private describe(state: InterfaceState, sockets: PacketSockets): OpenPort {
    const { mtu } = this.intent;
    return {
      queues: sockets.fds.map((fd) => ({ type: 'packet', fd, vnetHeader: sockets.vnetHeader })),
      features: sockets.features,
      mtu: mtu === undefined ? state.mtu : Math.min(mtu, state.mtu),
      mac: state.mac,
      ...(state.hasCarrier ? {} : { linkDown: `${state.name} has no carrier` }),
    };
  }

  private tell(served: Served, now: OpenPort): void {
    const before = served.told;
    if (now.mtu === before.mtu && now.mac === before.mac && now.linkDown === before.linkDown) return;
    served.told = now;
    this.watcher.changed(now);
  }

  private lose(served: Served, absence: PortAbsence): void {
    served.isLost = true;
    this.absence = absence.reason;
    this.watcher.lost(absence);
  }

  /** Tells of a new reason once, not with every event. */
  private absent(absence: PortAbsence): void {
    if (absence.reason === this.absence) return;
    this.absence = absence.reason;
    this.watcher.lost(absence);
  }

  private failed(error: Error): void {
    this.absent({ state: 'down', reason: error.message });
    clearTimeout(this.retryTimer);
    if (this.isClosed) return;
    this.retryTimer = setTimeout(() => this.tryLook(), RETRY_MS);
    this.retryTimer.unref();
  }

  private missing(): PortAbsence {
    return { state: 'waiting', reason: `no interface ${this.intent.device}` };
  }

  private closeSockets(): void {
    for (const fd of this.served?.sockets.fds ?? []) native.close(fd);
    this.served = undefined;
  }
}

function isDown(state: InterfaceState): PortAbsence {
  return { state: 'down', reason: `${state.name} is administratively down` };
}
