/** The configuration's JSON Schema, generated from the one definition that also validates. Pure. */
import { z } from 'zod';
import { documentSchema } from './schema.js';
import type { JsonObject } from './shapes.js';
import { unsupported } from './unsupported.js';

/** What `weft schema` prints. Keys this version refuses say so in their description. */
export function configJsonSchema(): JsonObject {
  const schema = z.toJSONSchema(documentSchema, { io: 'input' }) as Node;
  for (const { at, what } of unsupported) {
    // Of a type only some values are refused, which its description can't say in a word.
    if (at.endsWith('.type')) continue;
    markRefused(schema, at.split('.'), `Refused: this version does not ${what} yet.`);
  }
  return schema as JsonObject;
}

interface Node {
  description?: string;
  properties?: Record<string, Node>;
  additionalProperties?: Node | boolean;
}

function markRefused(root: Node, pattern: readonly string[], note: string): void {
  let node: Node | undefined = root;
  for (const key of pattern) {
    const any: Node | boolean | undefined = node?.additionalProperties;
    node = key === '*' ? (typeof any === 'object' ? any : undefined) : node?.properties?.[key];
  }
  if (node !== undefined) node.description = [node.description, note].filter(Boolean).join(' ');
}
