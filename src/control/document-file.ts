/** Reads and writes configuration files for the command line, with the operator's own rights. */
import { randomBytes } from 'node:crypto';
import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { CONTROL_DOCUMENT_SIZE_MAX } from '../limits.js';
import { type CliContext, UsageError } from './command.js';
import { errorCode } from './socket-path.js';

/** The text of a file, or of stdin for `-`. A UsageError (exit status 2) if it can't be read. */
export async function readDocument(file: string, context: Pick<CliContext, 'readInput'>): Promise<string> {
  try {
    if (file === '-') return await context.readInput();
    if ((await stat(file)).size <= CONTROL_DOCUMENT_SIZE_MAX) return await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(`${file} can't be read (${errorCode(error)})`);
  }
  throw new UsageError(`${file} is longer than ${CONTROL_DOCUMENT_SIZE_MAX} octets`);
}

/** Writes a file as a whole or not at all. */
export async function writeDocument(file: string, text: string): Promise<void> {
  const draft = `${file}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await writeFile(draft, text, { mode: 0o600, flag: 'wx' });
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw new UsageError(`${file} can't be written (${errorCode(error)})`);
  }
}
