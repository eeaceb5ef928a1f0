/**
 * The switch that tunnels are measured in: trunks on the near side, which carry every network by a VID, and on the far side
 * the tunnels of one kind, or one access port, which is what the tunnels' cost is set against. Stations come in pairs, one
 * behind a trunk and one on the far side; their frames are UDP of 64 octets, a flow for each pair.
 */
import { MemorySwitch, memoryPort, nextRandom, write16, writeMac } from './memory-switch.mjs';

/** @typedef {import('./memory-switch.mjs').SwitchModules} SwitchModules */
/**
 * @typedef {{ kind: 'vxlan' | 'geneve' | 'gre' | null, networks: number, remotes: number, pairs: number,
 *   direction: 'out' | 'in' | 'both', seed: number }} OverlayShape
 * kind null: no tunnels; then one network. remotes: of each network. direction: out is from near to far, encapsulated
 */

const NETWORKS_PER_TRUNK = 4000;
const TPID_CUSTOMER = 0x8100;
const FRAME_SIZE = 64;
const TUNNEL_HAS_ID = 1;

/** 64 octets without a tag: IPv4 and UDP to the discard port. MACs and source port are written into each. */
const template = (() => {
  const octets = new Uint8Array(FRAME_SIZE).fill(0xa5);
  octets.set([0x08, 0x00, 0x45, 0, 0, FRAME_SIZE - 14, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2], 12);
  octets.set([0xc0, 0, 0, 9, 0, FRAME_SIZE - 34, 0, 0], 34);
  return octets;
})();
const SOURCE_PORT = 34;

/** Four octets as the word they are in memory. @param {number[]} octets */
const wordOf = (octets) => new Int32Array(new Uint8Array(octets).buffer)[0];
const IPV4_MAPPED = wordOf([0, 0, 0xff, 0xff]);
/** Addresses of the benchmarking network, 198.18.0.0/15. @param {number} remote */
const remoteOctets = (remote) => [198, 18, (remote + 1) >>> 8, (remote + 1) & 0xff];
/** Ids all over the 24 bits, all different: what costs the id's look-up most. @param {number} network */
const idOf = (network) => Math.imul(network + 1, 0x9e3779b1) & 0xff_ffff;

export class OverlayScene extends MemorySwitch {
  /** @param {SwitchModules} modules @param {OverlayShape} shape */
  constructor(modules, shape) {
    super(modules, configOf(modules, shape), shape.seed);
    const { kind, networks, pairs, remotes } = shape;
    if (pairs % networks !== 0) throw new Error('overlay scene: as many pairs in each network');
    this.shape = shape;
    this.trunks = trunksOf(networks).map((_, index) => this.port(`trunk${index}`));
    this.far = this.port(kind === null ? 'far' : `u0/${kind}`);
    this.kind = kind === null ? null : modules.tunnelKinds.tunnelKinds[modules.tunnelKinds.tunnelKindIndex(kind)];
    this.remoteWords = Int32Array.from({ length: remotes }, (_, remote) => wordOf(remoteOctets(remote)));
    this.settings = {
      ...{ id: 0, flags: TUNNEL_HAS_ID, sequence: 0 },
      ...{ options: new Uint8Array(0), optionsStart: 0, optionsSize: 0 },
    };
  }

  /** Puts a frame of a pair into the batch. @param {number} pair @param {boolean} isOut */
  receive(pair, isOut) {
    const slot = this.pool.allocate();
    const start = this.pool.frameStart(slot);
    if (isOut) this.receiveNear(slot, start, pair);
    else this.receiveFar(slot, start, pair);
    this.batch.push(slot);
  }

  /** With the VID of the pair's network. @private @param {number} slot @param {number} start @param {number} pair */
  receiveNear(slot, start, pair) {
    const { octets } = this.pool;
    const network = pair % this.shape.networks;
    octets.set(template, start + 4);
    writeMac(octets, start, pair * 2 + 1);
    writeMac(octets, start + 6, pair * 2);
    write16(octets, start + 12, TPID_CUSTOMER);
    write16(octets, start + 14, 1 + (network % NETWORKS_PER_TRUNK));
    write16(octets, start + 4 + SOURCE_PORT, 0x8000 | pair);
    this.pool.receive(slot, this.trunks[Math.floor(network / NETWORKS_PER_TRUNK)], FRAME_SIZE + 4);
  }

