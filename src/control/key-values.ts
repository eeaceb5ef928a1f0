/**
 * `key=value` arguments of the command line as configuration: nested keys are dotted (`acl.ingress=a1`), lists are
 * comma-separated, anything can be written as JSON. What a value may be is read from the JSON Schema of the object, so
 * that a network called `10` stays a name and `mtu=1500` becomes a number. Runs in the operator's process; the daemon
 * validates again. No state.
 */
import { UsageError } from './command.js';
import type { JsonObject, JsonValue } from './shapes.js';
import { didYouMean } from './suggest.js';

/** The part of JSON Schema that is looked at. */
export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly additionalProperties?: boolean | JsonSchema;
  readonly items?: JsonSchema | boolean | readonly JsonSchema[];
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
  readonly const?: JsonValue;
  readonly enum?: readonly JsonValue[];
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, JsonSchema>>;
}

type Tree = { [key: string]: JsonValue | Tree };

/** Every alternative of a schema, references followed. */
function alternatives(schema: JsonSchema, root: JsonSchema, depth = 0): readonly JsonSchema[] {
  if (depth > 16) return [];
  if (schema.$ref !== undefined) {
    const target = root.$defs?.[schema.$ref.replace('#/$defs/', '')];
    return target === undefined ? [] : alternatives(target, root, depth + 1);
  }
  const branches = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])];
  return [schema, ...branches.flatMap((branch) => alternatives(branch, root, depth + 1))];
}

/** Keys an object of this schema has; undefined if any key goes. */
export function keysOf(schema: JsonSchema, root: JsonSchema = schema): readonly string[] | undefined {
  const all = alternatives(schema, root);
  const named = all.flatMap((branch) => Object.keys(branch.properties ?? {}));
  const open = all.some((branch) => branch.additionalProperties !== undefined && branch.additionalProperties !== false);
  return open || named.length === 0 ? undefined : [...new Set(named)];
}

/** What stands under `key`: the union of what the alternatives say. */
function schemaOf(schema: JsonSchema, key: string, root: JsonSchema): JsonSchema {
  const found = alternatives(schema, root).flatMap((branch) => {
    const property = branch.properties?.[key];
    if (property !== undefined) return [property];
    return typeof branch.additionalProperties === 'object' ? [branch.additionalProperties] : [];
  });
  return { anyOf: found };
}

/** Reads `pairs` as an object of the schema. Throws a UsageError that names the argument. */
export function parseKeyValues(pairs: readonly string[], schema: JsonSchema): JsonObject {
  const tree: Tree = Object.create(null) as Tree;
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw new UsageError(`${pair}: expected key=value`);
    const path = pair.slice(0, equals).split('.');
    put(tree, path, pair.slice(equals + 1), schema);
  }
  return JSON.parse(JSON.stringify(tree)) as JsonObject;
}

function put(tree: Tree, path: readonly string[], text: string, root: JsonSchema): void {
  const name = path.join('.');
  let node = tree;
  let schema = root;
  path.forEach((key, index) => {
    const known = keysOf(schema, root);
    if (key === '' || key === '__proto__' || (known !== undefined && !known.includes(key))) {
      throw new UsageError([
        { code: 'bad-request', message: `there is no key ${key}${didYouMean(key, known ?? [])}`, path: name },
      ]);
    }
    schema = schemaOf(schema, key, root);
    if (index === path.length - 1) {
      if (key in node) throw new UsageError(`${name} is given twice`);
      node[key] = parseValue(text, schema, root, name);
      return;
    }
    const child = node[key] ?? (Object.create(null) as Tree);
    if (typeof child !== 'object' || Array.isArray(child)) throw new UsageError(`${name} and ${key} are both given`);
    node[key] = child;
    node = child as Tree;
  });
}

function parseValue(text: string, schema: JsonSchema, root: JsonSchema, name: string): JsonValue {
  if (/^[[{"]/.test(text)) {
    try {
      return JSON.parse(text) as JsonValue;
    } catch {
      throw new UsageError(`${name}: ${text} begins like JSON but is not`);
    }
  }
  if (text === 'null') return null;
  const all = alternatives(schema, root);
  const isType = (type: string) => all.some((branch) => [branch.type].flat().includes(type));
  if ((text === 'true' || text === 'false') && isType('boolean')) return text === 'true';
  const fixed = all.flatMap((branch) => [
    ...(branch.enum ?? []),
    ...(branch.const === undefined ? [] : [branch.const]),
  ]);
  if (fixed.includes(text)) return text;
  if (isNumeral(text) && (isType('integer') || isType('number'))) return Number(text);
  if (isType('array') && (text.includes(',') || !takesFreeText(all))) return parseList(text, all, root, name);
  return text;
}

function isNumeral(text: string): boolean {
  return /^-?\d+(\.\d+)?$/.test(text) || /^0x[0-9a-f]+$/i.test(text);
}

function takesFreeText(all: readonly JsonSchema[]): boolean {
  return all.some((branch) => [branch.type].flat().includes('string') && branch.const === undefined && !branch.enum);
}

function parseList(text: string, all: readonly JsonSchema[], root: JsonSchema, name: string): JsonValue {
  const items = all.flatMap((branch) =>
    typeof branch.items === 'object' && 'length' in branch.items === false ? [branch.items] : [],
  );
  if (text === '') return [];
  return text.split(',').map((item) => parseValue(item.trim(), { anyOf: items as JsonSchema[] }, root, name));
}
