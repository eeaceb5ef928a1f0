/**
 * TAP ports: the switch holds the descriptor, the kernel end belongs to a VM or container and may be moved to another
 * network namespace while running; the descriptor stays attached. Runs on the main thread.
 *
 * A TAP that weft made is persistent, so it outlives a killed daemon, and is removed with its port wherever its end lies;
 * one that was there before stays. What weft made is told by `made` files in the state directory (PortMemory), because
 * after kill -9 the device looks the same either way.
 *
 * Sources: linux/if_tun.h, Documentation/networking/tuntap.rst.
 */
import { existsSync } from 'node:fs';
import { OperatingError } from '../../errors.js';
import { QUEUES_PER_PORT_MAX } from '../../limits.js';
import * as native from '../native.js';
import { interfaceMtu, setInterfaceMtu } from '../interface.js';
import { NO_OFFLOAD, type OpenPort, type PortFeatures, type PortHandle, type PortIntent, type PortKind, type PortMemory, type PortWatcher } from '../port.js';
import { VNET_HEADER_SIZE } from '../receive-layout.js';

const TUNSETIFF = 0x4004_54ca;
const TUNSETPERSIST = 0x4004_54cb;
const TUNSETOFFLOAD = 0x4004_54d0;
const TUNSETVNETHDRSZ = 0x4004_54d8;
const TUNGETDEVNETNS = 0x54e3;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const OFFLOAD_CHECKSUM = 1;
const OFFLOAD_TSO4 = 2;
const OFFLOAD_TSO6 = 4;
const OFFLOAD_TSO_ECN = 8;
const OFFLOAD_USO4 = 0x20;
const OFFLOAD_USO6 = 0x40;

/** How long after a TAP was deleted from outside it is made again. */
const REMAKE_MS = 1000;

export const tap: PortKind = {
  kind: 'tap',
  facesVm: true,
  async open(intent, watcher, memory) {
    const port = new TapPort(intent, watcher, memory);
    port.attach();
    return port;
  },
};

class TapPort implements PortHandle {
  private readonly intent: PortIntent;
  private readonly watcher: PortWatcher;
  private readonly memory: PortMemory;
  private fds: number[] = [];
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(intent: PortIntent, watcher: PortWatcher, memory: PortMemory) {
    this.intent = intent;
    this.watcher = watcher;
    this.memory = memory;
  }

  /** Makes or attaches the device and reports it; what waiting may mend is reported as lost and tried again. */
  attach(): void {
    try {
      this.watcher.opened(this.openQueues());
    } catch (error) {
      this.closeQueues();
      if (!(error instanceof OperatingError) || error.code === 'no-privilege' || error.code === 'no-kernel-feature') throw error;
      this.watcher.lost({ state: 'down', reason: error.message });
      this.retry();
    }
  }

  /** The device failed under us: it was deleted. The workers have let go of its descriptors. */
  released(): void {
    this.closeQueues();
    if (!this.closed) this.retry();
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.timer);
    const first = this.fds[0];
    if (first !== undefined && this.memory.get('made') === 'yes') setPersistent(first, false);
    this.memory.set('made', undefined);
    this.closeQueues();
  }

  private retry(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      try {
        this.attach();
      } catch (error) {
        this.watcher.lost({ state: 'down', reason: (error as Error).message });
      }
    }, REMAKE_MS);
    this.timer.unref();
  }

  private openQueues(): OpenPort {
    const { device, queues } = this.intent;
    if (queues > QUEUES_PER_PORT_MAX) throw new OperatingError(`a port has at most ${QUEUES_PER_PORT_MAX} queues`, { code: 'limit' });
    const existed = native.ifNameToIndex(device) !== 0;
    const vnetHeader = true;
    const wanted = this.intent.offload === 'auto';
    for (let index = 0; index < queues; index++) this.fds.push(openQueue(device, queues > 1, existed));
    const first = this.fds[0]!;
    if (!existed) this.memory.set('made', 'yes');
    if (!existed) setPersistent(first, true);
    const features = wanted ? setOffload(first) : (native.ioctlInt(first, TUNSETOFFLOAD, 0), NO_OFFLOAD);
    if (this.intent.mtu !== undefined) setInterfaceMtu(device, this.intent.mtu);
    return {
      queues: this.fds.map((fd) => ({ type: 'tap', fd, vnetHeader })),
      features,
      mtu: interfaceMtu(device),
    };
  }

  private closeQueues(): void {
    for (const fd of this.fds) native.close(fd);
    this.fds = [];
  }
}
