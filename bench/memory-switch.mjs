/**
 * A worker's switch without a worker: the real configuration, machine, stages and tables (from dist/), with ports that are
 * memory. What the scenes of the pipeline benches have in common, and how they are timed.
 */

/** Slots of the pool; only a batch's worth is in use at once, the last freed first. */
const POOL_SLOTS = 1024;

const paths = /** @type {const} */ ({
  check: 'control/check',
  compile: 'control/compile',
  document: 'control/document',
  indices: 'control/indices',
  pool: 'dataplane/frame-pool',
  batch: 'dataplane/batch',
  counters: 'dataplane/counters',
  samples: 'dataplane/drop-samples',
  kernels: 'kernels/kernels',
  limits: 'limits',
  fdb: 'pipeline/fdb',
  tunnelTable: 'pipeline/tunnel-table',
  tunnelControl: 'pipeline/tunnel-control',
  tunnelKinds: 'tunnels/registry',
  fragments: 'pipeline/fragment-table',
  neighbors: 'pipeline/neighbor-table',
  connections: 'pipeline/connection-table',
  connectionControl: 'pipeline/connection-control',
  loops: 'pipeline/loop-guard',
  machine: 'pipeline/machine',
  pipeline: 'pipeline/pipeline',
  buckets: 'pipeline/token-bucket',
  address: 'wire/address',
});

/** @typedef {Record<keyof typeof paths, any>} SwitchModules the built modules a switch is made of */

/** @returns {Promise<SwitchModules>} */
export async function loadSwitch() {
  const load = async (/** @type {[string, string]} */ [name, path]) =>
    /** @type {const} */ ([name, await import(new URL(`../dist/${path}.js`, import.meta.url).href)]);
  return /** @type {SwitchModules} */ (Object.fromEntries(await Promise.all(Object.entries(paths).map(load))));
}

/** Keeps what the pipeline gives it until the batch is over, as a ring of the kernel's would. */
class MemoryQueue {
  /** @param {number} port @param {Outbox} outbox */
  constructor(port, outbox) {
    this.port = port;
    this.outbox = outbox;
    this.senderCount = 1;
  }

  /** @param {number} slot */
  send(slot) {
    const outbox = this.outbox;
    outbox.slots[outbox.count] = slot;
    outbox.ports[outbox.count++] = this.port;
    return true;
  }

  /** As a datagram. @param {number} slot */
  sendTo(slot) {
    return this.send(slot);
  }
}

class Outbox {
  /** @param {number} capacity */
  constructor(capacity) {
    this.slots = new Int32Array(capacity);
    this.ports = new Int32Array(capacity);
    this.count = 0;
  }
}

/** @type {any} */
let pool = null;

/** One arena for all scenes: each gives every slot back, and address space for dozens of arenas is not always there. */
function sharedPool(/** @type {SwitchModules} */ modules) {
  pool ??= new modules.pool.FramePool(POOL_SLOTS);
  return pool;
}

/** Tables are its own, seeded so that runs repeat. Who extends it makes the frames. */
export class MemorySwitch {
  /** @param {SwitchModules} modules @param {Record<string, unknown>} config @param {number} seed */
  constructor(modules, config, seed) {
    const { BATCH_SIZE, PORTS_MAX, EGRESS_BATCH_SIZE } = modules.limits;
    this.modules = modules;
    this.random = seed | 1;
    this.pool = sharedPool(modules);
    this.batch = new modules.batch.Batch(BATCH_SIZE);
    this.outbox = new Outbox(PORTS_MAX + EGRESS_BATCH_SIZE);
    this.counters = new modules.counters.Counters();
    const resolved = resolve(modules, config);
    this.indices = new modules.indices.Indices().allocate(resolved);
    const tunnels = makeTunnels(modules, seed);
    const snapshot = this.compile(resolved, tunnels);
    this.machine = new modules.machine.Machine(this.parts(seed, tunnels, resolved.conntrack.capacity), snapshot);
    this.portCount = snapshot.portMode.length;
    for (let port = 0; port < this.portCount; port++) this.machine.queues[port] = new MemoryQueue(port, this.outbox);
  }

