/**
 * Names in the document that must be those of objects in it: one table of where they stand and what they name. Works on
 * documents with other faults, so that everything is told at once. Pure; runs anywhere.
 */
import { type ConfigFault, type ConfigPath, isConfigObject, own } from './config-path.js';
import { find } from './document-pattern.js';
import type { JsonValue } from './shapes.js';
import { didYouMean } from './suggest.js';

interface Reference {
  readonly at: string;
  readonly section: 'networks' | 'ports' | 'underlays' | 'acls' | 'groups';
  /** The names are the keys of the mapping there. */
  readonly keys?: true;
}

const references: readonly Reference[] = [
  { at: 'networks.*.uplink', section: 'ports' },
  { at: 'networks.*.underlay', section: 'underlays' },
  { at: 'networks.*.acl.ingress', section: 'acls' },
  { at: 'networks.*.acl.egress', section: 'acls' },
  { at: 'ports.*.network', section: 'networks' },
  { at: 'ports.*.trunk.*', section: 'networks' },
  { at: 'ports.*.trunk.*.network', section: 'networks' },
  { at: 'ports.*.native', section: 'networks' },
  { at: 'ports.*.tunnel.network', section: 'networks' },
  { at: 'ports.*.acl.ingress', section: 'acls' },
  { at: 'ports.*.acl.egress', section: 'acls' },
  { at: 'ports.*.groups.*', section: 'groups' },
  { at: 'groups.*.rules.*.remoteGroup', section: 'groups' },
  { at: 'subnets.*.network', section: 'networks' },
  { at: 'routers.*.interfaces', section: 'networks', keys: true },
  { at: 'routers.*.external.network', section: 'networks' },
];

const nouns = { networks: 'network', ports: 'port', underlays: 'underlay', acls: 'ACL', groups: 'group' } as const;

/** A fault for each name that names nothing. */
export function danglingFaults(document: JsonValue): ConfigFault[] {
  return references.flatMap(({ at, section, keys }) => {
    const objects = isConfigObject(document) ? own(document, section) : undefined;
    const known = isConfigObject(objects) ? objects : {};
    const missing = (path: ConfigPath, name: string): ConfigFault[] => {
      if (Object.hasOwn(known, name)) return [];
      const message = `no ${nouns[section]} named ${name}${didYouMean(name, Object.keys(known))}`;
      return [{ path, code: 'not-found', message }];
    };
    return find(document, at).flatMap(({ path, value }) => {
      if (keys)
        return isConfigObject(value) ? Object.keys(value).flatMap((name) => missing([...path, name], name)) : [];
      return typeof value === 'string' ? missing(path, value) : [];
    });
  });
}
