/**
 * Finds network namespaces of this host by their inode number, the only name all of them have. Main thread; reads /proc
 * and /run/netns, about 20 us a process, so only when a device has to be found again.
 */
import { readdirSync, readlinkSync, statSync } from 'node:fs';

const NAMED_NAMESPACES = '/run/netns';
const PROCESSES = '/proc';

/** Every namespace that a process lives in or that has a name in /run/netns: inode to a path that opens it. */
export function listNamespaces(): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  for (const name of entries(NAMED_NAMESPACES)) remember(found, `${NAMED_NAMESPACES}/${name}`, namedInode);
  for (const name of entries(PROCESSES)) {
    if (/^\d+$/.test(name)) remember(found, `${PROCESSES}/${name}/ns/net`, processInode);
  }
  return found;
}

function remember(found: Map<number, string>, path: string, inodeOf: (path: string) => number): void {
  try {
    const inode = inodeOf(path);
    if (!found.has(inode)) found.set(inode, path);
  } catch {
    // The process ended or the name was removed meanwhile; or we may not look at it, and then can't enter it either.
  }
}

function namedInode(path: string): number {
  return statSync(path).ino;
}

/** The link reads net:[4026531840]; stat would be a second system call's worth of permission checks. */
function processInode(path: string): number {
  return Number(/\[(\d+)\]/.exec(readlinkSync(path))![1]);
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
