/** What each stage of the pipeline costs, told apart by the listener that `weft trace` uses. */
import { prepare } from './memory-switch.mjs';
import { spread } from './statistics.mjs';

const DECAP = 'decap';

/**
 * Nanoseconds a frame of each stage, and of the `runner`: replicating, counting and letting go.
 * What unpacks datagrams (`decap`) is no stage, but is told of as one.
 * @param {import('./memory-switch.mjs').MemorySwitch} scene @param {import('./memory-switch.mjs').Volume} volume @param {number} rounds
 */
export function measureStages(scene, volume, rounds) {
  const { ingressStages, egressStages, Pipeline } = scene.modules.pipeline;
  const clock = new StageClock([DECAP, ...[...ingressStages, ...egressStages].map((stage) => stage.name)]);
  const pipeline = new Pipeline(scene.machine, clock);
  prepare(scene, pipeline, volume);
  /** @type {Map<string, number[]>} */
  const samples = new Map([...clock.spent.keys(), 'runner'].map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    clock.reset();
    const total = timedStages(scene, pipeline, clock, volume.frames);
    let stages = 0;
    for (const [name, spent] of clock.spent) {
      stages += spent;
      samples.get(name)?.push((spent * 1e6) / volume.frames);
    }
    samples.get('runner')?.push(((total - stages) * 1e6) / volume.frames);
  }
  return [...samples].map(([stage, values]) => ({ stage, nanoseconds: spread(values) }));
}

/** @param {import('./memory-switch.mjs').MemorySwitch} scene @param {any} pipeline @param {StageClock} clock @param {number} frames */
function timedStages(scene, pipeline, clock, frames) {
  let total = 0;
  for (let done = 0; done < frames; done += scene.batch.capacity) {
    scene.receiveBatch();
    clock.start();
    const begin = clock.last;
    pipeline.run(scene.batch);
    scene.complete();
    total += performance.now() - begin;
  }
  return total;
}

/** Adds up what passes between two stages' ends. What the runner does between stages falls to the next one. */
class StageClock {
  /** @param {string[]} names */
  constructor(names) {
    this.spent = new Map(names.map((name) => [name, 0]));
    this.last = 0;
  }

  reset() {
    for (const name of this.spent.keys()) this.spent.set(name, 0);
  }

  start() {
    this.last = performance.now();
  }

  /** @param {{ name: string }} stage */
  ingress(stage) {
    const now = performance.now();
    this.spent.set(stage.name, (this.spent.get(stage.name) ?? 0) + now - this.last);
    this.last = now;
  }

  /** @param {{ name: string }} stage */
  egress(stage) {
    this.ingress(stage);
  }

  unpacked() {
    this.ingress({ name: DECAP });
  }
}
