/**
 * What keys a port and a network have in the configuration, as JSON Schema made from the one definition: for reading
 * `key=value` arguments and for completion. Made when first asked for: most commands never do.
 */
import { z } from 'zod';
import type { JsonSchema } from './key-values.js';
import { networkSchema as networkDefinition, portSchema as portDefinition } from './schema.js';

const made = new Map<z.ZodType, JsonSchema>();

function jsonSchemaOf(definition: z.ZodType): JsonSchema {
  const known =
    made.get(definition) ?? (z.toJSONSchema(definition, { io: 'input', unrepresentable: 'any' }) as JsonSchema);
  made.set(definition, known);
  return known;
}

export function portSchema(): JsonSchema {
  return jsonSchemaOf(portDefinition);
}

export function networkSchema(): JsonSchema {
  return jsonSchemaOf(networkDefinition);
}
