/** The states of a port between its kind and the workers, told by fakes of both. */
import { beforeEach, describe, expect, test } from 'vitest';
import { PortServer } from '../../src/control/port-server.js';
import {
  NO_OFFLOAD,
  type OpenPort,
  type PortIntent,
  type PortKind,
  type PortWatcher,
} from '../../src/dataplane/port.js';
import type { WorkerOrder } from '../../src/dataplane/worker-protocol.js';
import { OperatingError } from '../../src/errors.js';
import type { Snapshot } from '../../src/pipeline/snapshot.js';

const INDEX = 7;
const intent: PortIntent = { name: 'vm1', kind: 'fake', device: 'vm1', queues: 1, offload: 'auto' };
const tapPort = (mtu = 1500): OpenPort => ({
  queues: [{ type: 'tap', fd: 1000, vnetHeader: true }],
  features: NO_OFFLOAD,
  mtu,
});

/** Lets everything run that waits for nothing outside. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

class FakeKind implements PortKind {
  readonly kind = 'fake';
  readonly facesVm = true;
  readonly calls: string[] = [];
  watcher: PortWatcher | undefined;
  /** Done while the port is being opened. */
  whileOpening: (watcher: PortWatcher) => Promise<void> | void = () => {};
  onReleased = () => {};

  async open(_intent: PortIntent, watcher: PortWatcher) {
    this.watcher = watcher;
    await this.whileOpening(watcher);
    return {
      close: async (fate: string) => {
        this.calls.push(`close ${fate}`);
      },
      released: () => {
        this.calls.push('released');
        this.onReleased();
      },
    };
  }
}

class FakeWorkers {
  readonly count = 2;
  readonly dead = new Set<number>();
  readonly orders: { worker: number; order: WorkerOrder<Snapshot> }[] = [];

  order(worker: number, order: WorkerOrder<Snapshot>): boolean {
    if (this.dead.has(worker)) return false;
    this.orders.push({ worker, order });
    return true;
  }

  told(type: string): number[] {
    return this.orders.filter(({ order }) => order.type === type).map(({ worker }) => worker);
  }
}

let kind: FakeKind;
let workers: FakeWorkers;
let server: PortServer;
let changed: number;

beforeEach(() => {
  kind = new FakeKind();
  workers = new FakeWorkers();
  changed = 0;
  const memory = { get: () => undefined, set: () => {} };
  server = new PortServer(
    new Map([['fake', kind]]),
    workers,
    () => memory,
    () => changed++,
  );
});

async function openPort(): Promise<void> {
  kind.whileOpening = (watcher) => watcher.opened(tapPort());
  await server.add(INDEX, intent);
}

/** Whether the promise is done by now. */
async function isDone(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  void promise.then(
    () => {
      done = true;
    },
    () => {
      done = true;
    },
  );
  await settle();
  return done;
}

