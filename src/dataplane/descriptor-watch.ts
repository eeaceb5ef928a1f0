/**
 * Tells the main thread when native descriptors that Node does not know (netlink sockets, listening and stream sockets)
 * are ready, by one poll(2) that waits on libuv's thread pool for all of them together: one of its threads is taken while
 * anything is watched, none otherwise, and then nothing keeps the process alive. Main thread only.
 */
import * as native from './native.js';

/** Called with the events that poll found. What it does not consume it is called for again. */
export type DescriptorListener = (events: number) => void;

interface Watched {
  readonly fd: number;
  readonly events: number;
  readonly listener: DescriptorListener;
}

/** A descriptor being watched. */
export interface DescriptorWatch {
  /** No call comes after this; the descriptor may be closed once it returns. Idempotent. */
  stop(): void;
}

export const POLLRDHUP = 0x2000;

const watched = new Set<Watched>();
let wakeFd = -1;
let isPolling = false;

/** `events`: POLLIN and the like; failures and hang-ups are always told. */
export function watchDescriptor(fd: number, events: number, listener: DescriptorListener): DescriptorWatch {
  const entry: Watched = { fd, events, listener };
  watched.add(entry);
  refresh();
  return {
    stop() {
      if (watched.delete(entry)) refresh();
    },
  };
}

/** Makes the poll that is under way end, so that the next one is of the changed set; or starts the first. */
function refresh(): void {
  if (isPolling) native.signalEvent(wakeFd);
  else if (watched.size > 0) {
    isPolling = true;
    wakeFd = native.check('eventfd', native.eventfd());
    pollAll().catch((error: unknown) => {
      throw error;
    });
  }
}

async function pollAll(): Promise<void> {
  while (watched.size > 0) {
    const entries = [...watched];
    const fds = pollSet(entries);
    await native.pollAsync(fds, entries.length + 1, -1);
    if (fds[1] >> 16 !== 0) native.drainEvent(wakeFd);
    for (const [index, entry] of entries.entries()) {
      const events = fds[(index + 1) * 2 + 1] >> 16;
      // One that was stopped meanwhile, perhaps by a listener before it, is told nothing.
      if (events !== 0 && watched.has(entry)) entry.listener(events & 0xffff);
    }
  }
  native.close(wakeFd);
  isPolling = false;
}

/** Shared memory, because it does not move while another thread polls it. */
function pollSet(entries: readonly Watched[]): Int32Array {
  const fds = new Int32Array(new SharedArrayBuffer((entries.length + 1) * 8));
  fds[0] = wakeFd;
  fds[1] = native.POLLIN;
  for (const [index, entry] of entries.entries()) {
    fds[(index + 1) * 2] = entry.fd;
    fds[(index + 1) * 2 + 1] = entry.events;
  }
  return fds;
}