  /** @private @param {any} resolved @param {any} tunnels */
  compile(resolved, tunnels) {
    const { modules, indices } = this;
    const { tunnelTable, address } = modules;
    const wordsOf = (/** @type {string} */ remote) => address.ipWords(address.parseIp(remote));
    const underlayPort = [...resolved.ports].find(([, { underlay }]) => underlay !== undefined)?.[0];
    const remotesOf = (/** @type {number} */ member, /** @type {string[]} */ remotes) =>
      remotes.map((remote) => {
        const words = wordsOf(remote);
        // Asked for before whose network it is (pipeline/decap.ts); the control plane adds it for every remote, too.
        tunnels.intern(tunnelTable.anyNetwork(indices.port(underlayPort)), words);
        return tunnels.intern(member, words);
      });
    return modules.compile.compile(resolved, indices, () => DEVICE, 1, remotesOf);
  }

  /** @param {string} name */
  port(name) {
    return this.indices.port(name);
  }

  /** @private @param {number} seed @param {any} tunnels @param {number} capacity of the connection table */
  parts(seed, tunnels, capacity) {
    const { modules, pool, counters } = this;
    const { samples, fdb, fragments, connections, neighbors, buckets, loops, kernels } = modules;
    this.connectionMemory = new SharedArrayBuffer(connections.connectionTableSize(capacity));
    return {
      ...{ pool, counters, tunnels },
      kernels: new kernels.Kernels(pool.memory),
      samples: new samples.DropSamples(new SharedArrayBuffer(samples.DROP_SAMPLES_SIZE)),
      fdb: new fdb.Fdb(new SharedArrayBuffer(fdb.fdbSize()), 1, { seed: [seed, seed + 1] }),
      fragments: new fragments.FragmentTable(new SharedArrayBuffer(fragments.fragmentTableSize()), 1),
      connections: new connections.ConnectionTable(this.connectionMemory, 1, { capacity }),
      neighbors: new neighbors.NeighborTable(new SharedArrayBuffer(neighbors.neighborTableSize()), 1),
      storm: new buckets.TokenBuckets(new SharedArrayBuffer(buckets.TOKEN_BUCKETS_SIZE)),
      loops: new loops.LoopGuard(new SharedArrayBuffer(loops.LOOP_GUARD_SIZE)),
    };
  }

  /** Fills the batch with frames. */
  receiveBatch() {
    throw new Error('a scene says what its frames are');
  }

  /** Sends one frame from every station, so that all are learned. @param {any} _pipeline */
  learnAll(_pipeline) {
    throw new Error('a scene says who its stations are');
  }

  /** Runs what is in the batch to its end. @param {{ run(batch: unknown): void }} pipeline */
  run(pipeline) {
    pipeline.run(this.batch);
    this.complete();
  }

  /** Reports every frame on the queues as sent, as an engine does when the kernel has taken them. */
  complete() {
    const { outbox, machine, pool } = this;
    for (let index = 0; index < outbox.count; index++) {
      const slot = outbox.slots[index];
      machine.sent(slot, outbox.ports[index], pool.length[slot], 0);
    }
    outbox.count = 0;
  }

  /** A counter of all ports together. @param {'TX_FRAMES' | 'NOT_LEARNED'} name */
  sumOf(name) {
    let sum = 0;
    for (let port = 0; port < this.portCount; port++) sum += this.counters.portValue(port, this.modules.counters[name]);
    return sum;
  }
}

/** A port of the configuration, without the limits that a VM's has. @param {object} keys */
export const memoryPort = (keys) => ({
  ...{ kind: 'memory', macLimit: 'none' },
  storm: { broadcast: 'none', multicast: 'none', unknownUnicast: 'none' },
  ...keys,
});

/** Of every port: takes all offloads and is never the one whose MTU is in the way. */
const DEVICE = { mtu: 9000, features: { checksum: true, tcp4: true, tcp6: true, udp: true } };