describe('a port that is there', () => {
  beforeEach(openPort);

  test('is up and given to every worker', () => {
    expect(server.status(INDEX).state).toBe('up');
    expect(workers.told('attach')).toEqual([0, 1]);
    expect(changed).toBe(1);
  });

  test('is released only when the last worker let go, and can be opened again then', async () => {
    kind.onReleased = () => kind.watcher?.opened(tapPort());
    kind.watcher?.lost({ state: 'waiting', reason: 'no interface vm1' });
    expect(server.status(INDEX)).toEqual({ state: 'waiting', reason: 'no interface vm1' });
    server.workerLetGo(0, INDEX);
    await settle();
    expect(kind.calls).toEqual([]);
    server.workerLetGo(1, INDEX);
    await settle();
    expect(kind.calls).toEqual(['released']);
    expect(server.status(INDEX).state).toBe('up');
    expect(workers.told('attach')).toEqual([0, 1, 0, 1]);
  });

  test('is closed when removed, after the workers let go, whatever a late worker says', async () => {
    const removed = server.remove(INDEX);
    server.workerLetGo(0, INDEX);
    server.workerLetGo(0, INDEX);
    expect(await isDone(removed)).toBe(false);
    server.workerLetGo(1, INDEX);
    await removed;
    expect(kind.calls).toEqual(['close remove']);
    expect(server.status(INDEX)).toEqual({ state: 'down', reason: 'not there' });
  });

  test('removed while it is being lost is asked for once, and closed without being looked for again', async () => {
    kind.onReleased = () => kind.watcher?.opened(tapPort());
    kind.watcher?.lost({ state: 'down', reason: 'vm1 was deleted' });
    const removed = server.remove(INDEX);
    expect(workers.told('detach')).toEqual([0, 1]);
    server.workerLetGo(0, INDEX);
    server.workerLetGo(1, INDEX);
    await removed;
    expect(kind.calls).toEqual(['close remove']);
    expect(workers.told('attach')).toEqual([0, 1]);
  });

  test('lost while it is being removed is closed all the same', async () => {
    const removed = server.remove(INDEX);
    kind.watcher?.lost({ state: 'down', reason: 'vm1 was deleted' });
    kind.watcher?.opened(tapPort());
    server.workerLetGo(0, INDEX);
    server.workerLetGo(1, INDEX);
    await removed;
    expect(kind.calls).toEqual(['close remove']);
    expect(workers.told('attach')).toEqual([0, 1]);
  });

  test('that a worker reports failed is down, and a change its kind tells meanwhile does not bring it back', () => {
    server.deviceFailed(INDEX, 'EBADFD');
    server.deviceFailed(INDEX, 'EBADFD');
    kind.watcher?.changed(tapPort(1400));
    expect(server.status(INDEX)).toEqual({ state: 'down', reason: 'the device failed: EBADFD' });
    expect(workers.told('detach')).toEqual([0, 1]);
  });

  test('opened once more without being lost is let go of before the new queues are given out', async () => {
    kind.watcher?.opened(tapPort(1400));
    expect(workers.told('attach')).toEqual([0, 1]);
    server.workerLetGo(0, INDEX);
    server.workerLetGo(1, INDEX);
    await settle();
    expect(workers.told('attach')).toEqual([0, 1, 0, 1]);
    expect(server.status(INDEX).open?.mtu).toBe(1400);
  });
});

describe('a worker that dies', () => {
  beforeEach(openPort);

  test('while a port is being removed is not waited for', async () => {
    const removed = server.remove(INDEX);
    server.workerLetGo(0, INDEX);
    server.workerDied(1);
    await removed;
    expect(kind.calls).toEqual(['close remove']);
  });

  test('and is not back yet is not waited for when a port is removed meanwhile', async () => {
    workers.dead.add(1);
    server.workerDied(1);
    const removed = server.remove(INDEX);
    server.workerLetGo(0, INDEX);
    await removed;
    expect(server.ordersFor(1)).toEqual([]);
  });

  test('and is not back yet is not waited for when a port that came meanwhile goes', async () => {
    workers.dead.add(1);
    server.workerDied(1);
    kind.watcher?.lost({ state: 'waiting', reason: 'no interface vm1' });
    server.workerLetGo(0, INDEX);
    await settle();
    kind.watcher?.opened(tapPort());
    const removed = server.remove(INDEX);
    server.workerLetGo(0, INDEX);
    await removed;
    expect(kind.calls).toEqual(['released', 'close remove']);
  });

  test('is given the ports that are up when it is back, and is waited for again', async () => {
    workers.dead.add(1);
    server.workerDied(1);
    workers.dead.clear();
    expect(server.ordersFor(1)).toMatchObject([{ type: 'attach', port: INDEX, receives: false }]);
    const removed = server.remove(INDEX);
    server.workerLetGo(0, INDEX);
    expect(await isDone(removed)).toBe(false);
    server.workerLetGo(1, INDEX);
    await removed;
  });
});

describe('opening', () => {
  test('that fails after the port was told open takes its queues back from the workers first', async () => {
    kind.whileOpening = (watcher) => {
      watcher.opened(tapPort());
      throw new OperatingError('no privilege');
    };
    const added = server.add(INDEX, intent);
    expect(await isDone(added)).toBe(false);
    expect(workers.told('detach')).toEqual([0, 1]);
    server.workerLetGo(0, INDEX);
    server.workerLetGo(1, INDEX);
    await expect(added).rejects.toThrow('no privilege');
    expect(server.status(INDEX)).toEqual({ state: 'down', reason: 'not there' });
  });

  test('of a port that is lost again before opening is done still ends in a release', async () => {
    kind.whileOpening = async (watcher) => {
      watcher.opened(tapPort());
      watcher.lost({ state: 'waiting', reason: 'no interface vm1' });
      server.workerLetGo(0, INDEX);
      server.workerLetGo(1, INDEX);
      await settle();
    };
    await server.add(INDEX, intent);
    expect(kind.calls).toEqual(['released']);
  });

  test('of a kind that is not there is refused, and leaves no port', async () => {
    await expect(server.add(INDEX, { ...intent, kind: 'none' })).rejects.toThrow('no port kind none');
    await server.remove(INDEX);
    expect(server.intent(INDEX)).toBeUndefined();
  });
});

