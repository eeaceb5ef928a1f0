/**
 * What scenes have in common in which two guests talk and every pair of endpoints is a connection, and how fast connections
 * begin in one. Guest 0 begins them all.
 */
import { MemorySwitch, nextRandom, prepare } from './memory-switch.mjs';

/** Who extends it makes the frames. */
export class ConnectionScene extends MemorySwitch {
  /**
   * @param {import('./memory-switch.mjs').SwitchModules} modules @param {Record<string, unknown>} config @param {number} seed
   * @param {number} connections how many talk
   */
  constructor(modules, config, seed, connections) {
    super(modules, config, seed);
    this.connections = connections;
    /** The connection that `receiveNew` begins next. */
    this.next = 0;
    /** How many frames each connection has had: 0, 1, or any number more. */
    this.age = 0;
  }

  /** Puts a frame of a connection into the batch. @param {number} _connection @param {0 | 1} _from the guest that sends it */
  receive(_connection, _from) {
    throw new Error('a scene says what its frames are');
  }

  /** Random connections, first a's frames, then b's, as an engine hands over port by port. @override */
  receiveBatch() {
    const { batch } = this;
    const fromB = batch.capacity >> 1;
    let random = this.random;
    while (!batch.full) {
      random = nextRandom(random);
      this.receive((random >>> 1) % this.connections, batch.count < fromB ? 0 : 1);
    }
    this.random = random;
  }

  /** A batch in which every frame begins another connection. */
  receiveNew() {
    while (!this.batch.full) this.receive(this.next++, 0);
  }

  /** Opens every connection, has it answered and sends once more: now all are established. @param {any} pipeline */
  establishAll(pipeline) {
    const turns = /** @type {const} */ ([0, 1, 0]);
    for (const [age, from] of turns.entries()) {
      this.age = age;
      for (let connection = 0; connection < this.connections; connection++) {
        this.receive(connection, from);
        if (!this.batch.full && connection !== this.connections - 1) continue;
        const first = connection + 1 - this.batch.count;
        pipeline.run(this.batch);
        if (from === 0) this.noteLeaving(first);
        this.complete();
      }
    }
  }

  /** Looks at what leaves of a's: the outbox has a frame of each connection from `first` on. @param {number} _first */
  noteLeaving(_first) {}
}

/** Milliseconds that a batch of new connections takes. @param {ConnectionScene} scene @param {any} pipeline */
export function timedNew(scene, pipeline) {
  scene.receiveNew();
  const begin = performance.now();
  scene.machine.setTime(begin);
  scene.run(pipeline);
  return performance.now() - begin;
}

/** In a fresh scene, over so many batches in which every frame begins one. @param {ConnectionScene} scene @param {number} batches */
export function newConnectionsPerSecond(scene, batches) {
  const { capacity } = scene.batch;
  const pipeline = new scene.modules.pipeline.Pipeline(scene.machine);
  prepare(scene, pipeline, { frames: 0, warmupFrames: capacity });
  const before = scene.sumOf('TX_FRAMES');
  let spent = 0;
  for (let batch = 0; batch < batches; batch++) spent += timedNew(scene, pipeline);
  const made = batches * capacity;
  if (scene.sumOf('TX_FRAMES') - before !== made) throw new Error('pipeline bench: new connections were refused');
  return (made * 1000) / spent;
}