/** @param {SwitchModules} modules @param {Record<string, unknown>} config */
function resolve({ check, document }, config) {
  return check.checkDocument(document.documentOf({ version: 1, ...config })).resolved;
}

/** @param {SwitchModules} modules @param {number} seed */
function makeTunnels({ tunnelTable, tunnelControl }, seed) {
  const memory = new SharedArrayBuffer(tunnelTable.TUNNEL_TABLE_SIZE);
  return new tunnelControl.TunnelControl(memory, 0, [seed, seed + 1]);
}

/** @typedef {{ frames: number, warmupFrames: number }} Volume */

/**
 * Learns every station, and sees to it that all are known and every frame arrives: a bench of drops measures nothing.
 * @param {MemorySwitch} scene @param {any} pipeline @param {Volume} volume
 */
export function prepare(scene, pipeline, volume) {
  // Or what is learned at time 0 has expired when the process is five minutes old.
  scene.machine.setTime(performance.now());
  scene.learnAll(pipeline);
  const before = scene.sumOf('TX_FRAMES');
  timedRun(scene, pipeline, volume.warmupFrames);
  const sent = scene.sumOf('TX_FRAMES') - before;
  if (sent !== roundUp(volume.warmupFrames, scene.batch.capacity))
    throw new Error(`pipeline bench: ${sent} copies of ${volume.warmupFrames} frames left; every frame should, once`);
  if (scene.sumOf('NOT_LEARNED') !== 0) throw new Error('pipeline bench: stations were not learned');
  if (scene.pool.available !== scene.pool.slotCount) throw new Error('pipeline bench: slots were lost');
}

/**
 * Runs at least so many frames, in whole batches. Returns milliseconds. The clock is read around each batch's run and
 * reports; making the frames, the kernel's work otherwise, is not counted.
 * @param {MemorySwitch} scene @param {any} pipeline @param {number} frames
 */
export function timedRun(scene, pipeline, frames) {
  const { batch, machine } = scene;
  let spent = 0;
  for (let done = 0; done < frames; done += batch.capacity) {
    scene.receiveBatch();
    const begin = performance.now();
    machine.setTime(begin);
    pipeline.run(batch);
    scene.complete();
    spent += performance.now() - begin;
  }
  return (spent * frames) / roundUp(frames, batch.capacity);
}

/** @param {number} value @param {number} step */
const roundUp = (value, step) => Math.ceil(value / step) * step;

/** Nanoseconds a frame in a fresh scene. @param {MemorySwitch} scene @param {Volume} volume */
export function nanosecondsPerFrame(scene, volume) {
  const pipeline = new scene.modules.pipeline.Pipeline(scene.machine);
  prepare(scene, pipeline, volume);
  return (timedRun(scene, pipeline, volume.frames) * 1e6) / volume.frames;
}

/** xorshift32: the next random number, and the state. @param {number} state */
export function nextRandom(state) {
  let random = state;
  random ^= random << 13;
  random ^= random >>> 17;
  return random ^ (random << 5);
}

/** @param {Uint8Array} octets @param {number} at @param {number} value */
export function write16(octets, at, value) {
  octets[at] = value >>> 8;
  octets[at + 1] = value;
}

/** @param {Uint8Array} octets @param {number} at @param {number} value */
export function write32(octets, at, value) {
  write16(octets, at, value >>> 16);
  write16(octets, at + 2, value);
}

/** An IPv4 address as configurations have it. @param {number} address */
export const addressText = (address) => [24, 16, 8, 0].map((bits) => (address >>> bits) & 255).join('.');

/** Addresses that look random and are different: an odd multiplier maps 32-bit words one to one. @param {Uint8Array} octets @param {number} at @param {number} station */
export function writeMac(octets, at, station) {
  const low = Math.imul(station + 1, 0x9e3779b1);
  octets[at] = 0x02;
  octets[at + 1] = 0;
  write16(octets, at + 2, low >>> 16);
  write16(octets, at + 4, low);
}
