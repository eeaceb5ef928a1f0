/**
 * Where a value lies in the configuration document: keys and list positions from the root. Written for people as
 * `ports.vm1.trunk[2].vlan`; positions in lists are counted from 1 there, as rules of ACLs are (CONFIG.md), and from 0
 * in the array. Pure; runs anywhere.
 */
import { UserError, type UserFault } from '../errors.js';
import { CONFIG_FAULTS_MAX } from '../limits.js';
import type { JsonObject } from './shapes.js';

export type ConfigPath = readonly (string | number)[];

export function formatPath(path: ConfigPath): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step + 1}]`;
    else text += text === '' ? step : `.${step}`;
  }
  return text;
}

/** A key for Maps; NUL can't occur in a key (document.ts refuses it), so no two paths share one. */
export function pathKey(path: ConfigPath): string {
  return path.map((step) => (typeof step === 'number' ? `#${step}` : step)).join('\0');
}

/** Something wrong with the document, before lines are known. Becomes a UserFault. */
export interface ConfigFault {
  readonly path: ConfigPath;
  readonly message: string;
  readonly code?: 'bad-config' | 'not-found' | 'exists' | 'limit' | 'unsupported';
  readonly fix?: string;
}

/** All faults of one document, in the order of its lines, as many as anybody reads. */
export function documentError(faults: readonly UserFault[]): UserError {
  const ordered = [...faults].sort((left, right) => (left.line ?? 0) - (right.line ?? 0));
  const more = ordered.length - CONFIG_FAULTS_MAX;
  if (more <= 0) return new UserError(ordered);
  const rest: UserFault = { code: 'bad-config', message: `and ${more} more errors` };
  return new UserError([...ordered.slice(0, CONFIG_FAULTS_MAX), rest]);
}

export function isConfigObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A key's own value: `constructor` is a legal port name, so never look names up without this. */
export function own<Value>(record: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
