/**
 * Looks into the configuration's schema by path: which keys are known somewhere, in which order, with which default, and
 * when two spellings mean the same. Pure; runs anywhere.
 */
import { z } from 'zod';
import type { ConfigPath } from './config-path.js';
import { documentSchema } from './schema.js';
import type { ValueMeaning } from './schema-values.js';
import type { JsonValue } from './shapes.js';
import { parseQuantity } from './units.js';

/** zod's own accessors give its core types; everything in our schema is made by the classic API. */
const classic = (schema: unknown) => schema as z.ZodType;

function unwrapped(schema: z.ZodType): z.ZodType {
  const wraps = schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault;
  return wraps ? unwrapped(classic(schema.unwrap())) : schema;
}

/** The alternatives of a schema: itself, or the options of a union. */
function alternatives(schema: z.ZodType): readonly z.ZodType[] {
  const inner = unwrapped(schema);
  return inner instanceof z.ZodUnion ? inner.options.flatMap((option) => alternatives(classic(option))) : [inner];
}

function step(schema: z.ZodType, key: string | number): z.ZodType | undefined {
  for (const alternative of alternatives(schema)) {
    if (alternative instanceof z.ZodArray && typeof key === 'number') return classic(alternative.element);
    if (alternative instanceof z.ZodRecord && typeof key === 'string') return classic(alternative.valueType);
    if (alternative instanceof z.ZodObject && Object.hasOwn(alternative.shape, key))
      return classic(alternative.shape[key]);
  }
  return undefined;
}

/** What may stand at a path; undefined if nothing. */
export function schemaAt(path: ConfigPath): z.ZodType | undefined {
  let schema: z.ZodType | undefined = documentSchema;
  for (const key of path) schema = schema && step(schema, key);
  return schema;
}

/** Keys an object at the path may have, in the order of the reference; empty where any name goes. */
export function keysAt(path: ConfigPath): readonly string[] {
  const schema = schemaAt(path);
  if (schema === undefined) return [];
  return alternatives(schema).flatMap((each) => (each instanceof z.ZodObject ? Object.keys(each.shape) : []));
}

/** The value an absent key at the path has; undefined if it has none. */
export function defaultAt(path: ConfigPath): JsonValue | undefined {
  const parsed = schemaAt(path)?.safeParse(undefined);
  return parsed?.success ? (parsed.data as JsonValue | undefined) : undefined;
}

function meaningAt(path: ConfigPath): ValueMeaning | undefined {
  const schema = schemaAt(path);
  if (schema === undefined) return undefined;
  return alternatives(schema)
    .concat(schema, unwrapped(schema))
    .map((each) => each.meta()?.meaning as ValueMeaning | undefined)
    .find((meaning) => meaning !== undefined);
}

/** Whether two different spellings at a path say the same: 300s and 5m, 0x88a8 and 34984. */
export function sameMeaning(path: ConfigPath, left: JsonValue, right: JsonValue): boolean {
  const meaning = meaningAt(path);
  if (meaning === undefined) return false;
  if (meaning === 'number') return Number(left) === Number(right);
  const [a, b] = [parseQuantity(meaning, String(left)), parseQuantity(meaning, String(right))];
  return 'value' in a && 'value' in b && a.value === b.value;
}
