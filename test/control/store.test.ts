import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  ConfigStore,
  diskFiles,
  readStoredText,
  type SavedConfig,
  type StoreFiles,
  storedText,
} from '../../src/control/store.js';
import { OperatingError } from '../../src/errors.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-store-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const config = (generation: number): SavedConfig => ({
  generation,
  document: { version: 1, networks: { [`n${generation}`]: { type: 'local' } } },
  fileHash: 'aa'.repeat(32),
});
const place = (name: string) => join(directory, name);

/** The disk, but the world ends before the given step; a write that is cut short leaves `written` octets. */
function endingBefore(step: number, written: number): StoreFiles {
  let done = 0;
  const unlessOver = () => {
    if (done++ >= step) throw new Error('the world ended');
  };
  return {
    async write(path, text) {
      if (done >= step) await diskFiles.write(path, text.slice(0, written));
      unlessOver();
      await diskFiles.write(path, text);
    },
    async sync(path) {
      unlessOver();
      await diskFiles.sync(path);
    },
    async rename(from, to) {
      unlessOver();
      await diskFiles.rename(from, to);
    },
    async remove(path) {
      unlessOver();
      await diskFiles.remove(path);
    },
  };
}

describe('the saved configuration', () => {
  test('is read as it was saved, the newest first, and one before is kept', async () => {
    const store = new ConfigStore(directory);
    for (const generation of [1, 2, 3, 4]) await store.save(config(generation));
    expect(await store.load()).toEqual({ saved: [config(4), config(3)], damaged: [], nextGeneration: 5 });
    expect(readdirSync(directory).sort()).toEqual(['config.3.json', 'config.4.json']);
  });

  test('can be read by the daemon alone, whatever the umask', async () => {
    const umask = process.umask(0);
    try {
      await new ConfigStore(directory).save(config(1));
    } finally {
      process.umask(umask);
    }
    expect(statSync(place('config.1.json')).mode & 0o777).toBe(0o600);
  });

  test('of a new state directory is nothing, which is not a fault', async () => {
    expect(await new ConfigStore(directory).load()).toEqual({ saved: [], damaged: [], nextGeneration: 1 });
  });

  test('saved several times at once is saved in that order', async () => {
    const store = new ConfigStore(directory);
    await Promise.all([1, 2, 3, 4, 5].map((generation) => store.save(config(generation))));
    expect((await store.load()).saved.map(({ generation }) => generation)).toEqual([5, 4]);
  });

  test('cut off at any octet is known to be damaged, and the one before is there', async () => {
    const store = new ConfigStore(directory);
    await store.save(config(1));
    await store.save(config(2));
    const whole = readFileSync(place('config.2.json'));
    for (let length = 0; length < whole.length; length++) {
      expect(typeof readStoredText(whole.toString('utf8', 0, length))).toBe('string');
    }
    for (const length of [0, 1, whole.length >> 1, whole.length - 1]) {
      writeFileSync(place('config.2.json'), whole.subarray(0, length));
      const { saved, damaged, nextGeneration } = await store.load();
      expect(saved).toEqual([config(1)]);
      expect(damaged).toEqual(['config.2.json: it is cut off']);
      expect(nextGeneration).toBe(3);
    }
  });

  test('with any octet changed is known to be damaged', () => {
    const whole = Buffer.from(storedText(config(7)));
    for (let position = 0; position < whole.length; position++) {
      const changed = Buffer.from(whole);
      changed[position] ^= 1;
      expect(readStoredText(changed.toString('latin1'))).not.toEqual(config(7));
      expect(typeof readStoredText(changed.toString('latin1'))).toBe('string');
    }
  });

  test.each([
    ['{"format":2,"checksum":"x"}\n{}\n', 'its format is 2; this version reads 1'],
    ['null\n{}\n', 'its header is damaged'],
    ['{}\n{}\n', 'its format is undefined; this version reads 1'],
    [storedText({ generation: 1, document: [] as never }), 'it holds no document'],
  ])('%j is not read: %s', (text, reason) => {
    expect(readStoredText(text)).toBe(reason);
  });

  test('is the old one or the new one after a crash before any system call, with any part of the draft written', async () => {
    const size = storedText(config(2)).length;
    const seen = new Set<number>();
    for (let step = 0; step <= 5; step++) {
      for (const written of [0, 1, size >> 1, size]) {
        rmSync(directory, { recursive: true });
        directory = mkdtempSync(join(tmpdir(), 'weft-store-'));
        await new ConfigStore(directory).save(config(1));
        const acknowledged = await new ConfigStore(directory, endingBefore(step, written)).save(config(2)).then(
          () => true,
          () => false,
        );
        const after = new ConfigStore(directory);
        const { saved, damaged, nextGeneration } = await after.load();
        expect(damaged).toEqual([]);
        expect([1, 2]).toContain(saved[0]?.generation);
        if (acknowledged) expect(saved[0]).toEqual(config(2));
        seen.add(saved[0]?.generation ?? 0);
        // What the crash left behind stands in nobody's way.
        await after.save(config(nextGeneration));
        expect((await after.load()).saved[0]).toEqual(config(nextGeneration));
      }
    }
    expect([...seen].sort()).toEqual([1, 2]);
  });

  test('that can not be saved is told with what to do, and the next save works', async () => {
    let isFull = true;
    const store = new ConfigStore(directory, {
      ...diskFiles,
      write: (path, text) =>
        isFull ? Promise.reject(Object.assign(new Error(), { code: 'ENOSPC' })) : diskFiles.write(path, text),
    });
    const error = await store.save(config(1)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OperatingError);
    expect(error).toMatchObject({ errno: 'ENOSPC', fix: expect.stringContaining(directory) });
    isFull = false;
    await store.save(config(1));
    expect((await store.load()).saved).toEqual([config(1)]);
  });

  test('that failed to be saved, or answered so though it was renamed, is not there at the next start', async () => {
    const failing = (files: Partial<StoreFiles>) => new ConfigStore(directory, { ...diskFiles, ...files });
    const refused = () => Promise.reject(Object.assign(new Error(), { code: 'EIO' }));
    await new ConfigStore(directory).save(config(1));
    const ways: Partial<StoreFiles>[] = [
      { sync: (path) => (path === directory ? diskFiles.sync(path) : refused()) },
      { rename: refused },
      { rename: (from, to) => diskFiles.rename(from, to).then(refused) },
    ];
    for (const [way, files] of ways.entries()) {
      await expect(failing(files).save(config(2 + way))).rejects.toMatchObject({ errno: 'EIO' });
      expect((await new ConfigStore(directory).load()).saved).toEqual([config(1)]);
      expect(readdirSync(directory)).toEqual(['config.1.json']);
    }
  });

  test('that is renamed is saved: what fails later is a warning, and is made good by the next save', async () => {
    let fails = true;
    const refuse = () => Promise.reject(Object.assign(new Error(), { code: 'EIO' }));
    const store = new ConfigStore(directory, {
      ...diskFiles,
      sync: (path) => (fails && path === directory ? refuse() : diskFiles.sync(path)),
    });
    for (const generation of [1, 2, 3]) {
      expect(await store.save(config(generation))).toContain('may not survive a power cut');
      expect((await store.load()).saved[0]).toEqual(config(generation));
    }
    fails = false;
    expect(await store.save(config(4))).toBeUndefined();
    expect((await store.load()).saved).toEqual([config(4), config(3)]);
  });

  test('is not followed through a symlink, neither to read nor to write', async () => {
    const elsewhere = place('elsewhere');
    writeFileSync(elsewhere, storedText(config(3)));
    symlinkSync(elsewhere, place('config.3.json'));
    symlinkSync(elsewhere, place('config.draft'));
    const store = new ConfigStore(directory);
    expect((await store.load()).damaged).toEqual(["config.3.json: it can't be read (ELOOP)"]);
    await store.save(config(4));
    expect(readFileSync(elsewhere, 'utf8')).toBe(storedText(config(3)));
  });

  test('under the name of another generation is not used', async () => {
    writeFileSync(place('config.9.json'), storedText(config(3)));
    const { saved, damaged } = await new ConfigStore(directory).load();
    expect(saved).toEqual([]);
    expect(damaged).toEqual(['config.9.json: it is another generation than its name']);
  });

  test('in a directory that is not there is an operating error', async () => {
    await expect(new ConfigStore(place('nowhere')).load()).rejects.toBeInstanceOf(OperatingError);
  });
});
