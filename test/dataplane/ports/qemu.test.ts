import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { qemu } from '../../../src/dataplane/ports/qemu.js';
import { FRAME_SIZE_MAX } from '../../../src/limits.js';
import { BenchWorker, engineKinds, sleep, until } from '../../suites/bench-worker.js';
import { PortDouble, type PortRig, portSuite, testFrame } from '../../suites/port-suite.js';

/** What QEMU does: connects, and puts each frame behind its length. */
class StreamPeer {
  readonly socket: Socket;
  isClosed = false;
  private pending = Buffer.alloc(0);

  constructor(path: string) {
    this.socket = connect(path);
    this.socket.on('data', (chunk) => {
      this.pending = Buffer.concat([this.pending, chunk]);
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.isClosed = true;
    });
  }

  send(octets: Uint8Array): void {
    this.socket.write(Buffer.concat([lengthOf(octets.length), octets]));
  }

  receive(): Uint8Array | undefined {
    if (this.pending.length < 4) return undefined;
    const length = this.pending.readUInt32BE(0);
    if (this.pending.length < 4 + length) return undefined;
    const frame = new Uint8Array(this.pending.subarray(4, 4 + length));
    this.pending = this.pending.subarray(4 + length);
    return frame;
  }
}

function lengthOf(size: number): Buffer {
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE(size);
  return octets;
}

function directory(): string {
  return mkdtempSync(join(tmpdir(), 'weft-qemu-'));
}

function makeRig(): PortRig {
  const home = directory();
  const path = join(home, 'vm.sock');
  let peer: StreamPeer | undefined;
  return {
    intent: { device: 'vm', path },
    async connect() {
      peer = new StreamPeer(path);
      await until('QEMU is connected', () => !peer!.socket.connecting);
    },
    send: (octets) => peer!.send(octets),
    receive: () => peer!.receive(),
    vanish: () => peer!.socket.destroy(),
    absence: { state: 'down', reason: /^no QEMU connected$/ },
    appear() {},
    canFill: true,
    sizes: [14, 15, 60, 1514, 9014, 65_000],
    close() {
      peer?.socket.destroy();
      rmSync(home, { recursive: true, force: true });
    },
  };
}

async function scene(engine: 'uring' | 'poll' = 'poll') {
  const home = directory();
  const path = join(home, 'vm.sock');
  const worker = new BenchWorker(engine, 64);
  const port = new PortDouble(worker);
  const peers: StreamPeer[] = [];
  onTestFinished(async () => {
    for (const peer of peers) peer.socket.destroy();
    await port.close();
    await worker.close();
    expect(worker.pool.available).toBe(worker.pool.slotCount);
    rmSync(home, { recursive: true, force: true });
  });
  const join1 = () => {
    const peer = new StreamPeer(path);
    peers.push(peer);
    return peer;
  };
  const start = () => port.start(qemu, { intent: { device: 'vm', path } });
  const connected = async () => {
    await start();
    const peer = join1();
    await until('the port is open', () => port.open !== undefined);
    return peer;
  };
  const framesWithin = (count: number) =>
    until(`${count} frames are there`, () => worker.breathe() >= 0 && worker.received.length >= count);
  return { home, path, worker, port, join: join1, start, connected, framesWithin };
}

