/**
 * Reads a document that is JSON as most programs write it, some twenty times as fast as the reader of YAML (document.ts),
 * which makes an object of every sign of the text. Whatever is not plainly a document, and whatever that reader has a
 * sentence for, is left to it: this one refuses nothing and explains nothing. What it does read means the same there.
 *
 * The text is hostile until proven otherwise; its size is bounded before it comes here. Pure; runs anywhere.
 */
import { DOCUMENT_DEPTH_MAX, DOCUMENT_VALUES_MAX } from '../limits.js';
import { isConfigObject } from './config-path.js';
import { isCleanText, isKeyName } from './document-text.js';
import type { JsonValue } from './shapes.js';

/** The value, or undefined: it takes the other reader to say. */
export function readJson(text: string): JsonValue | undefined {
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    return undefined;
  }
  if (value === null) return undefined;
  const count = { values: 0, keys: 0 };
  // A key that is there twice is in the text, and not in the value.
  return isPlain(value, 0, count) && count.keys === keysIn(text) ? value : undefined;
}

function isPlain(value: JsonValue, depth: number, count: { values: number; keys: number }): boolean {
  if (++count.values > DOCUMENT_VALUES_MAX) return false;
  if (typeof value === 'string') return isCleanText(value);
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || value === null) return true;
  if (depth >= DOCUMENT_DEPTH_MAX) return false;
  if (!isConfigObject(value)) return value.every((item) => isPlain(item, depth + 1, count));
  const keys = Object.keys(value);
  count.keys += keys.length;
  return keys.every((key) => isKeyName(key) && isPlain(value[key], depth + 1, count));
}

/** Of a text that is JSON: strings with a colon behind them. */
function keysIn(text: string): number {
  let keys = 0;
  for (let quote = text.indexOf('"'); quote >= 0; ) {
    let end = text.indexOf('"', quote + 1);
    while (isEscaped(text, end)) end = text.indexOf('"', end + 1);
    let next = end + 1;
    while (text.charCodeAt(next) <= 0x20) next++;
    if (text.charCodeAt(next) === 0x3a) keys++;
    quote = text.indexOf('"', next);
  }
  return keys;
}

/** Whether an odd number of backslashes is in front of it. */
function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text.charCodeAt(at - 1 - slashes) === 0x5c) slashes++;
  return slashes % 2 === 1;
}
