/**
 * Claims the path of the control socket: 0600 in a directory nobody else can write, from birth, and never in the place
 * of a living one. Main thread (changes the process's umask for the length of one bind).
 *
 * How: the socket is bound under a name of its own and then *linked* to its path, which fails if something is there.
 * What is there is probed by connecting; only a socket that refuses is moved away, and put back if it turns out that
 * another daemon had just replaced it. So of two daemons starting at once exactly one gets the path, and there is no
 * moment at which the path exists but does not answer.
 *
 * What an attacker on this machine can do: nothing, as long as the directory is not theirs. A symlink or a directory
 * that others can write is refused, because there the path could be pointed elsewhere between check and use.
 */
import { randomBytes } from 'node:crypto';
import { linkSync, lstatSync, mkdirSync, renameSync, type Stats, unlinkSync } from 'node:fs';
import { createConnection, type Server } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { UserError } from '../errors.js';

/** sun_path of Linux holds 108 octets with its terminating zero. */
const PATH_SIZE_MAX = 107;
const PROBE_TIMEOUT_MS = 1000;
const CLAIM_ATTEMPTS = 5;

export interface ClaimedPath {
  /** Removes the path if it still is this daemon's socket. */
  release(): void;
}

/** Binds `server` and makes it reachable at `path`. Throws a UserError that says what to do. */
export async function claimSocketPath(server: Server, path: string): Promise<ClaimedPath> {
  const absolute = resolve(path);
  const directory = dirname(absolute);
  prepareDirectory(directory);
  const own = join(directory, `.weft-${randomBytes(4).toString('hex')}`);
  for (const name of [absolute, own]) {
    if (Buffer.byteLength(name) > PATH_SIZE_MAX) {
      refuse('bad-request', `${absolute}: the path is too long for a socket`, 'Choose a shorter path with --socket.');
    }
  }
  await bind(server, own);
  try {
    await linkUnlessAlive(own, absolute);
  } finally {
    removeQuietly(own);
  }
  const claimed = lstatSync(absolute);
  return { release: () => releaseIfOwn(absolute, claimed) };
}

function refuse(code: 'bad-request' | 'busy' | 'no-privilege', message: string, fix: string): never {
  throw new UserError([{ code, message, fix }]);
}

function prepareDirectory(directory: string): void {
  const found = lstatOrUndefined(directory);
  if (found === undefined) {
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    } catch (error) {
      refuse('no-privilege', `${directory}: cannot be made (${errorCode(error)})`, 'Run as root, or choose --socket.');
    }
    return;
  }
  if (found.isSymbolicLink()) {
    refuse('bad-request', `${directory} is a symbolic link`, 'Name the directory itself with --socket.');
  }
  if (!found.isDirectory()) refuse('bad-request', `${directory} is not a directory`, 'Choose another path.');
  if ((found.mode & 0o022) !== 0) {
    refuse(
      'bad-request',
      `${directory} can be written by others, who could put their own socket there`,
      `Choose a directory of its own with --socket, or: chmod go-w ${directory}`,
    );
  }
  if (found.uid !== process.geteuid?.() && found.uid !== 0) {
    refuse('bad-request', `${directory} belongs to another user`, 'Choose a directory of your own with --socket.');
  }
}

/** Node binds inside listen(), synchronously, so the umask holds for exactly that call. */
async function bind(server: Server, name: string): Promise<void> {
  await new Promise<void>((done, failed) => {
    server.once('error', failed);
    const umask = process.umask(0o177);
    try {
      server.listen(name, () => {
        server.off('error', failed);
        done();
      });
    } finally {
      process.umask(umask);
    }
  }).catch((error: unknown) => {
    refuse('no-privilege', `${name}: cannot be bound (${errorCode(error)})`, 'Run as root, or choose --socket.');
  });
}

async function linkUnlessAlive(own: string, path: string): Promise<void> {
  for (let attempt = 0; attempt < CLAIM_ATTEMPTS; attempt++) {
    try {
      return linkSync(own, path);
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
    }
    const found = lstatOrUndefined(path);
    if (found === undefined) continue;
    if (found.isSymbolicLink()) refuse('bad-request', `${path} is a symbolic link`, 'Remove it, or choose --socket.');
    if (!found.isSocket()) refuse('bad-request', `${path} is there and no socket`, 'Remove it, or choose --socket.');
    if (await answers(path)) {
      refuse('busy', `another daemon answers at ${path}`, 'Stop it first, or choose another path with --socket.');
    }
    moveAway(path, `${own}.old`, found);
  }
  refuse('busy', `${path}: other daemons are starting at the same path`, 'Start one daemon only.');
}

function moveAway(path: string, aside: string, expected: Stats): void {
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  try {
    if (lstatSync(aside).ino !== expected.ino) linkSync(aside, path);
  } catch {
    // A third daemon took the path in between: the next attempt probes it.
  }
  removeQuietly(aside);
}

/** Whether something accepts at the path. A full backlog (EAGAIN) or silence means yes: never replace what may live. */
async function answers(path: string): Promise<boolean> {
  return await new Promise<boolean>((done) => {
    const socket = createConnection(path);
    const finish = (alive: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      done(alive);
    };
    const timer = setTimeout(() => finish(true), PROBE_TIMEOUT_MS);
    socket.once('connect', () => finish(true));
    socket.once('error', (error) => finish(!['ECONNREFUSED', 'ENOENT'].includes(errorCode(error))));
  });
}

function releaseIfOwn(path: string, claimed: Stats): void {
  const found = lstatOrUndefined(path);
  if (found !== undefined && found.ino === claimed.ino && found.dev === claimed.dev) removeQuietly(path);
}

function lstatOrUndefined(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Gone already, which is what was wanted.
  }
}

/** errno's name of a failed system call. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
