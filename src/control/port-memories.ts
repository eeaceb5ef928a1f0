/**
 * What port kinds must remember over a restart (which TAPs weft made, where their ends were moved): one small JSON file a
 * port in the state directory, replaced as a whole at each change. Main thread.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PortMemory } from '../dataplane/port.js';

export class PortMemories {
  private readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  of(port: string): PortMemory {
    const path = join(this.directory, `${port}.json`);
    const kept = read(path);
    return {
      get: (key) => kept.get(key),
      set: (key, value) => {
        if (kept.get(key) === value) return;
        if (value === undefined) kept.delete(key);
        else kept.set(key, value);
        if (kept.size === 0) rmSync(path, { force: true });
        else replace(path, JSON.stringify(Object.fromEntries(kept)));
      },
    };
  }
}

/** What the file says; nothing when it is absent or not what was written. */
function read(path: string): Map<string, string> {
  try {
    const document: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof document !== 'object' || document === null) return new Map();
    return new Map(Object.entries(document).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
  } catch {
    return new Map();
  }
}

function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
