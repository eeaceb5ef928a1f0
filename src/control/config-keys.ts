/** What keys a port and a network have in the configuration, for the command line and for completion. */
import type { JsonSchema } from './key-values.js';

export function portSchema(): JsonSchema {
  return {};
}

export function networkSchema(): JsonSchema {
  return {};
}
