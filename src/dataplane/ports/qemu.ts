/**
 * qemu ports: a Unix stream socket that QEMU connects to, so that a VM attaches without root and without a device:
 *
 *   -netdev stream,id=n0,server=off,addr.type=unix,addr.path=/run/weft/vm2.sock -device virtio-net-pci,netdev=n0
 *
 * Each frame follows its length, four octets in network order; no offloads. The main thread listens and accepts; the
 * worker reads and writes the connection (stream-queue.ts). One VM at a time: while one is connected a second is refused,
 * for two with one port would be one station in two places.
 *
 *   listening --QEMU connects--> open --hang-up, or a lie about a length--> lost --released--> listening
 */
import { OperatingError } from '../../errors.js';
import { STREAM_SOCKET_BUFFER } from '../../limits.js';
import { type DescriptorWatch, POLLRDHUP, watchDescriptor } from '../descriptor-watch.js';
import * as native from '../native.js';
import { NO_OFFLOAD, type PortHandle, type PortIntent, type PortKind, type PortWatcher } from '../port.js';
import { acceptUnix, listenUnix, type UnixListener } from '../unix-socket.js';

const DIRECTORY = '/run/weft';
const MTU_DEFAULT = 1500;
const NOBODY = { state: 'down', reason: 'no QEMU connected' } as const;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const HUNG_UP = native.POLLHUP | native.POLLERR | POLLRDHUP;

export const qemu: PortKind = {
  kind: 'qemu',
  facesVm: true,
  async open(intent, watcher) {
    if (intent.queues !== 1) {
      throw new OperatingError('a qemu port has one queue: a stream carries no more', {
        code: 'limit',
        fix: 'leave out queues',
      });
    }
    const port = new QemuPort(intent, watcher);
    port.start();
    return port;
  },
};

/** A QEMU that is connected. */
interface Peer {
  readonly fd: number;
  readonly watch: DescriptorWatch;
  /** Reported lost; the worker has not let go yet. */
  isLost: boolean;
}

class QemuPort implements PortHandle {
  private readonly path: string;
  private readonly mtu: number;
  private readonly watcher: PortWatcher;
  private listener: UnixListener | undefined;
  private listenerWatch: DescriptorWatch | undefined;
  private peer: Peer | undefined;
  /** Connected while the worker still lets go of the one before. */
  private next = -1;

  constructor(intent: PortIntent, watcher: PortWatcher) {
    this.path = intent.path ?? `${DIRECTORY}/${intent.name}.sock`;
    this.mtu = intent.mtu ?? MTU_DEFAULT;
    this.watcher = watcher;
  }

  /** Throws when the path can't be had: no waiting mends that. */
  start(): void {
    this.listener = listenUnix(this.path);
    this.listenerWatch = watchDescriptor(this.listener.fd, native.POLLIN, () => this.acceptAll());
    this.watcher.lost(NOBODY);
  }

  released(): void {
    this.closePeer();
    if (this.listener === undefined) return;
    const fd = this.next;
    this.next = -1;
    if (fd >= 0) this.serve(fd);
    else this.watcher.lost(NOBODY);
  }

  async close(): Promise<void> {
    this.listenerWatch?.stop();
    this.listener?.close();
    this.listener = undefined;
    this.closePeer();
    if (this.next >= 0) native.close(this.next);
    this.next = -1;
  }

  private acceptAll(): void {
    if (this.listener === undefined) return;
    for (let fd = acceptUnix(this.listener.fd); fd >= 0; fd = acceptUnix(this.listener.fd)) this.accept(fd);
  }

  private accept(fd: number): void {
    const { peer } = this;
    if (peer === undefined) {
      this.serve(fd);
      return;
    }
    if (!peer.isLost && hasHungUp(peer.fd)) this.lose(peer);
    if (peer.isLost && this.next < 0) this.next = fd;
    else native.close(fd);
  }

  private serve(fd: number): void {
    // The kernel's default holds a hundred full frames; what does not fit waits in the queue's own buffer.
    native.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, new Int32Array([STREAM_SOCKET_BUFFER]));
    const peer: Peer = { fd, watch: watchDescriptor(fd, POLLRDHUP, () => this.lose(peer)), isLost: false };
    this.peer = peer;
    this.watcher.opened({ queues: [{ type: 'stream', fd }], features: NO_OFFLOAD, mtu: this.mtu });
  }

  private lose(peer: Peer): void {
    if (peer.isLost) return;
    peer.isLost = true;
    peer.watch.stop();
    this.watcher.lost(NOBODY);
  }

  private closePeer(): void {
    this.peer?.watch.stop();
    if (this.peer !== undefined) native.close(this.peer.fd);
    this.peer = undefined;
  }
}

function hasHungUp(fd: number): boolean {
  const set = new Int32Array([fd, POLLRDHUP]);
  return native.poll(set, 1, 0) > 0 && ((set[1] >> 16) & HUNG_UP) !== 0;
}
