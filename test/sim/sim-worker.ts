/** A dataplane worker in the simulator: the real loop, machine and pipeline over queues in memory. */
import type { Batch } from '../../src/dataplane/batch.js';
import { FramePool } from '../../src/dataplane/frame-pool.js';
import type { IoEngine, PortQueue } from '../../src/dataplane/io-engine.js';
import { MemoryQueue, memoryFrame } from '../../src/dataplane/ports/memory-queue.js';
import { Kernels } from '../../src/kernels/kernels.js';
import { Machine, type MachineParts } from '../../src/pipeline/machine.js';
import type { Snapshot } from '../../src/pipeline/snapshot.js';
import { WorkerLoop } from '../../src/pipeline/worker-loop.js';
import type { ArrivedFrame } from './arrived-frame.js';
import type { TrafficFrame } from './traffic.js';

/** Thrown out of the middle of a breath. */
export class SimulatedDeath extends Error {}

/** Arenas are expensive to map, so workers of one run after the other share them. */
const pools = new Map<string, { pool: FramePool; kernels: Kernels }>();

function cleanPool(index: number, slots: number): { pool: FramePool; kernels: Kernels } {
  const key = `${index} ${slots}`;
  let found = pools.get(key);
  if (found === undefined) {
    const pool = new FramePool(slots);
    found = { pool, kernels: new Kernels(pool.memory) };
    pools.set(key, found);
  }
  wipe(found.pool);
  return found;
}

/** Every slot is free, in the order of a new pool, and what is left of earlier frames is the same junk in every run. */
function wipe(pool: FramePool): void {
  for (let slot = 0; slot < pool.slotCount; slot++) {
    if (pool.holds[slot] === 0) continue;
    pool.holds[slot] = 1;
    pool.release(slot);
  }
  for (let slot = 0; slot < pool.slotCount; slot++) pool.allocate();
  const { holds } = pool;
  for (const field of Object.values(pool)) {
    if (field instanceof Int32Array && field.length === pool.slotCount && field !== holds && !isFreeList(field)) {
      field.fill(0x5a5a_5a5a);
    }
  }
  for (let slot = pool.slotCount - 1; slot >= 0; slot--) {
    pool.octets.fill(0xa5, pool.frameStart(slot) - 64, pool.frameStart(slot) + 256);
    pool.release(slot);
  }

  function isFreeList(field: Int32Array): boolean {
    return field === (pool as unknown as { free: Int32Array }).free;
  }
}

export class SimWorker implements IoEngine {
  readonly kind = 'poll';
  readonly wakeFd = -1;
  readonly ringFd = -1;
  readonly mappings = [];
  readonly pool: FramePool;
  readonly machine: Machine;
  readonly queues = new Map<number, MemoryQueue>();
  readonly arrived = new Map<number, ArrivedFrame[]>();
  /** Frames to be received in the next breath, each with its port's index. */
  inbox: { frame: TrafficFrame; port: number }[] = [];
  /** How many of them found a slot. */
  taken = 0;
  /** Frames that queues will yet send before the worker dies. */
  livesFor = Number.POSITIVE_INFINITY;
  private readonly loop: WorkerLoop;

  constructor(
    index: number,
    slots: number,
    parts: Omit<MachineParts, 'pool' | 'kernels'>,
    snapshot: Snapshot,
    clock: () => number,
  ) {
    const { pool, kernels } = cleanPool(index, slots);
    this.pool = pool;
    this.machine = new Machine({ ...parts, pool, kernels }, snapshot);
    this.loop = new WorkerLoop(
      this.machine,
      this,
      { isPending: () => true, isMainComputing: () => false, yieldCpu: () => {} },
      clock,
    );
  }

  breathe(): void {
    this.taken = 0;
    this.loop.breathe();
  }

  openQueue(port: number): void {
    const queue = new MemoryQueue(port, this.pool, this.machine, (slot) => this.take(slot, port));
    this.queues.set(port, queue);
    this.arrived.set(port, []);
    this.machine.queues[port] = queue;
  }

  closeQueue(port: number): void {
    this.queues.delete(port);
    this.machine.queues[port] = undefined;
  }

  /** Gives every frame in a slot that asks for anything its header. */
  receive(batch: Batch): void {
    for (const { frame, port } of this.inbox) {
      const slot = batch.full ? -1 : memoryFrame(this.pool, port, frame.octets);
      if (slot < 0) break;
      const { vnet } = frame;
      if (vnet !== undefined) {
        this.pool.offload(slot, vnet.flags, vnet.gsoType, vnet.headerLength, vnet.gsoSize, vnet.start, vnet.offset);
      }
      batch.push(slot);
      this.taken++;
    }
    this.inbox = [];
  }

  private take(slot: number, port: number): void {
    if (this.livesFor-- <= 0) throw new SimulatedDeath();
    const { pool } = this;
    const start = pool.offset[slot];
    const isPartial = pool.checksumStart[slot] !== 0;
    this.arrived.get(port)!.push({
      octets: pool.octets.slice(start, start + pool.length[slot]),
      gsoType: isPartial ? pool.gsoType[slot] : 0,
      gsoSize: isPartial ? pool.gsoSize[slot] : 0,
      checksumStart: isPartial ? pool.checksumStart[slot] - start : 0,
      checksumOffset: isPartial ? pool.checksumOffset[slot] : 0,
      headersEnd: isPartial ? pool.headersEnd[slot] - start : 0,
    });
  }

  submit(): void {}
  hasWork(): boolean {
    return false;
  }
  close(): void {}
  watch(): void {}
  unwatch(): void {}
  detach(): void {}
  isIdle(): boolean {
    return true;
  }
  attach(): PortQueue {
    throw new Error('queues of the simulator are opened by the simulator');
  }
}