describe('a qemu port', () => {
  portSuite(qemu, makeRig, engineKinds);

  test('says that no QEMU is connected until one is', async () => {
    const { port, start } = await scene();
    await start();
    expect(port.absence).toEqual({ state: 'down', reason: 'no QEMU connected' });
  });

  test('its socket is for its owner only, and goes with the port', async () => {
    const { port, path, start } = await scene();
    await start();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await port.close();
    expect(existsSync(path)).toBe(false);
  });

  test('a frame that comes octet by octet is put together', async () => {
    const { worker, connected, framesWithin } = await scene();
    const peer = await connected();
    peer.socket.setNoDelay(true);
    for (const octet of Buffer.concat([lengthOf(60), testFrame(60)])) {
      peer.socket.write(Buffer.of(octet));
      await sleep(1);
      worker.breathe();
    }
    await framesWithin(1);
    expect(worker.received[0].octets).toEqual(testFrame(60));
  });

  test('runts and lengths of nothing are handed on as what they are, and the next frame is whole', async () => {
    const { worker, connected, framesWithin } = await scene();
    const peer = await connected();
    for (const size of [0, 1, 13]) peer.send(testFrame(20).slice(0, size));
    peer.send(testFrame(60));
    await framesWithin(4);
    expect(worker.received.map((frame) => frame.octets.length)).toEqual([0, 1, 13, 60]);
  });

  test('a frame longer than a slot is cut so that it is dropped, and the next one is whole', async () => {
    const { worker, connected, framesWithin } = await scene();
    const peer = await connected();
    peer.send(testFrame(300_000));
    peer.send(testFrame(60));
    await framesWithin(2);
    expect(worker.received.map((frame) => frame.octets.length)).toEqual([FRAME_SIZE_MAX, 60]);
    expect(worker.received[1].octets).toEqual(testFrame(60));
  });

  test.each([0xffff_ffff, 0x8000_0000, 0x0100_0000])(
    'a length of %i ends the connection, and another is welcome',
    async (length) => {
      const { worker, port, connected, join, framesWithin } = await scene();
      const peer = await connected();
      peer.socket.write(lengthOf(length));
      await until('the queue has failed', () => worker.breathe() >= 0 && worker.failed.length === 1);
      port.deviceFailed();
      await until('it is hung up', () => peer.isClosed);
      expect(port.absences.at(-1)?.reason).toBe('no QEMU connected');
      join().send(testFrame(60));
      await framesWithin(1);
      expect(worker.received[0].octets).toEqual(testFrame(60));
    },
  );

  test('a second QEMU is refused while one lives', async () => {
    const { connected, join, framesWithin } = await scene();
    const first = await connected();
    const second = join();
    await until('the second is hung up', () => second.isClosed);
    first.send(testFrame(60));
    await framesWithin(1);
    expect(first.isClosed).toBe(false);
  });

  test('a peer that does not read makes sends refuse, and gets whole frames once it reads', async () => {
    const { worker, port, connected } = await scene('uring');
    const peer = await connected();
    peer.socket.pause();
    let sent = 0;
    while (worker.send(port.queues[0], testFrame(1400, sent)) && sent < 20_000) sent++;
    expect(sent).toBeGreaterThan(100);
    expect(sent).toBeLessThan(20_000);
    peer.socket.resume();
    let arrived = 0;
    await until('all that was taken has arrived', () => {
      worker.breathe();
      for (let frame = peer.receive(); frame !== undefined; frame = peer.receive()) {
        expect(Buffer.compare(frame, testFrame(1400, arrived))).toBe(0);
        arrived++;
      }
      return arrived === sent;
    });
  });

  test('replaces a stale socket, and refuses a living one, a symlink and a file', async () => {
    const { home, path, start, port } = await scene();
    writeFileSync(path, 'precious');
    await expect(start()).rejects.toThrow(/is no socket/);
    rmSync(path);
    symlinkSync(join(home, 'elsewhere'), path);
    await expect(start()).rejects.toThrow(/is a symlink/);
    rmSync(path);
    const living = createServer().listen(path);
    await until('somebody listens', () => existsSync(path));
    await expect(start()).rejects.toThrow(/another process listens/);
    living.close();
    chmodSync(home, 0o700);
    await until('it is gone', () => !existsSync(path));
    await start();
    expect(port.absence?.reason).toBe('no QEMU connected');
  });

  test('refuses a path that is too long', async () => {
    const { port } = await scene();
    await expect(port.start(qemu, { intent: { device: 'vm', path: `/tmp/${'x'.repeat(110)}` } })).rejects.toThrow(
      /may have 1 to 107/,
    );
  });
});
