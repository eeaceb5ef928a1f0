/**
 * Memory ports: both ends in this process, for tests, benchmarks and demonstrations. The port's worker talks through a
 * pair of frame rings; whoever plays the station gets the other end as a `MemoryStation`, found by the port's device
 * name. Runs on the main thread (or any one thread that plays the station).
 *
 * For simulators and hot loops that want no threads and no copies see memory-queue.ts.
 */
import { OperatingError } from '../../errors.js';
import { allocateFrameRing, FrameRing } from '../frame-ring.js';
import * as native from '../native.js';
import {
  NO_OFFLOAD,
  type OpenPort,
  type PortFeatures,
  type PortHandle,
  type PortIntent,
  type PortKind,
  type PortWatcher,
} from '../port.js';

const MTU_DEFAULT = 1500;
const ALL_OFFLOADS: PortFeatures = { checksum: true, tcp4: true, tcp6: true, udp: true };

export const memory: PortKind = {
  kind: 'memory',
  facesVm: true,
  async open(intent, watcher) {
    if (intent.queues !== 1) {
      throw new OperatingError('a memory port has one queue', { code: 'limit', fix: 'leave out queues' });
    }
    if (stations.has(intent.device)) {
      throw new OperatingError(`the memory device ${intent.device} is served already`, {
        code: 'busy',
        fix: 'choose another device',
      });
    }
    const port = new MemoryPort(intent, watcher);
    stations.set(intent.device, port.station);
    port.station.appear();
    return port;
  },
};

const stations = new Map<string, MemoryStation>();

/** The far end of the memory port with this device; undefined when none is open. */
export function memoryStation(device: string): MemoryStation | undefined {
  return stations.get(device);
}

/** What goes with a super-frame or a partial checksum; positions relative to the frame. */
export interface FrameOffload {
  readonly gsoType: number;
  readonly gsoSize: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
  readonly headersEnd: number;
}

export interface MemoryFrame {
  readonly octets: Uint8Array;
  /** Absent when the frame's checksums are complete. */
  readonly offload?: FrameOffload;
}

const COMPLETE: FrameOffload = { gsoType: 0, gsoSize: 0, checksumStart: 0, checksumOffset: 0, headersEnd: 0 };

/** Plays the machine behind the port, and its cable. */
export class MemoryStation {
  private readonly port: MemoryPort;

  constructor(port: MemoryPort) {
    this.port = port;
  }

  /** Sends a frame to the switch. False: the ring is full, or the device is gone. */
  send(octets: Uint8Array, offload: FrameOffload = COMPLETE): boolean {
    const rings = this.port.rings;
    if (rings === undefined) return false;
    const { gsoType, gsoSize, checksumStart, checksumOffset, headersEnd } = offload;
    const taken = rings.toSwitch.put(
      octets,
      0,
      octets.length,
      gsoType,
      gsoSize,
      checksumStart,
      checksumOffset,
      headersEnd,
    );
    if (rings.toSwitch.takeSleeper()) native.signalEvent(rings.wakeFd);
    return taken;
  }

  /** The next frame the switch sent here; undefined when none waits. */
  receive(): MemoryFrame | undefined {
    const ring = this.port.rings?.fromSwitch;
    if (ring === undefined || !ring.next()) return undefined;
    const octets = new Uint8Array(ring.length);
    ring.copyTo(octets, 0);
    const { gsoType, gsoSize, checksumStart, checksumOffset, headersEnd } = ring;
    ring.advance();
    if (checksumStart === 0) return { octets };
    return { octets, offload: { gsoType, gsoSize, checksumStart, checksumOffset, headersEnd } };
  }

  /** As receive, but waits so long for a frame to come. */
  async receiveWithin(timeoutMs: number): Promise<MemoryFrame | undefined> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const frame = this.receive();
      const left = until - performance.now();
      if (frame !== undefined || left <= 0) return frame;
      const ring = this.port.rings?.fromSwitch;
      if (ring === undefined) return undefined;
      await ring.wait(left);
    }
  }

  /** Pulls the device out, as when a VM ends. */
  vanish(): void {
    this.port.vanish();
  }

  /** Puts it back. */
  appear(): void {
    this.port.appear();
  }

  setMtu(mtu: number): void {
    this.port.change({ mtu });
  }

  /** Cable out and in: the queues stay open. */
  setLink(up: boolean): void {
    this.port.change({ linkDown: up ? undefined : 'the far side is down' });
  }
}

interface Rings {
  readonly toSwitch: FrameRing;
  readonly fromSwitch: FrameRing;
  readonly receive: SharedArrayBuffer;
  readonly transmit: SharedArrayBuffer;
  readonly wakeFd: number;
}

class MemoryPort implements PortHandle {
  readonly station: MemoryStation;
  rings: Rings | undefined;
  private readonly intent: PortIntent;
  private readonly watcher: PortWatcher;
  private mtu: number;
  private linkDown: string | undefined;
  private isPresent = false;
  /** Reported lost, and the worker has not let go yet. */
  private isLeaving = false;

  constructor(intent: PortIntent, watcher: PortWatcher) {
    this.intent = intent;
    this.watcher = watcher;
    this.mtu = intent.mtu ?? MTU_DEFAULT;
    this.station = new MemoryStation(this);
  }

  appear(): void {
    this.isPresent = true;
    if (this.rings !== undefined || this.isLeaving) return;
    const receive = allocateFrameRing();
    const transmit = allocateFrameRing();
    const wakeFd = native.check('eventfd', native.eventfd());
    this.rings = { toSwitch: new FrameRing(receive), fromSwitch: new FrameRing(transmit), receive, transmit, wakeFd };
    this.watcher.opened(this.describe(this.rings));
  }

  vanish(): void {
    if (!this.isPresent) return;
    this.isPresent = false;
    this.isLeaving = true;
    this.watcher.lost({ state: 'waiting', reason: `no memory device ${this.intent.device}` });
  }

  change(change: { mtu?: number; linkDown?: string | undefined }): void {
    if (change.mtu !== undefined) this.mtu = change.mtu;
    if ('linkDown' in change) this.linkDown = change.linkDown;
    if (this.rings !== undefined && !this.isLeaving) this.watcher.changed(this.describe(this.rings));
  }

  released(): void {
    this.closeRings();
    this.isLeaving = false;
    if (this.isPresent) this.appear();
  }

  async close(): Promise<void> {
    this.isPresent = false;
    this.closeRings();
    if (stations.get(this.intent.device) === this.station) stations.delete(this.intent.device);
  }

  private describe(rings: Rings): OpenPort {
    return {
      queues: [{ type: 'ring', receive: rings.receive, transmit: rings.transmit, wakeFd: rings.wakeFd }],
      features: this.intent.offload === 'auto' ? ALL_OFFLOADS : NO_OFFLOAD,
      mtu: this.mtu,
      ...(this.linkDown === undefined ? {} : { linkDown: this.linkDown }),
    };
  }

  private closeRings(): void {
    if (this.rings !== undefined) native.close(this.rings.wakeFd);
    this.rings = undefined;
  }
}