  /** In a datagram from the pair's remote. @private @param {number} slot @param {number} start @param {number} pair */
  receiveFar(slot, start, pair) {
    const { pool, kind, settings, shape } = this;
    const { octets, sourceAddress } = pool;
    const header = kind === null ? 0 : kind.headerSize(settings.flags, 0);
    const frame = start + header;
    octets.set(template, frame);
    writeMac(octets, frame, pair * 2);
    writeMac(octets, frame + 6, pair * 2 + 1);
    write16(octets, frame + SOURCE_PORT, 0x8000 | pair);
    pool.receive(slot, this.far, header + FRAME_SIZE);
    if (kind === null) return;
    settings.id = idOf(pair % shape.networks);
    kind.write(octets, frame, frame + FRAME_SIZE, settings);
    pool.trafficClass[slot] = 0;
    sourceAddress[slot * 4] = 0;
    sourceAddress[slot * 4 + 1] = 0;
    sourceAddress[slot * 4 + 2] = IPV4_MAPPED;
    sourceAddress[slot * 4 + 3] = this.remoteWords[Math.floor(pair / shape.networks) % shape.remotes];
  }

  /** Frames of random pairs, first what comes in by trunks: engines hand over port by port. @override */
  receiveBatch() {
    const { batch, shape } = this;
    const out = shape.direction === 'both' ? batch.capacity >> 1 : shape.direction === 'out' ? batch.capacity : 0;
    while (!batch.full) {
      this.random = nextRandom(this.random);
      this.receive((this.random >>> 1) % shape.pairs, batch.count < out);
    }
  }

  /**
   * The far stations first: what floods then has one member to go to, never every remote.
   * @override @param {{ run(batch: unknown): void }} pipeline
   */
  learnAll(pipeline) {
    for (const isOut of [false, true]) {
      for (let pair = 0; pair < this.shape.pairs; pair++) {
        this.receive(pair, isOut);
        if (this.batch.full || pair === this.shape.pairs - 1) this.run(pipeline);
      }
    }
  }
}

/** The networks of each trunk, by number. @param {number} networks */
function trunksOf(networks) {
  return Array.from({ length: Math.ceil(networks / NETWORKS_PER_TRUNK) }, (_, trunk) => {
    const first = trunk * NETWORKS_PER_TRUNK;
    const length = Math.min(NETWORKS_PER_TRUNK, networks - first);
    return Array.from({ length }, (_, index) => first + index);
  });
}

/** @param {SwitchModules} modules @param {OverlayShape} shape */
function configOf(modules, { kind, networks, remotes }) {
  const addresses = Array.from({ length: remotes }, (_, remote) => remoteOctets(remote).join('.'));
  const tunnels = (/** @type {number} */ network) => ({ underlay: 'u0', id: idOf(network), remotes: addresses });
  const network = (/** @type {number} */ index) => ({
    ...(kind === null ? { type: 'local' } : { type: kind, ...tunnels(index) }),
    macLimit: modules.limits.FDB_CAPACITY,
  });
  const trunks = trunksOf(networks).map((list, index) => {
    const trunk = list.map((one) => ({ network: `n${one}`, vlan: 1 + (one % NETWORKS_PER_TRUNK) }));
    return [`trunk${index}`, memoryPort({ trunk })];
  });
  return {
    ...(kind !== null && { underlays: { u0: { local: '198.51.100.1' } } }),
    networks: Object.fromEntries(Array.from({ length: networks }, (_, index) => [`n${index}`, network(index)])),
    ports: { ...Object.fromEntries(trunks), ...(kind === null && { far: memoryPort({ network: 'n0' }) }) },
  };
}
