/**
 * Changes one object of a document: `port add`, `network set` and the like. Works on the document as it was written, so
 * that nothing else in it changes; the result is validated as a whole by check.ts, which also finds what the change broke
 * elsewhere. Nothing is changed in place. Pure; main thread.
 */
import { UserError, type UserFault } from '../errors.js';
import { isConfigObject, own } from './config-path.js';
import type { JsonObject, JsonValue } from './shapes.js';
import { didYouMean } from './suggest.js';

export type EditableSection = 'ports' | 'networks';

/**
 * One change. In `values`, nested objects are merged key by key, a dotted key (`acl.ingress`) stands for nesting, and
 * null takes a key back to its default.
 */
export type Edit =
  | {
      readonly op: 'add' | 'set';
      readonly section: EditableSection;
      readonly name: string;
      readonly values: JsonObject;
    }
  | { readonly op: 'remove'; readonly section: EditableSection; readonly name: string };

/** The document after the change. Throws a UserError `exists` or `not-found`. */
export function editDocument(document: JsonValue, edit: Edit): JsonObject {
  const root = isConfigObject(document) ? document : {};
  const section = own(root, edit.section);
  const objects = isConfigObject(section) ? section : {};
  return { ...root, [edit.section]: editSection(objects, edit) };
}

function editSection(objects: JsonObject, edit: Edit): JsonObject {
  const { section, name } = edit;
  const present = own(objects, name);
  const noun = section === 'ports' ? 'port' : 'network';
  const refuse = (code: UserFault['code'], message: string): never => {
    throw new UserError([{ code, message, path: `${section}.${name}` }]);
  };
  if (edit.op === 'add') {
    if (present !== undefined) refuse('exists', `a ${noun} named ${name} is there already; change it with ${noun} set`);
    return { ...objects, [name]: merge({}, edit.values) };
  }
  if (present === undefined) refuse('not-found', `no ${noun} named ${name}${didYouMean(name, Object.keys(objects))}`);
  if (edit.op === 'set') return { ...objects, [name]: merge(isConfigObject(present) ? present : {}, edit.values) };
  const { [name]: _removed, ...others } = objects;
  return others;
}

function merge(base: JsonObject, changes: JsonObject): JsonObject {
  const result = new Map(Object.entries(base));
  for (const [dotted, change] of Object.entries(changes)) {
    const [key, ...rest] = dotted.split('.');
    const value = rest.length === 0 ? change : { [rest.join('.')]: change };
    const before = result.get(key);
    if (value === null) result.delete(key);
    else if (isConfigObject(value)) {
      const merged = merge(isConfigObject(before) ? before : {}, value);
      // The last key taken away takes the object with it: `acl: {}` says nothing.
      if (Object.keys(merged).length === 0 && Object.keys(value).length > 0) result.delete(key);
      else result.set(key, merged);
    } else result.set(key, value);
  }
  return Object.fromEntries(result);
}
