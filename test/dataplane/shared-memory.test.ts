import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  anonymousMemory,
  attachSharedMemory,
  fileMemory,
  type SharedMemory,
} from '../../src/dataplane/shared-memory.js';
import { compiled } from './compiled.js';

const CONTENTS = { kind: 'test', version: 1, size: 10_000 };
const BOOT = '0123abcd-4567-89ef-0123-456789abcdef';

let directory: string;
let path: string;
const opened: SharedMemory[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-memory-'));
  path = join(directory, 'table');
});
afterEach(() => {
  for (const memory of opened.splice(0)) memory.close();
  rmSync(directory, { recursive: true, force: true });
});

function openFile(contents = CONTENTS, boot = BOOT): SharedMemory {
  const memory = fileMemory(path, contents, boot);
  opened.push(memory);
  return memory;
}

const wordsOf = (memory: { buffer: ArrayBufferLike; byteOffset: number }) =>
  new Int32Array(memory.buffer, memory.byteOffset, 100);

/** Writes 77 into the contents and gives the mapping back, as the end of a process does. */
function leave(): void {
  const memory = openFile();
  wordsOf(memory)[5] = 77;
  opened.pop()?.close();
}

describe('memory in a file', () => {
  it('is zeroed, private and has its whole size reserved when it is new', () => {
    const memory = openFile();
    expect([memory.survived, memory.generation]).toEqual([false, 1]);
    expect(new Uint8Array(memory.buffer, memory.byteOffset).every((octet) => octet === 0)).toBe(true);
    const status = statSync(path);
    expect(status.mode & 0o777).toBe(0o600);
    expect(status.blocks * 512).toBeGreaterThanOrEqual(CONTENTS.size);
  });

  it('is there again for the next process', () => {
    leave();
    const memory = openFile();
    expect([memory.survived, memory.generation, wordsOf(memory)[5]]).toEqual([true, 2, 77]);
  });

  it.each([
    ['another kind', { ...CONTENTS, kind: 'tset' }, BOOT],
    ['another version', { ...CONTENTS, version: 2 }, BOOT],
    ['another size', { ...CONTENTS, size: 10_004 }, BOOT],
    ['another boot', CONTENTS, '1123abcd-4567-89ef-0123-456789abcdef'],
  ])('is wiped when it is of %s', (_, contents, boot) => {
    leave();
    const memory = openFile(contents, boot);
    expect([memory.survived, memory.generation, wordsOf(memory)[5]]).toEqual([false, 1, 0]);
  });

  it('is wiped when it is foreign, cut off, or its making was interrupted', () => {
    const spoil = [
      () => writeFileSync(path, Buffer.alloc(4096 + CONTENTS.size, 0xa5)),
      () => truncateSync(path, 5000),
      () => truncateSync(path, 0),
      () => {
        const octets = readFileSync(path);
        octets.writeInt32LE(0, 9 * 4);
        writeFileSync(path, octets);
      },
    ];
    for (const harm of spoil) {
      leave();
      harm();
      const memory = openFile();
      expect([memory.survived, wordsOf(memory)[5]]).toEqual([false, 0]);
      opened.pop()?.close();
    }
  });

  it('is refused where it would be a symbolic link, or has no directory', () => {
    symlinkSync(join(directory, 'elsewhere'), path);
    expect(() => openFile()).toThrow(
      expect.objectContaining({ errno: 'ELOOP', fix: expect.stringContaining('symbolic link') }),
    );
    path = join(directory, 'none', 'table');
    expect(() => openFile()).toThrow(
      expect.objectContaining({ errno: 'ENOENT', fix: expect.stringContaining('--state-dir') }),
    );
  });

  it('is refused with what to do when the file system is too small, and leaves nothing behind', () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'weft-memory-test', directory]);
    try {
      const tooLarge = { ...CONTENTS, size: 1_000_000 };
      expect(() => openFile(tooLarge)).toThrow(
        expect.objectContaining({ code: 'limit', errno: 'ENOSPC', fix: expect.stringContaining('free space') }),
      );
      expect(statSync(path).size).toBe(0);
      expect(openFile().survived).toBe(false);
      opened.pop()?.close();
    } finally {
      execFileSync('umount', [directory]);
    }
  });
});

describe.each(['anonymous', 'file-backed'])('%s memory', (kind) => {
  it('is seen by a worker thread that attaches, from a cache line on', async () => {
    const memory = kind === 'anonymous' ? anonymousMemory(4000) : openFile();
    const files = ['errors', 'dataplane/native', 'dataplane/shared-memory'].map((name) => `${name}.ts`);
    const program = compiled(
      files,
      `import { parentPort, workerData } from 'node:worker_threads';
       import { attachSharedMemory } from './dataplane/shared-memory.js';
       const { buffer, byteOffset } = attachSharedMemory(workerData);
       const words = new Int32Array(buffer, byteOffset, 100);
       parentPort.postMessage(Atomics.add(words, 3, 1000));`,
    );
    try {
      const words = wordsOf(memory);
      words[3] = 5;
      const worker = new Worker(program.script, { workerData: memory.descriptor });
      const before = await new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
      });
      expect([before, Atomics.load(words, 3)]).toEqual([5, 1005]);
    } finally {
      program.remove();
    }
  });
});

it('anonymous memory begins on a cache line and attaches to itself', async () => {
  const koffi = (await import('koffi')).default;
  const memory = anonymousMemory(100);
  const attached = attachSharedMemory(memory.descriptor);
  expect(attached.buffer).toBe(memory.buffer);
  // koffi tells the addresses of typed arrays, not of shared buffers themselves.
  const address = koffi.address(new Int32Array(attached.buffer, attached.byteOffset, 4));
  expect(Number(BigInt(address) % 64n)).toBe(0);
});
