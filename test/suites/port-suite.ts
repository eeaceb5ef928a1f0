/**
 * What every port kind must do, run by each kind that can: it opens, carries frames both ways unchanged, tells of its
 * device's coming, going and changing, refuses instead of stalling when full, and leaves nothing behind.
 */
import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PortQueue } from '../../src/dataplane/io-engine.js';
import type { OpenPort, PortAbsence, PortHandle, PortIntent, PortKind, PortMemory } from '../../src/dataplane/port.js';
import { BenchWorker, type EngineKind, sleep, until } from './bench-worker.js';

/** The far side of a port, and the hand that pulls its plugs. */
export interface PortRig {
  readonly intent: Partial<PortIntent> & { readonly device: string };
  /** Called when the port is open (again), before frames are sent. */
  connect(): Promise<void> | void;
  send(octets: Uint8Array): void;
  /** The next frame that arrived there, if any. */
  receive(): Uint8Array | undefined;
  /** The device goes; `absence` is what the port must say then. */
  vanish(): void;
  readonly absence: { readonly state: 'waiting' | 'down'; readonly reason: RegExp };
  appear(): void;
  /** Absent where the kind has none. */
  setMtu?(mtu: number): void;
  setLink?(up: boolean): void;
  /** Whether frames that nobody takes are refused at some time (a TAP's and a veth's never are). */
  readonly canFill: boolean;
  /** Sizes of frames to try. */
  readonly sizes: readonly number[];
  /** Undoes the rig, also after a failure. */
  close(): void;
}

/** Plays the daemon for one port: keeps what it was told, detaches the worker when the port is lost. */
export class PortDouble {
  readonly told: string[] = [];
  open: OpenPort | undefined;
  absence: PortAbsence | undefined;
  /** Every absence it was told of, the first one first. */
  readonly absences: PortAbsence[] = [];
  handle: PortHandle | undefined;
  queues: PortQueue[] = [];
  readonly memory = new Map<string, string>();
  private readonly worker: BenchWorker;

  constructor(worker: BenchWorker) {
    this.worker = worker;
  }

  async start(kind: PortKind, rig: Pick<PortRig, 'intent'>): Promise<void> {
    const intent: PortIntent = { name: 'p1', kind: kind.kind, queues: 1, offload: 'auto', ...rig.intent };
    this.handle = await kind.open(intent, this, this.portMemory());
  }

  portMemory(): PortMemory {
    return {
      get: (key) => this.memory.get(key),
      set: (key, value) => {
        if (value === undefined) this.memory.delete(key);
        else this.memory.set(key, value);
      },
    };
  }

  opened(port: OpenPort): void {
    this.told.push('opened');
    this.open = port;
    this.absence = undefined;
    this.queues = port.queues.map((transport) => this.worker.attach(1, transport));
  }

  lost(absence: PortAbsence): void {
    this.told.push('lost');
    this.absence = absence;
    this.absences.push(absence);
    if (this.open === undefined) return;
    this.open = undefined;
    void this.release();
  }

  changed(port: OpenPort): void {
    this.told.push('changed');
    this.open = port;
  }

  async close(): Promise<void> {
    for (const queue of this.queues.splice(0)) await this.worker.detach(queue);
    await this.handle?.close('remove');
  }

  /** What the daemon does when a worker says that the device failed. */
  deviceFailed(): void {
    if (this.open !== undefined) this.lost({ state: 'down', reason: 'the device failed' });
  }

  private async release(): Promise<void> {
    for (const queue of this.queues.splice(0)) await this.worker.detach(queue);
    this.handle?.released();
  }
}

/** A frame of `size` octets that stations can tell from others: local experimental ethertype, numbered payload. */
export function testFrame(size: number, seed = 0): Uint8Array {
  const frame = new Uint8Array(size);
  frame.set([0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0x02, 0x88, 0xb5]);
  for (let index = 14; index < size; index++) frame[index] = index * 7 + seed;
  return frame;
}

function isTestFrame(octets: Uint8Array): boolean {
  return octets[12] === 0x88 && octets[13] === 0xb5;
}

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

