/**
 * What routing costs without any I/O: nanoseconds a frame of 64 octets switched at L2, and routed by tables of few and of many
 * prefixes, all of which packets go to. In this process, one thread, on the code in dist/.
 */
import {
  addressText,
  loadSwitch,
  MemorySwitch,
  memoryPort,
  nanosecondsPerFrame,
  nextRandom,
  write16,
  write32,
} from './memory-switch.mjs';
import { volumeOf } from './pipeline.mjs';
import { ratios, spread } from './statistics.mjs';
import { judged, routingPipelineTargets } from './targets.mjs';

const PREFIXES = [10, 1_000, 100_000];
const SMOKE_PREFIXES = [10, 1_000];
const FRAME_SIZE = 64;
const IPV4_HEADER = 14;
/** The first prefix, 10.0.0.0/24; the others follow it. */
const PREFIX_FIRST = 0x0a00_0000;
const GUEST_A = '02000000000a';
const GUEST_B = '02000000000b';

/** @param {{ smoke: boolean, seed: number, rounds: number }} plan */
export async function measureRoutingPipeline({ smoke, seed, rounds }) {
  const modules = await loadSwitch();
  const row = (/** @type {number} */ size) => ({ size, rounds: /** @type {number[]} */ ([]) });
  const plain = row(0);
  const byPrefixes = (smoke ? SMOKE_PREFIXES : PREFIXES).map(row);
  for (let round = 0; round < rounds; round++) {
    for (const one of [plain, ...byPrefixes])
      one.rounds.push(nanosecondsPerFrame(new RoutingScene(modules, one.size, seed), volumeOf(smoke)));
  }
  const growth = ratios(byPrefixes[byPrefixes.length - 1].rounds, byPrefixes[0].rounds)?.median ?? 0;
  const { prefixesGrowth } = routingPipelineTargets;
  return {
    plain: spread(plain.rounds),
    byPrefixes: byPrefixes.map(({ size, rounds: figures }) => ({ size, nanoseconds: spread(figures) })),
    targets: judged([{ name: 'growth with prefixes', atMost: prefixesGrowth, value: growth }]),
  };
}

/** Guest a sends to guest b: in one network, or through a router that has `prefixes` routes by b. */
class RoutingScene extends MemorySwitch {
  /** @param {any} modules @param {number} prefixes 0: no router @param {number} seed */
  constructor(modules, prefixes, seed) {
    super(modules, configOf(prefixes), seed);
    this.prefixes = prefixes;
    const { routing } = this.machine.snapshot;
    const mac = (/** @type {number} */ at) =>
      routing.interfaceMacHigh[at].toString(16).padStart(4, '0') +
      (routing.interfaceMacLow[at] >>> 0).toString(16).padStart(8, '0');
    const gateways = prefixes === 0 ? [GUEST_B, GUEST_A] : [mac(0), mac(1)];
    this.template = packetFrom(gateways[0]);
    this.announcement = announcementTo(gateways[1]);
  }

  /** @override */
  receiveBatch() {
    let random = this.random;
    while (!this.batch.full) {
      random = nextRandom(random);
      const prefix = this.prefixes === 0 ? 0 : (random >>> 1) % this.prefixes;
      this.receive(PREFIX_FIRST + prefix * 256 + 1 + (random & 127));
    }
    this.random = random;
  }

  /** A frame of a's to this address. @param {number} destination @private */
  receive(destination) {
    const { pool } = this;
    const slot = pool.allocate();
    const at = pool.frameStart(slot);
    pool.octets.set(this.template, at);
    write32(pool.octets, at + IPV4_HEADER + 16, destination);
    let sum = 0;
    for (let word = 0; word < 20; word += 2)
      if (word !== 10) sum += (pool.octets[at + IPV4_HEADER + word] << 8) | pool.octets[at + IPV4_HEADER + word + 1];
    sum = (sum & 0xffff) + (sum >>> 16);
    write16(pool.octets, at + IPV4_HEADER + 10, ~(sum + (sum >>> 16)) & 0xffff);
    pool.receive(slot, this.port('a'), FRAME_SIZE);
    this.batch.push(slot);
  }

  /** b says where it is, then a sends. @override @param {any} pipeline */
  learnAll(pipeline) {
    const slot = this.pool.allocate();
    this.pool.octets.set(this.announcement, this.pool.frameStart(slot));
    this.pool.receive(slot, this.port('b'), FRAME_SIZE);
    this.batch.push(slot);
    this.run(pipeline);
    this.receive(PREFIX_FIRST + 1);
    this.run(pipeline);
  }
}

/** @param {string} to */
function packetFrom(to) {
  const frame = Buffer.alloc(FRAME_SIZE);
  frame.write(`${to}${GUEST_A}08004500`, 'hex');
  frame.writeUInt16BE(FRAME_SIZE - IPV4_HEADER, IPV4_HEADER + 2);
  frame.write('4011', IPV4_HEADER + 8, 'hex');
  frame.write('c0000205', IPV4_HEADER + 12, 'hex');
  frame.write('03e807d0', IPV4_HEADER + 20, 'hex');
  frame.writeUInt16BE(FRAME_SIZE - IPV4_HEADER - 20, IPV4_HEADER + 24);
  return frame;
}

/** b at 198.51.100.2, by ARP. @param {string} to */
function announcementTo(to) {
  const frame = Buffer.alloc(FRAME_SIZE);
  frame.write(`${to}${GUEST_B}08060001080006040002${GUEST_B}c6336402${to}c6336401`, 'hex');
  return frame;
}

/** @param {number} prefixes */
function configOf(prefixes) {
  const isRouted = prefixes > 0;
  const routes = Array.from({ length: prefixes }, (_, index) => ({
    to: `${addressText(PREFIX_FIRST + index * 256)}/24`,
    via: '198.51.100.2',
  }));
  return {
    networks: { red: { type: 'local' }, blue: { type: 'local' } },
    ports: { a: memoryPort({ network: 'red' }), b: memoryPort({ network: isRouted ? 'blue' : 'red' }) },
    ...(isRouted && { routers: { r: { interfaces: { red: '192.0.2.1/24', blue: '198.51.100.1/24' }, routes } } }),
  };
}
