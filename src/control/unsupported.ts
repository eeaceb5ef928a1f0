/**
 * What the configuration can say and this version does not do yet. To accept `antiSpoof: true` and not enforce it would
 * let through what the operator believes is stopped, so a document that uses such a key is refused. Whoever builds a
 * feature deletes its row. Keys that only describe (mac, addresses) and definitions nothing refers to (acls, groups,
 * underlays) are accepted. Pure; runs anywhere.
 */
import type { ConfigFault } from './config-path.js';
import { find } from './document-pattern.js';
import type { JsonValue } from './shapes.js';

interface Unsupported {
  /** Where, as document-pattern.ts has it. */
  readonly at: string;
  /** Completes "this version does not ... yet". */
  readonly what: string;
  /** Values that ask for nothing; false, null and {} always are. */
  readonly inert?: (value: JsonValue) => boolean;
}

const isCarriedType = (type: JsonValue) => !['vxlan', 'gre', 'geneve'].includes(String(type));

export const unsupported: readonly Unsupported[] = [
  { at: 'settings.conntrack', what: 'track connections' },
  { at: 'settings.fragments', what: 'follow fragments' },
  { at: 'settings.neighbors', what: 'route' },
  { at: 'settings.limits', what: 'answer ICMP, ARP, DHCP or DNS' },
  { at: 'settings.metadata', what: 'serve metadata' },
  { at: 'settings.dns', what: 'serve DNS' },
  { at: 'networks.*.type', what: 'carry networks of this type', inert: isCarriedType },
  { at: 'networks.*.arpSuppression', what: 'enforce arpSuppression' },
  { at: 'networks.*.acl', what: 'enforce ACLs' },
  { at: 'ports.*.antiSpoof', what: 'enforce antiSpoof' },
  { at: 'ports.*.allowedPairs', what: 'enforce allowedPairs' },
  { at: 'ports.*.allowEthertypes', what: 'enforce allowEthertypes' },
  { at: 'ports.*.groups', what: 'enforce security groups' },
  { at: 'ports.*.acl', what: 'enforce ACLs' },
  { at: 'ports.*.rate', what: 'enforce rates' },
  { at: 'ports.*.dhcp', what: 'serve DHCP' },
  { at: 'subnets.*', what: 'serve subnets' },
  { at: 'routers.*', what: 'route' },
];

/** A fault for each use, in a document that was not validated. */
export function unsupportedFaults(document: JsonValue): ConfigFault[] {
  return unsupported.flatMap(({ at, what, inert }) =>
    find(document, at)
      .filter(({ value }) => !asksForNothing(value) && !inert?.(value))
      .map(({ path }) => ({
        path,
        code: 'unsupported' as const,
        message: `this version does not ${what} yet; remove it`,
      })),
  );
}

/** An empty list asks for something: `groups: []` stops all but the basics. */
function asksForNothing(value: JsonValue): boolean {
  if (value === null || value === false) return true;
  return typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length === 0;
}