export function portSuite(kind: PortKind, makeRig: () => PortRig, engines: readonly EngineKind[]): void {
  describe.each(engines)('by the %s engine', (engine) => {
    let rig: PortRig;
    let worker: BenchWorker;
    let port: PortDouble;

    beforeEach(() => {
      rig = makeRig();
      worker = new BenchWorker(engine);
      port = new PortDouble(worker);
    });
    afterEach(async () => {
      await port.close();
      await worker.close();
      rig.close();
      expect(worker.pool.available, 'slots that came back').toBe(worker.pool.slotCount);
    });

    const opened = (times: number) =>
      until('the port is open', () => {
        worker.breathe();
        if (worker.failed.splice(0).length > 0) port.deviceFailed();
        return port.told.filter((what) => what === 'opened').length >= times && port.open !== undefined;
      });
    const start = async () => {
      await port.start(kind, rig);
      await rig.connect();
      await opened(1);
    };
    const framesIn = () => worker.received.filter((frame) => isTestFrame(frame.octets));
    const framesOut = () => {
      const frames: Uint8Array[] = [];
      for (let frame = rig.receive(); frame !== undefined; frame = rig.receive())
        if (isTestFrame(frame)) frames.push(frame);
      return frames;
    };

    test('a frame of any size comes in as it was sent', async () => {
      await start();
      for (const size of rig.sizes) {
        worker.received.length = 0;
        rig.send(testFrame(size, size));
        await until(`the frame of ${size} octets is there`, () => worker.breathe() > 0 && framesIn().length === 1);
        expect(framesIn()[0].octets).toEqual(testFrame(size, size));
      }
    });

    test('a frame of any size goes out as it was given', async () => {
      await start();
      for (const size of rig.sizes) {
        worker.sent.length = 0;
        expect(worker.send(port.queues[0], testFrame(size, size))).toBe(true);
        const seen: Uint8Array[] = [];
        await until(`the frame of ${size} octets arrived`, () => {
          worker.breathe();
          seen.push(...framesOut());
          return seen.length === 1 && worker.sent.length === 1;
        });
        expect(seen[0]).toEqual(testFrame(size, size));
        expect(worker.sent[0]).toMatchObject({ port: 1, octets: size, reason: 'none' });
      }
    });

    test('frames that come while nobody looks are all there afterwards, in order', async () => {
      await start();
      for (let index = 0; index < 100; index++) rig.send(testFrame(60, index));
      await until('all have come', () => worker.breathe(1) >= 0 && framesIn().length === 100);
      expect(framesIn().map((frame) => frame.octets[14])).toEqual(
        Array.from({ length: 100 }, (_, index) => testFrame(60, index)[14]),
      );
    });

    test('when its device vanishes it says so, and carries frames again when the device is back', async () => {
      await start();
      rig.vanish();
      await until('the port is lost', () => {
        worker.breathe();
        return port.absences.length > 0;
      });
      expect(port.absences[0].state).toBe(rig.absence.state);
      expect(port.absences[0].reason).toMatch(rig.absence.reason);
      worker.failed.length = 0;
      await sleep(20);
      rig.appear();
      await rig.connect();
      await opened(2);
      rig.send(testFrame(100));
      await until('a frame comes in', () => worker.breathe() >= 0 && framesIn().length > 0);
      expect(worker.send(port.queues[0], testFrame(100))).toBe(true);
      const seen: Uint8Array[] = [];
      await until('a frame goes out', () => worker.breathe() >= 0 && seen.push(...framesOut()) > 0);
      expect(seen).toEqual([testFrame(100)]);
    });

    test('a change of the MTU is told, and the queues stay', async () => {
      if (rig.setMtu === undefined) {
        // The kind has no device whose MTU could change; it must at least say one.
        await start();
        expect(port.open?.mtu).toBeGreaterThanOrEqual(1280);
        return;
      }
      await start();
      const queues = port.open?.queues;
      rig.setMtu(1400);
      await until('the MTU is told', () => port.open?.mtu === 1400, 2500);
      expect(port.open?.queues).toEqual(queues);
    });

    test('a cable that is pulled shows as linkDown, and the port stays open', async () => {
      await start();
      await until('the link is told up', () => port.open !== undefined && port.open.linkDown === undefined, 2500);
      if (rig.setLink === undefined) return;
      rig.setLink(false);
      await until('the link is told down', () => port.open?.linkDown !== undefined, 2500);
      rig.setLink(true);
      await until('the link is told up', () => port.open !== undefined && port.open.linkDown === undefined, 2500);
    });

    test('a far side that takes nothing makes sends fail at once, and every slot comes back', async () => {
      await start();
      const started = performance.now();
      let refused = 0;
      for (let index = 0; index < 4000; index++) {
        if (!worker.send(port.queues[0], testFrame(1400, index))) refused++;
        if (index % 50 === 49) worker.breathe();
      }
      await until(
        'all is reported',
        () => worker.breathe() >= 0 && worker.pool.available > 0 && worker.sent.length + refused === 4000,
      );
      expect(performance.now() - started).toBeLessThan(5000);
      const full = refused + worker.sent.filter((one) => one.reason === 'tx_full').length;
      if (rig.canFill) expect(full).toBeGreaterThan(0);
      expect(worker.sent.filter((one) => one.reason !== 'tx_full' && one.reason !== 'none')).toEqual([]);
    });

    test('closing it leaves no descriptor open', async () => {
      await start();
      await port.close();
      rig.close();
      const before = openDescriptors();
      const again = makeRig();
      const second = new PortDouble(worker);
      await second.start(kind, again);
      await again.connect();
      await until('it is open', () => worker.breathe() >= 0 && second.open !== undefined);
      await second.close();
      again.close();
      await until('the descriptors are closed', () => openDescriptors() <= before);
    });
  });
}
