/**
 * The switch that the pipeline is measured in: the real machine, stages and tables of a worker (from dist/), with ports
 * that are memory. Access ports in up to 64 VLAN networks and one trunk that carries them all; stations come in pairs,
 * one behind an access port and one behind the trunk, so each frame has a tag put on or taken off.
 */
const NETWORKS_MAX = 64;
const VID_FIRST = 100;
const TPID_CUSTOMER = 0x8100;
const FRAME_SIZE = 64;
const ETHERTYPE_IPV4 = 0x0800;
const MTU = 1500;
const MAC_AGE_S = 300;
/** Slots of the pool; only a batch's worth is in use at once, the last freed first. */
const POOL_SLOTS = 1024;

/** The built modules the scene is made of. */
export async function loadSwitch() {
  const from = (/** @type {string} */ path) => import(new URL(`../dist/${path}.js`, import.meta.url).href);
  const [pool, batch, counters, samples, kernels, limits, fdb, loops, machine, pipeline, snapshot, buckets, tunnels] =
    await Promise.all(
      [
        'dataplane/frame-pool',
        'dataplane/batch',
        'dataplane/counters',
        'dataplane/drop-samples',
        'kernels/kernels',
        'limits',
        'pipeline/fdb',
        'pipeline/loop-guard',
        'pipeline/machine',
        'pipeline/pipeline',
        'pipeline/snapshot',
        'pipeline/token-bucket',
        'pipeline/tunnel-table',
      ].map(from),
    );
  return { pool, batch, counters, samples, kernels, limits, fdb, loops, machine, pipeline, snapshot, buckets, tunnels };
}
/** @typedef {Awaited<ReturnType<typeof loadSwitch>>} SwitchModules */

/** Keeps what the pipeline gives it until the batch is over, as a ring of the kernel's would. */
class MemoryQueue {
  /** @param {number} port @param {Outbox} outbox */
  constructor(port, outbox) {
    this.port = port;
    this.outbox = outbox;
  }

