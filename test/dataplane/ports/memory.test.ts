import { describe, expect, test } from 'vitest';
import { memory, memoryStation } from '../../../src/dataplane/ports/memory.js';
import { BenchWorker, engineKinds } from '../../suites/bench-worker.js';
import { PortDouble, type PortRig, portSuite, testFrame } from '../../suites/port-suite.js';

function makeRig(): PortRig {
  const station = () => {
    const found = memoryStation('mem1');
    if (found === undefined) throw new Error('no station');
    return found;
  };
  return {
    intent: { device: 'mem1' },
    connect() {},
    send: (octets) => expect(station().send(octets)).toBe(true),
    receive: () => station().receive()?.octets,
    vanish: () => station().vanish(),
    absence: { state: 'waiting', reason: /^no memory device mem1$/ },
    appear: () => station().appear(),
    setMtu: (mtu) => station().setMtu(mtu),
    setLink: (up) => station().setLink(up),
    canFill: true,
    sizes: [14, 15, 60, 1514, 9014, 65_000],
    close() {},
  };
}

describe('a memory port', () => {
  portSuite(memory, makeRig, engineKinds);

  test('carries offload metadata in both directions, relative to the frame', async () => {
    const worker = new BenchWorker('poll');
    const port = new PortDouble(worker);
    await port.start(memory, { intent: { device: 'mem2' } });
    const station = memoryStation('mem2')!;
    const offload = { gsoType: 1, gsoSize: 1448, checksumStart: 34, checksumOffset: 16, headersEnd: 66 };
    station.send(testFrame(9000), offload);
    worker.breathe(100);
    expect(worker.received).toMatchObject([{ gsoType: 1, gsoSize: 1448, checksumStart: 34, hasOffload: true }]);

    const slot = worker.frame(testFrame(9000));
    const start = worker.pool.offset[slot];
    worker.pool.gsoType[slot] = 1;
    worker.pool.gsoSize[slot] = 1448;
    worker.pool.checksumStart[slot] = start + 34;
    worker.pool.checksumOffset[slot] = 16;
    worker.pool.headersEnd[slot] = start + 66;
    expect(port.queues[0].send(slot)).toBe(true);
    worker.breathe();
    expect(await station.receiveWithin(1000)).toEqual({ octets: testFrame(9000), offload });
    await port.close();
    await worker.close();
  });

  test('refuses a second port on the same device, and more than one queue', async () => {
    const worker = new BenchWorker('poll');
    const port = new PortDouble(worker);
    await port.start(memory, { intent: { device: 'mem3' } });
    const other = new PortDouble(worker);
    await expect(other.start(memory, { intent: { device: 'mem3' } })).rejects.toThrow(/served already/);
    await expect(other.start(memory, { intent: { device: 'mem4', queues: 2 } })).rejects.toThrow(/one queue/);
    await port.close();
    await worker.close();
  });

  test('wakes a station that waits for a frame', async () => {
    const worker = new BenchWorker('poll');
    const port = new PortDouble(worker);
    await port.start(memory, { intent: { device: 'mem5' } });
    const waiting = memoryStation('mem5')!.receiveWithin(5000);
    worker.send(port.queues[0], testFrame(60));
    worker.breathe();
    expect((await waiting)?.octets).toEqual(testFrame(60));
    await port.close();
    await worker.close();
  });
});
