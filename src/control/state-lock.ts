/**
 * One daemon a state directory: two would write the same FDB and configuration, and take each other's devices. The lock is
 * the kernel's (flock), so it is gone with its process however that died; the file only says whose it is. Main thread.
 */
import { closeSync, constants, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import * as native from '../dataplane/native.js';
import { OperatingError } from '../errors.js';
import { errorCode } from './socket-path.js';

const LOCK_NAME = 'lock';

/** Held until released, or until the process ends. */
export interface StateLock {
  release(): void;
}

/** Makes the directory if need be and locks it. Throws an OperatingError, `busy` if another daemon has it. */
export function lockState(directory: string): StateLock {
  const path = join(directory, LOCK_NAME);
  const fd = openLock(directory, path);
  if (native.lockFile(fd) < 0) {
    const errno = native.errno();
    closeSync(fd);
    if (errno !== native.EAGAIN) throw native.failure(`locking ${path}`, errno);
    throw new OperatingError(`another daemon${ownerOf(path)} uses the state directory ${directory}`, {
      code: 'busy',
      fix: 'Stop it first, or choose another directory with --state-dir.',
    });
  }
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`, 0);
  return { release: () => closeSync(fd) };
}

function openLock(directory: string, path: string): number {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // O_CLOEXEC is Node's own doing: a child must not hold the lock after us.
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    const errno = errorCode(error);
    const fix = 'Run as root, or choose another directory with --state-dir.';
    throw new OperatingError(`the state directory ${directory} can't be used (${errno})`, { errno, fix });
  }
}

/** For the message only: the number may be stale for the moment between locking and writing. */
function ownerOf(path: string): string {
  try {
    const text = readFileSync(path, 'latin1').trim();
    return /^[0-9]{1,10}$/.test(text) ? ` (process ${text})` : '';
  } catch {
    return '';
  }
}
