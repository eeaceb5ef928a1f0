/**
 * The daemon's own copy of the configuration in the state directory, so that what was changed by command survives a
 * restart and a power cut. Main thread.
 *
 *   config.<generation>.json    two lines: a header with the checksum of the second, and the content
 *
 * Saving writes a new file beside the old ones (0600, written, fsync, renamed into place, directory fsync) and only then
 * removes all but the one before. So at every moment, also after a crash between any two system calls, the newest file
 * that proves whole is the last configuration that was acknowledged, or the one being saved. A file that does not prove
 * whole is passed over, never guessed at; if none does, the caller is told, because an empty configuration would be open.
 *
 * The rename decides. What fails before it leaves no trace, and the change is refused; what fails after it (the fsync of
 * the directory, the removal of old files) is told as a warning, because the next start would find the new file: a change
 * that was refused and undone must not come back then.
 */
import { createHash } from 'node:crypto';
import { constants, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { OperatingError } from '../errors.js';
import { STORED_CONFIG_SIZE_MAX } from '../limits.js';
import { isConfigObject } from './config-path.js';
import type { JsonValue } from './shapes.js';
import { Turns } from './turns.js';

const FORMAT = 1;
const FILE_NAME = /^config\.([0-9]{1,15})\.json$/;
const DRAFT_NAME = 'config.draft';
/** Files kept: the newest and the one before. */
const KEPT = 2;

export interface SavedConfig {
  readonly generation: number;
  /** The document as it was written, without defaults. */
  readonly document: JsonValue;
  /** Hash (hashText) of the operator's file when it was last applied; absent if none ever was. */
  readonly fileHash?: string;
  /** Indices.toJSON(). */
  readonly indices?: JsonValue;
}

export interface LoadedConfig {
  /** Newest first. */
  readonly saved: readonly SavedConfig[];
  /** One sentence for each file that is there and can't be used. */
  readonly damaged: readonly string[];
  /** Higher than any there is, whole or not. */
  readonly nextGeneration: number;
}

/** The system calls of a save one by one, so that tests can end the world between any two. */
export interface StoreFiles {
  /** Creates (never follows or reuses) a file with mode 0600. */
  write(path: string, text: string): Promise<void>;
  sync(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
}

export const diskFiles: StoreFiles = {
  async write(path, text) {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const file = await open(path, flags, 0o600);
    try {
      await file.writeFile(text);
    } finally {
      await file.close();
    }
  },
  async sync(path) {
    const file = await open(path, constants.O_RDONLY);
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  },
  rename,
  remove: (path) => rm(path, { force: true }),
};

export function hashText(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export class ConfigStore {
  private readonly directory: string;
  private readonly files: StoreFiles;
  private readonly turns = new Turns();

  /** The directory is there and belongs to the daemon alone. */
  constructor(directory: string, files: StoreFiles = diskFiles) {
    this.directory = directory;
    this.files = files;
  }

  /** Everything that proves whole. Throws an OperatingError only if the directory can't be read. */
  async load(): Promise<LoadedConfig> {
    const saved: SavedConfig[] = [];
    const damaged: string[] = [];
    const present = await this.list();
    for (const { name, generation } of present) {
      const read = await readSaved(join(this.directory, name), generation);
      if (typeof read === 'string') damaged.push(`${name}: ${read}`);
      else saved.push(read);
    }
    return { saved, damaged, nextGeneration: (present[0]?.generation ?? 0) + 1 };
  }

  /**
   * Saved when it returns, and durable unless it returns a warning (one sentence). The generation is higher than any there
   * is. Throws an OperatingError; then nothing was saved.
   */
  save(config: SavedConfig): Promise<string | undefined> {
    return this.turns.take(async () => {
      await this.write(config);
      return await this.settle();
    });
  }

  private async write(config: SavedConfig): Promise<void> {
    const draft = join(this.directory, DRAFT_NAME);
    const file = join(this.directory, `config.${config.generation}.json`);
    try {
      await this.files.remove(draft);
      await this.files.write(draft, storedText(config));
      await this.files.sync(draft);
      await this.files.rename(draft, file);
    } catch (error) {
      // Network file systems may have renamed it and lost the answer.
      for (const path of [file, draft]) await this.files.remove(path).catch(() => undefined);
      throw storeError('the configuration could not be saved', this.directory, error);
    }
  }

  /** What comes after the rename. A warning if it fails. */
  private async settle(): Promise<string | undefined> {
    try {
      await this.files.sync(this.directory);
      for (const { name } of (await this.list()).slice(KEPT)) await this.files.remove(join(this.directory, name));
      return undefined;
    } catch (error) {
      const { message } = storeError(
        'the configuration is saved, but may not survive a power cut',
        this.directory,
        error,
      );
      return message;
    }
  }

  private async list(): Promise<{ name: string; generation: number }[]> {
    try {
      const names = await readdir(this.directory);
      return names
        .map((name) => ({ name, generation: Number(FILE_NAME.exec(name)?.[1] ?? Number.NaN) }))
        .filter(({ generation }) => Number.isSafeInteger(generation))
        .sort((left, right) => right.generation - left.generation);
    } catch (error) {
      throw storeError('the saved configuration could not be read', this.directory, error);
    }
  }
}

function storeError(what: string, directory: string, error: unknown): OperatingError {
  const errno = (error as NodeJS.ErrnoException).code ?? String(error);
  const fix = `Check space and permissions of the state directory ${directory}.`;
  return new OperatingError(`${what} in ${directory} (${errno})`, { errno, fix });
}

/** Two lines; the header names the checksum of the second, which ends the file. */
export function storedText(config: SavedConfig): string {
  const content = JSON.stringify(config);
  return `${JSON.stringify({ format: FORMAT, checksum: hashText(content) })}\n${content}\n`;
}

/** What storedText wrote, or why it is not that. */
export function readStoredText(text: string): SavedConfig | string {
  const lines = text.split('\n');
  if (lines.length !== 3 || lines[2] !== '') return 'it is cut off';
  try {
    const header: unknown = JSON.parse(lines[0]);
    if (!isConfigObject(header)) return 'its header is damaged';
    if (header.format !== FORMAT) return `its format is ${String(header.format)}; this version reads ${FORMAT}`;
    if (header.checksum !== hashText(lines[1])) return 'its checksum does not match';
    const content = JSON.parse(lines[1]) as SavedConfig;
    return Number.isSafeInteger(content.generation) && isConfigObject(content.document)
      ? content
      : 'it holds no document';
  } catch {
    return 'its header is damaged';
  }
}

async function readSaved(path: string, generation: number): Promise<SavedConfig | string> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      if ((await file.stat()).size > STORED_CONFIG_SIZE_MAX) return 'it is too long';
      const read = readStoredText(await readFile(file, 'utf8'));
      return typeof read === 'string' || read.generation === generation
        ? read
        : 'it is another generation than its name';
    } finally {
      await file.close();
    }
  } catch (error) {
    return `it can't be read (${(error as NodeJS.ErrnoException).code})`;
  }
}
