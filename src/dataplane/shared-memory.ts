/**
 * Memory that the main thread and all workers of the process see, zeroed when new. Two kinds:
 *
 * - anonymous: a SharedArrayBuffer; gone with the process.
 * - file-backed: a file in the state directory mapped MAP_SHARED, so its contents are there after a kill -9. The main
 *   thread maps it once; workers look at the same mapping by its address. Its space is reserved at open, because writing
 *   to a hole of a full tmpfs is a SIGBUS. One page in front says what the file is:
 *
 *     magic | header version | contents' kind | contents' version | size | boot | generation | state
 *
 *   A file of another kind, version, size or boot (times kept in it are monotonic, and a disk may have lost half of the
 *   pages), or whose making was not finished, is made anew. Contents that survived may be torn in their own way: whoever
 *   keeps them there repairs them (SharedTable.recover).
 *
 * The file is 0600 and never a symbolic link; who can write to the state directory can do anything to the switch anyway.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, existsSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { OperatingError } from '../errors.js';
import { errno, errnoName, failure, fallocate, ftruncate, map, unmap, viewAt } from './native.js';

const MAGIC = 0x77656674;
const HEADER_VERSION = 1;
/** Octets in front of the contents: one page, so that they begin on a cache line and a page. */
export const MEMORY_HEADER_SIZE = 4096;

const WASM_PAGE = 65_536;

const MAGIC_AT = 0;
const VERSION_AT = 1;
const KIND_AT = 2;
const LAYOUT_AT = 3;
const SIZE_AT = 4;
const BOOT_AT = 6;
const GENERATION_AT = 8;
const STATE_AT = 9;
const READY = 1;

/** What to post to a worker so that it can attach. A mapping is good only inside this process. */
export type MemoryDescriptor =
  | { readonly type: 'anonymous'; readonly buffer: SharedArrayBuffer }
  | { readonly type: 'mapped'; readonly address: number; readonly size: number };

export interface AttachedMemory {
  readonly buffer: ArrayBufferLike;
  /** Where the contents begin, on a cache line. */
  readonly byteOffset: number;
}

export interface SharedMemory extends AttachedMemory {
  readonly descriptor: MemoryDescriptor;
  /** The contents are what an earlier process left. */
  readonly survived: boolean;
  /** How often this file was opened since it was made, this time included. */
  readonly generation: number;
  /** Gives the mapping back; no thread may touch the buffer afterwards. The file stays. */
  close(): void;
}

/** What lies in a file, so that another version of the switch does not misread it. */
export interface MemoryContents {
  /** Four letters. */
  readonly kind: string;
  readonly version: number;
  /** Octets, without the header. */
  readonly size: number;
}

/**
 * Zeroed memory that dies with the process. It is a WebAssembly memory's buffer because those begin on a page: a plain
 * SharedArrayBuffer begins 16 octets behind one, so that half of a table's entries would cross two cache lines, which
 * was seen to double the time of a search in a large table.
 */
export function anonymousMemory(size: number): SharedMemory {
  const pages = Math.ceil(size / WASM_PAGE);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const buffer = memory.buffer as ArrayBufferLike as SharedArrayBuffer;
  const descriptor = { type: 'anonymous', buffer } as const;
  return { buffer, byteOffset: 0, descriptor, survived: false, generation: 1, close: () => {} };
}

/** In a worker: the memory that the main thread opened. Attach once a thread. */
export function attachSharedMemory(descriptor: MemoryDescriptor): AttachedMemory {
  if (descriptor.type === 'anonymous') return { buffer: descriptor.buffer, byteOffset: 0 };
  return { buffer: viewAt(descriptor.address, descriptor.size), byteOffset: MEMORY_HEADER_SIZE };
}

