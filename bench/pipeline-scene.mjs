/**
 * The switch that the pipeline is measured in. Access ports in up to 64 VLAN networks and one trunk that carries them all;
 * stations come in pairs, one behind an access port and one behind the trunk, so each frame has a tag put on or taken off.
 */
import { MemorySwitch, memoryPort, nextRandom, write16, writeMac } from './memory-switch.mjs';

/** @typedef {import('./memory-switch.mjs').SwitchModules} SwitchModules */

const NETWORKS_MAX = 64;
const VID_FIRST = 100;
const TPID_CUSTOMER = 0x8100;
const FRAME_SIZE = 64;
const ETHERTYPE_IPV4 = 0x0800;

export class PipelineScene extends MemorySwitch {
  /**
   * @param {SwitchModules} modules
   * @param {{ ports: number, stations: number, talkingPairs?: number, seed: number }} shape ports: at least 2; stations:
   *   an even number; talkingPairs: how many of them send, evenly spread (all of them when absent)
   */
  constructor(modules, { ports, stations, talkingPairs = stations / 2, seed }) {
    super(modules, configOf(modules, ports), seed);
    this.accessPorts = ports - 1;
    this.access = Array.from({ length: this.accessPorts }, (_, index) => this.port(`a${index}`));
    this.trunk = this.port('trunk');
    this.networks = Math.min(this.accessPorts, NETWORKS_MAX);
    this.pairs = stations / 2;
    this.talkingPairs = Math.min(talkingPairs, this.pairs);
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
    pool.receive(slot, toTrunk ? this.access[access] : this.trunk, toTrunk ? FRAME_SIZE : FRAME_SIZE + 4);
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
   * @override
   */
  receiveBatch() {
    const { batch, talkingPairs } = this;
    const fromTrunk = batch.capacity >> 1;
    const distance = Math.floor(this.pairs / talkingPairs);
    let random = this.random;
    while (!batch.full) {
      random = nextRandom(random);
      this.receive(((random >>> 1) % talkingPairs) * distance, batch.count < fromTrunk);
    }
    this.random = random;
  }

  /** @override @param {{ run(batch: unknown): void }} pipeline */
  learnAll(pipeline) {
    for (let station = 0; station < this.pairs * 2; station++) {
      this.receive(station >> 1, (station & 1) === 0);
      // Floods while nobody is known yet: one at a time, so that the outbox holds them.
      if (!this.batch.full && station !== this.pairs * 2 - 1 && station > 2 * this.accessPorts) continue;
      this.run(pipeline);
    }
  }
}

/** @param {SwitchModules} modules @param {number} ports */
function configOf(modules, ports) {
  const accessPorts = ports - 1;
  const networks = Math.min(accessPorts, NETWORKS_MAX);
  const named = (/** @type {number} */ count, /** @type {(index: number) => [string, unknown]} */ entry) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => entry(index)));
  const trunk = Array.from({ length: networks }, (_, index) => ({ network: `n${index}`, vlan: VID_FIRST + index }));
  return {
    networks: named(networks, (index) => [`n${index}`, { type: 'local', macLimit: modules.limits.FDB_CAPACITY }]),
    ports: {
      ...named(accessPorts, (index) => [`a${index}`, memoryPort({ network: `n${index % networks}` })]),
      trunk: memoryPort({ trunk }),
    },
  };
}
