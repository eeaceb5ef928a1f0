/**
 * Tells of network interfaces that appear, vanish, are renamed or change their MTU, flags or carrier, as the kernel says
 * it (rtnetlink, group RTMGRP_LINK), in this process's namespace. One socket a process, open while anybody listens.
 * Main thread only.
 *
 * An event only says where to look: listeners ask the kernel for the state as it is now (interface.ts). So an event that
 * was lost (ENOBUFS) is made good by telling everybody to look, and the order of events never matters.
 */
import { type DescriptorWatch, watchDescriptor } from './descriptor-watch.js';
import * as native from './native.js';
import { findAttribute, messages, openNetlink } from './netlink-message.js';

const RTMGRP_LINK = 1;
const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const IFLA_IFNAME = 3;
/** struct ifinfomsg, and where its interface index lies. */
const IFINFO_SIZE = 16;
const IFINFO_INDEX = 4;
const RECEIVE_BUFFER = 4 * 1024 * 1024;
const MESSAGE_SIZE = 64 * 1024;
/** Messages taken before the event loop gets its turn. */
const MESSAGES_MAX = 256;

export interface LinkEvent {
  readonly index: number;
  readonly name: string;
  /** It left this namespace: it was deleted, or moved to another one. */
  readonly isGone: boolean;
}

/** Called with what changed; undefined: events were lost, look at everything. */
export type LinkListener = (event: LinkEvent | undefined) => void;

const listeners = new Set<LinkListener>();
let source: LinkSource | undefined;

/** Listens until the returned function is called. Throws an OperatingError when the kernel gives no netlink socket. */
export function watchLinks(listener: LinkListener): () => void {
  source ??= new LinkSource(tellAll);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    source?.close();
    source = undefined;
  };
}

function tellAll(event: LinkEvent | undefined): void {
  for (const listener of listeners) listener(event);
}

class LinkSource {
  private readonly fd: number;
  private readonly watch: DescriptorWatch;
  private readonly tell: LinkListener;
  private readonly buffer = new Uint8Array(MESSAGE_SIZE);

  constructor(tell: LinkListener) {
    this.tell = tell;
    this.fd = openNetlink(RTMGRP_LINK, RECEIVE_BUFFER);
    this.watch = watchDescriptor(this.fd, native.POLLIN, () => this.read());
  }

  close(): void {
    this.watch.stop();
    native.close(this.fd);
  }

  private read(): void {
    for (let count = 0; count < MESSAGES_MAX; count++) {
      const size = native.recv(this.fd, this.buffer);
      if (size < 0) {
        if (native.errno() !== native.ENOBUFS) return;
        this.tell(undefined);
      } else this.take(size);
    }
  }

  private take(size: number): void {
    for (const { type, body } of messages(this.buffer, size)) {
      if ((type !== RTM_NEWLINK && type !== RTM_DELLINK) || body.length < IFINFO_SIZE) continue;
      const index = new DataView(body.buffer, body.byteOffset).getInt32(IFINFO_INDEX, true);
      const name = findAttribute(body, IFINFO_SIZE, IFLA_IFNAME);
      this.tell({
        index,
        name: name === undefined ? '' : new TextDecoder().decode(name.subarray(0, -1)),
        isGone: type === RTM_DELLINK,
      });
    }
  }
}
