/**
 * The task that checks one long document, in a thread of its own (document-checks.ts starts it), and compiles the rules of
 * its ACLs. What it hands back is plain data: thrown errors and functions do not cross threads.
 */
import { giveWay } from '../dataplane/precedence.js';
import { UserError, type UserFault } from '../errors.js';
import { checkDocument } from './check.js';
import { aclContent, withCompiledRules } from './compile-acls.js';
import { parseDocument } from './document.js';
import type { ResolvedAcl, ResolvedConfig } from './resolved.js';
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

giveWay();

/** By content: the ACLs of the document before, most of which are those of the next one as well. */
let compiled: ReadonlyMap<string, ResolvedAcl> = new Map();

export function checkText({ text, fileName }: DocumentTask): DocumentOutcome {
  try {
    const { source, config, resolved } = checkDocument(parseDocument(text, fileName));
    return { value: source.value, config, resolved: { ...resolved, acls: compileUsed(resolved) } };
  } catch (error) {
    if (error instanceof UserError) return { faults: error.faults };
    throw error;
  }
}

/** Conditions do not cross to the main thread where their compiled form does: of 10,000 rules they are most of the octets. */
function compileUsed({ acls, ports, networks }: ResolvedConfig): ReadonlyMap<string, ResolvedAcl> {
  const used = new Set([...ports.values(), ...networks.values()].flatMap(({ acl }) => [acl?.ingress, acl?.egress]));
  const kept = new Map<string, ResolvedAcl>();
  const result = new Map<string, ResolvedAcl>();
  for (const [name, acl] of acls) {
    if (!used.has(name)) {
      result.set(name, acl);
      continue;
    }
    const content = aclContent(acl);
    const known = kept.get(content) ?? compiled.get(content) ?? withCompiledRules(acl);
    kept.set(content, known);
    result.set(name, known);
  }
  compiled = kept;
  return result;
}
