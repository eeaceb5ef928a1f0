/**
 * Everything that can be wrong with a document, told at once: the schema, keys this version does not serve yet, names
 * that name nothing, contradictions. `weft check`, `apply` and every edit go through here. Pure; runs anywhere.
 */
import { type ConfigFault, type ConfigPath, isConfigObject, own } from './config-path.js';
import type { SourceDocument } from './document.js';
import { danglingFaults } from './references.js';
import { settle } from './resolve.js';
import type { ResolvedConfig } from './resolved.js';
import type { Config } from './schema.js';
import type { JsonValue } from './shapes.js';
import { unsupportedFaults } from './unsupported.js';
import { matchSchema, userError } from './validate.js';

export interface CheckedDocument {
  readonly source: SourceDocument;
  readonly config: Config;
  readonly resolved: ResolvedConfig;
}

/** Validates and resolves. Throws a UserError with every fault and its line. */
export function checkDocument(source: SourceDocument): CheckedDocument {
  const matched = matchSchema(source.value);
  const faults: ConfigFault[] = 'faults' in matched ? [...matched.faults] : [];
  faults.push(...unsupportedFaults(source.value), ...danglingFaults(source.value));
  const config = 'config' in matched ? matched.config : soundPart(source.value, matched.faults);
  const settled = config && settle(config);
  faults.push(...(settled?.faults ?? []));
  if (faults.length > 0 || config === undefined || settled === undefined) throw userError(faults, source);
  return { source, config, resolved: settled.resolved };
}

/**
 * The document without the entries that do not fit the schema, so that contradictions between the others are told in the
 * same breath. Undefined if nothing sound is left.
 */
function soundPart(document: JsonValue, faults: readonly ConfigFault[]): Config | undefined {
  if (!isConfigObject(document)) return undefined;
  const sound: Record<string, JsonValue> = { ...document, version: 1 };
  for (const { path } of faults) removeEntry(sound, path);
  const matched = matchSchema(sound);
  if ('config' in matched) return matched.config;
  // A key that must be there was among those removed: do without the whole objects.
  for (const { path } of matched.faults) removeEntry(sound, path.slice(0, 2));
  const again = matchSchema(sound);
  return 'config' in again ? again.config : undefined;
}

/** Keys without which an object would mean something else: with a fault in one of them the object says nothing reliable. */
const telling = new Set([
  'kind',
  'network',
  'trunk',
  'native',
  'tunnel',
  'device',
  'path',
  'type',
  'id',
  'uplink',
  'underlay',
]);

/** Removes the key of a named object that a path leads into, the object, or the whole section, as little as will do. */
function removeEntry(document: Record<string, JsonValue>, path: ConfigPath): void {
  const [section, name, key] = path.map(String);
  if (section === undefined || section === 'version') return;
  const entries = own(document, section);
  if (name === undefined || !isConfigObject(entries)) {
    delete document[section];
    return;
  }
  const { [name]: entry, ...others } = entries;
  document[section] = others;
  if (key === undefined || telling.has(key) || !isConfigObject(entry)) return;
  const { [key]: _faulty, ...rest } = entry;
  document[section] = { ...others, [name]: rest };
}
