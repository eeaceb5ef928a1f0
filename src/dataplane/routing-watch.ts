/**
 * Tells of changes to this namespace's addresses, routes and interfaces, as the kernel says them (rtnetlink). Only that
 * there was one: listeners look at what concerns them. One socket a process, open while anybody listens. Main thread only.
 *
 * A host that speaks BGP changes thousands of routes a second, so changes are told together, DELAY_MS after the first.
 */
import { type DescriptorWatch, watchDescriptor } from './descriptor-watch.js';
import * as native from './native.js';
import { openNetlink } from './netlink-message.js';

/** Links, IPv4 addresses and routes, IPv6 addresses and routes. */
const GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
const DELAY_MS = 50;
const MESSAGE_SIZE = 64 * 1024;
/** Messages thrown away before the event loop gets its turn. */
const MESSAGES_MAX = 256;

const listeners = new Set<() => void>();
let source: RoutingSource | undefined;

/** Listens until the returned function is called. Throws an OperatingError when the kernel gives no netlink socket. */
export function watchRouting(listener: () => void): () => void {
  source ??= new RoutingSource(tellAll);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    source?.close();
    source = undefined;
  };
}

function tellAll(): void {
  for (const listener of listeners) listener();
}

class RoutingSource {
  private readonly fd: number;
  private readonly watch: DescriptorWatch;
  private readonly tell: () => void;
  private readonly buffer = new Uint8Array(MESSAGE_SIZE);
  private timer: NodeJS.Timeout | undefined;

  constructor(tell: () => void) {
    this.tell = tell;
    this.fd = openNetlink(GROUPS);
    this.watch = watchDescriptor(this.fd, native.POLLIN, () => this.read());
  }

  close(): void {
    clearTimeout(this.timer);
    this.watch.stop();
    native.close(this.fd);
  }

  /** Messages that were lost (ENOBUFS) are no different from those that are read: something changed. */
  private read(): void {
    for (let count = 0; count < MESSAGES_MAX; count++)
      if (native.recv(this.fd, this.buffer) < 0 && native.errno() !== native.ENOBUFS) break;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.tell();
    }, DELAY_MS).unref();
  }
}