  /** @param {number} slot */
  send(slot) {
    const outbox = this.outbox;
    outbox.slots[outbox.count] = slot;
    outbox.ports[outbox.count++] = this.port;
    return true;
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

export class PipelineScene {
  /**
   * @param {SwitchModules} modules
   * @param {{ ports: number, stations: number, talkingPairs?: number, seed: number }} shape ports: at least 2; stations:
   *   an even number; talkingPairs: how many of them send, evenly spread (all of them when absent)
   */
  constructor(modules, { ports, stations, talkingPairs = stations / 2, seed }) {
    const { BATCH_SIZE, PORTS_MAX, EGRESS_BATCH_SIZE } = modules.limits;
    this.modules = modules;
    this.accessPorts = ports - 1;
    this.trunk = ports - 1;
    this.networks = Math.min(this.accessPorts, NETWORKS_MAX);
    this.pairs = stations / 2;
    this.talkingPairs = Math.min(talkingPairs, this.pairs);
    this.seed = seed;
    this.random = seed | 1;
    this.pool = sharedPool(modules);
    this.batch = new modules.batch.Batch(BATCH_SIZE);
    this.outbox = new Outbox(PORTS_MAX + EGRESS_BATCH_SIZE);
    this.counters = new modules.counters.Counters();
    this.machine = this.makeMachine(ports);
    for (let port = 0; port < ports; port++) this.machine.queues[port] = new MemoryQueue(port, this.outbox);
  }

  /** @private @param {number} ports */
  makeMachine(ports) {
    const { modules, pool, counters } = this;
    return new modules.machine.Machine(
      {
        pool,
        counters,
        kernels: new modules.kernels.Kernels(pool.memory),
        samples: new modules.samples.DropSamples(new SharedArrayBuffer(modules.samples.DROP_SAMPLES_SIZE)),
        fdb: makeFdb(modules, this.seed),
        tunnels: new modules.tunnels.TunnelTable(new SharedArrayBuffer(modules.tunnels.TUNNEL_TABLE_SIZE), 1),
        storm: new modules.buckets.TokenBuckets(new SharedArrayBuffer(modules.buckets.TOKEN_BUCKETS_SIZE)),
        loops: new modules.loops.LoopGuard(new SharedArrayBuffer(modules.loops.LOOP_GUARD_SIZE)),
      },
      this.snapshot(ports),
    );
  }

  /** Member i is access port i; behind them come the trunk's memberships, one a network. @private @param {number} ports */
  snapshot(ports) {
    const { accessPorts, networks, trunk, modules } = this;
    const { PORT_ACCESS, PORT_TRUNK, NETWORK_LEARNS } = modules.snapshot;
    const filled = (/** @type {number} */ length, /** @type {number | ((index: number) => number)} */ value) =>
      Int32Array.from({ length }, (_, index) => (typeof value === 'number' ? value : value(index)));
    const members = accessPorts + networks;
    const isTrunk = (/** @type {number} */ index) => index >= accessPorts;
    const networkOf = (/** @type {number} */ member) => (isTrunk(member) ? member - accessPorts : member % networks);
    const byNetwork = Array.from({ length: networks }, (_, network) =>
      Array.from({ length: members }, (_, member) => member).filter((member) => networkOf(member) === network),
    );
    const starts = byNetwork.map((_, network) => byNetwork.slice(0, network).flat().length);
    return {
      epoch: 1,
      icmpErrorRate: 100,
      arpReplyRate: 1000,
      ...this.withoutTunnels(ports, members),
      portMode: filled(ports, (port) => (port === trunk ? PORT_TRUNK : PORT_ACCESS)),
      portFlags: filled(ports, 0),
      portUntaggedMember: filled(ports, (port) => (port === trunk ? -1 : port)),
      portVidTable: filled(ports, (port) => (port === trunk ? 0 : -1)),
      portMtu: filled(ports, MTU),
      memberMtu: filled(members, MTU),
      portControlFrames: filled(ports, 0),
      portStormRate: filled(ports * 3, 0),
      portMacLimit: filled(ports, 0),
      portInnerVids: filled(ports, -1),
      vidMembers: filled(4096, (vid) =>
        vid >= VID_FIRST && vid < VID_FIRST + networks ? accessPorts + vid - VID_FIRST : -1,
      ),
      innerVids: filled(0, 0),
      memberPort: filled(members, (member) => (isTrunk(member) ? trunk : member)),
      memberNetwork: filled(members, networkOf),
      memberTag: filled(members, (member) =>
        isTrunk(member) ? (TPID_CUSTOMER << 16) | (VID_FIRST + networkOf(member)) : 0,
      ),
      networkStart: Int32Array.from(starts),
      networkCount: Int32Array.from(byNetwork.map((list) => list.length)),
      networkMembers: Int32Array.from(byNetwork.flat()),
      networkFlags: filled(networks, NETWORK_LEARNS),
      networkMacAge: filled(networks, MAC_AGE_S),
      networkMacLimit: filled(networks, modules.limits.FDB_CAPACITY),
    };
  }

  /** No port is an underlay's. @private @param {number} ports @param {number} members */
  withoutTunnels(ports, members) {
    const filled = (/** @type {number} */ length, value = 0) => new Int32Array(length).fill(value);
    return {
      underlayPorts: 0,
      portTunnelKind: filled(ports, -1),
      portIdTree: filled(ports, -1),
      portLocal: filled(ports * 4),
      portTunnelPort: filled(ports),
      portDscp: filled(ports),
      portAllowStart: filled(ports),
      portAllowCount: filled(ports),
      allowFrom: filled(0),
      idTree: filled(0),
      memberTunnelId: filled(members),
      memberTunnelFlags: filled(members),
      memberRemotesStart: filled(members),
      memberRemotesCount: filled(members),
      memberOptionsStart: filled(members),
      memberOptionsSize: filled(members),
      tunnelOptions: new Uint8Array(0),
      remotes: filled(0),
    };
  }

  /** Puts a frame of a pair into the batch: from the access side to the trunk, or back. @param {number} pair @param {boolean} toTrunk */
  receive(pair, toTrunk) {
    const { pool, accessPorts } = this;
    const slot = pool.allocate();
    const octets = pool.octets;
    let at = pool.frameStart(slot);
    writeMac(octets, at, pair * 2 + (toTrunk ? 1 : 0));
    writeMac(octets, at + 6, pair * 2 + (toTrunk ? 0 : 1));
    const access = pair % accessPorts;
    pool.receive(slot, toTrunk ? access : this.trunk, toTrunk ? FRAME_SIZE : FRAME_SIZE + 4);
    at += 12;
    if (!toTrunk) {
      write16(octets, at, TPID_CUSTOMER);
      write16(octets, at + 2, VID_FIRST + (access % this.networks));
      at += 4;
    }
    write16(octets, at, ETHERTYPE_IPV4);
    this.batch.push(slot);
  }

  /**
   * Fills the batch with frames of random talking pairs: first what comes in by access ports, then by the trunk. An engine
   * hands over port by port, too; with directions mixed frame by frame, half of all branches on tags are mispredicted,
   * and a frame costs 45 ns more.
   */
  receiveBatch() {
    const { batch, talkingPairs } = this;
    const fromTrunk = batch.capacity >> 1;
    const distance = Math.floor(this.pairs / talkingPairs);
    let random = this.random;
    while (!batch.full) {
      // xorshift32, inlined: a call would be a tenth of what is measured.
      random ^= random << 13;
      random ^= random >>> 17;
      random ^= random << 5;
      this.receive(((random >>> 1) % talkingPairs) * distance, batch.count < fromTrunk);
    }
    this.random = random;
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

  /** Sends one frame from every station, so that all are learned. @param {{ run(batch: unknown): void }} pipeline */
  learnAll(pipeline) {
    // Or what is learned at time 0 has expired when the process is five minutes old.
    this.machine.setTime(performance.now());
    for (let station = 0; station < this.pairs * 2; station++) {
      this.receive(station >> 1, (station & 1) === 0);
      // Floods while nobody is known yet: one at a time, so that the outbox holds them.
      if (!this.batch.full && station !== this.pairs * 2 - 1 && station > 2 * this.accessPorts) continue;
      pipeline.run(this.batch);
      this.complete();
    }
  }
}

/** @param {Uint8Array} octets @param {number} at @param {number} value */
function write16(octets, at, value) {
  octets[at] = value >>> 8;
  octets[at + 1] = value;
}

/** Addresses that look random and are different: an odd multiplier maps 32-bit words one to one. @param {Uint8Array} octets @param {number} at @param {number} station */
function writeMac(octets, at, station) {
  const low = Math.imul(station + 1, 0x9e3779b1);
  octets[at] = 0x02;
  octets[at + 1] = 0;
  write16(octets, at + 2, low >>> 16);
  write16(octets, at + 4, low);
}

/** An FDB of its own for each scene, seeded so that runs repeat. @param {SwitchModules} modules @param {number} seed */
function makeFdb(modules, seed) {
  return new modules.fdb.Fdb(new SharedArrayBuffer(modules.fdb.fdbSize()), 1, { seed: [seed, seed + 1] });
}
