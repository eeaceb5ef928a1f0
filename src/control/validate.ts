/**
 * Checks a document against the schema and says what is wrong in an operator's words: zod's issues become faults with a
 * path, what was expected, and the nearest known word. Pure; runs anywhere.
 */
import type { z } from 'zod';
import type { UserError, UserFault } from '../errors.js';
import { type ConfigFault, type ConfigPath, documentError, formatPath, isConfigObject, own } from './config-path.js';
import type { SourceDocument } from './document.js';
import { type Config, documentSchema } from './schema.js';
import { keysAt } from './schema-walk.js';
import type { JsonValue } from './shapes.js';
import { didYouMean } from './suggest.js';

/** An entry of a section that was found to fit, and what it is with its defaults. */
interface Fitting {
  readonly section: string;
  readonly name: string;
  readonly config: unknown;
}

/**
 * By the entry as it was written. Who edits one port of a thousand hands in the other 999 as the very objects they were
 * (edit.ts changes nothing in place), and nothing an entry means to the schema depends on the others.
 */
const fitting = new WeakMap<object, Fitting>();

const sectionNames = ['networks', 'underlays', 'ports', 'acls', 'groups', 'subnets', 'routers'] as const;

/** The document with its defaults, or every place where it differs from the schema. */
export function matchSchema(value: JsonValue): { config: Config } | { faults: ConfigFault[] } {
  const parsed = documentSchema.safeParse(withoutFitting(value), { error: issueMessage });
  if (parsed.success) return { config: withFitting(parsed.data, value) };
  return { faults: parsed.error.issues.flatMap((issue) => faultsOfIssue(issue, [])) };
}

function fittingAs(section: string, name: string, entry: JsonValue): Fitting | undefined {
  const known = isConfigObject(entry) ? fitting.get(entry) : undefined;
  return known?.section === section && known.name === name ? known : undefined;
}

function withoutFitting(document: JsonValue): JsonValue {
  if (!isConfigObject(document)) return document;
  const rest: Record<string, JsonValue> = { ...document };
  for (const section of sectionNames) {
    const entries = own(document, section);
    if (!isConfigObject(entries)) continue;
    rest[section] = Object.fromEntries(
      Object.entries(entries).filter(([name, entry]) => fittingAs(section, name, entry) === undefined),
    );
  }
  return rest;
}

/** Every entry in its place again, and all kept for the next time: at the end, as one object may be several entries. */
function withFitting(config: Config, document: JsonValue): Config {
  const whole: Record<string, unknown> = { ...config };
  const kept: [object, Fitting][] = [];
  for (const section of sectionNames) {
    const entries = isConfigObject(document) ? own(document, section) : undefined;
    if (!isConfigObject(entries)) continue;
    const fresh: Readonly<Record<string, unknown>> = config[section];
    whole[section] = Object.fromEntries(
      Object.entries(entries).map(([name, entry]) => {
        const known = fittingAs(section, name, entry) ?? { section, name, config: own(fresh, name) };
        if (isConfigObject(entry)) kept.push([entry, known]);
        return [name, known.config];
      }),
    );
  }
  for (const [entry, known] of kept) fitting.set(entry, known);
  return whole as Config;
}

/** Checks a document against the schema only (see check.ts for all there is). Throws a UserError with every fault. */
export function validate(source: SourceDocument): Config {
  const result = matchSchema(source.value);
  if ('faults' in result) throw userError(result.faults, source);
  return result.config;
}

/** Puts lines to faults and orders them by line. */
export function userError(faults: readonly ConfigFault[], source: Pick<SourceDocument, 'lineOf'>): UserError {
  const located = faults.map(({ path, code = 'bad-config', message, fix }): UserFault => {
    const line = source.lineOf(path);
    return {
      code,
      message,
      ...(path.length > 0 && { path: formatPath(path) }),
      ...(line !== undefined && { line }),
      ...(fix !== undefined && { fix }),
    };
  });
  return documentError(located);
}

type Issue = z.core.$ZodIssue;

function faultsOfIssue(issue: Issue, base: ConfigPath): ConfigFault[] {
  const path = [...base, ...(issue.path as (string | number)[])];
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(path);
    return issue.keys.map((key) => ({ path: [...path, key], message: `unknown key${didYouMean(key, known)}` }));
  }
  if (issue.code === 'invalid_union') {
    const branch = meantBranch(issue.errors);
    if (branch !== undefined) return branch.flatMap((inner) => faultsOfIssue(inner, path));
  }
  if (issue.code === 'invalid_key') return issue.issues.map(({ message }) => ({ path, message }));
  return [{ path, message: issue.message }];
}

/** The one alternative whose type fits what was written, so that its own complaint is the helpful one. */
function meantBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const typeFits = (issues: readonly Issue[]) =>
    !issues.some(({ path, code }) => path.length === 0 && (code === 'invalid_type' || code === 'invalid_value'));
  const meant = branches.filter(typeFits);
  return meant.length === 1 ? meant[0] : undefined;
}

const typeNames: Readonly<Record<string, string>> = {
  object: 'a mapping (key: value)',
  record: 'a mapping (name: value)',
  array: 'a list',
  string: 'text',
  boolean: 'true or false',
};

/** The message for an issue whose schema has none of its own. */
function issueMessage(issue: z.core.$ZodRawIssue): string | undefined {
  const { input } = issue;
  if (issue.code === 'invalid_type') {
    const expected = `expected ${typeNames[issue.expected] ?? `a ${issue.expected}`}`;
    if (input === undefined) return `is missing; ${expected}`;
    return input === null ? `has no value; ${expected}, or remove it` : expected;
  }
  if (issue.code === 'invalid_value') {
    const words = issue.values.map(String);
    const expected = words.length === 1 ? words[0] : `one of ${words.join(', ')}`;
    if (input === undefined) return `is missing; expected ${expected}`;
    const hint = typeof input === 'string' ? didYouMean(input, words) : '';
    return `expected ${expected}, not ${JSON.stringify(input)?.slice(0, 64)}${hint}`;
  }
  if (issue.code === 'too_small') return 'is empty; expected at least one';
  if (issue.code === 'too_big') return 'is too long';
  return undefined;
}
