/**
 * What differs between two configurations, both with their defaults, so that writing a default out is no difference;
 * neither is another spelling of the same quantity (300s, 5m). Order: sections and keys as the reference has them, names
 * and other keys by the alphabet. Lists are one value: who changes one rule changes the order of the others. Of
 * an object that is added or removed only what differs from the defaults is told. Pure.
 */
import { isDeepStrictEqual } from 'node:util';
import { type ConfigPath, formatPath, isConfigObject, own } from './config-path.js';
import type { Config } from './schema.js';
import { defaultAt, keysAt, sameMeaning } from './schema-walk.js';
import type { ConfigChange, JsonValue } from './shapes.js';

export function diff(from: Config, to: Config): ConfigChange[] {
  const changes: ConfigChange[] = [];
  compare([], from as unknown as JsonValue, to as unknown as JsonValue, changes);
  return changes;
}

function compare(
  path: ConfigPath,
  from: JsonValue | undefined,
  to: JsonValue | undefined,
  changes: ConfigChange[],
): void {
  if (from === undefined && to === undefined) return;
  // Most of two configurations is the same to the letter; what is not is looked at key by key.
  if (isDeepStrictEqual(from, to)) return;
  const place = formatPath(path);
  if (from === undefined) changes.push({ path: place, op: 'add', to: withoutDefaults(path, to ?? null) });
  else if (to === undefined) changes.push({ path: place, op: 'remove', from: withoutDefaults(path, from) });
  else if (isConfigObject(from) && isConfigObject(to)) {
    for (const key of orderedKeys(path, from, to)) compare([...path, key], own(from, key), own(to, key), changes);
  } else if (!isSame(path, from, to)) changes.push({ path: place, op: 'change', from, to });
}

function orderedKeys(path: ConfigPath, from: object, to: object): string[] {
  const known = keysAt(path);
  const rank = (key: string) => (known.includes(key) ? known.indexOf(key) : known.length);
  const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])];
  return keys.sort((left, right) => rank(left) - rank(right) || (left < right ? -1 : 1));
}

function isSame(path: ConfigPath, from: JsonValue, to: JsonValue): boolean {
  if (from === to) return true;
  if (Array.isArray(from) && Array.isArray(to)) {
    return from.length === to.length && from.every((item, index) => isSame([...path, index], item, to[index]));
  }
  if (isConfigObject(from) && isConfigObject(to)) {
    return orderedKeys(path, from, to).every((key) => {
      const [left, right] = [own(from, key), own(to, key)];
      return left !== undefined && right !== undefined && isSame([...path, key], left, right);
    });
  }
  if (typeof from === 'object' || typeof to === 'object') return false;
  return sameMeaning(path, from, to);
}

/** The value with those keys left out that say no more than their default. */
export function withoutDefaults(path: ConfigPath, value: JsonValue): JsonValue {
  if (!isConfigObject(value)) return value;
  const kept = Object.entries(value)
    .map(([key, child]) => [key, withoutDefaults([...path, key], child), child] as const)
    .filter(([key, , child]) => {
      const byDefault = defaultAt([...path, key]);
      return byDefault === undefined || JSON.stringify(child) !== JSON.stringify(byDefault);
    });
  return Object.fromEntries(kept.map(([key, child]) => [key, child]));
}