describe('queues and workers', () => {
  const streamPort: OpenPort = { ...tapPort(), queues: [{ type: 'stream', fd: 1000 }] };
  const attached = () => workers.orders.map(({ order }) => order).filter((order) => order.type === 'attach');

  /** The worker that receives from the port. */
  const receiver = (index: number) =>
    workers.orders.findLast(({ order }) => order.type === 'attach' && order.port === index && order.receives)?.worker;

  test('ports of one queue are spread over the workers, and one that goes makes room', async () => {
    kind.whileOpening = (watcher) => watcher.opened(tapPort());
    for (const index of [1, 2, 3, 4]) await server.add(index, { ...intent, name: `vm${index}` });
    expect([1, 2, 3, 4].map(receiver)).toEqual([0, 1, 0, 1]);
    const removed = server.remove(2);
    for (const worker of [0, 1]) server.workerLetGo(worker, 2);
    await removed;
    await server.add(5, { ...intent, name: 'vm5' });
    expect(receiver(5)).toBe(1);
    expect(server.ordersFor(1).filter((order) => order.type === 'attach' && order.receives)).toHaveLength(2);
  });

  test('a port of as many queues as there are workers gives each worker one', async () => {
    kind.whileOpening = (watcher) => watcher.opened(tapPort());
    await server.add(1, intent);
    const [queue] = tapPort().queues;
    kind.whileOpening = (watcher) =>
      watcher.opened({ ...tapPort(), queues: [queue!, { ...queue!, fd: 1001 } as never] });
    await server.add(2, { ...intent, name: 'vm2', queues: 2 });
    const orders = attached().filter(({ port }) => port === 2);
    expect(orders.map(({ receives, transports }) => [receives, transports.length])).toEqual([
      [true, 1],
      [true, 1],
    ]);
  });

  test('an underlay’s one raw socket is read by one worker, and the others send by it without a relay', async () => {
    const datagrams = {
      type: 'datagram',
      protocol: 'gre',
      family: 4,
      fd: 1000,
      senders: [1000],
      remotePort: 0,
    } as const;
    kind.whileOpening = (watcher) => watcher.opened({ ...tapPort(), queues: [datagrams] });
    await server.add(1, intent);
    expect(attached().map(({ receives, transports }) => ({ receives, transports }))).toEqual([
      { receives: true, transports: [datagrams] },
      { receives: false, transports: [datagrams] },
    ]);
  });

  test('a stream on any worker is reached by the others through a relay, whose emptying end lets go last', async () => {
    kind.whileOpening = (watcher) => watcher.opened(tapPort());
    await server.add(1, intent);
    kind.whileOpening = (watcher) => watcher.opened(streamPort);
    await server.add(2, { ...intent, name: 'vm2' });
    expect(receiver(2)).toBe(1);
    const [from, to] = [0, 1].map((worker) =>
      attached().find((order) => order.port === 2 && order.receives === (worker === 1)),
    );
    expect(from?.transports).toMatchObject([{ type: 'relay', end: 'from' }]);
    expect(to?.transports).toMatchObject([{ type: 'stream' }, { type: 'relay', end: 'to' }]);
    workers.orders.length = 0;
    const removed = server.remove(2);
    expect(workers.told('detach')).toEqual([0]);
    server.workerLetGo(0, 2);
    expect(workers.told('detach')).toEqual([0, 1]);
    expect(await isDone(removed)).toBe(false);
    server.workerLetGo(1, 2);
    await removed;
  });

  test('the emptying end is told to let go also when the filling one dies', async () => {
    kind.whileOpening = (watcher) => watcher.opened(streamPort);
    await server.add(1, intent);
    expect(receiver(1)).toBe(0);
    workers.orders.length = 0;
    const removed = server.remove(1);
    expect(workers.told('detach')).toEqual([1]);
    workers.dead.add(1);
    server.workerDied(1);
    expect(workers.told('detach')).toEqual([1, 0]);
    server.workerLetGo(0, 1);
    await removed;
    expect(kind.calls).toEqual(['close remove']);
  });
});

test('closing the daemon keeps the devices', async () => {
  await openPort();
  const closed = server.close();
  server.workerLetGo(0, INDEX);
  server.workerLetGo(1, INDEX);
  await closed;
  expect(kind.calls).toEqual(['close keep']);
});
