/**
 * A listening Unix stream socket whose accepted descriptors are native, so that they can be handed to a worker. Mode 0600
 * from birth in a directory that is made 0700 if missing. Main thread.
 *
 * What lies at the path already: a socket nobody listens on is replaced; a living one is refused, as is anything that is
 * no socket, a symlink above all (it would have us remove or bind somebody else's file).
 */
import { lstatSync, mkdirSync, type Stats, unlinkSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { OperatingError } from '../errors.js';
import { SOCKET_PATH_SIZE_MAX } from '../limits.js';
import * as native from './native.js';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const OWNER_ONLY = 0o177;

export interface UnixListener {
  readonly fd: number;
  /** Closes it and removes the path, unless somebody else has put something there. */
  close(): void;
}

/** Throws an OperatingError. */
export function listenUnix(path: string): UnixListener {
  const address = socketAddress(path);
  makeDirectory(dirname(resolve(path)));
  const found = statOf(path);
  if (found !== undefined) replaceStale(path, found, address);
  const fd = native.check('opening a Unix socket', openSocket());
  try {
    bindPrivately(fd, path, address);
    native.check(`listening on ${path}`, native.listen(fd, 1));
  } catch (error) {
    native.close(fd);
    throw error;
  }
  const made = statOf(path);
  return {
    fd,
    close() {
      native.close(fd);
      const now = statOf(path);
      if (now !== undefined && now.ino === made?.ino && now.dev === made.dev) unlinkSync(path);
    },
  };
}

/** A connected, non-blocking descriptor; -1 when none waits. */
export function acceptUnix(listener: number): number {
  return native.accept(listener, native.O_NONBLOCK | native.O_CLOEXEC);
}

function openSocket(): number {
  return native.socket(AF_UNIX, SOCK_STREAM | native.O_NONBLOCK | native.O_CLOEXEC, 0);
}

/** struct sockaddr_un. */
function socketAddress(path: string): Uint8Array {
  const octets = new TextEncoder().encode(path);
  if (octets.length === 0 || octets.length > SOCKET_PATH_SIZE_MAX || octets.includes(0)) {
    throw new OperatingError(
      `the socket's path has ${octets.length} octets, and may have 1 to ${SOCKET_PATH_SIZE_MAX}`,
      {
        code: 'bad-request',
        fix: 'choose a shorter path',
      },
    );
  }
  const address = new Uint8Array(2 + octets.length + 1);
  address[0] = AF_UNIX;
  address.set(octets, 2);
  return address;
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    const errno = (error as NodeJS.ErrnoException).code ?? 'EIO';
    throw new OperatingError(`making the directory ${directory}: ${errno}`, { errno, fix: 'choose another path' });
  }
}

function statOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function replaceStale(path: string, found: Stats, address: Uint8Array): void {
  if (!found.isSocket()) {
    throw new OperatingError(`${path} is ${found.isSymbolicLink() ? 'a symlink' : 'no socket'}`, {
      code: 'exists',
      fix: 'remove it, or choose another path',
    });
  }
  const fd = native.check('opening a Unix socket', openSocket());
  const isAlive = native.connect(fd, address) >= 0 || native.errno() === native.EAGAIN;
  native.close(fd);
  if (isAlive) {
    throw new OperatingError(`another process listens on ${path}`, {
      code: 'busy',
      fix: 'end it, or choose another path',
    });
  }
  unlinkSync(path);
}

/** Within one turn of the event loop, so the process's file mode mask is never seen changed by others on this thread. */
function bindPrivately(fd: number, path: string, address: Uint8Array): void {
  const before = process.umask(OWNER_ONLY);
  try {
    native.check(`binding ${path}`, native.bind(fd, address));
  } finally {
    process.umask(before);
  }
}
