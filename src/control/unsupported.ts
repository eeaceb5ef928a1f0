/**
 * What the configuration can say and this version does not do yet. To accept `antiSpoof: true` and not enforce it would
 * let through what the operator believes is stopped, so a document that uses such a key is refused. Whoever builds a
 * feature deletes its row. Keys that only describe (mac, addresses) and definitions nothing refers to (acls, groups)
 * are accepted. Pure; runs anywhere.
 */
import type { ConfigFault, ConfigPath } from './config-path.js';
import { find } from './document-pattern.js';
import { defaultAt, schemaAt } from './schema-walk.js';
import type { JsonValue } from './shapes.js';

interface Unsupported {
  /** Where, as document-pattern.ts has it. */
  readonly at: string;
  /** Completes "this version does not ... yet". */
  readonly what: string;
}

export const unsupported: readonly Unsupported[] = [{ at: 'ports.*.rate', what: 'enforce rates' }];

/** A fault for each use, in a document that was not validated. */
export function unsupportedFaults(document: JsonValue): ConfigFault[] {
  return unsupported.flatMap(({ at, what }) =>
    find(document, at)
      .filter(({ path, value }) => !asksForNothing(path, value))
      .map(({ path }) => ({
        path,
        code: 'unsupported' as const,
        message: `this version does not ${what} yet; remove it`,
      })),
  );
}

/**
 * A value that is the default asks for nothing, so that a document with all its defaults written out is still accepted.
 * An empty list asks for something: `groups: []` stops all but the basics.
 */
function asksForNothing(path: ConfigPath, value: JsonValue): boolean {
  if (value === null) return true;
  if (typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length === 0) return true;
  const byDefault = defaultAt(path);
  if (byDefault === undefined) return false;
  const parsed = schemaAt(path)?.safeParse(value);
  return parsed?.success === true && JSON.stringify(parsed.data) === JSON.stringify(byDefault);
}
