/**
 * Which configuration a daemon starts with: the operator's file if it changed since it was last applied, else the saved
 * copy. Whatever is broken is passed over with a warning as long as something whole is left; if nothing is, the daemon
 * refuses to start, because without its configuration a switch is either deaf or open. Main thread.
 */
import { UserError, type UserFault } from '../errors.js';
import { type CheckedDocument, checkDocument } from './check.js';
import { documentOf } from './document.js';
import { hashText, type LoadedConfig, type SavedConfig } from './store.js';

export interface OperatorFile {
  readonly name: string;
  /** Its text, or why it can't be read. */
  readonly text: string | { readonly unreadable: string };
}

export interface StartConfig extends CheckedDocument {
  readonly from: 'file' | 'saved';
  /** The saved copy that indices and the like go on from. */
  readonly saved?: SavedConfig;
  /** Hash of the file this configuration stands for; what the next save records. */
  readonly fileHash?: string;
  /** One sentence each, for the log. */
  readonly warnings: readonly string[];
}

/**
 * What to record as the operator's file's hash when a document was applied. Only a document that is the file as it stands
 * now makes the file applied; any other leaves the record as it was, or a restart would take the untouched file for a
 * changed one and lose what was applied in its stead.
 */
export function fileHashAfterApply(
  applied: string,
  file: OperatorFile,
  before: string | undefined,
): string | undefined {
  return file.text === applied ? hashText(applied) : before;
}

type Attempt = CheckedDocument | { readonly faults: readonly UserFault[] };

/** Parses, validates and resolves a text. Throws a UserError. */
export type TextCheck = (text: string, fileName: string) => Promise<CheckedDocument>;

/** Chooses. Throws a UserError with what is wrong everywhere if nothing can be used. */
export async function chooseStart(file: OperatorFile, loaded: LoadedConfig, check: TextCheck): Promise<StartConfig> {
  const warnings = loaded.damaged.map((sentence) => `saved configuration ${sentence}`);
  const newest = loaded.saved[0];
  const hash = typeof file.text === 'string' ? hashText(file.text) : undefined;
  const changed = hash !== undefined && hash !== newest?.fileHash;
  const attempt = await attemptFile(file, check);
  if (changed && 'config' in attempt)
    return { ...attempt, from: 'file', fileHash: hash, ...savedPart(newest), warnings };
  if ((changed || hash === undefined) && 'faults' in attempt) {
    warnings.push(`${file.name} is not used: ${summary(attempt.faults)}`);
  }
  for (const saved of loaded.saved) {
    const source = documentOf(saved.document, `saved generation ${saved.generation}`);
    const kept = await attemptCheck(async () => checkDocument(source));
    if ('config' in kept) {
      const stands = saved.fileHash === undefined ? {} : { fileHash: saved.fileHash };
      return { ...kept, from: 'saved', ...stands, ...savedPart(saved), warnings };
    }
    warnings.push(`saved generation ${saved.generation} is not used: ${summary(kept.faults)}`);
  }
  // The file is as it was when it was last applied, and all that came after it is lost.
  if ('config' in attempt && hash !== undefined) {
    return { ...attempt, from: 'file', fileHash: hash, ...savedPart(newest), warnings };
  }
  const rest = warnings.map((message): UserFault => ({ code: 'bad-config', message }));
  throw new UserError([...('faults' in attempt ? attempt.faults : []), ...rest]);
}

function savedPart(saved: SavedConfig | undefined): { saved?: SavedConfig } {
  return saved === undefined ? {} : { saved };
}

async function attemptFile({ name, text }: OperatorFile, check: TextCheck): Promise<Attempt> {
  if (typeof text === 'string') return await attemptCheck(() => check(text, name));
  return { faults: [{ code: 'bad-config', message: `${name} can't be read: ${text.unreadable}` }] };
}

async function attemptCheck(check: () => Promise<CheckedDocument>): Promise<Attempt> {
  try {
    return await check();
  } catch (error) {
    if (error instanceof UserError) return { faults: error.faults };
    throw error;
  }
}

function summary(faults: readonly UserFault[]): string {
  const [first] = faults;
  const place = [first.path, first.line === undefined ? undefined : `line ${first.line}`].filter(Boolean).join(', ');
  const more = faults.length > 1 ? ` (and ${faults.length - 1} more)` : '';
  return `${place === '' ? '' : `${place}: `}${first.message}${more}`;
}
