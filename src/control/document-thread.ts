/**
 * The task that checks one long document, in a thread of its own (document-checks.ts starts it). What it hands back is
 * plain data: thrown errors and functions do not cross threads.
 */
import { UserError, type UserFault } from '../errors.js';
import { checkDocument } from './check.js';
import { parseDocument } from './document.js';
import type { ResolvedConfig } from './resolved.js';
import type { Config } from './schema.js';
import type { JsonValue } from './shapes.js';

export interface DocumentTask {
  readonly text: string;
  readonly fileName: string;
}

/** A document that holds is small whatever its text was: its ports, networks and members are bounded. So are faults. */
export type DocumentOutcome =
  | { readonly value: JsonValue; readonly config: Config; readonly resolved: ResolvedConfig }
  | { readonly faults: readonly UserFault[] };

export function checkText({ text, fileName }: DocumentTask): DocumentOutcome {
  try {
    const { source, config, resolved } = checkDocument(parseDocument(text, fileName));
    return { value: source.value, config, resolved };
  } catch (error) {
    if (error instanceof UserError) return { faults: error.faults };
    throw error;
  }
}
