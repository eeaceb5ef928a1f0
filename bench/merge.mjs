/**
 * Software receive and segmentation offload beside what they can't be faster than: nanoseconds a segment of 1,448 octets
 * and GB/s of payload for merging segments that lie as one VXLAN message left them (the payload moves to the left in its
 * slot), for cutting the super-frame into one buffer, and for the copy of as many octets (`memory.copy`, WebAssembly's
 * memcpy) in the same round. In this process, one thread, on the code in dist/.
 */
import { existsSync } from 'node:fs';
import { ratios, spread } from './statistics.mjs';

const entry = new URL('../dist/wire/gro.js', import.meta.url);

export const mergeAbsence = () => (existsSync(entry) ? null : 'dist/wire/gro.js is not built (npm run build)');

/** Octets in front of each frame: VXLAN's header, as UDP_GRO leaves it between the datagrams. */
const TUNNEL_HEADER = 8;
const PAYLOAD = 1448;
const TCP_HEADER = 32;
/** What one message of 65,507 octets holds of such datagrams, about. */
const SEGMENTS = 42;
/** Messages in different slots that take turns: their octets together lie in the second-level cache, as received ones do. */
const MESSAGES = 4;

/** @param {number} network octets of the IP header */
const frameSize = (network) => 14 + network + TCP_HEADER + PAYLOAD;

async function load() {
  const from = (/** @type {string} */ path) => import(new URL(`../dist/${path}.js`, import.meta.url).href);
  const [pool, kernels, gro, gso] = await Promise.all(
    ['dataplane/frame-pool', 'kernels/kernels', 'wire/gro', 'wire/gso'].map(from),
  );
  return { pool, kernels, gro, gso };
}

/** A super-frame that the Segmenter cuts and the Merger puts together again, again and again. */
class MergeScene {
  /** @param {Awaited<ReturnType<typeof load>>} modules @param {boolean} isIpv4 */
  constructor(modules, isIpv4) {
    this.pool = new modules.pool.FramePool(2 * MESSAGES + 2);
    this.kernels = new modules.kernels.Kernels(this.pool.memory);
    this.merger = new modules.gro.Merger(this.pool, this.kernels);
    this.segmenter = new modules.gso.Segmenter(this.pool, this.kernels);
    this.distance = TUNNEL_HEADER + frameSize(isIpv4 ? 20 : 40);
    this.writeSuperFrame(isIpv4);
    this.cut(0);
  }

  /** Puts the super-frame into slot 0. @param {boolean} isIpv4 */
  writeSuperFrame(isIpv4) {
    const { pool } = this;
    const start = pool.frameStart(0);
    const transport = 14 + (isIpv4 ? 20 : 40);
    const payload = transport + TCP_HEADER;
    const length = payload + SEGMENTS * PAYLOAD;
    const view = new DataView(pool.memory.buffer, start, length);
    for (let at = 0; at < length; at++) view.setUint8(at, Math.imul(at, 0x9e3779b1) >>> 24);
    view.setUint16(12, isIpv4 ? 0x0800 : 0x86dd);
    view.setUint8(14, isIpv4 ? 0x45 : 0x60);
    view.setUint16(isIpv4 ? 16 : 18, length - (isIpv4 ? 14 : 54));
    view.setUint8(isIpv4 ? 23 : 20, 6);
    if (isIpv4) view.setUint16(20, 0x4000);
    view.setUint8(transport + 12, (TCP_HEADER / 4) << 4);
    view.setUint8(transport + 13, 0x10);
    const addresses = isIpv4 ? 26 : 22;
    const sum = this.kernels.checksum(start + addresses, transport - addresses, 6 + length - transport);
    view.setUint16(transport + 16, sum);
    pool.receive(0, 0, length);
    pool.gsoType[0] = isIpv4 ? 1 : 4;
    pool.gsoSize[0] = PAYLOAD;
    pool.checksumStart[0] = start + transport;
    pool.checksumOffset[0] = 16;
    pool.headersEnd[0] = start + payload;
  }

  /** Writes all segments behind each other into a message's slot, as encapsulation does. @param {number} message */
  cut(message) {
    const { segmenter } = this;
    const start = this.pool.frameStart(1 + message);
    const count = segmenter.begin(0);
    for (let index = 0; index < count; index++)
      segmenter.segmentAt(index, start + index * this.distance + TUNNEL_HEADER);
  }

  /** Merges them where they lie. @param {number} message */
  merge(message) {
    const { pool, merger } = this;
    const slot = 1 + message;
    const start = pool.frameStart(slot) + TUNNEL_HEADER;
    const length = this.distance - TUNNEL_HEADER;
    pool.receive(slot, 0, length);
    pool.offset[slot] = start;
    merger.begin();
    let merged = 0;
    for (let index = 0; index < SEGMENTS; index++) {
      if (merger.append(start + index * this.distance, length, 1) >= 0) merged++;
      else merger.open(slot, 1);
    }
    merger.finish();
    if (merged !== SEGMENTS - 1) throw new Error(`merge bench: ${merged} segments were merged, not ${SEGMENTS - 1}`);
  }

  /** Copies the payload of as many segments, in one call. @param {number} message */
  copy(message) {
    this.kernels.copy(this.pool.frameStart(0), this.pool.frameStart(1 + MESSAGES + message), SEGMENTS * PAYLOAD);
  }
}

/** @typedef {'cut' | 'merge' | 'copy'} Work */
const WORKS = /** @type {readonly Work[]} */ (['cut', 'merge', 'copy']);

/**
 * Nanoseconds a segment of each kind of work; merging always finds what cutting has just written anew.
 * @param {MergeScene} scene @param {number} repetitions
 */
function timedRound(scene, repetitions) {
  const spent = { cut: 0, merge: 0, copy: 0 };
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const work of WORKS) {
      const begin = performance.now();
      for (let message = 0; message < MESSAGES; message++) scene[work](message);
      spent[work] += performance.now() - begin;
    }
  }
  const nanoseconds = (/** @type {Work} */ work) => (spent[work] * 1e6) / (repetitions * MESSAGES * SEGMENTS);
  return { cut: nanoseconds('cut'), merge: nanoseconds('merge'), copy: nanoseconds('copy') };
}

/** @param {{ smoke: boolean, rounds: number }} plan */
export async function measureMerge({ smoke, rounds }) {
  const modules = await load();
  const repetitions = smoke ? 50 : 2000;
  return ['IPv4', 'IPv6'].map((family) => {
    const scene = new MergeScene(modules, family === 'IPv4');
    timedRound(scene, repetitions);
    const samples = Array.from({ length: rounds }, () => timedRound(scene, repetitions));
    const copies = samples.map(({ copy }) => copy);
    const works = WORKS.map((work) => {
      const values = samples.map((sample) => sample[work]);
      const nanoseconds = spread(values);
      return { work, nanoseconds, gigabytesPerSecond: PAYLOAD / nanoseconds.median, toCopy: ratios(values, copies) };
    });
    return { family, works };
  });
}
