/**
 * Two workers and ports of one queue each: every port is one worker's, and what it does not do itself goes through the
 * other: shared descriptors, or, to a stream, a relay.
 */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import type { JsonObject, StatusResult } from '../../src/control/shapes.js';
import { Daemon } from './harness/daemon.js';
import { Machine } from './harness/machine.js';
import { Testbed } from './harness/testbed.js';
import { until } from './harness/wait.js';

const common: JsonObject = {
  network: 'lab',
  storm: { broadcast: 'none', multicast: 'none', unknownUnicast: 'none' },
};

let testbed: Testbed | undefined;

afterEach(() => {
  testbed?.dispose();
  testbed = undefined;
});

/** Plays QEMU at a stream port: frames after their length, four octets. */
class StreamPeer {
  readonly frames: Buffer[] = [];
  private readonly socket: Socket;
  private input = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('data', (octets) => {
      this.input = Buffer.concat([this.input, octets]);
      while (this.input.length >= 4 && this.input.length >= 4 + this.input.readUInt32BE()) {
        const end = 4 + this.input.readUInt32BE();
        this.frames.push(this.input.subarray(4, end));
        this.input = this.input.subarray(end);
      }
    });
  }

  static async connect(path: string): Promise<StreamPeer> {
    const socket = createConnection(path);
    await once(socket, 'connect');
    return new StreamPeer(socket);
  }

  send(frame: Buffer): void {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(frame.length);
    this.socket.write(Buffer.concat([length, frame]));
  }

  /** Frames of the test's own, by the number in them. */
  numbers(): number[] {
    return this.frames.filter((frame) => frame.readUInt16BE(12) === 0x88b5).map((frame) => frame.readUInt32BE(14));
  }

  hangUp(): void {
    this.socket.destroy();
  }
}

function numbered(source: number, destination: number, number: number): Buffer {
  const frame = Buffer.alloc(60, 0xa5);
  frame.set([0x02, 0, 0, 0, 1, destination, 0x02, 0, 0, 0, 1, source, 0x88, 0xb5]);
  frame.writeUInt32BE(number, 14);
  return frame;
}

test('ports of one queue lie on both workers, streams too, and all hear each other', async () => {
  const bed = new Testbed();
  testbed = bed;
  const tap = (device: string): JsonObject => ({ kind: 'tap', device, ...common });
  const stream = (name: string): JsonObject => ({ kind: 'qemu', path: join(bed.directory, name), ...common });
  const ports = { one: tap('tap-one'), two: tap('tap-two'), three: stream('three'), four: stream('four') };
  const config = { version: 1, networks: { lab: { type: 'local' } }, ports };
  const daemon = await Daemon.start(bed, config, { workers: 2 });
  const one = new Machine(bed, 'one', 1).take('tap-one');
  const two = new Machine(bed, 'two', 2).take('tap-two');
  const three = await StreamPeer.connect(join(bed.directory, 'three'));
  const four = await StreamPeer.connect(join(bed.directory, 'four'));
  await until('all are up', async () => (await daemon.call<StatusResult>('status')).ports.up === 4);
  const before = (await daemon.stats()).workers.map(({ frames }) => frames);
  await one.expectPings(two.ipv4, '56,1400,4000');
  four.send(numbered(4, 3, 0));
  await until('three was flooded to', () => three.numbers().length === 1);
  const numbers = Array.from({ length: 1000 }, (_, number) => number);
  for (const number of numbers) {
    three.send(numbered(3, 4, number));
    four.send(numbered(4, 3, number));
  }
  await until('all frames are there', () => four.numbers().length === 1000 && three.numbers().length === 1001);
  expect(four.numbers()).toEqual(numbers);
  expect(three.numbers().slice(1)).toEqual(numbers);
  const after = (await daemon.stats()).workers.map(({ frames }, index) => frames - before[index]!);
  expect(Math.min(...after), 'frames that each worker received').toBeGreaterThan(1000);
  // Frames that are on their way to a worker when the port goes are counted there.
  for (const number of numbers) three.send(numbered(3, 4, number));
  await daemon.call('port.remove', { name: 'four' });
  three.hangUp();
  four.hangUp();
  await daemon.expectConservation();
}, 60_000);
