/**
 * What keys a port and a network have in the configuration, as JSON Schema made from the one definition: for reading
 * `key=value` arguments and for completion. Loaded when first asked for: most commands never do, and it takes longer
 * than the rest of the command line together.
 */
import type { JsonSchema } from './key-values.js';

async function jsonSchemaOf(which: 'portSchema' | 'networkSchema'): Promise<JsonSchema> {
  const [{ z }, definitions] = await Promise.all([import('zod'), import('./schema.js')]);
  return z.toJSONSchema(definitions[which], { io: 'input', unrepresentable: 'any' }) as JsonSchema;
}

export function portSchema(): Promise<JsonSchema> {
  return jsonSchemaOf('portSchema');
}

export function networkSchema(): Promise<JsonSchema> {
  return jsonSchemaOf('networkSchema');
}