/** Opens or makes a file of memory. Throws an OperatingError: `limit` when there is no room for it. */
export function fileMemory(path: string, contents: MemoryContents, bootId: string = currentBootId()): SharedMemory {
  const total = MEMORY_HEADER_SIZE + contents.size;
  const fd = openFile(path);
  try {
    const isWhole = fstatSync(fd).size === total;
    if (!isWhole) empty(fd, path);
    reserve(fd, path, total);
    const mapping = map(fd, total);
    const header = new Int32Array(mapping.buffer, 0, MEMORY_HEADER_SIZE / 4);
    const survived = isWhole && describes(header, contents, bootId);
    if (!survived) format(mapping.buffer, header, contents, bootId);
    header[GENERATION_AT] = header[GENERATION_AT]! + 1;
    return {
      buffer: mapping.buffer,
      byteOffset: MEMORY_HEADER_SIZE,
      descriptor: { type: 'mapped', address: mapping.address, size: total },
      survived,
      generation: header[GENERATION_AT]!,
      close: () => unmap(mapping.address, total),
    };
  } finally {
    closeSync(fd);
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    const fix =
      code === 'ELOOP' ? 'remove the symbolic link' : 'make the directory, or choose another one with --state-dir';
    throw new OperatingError(`open ${path}: ${code}`, { errno: code, fix });
  }
}

function empty(fd: number, path: string): void {
  if (ftruncate(fd, 0) < 0) throw failure(`truncate ${path}`, errno());
}

/** Makes the file so long, with space behind every octet. */
function reserve(fd: number, path: string, total: number): void {
  const result = fallocate(fd, 0, total);
  if (result === 0) return;
  const name = errnoName(result);
  if (fstatSync(fd).size !== total) ftruncate(fd, 0);
  const isSpace = name === 'ENOSPC' || name === 'EFBIG' || name === 'EDQUOT';
  throw new OperatingError(`reserve ${Math.ceil(total / 1024 / 1024)} MiB for ${path}: ${name}`, {
    code: isSpace ? 'limit' : 'operating',
    errno: name,
    fix: isSpace
      ? 'free space on that file system, enlarge it (mount -o remount,size=...), or choose another --state-dir'
      : 'choose another --state-dir, on tmpfs or a local disk',
  });
}

function describes(header: Int32Array, contents: MemoryContents, bootId: string): boolean {
  const expected = expectedHeader(contents, bootId);
  return expected.every((word, index) => header[index] === word) && header[STATE_AT] === READY;
}

/** Zeroes the contents and describes them; the state is set last, so an interrupted making is seen. */
function format(buffer: ArrayBuffer, header: Int32Array, contents: MemoryContents, bootId: string): void {
  Atomics.store(header, STATE_AT, 0);
  new Uint8Array(buffer).fill(0);
  header.set(expectedHeader(contents, bootId), 0);
  Atomics.store(header, STATE_AT, READY);
}

/** The words before the generation. */
function expectedHeader(contents: MemoryContents, bootId: string): Int32Array {
  const words = new Int32Array(GENERATION_AT);
  words[MAGIC_AT] = MAGIC;
  words[VERSION_AT] = HEADER_VERSION;
  words[KIND_AT] = Buffer.from(contents.kind.padEnd(4).slice(0, 4)).readInt32LE(0);
  words[LAYOUT_AT] = contents.version;
  words[SIZE_AT] = contents.size | 0;
  words[SIZE_AT + 1] = Math.floor(contents.size / 2 ** 32);
  const boot = Buffer.from(bootId.replaceAll('-', '').padEnd(16, '0').slice(0, 16), 'hex');
  words[BOOT_AT] = boot.readInt32LE(0);
  words[BOOT_AT + 1] = boot.readInt32LE(4);
  return words;
}

/** Where the kernel does not tell, every process is taken for a boot of its own: nothing survives wrongly. */
function currentBootId(): string {
  const path = '/proc/sys/kernel/random/boot_id';
  return existsSync(path) ? readFileSync(path, 'ascii').trim() : randomBytes(16).toString('hex');
}
