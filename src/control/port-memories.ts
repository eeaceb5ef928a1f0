/**
 * What port kinds must remember over a restart (which TAPs weft made, where their ends were moved): one small JSON file a
 * port in the state directory, replaced as a whole at each change. Main thread.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PortMemory } from '../dataplane/port.js';

const SUFFIX = '.json';

export class PortMemories {
  private readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Ports of which something is remembered. */
  get ports(): readonly string[] {
    return readdirSync(this.directory).flatMap((name) =>
      name.endsWith(SUFFIX) ? [name.slice(0, -SUFFIX.length).replaceAll('%', '/')] : [],
    );
  }

  /** Makes what is remembered of some ports others' (from, to); two may change places. Nobody uses them yet. */
  pass(heirs: ReadonlyMap<string, string>): void {
    const kept = [...heirs].map(([from, to]) => [to, read(this.path(from))] as const);
    for (const from of heirs.keys()) rmSync(this.path(from), { force: true });
    for (const [to, memory] of kept) replace(this.path(to), JSON.stringify(Object.fromEntries(memory)));
  }

  of(port: string): PortMemory {
    const path = this.path(port);
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

  private path(port: string): string {
    // Underlay ports have a slash in their names, and no name has a percent sign.
    return join(this.directory, port.replaceAll('/', '%') + SUFFIX);
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
