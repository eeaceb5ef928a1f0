/**
 * Finds values in a document that may be wrong in any way by patterns like `ports.*.trunk.*.network`, where `*` stands
 * for every key or element. For checks that must work beside other faults of the same document. Pure; runs anywhere.
 */
import { type ConfigPath, isConfigObject, own } from './config-path.js';
import type { JsonValue } from './shapes.js';

export interface Found {
  readonly path: ConfigPath;
  readonly value: JsonValue;
}

/** Every value the pattern names, in the document's order. */
export function find(value: JsonValue, pattern: string): Found[] {
  return descend(value, pattern.split('.'), []);
}

function descend(value: JsonValue, pattern: readonly string[], path: ConfigPath): Found[] {
  const [key, ...rest] = pattern;
  if (key === undefined) return [{ path, value }];
  if (key !== '*') {
    const child = isConfigObject(value) ? own(value, key) : undefined;
    return child === undefined ? [] : descend(child, rest, [...path, key]);
  }
  if (Array.isArray(value)) return value.flatMap((item: JsonValue, index) => descend(item, rest, [...path, index]));
  if (!isConfigObject(value)) return [];
  return Object.entries(value).flatMap(([name, child]) => descend(child, rest, [...path, name]));
}
